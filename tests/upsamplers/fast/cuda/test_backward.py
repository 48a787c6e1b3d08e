"""Gradients of the Triton forms are those of the plain form, also again and of many at once."""

from typing import Any

import pytest
import torch
from torch import Tensor

from deconvbench.upsamplers.fast import ResizeConv2d
from deconvbench.upsamplers.fast.cuda import backward
from deconvbench.upsamplers.fast.cuda.form import TRITON_IMPLEMENTATIONS
from tests.upsamplers.fast.plain_form import draw, measure_error, over_layouts

EXACT = 1e-6
over_forms = pytest.mark.parametrize("form", TRITON_IMPLEMENTATIONS)


def draw_layer(form: str, device: str, **options: Any) -> ResizeConv2d:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ResizeConv2d(5, 7, implementation=form, **options).to(device)


def draw_input(*shape: int, device: str, seed: int = 1) -> Tensor:
    return draw(*shape, dtype=torch.float32, seed=seed).to(device)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, bool]]:
    """List which gradients the kernels are asked for."""
    from deconvbench.upsamplers.fast import backward as forms_backward

    found: list[tuple[bool, bool]] = []

    def note(*operands: Any, needs_input: bool, needs_weight: bool, **options: Any) -> Any:
        found.append((needs_input, needs_weight))
        return backward.run_triton_backward(
            *operands, needs_input=needs_input, needs_weight=needs_weight, **options
        )

    monkeypatch.setattr(forms_backward, "run_triton_backward", note)
    return found


def widen(layer: ResizeConv2d) -> ResizeConv2d:
    """Copy a layer as the plain form in float64."""
    wide = ResizeConv2d(
        layer.in_channels,
        layer.out_channels,
        padding_mode=layer.padding_mode,
        implementation="plain",
        dtype=torch.float64,
    )
    wide.load_state_dict({name: value.double() for name, value in layer.state_dict().items()})
    return wide.to(layer.weight.device)


def assert_gradients(layer: ResizeConv2d, x: Tensor, gradient: Tensor, limit: float = EXACT) -> None:
    x = x.detach().requires_grad_()
    found = torch.autograd.grad(layer(x), (x, *layer.parameters()), gradient)
    wide, layer_wide = x.detach().double().requires_grad_(), widen(layer)
    expected = torch.autograd.grad(layer_wide(wide), (wide, *layer_wide.parameters()), gradient.double())
    for ours, theirs, like in zip(found, expected, (x, *layer.parameters()), strict=True):
        assert measure_error(ours, theirs) < limit
        assert ours.dtype == like.dtype


@over_layouts
@pytest.mark.parametrize("padding_mode", ["zeros", "replicate"])
def test_gradients_are_those_of_the_plain_form(
    padding_mode: str, layout: torch.memory_format, device: str, calls: list[Any]
) -> None:
    layer = draw_layer("minimal_triton", device, padding_mode=padding_mode)
    for batch, height, width in ((1, 1, 1), (2, 3, 5), (1, 6, 2)):
        x = draw_input(batch, 5, height, width, device=device).contiguous(memory_format=layout)
        gradient = draw_input(batch, 7, 2 * height, 2 * width, device=device, seed=2)
        assert_gradients(layer, x, gradient.contiguous(memory_format=layout))
    assert calls == [(True, True)] * 3


@over_forms
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision(form: str, dtype: torch.dtype, device: str) -> None:
    layer = draw_layer(form, device, dtype=dtype)
    x, gradient = draw_input(2, 5, 3, 4, device=device), draw_input(2, 7, 6, 8, device=device, seed=2)
    assert_gradients(layer, x.to(dtype), gradient.to(dtype), 2**-7 if dtype == torch.bfloat16 else 2**-10)


def test_a_gradient_that_sums_to_zero_loses_nothing_to_the_mean_of_the_input(device: str) -> None:
    layer = draw_layer("minimal_triton", device, dtype=torch.bfloat16, padding_mode="replicate")
    x = (draw_input(2, 5, 6, 6, device=device) + 50).bfloat16().requires_grad_()
    gradient = draw_input(2, 7, 12, 12, device=device, seed=2)
    # what a normalisation behind the layer gives, of so few digits that they sum to zero exactly
    gradient = (gradient * 16).round() / 16
    gradient = (gradient - gradient.flip(0, 2, 3)).bfloat16()
    assert not gradient.double().sum((0, 2, 3)).any()
    found = torch.autograd.grad(layer(x), layer.weight, gradient)[0]
    wide = widen(layer)
    expected = torch.autograd.grad(wide(x.detach().double()), wide.weight, gradient.double())[0]
    assert measure_error(found, expected) < 2**-7


def test_only_what_is_wanted_is_computed(device: str, calls: list[Any]) -> None:
    layer, x = draw_layer("tiled_triton", device), draw_input(1, 5, 3, 4, device=device)
    layer(x).sum().backward()
    assert x.grad is None
    layer.requires_grad_(False)
    layer(x.requires_grad_()).sum().backward()
    assert calls == [(False, True), (True, False)]


def test_a_constant_gradient_and_one_of_any_strides(device: str) -> None:
    layer, x = draw_layer("minimal_triton", device), draw_input(2, 5, 3, 4, device=device)
    one = torch.ones(1, 1, 1, 1, device=device)
    assert_gradients(layer, x, one.expand(2, 7, 6, 8))
    assert_gradients(layer, x, draw_input(2, 7, 8, 6, device=device).transpose(2, 3))


def test_many_pixels_are_cut_into_shares(device: str) -> None:
    # two shares
    layer, x = draw_layer("minimal_triton", device), draw_input(1, 5, 20, 28, device=device)
    assert_gradients(layer, x, draw_input(1, 7, 40, 56, device=device, seed=2))


@over_forms
def test_gradients_of_gradients(form: str, device: str) -> None:
    layer, x = draw_layer(form, device), draw_input(2, 5, 3, 4, device=device).requires_grad_()

    def differentiate(module: ResizeConv2d, pixels: Tensor) -> tuple[Tensor, ...]:
        loss = module(pixels).square().sum()
        first = torch.autograd.grad(loss, (pixels, module.weight), create_graph=True)
        squares = torch.stack([part.square().sum() for part in first]).sum()
        return torch.autograd.grad(squares, (pixels, module.weight))

    found = differentiate(layer, x)
    expected = differentiate(widen(layer), x.detach().double().requires_grad_())
    for ours, theirs in zip(found, expected, strict=True):
        assert measure_error(ours, theirs) < 1e-5


def test_many_gradients_at_once(device: str) -> None:
    layer, x = draw_layer("tiled_triton", device), draw_input(1, 5, 2, 3, device=device).requires_grad_()
    y = layer(x)
    gradients = draw_input(3, *y.shape, device=device, seed=2)
    found = torch.autograd.grad(y, (x, layer.weight), gradients, is_grads_batched=True, retain_graph=True)
    for index in range(3):
        expected = torch.autograd.grad(y, (x, layer.weight), gradients[index], retain_graph=True)
        for ours, theirs in zip(found, expected, strict=True):
            assert measure_error(ours[index], theirs) < EXACT
