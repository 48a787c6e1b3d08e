"""Others' hands on modules and torch: what they have put there runs, before and after fusion, and may go again."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules import module as global_hooks
from torch.nn.utils import parametrizations, parametrize, prune
from torch.overrides import TorchFunctionMode

from deconvbench.networks.fusion import fuse
from deconvbench.networks.fusion.originals import (
    are_calls_own,
    is_call_own,
    is_class_own,
    is_plain_weight,
    is_torch_own,
    is_touched,
)
from tests.networks.fusion.comparing import run_both
from tests.networks.fusion.networks import Up

FastCalls = list[tuple[int, ...]]


class Functional(nn.Module):
    """Upsamples by a module and convolves by a function."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Upsample(scale_factor=2)
        self.weight = nn.Parameter(torch.randn(4, 4, 3, 3))

    def forward(self, x: Tensor) -> Any:
        return functional.conv2d(functional.relu(self.up(x)), self.weight, padding=1)


def sequential() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(4, 4, 1), nn.Upsample(scale_factor=2), nn.ReLU(), nn.ZeroPad2d(1), nn.Conv2d(4, 4, 3))
    )


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "sequential": sequential,
    "scope": lambda: Up(4, 4),
    "functional": Functional,
    "transposed": lambda: nn.Sequential(nn.ConvTranspose2d(4, 3, 4, 4)),
}
over_convolving = pytest.mark.parametrize("network", ["sequential", "scope", "transposed"], indirect=True)


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    made: nn.Module = NETWORKS[request.param]().eval()
    return made


@contextmanager
def replaced(owner: Any, name: str, change: Callable[[Any], Any]) -> Iterator[None]:
    """Replace a function, as adapters and seamless tiling do, and take it back."""
    is_own = name in vars(owner)
    original = getattr(owner, name)
    setattr(owner, name, change(original))
    try:
        yield
    finally:
        if is_own:
            setattr(owner, name, original)
        else:
            delattr(owner, name)


def tripled(original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **kwargs: 3 * original(*args, **kwargs)


def shifted(original: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        y = original(*args, **kwargs)
        return y + torch.arange(y.shape[-1], dtype=y.dtype)

    return run


GLOBAL_HANDS: dict[str, tuple[Any, str, Callable[[Any], Any]]] = {
    "conv_forward": (nn.Conv2d, "forward", tripled),
    "conv_inner_forward": (nn.Conv2d, "_conv_forward", tripled),
    "conv_call": (nn.Conv2d, "__call__", tripled),
    "upsample_forward": (nn.Upsample, "forward", shifted),
    "pad_forward": (nn.ZeroPad2d, "forward", tripled),
    "activation_forward": (nn.ReLU, "forward", shifted),
    "transposed_forward": (nn.ConvTranspose2d, "forward", tripled),
    "sequential_forward": (nn.Sequential, "forward", tripled),
    "module_call": (nn.Module, "__call__", tripled),
    "module_inner_call": (nn.Module, "_call_impl", tripled),
    "interpolate": (functional, "interpolate", tripled),
    "interpolate_unevenly": (functional, "interpolate", shifted),
    "conv2d": (functional, "conv2d", tripled),
    "conv_transpose2d": (functional, "conv_transpose2d", tripled),
    "pad": (functional, "pad", tripled),
    "relu": (functional, "relu", shifted),
    "torch_conv2d": (torch, "conv2d", tripled),
}


def global_hook(register: str) -> Callable[[], Any]:
    def put() -> Any:
        hooks = {
            "register_module_forward_hook": lambda m, args, y: y * 2 if isinstance(m, nn.Conv2d) else None,
            "register_module_forward_pre_hook": lambda m, args: (args[0] * 2,),
        }
        return getattr(global_hooks, register)(hooks[register])

    return put


@pytest.mark.parametrize("when", ["before", "after", "before_with_example"])
@pytest.mark.parametrize("hands", GLOBAL_HANDS)
def test_what_is_replaced_for_all_runs_and_may_go_again(
    hands: str, when: str, network: Any, fast_calls: FastCalls
) -> None:
    x = torch.randn(2, 4, 4, 6)
    plain = network(x)
    fused = fuse(network).model
    fused(x)
    calls = len(fast_calls)
    with replaced(*GLOBAL_HANDS[hands]):
        if when != "after":
            fused = fuse(network, x if when == "before_with_example" else None).model
        assert run_both(network, fused, x) <= 1e-5
    assert torch.equal(network(x), plain)
    assert run_both(network, fused, x) <= 1e-5
    # that a watched call of this kind gained nothing is remembered
    if when == "after" and "idle" not in vars(fused):
        fast_calls.clear()
        fused(x)
        assert len(fast_calls) == calls
        assert calls or isinstance(network[0], nn.ConvTranspose2d)


@pytest.mark.parametrize("register", ["register_module_forward_hook", "register_module_forward_pre_hook"])
def test_hooks_of_all_modules_are_called_as_often(register: str, network: nn.Module) -> None:
    x = torch.randn(2, 4, 4, 6)
    fused = fuse(network).model
    names: list[str] = []
    handle = global_hook(register)()
    other = global_hooks.register_module_forward_hook(lambda m, *_: names.append(type(m).__name__))
    try:
        expected = network(x)
        wanted = list(names)
        names.clear()
        assert torch.allclose(fused(x), expected, atol=1e-4)
        assert names == wanted
    finally:
        handle.remove()
        other.remove()
    assert run_both(network, fused, x) <= 1e-5


def test_backward_hooks_of_all_modules_are_called_as_often(network: nn.Module) -> None:
    x = torch.randn(2, 4, 4, 6)
    fused = fuse(network).model
    counts = []
    for model in (network, fused):
        names: list[str] = []
        handle = global_hooks.register_module_full_backward_hook(
            lambda m, *_, names=names: names.append(type(m).__name__)
        )
        try:
            model(x.clone().requires_grad_()).sum().backward()
        finally:
            handle.remove()
        counts.append(sorted(names))
    assert counts[0] == counts[1]


class Half(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight / 2


class Adapted(nn.Conv2d):
    """A convolution with an adapter, as packages put it in the place of one."""

    def forward(self, x: Tensor) -> Any:
        return super().forward(x) + x.mean()


def find_convolution(model: nn.Module) -> Any:
    found = [child for child in model.modules() if isinstance(child, (nn.Conv2d, nn.ConvTranspose2d))]
    return found[-1] if found else None


def circular(self: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return functional.conv2d(functional.pad(x, [1] * 4, mode="circular"), weight, bias)


def replace_convolution(model: nn.Module) -> None:
    conv = find_convolution(model)
    for parent in model.modules():
        for name, child in parent.named_children():
            if child is conv and isinstance(conv, nn.Conv2d):
                torch.manual_seed(3)
                setattr(parent, name, Adapted(4, 4, 3, padding=int(conv.padding[0])))


def set_forward(conv: Any) -> None:
    conv.forward = tripled(type(conv).forward.__get__(conv))


LOCAL_HANDS: dict[str, Callable[[nn.Module], Any]] = {
    "forward": lambda model: set_forward(find_convolution(model)),
    "conv_forward": lambda model: setattr(
        find_convolution(model), "_conv_forward", circular.__get__(find_convolution(model))
    ),
    "child": replace_convolution,
    "parametrization": lambda model: parametrize.register_parametrization(
        find_convolution(model), "weight", Half()
    ),
    "weight_norm": lambda model: parametrizations.weight_norm(find_convolution(model)),
    "pruning": lambda model: prune.ln_structured(  # type: ignore[no-untyped-call] # torch has no types here
        find_convolution(model), "weight", 0.5, 1, 0
    ),
    "hook": lambda model: find_convolution(model).register_forward_hook(lambda m, args, y: y + 1),
    "hook_with_kwargs": lambda model: find_convolution(model).register_forward_hook(
        lambda m, args, kwargs, y: y + 1, with_kwargs=True
    ),
    "pre_hook": lambda model: find_convolution(model).register_forward_pre_hook(lambda m, args: (args[0] * 2,)),
    "own_hook": lambda model: model.register_forward_hook(lambda m, args, y: y + 1),
}


@over_convolving
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("hands", LOCAL_HANDS)
def test_what_is_replaced_on_one_runs(hands: str, when: str, network: nn.Module) -> None:
    x = torch.randn(2, 4, 4, 6)
    fused = copy.deepcopy(network)
    if when == "after":
        fused = fuse(fused, inplace=True).model
    for model in (network, fused):
        torch.manual_seed(2)
        LOCAL_HANDS[hands](model)
    if when == "before":
        fused = fuse(fused, inplace=True).model
    assert run_both(network, fused, x) <= 1e-5


@over_convolving
@pytest.mark.parametrize("name", ["weight_norm", "orthogonal"])
def test_parametrizations_come_and_go_on_fused_modules(name: str, network: nn.Module) -> None:
    x = torch.randn(2, 4, 4, 6)
    fused = fuse(copy.deepcopy(network), inplace=True).model
    for model in (network, fused):
        getattr(parametrizations, name)(find_convolution(model))
    fused.load_state_dict(network.state_dict())
    assert run_both(network, fused, x) <= 1e-5
    fused = fuse(fused, inplace=True).model
    for model in (network, fused):
        parametrize.remove_parametrizations(find_convolution(model), "weight")
    assert [type(one) for one in fused.modules()] == [type(one) for one in network.modules()]
    assert run_both(network, fused, x) <= 1e-5


class Quantised(Tensor):
    """A tensor that convolves in its own way."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        y: Any = super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call] # as above
        if func in {torch.conv2d, torch.conv_transpose2d}:
            return y.as_subclass(Tensor).round()
        return y


class Plain(Tensor):
    pass


@pytest.mark.parametrize("kind", [Quantised, Plain])
@pytest.mark.parametrize("has_example", [False, True], ids=["unseen", "seen"])
def test_weights_with_code_of_their_own_run_it(kind: type[Tensor], has_example: bool, network: nn.Module) -> None:
    x = torch.randn(2, 4, 4, 6)
    for child in network.modules():
        for name, parameter in child.named_parameters(recurse=False):
            child._parameters[name] = nn.Parameter(parameter.detach().as_subclass(kind))
    fused = fuse(network, x if has_example else None).model
    assert torch.equal(fused(x).as_subclass(Tensor), network(x).as_subclass(Tensor))


class Tripling(TorchFunctionMode):
    """Changes what a function of torch answers."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        y = func(*args, **(kwargs or {}))
        return 3 * y if func in {torch.conv2d, torch.conv_transpose2d, functional.interpolate} else y


def test_a_mode_of_others_sees_what_it_saw(network: nn.Module) -> None:
    x = torch.randn(2, 4, 4, 6)
    fused = fuse(network).model
    with Tripling():
        assert run_both(network, fused, x) <= 1e-5


def test_torch_itself_is_its_own() -> None:
    assert is_torch_own()
    assert are_calls_own()
    for cls in (nn.Conv2d, nn.Upsample, nn.ConvTranspose2d, nn.ZeroPad2d, nn.ReLU, nn.Sequential):
        assert is_class_own(cls)
    assert not is_class_own(Adapted)
    assert is_call_own(nn.Conv2d(1, 1, 1))


def test_what_is_replaced_is_found_and_forgotten() -> None:
    with replaced(functional, "pad", tripled):
        assert not is_torch_own()
        assert not are_calls_own()
    assert is_torch_own()
    with replaced(nn.Conv2d, "_conv_forward", tripled):
        assert not is_class_own(nn.Conv2d)
    assert is_class_own(nn.Conv2d)


def test_kinds_of_weights() -> None:
    assert is_plain_weight(None)
    assert is_plain_weight(torch.ones(1))
    assert is_plain_weight(nn.Parameter(torch.ones(1)))
    assert not is_plain_weight(torch.ones(1).as_subclass(Plain))
    assert not is_plain_weight(nn.UninitializedParameter())


@pytest.mark.parametrize(
    "register",
    [
        "register_forward_hook",
        "register_forward_pre_hook",
        "register_full_backward_hook",
        "register_full_backward_pre_hook",
    ],
)
def test_all_hooks_count(register: str) -> None:
    module = nn.Identity()
    assert not is_touched(module)
    getattr(module, register)(lambda *_: None)
    assert is_touched(module)


@pytest.mark.parametrize("name", ["forward", "_conv_forward", "_call_impl", "_compiled_call_impl"])
def test_what_is_replaced_on_the_instance_counts(name: str) -> None:
    module = nn.Conv2d(1, 1, 1)
    vars(module)[name] = tripled(module.forward)
    assert is_touched(module)
    del vars(module)[name]
    assert not is_touched(module)
