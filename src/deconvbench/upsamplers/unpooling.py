"""Max-unpooling with stored positions, then convolution: the decoder of SegNet and of deconvolutional networks.

There is no encoder here, so the positions are drawn once, from a seed of their own. They may depend neither on the
global random state nor on the input: that would make the layer something else in every run, or non-linear.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.theory.macs import conv_macs
from deconvbench.upsamplers.convolution import SameConv2d
from deconvbench.upsamplers.registry import register_upsampler

# windows a side: more than the receptive field of one layer, so that repetition shows in no metric of one
PATTERN_SIZE = 16
_PATTERN_SEED = 0


def _count_unpooled(
    in_channels: int, out_channels: int, kernel_size: int, scale_factor: int, height: int, width: int
) -> int:
    return conv_macs(in_channels, out_channels, kernel_size, scale_factor * height, scale_factor * width)


class MaxUnpool(nn.Module):
    """Max-unpooling to the positions of a fixed random pattern, the same for every image.

    Parameters
    ----------
    channels : int
        Channels C; each has positions of its own.
    scale_factor : int
        Scale s, the side of a window.
    """

    positions: Tensor

    def __init__(self, channels: int, scale_factor: int) -> None:
        super().__init__()
        self.scale_factor = scale_factor
        size = (2, channels, PATTERN_SIZE, PATTERN_SIZE)
        # drawn on the CPU whatever the default device: the same everywhere
        generator = torch.Generator("cpu").manual_seed(_PATTERN_SEED)
        positions = torch.randint(scale_factor, size, generator=generator, device="cpu")
        # the seed gives them back, and there is nothing learned in them
        self.register_buffer("positions", positions.to(torch.get_default_device()), persistent=False)

    def compute_indices(self, height: int, width: int) -> Tensor:
        """Say where the values of a map go, as ``max_pool2d(..., return_indices=True)`` would.

        Parameters
        ----------
        height, width : int
            Size of the input in pixels, which is its number of windows.

        Returns
        -------
        Tensor, shape (C, H, W), int64
            Index into the flattened (sH, sW) map of each channel; the pattern repeats beyond its size.
        """
        s, device = self.scale_factor, self.positions.device
        rows, columns = self.positions
        tiles = -(-height // PATTERN_SIZE), -(-width // PATTERN_SIZE)
        inside: Tensor = (rows * (s * width) + columns).repeat(1, *tiles)[:, :height, :width]
        first_rows = torch.arange(0, s * height, s, device=device)
        first_columns = torch.arange(0, s * width, s, device=device)
        windows = (first_rows * (s * width))[:, None] + first_columns
        return inside + windows

    def forward(self, x: Tensor, indices: Tensor | None = None) -> Tensor:
        """Spread (N, C, H, W) over (N, C, sH, sW), zero but for one pixel a window; `indices` say which one."""
        if indices is None:
            indices = self.compute_indices(*x.shape[2:]).expand(x.shape)
        y: Tensor = functional.max_unpool2d(x, indices, (self.scale_factor, self.scale_factor))
        return y


@register_upsampler(
    "max_unpool_conv",
    summary="max-unpooling to fixed random positions, then convolution",
    formula="conv_k(unpool_s(x))",
    macs_formula="k²",
    reference="Zeiler & Fergus, arXiv:1311.2901; SegNet, arXiv:1511.00561",
    linear=True,
    # the position within the window differs from window to window: a moved input lands elsewhere
    shift_equivariant=False,
    macs=_count_unpooled,
)
class MaxUnpoolConv(nn.Module):
    """Max-unpooling with stored positions, then a convolution with zero padding.

    z[c, s·h + a, s·w + b] = x[c, h, w] where (a, b) is the position stored for window (h, w) of channel c, and 0
    elsewhere; y is the convolution of z. In a network the positions are those of the maxima that an encoder's
    pooling found, which `forward` takes. Without them they are drawn once, uniformly, from a fixed seed: a pattern
    of 16×16 windows a channel that repeats over larger maps, the same in every layer of that shape. No phase is
    always visited, so artifacts do not line up into a checkerboard; those of an encoder do where its features are
    plain, for of equal values the first is the maximum. 1 − 1/s² of z is holes. Linear, for the positions do not
    depend on the input; not equivariant to shifts, for they differ from window to window.

    MACs: k² per output pixel, in units of C_in·C_out. The positions of every window are computed in each
    forward, in whole numbers; an encoder would bring them along.

    Inductor compiles one size at a time (``dynamic=False``): with sizes left open, torch 2.13 cannot order the
    strides of an unpooled map in front of a convolution with odd k. `max_unpool2d` refuses to run under
    ``torch.use_deterministic_algorithms``, though no two values of these positions meet.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output.
    kernel_size : int
        Kernel size k of the convolution.
    scale_factor : int
        Scale s, the side of a window.

    References
    ----------
    Zeiler, Fergus, "Visualizing and understanding convolutional networks", ECCV 2014, arXiv:1311.2901,
    section 2.1.
    Badrinarayanan, Kendall, Cipolla, "SegNet: a deep convolutional encoder-decoder architecture for image
    segmentation", arXiv:1511.00561.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> None:
        super().__init__()
        self.unpool = MaxUnpool(in_channels, scale_factor)
        self.conv = SameConv2d(in_channels, out_channels, kernel_size)

    def forward(self, x: Tensor, indices: Tensor | None = None) -> Tensor:
        """Upsample (N, C_in, H, W) to (N, C_out, sH, sW).

        Parameters
        ----------
        x : Tensor, shape (N, C_in, H, W)
            Features.
        indices : Tensor, shape (N, C_in, H, W), int64, or None
            Where each value goes, as ``max_pool2d(..., s, return_indices=True)`` of an encoder gives it; None: to
            the layer's own positions. With them the layer is not linear in the encoder's input.

        Returns
        -------
        Tensor, shape (N, C_out, sH, sW)
        """
        y: Tensor = self.conv(self.unpool(x, indices))
        return y
