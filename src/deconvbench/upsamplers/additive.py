"""Bilinear additive upsampling: interpolate, then spend channels as pixels are gained.

The plain form, as its authors run it: it sums after the resize. Summing first is the same function (interpolation
is linear and treats channels alike) with s² times fewer channels to interpolate; that is a faster form, and what
it would be compared with is this.
"""

import torch
from torch import Tensor, nn

from deconvbench.theory.macs import conv_macs
from deconvbench.upsamplers.convolution import SameConv2d
from deconvbench.upsamplers.interpolation import interpolation_macs
from deconvbench.upsamplers.registry import register_upsampler


def _count_additive(
    in_channels: int, out_channels: int, kernel_size: int, scale_factor: int, height: int, width: int
) -> int:
    out_height, out_width = scale_factor * height, scale_factor * width
    resizing = interpolation_macs("bilinear", in_channels, out_height, out_width)
    groups = _count_groups(in_channels, scale_factor)
    # the sums in between multiply nothing
    return resizing + conv_macs(groups, out_channels, kernel_size, out_height, out_width)


def _count_groups(channels: int, scale_factor: int) -> int:
    """Count the groups of s² channels; where s² does not divide the channels, the last one is smaller."""
    return -(-channels // scale_factor**2)


@register_upsampler(
    "bilinear_additive",
    summary="bilinear resize (half-pixel), sums of s² consecutive channels, then convolution",
    formula="conv_k(Σ_s²(bilinear_s(x)))",
    macs_formula="k²/s² + 4/C_out",
    reference="Wojna et al., arXiv:1707.05847",
    linear=True,
    shift_equivariant=True,
    macs=_count_additive,
)
class BilinearAdditive(nn.Module):
    """Half-pixel bilinear upsampling, sums of s² consecutive channels, then a convolution with zero padding.

    z[g] = Σ_{c = s²·g}^{min(s²·(g+1), C_in) − 1} b[c], where b is the input upsampled bilinearly (as in
    `bilinear_conv`), and y = conv(z). So z has ⌈C_in/s²⌉ channels and, where s² divides C_in, as many values as
    the input. Equal to `bilinear_conv` whose kernels are the same for all channels of a group.

    MACs: k²·⌈C_in/s²⌉/C_in per output pixel in units of C_in·C_out (k²/s² where s² divides C_in), and 4 per input
    channel. Every input channel is interpolated, because the resize comes before the sums (see this module).

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output.
    kernel_size : int
        Kernel size k of the convolution.
    scale_factor : int
        Scale s of the resize; its square is the number of channels in a group.

    References
    ----------
    Wojna et al., "The devil is in the decoder: classification, regression and GANs", IJCV 2019,
    arXiv:1707.05847, section on bilinear additive upsampling.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> None:
        super().__init__()
        self.resize = nn.Upsample(scale_factor=scale_factor, mode="bilinear", align_corners=False)
        self.group_size = scale_factor**2
        self.conv = SameConv2d(_count_groups(in_channels, scale_factor), out_channels, kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        """Upsample (N, C_in, H, W) to (N, C_out, sH, sW)."""
        y: Tensor = self.conv(self._sum_groups(self.resize(x)))
        return y

    def _sum_groups(self, x: Tensor) -> Tensor:
        """Sum consecutive channels of (N, C, H, W) into (N, ⌈C/s²⌉, H, W)."""
        whole, rest = divmod(x.shape[1], self.group_size)
        sums = torch.unflatten(x[:, : whole * self.group_size], 1, (whole, self.group_size)).sum(2)
        if rest == 0:
            return sums
        return torch.cat([sums, x[:, -rest:].sum(1, keepdim=True)], dim=1)
