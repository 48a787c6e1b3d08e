"""Kept weights: made once for each form, layout and type, and disowned as soon as a bit of the weight changes."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from deconvbench.upsamplers.fast import preparation
from deconvbench.upsamplers.fast.forms import Geometry, prepare
from deconvbench.upsamplers.fast.frozen import FrozenWeights, can_keep
from tests.upsamplers.fast.plain_form import FORMS, UNSEEN, draw

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


def take(
    frozen: FrozenWeights, form: str, weight: Tensor, layout: Any = NCHW, dtype: Any = torch.float32
) -> Tensor:
    value = frozen.take(form, weight, layout, dtype)
    assert value is not None
    return value


def make_frozen(weight: Tensor) -> FrozenWeights:
    frozen = FrozenWeights(GEOMETRY)
    frozen.take("transposed", weight, NCHW, torch.float32)
    return frozen


@pytest.mark.parametrize("form", FORMS)
def test_each_is_made_once(form: str, prepared: list[str]) -> None:
    frozen, weight = FrozenWeights(GEOMETRY), make_weight()
    first = take(frozen, form, weight)
    assert take(frozen, form, weight) is first
    assert prepared == [form]
    assert not first.requires_grad

    half = take(frozen, form, weight, NCHW, torch.bfloat16)
    assert half.dtype == torch.bfloat16
    take(frozen, form, weight, NHWC, torch.float32)
    assert prepared == [form] * 3
    assert torch.equal(first, prepare(form, weight.detach(), GEOMETRY, torch.float32))


@pytest.mark.parametrize("form", ["plain", "transposed", "subpixel"])
def test_a_convolution_gets_its_weight_in_the_layout_of_its_input(form: str) -> None:
    frozen, weight = FrozenWeights(GEOMETRY), make_weight()
    for layout in (NCHW, NHWC):
        assert take(frozen, form, weight, layout, torch.float32).is_contiguous(memory_format=layout)


def test_nothing_kept_fits_every_weight_that_can_be_read() -> None:
    assert FrozenWeights(GEOMETRY).are_of(make_weight())
    with torch.inference_mode():
        weight = draw(6, 4, 3, 3)
    assert FrozenWeights(GEOMETRY).are_of(weight)
    assert not FrozenWeights(GEOMETRY).are_of(weight.to("meta"))


def test_they_are_of_the_weight_until_it_changes() -> None:
    weight = make_weight()
    frozen = make_frozen(weight)
    assert frozen.are_of(weight)
    assert not frozen.are_of(nn.Parameter(weight.detach()))
    with torch.no_grad():
        weight[0, 0, 0, 0] = 1
    assert not frozen.are_of(weight)
    assert frozen.take("transposed", weight, NCHW, torch.float32) is None


def test_the_same_values_at_another_address_are_the_same_weight() -> None:
    weight = make_weight()
    frozen = make_frozen(weight)
    weight.data = weight.data.clone()
    assert frozen.are_of(weight)


@pytest.mark.parametrize("change", UNSEEN.values(), ids=UNSEEN)
def test_a_change_that_torch_does_not_count_is_seen(change: Callable[[nn.Parameter], object]) -> None:
    weight = make_weight()
    frozen = make_frozen(weight)
    before, identity = weight.detach().clone(), id(weight)
    change(weight)
    assert not torch.equal(weight, before)
    assert id(weight) == identity
    assert not frozen.are_of(weight)
    assert frozen.take("minimal", weight, NCHW, torch.float32) is None


class Strange(Tensor):
    """A tensor that may mean anything."""


@pytest.mark.parametrize(
    "weight",
    [
        pytest.param(torch.empty(2, 2, 3, 3, device="meta"), id="another device"),
        pytest.param(draw(2, 2, 3, 3).as_subclass(Strange), id="subclass"),
        pytest.param(nn.Parameter(draw(2, 2, 3, 3).as_subclass(Strange)), id="parameter of a subclass"),
        pytest.param(torch._neg_view(draw(2, 2, 3, 3)), id="negated lazily"),
        pytest.param(draw(2, 2, 3, 3).to_sparse(), id="sparse"),
    ],
)
def test_of_some_tensors_nothing_is_kept(weight: Tensor) -> None:
    assert not can_keep(weight)
    assert can_keep(make_weight())


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize(
    "record",
    [
        pytest.param(torch.jit.trace, id="trace"),
        pytest.param(lambda function, x: make_fx(function)(x), id="make_fx"),
        pytest.param(lambda function, x: torch.func.jvp(function, (x,), (x,)), id="jvp"),
        pytest.param(lambda function, x: torch.func.grad(lambda x: function(x).sum())(x), id="grad"),
        pytest.param(lambda function, x: torch.func.vmap(function)(x[None]), id="vmap"),
    ],
)
def test_nothing_is_kept_while_operations_are_recorded(record: Callable[..., object]) -> None:
    weight, seen = make_weight(), []

    def function(x: Tensor) -> Tensor:
        seen.append(can_keep(weight))
        return x * 2

    record(function, draw(2, 3))
    # a trace is compared with calls that are not recorded
    assert not seen[0]


def test_the_plain_form_takes_the_weight_itself() -> None:
    frozen, weight = FrozenWeights(GEOMETRY), make_weight()
    assert frozen.take("plain", weight, NCHW, torch.float32) is weight
    assert frozen.take("plain", weight, NCHW, torch.bfloat16) is not weight


def test_some_input_channels_are_those_of_a_part() -> None:
    weight = make_weight()
    found = take(FrozenWeights(GEOMETRY, 1, 2), "subpixel", weight)
    expected = prepare("subpixel", weight.detach()[:, 1:3], GEOMETRY, torch.float32)
    assert torch.equal(found, expected)


def test_many_threads_take_at_once() -> None:
    """Every thread gets what belongs to the weight, while the threads make everything that can be kept."""
    weight = make_weight()
    keys = [
        (form, layout, dtype)
        for form in FORMS
        for layout in (NCHW, NHWC)
        for dtype in (torch.float32, torch.bfloat16)
    ]
    expected = {key: prepare(key[0], weight.detach(), GEOMETRY, key[2]) for key in keys}
    for _ in range(10):
        frozen, start = FrozenWeights(GEOMETRY), threading.Barrier(8)

        def work(offset: int, frozen: FrozenWeights = frozen, start: threading.Barrier = start) -> bool:
            start.wait()
            order = keys[offset:] + keys[:offset]
            found = [frozen.take(form, weight, layout, dtype) for form, layout, dtype in order]
            return frozen.are_of(weight) and all(
                value is not None and torch.equal(value, expected[key])
                for key, value in zip(order, found, strict=True)
            )

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(work, range(8)))


@pytest.mark.parametrize("form", FORMS)
def test_what_is_made_in_inference_mode_is_an_ordinary_tensor(form: str) -> None:
    frozen, weight = FrozenWeights(GEOMETRY), make_weight()
    with torch.inference_mode():
        value = take(frozen, form, weight)
    assert not value.is_inference()
