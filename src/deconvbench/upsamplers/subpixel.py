"""Sub-pixel convolution: s² channels at low resolution become one at high resolution.

Plain, and with the initialisation that starts without a checkerboard. ICNR is an initialisation only: nothing
here may keep the phases equal during training.
"""

import torch
from torch import Tensor, nn

from deconvbench.theory.macs import conv_macs
from deconvbench.upsamplers.convolution import SameConv2d
from deconvbench.upsamplers.registry import register_upsampler


def _count_subpixel(
    in_channels: int, out_channels: int, kernel_size: int, scale_factor: int, height: int, width: int
) -> int:
    return conv_macs(in_channels, out_channels * scale_factor**2, kernel_size, height, width)


@register_upsampler(
    "subpixel",
    summary="convolution to s² times the channels, then PixelShuffle",
    formula="shuffle_s(conv_k(x))",
    macs_formula="k²",
    reference="Shi et al., arXiv:1609.05158",
    linear=True,
    shift_equivariant=True,
    macs=_count_subpixel,
)
class Subpixel(nn.Module):
    """Convolution with zero padding to C_out·s² channels, then PixelShuffle.

    y[c, s·h + i, s·w + j] = z[c·s² + i·s + j, h, w], where z is the convolution's output: each phase (i, j) has a
    kernel of its own. Equal to a transposed convolution of kernel size s·k and stride s.

    MACs: k² per output pixel, in units of C_in·C_out.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output.
    kernel_size : int
        Kernel size k of the convolution, in input pixels.
    scale_factor : int
        Scale s of the shuffle.

    References
    ----------
    Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel convolutional
    neural network", CVPR 2016, arXiv:1609.05158.
    Shi et al., "Is the deconvolution layer the same as a convolutional layer?", arXiv:1609.07009.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> None:
        super().__init__()
        self.conv = SameConv2d(in_channels, out_channels * scale_factor**2, kernel_size)
        self.shuffle = nn.PixelShuffle(scale_factor)

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge (N, C_in, H, W) to (N, C_out, sH, sW)."""
        y: Tensor = self.shuffle(self.conv(x))
        return y


@register_upsampler(
    "subpixel_icnr",
    summary="sub-pixel convolution that starts as convolution + nearest resize",
    formula="shuffle_s(conv_k(x)), equal phases at the start",
    macs_formula="k²",
    reference="Aitken et al., arXiv:1707.02937",
    linear=True,
    shift_equivariant=True,
    macs=_count_subpixel,
)
class SubpixelIcnr(Subpixel):
    """Sub-pixel convolution with ICNR: all phases of a channel start with the same kernel and bias.

    z[c·s² + φ] is initialised alike for all s² phases φ, as one convolution to C_out channels would be, so that
    the layer starts equal to convolution + nearest-neighbour resize. Training is free to make the phases differ.

    MACs: k² per output pixel, in units of C_in·C_out.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output.
    kernel_size : int
        Kernel size k of the convolution, in input pixels.
    scale_factor : int
        Scale s of the shuffle.

    References
    ----------
    Aitken et al., "Checkerboard artifact free sub-pixel convolution: a note on sub-pixel convolution, resize
    convolution and convolution resize", arXiv:1707.02937, section 3.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, scale_factor)
        phases = scale_factor**2
        with torch.no_grad():
            # torch draws by fan-in, which the number of output channels does not change: any phase is a fair draw
            for parameter in self.conv.parameters():
                parameter.copy_(parameter[::phases].repeat_interleave(phases, dim=0))
