"""In half precision `auto` is as precise as the plain form, on the kernels that it is hardest for."""

import itertools

import pytest
import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from deconvbench.upsamplers.fast import ResizeConv2d
from tests.upsamplers.fast.half_problems import (
    Problem,
    assert_as_precise,
    make_problems,
    measure_errors,
    over_half,
)
from tests.upsamplers.fast.plain_form import LAYOUTS, Layer, draw, over, over_layouts

LAYERS = [
    *(Layer(form="auto", kernel_size=k, scale_factor=s) for k, s in itertools.product((1, 3, 5, 7), (2, 3, 4))),
    Layer(form="auto", groups=4),
    Layer(form="auto", padding_mode="replicate"),
    Layer(form="auto", padding_mode="reflect"),
    Layer(form="auto", kernel_size=5, padding_mode="reflect"),
    Layer(form="auto", kernel_size=5, scale_factor=3, padding_mode="replicate", bias=False),
]


@over_half
@over_layouts
@over(LAYERS)
def test_auto_is_as_precise_as_the_plain_form(
    layer: Layer, layout: torch.memory_format, dtype: torch.dtype
) -> None:
    for problem in make_problems(layer, dtype, layout):
        plain, exact = problem.in_half, problem.exact
        for mode in ("live", "kept", "train"):
            assert_as_precise(problem.run(mode), plain, exact)


@over_half
@over_layouts
@over([Layer(form="auto"), Layer(form="auto", kernel_size=5, scale_factor=3), Layer(form="auto", groups=4)])
def test_auto_is_as_precise_under_autocast(layer: Layer, layout: torch.memory_format, dtype: torch.dtype) -> None:
    for problem in make_problems(layer, dtype, layout):
        wide = Problem(layer=layer, conv=problem.conv.float(), x=problem.x.float(), gradient=problem.gradient)
        exact = wide.exact
        with torch.autocast("cpu", dtype=dtype):
            plain = wide.in_half
            assert plain[0].dtype == dtype
            for mode in ("live", "kept", "train"):
                found = wide.run(mode)
                assert [tensor.dtype for tensor in found] == [tensor.dtype for tensor in plain[: len(found)]]
                assert_as_precise(found, plain, exact)


def record(auto: ResizeConv2d, x: Tensor) -> GraphModule:
    def forward(image: Tensor) -> Tensor:
        y: Tensor = auto(image)
        return y

    return make_fx(forward)(x)


@over_half
def test_auto_recorded_is_as_precise_as_the_plain_form(dtype: torch.dtype) -> None:
    layer = Layer(form="auto", padding_mode="replicate")
    for problem in make_problems(layer, dtype, torch.contiguous_format):
        recorded = record(layer.make(problem.conv), problem.x)
        assert {"transposed" in str(node.target) for node in recorded.graph.nodes} == {False}
        assert_as_precise([recorded(problem.x).detach()], problem.in_half, problem.exact)


@pytest.mark.compile
@pytest.mark.slow
@over_half
def test_auto_compiled_is_as_precise_as_the_plain_form(dtype: torch.dtype) -> None:
    layer = Layer(form="auto", padding_mode="replicate")
    torch.compiler.reset()
    for problem in make_problems(layer, dtype, torch.contiguous_format):
        compiled = torch.compile(layer.make(problem.conv), backend="aot_eager", fullgraph=True)
        x = problem.x.clone().requires_grad_()
        y = compiled(x)
        found = [y.detach(), *torch.autograd.grad(y, [x, *problem.conv.parameters()], problem.gradient)]
        assert_as_precise(found, problem.in_half, problem.exact)
    torch.compiler.reset()


@over_half
def test_what_is_recorded_in_half_precision_is_the_plain_form(dtype: torch.dtype) -> None:
    chosen = []
    layer = ResizeConv2d(4, 6)

    def forward(x: Tensor) -> Tensor:
        chosen.append(layer.choose(x))
        return x

    for kind in (torch.float32, dtype):
        make_fx(forward)(draw(1, 4, 5, 6, dtype=kind))
        torch.vmap(forward)(draw(1, 1, 4, 5, 6, dtype=kind))
    assert chosen == ["transposed", "transposed", "plain", "plain"]


@over_half
def test_under_autocast_the_choice_is_that_of_its_type(dtype: torch.dtype) -> None:
    layer, x = ResizeConv2d(16, 8).requires_grad_(requires_grad=False), draw(1, 16, 32, 32, dtype=torch.float32)
    alone = layer.choose(x)
    with torch.autocast("cpu", dtype=dtype):
        assert layer.choose(x) == "plain"
    assert layer.choose(x) == alone != "plain"


@over_half
@pytest.mark.parametrize("form", ["transposed", "subpixel", "tiled"])
def test_forms_that_add_up_taps_or_pixels_are_not(form: str, dtype: torch.dtype) -> None:
    """Why `auto` takes none of them; asked for by name they run all the same."""
    layer = Layer(form=form, padding_mode="replicate", bias=False)
    for problem in itertools.islice(make_problems(layer, dtype, LAYOUTS["nchw"]), 2, 4):
        with torch.no_grad():
            found = layer.make(problem.conv)(problem.x)
        (error,), limit = measure_errors([found], problem.exact), measure_errors(problem.in_half, problem.exact)[0]
        assert error > 10 * limit


def test_no_other_form_is_better_where_nothing_cancels() -> None:
    """On random kernels the error is that of rounding weights twice."""
    *_, problem = make_problems(Layer(form="transposed"), torch.bfloat16, LAYOUTS["nchw"])
    exact, limit = problem.exact, measure_errors(problem.in_half, problem.exact)[0]
    for form in ("transposed", "subpixel", "minimal", "tiled"):
        with torch.no_grad():
            found = Layer(form=form).make(problem.conv)(problem.x)
        assert 1.1 * limit < measure_errors([found], exact)[0] < 8 * limit
