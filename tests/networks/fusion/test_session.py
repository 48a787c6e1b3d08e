"""A watched forward pass under all conditions: modes, threads, errors, transforms, tracing, unseen code."""

import copy
import ctypes
import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack
from torch.utils.flop_counter import FlopCounterMode

from deconvbench.networks.fusion import fuse, resizing
from deconvbench.networks.fusion.deferred import Deferred
from deconvbench.networks.fusion.interception import Interceptor, may_intercept
from deconvbench.networks.fusion.modules import FusedScope, find_fused
from deconvbench.networks.fusion.session import Session
from tests.networks.fusion.comparing import differentiate_both, run_both
from tests.networks.fusion.networks import UNet, Up, Upsample2D, VaeDecoder
from tests.networks.fusion.test_odd_cases import checkpointed, written

# raised by torch's own decompositions
INSIDE_TORCH = "ignore:`torch.jit.script` is deprecated"
FastCalls = list[tuple[int, ...]]


def make_pair(build: Callable[[], nn.Module] = Up) -> tuple[Any, Any, Tensor]:
    torch.manual_seed(0)
    model = build().double().eval()
    return model, fuse(model).model, torch.randn(2, 4, 5, 3, dtype=torch.float64)


MODES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "default_device": lambda: torch.device("cpu"),
    "other_device": lambda: torch.device("meta"),
    "flop_counter": lambda: FlopCounterMode(display=False),
    "anomaly": lambda: torch.autograd.set_detect_anomaly(True, check_nan=False),
    "saved_on_cpu": torch.autograd.graph.save_on_cpu,
}


# what is saved for gradients through hooks must be what torch saves
PLAIN_MODES = {"saved_on_cpu"}


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
@pytest.mark.parametrize("name", MODES)
def test_other_modes_change_nothing(name: str, fast_calls: FastCalls) -> None:
    model, fused, x = make_pair()
    with MODES[name]():
        assert run_both(model, fused, x) <= 1e-10
    assert len(fast_calls) == (0 if name in PLAIN_MODES else 1)


def test_an_inference_tensor_is_upsampled_too(fast_calls: FastCalls) -> None:
    model, fused, x = make_pair()
    with torch.inference_mode():
        given = x + 0
    with torch.no_grad():
        assert run_both(model, fused, given) <= 1e-10
    assert len(fast_calls) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(
    "build", [Up, lambda: Up(padding_mode="reflect"), lambda: Upsample2D(4)], ids=["zeros", "reflect", "2d"]
)
def test_autocast_answers_in_the_dtype_of_a_convolution(
    dtype: torch.dtype, build: Callable[[], nn.Module], fast_calls: FastCalls
) -> None:
    model, fused, x = make_pair(build)
    model.to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected, found = model(x.to(dtype)), fused(x.to(dtype))
    assert found.dtype == expected.dtype
    if dtype == torch.float64:
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    else:
        assert torch.equal(found, expected)
    # in half precision no fast form is as precise
    assert len(fast_calls) == (1 if dtype == torch.float64 else 0)


def test_autocast_around_a_concatenation(fast_calls: FastCalls) -> None:
    model = UNet().eval()
    fused = fuse(model).model
    x = torch.randn(1, 3, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected, found = model(x), fused(x)
    assert torch.equal(found, expected)
    assert not fast_calls


def test_bfloat16_in_a_class_that_casts_for_it(fast_calls: FastCalls) -> None:
    model = Upsample2D(4).to(torch.bfloat16)
    fused = fuse(model).model
    x = torch.randn(1, 4, 6, 6, dtype=torch.bfloat16)
    assert torch.equal(fused(x), model(x))
    assert not fast_calls


@pytest.mark.parametrize("batch", [0, 1, 64], ids="batch{}".format)
def test_batches(batch: int, fast_calls: FastCalls) -> None:
    model, fused, _ = make_pair(lambda: Upsample2D(4))
    x = torch.randn(batch, 4, 1, 2, dtype=torch.float64)
    assert fused(x).shape == model(x).shape
    assert run_both(model, fused, x) <= 1e-10
    assert len(fast_calls) == (2 if batch else 0)


def test_channels_last_stays_channels_last() -> None:
    model, fused, x = make_pair()
    x = x.contiguous(memory_format=torch.channels_last)
    assert fused(x).stride() == model(x).stride()


def test_a_size_that_is_a_multiple_once_and_then_not(fast_calls: FastCalls) -> None:
    model, fused, x = make_pair(lambda: Upsample2D(4))
    for size, calls in (((10, 6), 1), ((11, 6), 1), ((20, 12), 2), ((15, 6), 2), ((10, 12), 3)):
        assert torch.allclose(model(x, size), fused(x, output_size=size), atol=1e-12)
        assert len(fast_calls) == calls


class Failing(Up):
    def forward(self, x: Tensor) -> Any:
        h = functional.interpolate(x, scale_factor=2)
        self.last = h
        if x.sum() > 0:
            raise ArithmeticError("on purpose")
        return self.conv(h)


def test_an_error_leaves_the_mode() -> None:
    model, fused, x = make_pair(Failing)
    with pytest.raises(ArithmeticError, match="on purpose"):
        fused(x.abs())
    assert not _get_current_function_mode_stack()  # type: ignore[no-untyped-call] # torch has no types here
    # what was kept from the failed call can still be looked at
    assert torch.equal(fused.last * 1, functional.interpolate(x.abs(), scale_factor=2))
    assert run_both(model, fused, -x.abs()) <= 1e-10


def test_what_a_module_keeps_is_a_tensor_afterwards() -> None:
    model, fused, x = make_pair(Failing)
    x = -x.abs()
    model(x)
    fused(x)
    x.zero_()
    kept = fused.last
    assert torch.equal(kept + 0, model.last)
    assert torch.equal(copy.deepcopy(kept), model.last)
    assert type(copy.deepcopy(kept)) is Tensor
    file = io.BytesIO()
    torch.save(kept, file)
    file.seek(0)
    assert torch.equal(torch.load(file), model.last)
    assert kept.numpy().shape == (2, 4, 10, 6)
    assert repr(kept) == repr(model.last)
    assert torch.equal(fused.conv(kept), model.conv(model.last))
    assert kept.tolist() == model.last.tolist()
    assert [len(row) for row in kept] == [4, 4]


class Pair(NamedTuple):
    y: Tensor
    h: Tensor


@dataclass
class Output:
    y: Tensor
    h: Tensor
    number: int = 3


OUTPUTS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "tensor": lambda y, h: h,
    "tuple": lambda y, h: (y, h, 3),
    "list": lambda y, h: [y, [h]],
    "dict": lambda y, h: {"y": y, "h": {"h": h}},
    "ordered_dict": lambda y, h: OrderedDict(y=y, h=h),
    "named_tuple": Pair,
    "dataclass": Output,
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_no_deferred_tensor_leaves_a_module(name: str) -> None:
    model, fused, x = make_pair(
        lambda: written(lambda c, x: OUTPUTS[name](c(h := functional.interpolate(x, scale_factor=2)), h))
    )
    expected, output = model(x), fused(x)
    assert type(output) is type(expected)
    assert "Deferred" not in repr(output)
    assert run_both(model, fused, x) <= 1e-10


def test_nested_scopes_share_a_session(fast_calls: FastCalls) -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.second = Up(4, 4), Upsample2D(4, use_conv=False)
            self.conv = nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x: Tensor) -> Any:
            x = self.inner(x)
            return self.conv(self.second(functional.interpolate(x, scale_factor=2)))

    torch.manual_seed(0)
    model = Outer().double()
    x = torch.randn(1, 4, 3, 3, dtype=torch.float64)
    fused: Any = fuse(model, x).model
    assert run_both(model, fused, x) <= 1e-10
    assert [shape[2] for shape in fast_calls[-2:]] == [3, 6]
    assert isinstance(find_fused(fused), FusedScope)
    assert isinstance(find_fused(fused.inner), FusedScope)


def test_threads_do_not_see_each_other() -> None:
    model, fused, _ = make_pair(VaeDecoder)
    inputs = [torch.randn(1, 4, 4, 4 + number, dtype=torch.float64) for number in range(4)]
    found: dict[int, Tensor] = {}

    def work(number: int) -> None:
        for _ in range(5):
            found[number] = fused(inputs[number])["sample"]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, x in enumerate(inputs):
        assert torch.allclose(found[number], model(x)["sample"], atol=1e-12)


def test_a_double_backward_pass() -> None:
    model, fused, x = make_pair()

    def penalise(one: nn.Module) -> list[Tensor]:
        given = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(one(given).square().sum(), given, create_graph=True)
        return list(torch.autograd.grad(gradient.square().sum(), [given, *one.parameters()]))

    for expected, found in zip(penalise(model), penalise(fused), strict=True):
        assert torch.allclose(found, expected, rtol=1e-9)


def test_a_reentrant_checkpoint_in_a_backward_pass() -> None:
    model, fused, x = make_pair(lambda: written(lambda c, x: checkpointed(c, x, use_reentrant=True)))
    gradients = []
    for one in (model, fused):
        given = x.clone().requires_grad_()
        one.zero_grad()
        one(given).square().sum().backward()
        gradients.append([given.grad, one.conv.weight.grad.clone()])
    for expected, found in zip(*gradients, strict=True):
        assert torch.allclose(found, expected, rtol=1e-9)


TRANSFORMS: dict[str, Callable[[nn.Module, Tensor], Any]] = {
    "vmap": lambda model, x: torch.vmap(lambda image: model(image[None]))(x),
    "grad": lambda model, x: torch.func.grad(lambda image: model(image).sum())(x),
    "jvp": lambda model, x: torch.func.jvp(model, (x,), (x + 1,)),
    "functional_call": lambda model, x: torch.func.functional_call(
        model, {name: 2 * value for name, value in model.named_parameters()}, (x,)
    ),
    "trace": lambda model, x: torch.jit.trace(model, x)(x.repeat(1, 1, 2, 3)),  # type: ignore[no-untyped-call] # torch has no types here
    "symbolic_trace": lambda model, x: torch.fx.symbolic_trace(model)(x.repeat(1, 1, 2, 3)),
    "export": lambda model, x: torch.export.export(model, (x,)).module()(x),
}


@pytest.mark.filterwarnings("ignore:`torch.jit.trace", INSIDE_TORCH)
@pytest.mark.parametrize(
    "build",
    [Up, lambda: nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(4, 4, 3, padding=1))],
    ids=["scope", "sequential"],
)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_and_tracers_see_the_same_function(name: str, build: Callable[[], nn.Module]) -> None:
    model, fused, x = make_pair(build)
    expected, found = (TRANSFORMS[name](one, x) for one in (model, fused))
    for one, other in zip(
        expected if isinstance(expected, tuple) else (expected,),
        found if isinstance(found, tuple) else (found,),
        strict=True,
    ):
        assert torch.allclose(other, one, atol=1e-12)


@pytest.mark.filterwarnings(INSIDE_TORCH)
def test_forward_gradients_see_the_same_function() -> None:
    model, fused, x = make_pair()
    tangents = []
    for one in (model, fused):
        with forward_ad.dual_level():
            assert not may_intercept()
            y = one(forward_ad.make_dual(x, x + 1))  # type: ignore[no-untyped-call] # as above
            tangents.append(forward_ad.unpack_dual(y).tangent)  # type: ignore[no-untyped-call] # as above
    assert torch.allclose(*tangents)


def test_a_mode_of_the_user_sees_the_call_inside() -> None:
    class Recording(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            names.append(getattr(func, "__name__", ""))
            return func(*args, **(kwargs or {}))

    names: list[str] = []
    model, fused, x = make_pair()
    with Recording():
        assert run_both(model, fused, x) <= 1e-10
    assert "conv2d" in names


def test_code_beneath_python_gets_the_upsampled_image() -> None:
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            with torch._C.DisableTorchFunction():
                return torch.mul(x, 2)

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Tensor:
            return 2 * gradients[0]

    model, fused, x = make_pair(
        lambda: written(lambda c, x: c(Double.apply(functional.interpolate(x, scale_factor=2))))  # type: ignore[no-untyped-call] # as above
    )
    assert run_both(model, fused, x) <= 1e-10
    assert differentiate_both(model, fused, x) <= 1e-10
    with torch.no_grad():
        assert run_both(model, fused, x) <= 1e-10


def test_scripted_code_gets_the_upsampled_image() -> None:
    with pytest.warns(DeprecationWarning, match="torch.jit.script"):
        scripted = torch.jit.script(nn.Conv2d(4, 4, 3, padding=1).double())
    model, fused, x = make_pair(
        lambda: written(lambda c, x: scripted(functional.interpolate(x, scale_factor=2)) + c(x)[:, :, :1, :1])
    )
    assert run_both(model, fused, x) <= 1e-10
    assert differentiate_both(model, fused, x) <= 1e-10


def unseen_write_into_source(c: nn.Module, x: Tensor) -> Any:
    x = x * 1
    h = functional.interpolate(x, scale_factor=2)
    with torch._C.DisableTorchFunction():
        x.mul_(2)
    return c(h)


def unseen_write_into_upsampled(c: nn.Module, x: Tensor) -> Any:
    h = functional.interpolate(x, scale_factor=2)
    with torch._C.DisableTorchFunction():
        h.mul_(2)
    return c(h)


class Passed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 1

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


def write_then_pass(c: nn.Module, x: Tensor) -> Any:
    h = functional.interpolate(x, scale_factor=2)
    h.mul_(2)
    return c(Passed.apply(h))  # type: ignore[no-untyped-call] # as above


def activate_then_pass(c: nn.Module, x: Tensor) -> Any:
    h = functional.interpolate(x, scale_factor=2)
    functional.relu(h, inplace=True)
    return c(Passed.apply(h))  # type: ignore[no-untyped-call] # as above


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (unseen_write_into_source, "changed by code that fuse\\(\\) cannot see"),
        (unseen_write_into_upsampled, "writes into an upsampled tensor"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_cannot_be_seen_is_an_error_never_a_wrong_number(forward: Any, message: str) -> None:
    _, fused, x = make_pair(lambda: written(forward))
    with torch.no_grad(), pytest.raises(RuntimeError, match=message):
        fused(x)


def test_where_gradients_are_recorded_no_write_reaches_what_was_upsampled() -> None:
    model, fused, x = make_pair(lambda: written(unseen_write_into_source))
    assert differentiate_both(model, fused, x) <= 1e-10


@pytest.mark.parametrize("forward", [write_then_pass, activate_then_pass], ids=lambda value: value.__name__)
def test_code_beneath_python_gets_what_was_changed_in_place(forward: Any) -> None:
    model, fused, x = make_pair(lambda: written(forward))
    assert differentiate_both(model, fused, x) <= 1e-10


@pytest.mark.parametrize("rule", ["form", "pixels"])
def test_a_small_concatenation_is_convolved_plainly(
    rule: str, fast_calls: FastCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = UNet().double().eval()
    x = torch.randn(1, 3, 8, 8, dtype=torch.float64)
    report = fuse(model, x)
    assert len(report.changed) == 3
    fast_calls.clear()
    if rule == "form":
        monkeypatch.setattr(resizing, "choose", lambda *_, **__: "plain")
    else:
        monkeypatch.setattr(resizing, "LEAST_PIXELS_SPLIT", 1024)
    assert run_both(model, report.model, x) <= 1e-10
    # what is left is the one without a skip connection
    assert len(fast_calls) == (0 if rule == "form" else 1)


def test_a_session_that_is_closed_defers_nothing(fast_calls: FastCalls) -> None:
    conv = nn.Conv2d(4, 4, 3, padding=1)
    pointwise = nn.Conv2d(4, 4, 1)
    x = torch.randn(1, 4, 3, 3)
    session = Session()
    with Interceptor(session):
        h = functional.interpolate(x, scale_factor=2)
    assert type(h) is Deferred
    session.close(None)
    expected = functional.interpolate(x, scale_factor=2)
    assert type(torch.relu(h)) is Tensor
    assert type(h) is Tensor
    # no session sees this
    x.data.zero_()
    assert torch.equal(conv(h), conv(expected))
    assert torch.equal(pointwise(h), pointwise(expected))
    assert fast_calls == []


class Noting(Session):
    """Writes down what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.upsampled: list[Any] = []
        self.protected: list[Any] = []

    def upsample(self, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        self.upsampled.append(kwargs)
        return super().upsample(function, args, kwargs)

    def protect(self, args: Sequence[Any], kwargs: Mapping[str, Any], function: Any) -> None:
        self.protected.append(function.__name__)
        super().protect(args, kwargs, function)


def test_upsamplings_are_deferred_inside_only() -> None:
    x, session = torch.randn(1, 1, 2, 2), Noting()
    with Interceptor(session):
        inside = functional.interpolate(x, scale_factor=2)
    assert isinstance(inside, Deferred)
    assert type(functional.interpolate(x, scale_factor=2)) is Tensor
    assert [call["scale_factor"] for call in session.upsampled] == [2]


def test_what_a_session_refuses_is_done_by_torch() -> None:
    x = torch.randn(1, 1, 2, 2)
    with Interceptor(Noting()):
        y = functional.interpolate(x, scale_factor=2, mode="bilinear")
    assert torch.equal(y, functional.interpolate(x, scale_factor=2, mode="bilinear"))


def test_a_session_is_asked_to_protect_only_while_something_waits() -> None:
    x, session = torch.ones(1, 1, 2, 2), Noting()
    with Interceptor(session):
        x.add_(1)
        h = functional.interpolate(x, scale_factor=2)
        x.mean()
        x.add_(1)
    assert session.protected == ["add_"]
    assert torch.equal(h + 0, torch.full((1, 1, 4, 4), 2.0))


def test_whoever_may_record_sees_what_the_model_calls() -> None:
    class Recording(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return func(*args, **(kwargs or {}))

    with Recording():
        assert not may_intercept()
    with torch.device("meta"), FlopCounterMode(display=False):
        assert may_intercept()


def test_transforms_are_seen() -> None:
    seen: list[bool] = []

    def function(x: Tensor) -> Tensor:
        seen.append(may_intercept())
        return x

    x = torch.ones(2)
    function(x)
    torch.func.vmap(function)(x)
    with forward_ad.dual_level():
        function(x)
    assert seen == [True, False, False]


def test_a_trace_is_seen() -> None:
    seen: list[bool] = []

    def function(x: Tensor) -> Tensor:
        seen.append(may_intercept())
        return x + 1

    with pytest.warns(DeprecationWarning, match="torch.jit.trace"):
        torch.jit.trace(function, torch.ones(2), check_trace=False)  # type: ignore[no-untyped-call] # torch has no types here
    assert seen == [False]


# ---- who records the fused model


def record_by_fx(model: nn.Module, x: Tensor) -> Any:
    return torch.fx.symbolic_trace(model)


def record_by_trace(model: nn.Module, x: Tensor) -> Any:
    return torch.jit.trace(model, x)  # type: ignore[no-untyped-call] # torch has no types here


def record_by_make_fx(model: nn.Module, x: Tensor) -> Any:
    return make_fx(model, tracing_mode="symbolic", _allow_non_fake_inputs=True)(x)


@pytest.mark.filterwarnings("ignore:.*`?torch.jit.*deprecated:DeprecationWarning")
@pytest.mark.parametrize("record", [record_by_fx, record_by_trace, record_by_make_fx])
@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(8, 8, 3, padding=1)),
        lambda: Up(8, 8),
        lambda: nn.Sequential(nn.ConvTranspose2d(8, 2, 9, 4)),
    ],
    ids=["container", "watched", "deconvolution"],
)
def test_what_is_recorded_is_right_at_other_sizes(
    build: Callable[[], nn.Module], record: Callable[[nn.Module, Tensor], Any]
) -> None:
    torch.manual_seed(0)
    model = build().double().eval()
    fused = fuse(model).model
    recorded = record(fused, torch.randn(1, 8, 40, 40, dtype=torch.float64))
    if isinstance(recorded, torch.jit.ScriptModule):
        assert "PythonOp" not in str(recorded.inlined_graph)
    for shape in ((2, 8, 33, 41), (1, 8, 3, 5)):
        x = torch.randn(shape, dtype=torch.float64)
        torch.testing.assert_close(recorded(x), model(x), rtol=0, atol=1e-10)


UNCOUNTED: dict[str, Callable[[Tensor], Any]] = {
    "data": lambda x: x.data.clamp_(0),
    "data_set": lambda x: setattr(x, "data", x.data * 2),
    "dlpack": lambda x: torch.utils.dlpack.from_dlpack(x.detach()).zero_(),
    "detached": lambda x: x.detach().zero_(),
    "set": lambda x: torch.empty(0, dtype=x.dtype).set_(x.detach()).zero_(),  # type: ignore[call-overload] # torch takes it
    "storage": lambda x: x.untyped_storage().copy_(torch.zeros_like(x).untyped_storage()),
    "numpy": lambda x: x.detach().numpy().fill(2),
    "numpy_array": lambda x: np.asarray(x.detach()).fill(2),
    "as_strided": lambda x: torch.as_strided(x.data, (3,), (1,)).zero_(),
    "foreach": lambda x: torch._foreach_mul_([x.data], 2.0),
    "out": lambda x: torch.add(x.detach(), 1, out=x.data),
    "copy": lambda x: x.data.copy_(torch.ones_like(x)),
    "positional_flag": lambda x: functional.leaky_relu(x.data, 0.1, True),
    "operator": lambda x: torch.ops.aten.mul_(x.data, 2),
    "split": lambda x: x.data.chunk(2, 1)[0].zero_(),
    "resize": lambda x: x.data.resize_(1).zero_(),
}


@pytest.mark.parametrize("when", ["before", "read_before", "after"])
@pytest.mark.parametrize("name", UNCOUNTED)
def test_writes_that_torch_does_not_count_are_seen(name: str, when: str) -> None:
    def forward(c: nn.Module, x: Tensor) -> Any:
        x = x.clone()
        h = functional.interpolate(x, scale_factor=2)
        if when == "read_before":
            h.mean()
        h = torch.tanh(h)
        if when == "after":
            y = c(h)
            UNCOUNTED[name](x)
            return y
        UNCOUNTED[name](x)
        return c(h)

    model, fused, x = make_pair(lambda: written(forward))
    for mode in (torch.no_grad, torch.enable_grad, torch.inference_mode):
        with mode():
            assert run_both(model, fused, x) <= 1e-10
    assert differentiate_both(model, fused, x) <= 1e-10


@pytest.mark.parametrize("name", ["data", "numpy", "dlpack"])
def test_an_error_in_between_leaves_maps_that_a_write_cannot_reach(name: str) -> None:
    kept: list[Tensor] = []

    def forward(c: nn.Module, x: Tensor) -> Any:
        kept.append(functional.interpolate(x, scale_factor=2))
        raise ArithmeticError("on purpose")

    _, fused, x = make_pair(lambda: written(forward))
    expected = functional.interpolate(x, scale_factor=2)
    with pytest.raises(ArithmeticError):
        fused(x)
    UNCOUNTED[name](x)
    assert type(kept[0]) is Tensor
    assert torch.equal(fused.conv(kept[0]), fused.conv(expected))


HANDLES: dict[str, Callable[[Tensor], Callable[[], Any]]] = {
    "numpy": lambda x: partial(x.numpy().fill, 2),
    "array": lambda x: partial(np.asarray(x).fill, 2),
    # numpy before 2.1 may not write there, so another tensor does
    "dlpack": lambda x: partial(torch.utils.dlpack.from_dlpack(x).fill_, 2),
    "storage": lambda x: partial(x.untyped_storage().copy_, torch.ones_like(x).untyped_storage()),
    "address": lambda x: partial(ctypes.memset, x.data_ptr(), 0, 64),
    "view": lambda x: partial(x[:, 1:].numpy().fill, 2),
}


@pytest.mark.parametrize("name", HANDLES)
def test_memory_that_was_handed_out_before_is_read_at_once(name: str) -> None:
    def forward(c: nn.Module, x: Tensor) -> Any:
        x = x.detach().clone()
        write = HANDLES[name](x)
        h = torch.relu(functional.interpolate(x, scale_factor=2))
        kept = functional.interpolate(x, scale_factor=2)
        again = HANDLES[name](kept)
        up = functional.interpolate(kept, scale_factor=2)
        write()
        again()
        return c(h), c(kept), c(up)

    model, fused, x = make_pair(lambda: written(forward))
    with torch.no_grad():
        assert run_both(model, fused, x) <= 1e-10
