"""What the tests of fusion share: fast forms on small images too, and how often one ran."""

from typing import Any

import pytest
from torch import Tensor

from bench.fusion_fuzz.forcing import force_fast_forms
from deconvbench.networks.fusion import resizing
from tests.upsamplers.fast.native.conftest import cache, compiled, compiler, native

# the compiled form, for tests that ask for it
__all__ = ["cache", "compiled", "compiler", "native"]


@pytest.fixture(autouse=True)
def small_images_are_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plain form is the fastest for what tests can afford, and would prove nothing."""
    force_fast_forms(monkeypatch.setattr)


@pytest.fixture
def fast_calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """List the shapes of the inputs of all fast resize-convolutions."""
    shapes: list[tuple[int, ...]] = []
    original = resizing.resize_conv2d

    def count(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        shapes.append(tuple(x.shape))
        return original(x, *args, **kwargs)

    monkeypatch.setattr(resizing, "resize_conv2d", count)
    return shapes
