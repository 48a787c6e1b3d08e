"""A fused transposed convolution is torch's: numbers, order in memory, errors, and what is not finite."""

import copy
import io
import itertools
import math
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.ao import quantization as ao
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx
from torch.nn import functional

from deconvbench.networks.fusion import deconvolution, fuse
from deconvbench.networks.fusion.backend import rewrite_graph
from deconvbench.networks.fusion.deconvolution import DeconvolutionMode, deconvolve
from deconvbench.upsamplers.fast.deconvolution import forms
from deconvbench.upsamplers.fast.deconvolution.compiled import prepare_compiled

LAYOUTS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
over_layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
# kernels that are a multiple of the stride and such that are not, cropped and whole
LAYERS: dict[str, dict[str, Any]] = {
    "k9-s4": {"kernel_size": 9, "stride": 4},
    "k9-s4-p4": {"kernel_size": 9, "stride": 4, "padding": 4, "output_padding": 3},
    "k4-s4": {"kernel_size": 4, "stride": 4},
    "k6-s3-p1": {"kernel_size": 6, "stride": 3, "padding": 1},
    "k5-s3-nobias": {"kernel_size": 5, "stride": 3, "bias": False},
}
over_layers = pytest.mark.parametrize("options", LAYERS.values(), ids=LAYERS)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Note of every call whether it was answered the fast way."""
    found: list[bool] = []

    def note(*args: Any) -> Any:
        answer = deconvolve(*args)
        found.append(answer is not NotImplemented)
        return answer

    monkeypatch.setattr(deconvolution, "deconvolve", note)
    return found


def make(in_channels: int = 5, out_channels: int = 2, **options: Any) -> nn.ConvTranspose2d:
    torch.manual_seed(0)
    return nn.ConvTranspose2d(in_channels, out_channels, **options)


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def run_fast(conv: nn.Module, *args: Any) -> Tensor:
    with DeconvolutionMode():
        y: Tensor = conv(*args)
        return y


def attempt(function: Callable[[], Tensor]) -> Any:
    try:
        y = function()
    except (RuntimeError, ValueError) as error:
        return type(error), str(error)
    return y.shape, y.stride()


@over_layouts
@over_layers
def test_the_answer_is_torch_s(options: dict[str, Any], layout: torch.memory_format, answers: list[bool]) -> None:
    conv, x = make(**options), draw(2, 5, 4, 3).contiguous(memory_format=layout)
    expected, found = conv(x), run_fast(conv, x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert found.stride() == expected.stride()
    assert answers == [True]


@pytest.mark.parametrize("out_channels", [1, 3])
@pytest.mark.parametrize("shape", [(1, 5, 4, 3), (2, 5, 1, 1), (1, 1, 3, 3), (2, 5, 1, 4)], ids=str)
def test_strides_are_torch_s_where_they_make_no_difference_too(shape: tuple[int, ...], out_channels: int) -> None:
    for x_layout, weight_layout in itertools.product(LAYOUTS.values(), repeat=2):
        conv = make(shape[1], out_channels, kernel_size=7, stride=3, padding=1)
        conv = conv.to(memory_format=weight_layout)  # type: ignore[call-overload] # exists
        x = draw(*shape).contiguous(memory_format=x_layout)
        for image in (x, x.transpose(2, 3), x[:1].expand(3, -1, -1, -1), x[..., ::2]):
            with torch.no_grad():
                assert run_fast(conv, image).stride() == conv(image).stride()


# ---- gradients


@over_layers
def test_gradients_are_torch_s(options: dict[str, Any], answers: list[bool]) -> None:
    conv, x = make(**options), draw(2, 5, 4, 3).requires_grad_()
    asked = [x, *conv.parameters()]
    found = torch.autograd.grad(run_fast(conv, x).square().sum(), asked)
    for one, other in zip(torch.autograd.grad(conv(x).square().sum(), asked), found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-4)
    assert answers == [True]


@pytest.mark.parametrize("frozen", ["input", "weight", "bias"])
def test_gradients_come_for_what_asks_for_them(frozen: str, answers: list[bool]) -> None:
    conv, x = make(kernel_size=5, stride=3), draw(1, 5, 3, 3).requires_grad_()
    operands = {"input": x, **dict(conv.named_parameters())}
    operands[frozen].requires_grad_(False)
    run_fast(conv, x).sum().backward()  # type: ignore[no-untyped-call] # torch has no types here
    for name, tensor in operands.items():
        assert (tensor.grad is None) is (name == frozen)
    assert answers == [True]


def test_second_derivatives_and_batched_gradients_are_torch_s(answers: list[bool]) -> None:
    conv, x = make(2, 1, kernel_size=4, stride=3), draw(1, 2, 2, 2)

    def measure(f: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        compute: Any = lambda z: f(z).tanh().sum((0, 1, 2))  # noqa: E731 -- used twice
        jacobian = torch.autograd.functional.jacobian(compute, x, vectorize=True)  # type: ignore[no-untyped-call] # torch has no types here
        z = x.clone().requires_grad_()
        (first,) = torch.autograd.grad(compute(z).sum(), z, create_graph=True)
        return jacobian, torch.autograd.grad(first.square().sum(), z)[0]

    for expected, found in zip(measure(conv), measure(lambda z: run_fast(conv, z)), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert answers == [True, True]


def test_an_infinite_gradient_spoils_what_it_spoils_in_torch() -> None:
    conv, x = make(kernel_size=9, stride=4), draw(1, 5, 6, 6).requires_grad_()
    gradient = torch.ones_like(conv(x))
    gradient[0, 0, 14, 14] = math.inf
    expected, found = (torch.autograd.grad(f(x), x, gradient)[0] for f in (conv, lambda z: run_fast(conv, z)))
    assert torch.equal(found.isnan(), expected.isnan())
    assert torch.equal(found.isinf(), expected.isinf())


# ---- what is not finite


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("place", ["input", "weight", "bias"])
@over_layers
def test_what_is_not_finite_spoils_what_it_spoils_in_torch(
    options: dict[str, Any], place: str, value: float
) -> None:
    conv, x = make(**options), draw(2, 5, 6, 7)
    with torch.no_grad():
        if place == "input":
            x[0, 1, 3, 2] = value
        elif place == "weight":
            conv.weight[1, 0, 0, -1] = value
        elif conv.bias is not None:
            conv.bias[1] = value
        expected, found = conv(x), run_fast(conv, x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5, equal_nan=True)


# ---- what is left to torch


def test_an_empty_batch_trains() -> None:
    conv, x = make(kernel_size=9, stride=4), torch.zeros(0, 5, 3, 3, requires_grad=True)
    run_fast(conv, x).sum().backward()  # type: ignore[no-untyped-call] # torch has no types here
    assert x.grad is not None
    assert conv.weight.grad is not None
    assert not conv.weight.grad.any()


ODD: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "no rows": ({"kernel_size": 9, "stride": 4}, (1, 5, 0, 3)),
    "no columns": ({"kernel_size": 9, "stride": 4}, (1, 5, 3, 0)),
    "other channels": ({"kernel_size": 9, "stride": 4}, (1, 4, 3, 3)),
    "five axes": ({"kernel_size": 9, "stride": 4}, (1, 1, 5, 3, 3)),
    "no batch": ({"kernel_size": 9, "stride": 4}, (5, 3, 3)),
    "no pixels": ({"kernel_size": 4, "stride": 3, "padding": 2}, (1, 5, 1, 2)),
    "fewer than none": ({"kernel_size": 3, "stride": 3, "padding": 3}, (1, 5, 1, 2)),
    "output padding of a stride": ({"kernel_size": 4, "stride": 3, "output_padding": 3}, (1, 5, 2, 2)),
    "negative padding": ({"kernel_size": 4, "stride": 3, "padding": -1}, (1, 5, 2, 2)),
}


@pytest.mark.parametrize(("options", "shape"), ODD.values(), ids=ODD)
def test_odd_sizes_give_what_torch_gives(options: dict[str, Any], shape: tuple[int, ...]) -> None:
    conv, x = make(**options), torch.ones(shape)
    assert attempt(lambda: run_fast(conv, x)) == attempt(lambda: conv(x))


@pytest.mark.parametrize(
    "change",
    [
        lambda conv: setattr(conv, "bias", nn.Parameter(torch.zeros(3))),
        lambda conv: setattr(conv, "weight", nn.Parameter(conv.weight.detach()[0])),
        lambda conv: conv.double(),
        lambda conv: conv.to("meta"),
    ],
    ids=["bias", "weight", "dtype", "device"],
)
def test_parameters_that_do_not_fit_raise_what_torch_raises(change: Callable[[nn.Module], object]) -> None:
    conv, x = make(kernel_size=9, stride=4), draw(1, 5, 3, 3)
    change(conv)
    assert attempt(lambda: run_fast(conv, x)) == attempt(lambda: conv(x))


def test_arguments_that_torch_does_not_know_raise_what_torch_raises() -> None:
    with DeconvolutionMode(), pytest.raises(TypeError, match="strides"):
        functional.conv_transpose2d(draw(1, 5, 3, 3), draw(5, 2, 4, 4), strides=4)  # type: ignore[call-arg] # wrong


@pytest.mark.filterwarnings("ignore:Complex modules are a new feature")
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.complex64], ids=str)
def test_what_was_not_measured_is_left_to_torch(dtype: torch.dtype, answers: list[bool]) -> None:
    conv, x = make(kernel_size=9, stride=4).to(dtype), draw(1, 5, 3, 3).to(dtype)
    assert torch.equal(run_fast(conv, x), conv(x))
    assert answers == [False]


def test_autocast_decides_the_type(answers: list[bool]) -> None:
    conv, x = make(kernel_size=9, stride=4), draw(1, 5, 3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert run_fast(conv, x).dtype == torch.bfloat16
    assert answers == [False]


def test_the_default_device_is_another(answers: list[bool]) -> None:
    conv, x = nn.ConvTranspose2d(5, 3, 8, 4, 2), draw(1, 5, 3, 3)
    with torch.device("meta"):
        found, expected = run_fast(conv, x), conv(x)
    torch.testing.assert_close(found, expected)
    assert answers == [True]


def test_a_size_that_is_asked_for_is_answered(answers: list[bool]) -> None:
    conv, x = make(kernel_size=9, stride=4, padding=4), draw(2, 5, 3, 4)
    torch.testing.assert_close(run_fast(conv, x, [12, 15]), conv(x, [12, 15]), rtol=0, atol=1e-5)
    # other numbers for rows and columns
    assert answers == [False]
    torch.testing.assert_close(run_fast(conv, x, [12, 16]), conv(x, [12, 16]), rtol=0, atol=1e-5)
    assert answers == [False, True]


def test_a_subclass_of_tensor_gets_its_own_answer(answers: list[bool]) -> None:
    class Doubling(Tensor):
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            y: Any = super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call] # torch's
            return 2 * y.as_subclass(Tensor) if func is torch.conv_transpose2d else y

    conv, x = make(kernel_size=9, stride=4, bias=False), draw(1, 5, 3, 3)
    with torch.no_grad():
        torch.testing.assert_close(run_fast(conv, x.as_subclass(Doubling)), 2 * conv(x))
    assert answers == [False]


def test_hooks_and_replaced_methods_are_called(answers: list[bool]) -> None:
    conv, x = make(kernel_size=9, stride=4), draw(1, 5, 3, 3)
    conv.register_forward_hook(lambda module, args, y: 3 * y)
    patched = copy.deepcopy(conv)
    vars(patched)["forward"] = functional.relu
    torch.testing.assert_close(run_fast(conv, x), conv(x), rtol=0, atol=1e-5)
    assert torch.equal(run_fast(patched, x), 3 * x.relu())
    assert answers == [True]


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
def test_a_trace_holds_the_transposed_convolution(answers: list[bool]) -> None:
    conv = make(kernel_size=9, stride=4)
    conv.requires_grad_(False)
    traced = torch.jit.trace(lambda x: run_fast(conv, x), draw(1, 5, 3, 3), check_trace=False)  # type: ignore[no-untyped-call] # torch has no types here
    assert not any(answers)
    x = draw(2, 5, 7, 4)
    assert torch.equal(traced(x), conv(x))


# ---- minimal filtering, where it is compiled

FILTERED: dict[str, dict[str, Any]] = {
    "k4": {"kernel_size": 4, "stride": 2, "padding": 1},
    "k3": {"kernel_size": 3, "stride": 2, "padding": 1},
    "k5-op1": {"kernel_size": 5, "stride": 2, "padding": 2, "output_padding": 1},
}
over_filtered = pytest.mark.parametrize("options", FILTERED.values(), ids=FILTERED)


@pytest.fixture
def _filtering(native: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the compiled form taken for what is small too."""
    monkeypatch.setattr(forms, "prefers_minimal", lambda load: True)
    monkeypatch.setattr(forms, "prefers_minimal_backward", lambda load: True)
    monkeypatch.setattr(forms, "fits_compiled", lambda *_, **__: True)


@pytest.mark.usefixtures("_filtering")
@over_layouts
@over_filtered
def test_filtered_phases_are_torch_s(
    options: dict[str, Any], layout: torch.memory_format, answers: list[bool]
) -> None:
    conv, x = make(8, 6, **options), draw(2, 8, 5, 4).contiguous(memory_format=layout).requires_grad_()
    expected, found = conv(x), run_fast(conv, x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert found.stride() == expected.stride()
    asked = [x, *conv.parameters()]
    for one, other in zip(*(torch.autograd.grad(y.square().sum(), asked) for y in (found, expected)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    # with a bias, in groups
    grouped = make(8, 6, **options, groups=2)
    torch.testing.assert_close(run_fast(grouped, x), grouped(x), rtol=0, atol=1e-5)
    assert answers == [True, True]


@pytest.mark.usefixtures("_filtering")
@over_filtered
def test_a_fused_model_filters_and_says_so(options: dict[str, Any], answers: list[bool]) -> None:
    model = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), make(16, 6, **options), nn.ReLU()).eval()
    x = draw(2, 8, 5, 6)
    report, size = fuse(model, x), options["kernel_size"]
    assert [str(change) for change in report.changed] == [
        f"1: ConvTranspose2d {size}×{size}, stride 2 -> minimal filtering of its phases, compiled, where that is"
        " faster, for float32 on a CPU"
    ]
    assert report.left == ()
    assert report.max_relative_error is not None
    assert report.max_relative_error < 1e-6
    assert type(report.model[1]) is nn.ConvTranspose2d  # type: ignore[index] # a container
    for kept in (report.model, copy.deepcopy(report.model), pickle.loads(pickle.dumps(report.model))):
        answers.clear()
        torch.testing.assert_close(kept(x), model(x), rtol=0, atol=1e-5)
        assert answers == [True]
    # training too
    answers.clear()
    torch.autograd.backward(report.model.train()(x).sum())
    assert answers == [True]


@pytest.mark.usefixtures("_filtering")
def test_kept_weights_are_transformed_once_and_dropped_when_they_change(
    answers: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Tensor] = []

    def count(*args: Any) -> Tensor:
        made.append(prepare_compiled(*args))
        return made[-1]

    monkeypatch.setattr("deconvbench.upsamplers.fast.deconvolution.frozen.prepare_compiled", count)
    model = nn.Sequential(make(8, 6, **FILTERED["k3"])).eval()
    fused = fuse(model, cache_weights=True).model
    x = draw(1, 8, 5, 6)
    with torch.no_grad():
        for _ in range(3):
            torch.testing.assert_close(fused(x), model(x), rtol=0, atol=1e-5)
        # of another size of the output too
        torch.testing.assert_close(fused[0](x, [10, 12]), model[0](x, [10, 12]), rtol=0, atol=1e-5)  # type: ignore[index] # a container
        assert len(made) == 1
        model[0].weight.data.mul_(2)  # type: ignore[operator] # a parameter
        torch.testing.assert_close(fused(x), model(x), rtol=0, atol=1e-5)
        assert len(made) == 2
    assert all(answers)


@pytest.mark.usefixtures("native")
def test_small_images_and_layers_that_never_gain_are_torch_s(answers: list[bool]) -> None:
    few = fuse(nn.Sequential(make(8, 3, **FILTERED["k4"])))
    assert few.changed == ()
    assert "sub-pixel convolution" in few.left[0].reason
    model = nn.Sequential(make(8, 6, **FILTERED["k4"])).eval()
    fused, x = fuse(model).model, draw(1, 8, 5, 6)
    assert torch.equal(fused(x), model(x))
    assert answers == [False]


@pytest.mark.compile
@pytest.mark.usefixtures("_filtering")
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_a_compiled_graph_filters(dynamic: bool) -> None:
    torch.compiler.reset()
    model = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), make(16, 6, **FILTERED["k4"])).eval()
    replaced: list[int] = []

    def count(module: torch.fx.GraphModule, inputs: Any) -> Any:
        replaced.append(rewrite_graph(module))
        return module.forward

    compiled = torch.compile(model, backend=count, dynamic=dynamic)
    with torch.no_grad():
        for height in (5, 7) if dynamic else (5,):
            x = draw(2, 8, height, 6)
            torch.testing.assert_close(compiled(x), model(x), rtol=0, atol=1e-5)
    assert replaced == [1]
    trained = torch.compile(model, backend="deconvbench", options={"inner_backend": "aot_eager"})
    x = draw(1, 8, 5, 6).requires_grad_()
    found, expected = (torch.autograd.grad(f(x).square().sum(), x)[0] for f in (trained, model))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.compile
@pytest.mark.usefixtures("native")
def test_a_compiled_graph_of_what_does_not_gain_is_torch_s() -> None:
    torch.compiler.reset()
    for model, x in (
        # small, of another type, and of another kernel
        (nn.Sequential(make(8, 6, **FILTERED["k4"])), draw(1, 8, 5, 6)),
        (nn.Sequential(make(8, 6, **FILTERED["k4"])).double(), draw(1, 8, 5, 6).double()),
        (nn.Sequential(make(8, 6, kernel_size=4, stride=2)), draw(1, 8, 5, 6)),
    ):
        replaced: list[int] = []

        def count(module: torch.fx.GraphModule, inputs: Any, replaced: list[int] = replaced) -> Any:
            replaced.append(rewrite_graph(module))
            return module.forward

        assert torch.equal(torch.compile(model, backend=count)(x), model(x))
        assert replaced == [0]


# ---- tools that take a fused model


class Head(nn.Module):
    """A network with a forward pass of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.up = nn.ConvTranspose2d(8, 3, 9, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.up(self.conv(x))
        return y


def make_head() -> nn.Module:
    torch.manual_seed(0)
    return Head().eval()


def make_block() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(8, 8, 1), nn.ConvTranspose2d(8, 3, 9, 4), nn.BatchNorm2d(3), nn.ReLU()).eval()


def run_script(model: nn.Module) -> Tensor:
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(model), file)
    file.seek(0)
    y: Tensor = torch.jit.load(file)(draw(1, 8, 5, 5))  # type: ignore[no-untyped-call] # torch has no types here
    return y


def run_frozen_script(model: nn.Module) -> Tensor:
    y: Tensor = torch.jit.freeze(torch.jit.script(model))(draw(1, 8, 5, 5))
    return y


def run_quantized_by_fx(model: nn.Module) -> Tensor:
    x = draw(1, 8, 5, 5)
    prepared = prepare_fx(copy.deepcopy(model), ao.get_default_qconfig_mapping("qnnpack"), (x,))
    prepared(x)
    converted = convert_fx(prepared)
    kinds = {type(module).__module__ for module in converted.modules() if "Transpose" in type(module).__name__}
    assert kinds == {"torch.ao.nn.quantized.modules.conv"}
    y: Tensor = converted(x)
    return y


def run_quantized_by_hand(model: nn.Module) -> Tensor:
    x, parts = draw(1, 8, 5, 5), copy.deepcopy(list(model.children()))
    wrapped: Any = nn.Sequential(ao.QuantStub(), *parts, ao.DeQuantStub()).eval()
    observers = [ao.MinMaxObserver.with_args(dtype=dtype) for dtype in (torch.quint8, torch.qint8)]
    wrapped.qconfig = ao.QConfig(*observers)  # type: ignore[no-untyped-call] # torch has no types here
    prepared: Any = ao.prepare(wrapped)  # type: ignore[no-untyped-call] # as above
    prepared(x)
    converted: Any = ao.convert(prepared)  # type: ignore[no-untyped-call] # as above
    y: Tensor = copy.deepcopy(converted)(x)
    return y


@pytest.fixture
def _qnnpack() -> Iterator[None]:
    before = torch.backends.quantized.engine
    if "qnnpack" not in torch.backends.quantized.supported_engines:
        pytest.skip("torch has no qnnpack")
    torch.backends.quantized.engine = "qnnpack"
    yield
    torch.backends.quantized.engine = before


@pytest.mark.usefixtures("_qnnpack")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("run", [run_script, run_frozen_script, run_quantized_by_fx, run_quantized_by_hand])
@pytest.mark.parametrize("build", [make_head, make_block])
def test_tools_take_a_fused_model_as_the_original(
    build: Callable[[], nn.Module], run: Callable[[nn.Module], Tensor]
) -> None:
    model = build()
    fused = fuse(model).model
    expected = run(model)
    torch.testing.assert_close(run(fused), expected, rtol=0, atol=2e-2 * float(expected.abs().max()))
    # and it is what it was
    x = draw(2, 8, 6, 5)
    for kept in (fused, copy.deepcopy(fused), pickle.loads(pickle.dumps(fused))):
        assert str(kept) == str(fuse(build()).model)
        torch.testing.assert_close(kept(x), model(x), rtol=0, atol=1e-5)
