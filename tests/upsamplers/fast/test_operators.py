"""One operation for compilers: known to torch in every respect, and the plain form in every value."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.library import opcheck
from torch.nn import functional

import deconvbench.upsamplers.fast.operators  # noqa: F401 -- registers what is tested
from deconvbench.upsamplers.fast import ResizeConv2d
from tests.upsamplers.fast.plain_form import LAYOUTS, draw, make_layer, make_plain

OPAQUE = ("auto", "minimal", "tiled")
OPERATOR = torch.ops.deconvbench.resize_conv2d.default
BACKWARD = torch.ops.deconvbench.resize_conv2d_backward.default

# ---- what torch knows of it

# batch, channels in and out, height, width, scale, groups, padding
SHAPES = {
    "odd": (2, 8, 6, 5, 7, 2, 1, "zeros"),
    "replicate": (1, 4, 6, 3, 4, 2, 1, "replicate"),
    "groups": (1, 4, 6, 4, 3, 3, 2, "zeros"),
    "one pixel": (2, 4, 4, 1, 1, 2, 1, "zeros"),
    "one channel": (2, 1, 1, 4, 4, 2, 1, "zeros"),
    "no image": (0, 4, 6, 4, 4, 2, 1, "zeros"),
}


def draw_call(
    name: str, layout: torch.memory_format = torch.channels_last
) -> tuple[list[Tensor], Tensor, list[Any]]:
    batch, in_channels, out_channels, height, width, scale, groups, mode = SHAPES[name]
    x = draw(batch, in_channels, height, width).contiguous(memory_format=layout)
    weight, bias = draw(out_channels, in_channels // groups, 3, 3, seed=2), draw(out_channels, seed=3)
    gradient = draw(batch, out_channels, scale * height, scale * width, seed=4).contiguous(memory_format=layout)
    operands = [operand.requires_grad_() for operand in (x, weight, bias)]
    return operands, gradient.requires_grad_(), [scale, groups, mode]


@pytest.mark.compile
@pytest.mark.parametrize("name", SHAPES)
def test_torch_s_own_checks_of_operations(name: str) -> None:
    operands, gradient, options = draw_call(name)
    opcheck(OPERATOR, (*operands, *options, "auto", True))
    opcheck(BACKWARD, (gradient, *operands[:2], *options, "auto", True, True))


@pytest.mark.compile
def test_torch_s_own_checks_without_a_bias_and_of_one_gradient_alone() -> None:
    operands, gradient, options = draw_call("odd", torch.contiguous_format)
    opcheck(OPERATOR, (*(operand.detach() for operand in operands[:2]), None, *options, "minimal", False))
    for needs in ((True, False), (False, True)):
        opcheck(BACKWARD, (gradient, *operands[:2], *options, "minimal", *needs))


def test_an_empty_batch_stays_empty_forward_and_backward() -> None:
    operands, gradient, options = draw_call("no image")
    for form in OPAQUE:
        y = OPERATOR(*operands, *options, form, True)
        assert y.shape == gradient.shape
        for found, operand in zip(torch.autograd.grad(y, operands, gradient), operands, strict=True):
            assert torch.equal(found, torch.zeros_like(operand))


@pytest.mark.parametrize("form", OPAQUE)
def test_first_and_second_derivatives(form: str) -> None:
    x, weight, bias = (one.requires_grad_() for one in (draw(1, 2, 2, 3), draw(3, 2, 3, 3), draw(3)))
    for mode in ("zeros", "replicate"):

        def compute(*operands: Tensor, mode: str = mode) -> Tensor:
            y: Tensor = OPERATOR(*operands, 2, 1, mode, form, True)
            return y

        assert torch.autograd.gradcheck(compute, (x, weight, bias), fast_mode=True)
        assert torch.autograd.gradgradcheck(compute, (x, weight, bias), fast_mode=True)
        # of which one alone is asked for
        for asked in range(2):

            def compute_one(one: Tensor, asked: int = asked) -> Tensor:
                operands = [x.detach(), weight.detach(), bias.detach()]
                operands[asked] = one
                return compute(*operands)

            assert torch.autograd.gradgradcheck(compute_one, ((x, weight)[asked],), fast_mode=True)


def test_what_is_not_finite_spoils_what_it_spoils_in_the_plain_form() -> None:
    x, weight = draw(1, 4, 6, 6, dtype=torch.float32), draw(6, 4, 3, 3, dtype=torch.float32)
    x[0, 0, 2, 3] = torch.nan
    x[0, 1, 5, 0] = torch.inf
    expected = functional.conv2d(functional.interpolate(x, scale_factor=2), weight, padding=1)
    for form in OPAQUE:
        found = OPERATOR(x, weight, None, 2, 1, "zeros", form, False)
        torch.testing.assert_close(found, expected, equal_nan=True)


# ---- what a compiler makes of a layer


@pytest.fixture
def _fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


compiling = [pytest.mark.compile, pytest.mark.usefixtures("_fresh_compiler")]


def keep_graphs(graphs: list[torch.fx.Graph]) -> Callable[..., Any]:
    def keep(module: torch.fx.GraphModule, _: Any) -> Callable[..., Any]:
        graphs.append(module.graph)
        return module.forward

    return keep


def count_operators(graph: torch.fx.Graph) -> int:
    return sum("deconvbench" in str(node.target) for node in graph.nodes)


def record(layer: nn.Module, x: Tensor, **options: Any) -> int:
    """Count our operations in the one graph of a layer, whose answer is the layer's."""
    graphs: list[torch.fx.Graph] = []
    found = torch.compile(layer, backend=keep_graphs(graphs), fullgraph=True, **options)(x)
    torch.testing.assert_close(found, layer(x))
    (graph,) = graphs
    return count_operators(graph)


SINGLE: dict[str, Any] = {"dtype": torch.float32}


class TestLayer:
    pytestmark = compiling

    @pytest.mark.parametrize("form", OPAQUE)
    def test_is_one_operation_in_single_precision(self, form: str) -> None:
        assert record(make_layer(form, **SINGLE), draw(2, 4, 6, 5).float()) == 1
        torch.compiler.reset()
        assert record(make_layer(form, bias=False, padding_mode="reflect", **SINGLE), draw(4, 6, 5).float()) == 1

    @pytest.mark.parametrize("form", ["plain", "transposed", "subpixel"])
    def test_is_of_torch_s_operations_by_their_names(self, form: str) -> None:
        assert record(make_layer(form, **SINGLE), draw(2, 4, 6, 5).float()) == 0

    def test_is_of_torch_s_operations_where_nothing_is_gained(self) -> None:
        assert record(make_layer("auto"), draw(2, 4, 6, 5)) == 0
        torch.compiler.reset()
        assert record(make_layer("auto", dtype=torch.bfloat16), draw(2, 4, 6, 5).bfloat16()) == 0
        torch.compiler.reset()
        reflecting = make_layer("auto", kernel_size=5, padding_mode="reflect", **SINGLE)
        assert record(reflecting, draw(2, 4, 6, 5).float()) == 0
        torch.compiler.reset()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert record(make_layer("auto", **SINGLE), draw(2, 4, 6, 5).float()) == 0

    def test_has_one_graph_for_all_sizes(self) -> None:
        layer, graphs = make_layer("auto", **SINGLE), list[torch.fx.Graph]()
        compiled = torch.compile(layer, backend=keep_graphs(graphs), fullgraph=True, dynamic=True)
        plain = make_plain(layer)
        # torch takes equal numbers of the first for one
        for shape in ((2, 4, 5, 7), (3, 4, 7, 8), (5, 4, 64, 33), (2, 4, 2, 2)):
            torch.testing.assert_close(compiled(draw(*shape).float()), plain(draw(*shape).float()))
        assert len(graphs) == 1

    @pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
    @pytest.mark.parametrize("backend", ["eager", "aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_trains_as_the_plain_form_does(self, layout: str, backend: str, dynamic: bool) -> None:
        layer = make_layer("auto", padding_mode="replicate", **SINGLE)
        conv = nn.Conv2d(4, 6, 3, padding=1, padding_mode="replicate")
        conv.load_state_dict(layer.state_dict())
        plain = nn.Sequential(nn.Upsample(scale_factor=2), conv)
        compiled = torch.compile(layer, backend=backend, fullgraph=True, dynamic=dynamic)
        for shape in ((2, 4, 5, 4), (3, 4, 7, 9)):
            x = draw(*shape).float().contiguous(memory_format=LAYOUTS[layout]).requires_grad_()
            y, expected = compiled(x), plain(x)
            torch.testing.assert_close(y, expected)
            assert y.is_contiguous(memory_format=LAYOUTS[layout])
            found = torch.autograd.grad(y.square().sum(), (x, *layer.parameters()))
            others = torch.autograd.grad(expected.square().sum(), (x, *plain.parameters()))
            for one, other in zip(found, others, strict=True):
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)

    # of what torch loads for its first forward derivative
    @pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
    def test_mapped_or_differentiated_inside_is_what_it_is_outside(self) -> None:
        layer, x = make_layer("auto", **SINGLE), draw(3, 2, 4, 6, 5).float()
        functions: list[Callable[[Tensor], Any]] = [
            torch.vmap(layer),
            lambda x: torch.func.jvp(layer, (x[0],), (x[1],))[1],
            lambda x: torch.func.grad(lambda one: layer(one).square().sum())(x[0]),
        ]
        for function in functions:
            torch.compiler.reset()
            found = torch.compile(function, backend="aot_eager")(x)
            torch.testing.assert_close(found, function(x), rtol=1e-4, atol=1e-4)

    def test_a_compiled_layer_inside_a_map_is_right(self) -> None:
        layer, x = make_layer("auto", **SINGLE), draw(3, 2, 4, 6, 5).float()
        compiled = torch.compile(layer, backend="eager")
        torch.testing.assert_close(torch.vmap(compiled)(x), torch.stack([layer(one) for one in x]))

    def test_many_gradients_at_once(self) -> None:
        layer, x = make_layer("auto", **SINGLE), draw(2, 4, 3, 3).float().requires_grad_()
        compiled = torch.compile(layer, backend="eager", fullgraph=True)
        vectors = draw(5, 2, 6, 6, 6).float()
        found, expected = (
            torch.autograd.grad(net(x), x, vectors, is_grads_batched=True)[0] for net in (compiled, layer)
        )
        torch.testing.assert_close(found, expected)


@pytest.mark.compile
@pytest.mark.usefixtures("_fresh_compiler")
def test_what_is_exported_holds_none_of_it() -> None:
    layer = ResizeConv2d(4, 6)
    program = torch.export.export(layer, (torch.randn(1, 4, 3, 3),))
    assert not count_operators(program.graph)
    assert re.search(r"aten\.upsample_nearest2d", str(program.graph))
