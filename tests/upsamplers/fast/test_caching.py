"""A frozen layer never uses the transform of an old weight, however it changed."""

import copy
import io
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from deconvbench.errors import UsageError
from deconvbench.upsamplers.fast import ResizeConv2d, preparation
from tests.upsamplers.fast.plain_form import (
    UNSEEN,
    assert_plain,
    draw,
    make_layer,
    make_plain,
    over_forms,
    over_layouts,
)


def make_frozen(form: str) -> ResizeConv2d:
    """Make a frozen layer that has already kept something."""
    layer = make_layer(form).eval().cache_weight()
    with torch.no_grad():
        layer(draw(1, 4, 3, 4))
    assert layer.is_frozen
    return layer


@over_forms
def test_a_training_layer_is_not_frozen(form: str) -> None:
    with pytest.raises(UsageError, match=r"cache_weight: the layer is training.* call eval\(\) first"):
        make_layer(form).cache_weight()


def test_a_weight_of_inference_mode_is_kept_and_seen_to_change() -> None:
    with torch.inference_mode():
        layer = make_layer("transposed").eval().cache_weight()
        layer(draw(1, 4, 3, 4))
        seen = [layer.is_frozen]
        layer.weight.mul_(2)
        seen.append(layer.is_frozen)
        assert_plain(layer, draw(1, 4, 3, 4))
    assert seen == [True, False]


@over_layouts
@over_forms
def test_a_frozen_layer_transforms_its_weight_once(
    form: str, layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    make = preparation._PREPARATIONS[form]

    def count(*arguments: Any) -> Tensor:
        calls.append(form)
        return make(*arguments)

    monkeypatch.setattr(preparation, "_PREPARATIONS", {form: count})
    layer, x = make_layer(form).eval(), draw(2, 4, 3, 4).contiguous(memory_format=layout)
    with torch.no_grad():
        expected = layer(x)
        # perhaps in parts
        each = len(calls)
        layer(x)
        assert len(calls) == 2 * each > 0
        assert layer.cache_weight() is layer
        for _ in range(3):
            torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)
        assert len(calls) == 2 * each + 1
        # to cache it again is to make it again
        layer.cache_weight()(x)
        assert len(calls) == 2 * each + 2


def change_in_place(layer: ResizeConv2d) -> None:
    with torch.no_grad():
        layer.weight.mul_(2)


def train_a_step(optimizer: Callable[..., torch.optim.Optimizer]) -> Callable[[ResizeConv2d], None]:
    def change(layer: ResizeConv2d) -> None:
        layer(draw(1, 4, 3, 3)).square().sum().backward()
        optimizer(layer.parameters(), lr=0.1).step()

    return change


def load(*, assign: bool) -> Callable[[ResizeConv2d], None]:
    def change(layer: ResizeConv2d) -> None:
        layer.load_state_dict({name: 2 * value for name, value in layer.state_dict().items()}, assign=assign)

    return change


def replace_parameter(layer: ResizeConv2d) -> None:
    layer.weight = nn.Parameter(2 * layer.weight.detach())


def replace_data(layer: ResizeConv2d) -> None:
    layer.weight.data = 2 * layer.weight.data


def initialise(layer: ResizeConv2d) -> None:
    nn.init.xavier_uniform_(layer.weight)


CHANGES: dict[str, Callable[[ResizeConv2d], None]] = {
    "in place": change_in_place,
    "SGD": train_a_step(torch.optim.SGD),
    "Adam, for each": train_a_step(lambda *a, **k: torch.optim.Adam(*a, foreach=True, **k)),
    "Adam, fused": train_a_step(lambda *a, **k: torch.optim.Adam(*a, fused=True, **k)),
    "load_state_dict": load(assign=False),
    "load_state_dict, assigned": load(assign=True),
    "another parameter": replace_parameter,
    "other data": replace_data,
    "initialisation": initialise,
    "clipping": lambda layer: nn.utils.vector_to_parameters(torch.ones(222).double(), layer.parameters()),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@over_forms
def test_a_change_of_the_weight_is_noticed(form: str, change: Callable[[ResizeConv2d], None]) -> None:
    layer = make_frozen(form)
    before = layer.weight.detach().clone()
    change(layer)
    assert not torch.equal(layer.weight, before)
    assert_plain(layer, draw(1, 4, 3, 4))
    assert not layer.is_frozen


@over_forms
def test_a_change_before_the_first_call_is_no_matter(form: str) -> None:
    layer = make_layer(form).eval().cache_weight()
    change_in_place(layer)
    assert_plain(layer, draw(1, 4, 3, 4))
    assert layer.is_frozen


@over_forms
def test_training_drops_the_cached_weight(form: str) -> None:
    layer = make_frozen(form)
    layer.eval()
    assert layer.is_frozen
    nn.Sequential(layer).train()
    assert not layer.eval().is_frozen


@over_forms
def test_another_type_or_layout_drops_the_cached_weight(form: str) -> None:
    layer = make_frozen(form).float()
    assert not layer.is_frozen
    with torch.no_grad():
        assert layer(draw(1, 4, 3, 4, dtype=torch.float32)).dtype == torch.float32
    layer = make_frozen(form)
    assert not layer.to(memory_format=torch.channels_last).is_frozen  # type: ignore[call-overload] # left out
    assert_plain(layer, draw(1, 4, 3, 4))


@over_forms
def test_a_frozen_layer_still_trains_when_asked(form: str) -> None:
    layer, x = make_frozen(form), draw(1, 4, 3, 4)
    plain = make_plain(layer)
    layer(x).square().sum().backward()
    plain(x).square().sum().backward()
    torch.testing.assert_close(layer.weight.grad, plain[1].weight.grad, rtol=0, atol=1e-10)
    # an optimizer would come next
    assert not layer.is_frozen


@over_forms
def test_a_frozen_layer_leads_gradients_to_its_input(form: str) -> None:
    layer = make_layer(form).requires_grad_(False).eval().cache_weight()
    # first used in inference mode, whose tensors autograd may not save
    with torch.inference_mode():
        layer(draw(1, 4, 3, 4))
    x = draw(1, 4, 3, 4).requires_grad_()
    (found,) = torch.autograd.grad(layer(x).square().sum(), x)
    (expected,) = torch.autograd.grad(make_plain(layer)(x).square().sum(), x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    assert layer.is_frozen


@over_forms
def test_inference_mode_uses_what_is_frozen(form: str) -> None:
    layer, x = make_frozen(form), draw(1, 4, 3, 4)
    with torch.no_grad():
        expected = layer(x)
    with torch.inference_mode():
        assert torch.equal(layer(x), expected)
        assert layer.is_frozen


@over_forms
def test_a_parameter_of_inference_mode_drops_the_cached_weight(form: str) -> None:
    layer = make_frozen(form)
    with torch.inference_mode():
        layer.weight = nn.Parameter(draw(6, 4, 3, 3, seed=5))
        assert_plain(layer, draw(1, 4, 3, 4))
    assert not layer.is_frozen


@pytest.mark.parametrize("change", UNSEEN.values(), ids=UNSEEN)
@over_forms
def test_a_change_that_torch_does_not_count_is_noticed(form: str, change: Callable[[Tensor], object]) -> None:
    layer, x = make_frozen(form), draw(1, 4, 3, 4)
    change(layer.weight)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), make_plain(layer)(x), rtol=0, atol=1e-12, equal_nan=True)
    assert not layer.is_frozen
    # and again, of what it is now
    layer.cache_weight()
    with torch.no_grad():
        layer(x)
        change(layer.weight)
        torch.testing.assert_close(layer(x), make_plain(layer)(x), rtol=0, atol=1e-12, equal_nan=True)


@over_forms
def test_parameters_of_one_call_are_those_of_that_call(form: str) -> None:
    layer, x = make_frozen(form), draw(1, 4, 3, 4)
    for factor in (2.0, 3.0):
        given = {name: factor * value.detach() for name, value in layer.named_parameters()}
        with torch.no_grad():
            found = torch.func.functional_call(layer, given, (x,))
            torch.testing.assert_close(found, factor * make_plain(layer)(x), rtol=0, atol=1e-12)
    assert_plain(layer, x)


@over_forms
def test_a_recorded_layer_follows_its_weight(form: str) -> None:
    """What is kept is no constant of a trace."""
    layer, x = make_frozen(form).requires_grad_(False), draw(1, 4, 3, 4)

    def call(x: Tensor) -> Any:
        return layer(x)

    recorded = make_fx(call)(x)
    torch.testing.assert_close(recorded(x), make_plain(layer)(x), rtol=0, atol=1e-12)
    layer.weight.data.mul_(2)
    torch.testing.assert_close(recorded(x), make_plain(layer)(x), rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@over_forms
def test_transforms_of_functions_see_the_weight(form: str) -> None:
    layer, x = make_frozen(form), draw(1, 4, 3, 4)
    plain = make_plain(layer)
    weight, direction = layer.weight.detach(), draw(6, 4, 3, 3, seed=3)

    def run(weight: Tensor) -> Any:
        return torch.func.functional_call(layer, {"weight": weight}, (x,))

    def run_plain(weight: Tensor) -> Any:
        return torch.func.functional_call(plain, {"1.weight": weight}, (x,))

    with torch.no_grad():
        layer(x)
    transforms: tuple[Callable[[Callable[[Tensor], Any]], Any], ...] = (
        lambda function: torch.func.jvp(function, (weight,), (direction,))[1],
        lambda function: torch.func.grad(lambda weight: function(weight).square().sum())(weight),
        lambda function: torch.func.vmap(function)(torch.stack([weight, direction])),
    )
    for transform in transforms:
        torch.testing.assert_close(transform(run), transform(run_plain), rtol=0, atol=1e-9)


@over_forms
def test_many_threads_call_one_layer(form: str) -> None:
    layer, inputs = make_layer(form).eval(), [draw(1, 4, size, 5, seed=size) for size in range(2, 10)]
    start = threading.Barrier(8)
    with torch.no_grad():
        expected = [layer(x) for x in inputs]
    layer.cache_weight()

    def work(index: int) -> None:
        start.wait()
        # grad mode is each thread's own
        with torch.no_grad():
            for _ in range(20):
                torch.testing.assert_close(layer(inputs[index]), expected[index], rtol=0, atol=1e-12)
                assert layer.is_frozen

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


@over_forms
def test_threads_that_change_and_keep_the_weight_never_see_an_old_one(form: str) -> None:
    layer, x = make_layer(form).eval(), draw(1, 4, 3, 4)
    weights, lock = [factor * layer.weight.detach() for factor in (1, 2, 3)], threading.Lock()
    with torch.no_grad():
        bias = layer.bias[:, None, None]  # type: ignore[index] # it has one
        unit = layer(x) - bias

    def work(index: int) -> None:
        with torch.no_grad():
            for step in range(30):
                if step % 3 == 0:
                    layer.cache_weight()
                # not while another thread changes it, but while others ask whether it is kept
                with lock:
                    layer.weight.data.copy_(weights[index % 3])
                    torch.testing.assert_close(layer(x), unit * (1 + index % 3) + bias, rtol=0, atol=1e-12)
                assert layer.is_frozen in {True, False}

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))


@pytest.mark.compile
@pytest.mark.parametrize("fullgraph", [False, True], ids=["with breaks", "full graph"])
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("order", ["keep, compile", "compile, keep"])
def test_a_kept_weight_and_a_compiler_go_together(order: str, backend: str, fullgraph: bool) -> None:
    layer, x = make_layer("transposed").eval(), draw(1, 4, 3, 4)
    torch.compiler.reset()
    if order == "keep, compile":
        layer.cache_weight()
    compiled: Any = torch.compile(layer, backend=backend, fullgraph=fullgraph)
    with torch.no_grad():
        for step in range(4):
            expected = make_plain(layer)(x)
            torch.testing.assert_close(compiled(x), expected, rtol=0, atol=1e-12)
            torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)
            if step == 0:
                layer.cache_weight()
            elif step == 1:
                layer.weight.data.mul_(2)


@over_forms
def test_what_is_frozen_is_not_stored(form: str) -> None:
    layer = make_frozen(form)
    assert list(layer.state_dict()) == ["weight", "bias"]
    assert [name for name, _ in layer.named_buffers()] == []
    copies = [copy.deepcopy(layer), copy.copy(layer), pickle.loads(pickle.dumps(layer))]
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    for other in (*copies, torch.load(file, weights_only=False)):
        assert not other.is_frozen
        change_in_place(other)
        assert_plain(other, draw(1, 4, 3, 4))


def test_the_name_before_still_works_and_says_what_to_call() -> None:
    layer = ResizeConv2d(4, 2, 3, implementation="minimal").eval()
    with pytest.warns(DeprecationWarning, match="freeze is deprecated: call cache_weight"):
        assert layer.freeze() is layer
    assert layer.is_frozen
