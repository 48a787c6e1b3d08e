"""Resize-convolution, the article's remedy: interpolate first, then convolve.

The plain forms, as people write them. A faster form of the same function belongs in a family of its own, so that
these stay what it is compared with.
"""

import functools

from torch import Tensor, nn

from deconvbench.theory.macs import conv_macs
from deconvbench.upsamplers.convolution import SameConv2d
from deconvbench.upsamplers.interpolation import interpolation_macs
from deconvbench.upsamplers.registry import register_upsampler
from deconvbench.upsamplers.torch_code import write_modules, write_same_conv, write_upsample


def _count_resize_conv(
    mode: str, in_channels: int, out_channels: int, kernel_size: int, scale_factor: int, height: int, width: int
) -> int:
    out_height, out_width = scale_factor * height, scale_factor * width
    resizing = interpolation_macs(mode, in_channels, out_height, out_width)
    return resizing + conv_macs(in_channels, out_channels, kernel_size, out_height, out_width)


def _write_code(mode: str, in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> str:
    convolving = write_same_conv(in_channels, out_channels, kernel_size)
    return write_modules(write_upsample(mode, scale_factor), *convolving)


class _ResizeConv(nn.Module):
    """Interpolation of a given mode, then a convolution that keeps the size."""

    def __init__(
        self, mode: str, in_channels: int, out_channels: int, kernel_size: int, scale_factor: int
    ) -> None:
        super().__init__()
        # nearest has no corners to align; the others take half-pixel centres
        align_corners = None if mode == "nearest" else False
        self.resize = nn.Upsample(scale_factor=scale_factor, mode=mode, align_corners=align_corners)
        self.conv = SameConv2d(in_channels, out_channels, kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        """Upsample (N, C_in, H, W) to (N, C_out, sH, sW)."""
        y: Tensor = self.conv(self.resize(x))
        return y


@register_upsampler(
    "nearest_conv",
    summary="nearest-neighbour resize, then convolution",
    formula="conv_k(nearest_s(x))",
    macs_formula="k²",
    reference="Odena et al. 2016; the article's remedy",
    linear=True,
    shift_equivariant=True,
    macs=functools.partial(_count_resize_conv, "nearest"),
    code=functools.partial(_write_code, "nearest"),
)
class NearestConv(_ResizeConv):
    """Nearest-neighbour upsampling, then a convolution with zero padding.

    Along one axis, y[m] = Σ_t w[t]·x[⌊(m + t − (k−1)//2) / s⌋]. Equal to a transposed convolution whose kernel
    is box_s ∗ flip(w), of size k + s − 1, so every phase has the same sum and a constant stays constant.

    MACs: k² per output pixel, in units of C_in·C_out.

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
    Odena, Dumoulin, Olah, "Deconvolution and checkerboard artifacts", Distill 2016.
    The article, figure 7.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> None:
        super().__init__("nearest", in_channels, out_channels, kernel_size, scale_factor)


@register_upsampler(
    "bilinear_conv",
    summary="bilinear resize (half-pixel), then convolution",
    formula="conv_k(bilinear_s(x))",
    macs_formula="k² + 4/C_out",
    reference="Odena et al. 2016",
    linear=True,
    shift_equivariant=True,
    macs=functools.partial(_count_resize_conv, "bilinear"),
    code=functools.partial(_write_code, "bilinear"),
)
class BilinearConv(_ResizeConv):
    """Half-pixel bilinear upsampling, then a convolution with zero padding.

    Along one axis, output pixel m of the resize lies at u = (m + ½)/s − ½ between the input pixels ⌊u⌋ and
    ⌊u⌋ + 1, weighted 1 − (u − ⌊u⌋) and u − ⌊u⌋; beyond the border the outermost pixel is repeated.

    MACs: k² per output pixel in units of C_in·C_out, and 4 per input channel.

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
    Odena, Dumoulin, Olah, "Deconvolution and checkerboard artifacts", Distill 2016.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> None:
        super().__init__("bilinear", in_channels, out_channels, kernel_size, scale_factor)


@register_upsampler(
    "bicubic_conv",
    summary="bicubic resize (half-pixel), then convolution",
    formula="conv_k(bicubic_s(x))",
    macs_formula="k² + 16/C_out",
    reference="Keys 1981; Odena et al. 2016",
    linear=True,
    shift_equivariant=True,
    macs=functools.partial(_count_resize_conv, "bicubic"),
    code=functools.partial(_write_code, "bicubic"),
)
class BicubicConv(_ResizeConv):
    """Half-pixel bicubic upsampling, then a convolution with zero padding.

    Along one axis, output pixel m of the resize lies at u = (m + ½)/s − ½ and is the sum of the four input
    pixels around it, weighted by the cubic convolution kernel with a = −¾; beyond the border the outermost
    pixel is repeated. The weights sum to one, but some are negative: edges overshoot.

    MACs: k² per output pixel in units of C_in·C_out, and 16 per input channel.

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
    Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 1981.
    Odena, Dumoulin, Olah, "Deconvolution and checkerboard artifacts", Distill 2016.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> None:
        super().__init__("bicubic", in_channels, out_channels, kernel_size, scale_factor)
