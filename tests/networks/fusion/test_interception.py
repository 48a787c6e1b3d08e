"""A session is shown every function of torch that is called, and may be there once only."""

import pytest
import torch
from torch.nn import functional

from deconvbench.networks.fusion.deferred import Deferred
from deconvbench.networks.fusion.interception import Interceptor, may_intercept
from deconvbench.networks.fusion.session import Session


def test_one_session_at_a_time() -> None:
    assert may_intercept()
    with Interceptor(Session()):
        assert not may_intercept()
    assert may_intercept()


def test_upsamplings_by_any_name_are_deferred() -> None:
    x = torch.randn(1, 4, 3, 3)
    session = Session()
    with torch.no_grad(), Interceptor(session):
        found = [
            functional.interpolate(x, scale_factor=2),
            torch.ops.aten.upsample_nearest2d(x, [6, 6]),
            x.repeat_interleave(2, 2),
            x[:, :, :, None].expand(1, 4, 3, 2, 3).reshape(1, 4, 6, 3),
        ]
        others = [x.repeat_interleave(2, 1), x.reshape(4, 3, 3), x.repeat_interleave(1, 2)]
        assert all(isinstance(one, Deferred) for one in found)
        assert not any(isinstance(one, Deferred) for one in others)
    session.close(None)
    assert not any(isinstance(one, Deferred) for one in found)
    assert torch.equal(found[3], x.repeat_interleave(2, 2))


def test_after_an_error_nothing_is_deferred() -> None:
    x = torch.randn(1, 4, 3, 3)
    kept = []

    def fail() -> None:
        with Interceptor(Session()):
            kept.append(functional.interpolate(x, scale_factor=2))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not isinstance(kept[0], Deferred)
    assert kept[0].shape == (1, 4, 6, 6)
