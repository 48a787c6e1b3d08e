"""Separable transposed convolution: space first, one channel at a time, then the channels, one pixel at a time.

The cheap form that decoders took over from separable convolutions. Nothing here may convolve in space across
channels.
"""

from torch import Tensor, nn

from deconvbench.theory.macs import conv_macs, transposed_conv_macs
from deconvbench.theory.sizes import exact_padding
from deconvbench.upsamplers.registry import register_upsampler
from deconvbench.upsamplers.torch_code import write_modules, write_same_conv, write_transposed
from deconvbench.upsamplers.transposed import find_objection


def _count_separable(
    in_channels: int, out_channels: int, kernel_size: int, scale_factor: int, height: int, width: int
) -> int:
    depthwise = transposed_conv_macs(in_channels, in_channels, kernel_size, height, width, groups=in_channels)
    return depthwise + conv_macs(in_channels, out_channels, 1, scale_factor * height, scale_factor * width)


def _write_code(in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> str:
    upsample = write_transposed(
        in_channels, in_channels, kernel_size, scale_factor, groups=in_channels, bias=False
    )
    return write_modules(upsample, *write_same_conv(in_channels, out_channels, 1))


@register_upsampler(
    "separable_transposed",
    summary="depthwise transposed convolution, then a 1×1 convolution",
    formula="conv_1(depthwise convT_k(x)), stride s",
    macs_formula="k²/(s²·C_out) + 1",
    reference="Wojna et al., arXiv:1707.05847",
    linear=True,
    shift_equivariant=True,
    objection=find_objection,
    macs=_count_separable,
    code=_write_code,
)
class SeparableTransposed(nn.Module):
    """Depthwise transposed convolution that upsamples exactly by the scale, then a 1×1 convolution.

    Along one axis, z_i[m] = Σ_n x_i[n]·w_i[m + p − s·n] for each input channel i, with the padding p of
    `Transposed`, and y_o[m] = Σ_i v[o, i]·z_i[m]: a transposed convolution whose kernel from i to o is
    v[o, i]·w_i. Only the 1×1 convolution has a bias; one before it would add nothing that it cannot do.

    The kernels of an input channel are all alike but for a factor, so its phases have the same ratios in all
    output channels: it ripples as `Transposed` does.

    MACs: 1 per output pixel in units of C_in·C_out, and k²/s² per input channel.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output.
    kernel_size : int
        Kernel size k of the transposed convolution, at least s.
    scale_factor : int
        Scale s, its stride.

    Raises
    ------
    UsageError
        Where `find_objection` objects to kernel and scale.

    References
    ----------
    Wojna et al., "The devil is in the decoder: classification, regression and GANs", arXiv:1707.05847.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> None:
        super().__init__()
        padding, output_padding = exact_padding(kernel_size, scale_factor)
        self.upsample = nn.ConvTranspose2d(
            in_channels,
            in_channels,
            kernel_size,
            stride=scale_factor,
            padding=padding,
            output_padding=output_padding,
            groups=in_channels,
            bias=False,
        )
        self.mix = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Upsample (N, C_in, H, W) to (N, C_out, sH, sW)."""
        y: Tensor = self.mix(self.upsample(x))
        return y
