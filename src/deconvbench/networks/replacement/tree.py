"""Where the modules of a model are, and what speaks against taking one of them out.

Looks at modules and hooks only: what a forward pass calls is not known here.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from deconvbench.networks.fusion.originals import is_plain_weight, is_touched

# beside the hooks of calls
_STATE_HOOKS = (
    *("_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks"),
    *("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """One place for a module.

    Parameters
    ----------
    parent : nn.Module
        Whose child it is.
    name : str
        Under this name.
    path : str
        In the model.
    """

    parent: nn.Module
    name: str
    path: str

    def put(self, module: nn.Module) -> None:
        """Put a module there."""
        self.parent._modules[self.name] = module


class ModuleTree:
    """The places of all modules of a model, and who has which parameter.

    Parameters
    ----------
    model : nn.Module
        It is not changed; the tree is not told of later changes.
    """

    def __init__(self, model: nn.Module) -> None:
        self.root = model
        self.modules = dict(model.named_modules())
        self._slots: defaultdict[int, list[Slot]] = defaultdict(list)
        self._owners: defaultdict[int, list[str]] = defaultdict(list)
        self._strays: dict[int, str] = {}
        for path, module in self.modules.items():
            for name, child in module._modules.items():
                if child is not None:
                    self._slots[id(child)].append(Slot(module, name, f"{path}.{name}" if path else name))
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    self._owners[id(parameter)].append(f"{path}.{name}" if path else name)
            for name, found in _list_references(module):
                self._strays[id(found)] = f"{path}.{name}" if path else name

    def list_slots(self, module: nn.Module) -> tuple[Slot, ...]:
        """List the places of a module; the model itself has none."""
        return tuple(self._slots[id(module)])

    def explain(self, module: nn.Module) -> str | None:
        """Say what speaks against taking a module out, or None where nothing does.

        Parameters
        ----------
        module : nn.Module
            One of the model.
        """
        if any(one is not None and nn.parameter.is_lazy(one) for one in module._parameters.values()):
            return "its weights have no shape yet: call the model once"
        if parametrize.is_parametrized(module) or "weight" in _list_computed(module):
            return (
                "its weight is computed by a parametrization, which is not covered:"
                " torch.nn.utils.parametrize.remove_parametrizations makes it plain"
            )
        if any(vars(module).get(name) for name in _STATE_HOOKS):
            return "it has hooks, which are not covered: the new layer would not have them"
        if is_touched(module):
            return "a method of its own was put on it, which the new layer would not have"
        stray = self._strays.get(id(module))
        if stray is not None:
            return f"{stray} refers to it from outside of the tree of modules, and would go on using it"
        parameters = {name: one for name, one in module._parameters.items() if one is not None}
        reasons = (self._explain_parameter(name, parameter) for name, parameter in parameters.items())
        return next((reason for reason in reasons if reason is not None), None)

    def _explain_parameter(self, name: str, parameter: nn.Parameter) -> str | None:
        owners = self._owners[id(parameter)]
        if len(owners) > 1:
            return f"its {name} is shared by {' and '.join(owners)}"
        if not is_plain_weight(parameter):
            return f"its {name} is a {type(parameter).__name__}, with code of its own"
        if parameter.is_meta:
            return f"its {name} is on the device meta and has no numbers"
        if not parameter.is_floating_point():
            return f"its {name} has dtype {parameter.dtype}, which is not a real floating-point one"
        return None


def _list_computed(module: nn.Module) -> set[str]:
    """Names of tensors that an old-style parametrisation (weight_norm, spectral_norm, pruning) computes."""
    return {
        name.removesuffix(ending)
        for name in (*module._parameters, *module._buffers)
        for ending in ("_orig", "_g")
        if name.endswith(ending)
    }


def _list_references(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Find modules in attributes and in containers that are not torch's."""
    for name, value in vars(module).items():
        if name in {"_modules", "_parameters", "_buffers"}:
            continue
        for found in _unpack(value):
            yield name, found


def _unpack(value: Any) -> Iterator[nn.Module]:
    if isinstance(value, nn.Module):
        yield value
    elif isinstance(value, (list, tuple, set)):
        yield from (one for one in value if isinstance(one, nn.Module))
    elif isinstance(value, dict):
        yield from (one for one in value.values() if isinstance(one, nn.Module))


def is_scripted(model: nn.Module) -> bool:
    """Whether a model, or a part of it, is TorchScript, which has no modules to replace."""
    return any(isinstance(module, torch.jit.ScriptModule) for module in model.modules())
