"""What a transposed convolution is, apart from its weights, and torch's own way to compute it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True, kw_only=True)
class TransposedShape:
    """What a transposed convolution is, apart from its weights.

    Parameters
    ----------
    out_channels : int
        Channels of the output.
    kernel_size, stride, padding, output_padding, dilation : (int, int)
        Rows and columns.
    groups : int
        Groups of channels.
    """

    out_channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    output_padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    def measure_output(self, size: Sequence[int]) -> list[int]:
        """Count the pixels of the output along each axis.

        Parameters
        ----------
        size : (int, int)
            Height and width of the input.
        """
        return [
            (number - 1) * stride - 2 * padding + dilation * (taps - 1) + output_padding + 1
            for number, stride, padding, dilation, taps, output_padding in zip(
                *(size, self.stride, self.padding, self.dilation, self.kernel_size, self.output_padding),
                strict=True,
            )
        ]

    def pad_output(self, output_padding: Sequence[int]) -> Self:
        """Say what it is with another output padding.

        Parameters
        ----------
        output_padding : (int, int)
            Rows and columns.
        """
        return replace(self, output_padding=tuple(output_padding))


def read_shape(conv: nn.ConvTranspose2d) -> TransposedShape:
    """Read what a layer is.

    Parameters
    ----------
    conv : nn.ConvTranspose2d
        The layer.
    """
    assert not isinstance(conv.padding, str)  # a transposed convolution takes numbers only
    return TransposedShape(
        out_channels=conv.out_channels,
        kernel_size=conv.kernel_size,
        stride=conv.stride,
        padding=conv.padding,
        output_padding=conv.output_padding,
        dilation=conv.dilation,
        groups=conv.groups,
    )


def run_plain(x: Tensor, weight: Tensor, bias: Tensor | None, shape: TransposedShape) -> Tensor:
    """Compute a transposed convolution as torch does.

    Parameters
    ----------
    x : Tensor, shape (N, C_in, H, W)
        The input.
    weight : Tensor, shape (C_in, C_out/groups, k, k)
        Of the layer.
    bias : Tensor, shape (C_out,), or None
        Added to every pixel.
    shape : TransposedShape
        Of the layer.
    """
    return functional.conv_transpose2d(
        *(x, weight, bias, shape.stride, shape.padding, shape.output_padding, shape.groups, shape.dilation)
    )
