"""The operation for compilers: known to torch in every respect, and torch's own in every value."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.library import opcheck

import deconvbench.upsamplers.fast.deconvolution.operators  # noqa: F401 -- registers what is tested
from deconvbench.upsamplers.fast.deconvolution import forms
from tests.upsamplers.fast.deconvolution.pairs import (
    EXACT,
    LAYERS,
    draw,
    make_layer,
    make_torch_s,
    measure_error,
)

OPERATOR = torch.ops.deconvbench.conv_transpose2d.default
BACKWARD = torch.ops.deconvbench.conv_transpose2d_backward.default
pytestmark = [pytest.mark.compile, pytest.mark.usefixtures("native", "_fresh_compiler")]

# kernel, stride, padding, output padding, groups
SHAPES = {"k4": (4, 2, 1, [0, 0], 1), "k3": (3, 2, 1, [0, 1], 1), "groups": (4, 2, 1, [0, 0], 2)}
CHECKED = [
    ("k4", "auto", torch.channels_last),
    ("k3", "minimal", torch.contiguous_format),
    ("groups", "minimal", torch.channels_last),
]


@pytest.fixture
def _fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.parametrize(("name", "form", "layout"), CHECKED)
def test_torch_s_own_checks_of_operations(name: str, form: str, layout: torch.memory_format) -> None:
    size, *options = SHAPES[name]
    groups = SHAPES[name][-1]
    x = draw(2, 4, 5, 3).contiguous(memory_format=layout).requires_grad_()
    weight, bias = draw(4, 6 // groups, size, size).requires_grad_(), draw(6).requires_grad_()
    gradient = draw(*OPERATOR(x, weight, bias, *options, form).shape).requires_grad_()
    opcheck(OPERATOR, (x, weight, bias, *options, form))
    opcheck(OPERATOR, (x.detach(), weight.detach(), None, *options, form))
    opcheck(BACKWARD, (gradient, x, weight, *options, form, True, True))
    opcheck(BACKWARD, (gradient, x, weight, *options, form, True, False))


def test_first_and_second_derivatives() -> None:
    x, weight, bias = (one.double().requires_grad_() for one in (draw(1, 2, 2, 3), draw(2, 3, 4, 4), draw(3)))

    def compute(*operands: Tensor) -> Tensor:
        y: Tensor = OPERATOR(*operands, 2, 1, [0, 0], 1, "minimal")
        return y

    assert torch.autograd.gradcheck(compute, (x, weight, bias), fast_mode=True)
    assert torch.autograd.gradgradcheck(compute, (x, weight, bias), fast_mode=True)


def keep_graphs(graphs: list[torch.fx.Graph]) -> Callable[..., Any]:
    def keep(module: torch.fx.GraphModule, _: Any) -> Callable[..., Any]:
        graphs.append(module.graph)
        return module.forward

    return keep


def count_operators(graph: torch.fx.Graph) -> int:
    return sum("deconvbench" in str(node.target) for node in graph.nodes)


@pytest.mark.parametrize("name", ["k3-op1", "k4", "k4-groups", "k4-nobias"])
def test_a_compiled_layer_is_one_operation_that_is_chosen_when_it_runs(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = make_layer(implementation="auto", **LAYERS[name])
    graphs: list[torch.fx.Graph] = []
    asked: list[int] = []

    def prefer(load: Any) -> bool:
        asked.append(load.height)
        return bool(load.height > 6)

    monkeypatch.setattr(forms, "prefers_minimal", prefer)
    compiled = torch.compile(layer, backend=keep_graphs(graphs), fullgraph=True, dynamic=True)
    for height, width in ((5, 4), (7, 9), (12, 3)):
        x = draw(2, 8, height, width)
        assert measure_error(compiled(x), make_torch_s(layer)(x.double())) < EXACT
        # and of one image
        assert measure_error(layer(x[0]), make_torch_s(layer)(x[0].double())) < EXACT
    assert set(asked) >= {5, 7, 12}
    (graph,) = graphs
    assert count_operators(graph) == 1


def test_a_compiled_layer_trains_as_torch_s() -> None:
    layer, x = make_layer(), draw(2, 8, 5, 4).requires_grad_()
    own, wide = make_torch_s(layer), x.detach().double().requires_grad_()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    found = torch.autograd.grad(compiled(x).square().sum(), [x, *layer.parameters()])
    expected = torch.autograd.grad(own(wide).square().sum(), [wide, *own.parameters()])
    for one, other in zip(found, expected, strict=True):
        assert measure_error(one, other) < EXACT


LEFT: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "another layer": lambda: (make_layer(kernel_size=4, stride=2), draw(1, 8, 3, 3)),
    "another type": lambda: (make_layer().double(), draw(1, 8, 3, 3).double()),
    "by its name": lambda: (make_layer(implementation="plain"), draw(1, 8, 3, 3)),
    "more output": lambda: (make_layer(**LAYERS["k4"], output_padding=1), draw(1, 8, 3, 3)),
}


@pytest.mark.parametrize("name", LEFT)
def test_others_compile_to_torch_s_own(name: str) -> None:
    layer, x = LEFT[name]()
    graphs: list[torch.fx.Graph] = []
    compiled = torch.compile(layer, backend=keep_graphs(graphs), fullgraph=True)
    torch.testing.assert_close(compiled(x), layer(x))
    assert [count_operators(graph) for graph in graphs] == [0]


def test_without_the_compiled_form_it_compiles_to_torch_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deconvbench.upsamplers.fast.deconvolution.compiled.find_library", lambda: None)
    layer, x = make_layer(), draw(1, 8, 3, 3)
    graphs: list[torch.fx.Graph] = []
    found = torch.compile(layer, backend=keep_graphs(graphs), fullgraph=True)(x)
    torch.testing.assert_close(found, make_torch_s(layer).float()(x))
    assert [count_operators(graph) for graph in graphs] == [0]
