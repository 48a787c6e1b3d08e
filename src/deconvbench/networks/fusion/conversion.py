r"""Transposed convolution and sub-pixel convolution (then PixelShuffle) turned into one another, exactly.

Every transposed convolution is a convolution at low resolution with s² times the channels, and PixelShuffle:
output pixel s·m + φ reads input pixel m + d with tap φ − s·d + P, for every d at which that tap exists. The
other way round, k×k taps in each of s² phases are one transposed kernel of s·k × s·k. Neither changes what is
learnt; both are linear in the weight, so gradients flow through.

Which is faster was measured on a CPU (AMD EPYC, float32, batch 1, one thread, interleaved medians, contiguous and
channels_last):

- transposed → sub-pixel: 1.4 to 5.8 times faster with at most 3 output channels and s ≥ 3 (kernels 4, 8 and 9 with
  s = 4), where oneDNN's transposed convolution leaves its vectors empty. With s = 2 it is 1.0 to 2.1 (3.2 once),
  and with 8 and more output channels 0.2 to 1.7 without a pattern, for the phases carry up to 2.25 times the taps.
- sub-pixel → transposed: 0.05 to 1.6, mostly below 1; nowhere clearly faster.

So `explain_transposed` says yes in the first range only, and nothing ever uses `convert_subpixel` by itself.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.errors import UsageError
from deconvbench.upsamplers.fast.deconvolution.shape import TransposedShape

_MOST_CHANNELS = 3
_LEAST_SCALE = 3


def explain_transposed(shape: TransposedShape) -> str | None:
    """Say why a transposed convolution is left as it is, or None where it is faster as a sub-pixel convolution.

    Parameters
    ----------
    shape : TransposedShape
        Any.
    """
    objection = _explain_conversion(shape)
    if objection is not None:
        return objection
    if shape.out_channels > _MOST_CHANNELS or shape.stride[0] < _LEAST_SCALE:
        return (
            f"{shape.out_channels} output channels and stride {shape.stride[0]}: as a sub-pixel convolution it is"
            f" faster only with at most {_MOST_CHANNELS} and at least {_LEAST_SCALE}"
        )
    return None


def _explain_conversion(shape: TransposedShape) -> str | None:
    if shape.groups != 1 or shape.dilation != (1, 1):
        return f"groups {shape.groups} and dilation {shape.dilation} are not 1"
    for name in ("kernel_size", "stride", "padding", "output_padding"):
        rows, columns = getattr(shape, name)
        if rows != columns:
            return f"{name} {rows, columns} is not square"
    if shape.kernel_size[0] < shape.stride[0]:
        return f"kernel_size {shape.kernel_size[0]} is smaller than stride {shape.stride[0]}"
    return None


def convert_transposed(x: Tensor, weight: Tensor, bias: Tensor | None, shape: TransposedShape) -> Tensor:
    """Compute a transposed convolution as a sub-pixel convolution.

    Parameters
    ----------
    x : Tensor, shape (N, C_in, H, W)
        The input; not empty, and finite: a tap that does not exist is a zero here, and zero times infinity is NaN.
    weight : Tensor, shape (C_in, C_out, k, k)
        Of the transposed convolution; finite too.
    bias : Tensor, shape (C_out,), or None
        Added to every pixel.
    shape : TransposedShape
        Square, without groups and dilation, kernel no smaller than the stride; with pixels in its output.

    Returns
    -------
    Tensor, shape (N, C_out, H_out, W_out)
        What the transposed convolution is, to rounding. It may be a view of more.

    Raises
    ------
    UsageError
        For other layers.

    References
    ----------
    Shi et al., "Is the deconvolution layer the same as a convolutional layer?", arXiv:1609.07009.
    """
    objection = _explain_conversion(shape)
    if objection is not None:
        raise UsageError(f"conv: {objection}")
    size, scale, padding = shape.kernel_size[0], shape.stride[0], shape.padding[0]
    first, last = _find_reach(size, scale, padding)
    kernel = _make_phases(weight, scale, padding, first, last)
    biases = None if bias is None else bias.repeat_interleave(scale * scale)
    lengths = shape.measure_output(x.shape[2:])
    blocks = [-(-length // scale) for length in lengths]
    # what block 0 and the last block read beyond the image
    after = [count - 1 + last - (number - 1) for count, number in zip(blocks, x.shape[2:], strict=True)]
    padded = functional.pad(x, (-first, after[1], -first, after[0]))
    y = functional.pixel_shuffle(functional.conv2d(padded, kernel, biases), scale)
    return y[..., : lengths[0], : lengths[1]]


def _as_ints(padding: Sequence[int] | str) -> tuple[int, int]:
    assert not isinstance(padding, str)  # a transposed convolution takes numbers only
    rows, columns = padding
    return rows, columns


def _find_reach(size: int, scale: int, padding: int) -> tuple[int, int]:
    """Between which neighbours the input pixels of a block of s output pixels lie."""
    first = min(math.ceil((phase + padding - size + 1) / scale) for phase in range(scale))
    return first, (scale - 1 + padding) // scale


def _make_phases(weight: Tensor, scale: int, padding: int, first: int, last: int) -> Tensor:
    """(C_in, C_out, k, k) to (C_out·s², C_in, n, n), n = last − first + 1."""
    taps = [
        [phase - scale * neighbour + padding for neighbour in range(first, last + 1)] for phase in range(scale)
    ]
    size = weight.shape[-1]
    # one row and column of zeros for the taps that do not exist
    extended = functional.pad(weight, (0, 1, 0, 1))
    index = torch.tensor([tap if 0 <= tap < size else size for row in taps for tap in row], device=weight.device)
    count = last - first + 1
    picked = extended.index_select(2, index).index_select(3, index)
    phases = torch.unflatten(torch.unflatten(picked, 3, (scale, count)), 2, (scale, count))
    # (C_in, C_out, phase, tap, phase, tap) to (C_out, phase, phase, C_in, tap, tap)
    return phases.permute(1, 2, 4, 0, 3, 5).flatten(0, 2)


def convert_subpixel(conv: nn.Conv2d, x: Tensor, scale_factor: int) -> Tensor:
    """Compute a convolution and PixelShuffle as one transposed convolution.

    Parameters
    ----------
    conv : nn.Conv2d
        Square, stride and dilation 1, without groups, zero padding of at most k − 1; C_out·s² channels.
    x : Tensor, shape (N, C_in, H, W)
        Its input.
    scale_factor : int
        Scale s of the PixelShuffle.

    Returns
    -------
    Tensor, shape (N, C_out, s·H', s·W')
        What ``pixel_shuffle(conv(x), s)`` is, to rounding.

    Raises
    ------
    UsageError
        For other layers.
    """
    size = conv.kernel_size[0]
    padding = conv.padding
    if padding == "same":
        padding = ((size - 1) // 2,) * 2 if size % 2 else (size, size)
    elif padding == "valid":
        padding = (0, 0)
    rows, columns = _as_ints(padding)
    is_plain = conv.stride == conv.dilation == (1, 1) and conv.groups == 1 and conv.padding_mode == "zeros"
    is_square = conv.kernel_size[0] == conv.kernel_size[1] and rows == columns <= size - 1
    if not is_plain or not is_square or conv.out_channels % scale_factor**2:
        raise UsageError(
            f"conv: {conv} with PixelShuffle({scale_factor}) is not a square convolution of stride 1, zero padding"
        )
    phases = torch.unflatten(conv.weight, 0, (-1, scale_factor, scale_factor)).flip(4, 5)
    # (C_out, phase, phase, C_in, tap, tap) to (C_in, C_out, tap, phase, tap, phase)
    kernel = phases.permute(3, 0, 4, 1, 5, 2).flatten(4, 5).flatten(2, 3)
    y = functional.conv_transpose2d(x, kernel, stride=scale_factor, padding=scale_factor * (size - 1 - rows))
    if conv.bias is None:
        return y
    # each phase has a bias of its own
    pattern = functional.pixel_shuffle(conv.bias[:, None, None], scale_factor)
    repeats = [length // scale_factor for length in y.shape[2:]]
    return y + pattern.repeat(1, *repeats)
