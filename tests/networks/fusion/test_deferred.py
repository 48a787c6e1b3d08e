"""A tensor that is known by its expression: what it is to torch, and to a session that decides nothing."""

from collections import namedtuple
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.networks.fusion.deferred import Deferred, compute, defer, find_deferred, rebuild_sequence
from deconvbench.networks.fusion.expressions import LazyExpression, Part
from deconvbench.networks.fusion.session import Session


class Answering(Session):
    """Answers one function, and writes down who made a deferred tensor compute itself."""

    def __init__(self, answers: Mapping[Any, Any] | None = None) -> None:
        super().__init__()
        self.answers = dict(answers or {})
        self.noticed: list[Any] = []

    def handle(self, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        return self.answers.get(function, NotImplemented)

    def notice(self, deferred: Deferred, function: Any) -> None:
        self.noticed.append(function)


def make(source: Tensor, session: Answering | None = None, scale: int = 2) -> Deferred:
    part = Part(source=source, channels=source.shape[1], scale=scale)
    return defer(LazyExpression(parts=(part,)), session or Answering())


def upsample(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2)


def test_it_looks_like_what_it_stands_for_without_being_computed() -> None:
    session = Answering()
    deferred = make(torch.ones(2, 3, 4, 5, dtype=torch.float64), session)
    assert isinstance(deferred, Tensor)
    assert (deferred.shape, deferred.dtype, deferred.device.type) == ((2, 3, 8, 10), torch.float64, "cpu")
    assert (deferred.ndim, deferred.numel(), deferred.requires_grad) == (4, 480, False)
    assert not deferred.is_computed
    assert session.noticed == []


def test_padding_and_joined_channels_count() -> None:
    x, skip = torch.ones(1, 2, 3, 3), torch.ones(1, 1, 6, 6)
    parts = (Part(source=x, channels=2, scale=2), Part(source=skip, channels=1, scale=1))
    assert defer(LazyExpression(parts=parts, padding=1), Answering()).shape == (1, 3, 8, 8)


def test_it_is_computed_once_and_its_owner_is_told_for_whom() -> None:
    session, x = Answering(), torch.randn(1, 2, 3, 3)
    deferred = make(x, session)
    assert torch.equal(deferred + 0, upsample(x))
    assert torch.equal(deferred * 1, upsample(x))
    assert deferred.is_computed
    assert [function.__name__ for function in session.noticed] == ["add"]
    assert deferred.compute(None, is_pure=True) is deferred.compute(None, is_pure=True)


def test_an_owner_may_answer_instead() -> None:
    session = Answering({torch.relu: "an answer"})
    deferred = make(torch.ones(1, 1, 1, 1), session)
    assert torch.relu(deferred) == "an answer"
    assert not deferred.is_computed


def test_whoever_may_write_gets_it_for_good() -> None:
    x = torch.randn(1, 1, 2, 2)
    read, written = make(x), make(x)
    assert read.mean() == written.mul_(2).mean() / 2
    assert not read.is_given_away
    assert written.is_given_away
    assert torch.equal(written + 0, 2 * upsample(x))


def test_a_source_that_changed_unseen_is_an_error() -> None:
    x = torch.ones(1, 1, 2, 2)
    deferred = make(x)
    versions = [deferred.has_old_sources]
    x.add_(1)
    versions.append(deferred.has_old_sources)
    assert versions == [True, False]
    assert deferred.counts_changes
    with pytest.raises(RuntimeError, match="changed by code that fuse"):
        deferred.mean()


def test_in_inference_mode_changes_are_not_counted() -> None:
    with torch.inference_mode():
        assert not make(torch.ones(1, 1, 2, 2)).counts_changes


def test_gradients_flow_through_it_whether_or_not_anybody_asks_for_it() -> None:
    class Passed(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 3

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Tensor:
            return 3 * gradients[0]

    x = torch.randn(1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    for function in (torch.square, Passed.apply):
        (expected,) = torch.autograd.grad(function(upsample(x)).sum(), x)
        (found,) = torch.autograd.grad(function(make(x)).sum(), x)
        assert torch.allclose(found, expected)


def test_the_history_that_a_custom_function_gave_it_counts() -> None:
    class Made(torch.autograd.Function):
        """Returns a deferred tensor, as a session makes one inside."""

        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return make(x.detach())

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Tensor:
            return torch.full((1, 1, 2, 2), 7.0)

    x = torch.randn(1, 1, 2, 2, requires_grad=True)
    made: Any = Made.apply(x)  # type: ignore[no-untyped-call] # torch has no types here
    assert isinstance(made, Deferred)
    assert not made.has_own_history
    assert torch.equal(made.detach(), upsample(x))
    (found,) = torch.autograd.grad(made.sum(), x)
    assert torch.equal(found, torch.full_like(x, 7))


@pytest.mark.parametrize("requires_grad", [False, True])
def test_otherwise_it_has_its_own(requires_grad: bool) -> None:
    x = torch.randn(1, 1, 2, 2, requires_grad=requires_grad)
    assert make(x).has_own_history
    with torch.no_grad():
        assert make(x.detach()).has_own_history


def test_it_may_become_another_in_place() -> None:
    x = torch.randn(1, 1, 2, 2)
    deferred = make(x)
    deferred.become(LazyExpression(parts=(Part(source=-x, channels=1, scale=2),)))
    assert torch.equal(deferred + 0, -upsample(x))


def test_it_is_computed_in_the_modes_that_it_was_made_in() -> None:
    x = torch.randn(1, 1, 2, 2, requires_grad=True)
    deferred = make(x)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        value = deferred.compute(None, is_pure=True)
    assert value.requires_grad
    assert value.dtype == torch.float32


def test_code_beneath_torch_may_read_it_but_not_write() -> None:
    x = torch.randn(1, 1, 2, 2)
    with torch._C.DisableTorchFunction():
        assert torch.equal(make(x).abs(), upsample(x).abs())
        with pytest.raises(RuntimeError, match="writes into an upsampled tensor that was not computed yet"):
            make(x).mul_(2)


Pair = namedtuple("Pair", ["first", "second"])


def test_deferred_tensors_are_found_and_replaced_wherever_they_are() -> None:
    x = torch.randn(1, 1, 2, 2)
    one, two, three = make(x), make(x), make(x)
    nested = ([one, 3], {"two": (two, "text")}, Pair(three, None))
    assert [id(found) for found in find_deferred(nested)] == [id(one), id(two), id(three)]
    computed = compute(nested, None, is_pure=True)
    assert list(find_deferred(computed)) == []
    assert torch.equal(computed[0][0], upsample(x))
    assert computed[1]["two"][1] == "text"
    assert isinstance(computed[2], Pair)


def test_what_holds_none_stays_the_very_same() -> None:
    values = [torch.ones(1), {"more": (2,)}]
    assert compute(values, None, is_pure=True) is values


def test_a_detached_one_has_no_history() -> None:
    deferred = make(torch.ones(1, 1, 2, 2, requires_grad=True))
    assert not compute(deferred, None, is_pure=True, is_detached=True).requires_grad
    assert compute(deferred, None, is_pure=True).requires_grad


def test_sequences_are_rebuilt_as_what_they_were() -> None:
    assert rebuild_sequence([1], [2]) == [2]
    assert rebuild_sequence((1,), [2]) == (2,)
    assert rebuild_sequence(Pair(1, 2), [3, 4]) == Pair(3, 4)
