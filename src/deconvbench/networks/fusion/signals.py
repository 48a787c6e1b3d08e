"""Signals, (N, C, L), upsampled and convolved along their one axis: as one transposed convolution.

Nearest-neighbour upsampling by s and a kernel k are a transposed convolution of kernel k + s − 1: that many
products for s samples, in place of k·s. Exact but for rounding.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from deconvbench.networks.fusion.calls import ConvolveCall
from deconvbench.networks.fusion.expressions import Interpreter, LazyExpression
from deconvbench.networks.fusion.matching import Match, Piece
from deconvbench.networks.fusion.tensors import lay_out
from deconvbench.upsamplers.fast.weights import transform_taps, transposed_matrix

# measured on one core of a busy machine (float32, 4 to 256 channels in, 512 to 16384 samples, kernels 3 to 17,
# scales 2 to 8): from so many samples and products on, where so many times fewer products are left, modules are
# 1.2 to 3.9 times as fast, with gradients up to 8; with fewer they are 0.7 to 1.3, and with more outputs than
# inputs the transposed convolution is slower
_LEAST_SAMPLES, _LEAST_PRODUCTS, _LEAST_SAVED = 1024, 2**25, 2.5
# smaller kernels save so many at scales that nobody has
_LEAST_KERNEL = 4
# 10 % more than the plain form's are allowed
_MEMORY_LIMIT = 1.07


def may_pay(conv: nn.Conv1d) -> bool:
    """Whether a convolution may be fast after some upsampling.

    Parameters
    ----------
    conv : nn.Conv1d
        Any.
    """
    is_plain = (conv.stride, conv.dilation, conv.groups, conv.padding_mode) == ((1,), (1,), 1, "zeros")
    return is_plain and conv.kernel_size[0] >= _LEAST_KERNEL and conv.out_channels <= conv.in_channels


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalTask:
    """A convolution of an upsampled signal.

    Parameters
    ----------
    expression : LazyExpression of Tensor
        The signal, of one part.
    weight : Tensor, shape (C_out, C_in/groups, k)
        Of the convolution.
    match : Match
        Its kernel, groups and scale.
    padding : (int, int)
        Samples before the first and after the last.
    """

    expression: LazyExpression[Tensor]
    weight: Tensor
    match: Match
    padding: tuple[int, int]

    @property
    def image(self) -> LazyExpression[Tensor]:
        """What is convolved."""
        return self.expression

    def run(
        self,
        weight: Tensor,
        bias: Tensor | None,
        interpreter: Interpreter[Tensor],  # noqa: ARG002 -- as of `ConvolutionTask`
        max_memory: int | None,  # noqa: ARG002 -- as of `ConvolutionTask`
    ) -> Tensor:
        """Convolve.

        Parameters
        ----------
        weight, bias, interpreter, max_memory
            As of `ConvolutionTask`.

        Returns
        -------
        Tensor, shape (N, C_out, L')
        """
        (part,) = self.expression.parts
        (piece,) = self.match.pieces
        size = self.match.kernel_size
        kernel = transform_taps(weight, transposed_matrix(size, piece.scale))
        # its kernel is flipped, and so is what comes before and after
        crop, less = (size - 1 - amount for amount in self.padding)
        y = functional.conv_transpose1d(
            part.source,
            kernel.transpose(0, 1),
            bias,
            stride=piece.scale,
            padding=crop,
            output_padding=crop - less,
        )
        return lay_out(y)

    def gains(self, *, is_prepared: bool, is_computed: bool) -> bool:  # noqa: ARG002 -- as of `ConvolutionTask`
        """Whether it is faster than a convolution of the computed signal.

        Parameters
        ----------
        is_prepared, is_computed : bool
            Make no difference.
        """
        (part,) = self.expression.parts
        (piece,) = self.match.pieces
        size, scale, out_channels = self.match.kernel_size, piece.scale, self.match.out_channels
        samples = part.source.shape[0] * part.source.shape[2]
        return (
            part.source.device.type == "cpu"
            and out_channels <= piece.length
            and size * scale >= _LEAST_SAVED * (size + scale - 1)
            and samples >= _LEAST_SAMPLES
            and size * scale * samples * piece.length * out_channels >= _LEAST_PRODUCTS
            and self._holds_little(samples, piece.length, out_channels, scale)
        )

    def _holds_little(self, samples: int, in_channels: int, out_channels: int, scale: int) -> bool:
        """Whether it holds about as much as the plain form at most, by what oneDNN was measured to hold."""
        upsampled, outputs = scale * samples * in_channels, scale * samples * out_channels
        # the transposed kernel is held beside what the library re-orders of it
        kernels = 2 * (self.match.kernel_size + scale - 1) * in_channels * out_channels
        held = max(3 * outputs, outputs + samples * in_channels) + kernels
        return held <= _MEMORY_LIMIT * (upsampled + outputs + max(upsampled, outputs))


def plan_signal(call: ConvolveCall, expression: LazyExpression[Tensor]) -> SignalTask | str:  # noqa: PLR0911 -- one return for each reason
    """Plan the convolution of a signal, or say why it is left to torch.

    Parameters
    ----------
    call : ConvolveCall
        Of ``conv1d``.
    expression : LazyExpression of Tensor
        Its input.
    """
    shape, weight = call.image.shape, call.weight
    if len(shape) != 3 or len(weight.shape) != 3:
        return f"its input has {len(shape)} dimensions, not 3 (N, C, L)"
    (part,) = expression.parts
    rows, scale = part.scales
    if rows != 1 or expression.padding:
        return "its channels are repeated, or it is padded before"
    if (call.stride, call.dilation, call.groups) != ((1,), (1,), 1):
        return f"stride {call.stride}, dilation {call.dilation} and groups {call.groups} are not all 1"
    size = weight.shape[2]
    if size < _LEAST_KERNEL:
        return f"along one axis a kernel of {size} shares too few products"
    if weight.shape[1] != shape[1]:
        return f"its input has {shape[1]} channels, its weight {weight.shape[1]}"
    if not weight.is_contiguous():
        return "its weight is not contiguous"
    padding = _read_padding(call.padding, size)
    if padding is None:
        return f"padding {call.padding} is none that its kernel reaches over"
    if shape[2] + sum(padding) < size:
        return f"a kernel of {size} samples may not fit into it"
    piece = Piece(first=0, last=1, start=0, length=shape[1], scale=scale)
    match = Match(kernel_size=size, out_channels=weight.shape[0], padding_mode="zeros", groups=1, pieces=(piece,))
    return SignalTask(expression=expression, weight=weight, match=match, padding=padding)


def _read_padding(padding: Any, size: int) -> tuple[int, int] | None:
    """Find how many samples are padded before and after; None for more than the kernel reaches over."""
    if padding == "same":
        # the odd one comes last
        return (size - 1) // 2, size // 2
    amount = 0 if padding == "valid" else padding[0]
    return (amount, amount) if type(amount) is int and 0 <= amount < size else None
