"""Reading the code of forward passes for enlargements."""

import functools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.networks.fusion.scanning import read_forward
from tests.networks.fusion.networks import Up, Upsample2D
from tests.networks.fusion.test_planning import ByMode, Calling, Enlarging, Tail, enlarge


class Helper:
    def __call__(self, x: Tensor) -> Tensor:
        return enlarge(x)


class Unassigned(nn.Module):
    def __init__(self) -> None:
        super().__init__()

        def step(x: Tensor) -> Any:
            return later(x)  # noqa: F821 -- what it closes over is gone again

        self.step = step
        later = step
        del later


class Inside(nn.Module):
    def forward(self, x: Tensor) -> Any:
        def step(image: Tensor) -> Tensor:
            return functional.interpolate(image, scale_factor=2, mode="nearest")

        return step(x)


class Mentioning(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.upsample: Any = None
        self.interpolate: Any = None

    def forward(self, x: Tensor) -> Tensor:
        return x if self.upsample is None and self.interpolate is None else -x


class Recursive(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return self.forward(x)


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (Up(), "nearest"),
        (Calling(), "nearest"),
        (Enlarging(functional.interpolate), "nearest"),
        (ByMode(), "bilinear"),
        (Upsample2D(4, use_conv=False), "nearest"),
        (nn.Upsample(scale_factor=2), None),
        (nn.Conv2d(1, 1, 1), None),
        (Tail(), None),
        (Enlarging(Helper()), None),
        (Unassigned(), None),
        (Recursive(), None),
        (Inside(), "nearest"),
        (Mentioning(), None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else str(value),
)
def test_code_is_read_for_enlargements(module: nn.Module, expected: str | None) -> None:
    assert read_forward(module) == expected


class Wrapped(nn.Module):
    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return enlarge(x)


class Held(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = functools.partial(functional.interpolate, scale_factor=2)

    def forward(self, x: Tensor) -> Any:
        return self.up(x)


class Far(nn.Module):
    """Enlarges five helpers away, which is further than anybody looks."""

    def forward(self, x: Tensor) -> Tensor:
        return one(x)


def one(x: Tensor) -> Tensor:
    return two(x)


def two(x: Tensor) -> Tensor:
    return three(x)


def three(x: Tensor) -> Tensor:
    return four(x)


def four(x: Tensor) -> Tensor:
    return enlarge(x)


@pytest.mark.parametrize(("module", "expected"), [(Wrapped(), "nearest"), (Held(), "nearest"), (Far(), None)])
def test_decorators_and_attributes_are_looked_through_and_helpers_for_a_while(
    module: nn.Module, expected: str | None
) -> None:
    assert read_forward(module) == expected


def test_a_graph_is_read_though_its_class_is_torchs() -> None:
    assert read_forward(torch.fx.symbolic_trace(Up())) == "nearest"


def test_no_code_of_the_model_runs() -> None:
    class Exploding(Up):
        def forward(self, x: Tensor) -> Any:
            raise AssertionError(functional.interpolate(x, scale_factor=2))

    assert read_forward(Exploding()) == "nearest"
