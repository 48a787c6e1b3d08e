"""The compiled form is the plain form, whatever it is given, and who watches torch's operations misses nothing."""

import copy
import itertools
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from deconvbench.upsamplers.fast import ResizeConv2d
from deconvbench.upsamplers.fast.choice import NATIVE
from deconvbench.upsamplers.fast.native import Library, form
from tests.upsamplers.fast.plain_form import draw, filled_memory, make_plain, measure_error, over_layouts

pytestmark = pytest.mark.usefixtures("native")
# largest rounding errors, of 64 channels, in units of the largest value
EXACT = 1e-6


def draw_layer(in_channels: int = 8, out_channels: int = 6, form: str = "tiled", **options: Any) -> ResizeConv2d:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ResizeConv2d(in_channels, out_channels, implementation=form, **options)


def draw_input(*shape: int) -> Tensor:
    return draw(*shape, dtype=torch.float32)


def run_plain(layer: ResizeConv2d, x: Tensor) -> Tensor:
    """Run the plain form in float64."""
    upsampled = functional.interpolate(x.double(), scale_factor=2)
    mode = "constant" if layer.padding_mode == "zeros" else "replicate"
    bias = None if layer.bias is None else layer.bias.double()
    return functional.conv2d(functional.pad(upsampled, (1, 1, 1, 1), mode=mode), layer.weight.double(), bias)


def assert_exact(layer: ResizeConv2d, x: Tensor) -> None:
    assert layer.choose(x) == NATIVE
    with torch.no_grad():
        expected = run_plain(layer, x)
        # a bias may cancel what there is
        exact = EXACT * max(1, 0.1 / float(expected.abs().max()))
        assert measure_error(layer(x), expected) < exact
        assert measure_error(copy.deepcopy(layer).eval().cache_weight()(x), expected) < exact


# ---- what it computes


@over_layouts
@pytest.mark.parametrize("padding_mode", ["zeros", "replicate", "reflect"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "nobias"])
def test_it_is_the_plain_form(bias: bool, padding_mode: str, layout: torch.memory_format) -> None:
    for in_channels, out_channels, *shape in ((1, 1, 1, 1, 1), (64, 32, 2, 16, 16), (17, 70, 3, 5, 9)):
        layer = draw_layer(in_channels, out_channels, bias=bias, padding_mode=padding_mode)
        assert_exact(layer, draw_input(shape[0], in_channels, *shape[1:]).contiguous(memory_format=layout))


@given(
    batch=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 40), st.integers(1, 70)),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    is_last=st.booleans(),
    threads=st.integers(1, 5),
)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_size_on_any_number_of_threads(
    batch: int, channels: tuple[int, int], size: tuple[int, int], is_last: bool, threads: int
) -> None:
    layer, x = draw_layer(*channels), draw_input(batch, channels[0], *size)
    torch.set_num_threads(threads)
    try:
        assert_exact(layer, x.to(memory_format=torch.channels_last) if is_last else x)
    finally:
        torch.set_num_threads(1)


def vary_strides(channels: int) -> Iterator[tuple[str, Tensor]]:
    base = draw_input(2, 2 * channels, 12, 10)
    yield "some channels", base[:, :channels]
    yield "every other channel", base[:, ::2]
    yield "every other column", base[:, :channels, :, ::2]
    yield "some columns, channels last", base.to(memory_format=torch.channels_last)[:, :channels, :, 2:7]
    yield "some channels, channels last", base.to(memory_format=torch.channels_last)[:, ::2]
    yield "transposed", base[:, :channels].transpose(2, 3)
    yield "repeated", draw_input(2, channels, 1, 1).expand(2, channels, 5, 4)
    yield "batch inside", base[:, :channels].permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2)


def test_any_strides_of_the_input() -> None:
    layer = draw_layer(5, 20)
    for _, x in vary_strides(5):
        assert_exact(layer, x)


def vary_weights(channels: int) -> Iterator[Tensor]:
    base = draw_input(20, 2 * channels, 3, 3)
    yield base[:, :channels]
    yield base[:, ::2]
    yield base[::2, :channels]
    yield base[:, :channels].to(memory_format=torch.channels_last)
    yield base.to(memory_format=torch.channels_last)[:, ::2]
    yield base[:, :channels].transpose(2, 3)
    yield draw_input(20, 1, 1, 1).expand(20, channels, 3, 3)
    yield draw_input(20, channels, 3, 1).expand(20, channels, 3, 3)


@pytest.mark.parametrize("channels", [1, 5, 18])
def test_any_strides_of_the_weight(channels: int) -> None:
    layer, x = draw_layer(channels, 20), draw_input(1, channels, 6, 5)
    for weight in vary_weights(channels):
        layer.weight = nn.Parameter(weight)
        layer.bias = nn.Parameter(draw_input(len(weight)))
        assert layer.weight.stride() == weight.stride()
        assert_exact(layer, x)


@over_layouts
def test_the_output_lies_in_memory_as_that_of_the_plain_form(layout: torch.memory_format) -> None:
    for weight_layout in (torch.contiguous_format, torch.channels_last):
        layer = draw_layer().to(memory_format=weight_layout)  # type: ignore[call-overload] # an overload torch leaves out
        x = draw_input(2, 8, 5, 4).contiguous(memory_format=layout)
        with torch.no_grad():
            plain = make_plain(layer).to(memory_format=weight_layout)  # type: ignore[call-overload] # the same
            assert layer(x).stride() == plain(x).stride()


def test_one_image_needs_no_batch_and_an_empty_one_stays_empty() -> None:
    layer, x = draw_layer(), draw_input(8, 3, 5)
    with torch.no_grad():
        assert torch.equal(layer(x), layer(x[None])[0])
        assert layer(draw_input(0, 8, 3, 5)).shape == (0, 6, 6, 10)


@over_layouts
def test_memory_without_a_value_is_not_read(layout: torch.memory_format) -> None:
    for height, width in ((1, 1), (3, 6), (9, 9)):
        layer, x = draw_layer(9, 35), draw_input(2, 9, height, width).contiguous(memory_format=layout)
        with filled_memory():
            assert_exact(layer, x)


@over_layouts
def test_nothing_is_written_beside_the_given_places(
    layout: torch.memory_format, native: Library, monkeypatch: pytest.MonkeyPatch
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

    monkeypatch.setattr(form, "allocate", allocate)
    for (in_channels, out_channels, height, width), threads in itertools.product(
        ((1, 1, 1, 1), (19, 40, 7, 5), (16, 32, 16, 16)), (1, 3)
    ):
        layer, x = draw_layer(in_channels, out_channels), draw_input(2, in_channels, height, width)
        torch.set_num_threads(threads)
        assert_exact(layer, x.contiguous(memory_format=layout))
        torch.set_num_threads(1)
    assert len(made) == 6 * 5
    for memory in made:
        assert (memory[:guard] == mark).all()
        assert (memory[-guard:] == mark).all()


# ---- gradients


@over_layouts
def test_gradients_are_those_of_the_plain_form(layout: torch.memory_format) -> None:
    layer, x = draw_layer(), draw_input(2, 8, 5, 4).contiguous(memory_format=layout).requires_grad_()
    assert layer.choose(x) == NATIVE
    plain = make_plain(layer).double()
    gradient = draw(2, 6, 10, 8)
    found = torch.autograd.grad(layer(x), [x, *layer.parameters()], gradient.float())
    wide = x.detach().double().requires_grad_()
    expected = torch.autograd.grad(plain(wide), [wide, *plain.parameters()], gradient)
    for ours, theirs in zip(found, expected, strict=True):
        assert measure_error(ours, theirs) < EXACT


def test_it_is_trained_as_it_is() -> None:
    layer, plain = draw_layer(), make_plain(draw_layer())
    x = draw_input(2, 8, 5, 4)
    for module in (layer, plain):
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            module(x).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(layer(x), plain(x))


# ---- when it is taken


def test_it_is_chosen_where_it_is_there_and_pays() -> None:
    x, layer = draw_input(1, 8, 32, 32), draw_layer(form="auto")
    with torch.no_grad():
        assert layer.choose(x) == layer.choose(x, is_prepared=True) == NATIVE
        assert layer.choose(draw_input(1, 8, 2, 2)) == "plain"
        assert draw_layer(form="transposed").choose(x) == "transposed"
    # in training
    assert layer.choose(draw_input(1, 8, 16, 16)) == "plain"
    layer = draw_layer(16, form="auto")
    assert layer.choose(draw_input(1, 16, 16, 16)) == "plain"
    assert layer.choose(draw_input(1, 16, 64, 64)) == NATIVE


@pytest.mark.parametrize(
    ("options", "shape", "dtype"),
    [
        pytest.param({"dtype": torch.float64}, (1, 8, 4, 4), torch.float64, id="dtype"),
        pytest.param({"device": "meta"}, (1, 8, 4, 4), torch.float32, id="device"),
        pytest.param({}, (0, 8, 4, 4), torch.float32, id="no data"),
    ],
)
def test_what_it_has_not_is_left_to_operations(options: Any, shape: Any, dtype: torch.dtype) -> None:
    layer = draw_layer(**options)
    x = draw(*shape, dtype=dtype).to(layer.weight.device)
    assert layer.choose(x) == "tiled"
    assert layer(x).shape == (shape[0], 6, 8, 8)


def test_values_that_are_not_what_is_in_memory_are_left_to_operations() -> None:
    class Twice(Tensor):
        pass

    layer, x = draw_layer(), draw_input(1, 8, 4, 4)
    with torch.no_grad():
        negated = torch.complex(x, x).conj().imag
        assert negated.is_neg()
        assert layer.choose(negated) == layer.choose(x.as_subclass(Twice)) == "tiled"
        assert measure_error(layer(negated), run_plain(layer, -x)) < EXACT


def test_a_bias_of_another_size_is_refused() -> None:
    layer = draw_layer()
    layer.bias = nn.Parameter(torch.zeros(5))
    with torch.no_grad(), pytest.raises(RuntimeError, match="size"):
        layer(draw_input(1, 8, 4, 4))


def test_autocast_computes_in_its_type() -> None:
    layer, x = draw_layer(), draw_input(1, 8, 4, 4)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16


# ---- who watches


def test_who_counts_operations_sees_those_of_the_tiled_form() -> None:
    for kind in ("tiled", "auto"):
        layer, x = draw_layer(16, 8, kind).eval().cache_weight(), draw_input(1, 16, 32, 32)
        with torch.no_grad():
            for _ in range(2):
                with FlopCounterMode(display=False) as counter:
                    layer(x)
                    assert layer.choose(x) == "tiled"
            assert counter.get_total_flops() == 2 * 25 * 16 * 8 * 16 * 16
            assert layer.choose(x) == NATIVE


@pytest.mark.parametrize(
    ("kernel_size", "scale_factor", "groups"), [(3, 2, 1), (3, 2, 2), (3, 3, 1), (3, 4, 1), (5, 2, 1), (5, 4, 1)]
)
def test_who_counts_operations_gets_the_same(kernel_size: int, scale_factor: int, groups: int) -> None:
    layer = draw_layer(64, 32, "auto", kernel_size=kernel_size, scale_factor=scale_factor, groups=groups)
    x = draw_input(1, 64, 32, 31)
    with torch.no_grad():
        assert layer.choose(x) == NATIVE
        with FlopCounterMode(display=False) as counter:
            found = layer(x)
        assert counter.get_total_flops() > 0
        assert measure_error(found, layer(x).double()) < EXACT


@pytest.mark.compile
def test_a_compiler_gets_one_operation() -> None:
    layer, x = draw_layer(form="auto"), draw_input(1, 8, 32, 32)
    torch.compiler.reset()
    with torch.no_grad():
        found = torch.compile(layer, backend="eager", fullgraph=True)(x)
        torch.testing.assert_close(found, layer(x))


# raised inside torch when it first differentiates forward
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
def test_transforms_of_functions_get_what_they_can_follow() -> None:
    layer, x = draw_layer(), draw_input(3, 2, 8, 4, 5)
    with torch.no_grad():
        torch.testing.assert_close(torch.vmap(layer)(x), torch.stack([layer(part) for part in x]))
        tangent = torch.func.jvp(layer, (x[0],), (x[1],))[1]
        torch.testing.assert_close(tangent, layer(x[1]) - layer(torch.zeros_like(x[1])))


def test_a_trace_holds_operations() -> None:
    with torch.no_grad():
        layer, x = draw_layer(), draw_input(1, 8, 4, 6)
        program = torch.export.export(layer, (x,))
        torch.testing.assert_close(program.module()(2 * x), layer(2 * x))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """List what the library is asked for."""
    names: list[str] = []
    for name, own in (("run", Library.run), ("run_backward", Library.run_backward)):

        def note(self: Library, *arguments: Any, name: str = name, own: Any = own) -> None:
            names.append(name)
            own(self, *arguments)

        monkeypatch.setattr(Library, name, note)
    return names


@pytest.mark.compile
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiler_s_graph_runs_it_at_every_size_forward_and_backward(backend: str, calls: list[str]) -> None:
    torch.compiler.reset()
    layer = draw_layer()
    compiled = torch.compile(layer, backend=backend, dynamic=True, fullgraph=True)
    for shape in ((2, 8, 32, 40), (3, 8, 41, 33)):
        x = draw_input(*shape).requires_grad_()
        calls.clear()
        y = compiled(x)
        found = torch.autograd.grad(y.square().sum(), (x, *layer.parameters()))
        assert calls == ["run", "run_backward"]
        plain = make_plain(layer)
        expected = plain(x)
        torch.testing.assert_close(y, expected)
        others = torch.autograd.grad(expected.square().sum(), (x, *plain.parameters()))
        for one, other in zip(found, others, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_many_threads_run_one_layer_forward_and_backward() -> None:
    layer, x = draw_layer(16, 8), draw_input(2, 16, 9, 12)
    y = layer(x.requires_grad_())
    expected = torch.autograd.grad(y.square().sum(), (x, layer.weight))

    def train(number: int) -> None:
        # each at a size of its own, and some of the same
        part = x.detach()[:, :, : 9 - number % 3].requires_grad_()
        found = layer(part)
        torch.testing.assert_close(found[:, :, :10], y[:, :, :10])
        to_input, to_weight = torch.autograd.grad(found.square().sum(), (part, layer.weight))
        if part.shape == x.shape:
            torch.testing.assert_close(to_input, expected[0])
            torch.testing.assert_close(to_weight, expected[1])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(train, range(48)))


def train_once(layer: ResizeConv2d, x: Tensor) -> tuple[str, list[Any]]:
    # so small a map goes back through torch, whose bits depend on the number of threads
    torch.set_num_threads(1)
    y = layer(x)
    gradients = torch.autograd.grad(y.square().sum(), list(layer.parameters()))
    return layer.choose(x), [tensor.detach().numpy() for tensor in (y, *gradients)]


@pytest.mark.process
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_another_process_runs_it(method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    layer, x = draw_layer(), draw_input(2, 8, 5, 7)
    _, expected = train_once(layer, x)
    with multiprocessing.get_context(method).Pool(1) as pool:
        chosen, found = pool.apply_async(train_once, (layer, x)).get(timeout=300)
    assert chosen == NATIVE
    for one, other in zip(found, expected, strict=True):
        assert (one == other).all()


# ---- freezing


def test_a_frozen_layer_transforms_its_weight_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    pack = Library.pack

    def note(self: Library, *arguments: Any) -> None:
        calls.append(arguments)
        pack(self, *arguments)

    monkeypatch.setattr(Library, "pack", note)
    layer, x = draw_layer().eval().cache_weight(), draw_input(1, 8, 4, 4)
    with torch.no_grad():
        for _ in range(3):
            layer(x)
        assert len(calls) == 1
        layer.weight.mul_(2)
        assert not layer.is_frozen
        assert measure_error(layer(x), run_plain(layer, x)) < EXACT
