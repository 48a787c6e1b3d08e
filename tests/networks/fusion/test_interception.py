"""What a watched pass shows its session, and when nobody may watch."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from deconvbench.networks.fusion.deferred import Deferred
from deconvbench.networks.fusion.interception import Interceptor, is_transformed, may_intercept
from deconvbench.networks.fusion.session import Session


class Noting(Session):
    """Writes down what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.enlarged: list[Any] = []
        self.protected: list[Any] = []

    def enlarge(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        self.enlarged.append(kwargs)
        return super().enlarge(args, kwargs)

    def protect(self, args: Sequence[Any], kwargs: Mapping[str, Any], function: Any) -> None:
        self.protected.append(function.__name__)
        super().protect(args, kwargs, function)


def test_enlargements_are_deferred_inside_only() -> None:
    x, session = torch.randn(1, 1, 2, 2), Noting()
    with Interceptor(session):
        inside = functional.interpolate(x, scale_factor=2)
    assert isinstance(inside, Deferred)
    assert type(functional.interpolate(x, scale_factor=2)) is Tensor
    assert [call["scale_factor"] for call in session.enlarged] == [2]


def test_what_a_session_refuses_is_done_by_torch() -> None:
    x = torch.randn(1, 1, 2, 2)
    with Interceptor(Noting()):
        y = functional.interpolate(x, scale_factor=2, mode="bilinear")
    assert torch.equal(y, functional.interpolate(x, scale_factor=2, mode="bilinear"))


def test_a_session_is_asked_to_protect_only_while_something_waits() -> None:
    x, session = torch.ones(1, 1, 2, 2), Noting()
    with Interceptor(session):
        x.add_(1)
        h = functional.interpolate(x, scale_factor=2)
        x.mean()
        x.add_(1)
    assert session.protected == ["add_"]
    assert torch.equal(h + 0, torch.full((1, 1, 4, 4), 2.0))


def test_nobody_watches_where_somebody_watches() -> None:
    assert may_intercept()
    with Interceptor(Session()):
        assert not may_intercept()
    assert may_intercept()


def test_other_modes_are_no_hindrance() -> None:
    class Counting(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return func(*args, **(kwargs or {}))

    with Counting():
        assert may_intercept()


def test_transforms_are_seen() -> None:
    seen: list[bool] = []

    def function(x: Tensor) -> Tensor:
        seen.append(is_transformed())
        return x

    x = torch.ones(2)
    function(x)
    torch.func.vmap(function)(x)
    with forward_ad.dual_level():
        function(x)
    assert seen == [False, True, True]
    assert not may_intercept() or not is_transformed()


def test_a_trace_is_seen() -> None:
    seen: list[bool] = []

    def function(x: Tensor) -> Tensor:
        seen.append(may_intercept())
        return x + 1

    with pytest.warns(DeprecationWarning, match="torch.jit.trace"):
        torch.jit.trace(function, torch.ones(2), check_trace=False)  # type: ignore[no-untyped-call] # torch has no types here
    assert seen == [False]
