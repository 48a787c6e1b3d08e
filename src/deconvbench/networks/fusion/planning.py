"""Deciding which modules of a model get which class, and what to say about the rest.

With an example: from what was seen. Without: from containers and from the code of forward passes,
which only says where it is worth watching. Changes nothing, and runs no code of the model.
"""

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import CodeType, FunctionType, MethodType
from typing import Any, TypeGuard

import torch
from torch import nn
from torch.fx import GraphModule
from torch.nn import functional

from deconvbench.networks.fusion.calls import NEAREST
from deconvbench.networks.fusion.conversion import explain_transposed, read_shape
from deconvbench.networks.fusion.modules import Fused, FusedConvTranspose2d, FusedScope
from deconvbench.networks.fusion.observation import Fusion, Observation
from deconvbench.networks.fusion.report import Change, Left
from deconvbench.networks.fusion.sequential import (
    Chain,
    FusedSequential,
    find_chain,
    is_upsampling,
    read_upsampling,
)

_PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel)


@dataclass(slots=True)
class FusionPlan:
    """What to do with a model.

    Parameters
    ----------
    kinds : dict of str to type
        The kind of `Fused` module that each path becomes.
    changed : list of Change
        What to say about those.
    left : list of Left
        What to say about the rest.
    """

    kinds: dict[str, type[Fused]] = field(default_factory=dict)
    changed: list[Change] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)

    def leave(self, path: str, what: str, reason: str) -> None:
        """Say that something is left alone, once."""
        left = Left(path=path, what=what, reason=reason)
        if left not in self.left:
            self.left.append(left)

    def change(self, path: str, was: str, now: str) -> None:
        """Say that something is changed, once."""
        change = Change(path=path, was=was, now=now)
        if change not in self.changed:
            self.changed.append(change)

    def sort(self, paths: Iterable[str]) -> None:
        """Put what is said into an order."""
        order = {path: number for number, path in enumerate(paths)}
        # a shared module has more paths than one
        self.changed.sort(key=lambda change: order.get(change.path, len(order)))
        self.left.sort(key=lambda left: order.get(left.path, len(order)))


def explain_module(module: nn.Module) -> str | None:  # noqa: PLR0911 -- one return for each reason
    """Say why a module cannot get another class, or None where it can."""
    if isinstance(module, torch.jit.ScriptModule):
        return "TorchScript is compiled already"
    if isinstance(module, _PARALLEL) or type(module).__name__ == "FullyShardedDataParallel":
        return f"{type(module).__name__} holds copies of its own: fuse the model before it is wrapped"
    if _is_compiled(module):
        return 'it is compiled: use torch.compile(..., backend="deconvbench") instead'
    if "forward" in vars(module):
        return "its forward was replaced on the instance"
    if any(_is_compiled(child) for child in module.modules()):
        return 'a part of it is compiled: use torch.compile(..., backend="deconvbench") instead'
    if any(isinstance(child, _PARALLEL) for child in module.modules()):
        return "a part of it is wrapped for parallel work: fuse before wrapping"
    return None


def _is_compiled(module: nn.Module) -> bool:
    return hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None


def plan_observed(model: nn.Module, seen: Observation, tolerances: Mapping[torch.dtype, float]) -> FusionPlan:
    """Make the plan from what a run has shown.

    Parameters
    ----------
    model : nn.Module
        The model; one that can get another class.
    seen : Observation
        What was seen.
    tolerances : mapping
        Relative error that a convolution may have, by dtype of its output.
    """
    plan = FusionPlan()
    modules = dict(model.named_modules())
    homes = [_find_home(fusion, modules) for fusion in seen.fusions]
    wrong = {
        home
        for home, fusion in zip(homes, seen.fusions, strict=True)
        if not fusion.relative_error <= tolerances.get(fusion.dtype, 0)
    }
    for home, fusion in zip(homes, seen.fusions, strict=True):
        what = _describe(fusion, modules)
        if home in wrong:
            plan.leave(fusion.path, what, f"differs by {fusion.relative_error:.1e} of the largest value")
        elif not isinstance(modules[home], Fused):
            kind = FusedSequential if _is_chained(modules[home], fusion, modules) else FusedScope
            if plan.kinds.setdefault(home, kind) is not kind:
                # it does what the other does
                plan.kinds[home] = FusedScope
            plan.change(fusion.path, what, f"{_name_result(fusion.kernel_size)}, in {home or 'the model'}")
    for upsampling in seen.upsamplings:
        if not upsampling.is_fused:
            path = upsampling.frames[-1].path
            what = f"nearest-neighbour upsampling by {upsampling.scale}" if upsampling.scale else "upsampling"
            plan.leave(path, what, "; ".join(upsampling.reasons) or "nothing reads its output")
    _plan_transposed(plan, modules)
    plan.sort(modules)
    return plan


def _find_home(fusion: Fusion, modules: dict[str, nn.Module]) -> str:
    """Find the innermost module around a fusion that can be watched; the model itself can."""
    return next(path for path in reversed(fusion.around) if explain_module(modules[path]) is None)


def _describe(fusion: Fusion, modules: dict[str, nn.Module]) -> str:
    upsampled = " and ".join(f"by {scale} (in {path or 'the model'})" for path, scale in fusion.upsampled)
    joined = ", concatenation" if fusion.is_joined else ""
    name = type(modules[fusion.path]).__name__
    return (
        f"nearest-neighbour upsampling {upsampled}{joined}, then {name} {fusion.kernel_size}×{fusion.kernel_size}"
    )


def _is_plain_sequential(module: nn.Module) -> TypeGuard[nn.Sequential]:
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _is_chained(module: nn.Module, fusion: Fusion, modules: dict[str, nn.Module]) -> bool:
    if not _is_plain_sequential(module):
        return False
    children = list(module)
    chains = [find_chain(children, index) for index, child in enumerate(children) if is_upsampling(child)]
    return any(isinstance(chain, Chain) and chain.conv is modules[fusion.path] for chain in chains)


def plan_unseen(model: nn.Module) -> FusionPlan:
    """Make the plan from containers and code alone."""
    plan = FusionPlan()
    modules = dict(model.named_modules())
    for path, module in modules.items():
        if isinstance(module, Fused):
            continue
        if _is_plain_sequential(module):
            _plan_sequential(plan, path, module, modules)
        elif not isinstance(module, (nn.ModuleList, nn.ModuleDict)):
            _plan_forward(plan, path, modules)
    _plan_transposed(plan, modules)
    plan.sort(modules)
    return plan


def _plan_sequential(
    plan: FusionPlan, path: str, sequential: nn.Sequential, modules: dict[str, nn.Module]
) -> None:
    names, children = list(sequential._modules), list(sequential)
    stop = 0
    for index, child in enumerate(children):
        if index < stop or not is_upsampling(child):
            continue
        chain = find_chain(children, index)
        own = _join_path(path, names[index])
        if isinstance(chain, Chain):
            stop = chain.stop
            objection = explain_module(modules[path])
            scale = chain.match.pieces[0].scale
            size = chain.match.kernel_size
            what = f"nearest-neighbour upsampling by {scale} (in {own}), then Conv2d {size}×{size}"
            if objection is None:
                plan.kinds.setdefault(path, FusedSequential)
                plan.change(
                    _join_path(path, names[stop - 1]), what, f"{_name_result(size)}, in {path or 'the model'}"
                )
            else:
                plan.leave(own, what, objection)
        elif chain.is_certain:
            plan.leave(own, type(child).__name__, chain.reason)
        else:
            is_last = index == len(children) - 1
            _plan_scope(
                plan, own, type(child).__name__, chain.reason, _cut_path(path) if is_last else path, modules
            )


def _plan_forward(plan: FusionPlan, path: str, modules: dict[str, nn.Module]) -> None:
    module = modules[path]
    mode = read_forward(module)
    if mode is not None and mode != "nearest":
        plan.leave(path, "upsampling in its forward", f"its code names mode {mode}")
    elif mode is not None:
        _plan_scope(plan, path, "upsampling in its forward", "no convolution is near", path, modules)
    held = [(f"{name}.{key}", kid) for name, child in module.named_children() for key, kid in _list(child)]
    for name, child in (*module.named_children(), *held):
        if is_upsampling(child):
            scale = read_upsampling(child)
            if isinstance(scale, str) and getattr(child, "size", None) is None:
                plan.leave(_join_path(path, name), type(child).__name__, scale)
            else:
                own = _join_path(path, name)
                _plan_scope(plan, own, type(child).__name__, "no convolution is near", path, modules)


def _list(child: nn.Module) -> list[tuple[str, nn.Module]]:
    return list(child.named_children()) if isinstance(child, (nn.ModuleList, nn.ModuleDict)) else []


def _plan_scope(
    plan: FusionPlan, path: str, what: str, reason: str, start: str | None, modules: dict[str, nn.Module]
) -> None:
    """Watch the innermost module, from `start` outwards, that has convolutions."""
    objections = []
    while start is not None:
        module = modules[start]
        # containers that are never called have no forward of their own
        is_called = type(module).forward is not nn.Module.forward
        if is_called and any(isinstance(child, nn.Conv2d) for child in module.modules()):
            objection = explain_module(module)
            if isinstance(module, Fused) or objection is None:
                break
            objections.append(objection)
        start = _cut_path(start)
    if start is None:
        plan.leave(path, what, objections[0] if objections else reason)
    elif not isinstance(modules[start], Fused):
        plan.kinds[start] = FusedScope
        plan.change(path, what, f"watched as {start or 'the model'} runs, and fused with a convolution after it")


def _plan_transposed(plan: FusionPlan, modules: dict[str, nn.Module]) -> None:
    for path, module in modules.items():
        if type(module) is not nn.ConvTranspose2d:
            continue
        size, scale = module.kernel_size[0], module.stride[0]
        what = f"ConvTranspose2d {size}×{size}, stride {scale}"
        objection = explain_module(module) or explain_transposed(read_shape(module))
        if objection is None:
            plan.kinds[path] = FusedConvTranspose2d
            plan.change(path, what, "convolution and PixelShuffle, for float32 on a CPU")
        else:
            plan.leave(path, what, objection)


def _name_result(kernel_size: int) -> str:
    return "convolved before it is upsampled" if kernel_size == 1 else "one fast resize-convolution"


def _join_path(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _cut_path(path: str) -> str | None:
    """Find the path of the module that holds another; None above the model."""
    return path.rpartition(".")[0] if path else None


_NAMES = frozenset({"interpolate", "upsample", "upsample_nearest"})
_OTHER_MODES = frozenset({"linear", "bilinear", "bicubic", "trilinear", "area", "lanczos"})
_FUNCTIONS = (functional.interpolate, functional.upsample, functional.upsample_nearest)
# helpers of helpers of helpers: deep enough for any decoder, and certain to end
_DEPTH = 4


def read_forward(module: nn.Module) -> str | None:
    """Find whether the forward pass of a module itself may upsample, by its code.

    Parameters
    ----------
    module : nn.Module
        Any; its children are not looked at.

    Returns
    -------
    str or None
        ``nearest`` or the other mode that its code names; None if it upsamples nothing.
    """
    if type(module).__module__.startswith("torch.") and not isinstance(module, GraphModule):
        return None
    codes: dict[int, CodeType] = {}
    own = [value for value in vars(module).values() if not isinstance(value, nn.Module)]
    found = [_visit(value, type(module), codes, _DEPTH) for value in (type(module).forward, *own)]
    if not any(found):
        return None
    words = {constant for code in codes.values() for constant in _find_words(code)}
    others = sorted(words & _OTHER_MODES)
    return others[0] if others and words.isdisjoint(NEAREST) else "nearest"


def _visit(value: Any, owner: type, codes: dict[int, CodeType], depth: int) -> bool:
    function = _unwrap(value)
    if function in _FUNCTIONS:
        # what a partial function is given
        return True
    if not isinstance(function, FunctionType) or (function.__module__ or "").startswith("torch."):
        return False
    code = function.__code__
    if depth == 0 or id(code) in codes:
        return False
    codes[id(code)] = code
    names = set(_find_names(code))
    known = {name: function.__globals__[name] for name in names if name in function.__globals__}
    # an attribute of such a name may be anything
    found = bool(names & _NAMES) and ("functional" in names or functional in known.values())
    cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    methods = [getattr(owner, name) for name in names if isinstance(getattr(owner, name, None), FunctionType)]
    for other in (*cells, *known.values(), *methods):
        found = _visit(other, owner, codes, depth - 1) or found
    return found


def _unwrap(value: Any) -> Any:
    while True:
        if isinstance(value, functools.partial):
            value = value.func
        elif isinstance(value, MethodType):
            value = value.__func__
        elif isinstance(value, FunctionType) and hasattr(value, "__wrapped__"):
            value = value.__wrapped__
        else:
            # what cannot be compared is not a function
            return value if callable(value) and not isinstance(value, type) else None


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        # assigned later
        return False


def _find_names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _find_names(constant)


def _find_words(code: CodeType) -> Iterator[str]:
    for constant in code.co_consts:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, CodeType):
            yield from _find_words(constant)
