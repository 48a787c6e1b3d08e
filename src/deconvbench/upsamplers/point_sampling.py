"""Upsampling by learned point sampling: where to read is predicted, what is read is interpolated.

In torch's own operators alone. Positions may not be computed in half precision, whatever the dtype of the layer:
bfloat16 has eight bits, and loses whole pixels beyond 256 of them.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.theory.macs import conv_macs
from deconvbench.upsamplers.interpolation import interpolation_macs
from deconvbench.upsamplers.registry import register_upsampler

# Liu et al., arXiv:2308.15085, and the defaults of the authors' code
MAX_GROUPS = 4
OFFSET_SCOPE = 0.25  # input pixels per unit of the offset convolution
OFFSET_STD = 0.001  # of weights: a start close to bilinear interpolation


def choose_groups(out_channels: int) -> int:
    """Return the number of channel groups that have offsets of their own: the largest divisor of both 4 and C_out.

    Parameters
    ----------
    out_channels : int
        Channels C_out that are sampled.

    Returns
    -------
    int
        4, 2 or 1.
    """
    return math.gcd(MAX_GROUPS, out_channels)


def _locate_centres(size: int, scale_factor: int, like: Tensor) -> Tensor:
    """Return the centres of s·size output pixels, in input pixels from the centre of the first."""
    return (torch.arange(scale_factor * size, dtype=like.dtype, device=like.device) + 0.5) / scale_factor - 0.5


def sample_points(features: Tensor, offsets: Tensor, scale_factor: int) -> Tensor:
    """Read each output pixel, bilinearly, at its own place in the input plus an offset.

    Along one axis output pixel m reads at u = (m + ½)/s − ½ + offset, moved to the nearest border where it lies
    outside, from the input pixels ⌊u⌋ and ⌊u⌋ + 1 with weights 1 − (u − ⌊u⌋) and u − ⌊u⌋.

    Parameters
    ----------
    features : Tensor, shape (N, C, H, W), float32 or float64
        What is read.
    offsets : Tensor, shape (N, 2, g, sH, sW)
        Offsets to the right, then downwards, of each of g groups of C/g successive channels; in input pixels, in
        the dtype of `features`.
    scale_factor : int
        Scale s.

    Returns
    -------
    Tensor, shape (N, C, sH, sW)
        In the dtype of `features`.

    References
    ----------
    Liu et al., arXiv:2308.15085.
    """
    batch, channels, height, width = features.shape
    groups = offsets.shape[2]
    columns = _locate_centres(width, scale_factor, offsets) + offsets[:, 0]
    rows = _locate_centres(height, scale_factor, offsets)[:, None] + offsets[:, 1]
    # grid_sample's −1 and 1 are the outer edges of the outermost pixels
    grid = torch.stack(((2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1), dim=-1)
    y = functional.grid_sample(
        features.reshape(batch * groups, channels // groups, height, width),
        grid.flatten(0, 1),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    return y.reshape(batch, channels, scale_factor * height, scale_factor * width)


def _count_dysample(
    in_channels: int, out_channels: int, kernel_size: None, scale_factor: int, height: int, width: int
) -> int:
    del kernel_size
    offset_channels = 2 * choose_groups(out_channels) * scale_factor**2
    projection = conv_macs(in_channels, out_channels, 1, height, width)
    offsets = conv_macs(in_channels, offset_channels, 1, height, width)
    sampling = interpolation_macs("bilinear", out_channels, scale_factor * height, scale_factor * width)
    return projection + offsets + sampling


@register_upsampler(
    "dysample",
    summary="bilinear samples at positions that the content moves (DySample)",
    formula="conv_1(x)[(m + ½)/s − ½ + ¼·offset(x)[m]], bilinear",
    macs_formula="1/s² + 2g/C_out + 4/C_in, g = gcd(4, C_out)",
    reference="Liu et al., arXiv:2308.15085",
    shift_equivariant=True,
    has_kernel=False,
    macs=_count_dysample,
)
class DySample(nn.Module):
    """Dynamic point sampling (DySample, "linear + pixel shuffle", static scope) of a 1×1 projection.

    z = conv_1(x) has C_out channels, in g = gcd(4, C_out) groups. o = ¼·shuffle_s(conv_1(x)), of shape
    (2, g, sH, sW), says how far from its own place each output pixel reads, in input pixels: along both axes
    y[c, m] = z[c, (m + ½)/s − ½ + o[group of c, m]], bilinear between pixels and constant beyond the border. The
    weights of a sample sum to one, so a constant input stays constant everywhere, whatever the offsets.

    The paper keeps the number of channels, and its four groups divide it. Here the projection changes it, before
    the sampling, which costs s² times less; projecting afterwards gives the same numbers only where g = 1,
    because the groups are those of the output's channels. The offsets are predicted from the input's channels.

    Positions and samples are computed in float32 for float16 and bfloat16, and rounded at the end.

    MACs per image: H·W·(C_in·C_out + 2·g·s²·C_in) + 4·C_out·sH·sW, being the projection, the offsets and the
    samples. What computes positions from offsets is not counted.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output.
    kernel_size : None
        It has none to choose: its kernels are the paper's.
    scale_factor : int
        Scale s.

    References
    ----------
    Liu, Lu, Fu, Cao, "Learning to upsample by learning to sample", ICCV 2023, arXiv:2308.15085.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: None, scale_factor: int) -> None:
        super().__init__()
        del kernel_size
        self.scale_factor = scale_factor
        self.groups = choose_groups(out_channels)
        self.project = nn.Conv2d(in_channels, out_channels, 1)
        self.offset = nn.Conv2d(in_channels, 2 * self.groups * scale_factor**2, 1)
        assert self.offset.bias is not None  # for the type checker
        nn.init.normal_(self.offset.weight, std=OFFSET_STD)
        nn.init.zeros_(self.offset.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Upsample (N, C_in, H, W) to (N, C_out, sH, sW)."""
        features: Tensor = self.project(x)
        shuffled = functional.pixel_shuffle(self.offset(x), self.scale_factor)
        dtype = torch.promote_types(features.dtype, torch.float32)
        offsets = OFFSET_SCOPE * shuffled.to(dtype).reshape(len(x), 2, self.groups, *shuffled.shape[2:])
        return sample_points(features.to(dtype), offsets, self.scale_factor).to(features.dtype)
