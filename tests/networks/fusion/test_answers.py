"""What is known of a deferred tensor without computing it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.networks.fusion.answers import can_view, cast_like, is_laid_out
from deconvbench.networks.fusion.deferred import Deferred
from deconvbench.networks.fusion.interception import Interceptor
from deconvbench.networks.fusion.session import Session


def run(call: Callable[[Deferred], Any], x: Tensor) -> Any:
    session = Session()
    with torch.no_grad(), Interceptor(session):
        up: Any = functional.interpolate(x, scale_factor=2)
        answer = call(up)
        assert not up.is_computed
    session.close(None)
    return answer


def test_orders_in_memory() -> None:
    x = torch.randn(1, 4, 3, 3)
    assert run(lambda up: is_laid_out(up, Tensor.contiguous, (up,), {}), x)
    last = {"memory_format": torch.channels_last}
    assert not run(lambda up: is_laid_out(up, Tensor.contiguous, (up,), last), x)
    assert run(lambda up: is_laid_out(up, Tensor.contiguous, (up,), last), x.contiguous(**last))
    assert not run(lambda up: is_laid_out(up, torch.relu, (up,), {}), x)


def test_views_that_torch_has() -> None:
    x = torch.randn(1, 4, 3, 3)
    assert run(lambda up: can_view(up, (up, 4, 6, 6), {}), x)
    assert not run(lambda up: can_view(up, (up, 2, 3), {}), x)
    last = x.contiguous(memory_format=torch.channels_last)
    assert not run(lambda up: can_view(up, (up, -1), {}), last)


def test_an_ordinary_tensor_is_made_like_one_that_is_not_computed() -> None:
    x, other = torch.randn(1, 4, 3, 3), torch.ones(2, dtype=torch.float64)
    found = run(lambda up: cast_like(other, (other, up), {}), x)
    assert (found.dtype, found.tolist()) == (torch.float32, [1, 1])
    assert run(lambda up: other.type_as(up).dtype, x) == torch.float32
    assert run(lambda up: other.to(up).dtype, x) == torch.float32
    assert cast_like(other, (other, torch.float32), {}) is NotImplemented
    assert isinstance(nn.Parameter(other), Tensor)
