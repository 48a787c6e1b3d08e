"""Convolution first, at low resolution, then resize: the cheap baseline of resize-convolution.

What these layers save in multiplications they pay for in detail: nothing learned acts at the output's
resolution. They may not convolve after the resize.
"""

from torch import Tensor, nn

from deconvbench.theory.macs import conv_macs
from deconvbench.upsamplers.convolution import SameConv2d
from deconvbench.upsamplers.registry import register_upsampler


def _count_conv_nearest(
    in_channels: int, out_channels: int, kernel_size: int, scale_factor: int, height: int, width: int
) -> int:
    del scale_factor  # nearest copies: it multiplies nothing
    return conv_macs(in_channels, out_channels, kernel_size, height, width)


@register_upsampler(
    "conv_nearest",
    summary="convolution at low resolution, then nearest-neighbour resize",
    formula="nearest_s(conv_k(x))",
    macs_formula="k²/s²",
    reference="Aitken et al., arXiv:1707.02937",
    linear=True,
    shift_equivariant=True,
    macs=_count_conv_nearest,
)
class ConvNearest(nn.Module):
    """Convolution with zero padding, then nearest-neighbour enlargement.

    Along one axis, y[m] = Σ_t w[t]·x[⌊m/s⌋ + t − (k−1)//2]: every s×s block of the output has one value.

    MACs: k²/s² per output pixel, in units of C_in·C_out.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output.
    kernel_size : int
        Kernel size k of the convolution.
    scale_factor : int
        Scale s of the resize.

    References
    ----------
    Aitken et al., "Checkerboard artifact free sub-pixel convolution", arXiv:1707.02937.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> None:
        super().__init__()
        self.conv = SameConv2d(in_channels, out_channels, kernel_size)
        self.resize = nn.Upsample(scale_factor=scale_factor, mode="nearest")

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge (N, C_in, H, W) to (N, C_out, sH, sW)."""
        y: Tensor = self.resize(self.conv(x))
        return y
