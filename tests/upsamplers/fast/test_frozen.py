"""Kept weights: made once for each form, layout and type, and disowned as soon as anybody can see a change."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deconvbench.upsamplers.fast import preparation
from deconvbench.upsamplers.fast.forms import Geometry, prepare
from deconvbench.upsamplers.fast.frozen import FrozenWeights
from tests.upsamplers.fast.plain_form import FORMS, draw

GEOMETRY = Geometry(kernel_size=3, scale_factor=2, groups=1, padding_mode="zeros")
NCHW, NHWC = torch.contiguous_format, torch.channels_last


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the forms whose weights were made, one for each time."""
    calls: list[str] = []

    def count(form: str) -> Callable[..., Tensor]:
        make = preparation._PREPARATIONS[form]

        def counted(*arguments: Any) -> Tensor:
            calls.append(form)
            return make(*arguments)

        return counted

    monkeypatch.setattr(preparation, "_PREPARATIONS", {form: count(form) for form in FORMS})
    return calls


def make_weight() -> nn.Parameter:
    return nn.Parameter(draw(6, 4, 3, 3, dtype=torch.float32))


def make_frozen(weight: Tensor) -> FrozenWeights:
    frozen = FrozenWeights(GEOMETRY)
    frozen.take("transposed", weight, NCHW, torch.float32)
    return frozen


@pytest.mark.parametrize("form", FORMS)
def test_each_is_made_once(form: str, prepared: list[str]) -> None:
    frozen, weight = FrozenWeights(GEOMETRY), make_weight()
    first = frozen.take(form, weight, NCHW, torch.float32)
    assert frozen.take(form, weight, NCHW, torch.float32) is first
    assert prepared == [form]
    assert not first.requires_grad

    half = frozen.take(form, weight, NCHW, torch.bfloat16)
    assert half.dtype == torch.bfloat16
    frozen.take(form, weight, NHWC, torch.float32)
    assert prepared == [form] * 3
    assert torch.equal(first, prepare(form, weight.detach(), GEOMETRY, torch.float32))


@pytest.mark.parametrize("form", ["plain", "transposed", "subpixel"])
def test_a_convolution_gets_its_weight_in_the_layout_of_its_input(form: str) -> None:
    frozen, weight = FrozenWeights(GEOMETRY), make_weight()
    for layout in (NCHW, NHWC):
        assert frozen.take(form, weight, layout, torch.float32).is_contiguous(memory_format=layout)


def test_nothing_kept_fits_every_weight_that_can_be_watched() -> None:
    assert FrozenWeights(GEOMETRY).are_of(make_weight())
    with torch.inference_mode():
        weight = draw(6, 4, 3, 3)
    assert not FrozenWeights(GEOMETRY).are_of(weight)


def test_they_are_of_the_weight_until_it_changes() -> None:
    weight = make_weight()
    frozen = make_frozen(weight)
    assert frozen.are_of(weight)
    assert not frozen.are_of(nn.Parameter(weight.detach()))
    with torch.no_grad():
        weight[0, 0, 0, 0] = 1
    assert not frozen.are_of(weight)


def test_an_assignment_to_data_is_seen() -> None:
    weight = make_weight()
    frozen = make_frozen(weight)
    weight.data = weight.data.clone()
    assert not frozen.are_of(weight)


def test_a_write_into_data_is_not_seen() -> None:
    weight = make_weight()
    frozen = make_frozen(weight)
    weight.data.mul_(2)
    weight.detach().numpy()[:] = 0
    assert frozen.are_of(weight)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_made_in_inference_mode_is_an_ordinary_tensor(form: str) -> None:
    frozen, weight = FrozenWeights(GEOMETRY), make_weight()
    with torch.inference_mode():
        value = frozen.take(form, weight, NCHW, torch.float32)
    assert not value.is_inference()
