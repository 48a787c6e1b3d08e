"""The Triton forms are the plain form, whatever they are given, and as exact as they say."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.half_precision import draw_image, draw_zero_sum_weight
from deconvbench.upsamplers.fast import ResizeConv2d
from deconvbench.upsamplers.fast.cuda.blocks import CONFIGURATIONS
from deconvbench.upsamplers.fast.cuda.form import TRITON_IMPLEMENTATIONS, find_precision
from tests.upsamplers.fast.cuda.precision import convolutions_with_tf32
from tests.upsamplers.fast.plain_form import draw, make_plain, measure_error, over_layouts

over_forms = pytest.mark.parametrize("form", TRITON_IMPLEMENTATIONS)
# largest errors in units of the largest value: of sums in float32, and of one or some roundings to half precision
EXACT = 1e-6
HALF = {"minimal_triton": {torch.bfloat16: 2**-8, torch.float16: 2**-11}}
HALF["tiled_triton"] = {dtype: 4 * limit for dtype, limit in HALF["minimal_triton"].items()}


def draw_layer(
    form: str, device: str, in_channels: int = 5, out_channels: int = 7, **options: Any
) -> ResizeConv2d:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ResizeConv2d(in_channels, out_channels, implementation=form, **options).to(device)


def draw_input(*shape: int, device: str, dtype: torch.dtype = torch.float32, seed: int = 1) -> Tensor:
    return draw(*shape, dtype=dtype, seed=seed).to(device)


def run_plain(layer: ResizeConv2d, x: Tensor) -> Tensor:
    """Run the plain form in float64."""
    upsampled = functional.interpolate(x.double(), scale_factor=2)
    mode = "constant" if layer.padding_mode == "zeros" else "replicate"
    bias = None if layer.bias is None else layer.bias.double()
    return functional.conv2d(functional.pad(upsampled, (1, 1, 1, 1), mode=mode), layer.weight.double(), bias)


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def assert_exact(layer: ResizeConv2d, x: Tensor, limit: float = EXACT) -> None:
    assert layer.choose(x) == layer.implementation
    assert measure_error(layer(x), run_plain(layer, x)) < limit


@over_forms
@over_layouts
@pytest.mark.parametrize("padding_mode", ["zeros", "replicate", "reflect"])
def test_it_is_the_plain_form(form: str, layout: torch.memory_format, padding_mode: str, device: str) -> None:
    # one pixel; odd sizes; more channels than a block; wider, and higher, than a patch
    for shape in ((1, 3, 2, 1, 1), (2, 5, 7, 3, 4), (1, 40, 35, 2, 5), (1, 2, 3, 4, 19), (1, 2, 3, 17, 2)):
        batch, in_channels, out_channels, *size = shape
        layer = draw_layer(form, device, in_channels, out_channels, padding_mode=padding_mode)
        x = draw_input(batch, in_channels, *size, device=device)
        assert_exact(layer, x.contiguous(memory_format=layout))


@over_forms
@over_layouts
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision(form: str, layout: torch.memory_format, dtype: torch.dtype, device: str) -> None:
    layer = draw_layer(form, device, 9, 6, dtype=dtype)
    x = draw_input(2, 9, 5, 6, device=device, dtype=dtype).contiguous(memory_format=layout)
    y = layer(x)
    assert y.dtype == dtype
    assert y.is_contiguous(memory_format=layout)
    assert_exact(layer, x, HALF[form][dtype])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_kernels_that_sum_to_zero_lose_nothing_to_the_mean_of_the_input(dtype: torch.dtype, device: str) -> None:
    weight = draw_zero_sum_weight(8, 16, 3, dtype, seed=0).to(device)
    plain = ResizeConv2d(16, 8, bias=False, padding_mode="replicate", implementation="plain", dtype=dtype)
    for mean, form in itertools.product((1, 100, 1000), TRITON_IMPLEMENTATIONS):
        layer = draw_layer(form, device, 16, 8, bias=False, padding_mode="replicate", dtype=dtype)
        for each in (layer, plain.to(device)):
            each.weight.copy_(weight)
        x = draw_image(16, 8, mean, dtype, seed=1).to(device)
        expected = run_plain(layer, x)
        errors = [float((each(x).double() - expected).square().mean().sqrt()) for each in (layer, plain)]
        assert errors[0] < (1.1 if form == "minimal_triton" else 2.5) * errors[1]


@over_forms
def test_products_are_those_of_tf32_where_torch_s_convolutions_may_use_it(form: str, device: str) -> None:
    layer, x = draw_layer(form, device, 16, 8, bias=False), draw_input(1, 16, 5, 6, device=device)
    assert find_precision(torch.float32) == "ieee"
    assert find_precision(torch.bfloat16) == "ieee"
    with convolutions_with_tf32(True):
        assert find_precision(torch.float32) == "tf32"
        found = layer(x)
    error = measure_error(found, run_plain(layer, x))
    assert 1e-5 < error < 2e-3
    # values of so few digits are taken as they are
    layer.weight.copy_(layer.weight.bfloat16())
    with convolutions_with_tf32(True):
        rounded = layer(x.bfloat16().float())
    if form == "minimal_triton":
        assert measure_error(rounded, run_plain(layer, x.bfloat16().float())) < EXACT


# of NumPy, in which kernels are interpreted
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@over_forms
def test_rounding_keeps_what_is_not_finite(form: str, device: str) -> None:
    layer = draw_layer(form, device, 2, 3)
    x = draw_input(1, 2, 6, 6, device=device)
    # the NaN that CUDA makes has all digits set
    x.view(torch.int32)[0, 0, 2, 2] = 0x7FFFFFFF
    x[0, 1, 5, 5] = float("inf")
    with convolutions_with_tf32(True):
        y = layer(x)
    spoilt = ~run_plain(layer, x).isfinite()
    assert not y.isfinite()[spoilt].any()
    if form == "minimal_triton":
        assert y.isfinite()[~spoilt].all()


def vary_strides(device: str) -> Iterator[Tensor]:
    base = draw_input(2, 10, 8, 6, device=device)
    yield base[:, :5]
    yield base[:, ::2]
    yield base[:, :5, :, ::2]
    yield base.to(memory_format=torch.channels_last)[:, ::2]
    yield base[:, :5].transpose(2, 3)
    yield draw_input(2, 5, 1, 1, device=device).expand(2, 5, 5, 4)


@over_forms
def test_any_strides(form: str, device: str) -> None:
    layer = draw_layer(form, device)
    for x in vary_strides(device):
        assert_exact(layer, x)
    base = draw_input(7, 10, 3, 3, device=device)
    for weight in (base[:, ::2], base[:, :5].to(memory_format=torch.channels_last), base[:, :5].transpose(2, 3)):
        layer.weight = nn.Parameter(weight)
        assert_exact(layer, draw_input(1, 5, 3, 3, device=device))


@over_forms
def test_the_output_lies_in_memory_as_that_of_the_plain_form(form: str, device: str) -> None:
    for layouts in itertools.product((torch.contiguous_format, torch.channels_last), repeat=2):
        layer = draw_layer(form, device).to(memory_format=layouts[0])  # type: ignore[call-overload] # an overload torch leaves out
        x = draw_input(2, 5, 3, 4, device=device).contiguous(memory_format=layouts[1])
        plain = make_plain(layer).to(device).to(memory_format=layouts[0])  # type: ignore[call-overload] # the same
        assert layer(x).stride() == plain(x).stride()


@over_forms
def test_one_image_needs_no_batch_and_an_empty_one_stays_empty(form: str, device: str) -> None:
    layer, x = draw_layer(form, device), draw_input(5, 3, 4, device=device)
    assert torch.equal(layer(x), layer(x[None])[0])
    assert layer(draw_input(0, 5, 3, 4, device=device)).shape == (0, 7, 6, 8)


@pytest.mark.parametrize("key", CONFIGURATIONS, ids=lambda key: f"{key[0]}-{key[1]}")
def test_every_configuration_gives_the_same(
    key: tuple[str, bool], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel, has_tensor_cores = key
    form = "tiled_triton" if kernel == "tiled_forward" else "minimal_triton"
    layer, x = draw_layer(form, device, 20, 18), draw_input(1, 20, 9, 7, device=device).requires_grad_()
    gradient = draw_input(1, 18, 18, 14, device=device, seed=2)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)  # takes the first configuration
    found = []
    try:
        for blocks in CONFIGURATIONS[key]:
            monkeypatch.setitem(CONFIGURATIONS, key, (blocks,))
            with convolutions_with_tf32(has_tensor_cores), torch.enable_grad():
                y = layer(x)
                found.append((y.detach(), *torch.autograd.grad(y, (x, layer.weight), gradient)))
    finally:
        torch.use_deterministic_algorithms(before)
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            assert measure_error(one, other) < EXACT


def test_a_bias_of_another_size_is_refused(device: str) -> None:
    layer = draw_layer("minimal_triton", device)
    layer.bias = nn.Parameter(torch.zeros(3, device=device))
    with pytest.raises(RuntimeError, match="size"):
        layer(draw_input(1, 5, 4, 4, device=device))


@over_forms
def test_autocast_rounds_the_weight_once(form: str, device: str) -> None:
    layer, x = draw_layer(form, device), draw_input(1, 5, 4, 4, device=device)
    with torch.autocast(device, dtype=torch.bfloat16):
        found = layer(x)
    assert found.dtype == torch.bfloat16
    assert measure_error(found, run_plain(layer, x)) < 2**-6
