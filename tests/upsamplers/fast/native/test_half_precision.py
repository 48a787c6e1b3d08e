"""In half precision the compiled form is as precise as the plain one, whatever the mean; `auto` takes it."""

import pytest
import torch
from torch import Tensor

from deconvbench.upsamplers.fast import ResizeConv2d, choice, forms
from deconvbench.upsamplers.fast.choice import NATIVE
from deconvbench.upsamplers.fast.dtypes import multiplies_fast
from tests.upsamplers.fast.half_problems import Problem, assert_as_precise, make_problems, over_half
from tests.upsamplers.fast.plain_form import Layer, over, over_layouts

LAYERS = [
    Layer(form="auto"),
    Layer(form="auto", scale_factor=3),
    Layer(form="auto", kernel_size=5),
    Layer(form="auto", padding_mode="replicate"),
    Layer(form="auto", kernel_size=5, scale_factor=4, padding_mode="reflect", bias=False),
]
# by chance one of two that are rounded once is nearer
BY_CHANCE = 1.05


@pytest.fixture(autouse=True)
def slow_halves(native: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor without instructions for half precision, whatever the tests run on, and no layer too small."""
    monkeypatch.setattr(forms, "multiplies_fast", lambda _: False)
    monkeypatch.setattr(choice, "_pays_in_half", lambda *_: True)


@over_half
@over_layouts
@over(LAYERS)
def test_auto_is_as_precise_as_the_plain_form(
    layer: Layer, layout: torch.memory_format, dtype: torch.dtype
) -> None:
    for problem in make_problems(layer, dtype, layout, size=32):
        plain, exact = problem.in_half, problem.exact
        for mode in ("live", "kept", "train"):
            assert_as_precise(problem.run(mode), plain, exact, BY_CHANCE)
    # 5x5 kernels of few channels would hold more than the plain form
    trained = layer.make(problem.conv)
    assert layer.kernel_size == 5 or trained.choose(problem.x.requires_grad_()) == NATIVE


@over_half
@over_layouts
def test_auto_is_as_precise_under_autocast(layout: torch.memory_format, dtype: torch.dtype) -> None:
    layer = Layer(form="auto")
    for problem in make_problems(layer, dtype, layout, size=32):
        wide = Problem(layer=layer, conv=problem.conv.float(), x=problem.x.float(), gradient=problem.gradient)
        exact = wide.exact
        with torch.autocast("cpu", dtype=dtype):
            assert layer.make(wide.conv).choose(wide.x) == NATIVE
            plain = wide.in_half
            for mode in ("live", "kept", "train"):
                found = wide.run(mode)
                assert [tensor.dtype for tensor in found] == [tensor.dtype for tensor in plain[: len(found)]]
                assert_as_precise(found, plain, exact, BY_CHANCE)


@over_half
def test_gradients_of_gradients_are_as_precise(dtype: torch.dtype) -> None:
    def penalise(layer: ResizeConv2d, x: Tensor, gradient: Tensor) -> list[Tensor]:
        x = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(layer(x), x, gradient, create_graph=True)
        return list(torch.autograd.grad(slope.square().mean(), layer.weight))

    for problem in make_problems(Layer(form="auto"), dtype, torch.contiguous_format, size=32):
        layer = Layer(form="auto").make(problem.conv)
        plain = ResizeConv2d.from_conv(problem.conv, 2, "plain")
        expected = penalise(plain, problem.x, problem.gradient)
        wide = ResizeConv2d(16, 8, implementation="plain", dtype=torch.float64)
        wide.load_state_dict(problem.conv.state_dict())
        exact = penalise(wide, problem.x.double(), problem.gradient.double())
        assert_as_precise(penalise(layer, problem.x, problem.gradient), expected, exact, BY_CHANCE)


@over_half
@pytest.mark.parametrize("padding_mode", ["zeros", "replicate", "reflect"])
@pytest.mark.parametrize("is_cast", [False, True], ids=["half", "autocast"])
def test_gradients_that_are_left_to_torch_are_found_within_autocast(
    is_cast: bool, padding_mode: str, dtype: torch.dtype
) -> None:
    kind = torch.float32 if is_cast else dtype
    layer = ResizeConv2d(16, 8, padding_mode=padding_mode, dtype=kind)
    x = torch.randn(2, 16, 32, 32, dtype=kind, requires_grad=True)
    gradient = torch.randn(2, 8, 64, 64, dtype=dtype)
    spoilt = gradient.clone()
    spoilt[0, 0, 0, 0] = torch.inf
    with torch.autocast("cpu", dtype=dtype, enabled=is_cast):
        assert layer.choose(x) == NATIVE
        y = layer(x)
    (expected,) = torch.autograd.grad(y, x, gradient, retain_graph=True)
    with torch.autocast("cpu", dtype=dtype):
        (recorded,) = torch.autograd.grad(y, x, gradient, create_graph=True)
        (batched,) = torch.autograd.grad(y, x, gradient[None], is_grads_batched=True, retain_graph=True)
        (infinite,) = torch.autograd.grad(y, x, spoilt)
    limit = 4 * torch.finfo(dtype).eps * float(expected.abs().max())
    for found in (recorded.detach(), batched[0]):
        assert found.dtype == kind
        assert float((found - expected).abs().max()) <= limit
    assert not infinite.isfinite().all()
    assert infinite[1].isfinite().all()


@over_half
def test_what_overflows_is_what_overflows_in_the_plain_form(dtype: torch.dtype) -> None:
    layer = ResizeConv2d(16, 8, dtype=dtype)
    x = torch.zeros(1, 16, 32, 32, dtype=dtype)
    x[0, 3, 5, 7], x[0, 0, 20, 20] = torch.inf, torch.nan
    with torch.no_grad():
        assert layer.choose(x) == NATIVE
        expected = ResizeConv2d(16, 8, implementation="plain", dtype=dtype)
        expected.load_state_dict(layer.state_dict())
        assert torch.equal(layer(x).isfinite(), expected(x).isfinite())


@over_half
def test_a_processor_that_multiplies_halves_keeps_the_plain_form(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[torch.dtype] = []

    def answer(kind: torch.dtype) -> bool:
        asked.append(kind)
        return True

    monkeypatch.setattr(forms, "multiplies_fast", answer)
    layer, x = ResizeConv2d(64, 32, dtype=dtype), torch.zeros(1, 64, 32, 32, dtype=dtype)
    assert layer.choose(x) == "plain"
    assert asked == [dtype]
    with torch.no_grad():
        assert ResizeConv2d(64, 32).choose(x.float()) == NATIVE


def test_the_processor_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(*, has_matrices: bool, has_numbers: bool) -> list[bool]:
        multiplies_fast.cache_clear()
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_matrices, raising=False)
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_fp16_supported", lambda: has_numbers, raising=False)
        return [multiplies_fast(dtype) for dtype in (torch.bfloat16, torch.float16)]

    try:
        assert answer(has_matrices=False, has_numbers=False) == [False, False]
        assert answer(has_matrices=False, has_numbers=True) == [False, True]
        assert answer(has_matrices=True, has_numbers=False) == [True, True]
    finally:
        multiplies_fast.cache_clear()
