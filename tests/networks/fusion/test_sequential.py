"""Chains in containers: found, or the reason, and whether the reason is final; and containers that run them."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from deconvbench.networks.fusion import fuse
from deconvbench.networks.fusion.modules import find_fused
from deconvbench.networks.fusion.sequential import FusedSequential
from tests.networks.fusion.comparing import differentiate_both, run_both

FastCalls = list[tuple[int, ...]]


def make_sequential() -> tuple[Any, Any, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(4, 4, 1), nn.Upsample(scale_factor=2), nn.ReLU(inplace=True), nn.Conv2d(4, 3, 3, padding=1))
    ).double()
    fused = fuse(model).model
    assert isinstance(find_fused(fused), FusedSequential)
    return model, fused, torch.randn(2, 4, 3, 5, dtype=torch.float64)


def test_an_activation_in_place_does_not_write_into_the_input() -> None:
    model, _, x = make_sequential()
    given = x.clone()
    assert run_both(model[1:], fuse(model[1:]).model, given) <= 1e-10
    fuse(model[1:]).model(given)
    assert torch.equal(given, x)


def test_hooks_that_come_later_see_what_they_would(fast_calls: FastCalls) -> None:
    model, fused, x = make_sequential()
    seen: list[list[Tensor]] = []
    for one in (model, fused):
        outputs: list[Tensor] = []
        seen.append(outputs)
        for child in one:
            child.register_forward_hook(lambda module, args, y, kept=outputs: kept.append(y.clone()))
    assert run_both(model, fused, x) <= 1e-10
    assert len(seen[1]) == 4
    assert all(torch.allclose(one, other) for one, other in zip(*seen, strict=True))
    assert not fast_calls


def test_slices_and_children_are_those_of_the_original(fast_calls: FastCalls) -> None:
    model, fused, x = make_sequential()
    assert run_both(model[:2], fused[:2], x) <= 1e-10
    assert run_both(model[1], fused[1], x) <= 1e-10
    # a slice is a new container, of the original's class
    assert run_both(model[1:], fused[1:], x) <= 1e-10
    assert not fast_calls
    assert run_both(model[1:], fuse(fused[1:]).model, x) <= 1e-10
    assert len(fast_calls) == 1


def test_children_may_change_later(fast_calls: FastCalls) -> None:
    model, fused, x = make_sequential()
    for one in (model, fused):
        one[3] = nn.Conv2d(4, 2, 5, padding=2, dtype=torch.float64)
        nn.init.constant_(one[3].weight, 0.1)
        nn.init.zeros_(one[3].bias)
    assert run_both(model, fused, x) <= 1e-10
    assert len(fast_calls) == 1
    for one in (model, fused):
        one[3].stride = (2, 2)
    assert run_both(model, fused, x) <= 1e-10
    assert len(fast_calls) == 1


def test_an_image_without_a_batch(fast_calls: FastCalls) -> None:
    # torch takes the channels for a batch of signals
    model, fused, x = make_sequential()
    with pytest.raises(NotImplementedError), torch.no_grad():
        model[1:](x[0, 0])
    with pytest.raises(NotImplementedError), torch.no_grad():
        fused[1:](x[0, 0])
    assert not fast_calls


def test_autocast_in_a_container(fast_calls: FastCalls) -> None:
    model, fused, x = make_sequential()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected, found = model.float()(x.float()), fused.float()(x.float())
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected)
    assert not fast_calls


def test_autocast_leaves_double_precision_alone(fast_calls: FastCalls) -> None:
    model, fused, x = make_sequential()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert run_both(model, fused, x) <= 1e-10
    assert not fast_calls


def test_a_one_by_one_convolution_comes_before_the_upsampling() -> None:
    model = nn.Sequential(nn.Upsample(scale_factor=3), nn.Conv2d(4, 2, 1)).double()
    fused = fuse(model).model
    x = torch.randn(1, 4, 2, 3, dtype=torch.float64)
    # a mode that records would get the plain form
    with FlopCounterMode(display=False) as counter:
        fused(x)
    assert counter.get_total_flops() == 2 * 4 * 2 * 2 * 3
    assert run_both(model, fused, x) <= 1e-10
    assert differentiate_both(model, fused, x) <= 1e-10
