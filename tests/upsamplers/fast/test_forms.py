"""Every form is the plain one but for rounding: outputs, gradients, layouts, precisions, transforms, compilers."""

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from deconvbench.upsamplers.fast import gradients, memory
from deconvbench.upsamplers.fast.backward import go_back_plainly
from deconvbench.upsamplers.fast.forms import Geometry, prepare, run
from tests.upsamplers.fast.plain_form import FORMS, Layer, draw, filled_memory, measure_error, over, over_layouts

# 1×1, one row, one column, even, odd, and more than the receptive field of the largest kernel
SIZES = ((1, 1), (1, 3), (4, 1), (4, 2), (5, 7))
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"bias": False},
    {"groups": 2},
    {"padding_mode": "replicate"},
    {"padding_mode": "reflect"},
    {"groups": 2, "bias": False, "padding_mode": "replicate"},
)
GRID = [
    layer
    for form, kernel_size, scale_factor, options in itertools.product(
        ("plain", *FORMS), (1, 3, 5, 7), (2, 3, 4), OPTIONS
    )
    if (layer := Layer(form=form, kernel_size=kernel_size, scale_factor=scale_factor, **options)).is_possible
]
# each form at its own kernel and at one whose padding reaches two input pixels
FEW = [
    layer
    for form, kernel_size, options in itertools.product(FORMS, (3, 7), OPTIONS)
    if (layer := Layer(form=form, kernel_size=kernel_size, **options)).is_possible
]
EACH = [layer for layer in FEW if layer.kernel_size == 3 and layer.id.count("-") == 2]


def require_gradients(conv: nn.Conv2d, x: Tensor, wanted: tuple[bool, ...]) -> list[Tensor]:
    """Ask for gradients to some of input, weight and bias; return those."""
    tensors = [x, conv.weight] if conv.bias is None else [x, conv.weight, conv.bias]
    asked = []
    for tensor, is_wanted in zip(tensors, wanted, strict=False):
        tensor.requires_grad_(is_wanted)
        if is_wanted:
            asked.append(tensor)
    return asked


@over_layouts
@over(GRID)
def test_output_is_that_of_the_plain_form(layer: Layer, layout: torch.memory_format) -> None:
    conv = layer.make_conv()
    for height, width in SIZES:
        if layer.padding_mode == "reflect" and layer.scale_factor * min(height, width) <= layer.kernel_size // 2:
            continue
        x = draw(2, 4, height, width).contiguous(memory_format=layout)
        with torch.no_grad():
            expected = layer.run_plain(conv, x)
            for is_prepared in (False, True):
                found = layer.run_form(conv, x, is_prepared=is_prepared)
                torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@over_layouts
@pytest.mark.parametrize("mode", ["zeros", "replicate"])
@pytest.mark.parametrize("kernel_size", [2, 4, 6])
@pytest.mark.parametrize("form", ["plain", "transposed", "subpixel", "minimal"])
def test_even_kernels_see_one_pixel_more_after_the_last_than_before_the_first(
    form: str, kernel_size: int, mode: str, layout: torch.memory_format
) -> None:
    padding = ((kernel_size - 1) // 2, kernel_size // 2) * 2
    for (height, width), scale, groups in itertools.product(SIZES, (2, 3, 4), (1, 2)):
        geometry = Geometry(kernel_size=kernel_size, scale_factor=scale, groups=groups, padding_mode=mode)
        x = draw(2, 4, height, width).contiguous(memory_format=layout).requires_grad_()
        weight = draw(6, 4 // groups, kernel_size, kernel_size).requires_grad_()
        bias = draw(6).requires_grad_()
        upsampled = functional.interpolate(x, scale_factor=(scale, scale))
        padded = functional.pad(upsampled, padding, mode="constant" if mode == "zeros" else mode)
        expected = functional.conv2d(padded, weight, bias, groups=groups)
        found = run(form, x, weight, None, bias, geometry)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
        gradient = draw(*expected.shape, seed=3)
        gradients = [torch.autograd.grad(y, (x, weight, bias), gradient) for y in (expected, found)]
        for one, other in zip(*gradients, strict=True):
            torch.testing.assert_close(other, one, rtol=0, atol=1e-11)
        # by the plain form, where a compiler's graph goes back
        wanted = (True, True)
        plainly = go_back_plainly(x.detach(), weight.detach(), gradient, geometry, wanted)
        torch.testing.assert_close(plainly, gradients[0][:2], rtol=0, atol=1e-11)


@over(FEW)
def test_rounding_errors_in_float32_are_small(layer: Layer) -> None:
    conv, x = layer.make_conv(32, 16), draw(1, 32, 9, 8)
    with torch.no_grad():
        expected = layer.run_plain(conv, x)
        assert measure_error(layer.run_form(conv.float(), x.float()), expected) < 1e-6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
@over(FEW)
def test_rounding_errors_in_half_precision_are_near_those_of_the_plain_form(
    layer: Layer, dtype: torch.dtype
) -> None:
    x = draw(1, 32, 9, 8).to(dtype)
    conv = layer.make_conv(32, 16).to(dtype)
    with torch.no_grad():
        expected = layer.run_plain(layer.make_conv(32, 16).to(dtype).double(), x.double())
        plain, found = layer.run_plain(conv, x), layer.run_form(conv, x)
    assert found.dtype == dtype
    # the minimal forms keep sums in half precision between two products, where a convolution keeps them in float32
    assert measure_error(found, expected) < 8 * measure_error(plain, expected)


@given(
    form=st.sampled_from(FORMS),
    kernel_size=st.sampled_from((1, 3, 5, 7, 9)),
    scale_factor=st.integers(2, 5),
    options=st.sampled_from(OPTIONS),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
    has_last=st.booleans(),
    band_bytes=st.sampled_from((1, 10**4, 10**7)),
)
@settings(deadline=None, max_examples=60)
def test_any_layer_on_any_image(
    form: str,
    kernel_size: int,
    scale_factor: int,
    options: dict[str, Any],
    shape: tuple[int, int, int],
    has_last: bool,
    band_bytes: int,
) -> None:
    layer = Layer(form=form, kernel_size=kernel_size, scale_factor=scale_factor, **options)
    if not layer.is_possible:
        layer = Layer(form=form)
    conv, x = layer.make_conv(), draw(shape[0], 4, *shape[1:])
    if has_last:
        x = x.contiguous(memory_format=torch.channels_last)
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "_BAND_BYTES", band_bytes)
        patch.setattr(memory, "_LEAST_TILES", 1)
        found = layer.run_form(conv, x)
        torch.testing.assert_close(found, layer.run_plain(conv, x), rtol=0, atol=1e-12)


@over_layouts
@over([layer for layer in FEW if layer.form in {"minimal", "tiled"}])
def test_bands_give_the_same_numbers(
    layer: Layer, layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    conv, x = layer.make_conv(), draw(5, 4, 7, 6).contiguous(memory_format=layout)
    with torch.no_grad():
        expected = layer.run_plain(conv, x)
        monkeypatch.setattr(memory, "_LEAST_TILES", 1)
        # a row at a time, some rows at a time, two images at a time, everything at once
        for tiles in (1, 30, 100, 10**6):
            monkeypatch.setattr(memory, "_BAND_BYTES", tiles * 8 * 6 * 30)
            torch.testing.assert_close(layer.run_form(conv, x), expected, rtol=0, atol=1e-12)


@over([layer for layer in FEW if layer.form in {"minimal", "tiled"}])
def test_channels_by_parts_give_the_same_numbers(layer: Layer, monkeypatch: pytest.MonkeyPatch) -> None:
    conv, x = layer.make_conv(), draw(2, 4, 5, 6)
    plans = []

    def cut(demand: memory.Demand) -> memory.MemoryPlan:
        plans.append(memory.MemoryPlan(images=1, rows=2, chunks=2, fits=True))
        return plans[-1]

    for module in ("minimal", "tiled"):
        monkeypatch.setattr(f"deconvbench.upsamplers.fast.{module}.plan_work", cut)
    with torch.no_grad():
        torch.testing.assert_close(layer.run_form(conv, x), layer.run_plain(conv, x), rtol=0, atol=1e-12)
    assert plans


@over([Layer(form="minimal"), Layer(form="tiled")])
def test_the_weight_is_transformed_once_for_all_bands(layer: Layer, monkeypatch: pytest.MonkeyPatch) -> None:
    conv, x = layer.make_conv(), draw(3, 4, 8, 8)
    calls = []

    def count(*arguments: Any) -> Tensor:
        calls.append(arguments[0])
        return prepare(*arguments)

    monkeypatch.setattr(memory, "_BAND_BYTES", 1)
    monkeypatch.setattr(memory, "_LEAST_TILES", 1)
    monkeypatch.setattr("deconvbench.upsamplers.fast.forms.prepare", count)
    with torch.no_grad():
        run(layer.form, x, conv.weight, None, conv.bias, layer.geometry)
    assert calls == [layer.form]


def vary_images() -> Iterator[tuple[str, Tensor]]:
    for channels, height, width in ((4, 5, 3), (1, 5, 3), (4, 1, 1)):
        base = draw(2, 2 * channels, height, 2 * width)
        last = base.to(memory_format=torch.channels_last)
        yield "contiguous", base[:, :channels, :, :width].contiguous()
        yield "channels last", base[:, :channels, :, :width].to(memory_format=torch.channels_last)
        yield "with gaps", base[:, :channels, :, ::2]
        yield "channels last, with gaps", last[:, :channels, :, ::2]
        yield "transposed", draw(2, channels, width, height).transpose(2, 3)
        yield "repeated", draw(2, channels, 1, 1).expand(2, channels, height, width)


@pytest.mark.parametrize("weight_has_last", [False, True], ids=["weight-nchw", "weight-nhwc"])
@over([*FEW, *(Layer(form=form, kernel_size=1) for form in ("transposed", "subpixel", "minimal"))])
def test_layout_is_that_of_the_plain_form(layer: Layer, weight_has_last: bool) -> None:
    for name, x in vary_images():
        if x.shape[1] % layer.groups:
            continue
        conv = layer.make_conv(x.shape[1])
        if weight_has_last:
            conv = conv.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch leaves it out
        with torch.no_grad():
            expected = layer.run_plain(conv, x)
            for is_prepared in (False, True):
                found = layer.run_form(conv, x, is_prepared=is_prepared)
                assert found.stride() == expected.stride(), name
                torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@over_layouts
@over(FEW)
def test_gradients_are_those_of_the_plain_form(layer: Layer, layout: torch.memory_format) -> None:
    conv = layer.make_conv()
    for height, width in ((1, 1), (3, 4)):
        if layer.kernel_size // 2 >= 2 * min(height, width) and layer.padding_mode == "reflect":
            continue
        x = draw(2, 4, height, width).contiguous(memory_format=layout).requires_grad_()
        asked = [x, *conv.parameters()]
        plain = layer.run_plain(conv, x)
        gradient = draw(*plain.shape, seed=2)
        expected = torch.autograd.grad(plain, asked, gradient)
        found = torch.autograd.grad(layer.run_form(conv, x), asked, gradient)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    "wanted",
    list(itertools.product((False, True), repeat=3)),
    ids=lambda wanted: "".join(map(str, map(int, wanted))),
)
@over([*EACH, Layer(form="minimal", bias=False), Layer(form="tiled", groups=2, padding_mode="replicate")])
def test_gradients_come_for_what_asks_for_them(layer: Layer, wanted: tuple[bool, ...]) -> None:
    conv, x = layer.make_conv(), draw(2, 4, 3, 4)
    asked = require_gradients(conv, x, wanted)
    y, plain = layer.run_form(conv, x), layer.run_plain(conv, x)
    assert y.requires_grad == plain.requires_grad == bool(asked)
    torch.testing.assert_close(y, plain, rtol=0, atol=1e-12)
    if asked:
        found = torch.autograd.grad(y.square().sum(), asked)
        for one, other in zip(found, torch.autograd.grad(plain.square().sum(), asked), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_prepared_weights_still_lead_gradients_to_the_input() -> None:
    for layer in FEW:
        conv, x = layer.make_conv().requires_grad_(False), draw(1, 4, 3, 4).requires_grad_()
        found = torch.autograd.grad(layer.run_form(conv, x, is_prepared=True).square().sum(), x)
        expected = torch.autograd.grad(layer.run_plain(conv, x).square().sum(), x)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@over([layer for layer in FEW if layer.kernel_size == 3])
def test_first_and_second_derivatives(layer: Layer) -> None:
    conv = layer.make_conv(2, 2)

    def compute(x: Tensor, weight: Tensor, *bias: Tensor) -> Tensor:
        return run(layer.form, x, weight, None, bias[0] if bias else None, layer.geometry)

    inputs = (draw(1, 2, 2, 3).requires_grad_(), *conv.parameters())
    assert torch.autograd.gradcheck(compute, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(compute, inputs, fast_mode=True)


def differentiate_batched(f: Callable[[Tensor], Tensor], x: Tensor) -> list[Tensor]:
    """Differentiate the mean of each channel at once, in every way that torch has for it, and twice."""

    def compute(x: Tensor) -> Tensor:
        return f(x).tanh().mean((2, 3)).sum(0)

    jacobian, hessian = torch.autograd.functional.jacobian, torch.autograd.functional.hessian
    image = x.clone().requires_grad_()
    y = compute(image)
    directions = torch.eye(len(y), dtype=x.dtype)
    return [
        jacobian(compute, x, vectorize=True),  # type: ignore[no-untyped-call] # torch has no types here
        jacobian(compute, x, vectorize=True, strategy="forward-mode"),  # type: ignore[no-untyped-call] # as above
        hessian(lambda x: compute(x).square().sum(), x, vectorize=True),  # type: ignore[no-untyped-call] # as above
        *torch.autograd.grad(y, image, directions, is_grads_batched=True, retain_graph=True),
        torch.vmap(lambda g: torch.autograd.grad(y, image, g, retain_graph=True)[0])(directions),
        torch.func.jacrev(compute)(x),
        torch.func.hessian(lambda x: compute(x).square().sum())(x),
    ]


# raised inside torch when it first differentiates forward
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
# and where it has no rule for a batch of a convolution's gradients, nor for the plain form's
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
@over([*(layer for layer in FEW if layer.kernel_size == 3), Layer(form="minimal", kernel_size=5, scale_factor=3)])
def test_batched_gradients_are_those_of_the_plain_form(layer: Layer) -> None:
    conv, x = layer.make_conv(4, 4), draw(1, 4, 2, 3)
    found = differentiate_batched(lambda x: layer.run_form(conv, x), x)
    expected = differentiate_batched(lambda x: layer.run_plain(conv, x), x)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
def test_batched_gradients_of_a_weight_that_goes_back_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "_LEAST_CHANNELS", 1)
    layer = Layer(form="tiled")
    conv, x = layer.make_conv(4, 6), draw(1, 4, 1, 1)
    gradient = layer.run_plain(conv, x).detach()
    assert len(gradients.split_channels(x, conv.weight, gradient, layer.geometry)) > 1
    found, expected = (
        torch.autograd.grad(
            f(conv, x).mean((2, 3)), conv.weight, torch.eye(6).double().view(6, 1, 6), is_grads_batched=True
        )
        for f in (layer.run_form, layer.run_plain)
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("trains", [False, True], ids=["forward", "train"])
@over([layer for layer in FEW if layer.groups == 1 and layer.bias])
def test_what_is_not_finite_spoils_what_it_spoils_in_the_plain_form(
    layer: Layer, trains: bool, value: float
) -> None:
    conv, x = layer.make_conv(), draw(2, 4, 7, 6)
    x[1, 2, 3, 2] = value
    expected, found = layer.run_plain(conv, x), layer.run_form(conv, x.requires_grad_(trains))
    assert torch.equal(found.isfinite(), expected.isfinite())
    assert not (found.isnan() & ~expected.isnan()).any()
    torch.testing.assert_close(
        *(torch.where(expected.isfinite(), y, 0) for y in (found, expected)), rtol=0, atol=1e-12
    )


CONTEXTS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "device": lambda: torch.device("meta"),
    "memory filled with NaN": filled_memory,
    "inference": torch.inference_mode,
    "no_grad": torch.no_grad,
}


@pytest.mark.parametrize("make_context", CONTEXTS.values(), ids=CONTEXTS)
@over([*FEW, Layer(form="minimal", scale_factor=3), Layer(form="subpixel", kernel_size=5, scale_factor=3)])
def test_what_is_around_makes_no_difference(
    layer: Layer, make_context: Callable[[], AbstractContextManager[object]]
) -> None:
    conv, x = layer.make_conv(), draw(2, 4, 7, 6)
    expected, prepared = layer.run_plain(conv, x), layer.run_form(conv, x, is_prepared=True)
    with make_context():
        torch.testing.assert_close(layer.run_form(conv, x), expected, rtol=0, atol=1e-12, check_device=True)
        assert torch.equal(layer.run_form(conv, x, is_prepared=True), prepared)


@over(EACH)
def test_the_default_type_makes_no_difference(layer: Layer) -> None:
    conv, x = layer.make_conv().float(), draw(2, 4, 7, 6).float()
    expected = layer.run_form(conv, x)
    torch.set_default_dtype(torch.float64)
    try:
        found = layer.run_form(conv, x)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found, expected)
    assert found.dtype == torch.float32


@over(FEW)
def test_an_empty_batch_stays_empty(layer: Layer) -> None:
    conv, x = layer.make_conv(), draw(0, 4, 5, 6)
    assert layer.run_form(conv, x).shape == (0, 6, 10, 12)
    assert layer.run_form(conv, x, is_prepared=True).shape == (0, 6, 10, 12)
    x.requires_grad_()
    layer.run_form(conv, x).sum().backward()  # type: ignore[no-untyped-call] # torch has no types here
    assert x.grad is not None
    assert conv.weight.grad is not None
    assert not conv.weight.grad.any()


def call(layer: Layer, conv: nn.Conv2d) -> Callable[..., Tensor]:
    def compute(x: Tensor, weight: Tensor) -> Tensor:
        return run(layer.form, x, weight, None, conv.bias, layer.geometry)

    return compute


def call_plain(layer: Layer, conv: nn.Conv2d) -> Callable[..., Tensor]:
    def compute(x: Tensor, weight: Tensor) -> Tensor:
        upsampled = functional.interpolate(x, scale_factor=layer.scale_factor)
        return functional.conv2d(upsampled, weight, conv.bias, padding=layer.kernel_size // 2, groups=layer.groups)

    return compute


def differentiate(f: Callable[..., Tensor]) -> Callable[..., Any]:
    return torch.func.grad(lambda x, weight: f(x, weight).square().sum(), argnums=(0, 1))


def push_forward(f: Callable[..., Tensor]) -> Callable[..., Any]:
    return lambda x, weight: torch.func.jvp(f, (x, weight), (x.roll(1, -1), weight.roll(1, 0)))


def use_dual_numbers(f: Callable[..., Tensor]) -> Callable[..., Any]:
    def compute(x: Tensor, weight: Tensor) -> Tensor:
        with forward_ad.dual_level():
            dual = f(forward_ad.make_dual(x, x.roll(1, -1)), weight)  # type: ignore[no-untyped-call] # torch's
            return forward_ad.unpack_dual(dual).tangent  # type: ignore[no-any-return, no-untyped-call] # torch's

    return compute


TRANSFORMS: dict[str, Callable[[Callable[..., Tensor]], Callable[..., Any]]] = {
    "grad": differentiate,
    "jvp": push_forward,
    "dual numbers": use_dual_numbers,
    "vmap": lambda f: torch.vmap(lambda x, weight: f(x[None], weight), in_dims=(0, None)),
    "gradients per sample": lambda f: torch.vmap(
        lambda x, weight: differentiate(f)(x[None], weight), in_dims=(0, None)
    ),
    "ensemble": lambda f: lambda x, weight: torch.vmap(f, in_dims=(None, 0))(x, torch.stack([weight, -weight])),
}


# raised inside torch when it first differentiates forward
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("grad_mode", [True, False], ids=["grad", "no_grad"])
@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
@over([*EACH, Layer(form="minimal", kernel_size=5, groups=2)])
def test_transforms_of_torch_func_give_what_they_give_for_the_plain_form(
    layer: Layer, transform: Callable[[Callable[..., Tensor]], Callable[..., Any]], grad_mode: bool
) -> None:
    conv, x = layer.make_conv(), draw(2, 4, 3, 4)
    with torch.set_grad_enabled(grad_mode):
        found = transform(call(layer, conv))(x, conv.weight.detach())
        expected = transform(call_plain(layer, conv))(x, conv.weight.detach())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def count_macs(compute: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        compute()
    return int(counter.get_total_flops()) // 2


# per pair of channels: products of an image of H×W, columns of the transform squared
COUNTS: dict[str, tuple[Callable[[int, int], int], int]] = {
    "transposed": (lambda height, width: 4**2 * height * width, 4),
    "subpixel": (lambda height, width: 2**2 * 3**2 * height * width, 6),
    "minimal": (lambda height, width: 3**2 * height * width, 3),
    "tiled": (lambda height, width: 25 * -(-height // 2) * -(-width // 2), 5),
}


@pytest.mark.parametrize(("height", "width"), [(6, 8), (5, 7), (1, 1)])
@over(EACH)
def test_the_counter_of_torch_sees_every_product(layer: Layer, height: int, width: int) -> None:
    conv, x = layer.make_conv(8, 6), draw(1, 8, height, width)
    count, rows = COUNTS[layer.form]
    transform = count_macs(lambda: prepare(layer.form, conv.weight, layer.geometry, x.dtype))
    assert transform == rows**2 * 3**2 * 8 * 6
    products = count_macs(lambda: run(layer.form, x, conv.weight, None, conv.bias, layer.geometry)) - transform
    expected = count(height, width) * 8 * 6
    if layer.form == "minimal":
        # and what lies between two rows
        assert expected <= products <= expected * (width + 2) // width
    else:
        assert products == expected


@pytest.fixture
def _fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.compile
@pytest.mark.slow
@pytest.mark.usefixtures("_fresh_compiler")
# raised inside torch, which makes an instance to trace an autograd.Function
@pytest.mark.filterwarnings("ignore:.*autograd.function.Function.* should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("trains", [False, True], ids=["forward", "train"])
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@over(EACH)
def test_compiled_is_eager(layer: Layer, backend: str, trains: bool) -> None:
    conv, x = layer.make_conv(), draw(2, 4, 3, 5)
    asked = require_gradients(conv, x, (trains,) * 3)

    def compute(x: Tensor) -> Tensor:
        return run(layer.form, x, conv.weight, None, conv.bias, layer.geometry)

    y, expected = torch.compile(compute, backend=backend, fullgraph=True)(x), layer.run_plain(conv, x)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
    if trains:
        found = torch.autograd.grad(y.square().sum(), asked)
        for one, other in zip(found, torch.autograd.grad(expected.square().sum(), asked), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


@pytest.mark.compile
@pytest.mark.slow
@pytest.mark.usefixtures("_fresh_compiler")
@over(EACH)
def test_compiled_for_any_size(layer: Layer) -> None:
    conv = layer.make_conv()
    # the layer, whose numbers may not vary
    compiled = torch.compile(layer.make(conv), backend="aot_eager", fullgraph=True, dynamic=True)
    with torch.no_grad():
        for shape in ((2, 4, 5, 4), (3, 4, 7, 8)):
            x = draw(*shape)
            torch.testing.assert_close(compiled(x), layer.run_plain(conv, x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("trains", [True, False])
@over(FEW)
def test_the_output_may_be_written_to(layer: Layer, trains: bool) -> None:
    conv, x = layer.make_conv(4, 4), draw(1, 4, 3, 4)
    factor = torch.ones((), dtype=x.dtype, requires_grad=True)
    outputs = []
    for form in (layer.run_form, layer.run_plain):
        with torch.set_grad_enabled(trains):
            y = form(conv, x)
        # parts of it too, whether or not it has a history
        y[:, :1].mul_(factor)
        outputs.append(y.add_(1).detach())
    torch.testing.assert_close(*outputs, rtol=0, atol=1e-10)


@over(FEW)
def test_gradients_that_are_switched_on_in_inference_mode_are_not_recorded(layer: Layer) -> None:
    conv = layer.make_conv(4, 4)
    with torch.inference_mode(), torch.enable_grad():
        y = layer.run_form(conv, draw(1, 4, 3, 4))
        expected = layer.run_plain(conv, draw(1, 4, 3, 4))
    assert not y.requires_grad
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-10)
