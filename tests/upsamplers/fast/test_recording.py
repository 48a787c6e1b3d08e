"""Whoever records torch's operations gets some that are right for every size, and nobody else does."""

import copy
import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from deconvbench.upsamplers.fast import ResizeConv2d
from deconvbench.upsamplers.fast.recording import (
    UnrecordedMode,
    choose_recorded,
    is_called_alone,
    is_recorded,
    is_symbol,
    is_traced,
)
from tests.upsamplers.fast.plain_form import assert_plain, draw, make_layer, make_plain

FORMS = ("auto", "plain", "transposed", "subpixel", "minimal", "tiled")
over_forms = pytest.mark.parametrize("form", FORMS)
# raised inside torch by what it records with
pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*torch.jit.trace.*:DeprecationWarning"),
]
OTHER_SIZES = ((1, 4, 9, 4), (3, 4, 5, 6), (2, 4, 1, 1), (0, 4, 5, 6))


class RecordingMode(TorchDispatchMode):
    """Keeps every operation, as tools do that replay them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch has no types here
        self.calls: list[tuple[Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls.append((func, kwargs or {}))
        return func(*args, **(kwargs or {}))


class RecordingFunctions(TorchFunctionMode):
    """Keeps every function."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls.append((func, kwargs or {}))
        return func(*args, **(kwargs or {}))


class Recorded(Tensor):
    """A tensor that keeps what is done to it."""

    calls: list[Any] = []  # noqa: RUF012 -- as such tools have it

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        cls.calls.append(kwargs or {})
        return super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call] # torch's


class Named(Tensor):
    """A tensor of another name, with torch's own operations."""


def hold_operations(graph: torch.fx.Graph) -> None:
    for node in graph.nodes:
        assert "out" not in node.kwargs
        assert ".out" not in str(node.target)


# ---- who is recorded


def find_forms(make_context: Callable[[], AbstractContextManager[object]]) -> list[str | None]:
    x = draw(1, 4, 3, 3)
    with make_context():
        return [choose_recorded(form, x, nn.Parameter(x), None) for form in FORMS]


KEPT = ["transposed", "plain", "transposed", "subpixel", "transposed", "transposed"]


def test_nobody_records() -> None:
    class OwnMode(UnrecordedMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return func(*args, **(kwargs or {}))

    contexts: list[Callable[[], AbstractContextManager[object]]] = [
        torch.no_grad,
        torch.inference_mode,
        OwnMode,
        lambda: torch.device("meta"),
        lambda: FlopCounterMode(display=False),
        lambda: torch.autocast("cpu", dtype=torch.bfloat16),
        torch.autograd.graph.save_on_cpu,
    ]
    for make_context in contexts:
        assert find_forms(make_context) == [None] * len(FORMS)
    x = draw(1, 4, 3, 3)
    assert choose_recorded("auto", x.as_subclass(Named), nn.Parameter(x)) is None
    assert not is_recorded(x, 3, "nearest", [x.as_subclass(Recorded)])
    assert not is_symbol(x)
    assert not is_traced()


@pytest.mark.parametrize("make_context", [RecordingMode, RecordingFunctions, FakeTensorMode])
def test_modes_of_strangers_record(make_context: Callable[[], AbstractContextManager[object]]) -> None:
    assert find_forms(make_context) == KEPT


def test_a_stranger_outside_ones_own_mode_records() -> None:
    with RecordingFunctions(), torch.device("cpu"):
        assert is_recorded()


@pytest.mark.parametrize("transform", [torch.vmap, torch.func.vjp, torch.func.functionalize])
def test_transforms_record(transform: Callable[..., Any]) -> None:
    found: list[str | None] = []

    def function(x: Tensor) -> Tensor:
        found.extend(choose_recorded(form, x) for form in FORMS)
        return x

    transform(function, *([draw(2, 3)] if transform is torch.func.vjp else []))
    if transform is not torch.func.vjp:
        transform(function)(draw(2, 3))
    assert found == KEPT


def test_a_call_is_alone_where_nobody_sees_its_operations() -> None:
    x = torch.zeros(1, 4, 2, 2)
    assert is_called_alone(x)
    assert is_called_alone(nn.Parameter(x))
    contexts: list[Callable[[], AbstractContextManager[object]]] = [
        RecordingMode,
        UnrecordedMode,
        lambda: FlopCounterMode(display=False),
        lambda: torch.autocast("cpu"),
    ]
    for make_context in contexts:
        with make_context():
            assert not is_called_alone(x)
    with FakeTensorMode() as mode:
        fake = mode.from_tensor(x)
    assert not is_called_alone(fake)
    assert not is_called_alone(x.to("meta"))
    found: list[bool] = []

    def note(y: Tensor) -> Tensor:
        found.append(is_called_alone(y))
        return y.clone()

    torch.func.vmap(note)(x)
    torch.func.jvp(note, (x,), (x,))
    torch.jit.trace(note, (x,), check_trace=False)  # type: ignore[no-untyped-call] # torch has no types here
    torch.fx.symbolic_trace(note)
    make_fx(note)(x)
    torch.compile(note, backend="eager")(x)
    assert not any(found)
    assert len(found) >= 5


def test_what_is_kept_by_names_is_the_plain_form() -> None:
    found: list[str | None] = []

    def function(x: Tensor) -> Tensor:
        found.extend(choose_recorded(form, x) for form in FORMS)
        return x + 1

    torch.jit.trace(function, draw(2, 3), check_trace=False)  # type: ignore[no-untyped-call] # torch has no types here
    torch.fx.symbolic_trace(function)
    assert found == ["plain"] * 2 * len(FORMS)
    assert choose_recorded("tiled", draw(2, 3).as_subclass(Recorded)) == "plain"


# ---- what they get


@over_forms
@pytest.mark.parametrize("grad_mode", [True, False], ids=["grad", "no_grad"])
def test_a_trace_is_right_at_every_size_and_can_be_saved(form: str, grad_mode: bool) -> None:
    layer = make_layer(form)
    with torch.set_grad_enabled(grad_mode):
        traced: Any = torch.jit.trace(layer, draw(2, 4, 6, 5))  # type: ignore[no-untyped-call] # torch has no types here
    assert "PythonOp" not in str(traced.graph)
    file = io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    loaded: Any = torch.jit.load(file)  # type: ignore[no-untyped-call] # torch has no types here
    plain = make_plain(layer)
    for shape in OTHER_SIZES:
        torch.testing.assert_close(loaded(draw(*shape)), plain(draw(*shape)), rtol=0, atol=1e-12)


def test_a_trace_goes_to_another_type_with_its_module() -> None:
    traced: Any = torch.jit.trace(make_layer("auto").float(), draw(1, 4, 6, 5).float())  # type: ignore[no-untyped-call] # torch has no types here
    assert traced.double()(draw(1, 4, 3, 3)).dtype == torch.float64


def test_a_trace_of_one_image_takes_one_image() -> None:
    layer = make_layer("auto")
    traced: Any = torch.jit.trace(layer, draw(4, 6, 5))  # type: ignore[no-untyped-call] # torch has no types here
    assert_plain(layer, draw(1, 4, 3, 7))
    torch.testing.assert_close(traced(draw(4, 3, 7)), layer(draw(4, 3, 7)))


@pytest.mark.filterwarnings("error::torch.jit.TracerWarning")
@over_forms
def test_a_trace_warns_of_nothing(form: str) -> None:
    torch.jit.trace(make_layer(form), draw(2, 4, 6, 5))  # type: ignore[no-untyped-call] # torch has no types here


def test_a_trace_of_a_cached_layer_follows_its_weight() -> None:
    layer = make_layer("auto").eval().cache_weight()
    with torch.no_grad():
        layer(draw(1, 4, 6, 5))
        traced: Any = torch.jit.trace(layer, draw(2, 4, 6, 5))  # type: ignore[no-untyped-call] # torch has no types here
        assert layer.is_frozen
        layer.weight.mul_(2)
        traced.load_state_dict(layer.state_dict())
        torch.testing.assert_close(traced(draw(1, 4, 3, 3)), make_plain(layer)(draw(1, 4, 3, 3)))


@over_forms
def test_torch_fx_gets_names_that_are_right_at_every_size(form: str) -> None:
    layer = make_layer(form)
    module = torch.fx.symbolic_trace(copy.deepcopy(layer))
    hold_operations(module.graph)
    plain = make_plain(layer)
    for shape in OTHER_SIZES:
        torch.testing.assert_close(module(draw(*shape)), plain(draw(*shape)), rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="spatial dimensions"):
        # rather than rows alone upsampled
        module(draw(4, 3, 3))


@over_forms
@pytest.mark.parametrize("pre_dispatch", [False, True], ids=["dispatched", "pre_dispatch"])
def test_make_fx_runs_with_gradients(form: str, pre_dispatch: bool) -> None:
    layer, x = make_layer(form), draw(2, 4, 6, 5).requires_grad_()
    module = make_fx(layer, pre_dispatch=pre_dispatch)(x)
    hold_operations(module.graph)
    found, expected = (torch.autograd.grad(net(x).square().sum(), x) for net in (module, make_plain(layer)))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@over_forms
def test_make_fx_with_symbols_for_sizes(form: str) -> None:
    layer = make_layer(form)
    module = make_fx(layer, tracing_mode="symbolic", _allow_non_fake_inputs=True)(draw(2, 4, 6, 5))
    for shape in OTHER_SIZES[:2]:
        torch.testing.assert_close(module(draw(*shape)), layer(draw(*shape)), rtol=0, atol=1e-12)


MAPS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "vmap": lambda net, x: torch.vmap(net)(x),
    "vmap of vmap": lambda net, x: torch.vmap(torch.vmap(net))(x[None]),
    "vmap of grad": lambda net, x: torch.vmap(torch.func.grad(lambda one: net(one).square().sum()))(x),
    "vmap over another axis": lambda net, x: torch.vmap(net, 3, 3)(x.movedim(0, 3)),
    "jacrev": lambda net, x: torch.func.jacrev(lambda one: net(one).sum((0, 2, 3)))(x[0]),
    "jacfwd": lambda net, x: torch.func.jacfwd(lambda scale: net(scale * x[0]))(torch.ones((), dtype=x.dtype)),
}


# raised inside torch when it first differentiates forward
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
@over_forms
@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
def test_maps_over_any_layout_and_type(dtype: torch.dtype, name: str, form: str) -> None:
    layer = make_layer(form, dtype=dtype, padding_mode="replicate")
    plain = make_plain(layer)
    plain[1] = nn.Conv2d(4, 6, 3, padding=1, padding_mode="replicate", dtype=dtype)
    plain[1].load_state_dict(layer.state_dict())
    x = draw(3, 2, 4, 5, 3, dtype=dtype)
    for given in (x, x.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)):
        found, expected = (MAPS[name](net, given) for net in (layer, plain))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 if dtype == torch.float32 else 1e-10)


@over_forms
@pytest.mark.parametrize("make_mode", [RecordingMode, RecordingFunctions])
def test_nothing_is_written_into_given_places(form: str, make_mode: Callable[[], Any]) -> None:
    layer = make_layer(form).eval().cache_weight()
    with torch.no_grad(), make_mode() as mode:
        y = layer(draw(2, 4, 6, 5))
    assert mode.calls
    assert not any("out" in kwargs for _, kwargs in mode.calls)
    torch.testing.assert_close(y, make_plain(layer)(draw(2, 4, 6, 5)), rtol=0, atol=1e-12)


@over_forms
def test_a_tensor_that_keeps_what_is_done_to_it(form: str) -> None:
    layer = make_layer(form)
    Recorded.calls = []
    with torch.no_grad():
        y = layer(draw(2, 4, 6, 5).as_subclass(Recorded)).as_subclass(Tensor)
    assert Recorded.calls
    assert not any("out" in kwargs for kwargs in Recorded.calls)
    torch.testing.assert_close(y, make_plain(layer)(draw(2, 4, 6, 5)), rtol=0, atol=1e-12)


@over_forms
def test_tensors_without_values(form: str) -> None:
    with FakeTensorMode():
        layer = ResizeConv2d(4, 6, implementation=form)
        y = layer(torch.empty(2, 4, 6, 5, requires_grad=True))
        y.sum().backward()
        assert y.shape == (2, 6, 12, 10)
        assert layer.weight.grad is not None


@pytest.mark.parametrize("make_mode", [RecordingMode, RecordingFunctions])
@over_forms
def test_autocast_decides_the_type_of_what_is_recorded(form: str, make_mode: Callable[[], Any]) -> None:
    layer, x = make_layer(form, dtype=torch.float32), draw(2, 4, 6, 5).float()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16), make_mode():
        y = layer(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), make_plain(layer)(x), rtol=0, atol=0.05)


@pytest.fixture
def _fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.compile
@pytest.mark.usefixtures("_fresh_compiler")
@pytest.mark.parametrize("form", ["auto", "minimal", "tiled"])
def test_an_export_is_right_at_every_size(form: str) -> None:
    layer = make_layer(form)
    sizes = {0: torch.export.Dim("batch"), 2: torch.export.Dim("height"), 3: torch.export.Dim("width")}
    program = torch.export.export(layer, (draw(2, 4, 6, 5),), dynamic_shapes=(sizes,))
    hold_operations(program.graph)
    written = str(program.graph)
    # what other systems know best
    assert "upsample_nearest2d" in written
    assert "conv_transpose" not in written
    for shape in OTHER_SIZES[:2]:
        torch.testing.assert_close(program.module()(draw(*shape)), layer(draw(*shape)), rtol=0, atol=1e-12)


@pytest.mark.compile
@pytest.mark.usefixtures("_fresh_compiler")
@pytest.mark.parametrize("form", ["transposed", "subpixel"])
def test_an_export_is_of_the_form_that_is_named(form: str) -> None:
    layer = make_layer(form)
    program = torch.export.export(layer, (draw(2, 4, 6, 5),))
    written = str(program.graph)
    assert "upsample_nearest2d" not in written
    assert ("conv_transpose2d" if form == "transposed" else "pixel_shuffle") in written
    torch.testing.assert_close(program.module()(draw(2, 4, 6, 5)), layer(draw(2, 4, 6, 5)), rtol=0, atol=1e-12)


@pytest.mark.compile
@pytest.mark.usefixtures("_fresh_compiler")
@pytest.mark.parametrize("form", ["auto", "minimal", "tiled"])
def test_a_backend_gets_one_transposed_convolution(form: str) -> None:
    graphs: list[torch.fx.Graph] = []

    def keep(module: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        graphs.append(module.graph)
        return module.forward

    layer, x = make_layer(form), draw(2, 4, 6, 5)
    torch.testing.assert_close(torch.compile(layer, backend=keep, fullgraph=True)(x), layer(x))
    (graph,) = graphs
    hold_operations(graph)
    assert sum("conv_transpose2d" in str(node.target) for node in graph.nodes) == 1
