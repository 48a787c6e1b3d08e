"""A tensor that is known by its expression: what it is to torch, and to a session that decides nothing."""

from collections import namedtuple
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.dlpack import from_dlpack

from deconvbench.networks.fusion.deferred import Deferred, compute, defer, find_deferred, rebuild_sequence
from deconvbench.networks.fusion.expressions import LazyExpression, Part
from deconvbench.networks.fusion.maps import Map, cut, find_meta
from deconvbench.networks.fusion.recorded import record_call
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
    root = cut(source)
    expression = LazyExpression(parts=(Part(source=root.leaf, channels=source.shape[1], scale=scale),))
    call, inputs = record_call(functional.interpolate, (source,), {"scale_factor": scale}, "cpu")
    make_map = partial(Map, expression, [root], call, inputs, is_linear=True)
    return defer(find_meta(expression), session or Answering(), make_map)


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


def test_it_is_computed_once_and_its_owner_is_told_for_whom() -> None:
    session, x = Answering(), torch.randn(1, 2, 3, 3)
    deferred = make(x, session)
    assert torch.equal(deferred + 0, upsample(x))
    assert torch.equal(deferred * 1, upsample(x))
    assert deferred.is_computed
    assert [function.__name__ for function in session.noticed] == ["add"]
    assert deferred.compute(None, is_pure=True) is deferred.compute(None, is_pure=True)


@pytest.mark.parametrize("is_recorded", [False, True], ids=["no_grad", "grad"])
@pytest.mark.parametrize("name", ["_to_dlpack", "_to_dlpack_versioned"])
def test_code_in_c_that_asks_for_its_address_gets_an_error_and_not_address_0(name: str, is_recorded: bool) -> None:
    x = torch.randn(1, 2, 3, 3, requires_grad=is_recorded)
    deferred = make(x)
    with pytest.raises(RuntimeError, match="Cannot access data pointer"):
        getattr(torch._C, name)(deferred)
    # a tensor with memory, once it is one
    assert torch.equal(from_dlpack(deferred.detach()), upsample(x))
    written = make(x.detach())
    written.mul_(2)
    assert torch.equal(from_dlpack(getattr(torch._C, name)(written)), 2 * upsample(x))


def test_an_owner_may_answer_instead() -> None:
    session = Answering({torch.relu: "an answer"})
    deferred = make(torch.ones(1, 1, 1, 1), session)
    assert torch.relu(deferred) == "an answer"
    assert not deferred.is_computed


def test_whoever_may_write_gets_an_ordinary_tensor_for_good() -> None:
    x = torch.randn(1, 1, 2, 2)
    read, written = make(x), make(x)
    assert read.mean() == written.mul_(2).mean() / 2
    assert type(read) is Deferred
    assert type(written) is Tensor
    assert torch.equal(written, 2 * upsample(x))


def test_what_torch_holds_stays_what_it_is_until_its_session_ends() -> None:
    class Kept(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            x.add_(1)
            return x * 1

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Tensor:
            return gradients[0]

    x = torch.randn(1, 1, 2, 2, requires_grad=True)
    deferred = make(x)
    y: Any = Kept.apply(deferred)  # type: ignore[no-untyped-call] # torch has no types here
    assert type(deferred) is Deferred
    assert deferred.is_given_away
    assert torch.equal(deferred * 1, upsample(x) + 1)
    assert deferred.unsqueeze(0).shape == (1, 1, 1, 4, 4)
    deferred.compute(None, is_pure=False)
    assert type(deferred) is Tensor
    assert torch.equal(deferred, upsample(x) + 1)
    # as torch's own: what a function writes without a record has no gradient
    y.sum().backward()
    assert torch.equal(x.grad, torch.full_like(x, 4))  # type: ignore[arg-type] # it is there


@pytest.mark.parametrize("transpose", [False, True], ids=["contiguous", "transposed"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_its_order_in_memory_is_known_without_computing_it(transpose: bool, layout: torch.memory_format) -> None:
    x = torch.randn(2, 3, 4, 5).contiguous(memory_format=layout)
    x = x.transpose(2, 3) if transpose else x
    deferred = make(x)
    assert deferred.stride() == upsample(x).stride()
    assert deferred.is_contiguous(memory_format=layout) == upsample(x).is_contiguous(memory_format=layout)
    assert not deferred.is_computed


def test_a_source_that_changed_unseen_is_an_error() -> None:
    x = torch.ones(1, 1, 2, 2)
    deferred = make(x)
    versions = [deferred.has_old_sources]
    x.add_(1)
    versions.append(deferred.has_old_sources)
    assert versions == [True, False]
    with pytest.raises(RuntimeError, match="changed by code that fuse"):
        deferred.mean()


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


def test_it_may_stand_for_another_map() -> None:
    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Tensor:
            return 2 * gradients[0]

    x, other = (torch.randn(1, 1, 2, 2, requires_grad=True) for _ in range(2))
    deferred = make(x)
    assert deferred.turn_into(make(other))
    assert torch.equal(deferred + 0, upsample(other))
    y: Any = Doubled.apply(deferred)  # type: ignore[no-untyped-call] # torch has no types here
    y.sum().backward()
    assert x.grad is None
    assert torch.equal(other.grad, torch.full_like(x, 8))  # type: ignore[arg-type] # it is there


@pytest.mark.parametrize("requires_grad", [False, True])
def test_what_torch_has_saved_counts_the_changes_of_what_is_computed(requires_grad: bool) -> None:
    deferred = make(torch.randn(1, 1, 2, 2, requires_grad=requires_grad))
    saved = torch._C._autograd._make_saved_tensor(deferred, is_output=False)
    assert saved.unpack() is deferred
    assert deferred.compute(None, is_pure=True)._version == 0
    assert (deferred.is_held, deferred.can_turn) == (True, False)
    with torch.no_grad():
        deferred.compute(Tensor.mul_, is_pure=False).mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        saved.unpack()


def test_what_was_changed_while_torch_holds_it_is_not_read_with_its_old_gradient() -> None:
    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Tensor:
            return 2 * gradients[0]

    deferred = make(torch.randn(1, 1, 2, 2, requires_grad=True))
    saved = torch._C._autograd._make_saved_tensor(deferred, is_output=False)
    deferred.compute(Tensor.mul_, is_pure=False).mul_(2)
    y: Any = Doubled.apply(deferred)  # type: ignore[no-untyped-call] # torch has no types here
    with pytest.raises(RuntimeError, match="changed in place and then read by code"):
        y.sum().backward()
    del saved


def test_it_stands_for_another_map_only_where_nobody_has_the_first() -> None:
    fresh, computed = (make(torch.randn(1, 1, 2, 2)) for _ in range(2))
    computed.compute(None, is_pure=True)
    assert (fresh.can_turn, computed.can_turn) == (True, False)
    with torch.inference_mode():
        assert not fresh.can_turn


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
