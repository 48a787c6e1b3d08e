"""Deciding which modules of a model get which class, and what to say about the rest.

With an example: from what was seen. Without: from containers and from the code of forward passes,
which only says where it is worth watching. Changes nothing, and runs no code of the model.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeGuard

import torch
from torch import nn

from deconvbench.networks.fusion.calls import UpsampleCall
from deconvbench.networks.fusion.chains import Chain, find_chain, is_upsampling, read_upsampling
from deconvbench.networks.fusion.deconvolution import find_way
from deconvbench.networks.fusion.expressions import name_resizing
from deconvbench.networks.fusion.modules import Fused, FusedConvTranspose2d, FusedScope, find_fused
from deconvbench.networks.fusion.observation import Fusion, Observation
from deconvbench.networks.fusion.originals import ENTRY
from deconvbench.networks.fusion.reading import explain_code, names_convolution, read_forward
from deconvbench.networks.fusion.report import Change, Left
from deconvbench.networks.fusion.sequential import FusedSequential
from deconvbench.networks.fusion.signals import may_pay
from deconvbench.networks.fusion.strips import find_strip_chain, flatten, is_flattened
from deconvbench.upsamplers.fast.deconvolution.shape import read_shape

_PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel)


@dataclass(slots=True)
class FusionPlan:
    """What to do with a model.

    Parameters
    ----------
    kinds : dict of str to type
        The kind of `Fused` module that each path becomes.
    changed, watched : list of Change
        What to say about those.
    left : list of Left
        What to say about the rest.
    in_strips : list of Change
        What to say about what is computed in row strips where memory is short.
    """

    kinds: dict[str, type[Fused]] = field(default_factory=dict)
    changed: list[Change] = field(default_factory=list)
    watched: list[Change] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    in_strips: list[Change] = field(default_factory=list)

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

    def watch(self, path: str, was: str, now: str) -> None:
        """Say that it will show whether something is changed, once."""
        change = Change(path=path, was=was, now=now)
        if change not in self.watched:
            self.watched.append(change)

    def sort(self, paths: Iterable[str]) -> None:
        """Put what is said into an order."""
        order = {path: number for number, path in enumerate(paths)}
        # a shared module has more paths than one
        for changes in (self.changed, self.watched):
            changes.sort(key=lambda change: order.get(change.path, len(order)))
        self.left.sort(key=lambda left: order.get(left.path, len(order)))


def explain_module(module: nn.Module) -> str | None:  # noqa: PLR0911 -- one return for each reason
    """Say why the calls of a module cannot be changed, or None where they can."""
    if isinstance(module, torch.jit.ScriptModule):
        return "TorchScript is compiled already"
    if isinstance(module, _PARALLEL) or type(module).__name__ == "FullyShardedDataParallel":
        return f"{type(module).__name__} holds copies of its own: fuse the model before it is wrapped"
    if _is_compiled(module):
        return 'it is compiled: use torch.compile(..., backend="deconvbench") instead'
    if "forward" in vars(module):
        return "its forward was replaced on the instance"
    if ENTRY in vars(module) and find_fused(module) is None:
        return "its call was replaced on the instance"
    if any(_is_compiled(child) for child in module.modules()):
        return 'a part of it is compiled: use torch.compile(..., backend="deconvbench") instead'
    if any(isinstance(child, _PARALLEL) for child in module.modules()):
        return "a part of it is wrapped for parallel work: fuse before wrapping"
    return None


def explain_watching(module: nn.Module) -> str | None:
    """Say why the forward pass of a module cannot be watched, or None where it can."""
    objection = explain_module(module)
    return explain_code(module) if objection is None else objection


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
    found = [(fusion, *_find_home(fusion, modules)) for fusion in seen.fusions]
    wrong = {home for fusion, home, _ in found if not fusion.relative_error <= tolerances.get(fusion.dtype, 0)}
    for fusion, home, kind in found:
        what = _describe(fusion, modules)
        if isinstance(kind, str):
            plan.leave(fusion.path, what, kind)
        elif home in wrong:
            plan.leave(fusion.path, what, f"differs by {fusion.relative_error:.1e} of the largest value")
        elif find_fused(modules[home]) is None:
            if plan.kinds.setdefault(home, kind) is not kind:
                # it does what the other does
                plan.kinds[home] = FusedScope
            plan.change(fusion.path, what, f"{_name_result(fusion.kernel_size)}, in {home or 'the model'}")
    for upsampling in seen.upsamplings:
        if not upsampling.is_fused:
            reason = "; ".join(upsampling.reasons) or "nothing reads its output"
            plan.leave(upsampling.frames[-1].path, upsampling.what, reason)
    _leave_missed(plan, seen, modules)
    _plan_transposed(plan, modules)
    plan.sort(modules)
    return plan


def plan_strips(plan: FusionPlan, model: nn.Module, max_memory: int | None) -> None:
    """Find what may be computed in row strips, outermost containers first, and the kinds that do so.

    Parameters
    ----------
    plan : FusionPlan
        Changed: containers that have no kind yet get one.
    model : nn.Module
        The model.
    max_memory : int or None
        The limit for which it is done; with None nothing is.
    """
    flattened: set[int] = set()
    for path, module in model.named_modules() if max_memory is not None else ():
        kind = plan.kinds.get(path)
        if kind is FusedScope:
            what = "upsampling and convolution in its forward"
            plan.in_strips.append(Change(path=path, was=what, now="in row strips, each pair by itself"))
            continue
        is_open = explain_module(module) is None and find_fused(module) is None
        if not _is_plain_sequential(module) or not is_open:
            continue
        flattened |= {id(child) for child in module if is_flattened(child)}
        if id(module) in flattened:
            continue
        children, index = flatten(module), 0
        while index < len(children):
            chain = find_strip_chain(children, index)
            if chain is not None:
                plan.kinds[path] = FusedSequential
                names = [type(child).__name__ for child in children[chain.start : chain.stop]]
                what = f"{names[0]} to {names[-1]}, {len(names)} modules"
                plan.in_strips.append(Change(path=path, was=what, now="in row strips"))
            index = index + 1 if chain is None else chain.stop


def _find_home(fusion: Fusion, modules: dict[str, nn.Module]) -> tuple[str, type[Fused] | str]:
    """Find the innermost module around a fusion that can be changed, and its kind; or why there is none."""
    objections = []
    for path in reversed(fusion.around):
        module = modules[path]
        is_chained = explain_module(module) is None and _is_chained(module, fusion, modules)
        objection = None if is_chained or find_fused(module) is not None else explain_watching(module)
        if objection is None:
            return path, FusedSequential if is_chained else FusedScope
        objections.append(objection)
    return "", objections[0]


def _leave_missed(plan: FusionPlan, seen: Observation, modules: dict[str, nn.Module]) -> None:
    """Name the upsampling modules that the example does not run, outside of modules that are watched."""
    reached = {frame.path for upsampling in seen.upsamplings for frame in upsampling.frames}
    for path, module in modules.items():
        if path in reached or not _is_upsampling_like(module):
            continue
        holders = [start for start in modules if not start or path.startswith(f"{start}.")]
        if not any(start in plan.kinds or find_fused(modules[start]) is not None for start in holders):
            plan.leave(path, _name_module(module), "the example does not reach it")


def _describe(fusion: Fusion, modules: dict[str, nn.Module]) -> str:
    upsampled = " and ".join(f"by {scale} (in {path or 'the model'})" for path, scale in fusion.upsampled)
    joined = ", concatenation" if fusion.is_joined else ""
    conv, size = modules[fusion.path], str(fusion.kernel_size)
    if not isinstance(conv, nn.Conv1d):
        size = f"{size}×{size}"
    return f"nearest-neighbour upsampling {upsampled}{joined}, then {type(conv).__name__} {size}"


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
    if _is_upsampling_like(model):
        plan.leave("", _name_module(model), "no convolution is near")
    for path, module in modules.items():
        if find_fused(module) is not None:
            continue
        if _is_plain_sequential(module):
            _plan_sequential(plan, path, module, modules)
            continue
        _plan_forward(plan, path, modules)
        for name, child in module.named_children():
            if _is_upsampling_like(child):
                _plan_upsampling(plan, _join_path(path, name), child, path, modules)
    _plan_transposed(plan, modules)
    plan.sort(modules)
    return plan


def _plan_sequential(
    plan: FusionPlan, path: str, sequential: nn.Sequential, modules: dict[str, nn.Module]
) -> None:
    names, children = list(sequential._modules), list(sequential)
    stop = 0
    for index, child in enumerate(children):
        own = _join_path(path, names[index])
        if index < stop or not _is_upsampling_like(child):
            continue
        is_last = index == len(children) - 1
        start = _cut_path(path) if is_last else path
        if not is_upsampling(child):
            _plan_upsampling(plan, own, child, start, modules)
            continue
        chain = find_chain(children, index)
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
            plan.leave(own, _name_module(child), chain.reason)
        else:
            _plan_scope(plan, own, _name_module(child), chain.reason, start, modules)


def _plan_forward(plan: FusionPlan, path: str, modules: dict[str, nn.Module]) -> None:
    module = modules[path]
    mode = read_forward(module)
    if mode is not None and mode != "nearest":
        plan.leave(path, "upsampling in its forward", f"its code names mode {mode}")
    elif mode is not None:
        _plan_scope(plan, path, "upsampling in its forward", "no convolution is near", path, modules)


def _is_upsampling_like(module: nn.Module) -> bool:
    """Whether a module upsamples as torch's own modules do, or is derived from them."""
    return isinstance(module, nn.Upsample)


def _name_module(module: nn.Module) -> str:
    """Name an upsampling module, and what it is where it does not make images larger."""
    call = UpsampleCall(image=None, size=None, scale_factor=getattr(module, "scale_factor", None), mode=None)
    name = name_resizing(call)
    return type(module).__name__ if name == "upsampling" else f"{type(module).__name__} ({name})"


def _plan_upsampling(
    plan: FusionPlan, path: str, module: nn.Module, start: str | None, modules: dict[str, nn.Module]
) -> None:
    scale = read_upsampling(module) if is_upsampling(module) else None
    if isinstance(scale, str) and getattr(module, "size", None) is None:
        plan.leave(path, _name_module(module), scale)
    else:
        _plan_scope(plan, path, _name_module(module), "no convolution is near", start, modules)


def _plan_scope(
    plan: FusionPlan, path: str, what: str, reason: str, start: str | None, modules: dict[str, nn.Module]
) -> None:
    """Watch the innermost module, from `start` outwards, that has convolutions."""
    objections = []
    while start is not None:
        module = modules[start]
        # containers that are never called have no forward of their own
        is_called = type(module).forward is not nn.Module.forward
        if is_called and any(_convolves(child) for child in module.modules()):
            objection = None if find_fused(module) is not None else explain_watching(module)
            if objection is None:
                break
            objections.append(objection)
        start = _cut_path(start)
    if start is None:
        plan.leave(path, what, objections[0] if objections else reason)
    elif find_fused(modules[start]) is None:
        plan.kinds[start] = FusedScope
        name = start or "the model"
        plan.watch(path, what, f"watched as {name} runs, and fused with a convolution after it, if there is one")


def _convolves(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv1d):
        return may_pay(module)
    return isinstance(module, (nn.Conv2d, nn.Conv3d)) or names_convolution(module)


def _plan_transposed(plan: FusionPlan, modules: dict[str, nn.Module]) -> None:
    for path, module in modules.items():
        if isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose3d)):
            plan.leave(
                path,
                _describe_transposed(module),
                "only those of rows and columns (ConvTranspose2d) have a faster form",
            )
            continue
        if type(module) is not nn.ConvTranspose2d or find_fused(module) is not None:
            continue
        size, scale = module.kernel_size[0], module.stride[0]
        what = f"ConvTranspose2d {size}×{size}, stride {scale}"
        objection = explain_module(module)
        way, reason = find_way(read_shape(module), module.in_channels) if objection is None else (None, objection)
        if way is None:
            plan.leave(path, what, reason)
        else:
            plan.kinds[path] = FusedConvTranspose2d
            plan.change(path, what, way)


def _describe_transposed(module: nn.ConvTranspose1d | nn.ConvTranspose3d) -> str:
    name = f"ConvTranspose{len(module.kernel_size)}d"
    size, stride = ("×".join(map(str, numbers)) for numbers in (module.kernel_size, module.stride))
    return f"{name} {size}, stride {stride}"


def _name_result(kernel_size: int) -> str:
    return "convolved before it is upsampled" if kernel_size == 1 else "one fast resize-convolution"


def _join_path(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _cut_path(path: str) -> str | None:
    """Find the path of the module that holds another; None above the model."""
    return path.rpartition(".")[0] if path else None
