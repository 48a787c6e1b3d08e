"""An interpreter without pixels: images are names, and what would be computed is written down."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from deconvbench.networks.fusion.expressions import FindPrepared, LazyExpression, Part


class NamedInterpreter:
    """Images are names; their shapes and expressions are given.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        Of the images that are computed.
    expressions : mapping of str to LazyExpression of str
        Of those that are not.
    dtypes : mapping of str to torch.dtype
        Of those that are not float32.
    """

    def __init__(
        self,
        shapes: Mapping[str, Sequence[Any]],
        expressions: Mapping[str, LazyExpression[str]] | None = None,
        dtypes: Mapping[str, torch.dtype] | None = None,
    ) -> None:
        self.shapes, self.expressions, self.dtypes = dict(shapes), dict(expressions or {}), dict(dtypes or {})

    def find_expression(self, value: Any) -> LazyExpression[str] | None:
        return self.expressions.get(value) if isinstance(value, str) else None

    def is_image(self, value: Any) -> bool:
        return isinstance(value, str) and (value in self.shapes or value in self.expressions)

    def find_plain(self, value: Any, view: Callable[[str], str] | None = None) -> str | None:
        if not isinstance(value, str) or value not in self.shapes:
            return None
        return value if view is None else view(value)

    def find_strides(self, value: Any) -> tuple[Sequence[Any], Sequence[Any]] | None:
        if self.find_plain(value) is None:
            return None
        shape = self.shapes[value]
        return shape, torch.empty([size or 1 for size in shape], device="meta").stride()

    def own(self, source: str) -> str:
        return source

    def get_shape(self, value: Any) -> Sequence[Any]:
        if value in self.shapes:
            return self.shapes[value]
        expression = self.expressions[value]
        first = expression.parts[0]
        batch, channels, height, width = self.shapes[first.source]
        left, right, top, bottom = expression.padding or (0,) * 4
        rows, columns = first.scales
        channels = expression.channels if len(expression.parts) > 1 else channels
        return (batch, channels, height * rows + top + bottom, width * columns + left + right)

    def get_dtype(self, value: Any) -> torch.dtype:
        return self.dtypes.get(value, torch.float32)

    def get_device(self, value: Any) -> torch.device:
        return torch.device("cpu")

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
        if function is Tensor.to and self.get_dtype(args[0]) == args[1]:
            # as torch, which returns what it is given
            return str(args[0])
        words = [str(value) for value in args] + [f"{name}={value}" for name, value in kwargs.items()]
        return f"{function.__name__}({', '.join(words)})"

    def add(self, total: str, term: str) -> str:
        return f"add({total}, {term})"

    def find_prepared(self, weight: str, start: int, length: int) -> FindPrepared | None:
        return None

    def settle(self, source: str, function: Any, size: int, **options: Any) -> str:
        return source


def describe(expression: Any) -> list[tuple[str, int]]:
    """List sources and scales of an expression."""
    assert isinstance(expression, LazyExpression)
    return [(part.source, part.scale) for part in expression.parts]


def upsampled(*parts: tuple[str, int, int], **options: Any) -> LazyExpression[str]:
    """Make an expression of parts: source, channels, scale."""
    made = tuple(Part(source=source, channels=channels, scale=scale) for source, channels, scale in parts)
    return LazyExpression(parts=made, **options)
