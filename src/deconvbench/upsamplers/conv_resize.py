"""Convolution first, at low resolution, then resize: the cheap baseline of resize-convolution.

What these layers save in multiplications they pay for in detail: nothing learned acts at the output's
resolution. They may not convolve after the resize.
"""

import functools

from torch import Tensor, nn

from deconvbench.theory.macs import conv_macs
from deconvbench.upsamplers.convolution import SameConv2d
from deconvbench.upsamplers.interpolation import interpolation_macs
from deconvbench.upsamplers.registry import register_upsampler
from deconvbench.upsamplers.torch_code import write_modules, write_same_conv, write_upsample


def _count_conv_resize(
    mode: str, in_channels: int, out_channels: int, kernel_size: int, scale_factor: int, height: int, width: int
) -> int:
    convolving = conv_macs(in_channels, out_channels, kernel_size, height, width)
    return convolving + interpolation_macs(mode, out_channels, scale_factor * height, scale_factor * width)


def _write_code(mode: str, in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> str:
    convolving = write_same_conv(in_channels, out_channels, kernel_size)
    return write_modules(*convolving, write_upsample(mode, scale_factor))


class _ConvResize(nn.Module):
    """Convolution that keeps the size, then interpolation of a given mode."""

    def __init__(
        self, mode: str, in_channels: int, out_channels: int, kernel_size: int, scale_factor: int
    ) -> None:
        super().__init__()
        self.conv = SameConv2d(in_channels, out_channels, kernel_size)
        # nearest has no corners to align; bilinear takes half-pixel centres
        align_corners = None if mode == "nearest" else False
        self.resize = nn.Upsample(scale_factor=scale_factor, mode=mode, align_corners=align_corners)

    def forward(self, x: Tensor) -> Tensor:
        """Upsample (N, C_in, H, W) to (N, C_out, sH, sW)."""
        y: Tensor = self.resize(self.conv(x))
        return y


@register_upsampler(
    "conv_nearest",
    summary="convolution at low resolution, then nearest-neighbour resize",
    formula="nearest_s(conv_k(x))",
    macs_formula="k²/s²",
    reference="Aitken et al., arXiv:1707.02937",
    linear=True,
    shift_equivariant=True,
    macs=functools.partial(_count_conv_resize, "nearest"),
    code=functools.partial(_write_code, "nearest"),
)
class ConvNearest(_ConvResize):
    """Convolution with zero padding, then nearest-neighbour upsampling.

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
        super().__init__("nearest", in_channels, out_channels, kernel_size, scale_factor)


@register_upsampler(
    "conv_bilinear",
    summary="convolution at low resolution, then bilinear resize (half-pixel)",
    formula="bilinear_s(conv_k(x))",
    macs_formula="k²/s² + 4/C_in",
    reference="Chen et al., arXiv:1606.00915",
    linear=True,
    shift_equivariant=True,
    macs=functools.partial(_count_conv_resize, "bilinear"),
    code=functools.partial(_write_code, "bilinear"),
)
class ConvBilinear(_ConvResize):
    """Convolution with zero padding, then half-pixel bilinear upsampling: the end of segmentation networks.

    With z[n] = Σ_t w[t]·x[n + t − (k−1)//2] along one axis, y[m] = (1 − a)·z[⌊u⌋] + a·z[⌊u⌋ + 1], where
    u = (m + ½)/s − ½ and a = u − ⌊u⌋; beyond the border the outermost value of z is repeated. The output has
    no detail finer than an input pixel, whatever is learned.

    MACs: k²/s² per output pixel in units of C_in·C_out, and 4 per output channel.

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
    Chen et al., "DeepLab: semantic image segmentation with deep convolutional nets, atrous convolution, and fully
    connected CRFs", TPAMI 2018, arXiv:1606.00915 (class scores, then bilinear interpolation).
    Aitken et al., "Checkerboard artifact free sub-pixel convolution", arXiv:1707.02937 (convolution resize).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> None:
        super().__init__("bilinear", in_channels, out_channels, kernel_size, scale_factor)
