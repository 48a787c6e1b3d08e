"""The compiled backward pass finds the gradients of the plain form, and leaves to torch what it cannot do."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from deconvbench.upsamplers.fast import ResizeConv2d
from deconvbench.upsamplers.fast import backward as all_forms
from deconvbench.upsamplers.fast.native import Library, backward
from deconvbench.upsamplers.fast.native.backward import _Bands, fits_native_backward, run_native_backward
from deconvbench.upsamplers.fast.native.plans import Plan, find_plan
from tests.upsamplers.fast.plain_form import draw, measure_error, over_layouts

pytestmark = pytest.mark.usefixtures("native")
# largest rounding errors, of sums over some hundred products, in units of the largest value
EXACT = 3e-6


def draw_all(batch: int, channels: tuple[int, int], size: tuple[int, int], layout: Any) -> list[Tensor]:
    """Draw input, weight and gradient."""
    height, width = size
    x = draw(batch, channels[0], height, width, dtype=torch.float32)
    weight = draw(channels[1], channels[0], 3, 3, dtype=torch.float32)
    gradient = draw(batch, channels[1], 2 * height, 2 * width, dtype=torch.float32)
    return [x.contiguous(memory_format=layout), weight, gradient.contiguous(memory_format=layout)]


def find_nearest(library: Library) -> Plan:
    """Upsampling by two and convolution 3."""
    found = find_plan(library, kernel_size=3, scale_factor=2, padding=1, is_resize=True)
    assert found is not None
    return found


def differentiate_plainly(x: Tensor, weight: Tensor, gradient: Tensor, *, pads_zeros: bool) -> list[Tensor]:
    exact = [tensor.detach().double().requires_grad_() for tensor in (x, weight)]
    upsampled = functional.interpolate(exact[0], scale_factor=2)
    padded = functional.pad(upsampled, (1, 1, 1, 1), mode="constant" if pads_zeros else "replicate")
    return list(torch.autograd.grad(functional.conv2d(padded, exact[1]), exact, gradient.double()))


def assert_exact(found: Any, expected: list[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert measure_error(one, other) < EXACT


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """One entry for every compiled backward pass."""
    made: list[bool] = []

    def run(*args: Any, **options: Any) -> Any:
        made.append(True)
        return run_native_backward(*args, **options)

    monkeypatch.setattr(all_forms, "run_native_backward", run)
    return made


# ---- what it computes


@over_layouts
@pytest.mark.parametrize("pads_zeros", [True, False], ids=["zeros", "replicate"])
def test_gradients_are_those_of_the_plain_form(native: Library, pads_zeros: bool, layout: Any) -> None:
    for batch, channels, size in ((1, (1, 1), (1, 1)), (2, (64, 32), (16, 16)), (3, (17, 70), (5, 9))):
        tensors = draw_all(batch, channels, size, layout)
        found = run_native_backward(native, find_nearest(native), *tensors, pads_zeros=pads_zeros)
        assert_exact(found, differentiate_plainly(*tensors, pads_zeros=pads_zeros))


@given(
    batch=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 40), st.integers(1, 70)),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    is_last=st.booleans(),
    pads_zeros=st.booleans(),
    threads=st.integers(1, 4),
    bands=st.builds(
        _Bands, rows=st.integers(1, 7), held_channels=st.sampled_from([1, 16, 32, 70]), packs=st.booleans()
    ),
)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_size_in_any_bands_on_any_number_of_threads(
    native: Library,
    batch: int,
    channels: tuple[int, int],
    size: tuple[int, int],
    is_last: bool,
    pads_zeros: bool,
    threads: int,
    bands: _Bands,
) -> None:
    layout = torch.channels_last if is_last else torch.contiguous_format
    tensors = draw_all(batch, channels, size, layout)
    torch.set_num_threads(threads)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(backward, "_choose_bands", lambda *_: bands)
            found = run_native_backward(native, find_nearest(native), *tensors, pads_zeros=pads_zeros)
    finally:
        torch.set_num_threads(1)
    assert_exact(found, differentiate_plainly(*tensors, pads_zeros=pads_zeros))


def test_where_the_weight_outweighs_the_map_its_gradient_is_summed_in_parts(native: Library) -> None:
    plan = find_nearest(native)
    x, weight = torch.zeros(1, 256, 16, 16), torch.zeros(128, 256, 3, 3)
    bands = backward._find_bands(native, plan, x, weight, 1)
    assert bands is not None
    assert bands.held_channels < 256
    # where there is room for all of it nothing is done again
    bands = backward._find_bands(native, plan, x.expand(64, -1, -1, -1), weight, 1)
    assert bands is not None
    assert bands.held_channels == 256


def test_the_number_of_threads_does_not_change_a_bit(native: Library) -> None:
    tensors = draw_all(2, (70, 40), (12, 13), torch.contiguous_format)
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        try:
            # the same bands, whatever fits beside more threads
            found.append(run_native_backward(native, find_nearest(native), *tensors, pads_zeros=True))
        finally:
            torch.set_num_threads(1)
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=0, atol=0)


@pytest.mark.parametrize("wanted", list(itertools.product((True, False), repeat=2)))
def test_only_what_is_wanted_is_found(native: Library, wanted: tuple[bool, bool]) -> None:
    tensors = draw_all(1, (20, 33), (6, 7), torch.contiguous_format)
    whole = run_native_backward(native, find_nearest(native), *tensors, pads_zeros=True)
    some = run_native_backward(
        native, find_nearest(native), *tensors, pads_zeros=True, needs_input=wanted[0], needs_weight=wanted[1]
    )
    for is_wanted, one, other in zip(wanted, some, whole, strict=True):
        if is_wanted:
            assert one is not None
            assert other is not None
            assert torch.equal(one, other)
        else:
            assert one is None


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda t: t.expand(2, -1, -1, -1), id="repeated images"),
        pytest.param(lambda t: t.repeat(2, 1, 1, 2)[..., ::2], id="gaps"),
        pytest.param(lambda t: torch.cat([t, t]).transpose(2, 3).contiguous().transpose(2, 3), id="columns first"),
        pytest.param(lambda t: torch.ones(()).expand(2, *t.shape[1:]), id="one value"),
    ],
)
def test_any_strides(native: Library, change: Callable[[Tensor], Tensor]) -> None:
    x, weight, gradient = draw_all(1, (20, 33), (6, 8), torch.contiguous_format)
    tensors = change(x), weight, change(gradient)
    found = run_native_backward(native, find_nearest(native), *tensors, pads_zeros=False)
    assert_exact(found, differentiate_plainly(*tensors, pads_zeros=False))


def test_a_weight_with_channels_last(native: Library) -> None:
    x, weight, gradient = draw_all(1, (20, 33), (6, 8), torch.channels_last)
    tensors = x, weight.to(memory_format=torch.channels_last), gradient
    assert_exact(
        run_native_backward(native, find_nearest(native), *tensors, pads_zeros=True),
        differentiate_plainly(*tensors, pads_zeros=True),
    )


@over_layouts
def test_nothing_is_written_beside_the_given_places(
    layout: Any, native: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Tensor] = []
    guard, mark = 64, 12345.0

    def allocate(
        *shape: int, layout: torch.memory_format = torch.contiguous_format, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        assert dtype == torch.float32
        like = torch.empty(shape, memory_format=layout, device="meta")
        made.append(torch.full((like.numel() + 2 * guard,), mark))
        return made[-1][guard:-guard].as_strided(shape, like.stride())

    monkeypatch.setattr(backward, "allocate", allocate)
    for channels, size in (((1, 1), (1, 1)), ((19, 40), (7, 5)), ((16, 32), (16, 16)), ((70, 9), (40, 9))):
        tensors = draw_all(2, channels, size, layout)
        found = run_native_backward(native, find_nearest(native), *tensors, pads_zeros=False)
        assert_exact(found, differentiate_plainly(*tensors, pads_zeros=False))
    assert len(made) >= 4 * 3
    for memory in made:
        assert bool((memory[:guard] == mark).all())
        assert bool((memory[-guard:] == mark).all())


# ---- in a layer


def train(layer: ResizeConv2d, x: Tensor, gradient: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    assert layer.bias is not None
    return list(torch.autograd.grad(layer(x), [x, layer.weight, layer.bias], gradient))


@over_layouts
@pytest.mark.parametrize("padding_mode", ["zeros", "replicate", "reflect"])
def test_a_layer_trains_with_it(padding_mode: str, layout: Any, calls: list[bool]) -> None:
    x, _, gradient = draw_all(2, (40, 24), (16, 15), layout)
    layer = ResizeConv2d(40, 24, implementation="tiled", padding_mode=padding_mode)
    plain = ResizeConv2d(40, 24, implementation="plain", padding_mode=padding_mode)
    plain.load_state_dict(layer.state_dict())
    found = train(layer, x, gradient)
    assert calls == [True]
    assert_exact(found, train(plain, x, gradient))
    assert calls == [True]


def test_gradients_of_gradients_are_those_of_the_plain_form() -> None:
    x, _, _ = draw_all(1, (40, 24), (32, 32), torch.contiguous_format)
    layer = ResizeConv2d(40, 24, implementation="tiled")
    found = []
    for run in (layer, lambda x: run_plain_layer(layer, x)):
        image = x.clone().requires_grad_()
        (first,) = torch.autograd.grad(run(image).square().sum(), image, create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), [image, layer.weight]))
    assert_exact(found[0], list(found[1]))


def run_plain_layer(layer: ResizeConv2d, x: Tensor) -> Tensor:
    return functional.conv2d(functional.interpolate(x, scale_factor=2), layer.weight, layer.bias, padding=1)


def test_many_gradients_at_once_are_torchs(calls: list[bool]) -> None:
    x, _, _ = draw_all(1, (40, 24), (32, 32), torch.contiguous_format)
    layer = ResizeConv2d(40, 24, implementation="tiled")
    y = layer(x.requires_grad_()).mean((0, 2, 3))
    (several,) = torch.autograd.grad(y, x, torch.eye(24), is_grads_batched=True, retain_graph=True)
    assert calls == []
    for channel, one in enumerate(several):
        assert measure_error(one, torch.autograd.grad(y[channel], x, retain_graph=True)[0]) < EXACT
    assert len(calls) == 24


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_what_is_not_finite_spoils_no_more_than_in_the_plain_form(value: float, calls: list[bool]) -> None:
    x, _, gradient = draw_all(1, (40, 24), (32, 32), torch.contiguous_format)
    gradient[0, 3, 10, 11] = value
    layer = ResizeConv2d(40, 24, implementation="tiled")
    plain = ResizeConv2d(40, 24, implementation="plain")
    plain.load_state_dict(layer.state_dict())
    found, expected = train(layer, x, gradient), train(plain, x, gradient)
    assert calls == [True]
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.isfinite(), other.isfinite())


def test_it_is_refused_where_it_would_hold_more_than_the_plain_form(native: Library) -> None:
    x, weight, gradient = draw_all(1, (4, 256), (8, 8), torch.contiguous_format)
    with torch.no_grad():
        assert not fits_native_backward(native, find_nearest(native), x, weight, gradient)
        x, weight, gradient = draw_all(1, (64, 32), (32, 32), torch.contiguous_format)
        assert fits_native_backward(native, find_nearest(native), x, weight, gradient)
        assert not fits_native_backward(native, find_nearest(native), x, weight, gradient.double())
    assert not fits_native_backward(native, find_nearest(native), x, weight, gradient)
