"""Sub-pixel convolution: s² channels at low resolution become one at high resolution.

Plain, with the initialisation that starts without a checkerboard, and with the blur that keeps it away. ICNR is
an initialisation only: nothing here may keep the phases equal during training.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.theory.macs import conv_macs
from deconvbench.upsamplers.convolution import SameConv2d
from deconvbench.upsamplers.registry import register_upsampler
from deconvbench.upsamplers.torch_code import write_call, write_modules, write_ours, write_same_conv


def _count_subpixel(
    in_channels: int, out_channels: int, kernel_size: int, scale_factor: int, height: int, width: int
) -> int:
    return conv_macs(in_channels, out_channels * scale_factor**2, kernel_size, height, width)


def _write_code(in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> str:
    convolving = write_same_conv(in_channels, out_channels * scale_factor**2, kernel_size)
    return write_modules(*convolving, write_call("nn.PixelShuffle", scale_factor))


def _write_icnr_code(in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> str:
    *padding, conv = write_same_conv(in_channels, out_channels * scale_factor**2, kernel_size)
    modules = [*padding, "conv", write_call("nn.PixelShuffle", scale_factor)]
    return (
        f"import torch\nfrom torch import nn\n\nconv = {conv}\n"
        "with torch.no_grad():  # ICNR: all phases start alike\n"
        "    for values in conv.parameters():\n"
        f"        values.copy_(values[::{scale_factor**2}].repeat_interleave({scale_factor**2}, dim=0))\n"
        f"layer = nn.Sequential({', '.join(modules)})"
    )


@register_upsampler(
    "subpixel",
    summary="convolution to s² times the channels, then PixelShuffle",
    formula="shuffle_s(conv_k(x))",
    macs_formula="k²",
    reference="Shi et al., arXiv:1609.05158",
    linear=True,
    shift_equivariant=True,
    macs=_count_subpixel,
    code=_write_code,
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
        """Upsample (N, C_in, H, W) to (N, C_out, sH, sW)."""
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
    code=_write_icnr_code,
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


def _count_blurred(
    in_channels: int, out_channels: int, kernel_size: int, scale_factor: int, height: int, width: int
) -> int:
    shuffling = _count_subpixel(in_channels, out_channels, kernel_size, scale_factor, height, width)
    out_height, out_width = scale_factor * height, scale_factor * width
    # a mean costs as much as the depthwise convolution that it is
    blurring = conv_macs(out_channels, out_channels, scale_factor, out_height, out_width, groups=out_channels)
    return shuffling + blurring


@register_upsampler(
    "subpixel_icnr_blur",
    summary="sub-pixel convolution that starts with equal phases, then the mean of every s×s window",
    formula="mean_s(shuffle_s(conv_k(x)))",
    macs_formula="k² + s²/C_in",
    reference="Sugawara et al., arXiv:1806.02658; fastai",
    linear=True,
    shift_equivariant=True,
    macs=_count_blurred,
    code=write_ours("SubpixelIcnrBlur"),
)
class SubpixelIcnrBlur(SubpixelIcnr):
    """Sub-pixel convolution with ICNR, then an s×s mean of stride 1: without a checkerboard whatever is learned.

    y[m] = 1/s · Σ_{t=0}^{s−1} z[m − t] along one axis, where z is the shuffled map; before the border its
    outermost value is repeated. Away from the border every window holds each phase once, so the gain of each phase
    of y is the mean of those of z. ICNR makes no difference to that; it makes a smooth start. The window reaches
    back only, as in fastai: the output lies (s−1)/2 output pixels lower and further right than that of the other
    families. fastai has a ReLU before the shuffle, which this layer leaves to the network around it.

    MACs: k² per output pixel in units of C_in·C_out, and s² per output channel.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output.
    kernel_size : int
        Kernel size k of the convolution, in input pixels.
    scale_factor : int
        Scale s of the shuffle, and side of the window.

    References
    ----------
    Sugawara, Shiota, Kiya, "Super-resolution using convolutional neural networks without any checkerboard
    artifacts", ICIP 2018, arXiv:1806.02658 (a kernel of s×s ones after the upsampling).
    Howard, Gugger, "fastai: a layered API for deep learning", Information 2020, arXiv:2002.04688
    (``PixelShuffle_ICNR`` with ``blur=True``).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, scale_factor)
        self.window_size = scale_factor

    def forward(self, x: Tensor) -> Tensor:
        """Upsample (N, C_in, H, W) to (N, C_out, sH, sW)."""
        before = self.window_size - 1
        z = functional.pad(super().forward(x), (before, 0, before, 0), mode="replicate")
        return functional.avg_pool2d(z, self.window_size, stride=1)
