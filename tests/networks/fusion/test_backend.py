"""The backend of torch.compile: the same numbers with one word changed, and graphs that it does not touch."""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pytest
import torch
import torch._inductor.compile_fx
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node
from torch.nn import functional

from deconvbench.errors import UsageError
from deconvbench.networks.fusion import backend, compile_graph, fuse
from deconvbench.networks.fusion.backend import rewrite_graph
from deconvbench.networks.fusion.resizing import resize_conv2d
from deconvbench.upsamplers.fast import forms
from tests.networks.fusion.comparing import differentiate_both, run_both
from tests.networks.fusion.networks import (
    ExcitedBlock,
    GeneratorBlock,
    PreActivationBlock,
    TransformationNetwork,
    UNet,
    Up,
    Upsample2D,
    VaeDecoder,
)
from tests.networks.fusion.test_odd_cases import plainly, up, upsample_then, written
from tests.networks.fusion.writings import WRITINGS

pytestmark = pytest.mark.compile

EAGER: dict[str, Any] = {"inner_backend": "aot_eager"}


@pytest.fixture(autouse=True)
def fresh_compiler() -> None:
    torch._dynamo.reset()


@pytest.fixture
def replaced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """List how many convolutions each graph lost."""
    counts: list[int] = []

    def count(module: torch.fx.GraphModule) -> int:
        counts.append(rewrite_graph(module))
        return counts[-1]

    monkeypatch.setattr(backend, "rewrite_graph", count)
    return counts


def compile_model(model: nn.Module, **options: Any) -> Any:
    compiled: Any = torch.compile(model, backend=compile_graph, options=EAGER, **options)
    return compiled


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "vae_decoder": (VaeDecoder, (1, 4, 4, 5), 2),
    "unet": (UNet, (2, 3, 8, 8), 3),
    "unet_by_size": (lambda: UNet(by_size=True), (1, 3, 8, 8), 3),
    "transformation": (TransformationNetwork, (1, 3, 12, 8), 2),
    "generator_block": (lambda: GeneratorBlock(6, 4), (2, 6, 3, 5), 2),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_compile_to_the_same_numbers(name: str, replaced: list[int]) -> None:
    build, shape, count = NETWORKS[name]
    torch.manual_seed(0)
    model = build().double().eval()
    compiled = compile_model(model)
    with torch.no_grad():
        assert run_both(model, compiled, torch.randn(shape, dtype=torch.float64)) <= 1e-10
    assert replaced == [count]


@pytest.mark.parametrize("block", [ExcitedBlock, PreActivationBlock])
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_what_treats_channels_alike_compiles_to_the_same_numbers(
    block: Callable[..., nn.Module], dynamic: bool, replaced: list[int]
) -> None:
    torch.manual_seed(0)
    model = block(6, 4, 5).double().eval()
    compiled = compile_model(model, dynamic=dynamic)
    with torch.no_grad():
        x, skip = torch.randn(2, 6, 3, 4, dtype=torch.float64), torch.randn(2, 4, 6, 8, dtype=torch.float64)
        assert run_both(model, compiled, x, skip) <= 1e-10
    # where sizes are symbols, the number of joined channels is not known
    assert replaced[-1] == (0 if dynamic else 1)


def test_training_compiles_to_the_same_numbers(replaced: list[int]) -> None:
    torch.manual_seed(0)
    model = GeneratorBlock(6, 4).double()
    x = torch.randn(2, 6, 4, 3, dtype=torch.float64)
    assert differentiate_both(model, compile_model(model), x) <= 1e-9
    assert replaced == [2]


def test_single_precision(replaced: list[int]) -> None:
    model = Up()
    assert run_both(model, compile_model(model), torch.randn(1, 4, 5, 5)) <= 1e-5
    assert replaced == [1]


def test_small_concatenations_are_not_worth_it(replaced: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "LEAST_PIXELS_SPLIT", 1024)
    model = UNet().eval()
    with torch.no_grad():
        assert run_both(model, compile_model(model), torch.randn(1, 3, 8, 8)) <= 1e-5
    assert replaced == [1]


def test_small_images_are_not_worth_it(replaced: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "find_fastest", forms.find_fastest)
    model = nn.Sequential(Up(4, 64), Upsample2D(64))
    x = torch.randn(1, 4, 16, 16)
    with torch.no_grad():
        assert run_both(model, compile_model(model), x) <= 1e-5
    assert replaced == [1]


def test_dynamic_sizes(replaced: list[int]) -> None:
    torch.manual_seed(0)
    model = written(lambda c, x: c(torch.cat([up(x[:, :3]), torch.ones_like(up(x[:, 3:]))], 1))).double()
    compiled = compile_model(model, dynamic=True)
    with torch.no_grad():
        for shape in ((1, 4, 3, 5), (2, 4, 7, 2), (3, 4, 1, 9)):
            assert run_both(model, compiled, torch.randn(shape, dtype=torch.float64)) <= 1e-10
    assert replaced[-1] == 1


def test_an_unknown_number_of_channels_is_left_alone(replaced: list[int]) -> None:
    torch.manual_seed(0)
    model = UNet().blocks[0].double().eval()
    compiled = compile_model(model, dynamic=True)
    x, skip = torch.randn(1, 16, 3, 3, dtype=torch.float64), torch.randn(1, 8, 6, 6, dtype=torch.float64)
    with torch.no_grad():
        assert run_both(model, compiled, x, skip) <= 1e-10
    assert set(replaced) == {0}


def test_sizes_that_change(replaced: list[int]) -> None:
    model = Upsample2D(4).double()
    compiled = compile_model(model)
    for size in (3, 4, 5):
        assert run_both(model, compiled, torch.randn(1, 4, size, 3, dtype=torch.float64)) <= 1e-10
    assert set(replaced) == {1}


def no_grad_between(c: nn.Module, x: Tensor) -> Any:
    with torch.no_grad():
        h = up(x)
    return c(h) + x.mean()


def break_between(c: nn.Module, x: Tensor) -> Any:
    h = up(x)
    torch._dynamo.graph_break()
    return c(h)


def write_source(c: nn.Module, x: Tensor) -> Any:
    x = x * 1
    h = up(x)
    x.mul_(2)
    return c(h)


def write_view(c: nn.Module, x: Tensor) -> Any:
    x = x * 1
    view = x[:, :1]
    h = up(x)
    view.zero_()
    return c(h)


def write_upsampled(c: nn.Module, x: Tensor) -> Any:
    h = up(x)
    h += 1
    return c(h)


def write_item(c: nn.Module, x: Tensor) -> Any:
    h = up(x)
    h[:, 0] = 0
    return c(h)


def write_chunk(c: nn.Module, x: Tensor) -> Any:
    x = x * 1
    parts = torch.chunk(x, 2, 1)
    h = up(x)
    torch._foreach_mul_(parts, 2.0)
    return c(h)


def write_other(c: nn.Module, x: Tensor) -> Any:
    h = up(x)
    other = x + 1
    other.mul_(2)
    return c(h) + other.sum()


def keep_upsampled(c: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    h = up(x)
    return c(h), h


def write_input(c: nn.Module, x: Tensor) -> Any:
    h = up(x)
    x.add_(1)
    return c(h)


PATTERNS: dict[str, tuple[Callable[[], nn.Module], list[int]]] = {
    "interpolate": (plainly(scale_factor=2), [1]),
    "nearest_exact": (plainly(scale_factor=(3, 3), mode="nearest-exact"), [1]),
    "by_size": (plainly(size=(8, 12)), [1]),
    "fraction": (plainly(scale_factor=1.5), [0]),
    "bilinear": (plainly(scale_factor=2, mode="bilinear"), [0]),
    "reflect": (lambda: written(lambda c, x: c(up(x)), padding_mode="reflect"), [1]),
    "stride": (lambda: written(lambda c, x: c(up(x)), stride=2), [0]),
    "groups": (lambda: written(lambda c, x: c(up(x)), groups=2), [1]),
    "activation": (lambda: upsample_then(functional.silu), [1]),
    "activation_in_place": (lambda: upsample_then(lambda h: functional.relu(h, inplace=True)), [1]),
    "activation_in_place_by_position": (lambda: upsample_then(lambda h: functional.relu(h, True)), [1]),
    "dropout": (lambda: upsample_then(lambda h: functional.dropout(h, 0.5, training=False)), [1]),
    "cast": (lambda: upsample_then(lambda h: h.to(torch.float64).contiguous()), [1]),
    "joined": (
        lambda: written(lambda c, x: c(torch.cat([up(x[:, :3]), up(x, scale_factor=2)[:, 3:] * 1], 1))),
        [1],
    ),
    "joined_reflect": (
        lambda: written(
            lambda c, x: c(torch.cat([up(x[:, :3]), torch.ones_like(up(x[:, 3:]))], 1)), padding_mode="reflect"
        ),
        [1],
    ),
    "one_by_one": (lambda: written(lambda c, x: c(up(x)), kernel_size=1, padding=0), [1]),
    # all of it is without gradient here
    "no_grad_between": (lambda: written(no_grad_between), [1]),
    "graph_break_between": (lambda: written(break_between), [0, 0]),
    "written_source": (lambda: written(write_source), [0]),
    "written_view": (lambda: written(write_view), [0]),
    "written_upsampled": (lambda: written(write_upsampled), [1]),
    "written_item": (lambda: written(write_item), [0]),
    "written_chunk": (lambda: written(write_chunk), [0]),
    "written_other": (lambda: written(write_other), [1]),
    "written_input": (lambda: written(write_input), [0]),
    "kept_upsampled": (lambda: written(keep_upsampled), [1]),
    "sequential": (
        lambda: nn.Sequential(nn.Upsample(scale_factor=2), nn.ReflectionPad2d(1), nn.Conv2d(4, 3, 3)),
        [1],
    ),
    "one_dimension": (lambda: written(lambda c, x: c(up(x.flatten(2)).view(2, 4, 4, -1))), [0]),
    "integers": (lambda: written(lambda c, x: c(up((x * 9).to(torch.uint8)).to(x.dtype))), [0]),
}


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns_in_graphs(name: str, replaced: list[int]) -> None:
    build, counts = PATTERNS[name]
    torch.manual_seed(0)
    model = build().double().eval()
    x = torch.randn(2, 4, 4, 6, dtype=torch.float64)
    with torch.no_grad():
        assert run_both(model, compile_model(model), x) <= 1e-10
    assert replaced == counts


def test_a_fused_model_compiles_too(replaced: list[int]) -> None:
    model = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(4, 4, 3, padding=1), Up()).double()
    fused = fuse(model).model
    x = torch.randn(1, 4, 3, 3, dtype=torch.float64)
    compiled: Any = torch.compile(fused, backend="aot_eager", fullgraph=True)
    assert run_both(model, compiled, x) <= 1e-10
    assert run_both(model, compile_model(fused, fullgraph=True), x) <= 1e-10
    # the container is fused as it is traced, the other by the backend
    assert replaced == [1]


def test_autocast_around_a_reflection_is_left_alone(replaced: list[int]) -> None:
    model = written(lambda c, x: c(up(c(x))), padding_mode="reflect")
    compiled = compile_model(model)
    x = torch.randn(1, 4, 6, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected, found = model(x), compiled(x)
    assert found.dtype == expected.dtype
    assert torch.allclose(found, expected, atol=2e-2)
    # padded in float32, upsampled in bfloat16
    assert replaced == [0]


def test_autocast_around_compiled_code(replaced: list[int]) -> None:
    model = Up()
    compiled = compile_model(model)
    x = torch.randn(1, 4, 6, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected, found = model(x), compiled(x)
    assert torch.equal(found, expected)
    # no fast form is as precise there
    assert replaced == [0]


def test_autocast_inside_compiled_code() -> None:
    class Inside(Up):
        def forward(self, x: Tensor) -> Any:
            h = functional.interpolate(x, scale_factor=2)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return self.conv(h)

    model = Inside()
    x = torch.randn(1, 4, 6, 6)
    expected, found = model(x), compile_model(model)(x)
    assert found.dtype == expected.dtype
    assert (expected - found).abs().max() <= 2e-2 * expected.abs().max()


def test_no_gradient_flows_where_none_did(replaced: list[int]) -> None:
    model = written(no_grad_between).double()
    x = torch.randn(1, 4, 3, 3, dtype=torch.float64)
    assert differentiate_both(model, compile_model(model), x) <= 1e-9
    assert replaced == [0]


@pytest.mark.slow
def test_inductor_is_the_backend_behind(replaced: list[int]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(Up(4, 4), nn.ReLU()).eval()
    compiled: Any = torch.compile(model, backend=compile_graph)
    with torch.no_grad():
        assert run_both(model, compiled, torch.randn(1, 4, 5, 5)) <= 1e-5
    assert replaced == [1]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, None),
        ({"options": {"max_fusion_size": 8}}, {"max_fusion_size": 8}),
        ({"mode": "max-autotune-no-cudagraphs"}, torch._inductor.list_mode_options("max-autotune-no-cudagraphs")),
    ],
    ids=["plain", "options", "mode"],
)
def test_inductor_gets_its_options(given: dict[str, Any], expected: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def compile_fx(module: torch.fx.GraphModule, inputs: Any, config_patches: Any) -> Callable[..., Any]:
        seen.append(config_patches)
        return module.forward

    monkeypatch.setattr(torch._inductor.compile_fx, "compile_fx", compile_fx)
    model = Up()
    compiled: Any = torch.compile(model, backend=compile_graph, **given)
    assert run_both(model, compiled, torch.randn(1, 4, 3, 3)) <= 1e-5
    assert seen == [expected]


def test_options_go_on_to_the_backend_behind() -> None:
    seen: list[Any] = []

    def inner(module: torch.fx.GraphModule, inputs: Any, **options: Any) -> Callable[..., Any]:
        seen.append(options)
        return module.forward

    model = Up()
    compiled: Any = torch.compile(model, backend=compile_graph, options={"inner_backend": inner, "depth": 3})
    assert run_both(model, compiled, torch.randn(1, 4, 3, 3)) <= 1e-5
    assert seen == [{"options": {"depth": 3}}]


@pytest.mark.parametrize("inner", ["deconvbench", compile_graph], ids=["name", "function"])
def test_it_is_not_behind_itself(inner: Any) -> None:
    graph = torch.fx.symbolic_trace(nn.Identity())
    with pytest.raises(UsageError, match="inner_backend: .* is this backend itself"):
        compile_graph(graph, [], options={"inner_backend": inner})


def test_a_graph_without_examples_is_left_alone() -> None:
    graph = torch.fx.symbolic_trace(Up())
    before = str(graph.graph)
    assert rewrite_graph(graph) == 0
    assert str(graph.graph) == before


def test_the_entry_point_names_the_backend() -> None:
    value = "deconvbench.networks.fusion.backend:compile_graph"
    assert EntryPoint("deconvbench", value, "torch_dynamo_backends").load() is compile_graph
    installed = entry_points(group="torch_dynamo_backends", name="deconvbench")
    if not installed:
        pytest.skip("this installation is older than the entry point")
    assert [point.value for point in installed] == [value]
    model = Up()
    compiled: Any = torch.compile(model, backend="deconvbench", options=EAGER)
    assert run_both(model, compiled, torch.randn(1, 4, 3, 3)) <= 1e-5


class Writing:
    """Writes nodes with examples of what they return."""

    def __init__(self) -> None:
        self.graph = Graph()

    def take(self, name: str, *shape: int) -> Node:
        node = self.graph.placeholder(name)
        node.meta["example_value"] = torch.randn(shape)
        return node

    def call(self, function: Any, *args: Any, **kwargs: Any) -> Node:
        node = self.graph.call_function(function, args, kwargs)
        examples = torch.fx.node.map_arg(args, lambda argument: argument.meta["example_value"])
        node.meta["example_value"] = function(*examples, **kwargs)
        return node

    def finish(self, *outputs: Node) -> GraphModule:
        self.graph.output(outputs)
        return GraphModule(torch.nn.Module(), self.graph)


def list_functions(module: GraphModule) -> list[Any]:
    return [node.target for node in module.graph.nodes if node.op == "call_function"]


def test_unread_nodes_are_erased() -> None:
    writing = Writing()
    x, weight = writing.take("x", 1, 4, 3, 3), writing.take("weight", 2, 4, 3, 3)
    h = writing.call(functional.interpolate, x, scale_factor=2)
    h = writing.call(functional.pad, writing.call(torch.relu, h), (1, 1, 1, 1))
    module = writing.finish(writing.call(torch.conv2d, h, weight))
    image, taps = torch.randn(1, 4, 3, 3), torch.randn(2, 4, 3, 3)
    expected: tuple[Tensor] = module(image, taps)
    assert rewrite_graph(module) == 1
    assert list_functions(module) == [torch.relu, resize_conv2d]
    assert torch.allclose(module(image, taps)[0], expected[0], atol=1e-5)


def test_a_list_of_views_that_is_written_to_counts() -> None:
    writing = Writing()
    x, weight = writing.take("x", 1, 4, 3, 3), writing.take("weight", 2, 4, 3, 3)
    parts = writing.call(torch.chunk, x, 2, 1)
    h = writing.call(functional.interpolate, x, scale_factor=2)
    writing.call(torch._foreach_mul_, parts, 2.0)
    module = writing.finish(writing.call(torch.conv2d, h, weight, None, 1, 1))
    assert rewrite_graph(module) == 0
    assert list_functions(module) == [torch.chunk, functional.interpolate, torch._foreach_mul_, torch.conv2d]


def test_two_inputs_may_share_their_memory() -> None:
    writing = Writing()
    x, other = writing.take("x", 1, 4, 3, 3), writing.take("other", 1, 4, 3, 3)
    weight = writing.take("weight", 2, 4, 3, 3)
    h = writing.call(functional.interpolate, x, scale_factor=2)
    writing.call(torch._foreach_mul_, [other], 2.0)
    module = writing.finish(writing.call(torch.conv2d, h, weight, None, 1, 1))
    assert rewrite_graph(module) == 0


def test_an_empty_image_is_left_alone() -> None:
    writing = Writing()
    x, weight = writing.take("x", 0, 4, 3, 3), writing.take("weight", 2, 4, 3, 3)
    h = writing.call(functional.interpolate, x, scale_factor=2)
    module = writing.finish(writing.call(torch.conv2d, h, weight, None, 1, 1))
    assert rewrite_graph(module) == 0


def test_what_is_written_for_nothing_is_erased_too() -> None:
    writing = Writing()
    x = writing.take("x", 1, 4, 3, 3)
    h = writing.call(torch.relu, writing.call(functional.interpolate, x, scale_factor=2))
    module = writing.finish(writing.call(torch.mul, h, 2))
    assert rewrite_graph(module) == 0
    assert list_functions(module) == [functional.interpolate, torch.relu, torch.mul]


def test_factors_of_channels_are_followed() -> None:
    writing = Writing()
    x, weight = writing.take("x", 1, 4, 3, 3), writing.take("weight", 2, 4, 3, 3)
    factors = writing.take("factors", 4, 1, 1)
    h = writing.call(torch.mul, writing.call(functional.interpolate, x, scale_factor=2), factors)
    module = writing.finish(writing.call(torch.conv2d, h, weight, None, 1, 1))
    given = (torch.randn(1, 4, 3, 3), torch.randn(2, 4, 3, 3), torch.randn(4, 1, 1))
    expected: tuple[Tensor] = module(*given)
    assert rewrite_graph(module) == 1
    assert list_functions(module) == [torch.mul, resize_conv2d]
    assert torch.allclose(module(*given)[0], expected[0], atol=1e-5)


# what `fuse` finds in a running network and the backend in its graph, and how many convolutions of it
FOUND = {
    "type_as": 1,
    "repeat_interleave twice": 1,
    "expand and reshape": 1,
    "by 4 and 2": 1,
    "aten, factors": 1,
    "gated by itself": 1,
    "relu_": 1,
    "written into": 1,
    "no padding": 1,
    "circular": 1,
    "even, after padding": 1,
    "frames as images": 1,
    "video": 0,
}


@pytest.mark.parametrize("name", FOUND)
def test_ways_to_write_it_compile_to_the_same_numbers(name: str, replaced: list[int]) -> None:
    model = WRITINGS[name].build()
    x = torch.randn(3, 4, 4, 5, dtype=torch.float64)
    assert differentiate_both(model, compile_model(model), x) <= (1e-5 if name == "type_as" else 1e-9)
    assert replaced == [FOUND[name]]


class Twice(nn.Module):
    """Upsample to twice the size, whatever that is."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 5, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(functional.interpolate(x, size=[2 * side for side in x.shape[2:]]))
        return y


def test_a_size_is_a_multiple_of_another_for_all_sizes(replaced: list[int]) -> None:
    model = Twice().double()
    compiled = compile_model(model, dynamic=True, fullgraph=True)
    for sides in ((4, 5), (7, 3), (2, 9)):
        assert run_both(model, compiled, torch.randn(3, 4, *sides, dtype=torch.float64)) <= 1e-10
    # in each graph: torch may make another for some sizes
    assert set(replaced) == {1}


class Written(nn.Module):
    """Write into an upsampled tensor that is read once more."""

    def __init__(self, *, is_view: bool) -> None:
        super().__init__()
        self.is_view = is_view
        self.conv = nn.Conv2d(4, 5, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        up = functional.interpolate(x, scale_factor=2)
        other = up.flatten(0, 1) if self.is_view else up
        y: Tensor = self.conv(functional.relu(up, inplace=True))
        return y + other.sum()


@pytest.mark.parametrize("is_view", [False, True], ids=["itself", "a view"])
def test_what_others_read_stays_written_into(is_view: bool, replaced: list[int]) -> None:
    model = Written(is_view=is_view).double()
    x = torch.randn(3, 4, 4, 5, dtype=torch.float64)
    with torch.no_grad():
        assert run_both(model, compile_model(model), x) <= 1e-10
    assert replaced == [0]
