"""Sub-pixel convolution: s² channels at low resolution become one at high resolution.

Plain, with the initialisation that starts without a checkerboard, and with the blur that keeps it away. ICNR is
an initialisation only: nothing here may keep the phases equal during training.
"""

from typing import get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.arguments import check_whole
from deconvbench.errors import UsageError
from deconvbench.theory.macs import conv_macs
from deconvbench.upsamplers.convolution import PaddingMode, SameConv2d
from deconvbench.upsamplers.registry import register_upsampler
from deconvbench.upsamplers.torch_code import write_call, write_modules, write_ours, write_same_conv

PADDING_MODES = get_args(PaddingMode)


class SubpixelConv2d(SameConv2d):
    """Convolution to C_out·s² channels that keeps the size, then PixelShuffle, in one layer.

    y[c, s·h + i, s·w + j] = z[c·s² + i·s + j, h, w], where z is the convolution's output: each phase (i, j) has a
    kernel of its own. Equal to ``Sequential(Conv2d(C_in, C_out·s², k, padding=k//2), PixelShuffle(s))``, whose
    parameters it has as ``weight`` and ``bias``: a checkpoint of that has them as ``0.weight`` and ``0.bias``.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output.
    kernel_size : int
        Kernel size k of the convolution, in input pixels; an even one pads (k−1)//2 before and k//2 after.
    scale_factor : int
        Scale s of the shuffle.
    icnr : bool
        Start with the same kernel and bias in all phases of a channel (ICNR): without a checkerboard, until
        training makes the phases differ.
    blur : bool
        Take the mean of every s×s window of the result, with the outermost value repeated above and to the left:
        y'[m] = 1/s·Σ_{t=0}^{s−1} y[m − t] along one axis. Every window holds each phase once, so that no training
        brings a checkerboard of constant inputs; the output lies (s−1)/2 pixels further down and right.
    bias : bool
        Whether to add a learnt bias to each of the C_out·s² channels.
    groups : int
        Groups of the convolution; a divisor of both numbers of channels.
    padding_mode : str
        ``zeros``, ``reflect``, ``replicate`` or ``circular``: what the convolution sees beyond the border.
    device, dtype
        Of the parameters.

    Attributes
    ----------
    weight : Parameter, shape (C_out·s², C_in/groups, k, k)
    bias : Parameter, shape (C_out·s²,), or None

    Raises
    ------
    UsageError
        If a parameter is not allowed; the message says which are.

    References
    ----------
    Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel convolutional
    neural network", CVPR 2016, arXiv:1609.05158.
    Aitken et al., "Checkerboard artifact free sub-pixel convolution", arXiv:1707.02937 (ICNR).
    Sugawara, Shiota, Kiya, arXiv:1806.02658 (the blur).

    Examples
    --------
    >>> layer = SubpixelConv2d(8, 4, kernel_size=3, scale_factor=2, icnr=True)
    >>> layer(torch.zeros(1, 8, 5, 7)).shape
    torch.Size([1, 4, 10, 14])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        scale_factor: int = 2,
        icnr: bool = False,
        blur: bool = False,
        *,
        bias: bool = True,
        groups: int = 1,
        padding_mode: PaddingMode = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        sizes = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "kernel_size": kernel_size,
            "scale_factor": scale_factor,
            "groups": groups,
        }
        for name, value in sizes.items():
            check_whole(name, value, 1)
        if in_channels % groups or out_channels % groups:
            raise UsageError(
                f"groups: {groups} does not divide both in_channels {in_channels} and out_channels {out_channels}"
            )
        if padding_mode not in PADDING_MODES:
            raise UsageError(f"padding_mode: {padding_mode!r} is not one of {', '.join(PADDING_MODES)}")
        super().__init__(
            *(in_channels, out_channels * scale_factor**2, kernel_size),
            bias=bias,
            groups=groups,
            padding_mode=padding_mode,
            device=device,
            dtype=dtype,
        )
        # of the layer, not of the convolution in it
        self.out_channels = out_channels
        self.scale_factor, self.icnr, self.blur = scale_factor, bool(icnr), bool(blur)
        self._equalise_phases()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew, with equal phases if the layer is to start so."""
        super().reset_parameters()
        # torch's constructor draws too, before the layer knows
        if "icnr" in vars(self):
            self._equalise_phases()

    def _equalise_phases(self) -> None:
        if not self.icnr:
            return
        phases = self.scale_factor**2
        with torch.no_grad():
            # torch draws by fan-in, which the number of output channels does not change: any phase is a fair draw
            for parameter in self.parameters(recurse=False):
                parameter.copy_(parameter[::phases].repeat_interleave(phases, dim=0))

    def forward(self, input: Tensor) -> Tensor:
        """Upsample (N, C_in, H, W) or (C_in, H, W) to (N, C_out, s·H, s·W) or (C_out, s·H, s·W)."""
        y = functional.pixel_shuffle(super().forward(input), self.scale_factor)
        if not self.blur:
            return y
        before = self.scale_factor - 1
        padded = functional.pad(y, (before, 0, before, 0), mode="replicate")
        return functional.avg_pool2d(padded, self.scale_factor, stride=1)

    def extra_repr(self) -> str:
        """Say what the layer is, as torch's own layers do."""
        words = [
            f"{self.in_channels}, {self.out_channels}",
            f"kernel_size={self.kernel_size[0]}, scale_factor={self.scale_factor}",
        ]
        words += [name for name, value in (("icnr=True", self.icnr), ("blur=True", self.blur)) if value]
        if self.groups != 1:
            words.append(f"groups={self.groups}")
        if self.bias is None:
            words.append("bias=False")
        if self.padding_mode != "zeros":
            words.append(f"padding_mode={self.padding_mode}")
        return ", ".join(words)


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

    icnr = False
    blur = False

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> None:
        super().__init__()
        # a layer in a layer, for the keys of checkpoints
        self.conv = SubpixelConv2d(
            in_channels, out_channels, kernel_size, scale_factor, icnr=self.icnr, blur=self.blur
        )

    def forward(self, x: Tensor) -> Tensor:
        """Upsample (N, C_in, H, W) to (N, C_out, sH, sW)."""
        y: Tensor = self.conv(x)
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

    icnr = True


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

    blur = True
