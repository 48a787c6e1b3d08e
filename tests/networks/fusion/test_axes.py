"""What acts on the axes before rows and columns acts before the upsampling; what does not is left to torch."""

import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from deconvbench.networks.fusion.axes import follow_axes
from deconvbench.networks.fusion.evaluation import evaluate
from deconvbench.networks.fusion.expressions import LazyExpression, Part
from deconvbench.networks.fusion.session import Session


class Known(Session):
    """A session in which one tensor stands for an expression.

    Parameters
    ----------
    image : Tensor
        It, computed.
    expression : LazyExpression
        What it stands for.
    """

    def __init__(self, image: Tensor, expression: LazyExpression[Tensor]) -> None:
        super().__init__()
        self.image, self.expression = image, expression

    def find_expression(self, value: Any) -> LazyExpression[Tensor] | None:
        return self.expression if value is self.image else None


def follow(function: Any, source: Tensor, *args: Any, scale: int = 2, **kwargs: Any) -> tuple[Tensor, Any]:
    """Call a function of an upsampled tensor; what torch answers, and the expression."""
    channels = source.shape[1 if source.ndim > 3 else 0]
    expression = LazyExpression(parts=(Part(source=source, channels=channels, scale=scale),))
    image = evaluate(expression)
    found = follow_axes(function, (image, *args), kwargs, Known(image, expression))
    return function(image, *args, **kwargs), found


FOLLOWED: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = [
    (Tensor.permute, (0, 2, 1, 3, 4), {}),
    (torch.permute, ((2, 1, 0, -2, -1),), {}),
    (Tensor.permute, (), {"dims": (1, 0, 2, 3, 4)}),
    (Tensor.transpose, (1, 2), {}),
    (torch.transpose, (0, -3), {}),
    (Tensor.unsqueeze, (2,), {}),
    (torch.unsqueeze, (), {"dim": -3}),
    (Tensor.squeeze, (0,), {}),
    (Tensor.squeeze, (1,), {}),
    (Tensor.flatten, (0, 1), {}),
    (Tensor.flatten, (), {"start_dim": 1, "end_dim": 2}),
    (torch.select, (2, -1), {}),
    (Tensor.narrow, (2, 1, 2), {}),
    (Tensor.reshape, (3, 4, 6, 10), {}),
    (torch.reshape, ((-1, 6, 10),), {}),
    (Tensor.reshape, (2, 2, 3, 6, 10), {}),
    (Tensor.view, (4, -1, 6, 10), {}),
    (Tensor.repeat, (1, 2, 1, 1, 1), {}),
    (Tensor.__getitem__, (0,), {}),
    (Tensor.__getitem__, ((slice(None), slice(None), None),), {}),
    (Tensor.__getitem__, ((slice(None), slice(1, 3), -1),), {}),
    (Tensor.__getitem__, ((..., slice(None, None, 2), slice(None), slice(None)),), {}),
    (operator.getitem, ((0, ..., slice(None)),), {}),
]


@pytest.mark.parametrize(("function", "args", "kwargs"), FOLLOWED, ids=range(len(FOLLOWED)))
def test_it_acts_before_the_upsampling(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    expected, found = follow(function, torch.randn(1, 4, 3, 3, 5), *args, **kwargs)
    assert isinstance(found, LazyExpression)
    assert torch.equal(evaluate(found), expected)
    assert found.channels == expected.shape[1 if expected.ndim > 3 else 0]


LEFT: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = [
    (Tensor.permute, (0, 1, 2, 4, 3), {}),
    (Tensor.permute, (0, 3, 4, 1, 2), {}),
    (Tensor.transpose, (2, 3), {}),
    (Tensor.unsqueeze, (4,), {}),
    (Tensor.unsqueeze, (-1,), {}),
    (Tensor.squeeze, (), {}),
    (Tensor.squeeze, (4,), {}),
    (Tensor.flatten, (2,), {}),
    (Tensor.flatten, (1, 1), {}),
    (torch.select, (3, 0), {}),
    (Tensor.narrow, (4, 0, 2), {}),
    (Tensor.reshape, (12, 60), {}),
    (Tensor.reshape, (12, 10, 6), {}),
    (Tensor.reshape, (12, 6, 5, 2), {}),
    (Tensor.repeat, (1, 1, 1, 2, 1), {}),
    (Tensor.repeat, (2, 1, 1, 1, 1, 1), {}),
    (Tensor.__getitem__, ((..., 0),), {}),
    (Tensor.__getitem__, ((..., slice(1, None)),), {}),
    (Tensor.__getitem__, ((..., None),), {}),
    (Tensor.__getitem__, ([0, 0],), {}),
    (Tensor.__getitem__, (torch.tensor([0]),), {}),
    (Tensor.__getitem__, ((0, 0, 0),), {}),
    (Tensor.__getitem__, ((slice(None), slice(0, 0)),), {}),
]


@pytest.mark.parametrize(("function", "args", "kwargs"), LEFT, ids=range(len(LEFT)))
def test_what_moves_rows_or_columns_is_left(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    _, found = follow(function, torch.randn(1, 4, 3, 3, 5), *args, **kwargs)
    assert found is None


def test_joined_and_padded_images_are_left() -> None:
    part = Part(source=torch.randn(1, 2, 3, 3), channels=2, scale=2)
    for expression in (
        LazyExpression(parts=(part, part)),
        LazyExpression(parts=(part,), padding=(1, 1, 1, 1)),
    ):
        image = evaluate(expression)
        assert follow_axes(Tensor.unsqueeze, (image, 0), {}, Known(image, expression)) is None


def expand(x: Tensor, rows: int, columns: int) -> Tensor:
    n, c, h, w = x.shape
    return x[:, :, :, None, :, None].expand(n, c, h, rows, w, columns)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_repeated_rows_and_columns_are_an_upsampling(data: st.DataObject) -> None:
    n, c, h, w = (data.draw(st.integers(1, most)) for most in (2, 3, 4, 4))
    rows, columns = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    is_last = data.draw(st.booleans())
    x = torch.randn(n, c, h, w)
    x = x.contiguous(memory_format=torch.channels_last) if is_last else x
    whole = expand(x, rows, columns)
    sizes = data.draw(st.sampled_from([(n, c, rows * h, columns * w), (1, n * c, rows * h, columns * w)]))
    found = follow_axes(torch.reshape, (whole, sizes), {}, Session())
    expected = whole.reshape(sizes)
    if found is not None:
        assert torch.equal(evaluate(found), expected)
        assert found.parts[0].scales == (rows, columns)
    elif min(h, w, rows, columns) > 1:
        pytest.fail("not found")


RESHAPED: dict[str, Callable[[Tensor], tuple[Tensor, tuple[int, ...]]]] = {
    "not repeated": lambda x: (x, (1, 4, 6, 4)),
    "in the other order": lambda x: (x[:, :, None, :, None].expand(1, 4, 2, 3, 2, 8), (1, 4, 6, 16)),
    "channels": lambda x: (x[:, :, None].expand(1, 4, 2, 3, 8), (1, 8, 3, 8)),
    "to fewer axes": lambda x: (expand(x, 2, 2), (4, 6, 16)),
    "to other sizes": lambda x: (expand(x, 2, 2), (1, 4, 12, 8)),
    "by too much": lambda x: (expand(x, 1, 40), (1, 4, 3, 320)),
}


@pytest.mark.parametrize("name", RESHAPED)
def test_other_reshapes_are_left(name: str) -> None:
    whole, sizes = RESHAPED[name](torch.randn(1, 4, 3, 8))
    assert follow_axes(Tensor.reshape, (whole, sizes), {}, Session()) is None


def test_what_is_no_tensor_is_left() -> None:
    assert follow_axes(Tensor.reshape, (3, (1, 2)), {}, Session()) is None
    assert follow_axes(operator.getitem, ([torch.ones(2)], 0), {}, Session()) is None
    x = torch.randn(1, 1, 2, 2)
    assert torch.equal(functional.interpolate(x, scale_factor=1), x)
