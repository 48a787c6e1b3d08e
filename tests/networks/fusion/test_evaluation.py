"""Computing what an expression describes."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.networks.fusion.evaluation import count_changes, evaluate
from deconvbench.networks.fusion.expressions import LazyExpression, Part


def part(source: Tensor, scale: int) -> Part[Tensor]:
    return Part(source=source, channels=source.shape[1], scale=scale)


@pytest.mark.parametrize("scale", [2, 3])
def test_a_part_is_enlarged(scale: int) -> None:
    x = torch.randn(2, 3, 4, 5)
    expected = x.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    assert torch.equal(evaluate(LazyExpression(parts=(part(x, scale),))), expected)


def test_parts_are_joined_in_their_order() -> None:
    x, skip = torch.randn(1, 2, 3, 3), torch.randn(1, 1, 6, 6)
    y = evaluate(LazyExpression(parts=(part(skip, 1), part(x, 2))))
    assert torch.equal(y[:, :1], skip)
    assert torch.equal(y[:, 1:], functional.interpolate(x, scale_factor=2))


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate"])
def test_padding_comes_last(mode: str) -> None:
    x = torch.randn(1, 2, 3, 3)
    y = evaluate(LazyExpression(parts=(part(x, 2),), padding=1, padding_mode=mode))
    enlarged = functional.interpolate(x, scale_factor=2)
    expected = functional.pad(enlarged, [1] * 4, mode="constant" if mode == "zeros" else mode)
    assert torch.equal(y, expected)


def test_gradients_flow_to_every_source() -> None:
    x, skip = torch.ones(1, 1, 2, 2, requires_grad=True), torch.ones(1, 1, 4, 4, requires_grad=True)
    y = evaluate(LazyExpression(parts=(part(x, 2), part(skip, 1))))
    to_x, to_skip = torch.autograd.grad(y.sum(), (x, skip))
    assert torch.equal(to_x, torch.full_like(x, 4))
    assert torch.equal(to_skip, torch.ones_like(skip))


def test_changes_are_counted_where_torch_counts_them() -> None:
    x = torch.ones(2)
    before = count_changes(x)
    x.add_(1)
    assert before is not None
    assert count_changes(x) == before + 1
    with torch.inference_mode():
        assert count_changes(torch.ones(2)) is None
