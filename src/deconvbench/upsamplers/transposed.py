"""Transposed convolution, the article's "deconvolution", plain and with its first remedy.

The article's claims about overlap, kernels divisible by the stride and smoothing last layers are decided on
these layers, so they stay what torch computes: nothing here may equalise or re-initialise anything.
"""

from torch import Tensor, nn

from deconvbench.theory.macs import conv_macs, transposed_conv_macs
from deconvbench.theory.sizes import exact_padding
from deconvbench.upsamplers.registry import register_upsampler
from deconvbench.upsamplers.torch_code import write_call, write_modules, write_transposed

# the article says "a large filter"; 9 is what style-transfer networks use (Johnson et al. 2016)
SMOOTHING_KERNEL_SIZE = 9


def find_gap(kernel_size: int, scale_factor: int) -> str | None:
    """Say that the stamps of a transposed convolution leave gaps between them, or None where they do not.

    Parameters
    ----------
    kernel_size : int
        Kernel size k.
    scale_factor : int
        Scale s.
    """
    if kernel_size < scale_factor:
        return (
            "transposed convolution needs kernel_size >= scale_factor to cover every output pixel: "
            f"{kernel_size} < {scale_factor}"
        )
    return None


def find_objection(kernel_size: int, scale_factor: int) -> str | None:
    """Say why no transposed convolution upsamples exactly by this scale, or None where one does.

    Parameters
    ----------
    kernel_size : int
        Kernel size k.
    scale_factor : int
        Scale s.
    """
    gap = find_gap(kernel_size, scale_factor)
    if gap is not None:
        return gap
    if scale_factor == 1 and kernel_size % 2 == 0:
        return (
            "transposed convolution with scale_factor 1 needs an odd kernel_size to keep the size: "
            f"{kernel_size} is even"
        )
    return None


def count_transposed(
    in_channels: int, out_channels: int, kernel_size: int, scale_factor: int, height: int, width: int
) -> int:
    """Count the multiply-accumulates of a transposed convolution that upsamples by its stride.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output.
    kernel_size, scale_factor : int
        Kernel size k and scale s.
    height, width : int
        Size of the input in pixels.

    Returns
    -------
    int
        MACs of one image.
    """
    del scale_factor  # the kernel visits every input pixel once, whatever the scale
    return transposed_conv_macs(in_channels, out_channels, kernel_size, height, width)


def _count_smoothed(
    in_channels: int, out_channels: int, kernel_size: int, scale_factor: int, height: int, width: int
) -> int:
    upsampling = count_transposed(in_channels, out_channels, kernel_size, scale_factor, height, width)
    out_height, out_width = scale_factor * height, scale_factor * width
    return upsampling + conv_macs(out_channels, out_channels, SMOOTHING_KERNEL_SIZE, out_height, out_width)


def _write_code(in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> str:
    return write_modules(write_transposed(in_channels, out_channels, kernel_size, scale_factor))


def _write_smoothed_code(in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> str:
    padding = SMOOTHING_KERNEL_SIZE // 2
    smooth = write_call("nn.ConvTranspose2d", out_channels, out_channels, SMOOTHING_KERNEL_SIZE, padding=padding)
    return write_modules(write_transposed(in_channels, out_channels, kernel_size, scale_factor), smooth)


@register_upsampler(
    "transposed",
    summary="transposed convolution",
    formula="convT_k(x), stride s",
    macs_formula="k²/s²",
    reference="Zeiler et al. 2010; Dumoulin & Visin, arXiv:1603.07285",
    linear=True,
    shift_equivariant=True,
    objection=find_objection,
    macs=count_transposed,
    code=_write_code,
)
class Transposed(nn.ConvTranspose2d):
    """Transposed convolution that upsamples exactly by the scale.

    Along one axis, y[m] = Σ_n x[n]·w[m + p − s·n], with padding p = ⌈(k−s)/2⌉ and output padding 2p − (k−s):
    every input pixel stamps the kernel onto the output, s pixels apart. As a matrix it is Cᵀ, where C is the
    convolution of stride s with the same kernel.

    MACs: k²/s² per output pixel, in units of C_in·C_out.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output.
    kernel_size : int
        Kernel size k, at least s.
    scale_factor : int
        Scale s, the stride.

    Raises
    ------
    UsageError
        Where `find_objection` objects to kernel and scale.

    References
    ----------
    Zeiler, Krishnan, Taylor, Fergus, "Deconvolutional networks", CVPR 2010.
    Dumoulin, Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285, chapter 4.
    The article, figures 2 to 4.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> None:
        padding, output_padding = exact_padding(kernel_size, scale_factor)
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=scale_factor,
            padding=padding,
            output_padding=output_padding,
        )


@register_upsampler(
    "transposed_smoothed",
    summary=f"transposed convolution, then one of stride 1 with kernel {SMOOTHING_KERNEL_SIZE}",
    formula="convT_9(convT_k(x)), strides s, 1",
    macs_formula="k²/s² + 81 C_out/C_in",
    reference="the article's first remedy; Odena et al. 2016",
    linear=True,
    shift_equivariant=True,
    objection=find_objection,
    macs=_count_smoothed,
    code=_write_smoothed_code,
)
class TransposedSmoothed(nn.Module):
    """Transposed convolution followed by a transposed convolution of stride 1 with a large kernel.

    y = D₉(Dₖ(x)): Dₖ is `Transposed`; D₉ has C_out channels in and out, stride 1, kernel 9 and padding 4, so it
    keeps the size. The last layer may learn to smooth the checkerboard away; nothing makes it do so.

    MACs: k²/s² per output pixel in units of C_in·C_out, and 81 in units of C_out·C_out.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output.
    kernel_size : int
        Kernel size k of the first layer, at least s.
    scale_factor : int
        Scale s, the stride of the first layer.

    Raises
    ------
    UsageError
        Where `find_objection` objects to kernel and scale.

    References
    ----------
    Odena, Dumoulin, Olah, "Deconvolution and checkerboard artifacts", Distill 2016.
    The article, "How to avoid checkerboard artifacts", first way.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> None:
        super().__init__()
        self.upsample = Transposed(in_channels, out_channels, kernel_size, scale_factor)
        self.smooth = nn.ConvTranspose2d(
            out_channels, out_channels, SMOOTHING_KERNEL_SIZE, padding=SMOOTHING_KERNEL_SIZE // 2
        )

    def forward(self, x: Tensor) -> Tensor:
        """Upsample (N, C_in, H, W) to (N, C_out, sH, sW)."""
        smoothed: Tensor = self.smooth(self.upsample(x))
        return smoothed
