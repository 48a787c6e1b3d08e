"""What the tests of fusion share: fast forms on small images too, and how often one ran."""

from typing import Any

import pytest
import torch
from torch import Tensor

from deconvbench.networks.fusion import backend, resizing
from deconvbench.upsamplers.fast.forms import Geometry


def choose_product_form(x: Tensor, weight: Tensor, geometry: Geometry, *, is_prepared: bool) -> str:
    """Choose the form that is least like the plain one, where a compiler does not trace."""
    if torch.compiler.is_compiling():
        return "transposed"
    return "tiled" if (geometry.kernel_size, geometry.scale_factor) == (3, 2) else "minimal"


@pytest.fixture(autouse=True)
def small_images_are_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plain form is the fastest for what tests can afford, and would prove nothing."""
    monkeypatch.setattr(resizing, "choose", choose_product_form)
    monkeypatch.setattr(resizing, "LEAST_PIXELS_SPLIT", 0)
    monkeypatch.setattr(backend, "LEAST_PIXELS_SPLIT", 0)
    monkeypatch.setattr(backend, "find_fastest", lambda *_, **__: "transposed")


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
