"""Doing to a network what people do to networks between two calls.

Each change is a function of the hands that make it: of the network, and of a number that says to which of its
modules. It answers with the network if that is another one, and leaves what is to be undone at the end.
"""

import copy
import types
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize, prune


@dataclass(slots=True)
class Hands:
    """What others have done to one network, and saw of it.

    Parameters
    ----------
    net : nn.Module
        The network.
    which : int
        Which of the modules that a change can be made to, counted round.
    log : list
        What hooks saw.
    handles : list
        Of hooks.
    undo : ExitStack
        What is put back at the end, when classes and the whole process were changed.
    """

    net: nn.Module
    which: int = 0
    log: list[Any] = field(default_factory=list)
    handles: list[Any] = field(default_factory=list)
    undo: ExitStack = field(default_factory=ExitStack)


def apply_change(kind: str, hands: Hands) -> None:
    """Do something to a network.

    Parameters
    ----------
    kind : str
        One of `scenarios.CHANGES`.
    hands : Hands
        The network and which of its modules; after a copy the network is another one.
    """
    made = _CHANGES[kind](hands)
    if made is not None:
        hands.net = made


M = TypeVar("M", bound=nn.Module)


def _find(hands: Hands, kind: type[M]) -> M | None:
    found = [module for module in hands.net.modules() if isinstance(module, kind)]
    return found[hands.which % len(found)] if found else None


def _find_any(hands: Hands) -> nn.Module:
    module = _find(hands, nn.Module)
    assert module is not None  # the network itself is one
    return module


def _list_weights(net: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in net.parameters() if parameter.requires_grad]


def _step(weights: list[nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
    for number, parameter in enumerate(weights):
        generator = torch.Generator().manual_seed(number)
        parameter.grad = torch.randn(parameter.shape, dtype=parameter.dtype, generator=generator)
    optimizer.step()
    optimizer.zero_grad()


def _sgd(hands: Hands) -> None:
    if weights := _list_weights(hands.net):
        _step(weights, torch.optim.SGD(weights, lr=0.1))


def _fused_adam(hands: Hands) -> None:
    if weights := _list_weights(hands.net):
        _step(weights, torch.optim.Adam(weights, lr=0.1, fused=True))


def _for_weights(change: Callable[[nn.Parameter], None]) -> Callable[[Hands], None]:
    def apply(hands: Hands) -> None:
        with torch.no_grad():
            for parameter in hands.net.parameters():
                change(parameter)

    return apply


def _multiply_data(parameter: nn.Parameter) -> None:
    parameter.data.mul_(1.1)


def _copy(parameter: nn.Parameter) -> None:
    parameter.copy_(parameter * 0.9)


def _assign_twice(parameter: nn.Parameter) -> None:
    parameter.data = parameter.data * 2
    parameter.data = parameter.data / 4


def _write_numpy(parameter: nn.Parameter) -> None:
    parameter.detach().numpy()[...] *= 1.25


def _assign(parameter: nn.Parameter) -> None:
    parameter.data = parameter.data * 0.75


def _load(*, is_assigned: bool) -> Callable[[Hands], None]:
    def apply(hands: Hands) -> None:
        state = {key: value.clone() for key, value in hands.net.state_dict().items()}
        state = {key: value * 0.8 if value.is_floating_point() else value for key, value in state.items()}
        hands.net.load_state_dict(state, assign=is_assigned)

    return apply


def _swap(hands: Hands) -> None:
    conv = _find(hands, nn.Conv2d)
    if conv is not None and "weight" in conv._parameters:
        assert isinstance(conv.weight, Tensor)
        conv.weight = nn.Parameter(conv.weight.detach() * 1.5)


def _freeze_some(hands: Hands) -> None:
    for parameter in list(hands.net.parameters())[:: 1 + hands.which % 3]:
        if parameter.is_leaf:
            parameter.requires_grad_(not parameter.requires_grad)


def _to_float_and_back(hands: Hands) -> None:
    hands.net.float()
    hands.net.double()


def _to_channels_last(net: nn.Module) -> nn.Module:
    made: nn.Module = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's types lack it
    return made


def _new_convolution(hands: Hands) -> None:
    """Replace a convolution by one of a class of its own, as LoRA does."""
    names = [(name, module) for name, module in hands.net.named_modules() if type(module) is nn.Conv2d and name]
    if not names:
        return
    name, conv = names[hands.which % len(names)]
    parent = hands.net.get_submodule(name.rpartition(".")[0])
    setattr(parent, name.rpartition(".")[2], Doubling(conv))


class Doubling(nn.Module):
    """A convolution wrapped by another module, which doubles its answer.

    Parameters
    ----------
    conv : nn.Conv2d
        The convolution.
    """

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, and double."""
        y: Tensor = self.conv(x)
        return y * 2

    @property
    def weight(self) -> Any:
        """The convolution's."""
        return self.conv.weight

    @property
    def bias(self) -> Any:
        """The convolution's."""
        return self.conv.bias


def _hook_records(hands: Hands) -> None:
    module = _find_any(hands)

    def record(module: nn.Module, args: Any, output: Any) -> None:
        hands.log.append(
            (type(module).__name__, [tuple(x.shape) for x in (*args, output) if isinstance(x, Tensor)])
        )

    hands.handles.append(module.register_forward_hook(record))


def _double(value: Any) -> Any:
    return value * 2 if isinstance(value, Tensor) else value


def _hook_doubles(hands: Hands) -> None:
    module = _find_any(hands)
    hands.handles.append(module.register_forward_hook(lambda *given: _double(given[-1])))


def _pre_hook_doubles(hands: Hands) -> None:
    module = _find_any(hands)
    hands.handles.append(module.register_forward_pre_hook(lambda *given: tuple(map(_double, given[-1]))))


def _backward_hook(hands: Hands) -> None:
    module = _find(hands, nn.Conv2d)
    if module is not None:
        hands.handles.append(module.register_full_backward_hook(lambda *given: tuple(map(_double, given[1]))))


def _global_hook(hands: Hands) -> None:
    def change(module: nn.Module, *given: Any) -> Any:
        # of both networks: no log, for the other one may be called with it too
        output = given[-1]
        return output + 1 if isinstance(module, nn.Conv2d) and isinstance(output, Tensor) else None

    handle = nn.modules.module.register_module_forward_hook(change)
    hands.handles.append(handle)
    hands.undo.callback(handle.remove)


def _unhook(hands: Hands) -> None:
    for handle in hands.handles:
        handle.remove()
    hands.handles.clear()


def _convolve_around(self: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve with a border that continues at the other side, as for tiles without seams."""
    rows, columns = (size // 2 for size in weight.shape[2:])
    return functional.conv2d(
        functional.pad(x, (columns, columns, rows, rows), mode="circular"), weight, bias, groups=self.groups
    )


def _patch_convolution(hands: Hands) -> None:
    conv = _find(hands, nn.Conv2d)
    if conv is not None:
        conv._conv_forward = types.MethodType(_convolve_around, conv)  # type: ignore[method-assign] # as people do


def _patch_forward(hands: Hands) -> None:
    module = _find_any(hands)
    original = module.forward
    module.forward = lambda *args, **kwargs: _double(original(*args, **kwargs))


def _patch_class(hands: Hands) -> None:
    kind = (nn.Conv2d, nn.Upsample, nn.ReLU)[hands.which % 3]
    original: Any = kind.forward
    setattr(kind, "forward", lambda self, x: original(self, x) * 3)  # noqa: B010 -- mypy refuses the assignment
    hands.undo.callback(setattr, kind, "forward", original)


def _unpatch(hands: Hands) -> None:
    for module in hands.net.modules():
        vars(module).pop("forward", None)
        vars(module).pop("_conv_forward", None)


def _weight_norm(hands: Hands) -> None:
    conv = _find(hands, nn.Conv2d)
    if conv is not None and not parametrize.is_parametrized(conv) and "weight" in conv._parameters:
        parametrizations.weight_norm(conv)


def _remove_weight_norm(hands: Hands) -> None:
    for module in list(hands.net.modules()):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")


def _prune(hands: Hands) -> None:
    conv = _find(hands, nn.Conv2d)
    if conv is not None and "weight" in conv._parameters:
        prune.ln_structured(conv, "weight", amount=0.5, n=1, dim=0)  # type: ignore[no-untyped-call] # torch has no types here


_CHANGES: dict[str, Callable[[Hands], nn.Module | None]] = {
    "sgd": _sgd,
    "fused_adam": _fused_adam,
    "data_mul": _for_weights(_multiply_data),
    "data_twice": _for_weights(_assign_twice),
    "set_data": _for_weights(_assign),
    "copy": _for_weights(_copy),
    "numpy": _for_weights(_write_numpy),
    "load": _load(is_assigned=False),
    "load_assign": _load(is_assigned=True),
    "swap": _swap,
    "freeze_some": _freeze_some,
    "train": lambda hands: hands.net.train(),
    "eval": lambda hands: hands.net.eval(),
    "deepcopy": lambda hands: copy.deepcopy(hands.net),
    "to_float_and_back": _to_float_and_back,
    "channels_last": lambda hands: _to_channels_last(hands.net),
    "new_convolution": _new_convolution,
    "hook_records": _hook_records,
    "hook_doubles": _hook_doubles,
    "pre_hook_doubles": _pre_hook_doubles,
    "backward_hook": _backward_hook,
    "global_hook": _global_hook,
    "unhook": _unhook,
    "patch_convolution": _patch_convolution,
    "patch_forward": _patch_forward,
    "patch_class": _patch_class,
    "unpatch": _unpatch,
    "weight_norm": _weight_norm,
    "remove_weight_norm": _remove_weight_norm,
    "prune": _prune,
}
