"""The share of upsampling: what counts, forward and backward, and what does not."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.fusion_share import UpsamplingClock, measure_share

_TICK_NS = 1_000_000_000


class Counter:
    """A clock that goes on by a second each time it is read."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        self.now += _TICK_NS
        return self.now


def count(call: Any, *weights: Tensor) -> float:
    clock = UpsamplingClock(weights, Counter())
    with clock:
        call()
    return clock.seconds


X = torch.ones(1, 2, 4, 4)
CONV = nn.Conv2d(2, 2, 3, padding=1)


def join(mode: str) -> Tensor:
    up = functional.interpolate(X, scale_factor=2, mode=mode)
    return torch.cat([torch.ones(1, 2, 8, 8), up], 1)


COUNTED: dict[str, tuple[Any, int]] = {
    "nearest": (lambda: functional.interpolate(X, scale_factor=2), 1),
    "nearest-exact": (lambda: functional.interpolate(X, None, 2, "nearest-exact"), 1),
    "bilinear": (lambda: functional.interpolate(X, scale_factor=2, mode="bilinear"), 0),
    "module": (lambda: nn.Upsample(scale_factor=2)(X), 1),
    "joined": (lambda: join("nearest"), 2),
    "bilinear and joined": (lambda: join("bilinear"), 0),
    "only joined": (lambda: torch.cat([X, X]), 0),
    "convolution": (lambda: CONV(X), 1),
    "convolution by name": (lambda: functional.conv2d(X, weight=CONV.weight), 1),
    "another convolution": (lambda: nn.Conv2d(2, 2, 1)(X), 0),
    "transposed": (lambda: nn.ConvTranspose2d(2, 2, 2)(X), 1),
    "transposed, one axis": (lambda: nn.ConvTranspose1d(2, 2, 2)(X[:, :, 0]), 1),
    "backward": (lambda: CONV(X).sum().backward(), 2),
    "backward of both": (
        lambda: CONV(functional.interpolate(X.clone().requires_grad_(), scale_factor=2)).sum().backward(),
        4,
    ),
}


@pytest.mark.parametrize("name", COUNTED)
def test_what_counts(name: str) -> None:
    call, seconds = COUNTED[name]
    assert count(call, CONV.weight) == pytest.approx(seconds)


def test_the_share_is_of_whole_steps() -> None:
    calls: list[int] = []

    def step() -> None:
        calls.append(1)
        CONV(torch.relu(X))

    # of each step a second counts, and one is before, one after it
    assert measure_share(step, [CONV.weight], least_s=7.5, clock=Counter()) == pytest.approx(1 / 3)
    assert len(calls) == 3
    assert measure_share(step, [], least_s=0.0, clock=Counter()) == 0.0
