"""`ConvTranspose2d` is torch's layer: numbers, gradients, order in memory, errors, and what is not finite."""

import copy
import io
import math
import multiprocessing
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.flop_counter import FlopCounterMode

from deconvbench.errors import UsageError
from deconvbench.nn import ConvTranspose2d
from deconvbench.upsamplers.fast.deconvolution import compiled, forms
from deconvbench.upsamplers.fast.deconvolution.layer import explain_deconvolution
from tests.upsamplers.fast.deconvolution.pairs import (
    EXACT,
    LAYERS,
    draw,
    make_layer,
    make_torch_s,
    measure_error,
    over_layers,
    over_layouts,
)

usually_compiled = pytest.mark.usefixtures("native")


def attempt(function: Callable[[], Tensor]) -> Any:
    try:
        y = function()
    except (RuntimeError, ValueError, TypeError) as error:
        return type(error), str(error)
    return y.shape, y.stride()


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """List what the compiled form did."""
    done: list[str] = []
    for name in ("run_compiled", "go_back_compiled"):
        function = getattr(compiled, name)

        def note(*args: Any, name: str = name, function: Any = function) -> Any:
            found = function(*args)
            if found is not None:
                done.append(name)
            return found

        monkeypatch.setattr(forms, name, note)
    return done


BOTH = ["run_compiled", "go_back_compiled"]


# ---- what it computes


@usually_compiled
@over_layouts
@over_layers
def test_output_and_gradients_are_torch_s(
    options: dict[str, Any], layout: torch.memory_format, computed: list[str]
) -> None:
    for channels, shape in (
        *(((8, 6), (2, 8, 5, 4)), ((34, 70), (1, 34, 9, 17)), ((2, 2), (1, 2, 1, 1))),
        ((32, 16), (2, 32, 129, 130)),
    ):
        computed.clear()
        layer = make_layer(*channels, **options)
        expected_layer = make_torch_s(layer)
        x = draw(*shape).contiguous(memory_format=layout).requires_grad_()
        wide = x.detach().double().requires_grad_()
        assert layer.choose(x) == "minimal"
        y, expected = layer(x), expected_layer(wide)
        assert measure_error(y, expected) < EXACT
        assert y.stride() == nn.Module.__call__(copy.deepcopy(expected_layer).float(), x).stride()
        gradient = draw(*y.shape, seed=2)
        found = torch.autograd.grad(y, [x, *layer.parameters()], gradient)
        wanted = torch.autograd.grad(expected, [wide, *expected_layer.parameters()], gradient.double())
        for one, other in zip(found, wanted, strict=True):
            assert measure_error(one, other) < 10 * EXACT
        # where it would hold more memory the backward pass is torch's
        assert computed[0] == "run_compiled"
    # the largest kernel's weights are too many for what torch holds with the channels last
    assert computed == BOTH or (layout == torch.channels_last and options["kernel_size"] == 6)


@usually_compiled
@given(
    name=st.sampled_from(sorted(LAYERS)),
    batch=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 20), st.integers(1, 40)),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    threads=st.integers(1, 4),
)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_size_on_any_number_of_threads(
    name: str, batch: int, channels: tuple[int, int], size: tuple[int, int], threads: int
) -> None:
    groups = LAYERS[name].get("groups", 1)
    layer = make_layer(groups * channels[0], groups * channels[1], **LAYERS[name])
    x = draw(batch, layer.in_channels, *size)
    torch.set_num_threads(threads)
    try:
        with torch.no_grad():
            expected = make_torch_s(layer)(x.double())
            assert measure_error(layer(x), expected) < 10 * EXACT
            assert measure_error(copy.deepcopy(layer).eval().cache_weight()(x), expected) < 10 * EXACT
    finally:
        torch.set_num_threads(1)


@usually_compiled
def test_an_output_size_is_torch_s() -> None:
    layer, x = make_layer(**LAYERS["k3"]), draw(2, 8, 5, 6)
    for size in ([9, 11], [10, 12], [9, 12], [2, 6, 10, 11]):
        assert measure_error(layer(x, size), make_torch_s(layer)(x.double(), size)) < EXACT
        one = [*size[-3:]] if len(size) == 4 else size
        assert measure_error(layer(x[0], one), make_torch_s(layer)(x[0].double(), one)) < EXACT
    # more than the compiled form has for every input pixel
    assert layer.choose(x) == "minimal"
    wide = make_layer(**LAYERS["k4"])
    assert measure_error(wide(x, [11, 13]), make_torch_s(wide)(x.double(), [11, 13])) < EXACT
    own = make_torch_s(layer).float()
    for wrong in ([8, 11], [20, 20], [1, 2, 3]):
        assert attempt(partial(layer, x, wrong)) == attempt(partial(own, x, wrong))


@usually_compiled
def test_an_image_without_a_batch_and_a_batch_without_images() -> None:
    layer, x = make_layer(), draw(8, 3, 5).requires_grad_()
    assert torch.equal(layer(x), layer(x[None])[0])
    assert layer(x).shape == (6, 6, 10)
    empty = layer(draw(0, 8, 3, 5))
    assert empty.shape == (0, 6, 6, 10)
    torch.autograd.backward(empty.sum())
    assert layer.weight.grad is not None
    assert not layer.weight.grad.any()


@usually_compiled
@pytest.mark.parametrize("frozen", ["input", "weight", "bias"])
def test_gradients_come_for_what_asks_for_them(frozen: str, computed: list[str]) -> None:
    layer, x = make_layer(32, 16), draw(2, 32, 65, 66).requires_grad_()
    operands = {"input": x, **dict(layer.named_parameters())}
    operands[frozen].requires_grad_(False)
    torch.autograd.backward(layer(x).sum())
    for name, tensor in operands.items():
        assert (tensor.grad is None) is (name == frozen)
    assert computed == BOTH


@usually_compiled
def test_second_derivatives_and_batched_gradients_are_torch_s(computed: list[str]) -> None:
    layer, x = make_layer(2, 3), draw(1, 2, 2, 2)
    expected_layer = make_torch_s(layer)

    def measure(f: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        compute: Any = lambda z: f(z).tanh().sum((0, 1, 2))  # noqa: E731 -- used thrice
        jacobian = torch.autograd.functional.jacobian(compute, x, vectorize=True)  # type: ignore[no-untyped-call] # torch has no types here
        z = x.clone().requires_grad_()
        (first,) = torch.autograd.grad(compute(z).sum(), z, create_graph=True)
        mapped = torch.func.vmap(torch.func.jacrev(compute))(torch.stack([x, 2 * x]))
        return jacobian, torch.autograd.grad(first.square().sum(), z)[0], mapped

    for found, expected in zip(measure(layer, x), measure(expected_layer, x.double()), strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)
    assert computed.count("run_compiled") == 2


@usually_compiled
# what torch loads for its first forward derivative
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_forward_derivatives_are_torch_s(computed: list[str]) -> None:
    layer, x = make_layer(2, 3), draw(1, 2, 3, 3)
    found: Any = torch.func.jvp(layer, (x,), (draw(1, 2, 3, 3, seed=2),))[1]
    expected = make_torch_s(layer)(draw(1, 2, 3, 3, seed=2).double())
    expected = expected - make_torch_s(layer)(torch.zeros(1, 2, 3, 3, dtype=torch.float64))
    assert measure_error(found, expected) < EXACT
    assert computed == []


# ---- what is not finite


@usually_compiled
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("place", ["input", "weight", "bias"])
@over_layers
def test_what_is_not_finite_spoils_what_it_spoils_in_torch(
    options: dict[str, Any], place: str, value: float
) -> None:
    layer, x = make_layer(**options), draw(2, 8, 6, 7)
    with torch.no_grad():
        if place == "input":
            x[0, 1, 3, 2] = value
        elif place == "weight":
            layer.weight[1, 0, 0, -1] = value
        elif layer.bias is not None:
            layer.bias[1] = value
        own = make_torch_s(layer).float()
        torch.testing.assert_close(layer(x), own(x), rtol=1e-4, atol=1e-4, equal_nan=True)


@usually_compiled
@over_layers
def test_an_infinite_gradient_spoils_what_it_spoils_in_torch(options: dict[str, Any]) -> None:
    layer, x = make_layer(**options), draw(1, 8, 6, 6).requires_grad_()
    own = make_torch_s(layer).float()
    gradient = torch.ones_like(own(x))
    gradient[0, 0, 4, 4] = math.inf
    for found, expected in zip(
        torch.autograd.grad(layer(x), [x, *layer.parameters()], gradient),
        torch.autograd.grad(own(x), [x, *own.parameters()], gradient),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4, equal_nan=True)


# ---- what is left to torch

LEFT: dict[str, dict[str, Any]] = {
    "stride 1": {"kernel_size": 3, "padding": 1},
    "stride 3": {"kernel_size": 4, "stride": 3},
    "padding 0": {"kernel_size": 4, "stride": 2},
    "dilation": {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 2},
    "oblong kernel": {"kernel_size": (3, 4), "stride": 2, "padding": 1},
    "oblong stride": {"kernel_size": 4, "stride": (2, 1), "padding": 1},
    "output padding": {"kernel_size": 4, "stride": 2, "padding": 1, "output_padding": 1},
}


@usually_compiled
@pytest.mark.parametrize("options", LEFT.values(), ids=LEFT)
def test_other_layers_are_torch_s_own(options: dict[str, Any], computed: list[str]) -> None:
    layer, x = make_layer(**options), draw(2, 8, 5, 4)
    assert layer.choose(x) == "plain"
    assert torch.equal(layer(x), make_torch_s(layer).float()(x))
    assert computed == []


@usually_compiled
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_other_types_are_torch_s_own(dtype: torch.dtype, computed: list[str]) -> None:
    layer, x = make_layer().to(dtype), draw(2, 8, 5, 4).to(dtype)
    assert torch.equal(layer(x), make_torch_s(layer).to(dtype)(x))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert make_layer()(x.float()).dtype == torch.bfloat16
    assert computed == []


@usually_compiled
def test_who_counts_operations_counts_torch_s(computed: list[str]) -> None:
    layer, x = make_layer(), draw(2, 8, 5, 4)
    with FlopCounterMode(display=False) as counter:
        layer(x)
    assert counter.get_total_flops() == 2 * 2 * 8 * 6 * 16 * 20
    assert computed == []


ODD: dict[str, tuple[int, ...]] = {
    "no rows": (1, 8, 0, 3),
    "other channels": (1, 4, 3, 3),
    "five axes": (1, 1, 8, 3, 3),
    "two axes": (8, 3),
}


@usually_compiled
@pytest.mark.parametrize("shape", ODD.values(), ids=ODD)
def test_odd_sizes_give_what_torch_gives(shape: tuple[int, ...]) -> None:
    layer, x = make_layer(), torch.ones(shape)
    assert attempt(lambda: layer(x)) == attempt(lambda: make_torch_s(layer).float()(x))


@usually_compiled
def test_another_device_another_type_and_a_subclass_are_torch_s(computed: list[str]) -> None:
    layer = make_layer()
    assert layer.to("meta")(torch.ones(1, 8, 3, 3, device="meta")).device.type == "meta"
    layer = make_layer()
    with pytest.raises(RuntimeError, match="type"):
        layer(torch.ones(1, 8, 3, 3, dtype=torch.float64))

    class Own(Tensor):
        pass

    assert type(layer(draw(1, 8, 3, 3).as_subclass(Own))) is Own
    assert computed == []


def test_without_the_compiled_form_it_is_torch_s_own(computed: list[str]) -> None:
    layer, x = make_layer(), draw(2, 8, 5, 4)
    assert layer.choose(x) == "plain"
    assert torch.equal(layer(x), make_torch_s(layer).float()(x))
    assert computed == []


def test_the_constructor_is_torch_s() -> None:
    for arguments in (
        (4, 6, 3),
        (4, 6, (3, 4), 2, (1, 0), 1, 2, False, 1),
        (4, 6, 3, 2, 1, 1, 1, True, 2, "zeros"),
    ):
        torch.manual_seed(0)
        layer = ConvTranspose2d(*arguments)
        torch.manual_seed(0)
        own: Any = nn.ConvTranspose2d(*arguments)
        assert repr(own)[:-1] + ", implementation=auto)" == repr(layer)
        for (name, one), (other_name, other) in zip(
            layer.state_dict().items(), own.state_dict().items(), strict=True
        ):
            assert name == other_name
            assert torch.equal(one, other)
    with pytest.raises(ValueError, match="padding mode"):
        ConvTranspose2d(4, 6, 3, padding_mode="reflect")
    with pytest.raises(UsageError, match="implementation: 'fast' is not one of auto, plain, minimal"):
        ConvTranspose2d(4, 6, 3, implementation="fast")


@usually_compiled
def test_plain_is_torch_s_own_and_auto_the_faster(computed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    x = draw(2, 8, 5, 4)
    plain = make_layer(implementation="plain")
    assert torch.equal(plain(x), make_torch_s(plain).float()(x))
    assert computed == []
    for is_faster in (False, True):
        auto = make_layer(implementation="auto")
        for rule in ("prefers_minimal", "prefers_minimal_backward"):
            monkeypatch.setattr(forms, rule, lambda load, is_faster=is_faster: is_faster)
        monkeypatch.setattr(forms, "fits_compiled", lambda *_, **__: True)
        assert auto.choose(x) == ("minimal" if is_faster else "plain")
        auto(x)
        assert computed == ["run_compiled"] * is_faster
    monkeypatch.setattr(forms, "fits_compiled", lambda *_, **__: False)
    assert auto.choose(x) == "plain"


@usually_compiled
def test_what_gains_nothing_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    for rule in ("prefers_minimal", "prefers_minimal_backward"):
        monkeypatch.setattr(forms, rule, asked.append)
    layer, x = make_layer(implementation="auto").eval(), draw(2, 8, 5, 4)
    for image in (x, x[:1], x[0], x.contiguous(memory_format=torch.channels_last)):
        asked.clear()
        assert torch.equal(layer(image), layer(image))
        assert len(asked) == 1
    # with a kept weight more may gain, and with one of another order in memory
    for change in (layer.cache_weight, layer.double, layer.float):
        change()
        asked.clear()
        layer(x.to(layer.weight.dtype))
        assert len(asked) == (layer.weight.dtype == torch.float32)
    # a call that is transformed, counted or cast says nothing of others
    for context in (FlopCounterMode(display=False), torch.autocast("cpu")):
        layer = make_layer(implementation="auto")
        with context:
            layer(x)
        asked.clear()
        layer(x)
        assert len(asked) == 1
    layer.implementation = "minimal"
    assert layer.choose(x) == "minimal"
    layer = make_layer(implementation="auto")
    torch.func.vmap(layer)(x[None])
    asked.clear()
    layer(x)
    assert len(asked) == 1
    for index in range(100):
        layer(draw(1, 8, 2, index + 2))
    assert len(layer._idle) <= 64
    assert not copy.deepcopy(layer)._idle


@usually_compiled
@pytest.mark.parametrize(
    ("sizes", "is_hopeless"),
    [
        ((8, 4, 4, 2, 1), False),
        ((3, 2, 4, 2, 1), True),
        ((64, 32, 3, 3, 0), True),
        ((64, 32, 4, 2, 1, 0, 2), True),
    ],
    ids=["may gain", "few channels", "stride 3", "groups"],
)
def test_where_nothing_is_ever_gained_nothing_is_asked(
    sizes: tuple[Any, ...], is_hopeless: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, x = ConvTranspose2d(*sizes), draw(1, sizes[0], 3, 4)
    own = nn.ConvTranspose2d(*sizes)
    own.load_state_dict(layer.state_dict())
    asked: list[Tensor] = []
    describe = layer._describe_call

    def ask(x: Tensor) -> Any:
        asked.append(x)
        return describe(x)

    monkeypatch.setattr(layer, "_describe_call", ask)
    assert torch.equal(layer(x), own(x))
    assert (not asked) == is_hopeless
    # by its name the form is tried all the same
    layer.implementation = "minimal"
    layer(x)
    assert asked


# ---- parameters of others


def test_it_takes_the_place_of_torch_s_layer() -> None:
    own = nn.ConvTranspose2d(8, 6, 4, 2, 1).eval()
    layer = ConvTranspose2d.from_conv(own)
    assert layer.weight is own.weight
    assert layer.bias is own.bias
    assert not layer.training
    assert torch.equal(layer(draw(1, 8, 3, 3)), own(draw(1, 8, 3, 3)))
    without = ConvTranspose2d.from_conv(nn.ConvTranspose2d(4, 6, (3, 5), 2, 1, 1, 2, False, 2), "minimal")
    assert without.bias is None
    assert (without.kernel_size, without.groups, without.dilation) == ((3, 5), 2, (2, 2))
    assert without.implementation == "minimal"
    again = ConvTranspose2d.from_conv(layer)
    assert again.weight is own.weight


class Louder(nn.ConvTranspose2d):
    """A layer of somebody's."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        return 2 * super().forward(input, output_size)


@pytest.mark.parametrize(
    ("conv", "reason"),
    [
        (Louder(4, 6, 3), "Louder has a forward of its own"),
        (parametrizations.weight_norm(nn.ConvTranspose2d(4, 6, 3)), "computed in every call"),
        (nn.LazyConvTranspose2d(6, 3), "no shape yet"),
    ],
    ids=["forward", "weight", "lazy"],
)
def test_layers_that_cannot_be_taken_are_refused(conv: nn.ConvTranspose2d, reason: str) -> None:
    assert reason in str(explain_deconvolution(conv))
    with pytest.raises(UsageError, match=reason):
        ConvTranspose2d.from_conv(conv)


@usually_compiled
def test_a_weight_that_is_computed_is_computed_once(computed: list[str]) -> None:
    layer = parametrizations.spectral_norm(make_layer())
    x = draw(1, 8, 3, 3)
    with torch.no_grad():
        before = copy.deepcopy(layer)
        found = layer(x)
        expected = make_torch_s(make_layer())
        expected.load_state_dict({"weight": before.weight.double(), "bias": before.bias.double()})
        torch.testing.assert_close(found.double(), expected(x.double()), rtol=1e-4, atol=1e-5)
    assert computed == ["run_compiled"]


@usually_compiled
@pytest.mark.parametrize("implementation", ["auto", "minimal"])
def test_a_computed_weight_is_read_once_a_call(implementation: str) -> None:
    reads: list[Tensor] = []

    class Note(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            reads.append(weight)
            return weight

    layer = make_layer(implementation=implementation)
    torch.nn.utils.parametrize.register_parametrization(layer, "weight", Note())
    reads.clear()
    for count in (1, 2, 3):
        layer(draw(1, 8, 3, 3))
        assert len(reads) == count


def test_a_layer_pickled_before_calls_were_remembered_runs() -> None:
    layer, x = make_layer(implementation="auto"), draw(1, 8, 3, 3)
    older = ConvTranspose2d.__new__(ConvTranspose2d)
    older.__setstate__({name: value for name, value in layer.__getstate__().items() if name != "_idle"})
    assert torch.equal(older(x), layer(x))


# ---- kept weights


def is_kept(layer: ConvTranspose2d) -> bool:
    return layer.is_frozen


@usually_compiled
def test_a_kept_weight_is_transformed_once_and_dropped_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Tensor] = []
    prepare = compiled.prepare_compiled

    def count(*args: Any) -> Tensor:
        made.append(prepare(*args))
        return made[-1]

    monkeypatch.setattr("deconvbench.upsamplers.fast.deconvolution.frozen.prepare_compiled", count)
    layer, x = make_layer(**LAYERS["k3"]), draw(1, 8, 4, 3)
    with pytest.raises(UsageError, match="training"):
        layer.cache_weight()
    layer.eval().cache_weight()
    with torch.no_grad():
        expected = make_torch_s(layer)(x.double())
        for size in (None, [8, 6], [7, 6]):
            layer(x, size)
        assert len(made) == 1
        assert measure_error(layer(x), expected) < EXACT
        assert is_kept(layer)
        layer.weight.data.mul_(2)
        assert measure_error(layer(x), make_torch_s(layer)(x.double())) < EXACT
        assert len(made) == 1
        assert not is_kept(layer)
    layer.cache_weight()
    assert measure_error(layer(x.requires_grad_()), make_torch_s(layer)(x.double())) < EXACT
    assert not is_kept(layer.cache_weight().train())
    layer.eval().cache_weight()
    layer.load_state_dict(layer.state_dict())
    assert not is_kept(layer)


@usually_compiled
def test_a_kept_weight_leads_gradients_to_the_input(computed: list[str]) -> None:
    layer = make_layer(32, 16).eval()
    layer.requires_grad_(False)
    layer.cache_weight()
    x = draw(2, 32, 65, 66).requires_grad_()
    wide = x.detach().double().requires_grad_()
    gradient = draw(2, 16, 130, 132, seed=2)
    (found,) = torch.autograd.grad(layer(x), x, gradient)
    (expected,) = torch.autograd.grad(make_torch_s(layer)(wide), wide, gradient.double())
    assert measure_error(found, expected) < EXACT
    assert layer.is_frozen
    assert computed == BOTH


# ---- copies, threads, processes


@usually_compiled
def test_copies_and_pickles_compute_the_same() -> None:
    layer, x = make_layer().eval().cache_weight(), draw(1, 8, 4, 3)
    with torch.no_grad():
        expected = layer(x)
        for other in (copy.deepcopy(layer), copy.copy(layer), pickle.loads(pickle.dumps(layer))):
            assert torch.equal(other(x), expected)
            assert not other.is_frozen
        file = io.BytesIO()
        torch.save(layer, file)
        file.seek(0)
        assert torch.equal(torch.load(file, weights_only=False)(x), expected)


@usually_compiled
def test_many_threads_call_one_layer() -> None:
    layer = make_layer(32, 16).eval().cache_weight()
    images = [draw(1, 32, 5, 4 + index % 3, seed=index) for index in range(24)]

    def run(x: Tensor) -> Tensor:
        with torch.no_grad():
            y: Tensor = layer(x)
            return y

    expected = [run(x) for x in images]
    with ThreadPoolExecutor(8) as pool:
        for found, one in zip(pool.map(run, images), expected, strict=True):
            assert torch.equal(found, one)


def _compute_in_a_child(layer: nn.Module, x: Tensor) -> float:
    torch.set_num_threads(1)
    with torch.no_grad():
        return float(layer(x).double().sum())


@usually_compiled
def test_another_process_computes_the_same() -> None:
    layer, x = make_layer(), draw(1, 8, 4, 3)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(_compute_in_a_child, (layer, x))
    assert found == pytest.approx(_compute_in_a_child(layer, x), abs=1e-3)


# ---- tools


@usually_compiled
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_traces_and_scripts_hold_torch_s_operation_for_every_size() -> None:
    layer = make_layer(**LAYERS["k3"])
    traced = torch.jit.trace(layer, draw(1, 8, 4, 3))  # type: ignore[no-untyped-call] # torch has no types here
    scripted = torch.jit.script(nn.Sequential(layer))
    x = draw(2, 8, 7, 5)
    expected = make_torch_s(layer).float()(x)
    symbolic = torch.fx.symbolic_trace(nn.Sequential(layer))
    for found in (traced, scripted, symbolic):
        torch.testing.assert_close(found(x), expected)
    assert "conv_transpose2d" in str(symbolic.graph)
    assert "deconvbench::" not in str(traced.inlined_graph)


@usually_compiled
@pytest.mark.compile
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_an_export_holds_torch_s_operation_for_every_size() -> None:
    layer = make_layer().eval()
    sizes = ({0: torch.export.Dim("n"), 2: torch.export.Dim("h"), 3: torch.export.Dim("w")},)
    exported = torch.export.export(layer, (draw(2, 8, 4, 3),), dynamic_shapes=sizes)
    targets = {str(node.target) for node in exported.graph.nodes if node.op == "call_function"}
    assert any("conv_transpose2d" in target for target in targets)
    assert not any("deconvbench" in target for target in targets)
    x = draw(3, 8, 7, 5)
    torch.testing.assert_close(exported.module()(x), make_torch_s(layer).float()(x))


@usually_compiled
def test_hooks_are_called() -> None:
    layer, x = make_layer(), draw(1, 8, 4, 3)
    expected = 3 * layer(x)
    layer.register_forward_hook(lambda module, args, y: 3 * y)
    assert torch.equal(layer(x), expected)


@usually_compiled
def test_training_learns_what_torch_s_layer_learns() -> None:
    layer = make_layer()
    own = make_torch_s(layer)
    for module, kind in ((layer, torch.float32), (own, torch.float64)):
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        for step in range(5):
            optimizer.zero_grad()
            y = module(draw(2, 8, 5, 4, seed=step).to(kind))
            torch.autograd.backward(y.square().mean())
            optimizer.step()
    assert measure_error(layer.weight, own.weight) < 1e-5


@usually_compiled
def test_training_is_torch_s_own_where_the_forward_pass_alone_gains(computed: list[str]) -> None:
    layer, x = ConvTranspose2d(64, 32, 4, 2, 1), torch.zeros(1, 64, 16, 32)
    for _ in range(2):
        layer(x)
    assert not computed
    with torch.no_grad():
        assert layer.choose(x) == "minimal"
        # what is remembered of a call in training says nothing of one without gradients
        layer(x)
        assert computed == ["run_compiled"]
    assert layer.choose(x) == "plain"
    assert layer.choose(x.expand(4, -1, -1, -1)) == "minimal"
