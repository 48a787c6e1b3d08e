"""Runs a scenario on a network and on its fused copy, and finds the first thing that differs.

Everything that can be seen from outside is compared: outputs, gradients of inputs, parameters and kept tensors,
buffers, attributes, what hooks saw, what was written into the input, errors, and the random numbers used.
"""

import itertools
import math
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from bench.fusion_fuzz.changes import Hands, apply_change
from bench.fusion_fuzz.programs import Program
from bench.fusion_fuzz.scenarios import Call, Change, Scenario
from deconvbench.errors import DeconvbenchError
from deconvbench.networks.fusion.rewriting import fuse

TOLERANCE = 1e-8
# what autograd says of a saved tensor that was written to
_IN_PLACE = "modified by an inplace operation"
# of both networks at once
_GLOBAL = {"global_hook", "patch_class"}
_numbers = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one network and scenario.

    Parameters
    ----------
    difference : str or None
        The first thing that differed; None where all was equal.
    fused : int
        How many places were fused.
    calls : int
        How many calls answered, rather than raising in both.
    """

    difference: str | None
    fused: int
    calls: int


def compare(program: Program, scenario: Scenario) -> Outcome:
    """Do the same to a network and to its fused copy.

    Parameters
    ----------
    program : Program
        The network.
    scenario : Scenario
        What is done with it.

    Returns
    -------
    Outcome
    """
    with ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pair = _Pair(*(Hands(net=build(program).train(scenario.is_training), undo=stack) for _ in range(2)))
        for change in scenario.before:
            # what a network does not allow, neither of the two does
            pair.change(change)
        return _compare(program, scenario, pair)


class _Pair:
    """A network and the one that is fused, and what is done to both."""

    def __init__(self, plain: Hands, fused: Hands) -> None:
        self.both = (plain, fused)
        # of what is changed for the whole process
        self.shared = Hands(net=plain.net, undo=plain.undo)

    def change(self, step: Change) -> str | None:
        """Change both; say so if only one allows it."""
        if step.kind in _GLOBAL | {"unhook"}:
            self.shared.which = step.which
            apply_change(step.kind, self.shared)
        if step.kind in _GLOBAL:
            return None
        errors = []
        for hands in self.both:
            hands.which = step.which
            errors.append(_attempt(partial(apply_change, step.kind, hands)))
        if (errors[0] is None) != (errors[1] is None):
            return f"{step.kind}: the network {_describe(errors[0])}, its fused copy {_describe(errors[1])}"
        return None


def _compare(program: Program, scenario: Scenario, pair: _Pair) -> Outcome:
    plain, fused = pair.both
    example = _make_input(_EXAMPLE, program) if scenario.has_example else None
    try:
        report = fuse(fused.net, example, inplace=True, cache_weights=scenario.caches_weights)
    except DeconvbenchError as error:
        return Outcome(difference=f"fuse: {error}", fused=0, calls=0)
    except Exception as error:  # noqa: BLE001 -- what the network itself raises is no difference
        is_own = example is not None and _attempt(partial(plain.net.eval(), example)) is not None
        difference = None if is_own else f"fuse: {type(error).__name__}: {error}"
        return Outcome(difference=difference, fused=0, calls=0)
    fused.net, calls = report.model, 0
    for number, step in enumerate(scenario.steps):
        if isinstance(step, Change):
            difference = pair.change(step)
        else:
            seen = [_observe(hands, step, program) for hands in pair.both]
            difference = _find_difference(*seen)
            calls += "error" not in seen[0]
        if difference is not None:
            return Outcome(difference=f"step {number}: {difference}", fused=len(report.changed), calls=calls)
    return Outcome(difference=None, fused=len(report.changed), calls=calls)


_EXAMPLE = Call(
    batch=2,
    height=6,
    width=5,
    gradients="no_grad",
    context="",
    layout="contiguous",
    loss="squares",
    is_leaf=False,
    seed=9,
)


def build(program: Program) -> nn.Module:
    """Build a network in double precision, with the same weights each time.

    Parameters
    ----------
    program : Program
        The network.
    """
    module = types.ModuleType(f"fuzzed_{next(_numbers)}")
    exec(compile(program.source, module.__name__, "exec"), vars(module))
    torch.manual_seed(0)
    net: nn.Module = module.Network()
    return net.double()


def _make_input(call: Call, program: Program) -> Tensor:
    generator = torch.Generator().manual_seed(call.seed)
    shape = (call.batch, program.channels, call.height, call.width)
    x = torch.randn(shape, dtype=torch.float64, generator=generator)
    if call.layout == "channels_last":
        x = x.contiguous(memory_format=torch.channels_last)
    elif call.layout == "transposed":
        x = x.transpose(2, 3).contiguous().transpose(2, 3)
    elif call.layout == "sliced":
        x = torch.cat([x, x], 3)[..., ::2]
    elif call.layout == "expanded":
        x = x[:, :, :1].expand(shape)
    return x.requires_grad_(call.is_leaf)


def _describe(error: Exception | None) -> str:
    return "allows it" if error is None else f"raises {type(error).__name__}: {str(error).splitlines()[:1]}"


def _attempt(function: Callable[[], Any]) -> Exception | None:
    try:
        function()
    except Exception as error:  # noqa: BLE001 -- to be compared with that of the other network
        return error
    return None


class _Silent(TorchFunctionMode):
    """Somebody else's mode, which changes nothing."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


@contextmanager
def _enter_context(call: Call) -> Iterator[None]:
    with ExitStack() as stack:
        if call.gradients == "no_grad":
            stack.enter_context(torch.no_grad())
        elif call.gradients == "inference":
            stack.enter_context(torch.inference_mode())
        if call.context == "autocast":
            stack.enter_context(torch.autocast("cpu", torch.bfloat16))
        elif call.context == "default_device":
            stack.enter_context(torch.device("meta"))
        elif call.context == "default_dtype":
            stack.callback(torch.set_default_dtype, torch.get_default_dtype())
            torch.set_default_dtype(torch.float16)
        elif call.context == "saved_tensors_hooks":
            stack.enter_context(torch.autograd.graph.saved_tensors_hooks(lambda x: x.clone(), lambda x: x))
        elif call.context == "deterministic":
            stack.callback(torch.use_deterministic_algorithms, torch.are_deterministic_algorithms_enabled())
            torch.use_deterministic_algorithms(True)
        elif call.context == "mode":
            stack.enter_context(_Silent())
        yield


def _observe(hands: Hands, call: Call, program: Program) -> dict[str, Any]:
    """Make a call, and list what can be seen of it by name."""
    net = hands.net
    x = _make_input(call, program)
    net.zero_grad()
    hands.log.clear()
    for module in net.modules():
        vars(module).pop("kept", None)
    torch.manual_seed(3)
    given = x if call.is_leaf else x.clone()
    try:
        with _enter_context(call):
            output = net(given * 1 if call.is_leaf and call.gradients == "recorded" else given)
        seen: dict[str, Any] = {"output": _copy(output), "type": _list_types(output)}
        seen["random"] = torch.rand(1)
        if call.gradients == "recorded":
            _differentiate(net, output, call)
    except Exception as error:  # noqa: BLE001 -- to be compared with that of the other network
        return {"error": error}
    if call.gradients == "recorded":
        seen["input gradient"] = _copy(x.grad)
        seen["gradients"] = {name: _copy(parameter.grad) for name, parameter in net.named_parameters()}
        seen["kept gradients"] = [_copy(tensor.grad) for tensor in _list_kept(net) if tensor.retains_grad]
    seen["input"] = _copy(given)
    seen["kept"] = [_copy(tensor) for tensor in _list_kept(net)]
    seen["buffers"] = {name: _copy(buffer) for name, buffer in net.named_buffers()}
    seen["attributes"] = [(vars(module).get("steps"), vars(module).get("mean")) for module in net.modules()]
    seen["log"] = list(hands.log)
    return seen


def _list_kept(net: nn.Module) -> list[Tensor]:
    kept = [vars(module).get("kept") for module in net.modules()]
    return [leaf for leaf in pytree.tree_leaves(kept) if isinstance(leaf, Tensor)]


def _list_types(output: Any) -> list[str]:
    return [
        f"{type(leaf).__name__} {tuple(leaf.shape)} {leaf.dtype} {leaf.requires_grad}"
        for leaf in pytree.tree_leaves(output)
    ]


def _copy(value: Any) -> Any:
    return pytree.tree_map(lambda leaf: leaf.detach().clone() if isinstance(leaf, Tensor) else leaf, value)


def _differentiate(net: nn.Module, output: Any, call: Call) -> None:
    tensors = [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)]
    if call.loss == "kept":
        tensors += _list_kept(net)
    tensors = [tensor for tensor in tensors if tensor.requires_grad]
    if not tensors:
        return
    loss = sum(tensor.square().mean() for tensor in tensors)
    assert isinstance(loss, Tensor)
    if call.loss == "weights_only":
        weights = [parameter for parameter in net.parameters() if parameter.requires_grad]
        if weights:
            found = torch.autograd.grad(loss, weights, allow_unused=True)
            for parameter, gradient in zip(weights, found, strict=True):
                parameter.grad = gradient
        return
    if call.loss == "twice":
        loss.backward(retain_graph=True)  # type: ignore[no-untyped-call] # torch has no types here
    loss.backward()  # type: ignore[no-untyped-call] # as above


def _find_difference(plain: dict[str, Any], fused: dict[str, Any]) -> str | None:
    if "error" in plain or "error" in fused:
        # what the fast form does not save may be written to, where the plain form raises
        if "error" in plain and ("error" in fused or _IN_PLACE in str(plain["error"])):
            return None
        name = "the network raises" if "error" in plain else "the fused network raises"
        error = plain.get("error") or fused.get("error")
        return f"{name} {type(error).__name__}: {error}"
    for name, expected in plain.items():
        difference = _differ(expected, fused[name])
        if difference is not None:
            return f"{name}: {difference}"
    return None


def _differ(expected: Any, found: Any) -> str | None:
    ours, theirs = pytree.tree_leaves(expected), pytree.tree_leaves(found)
    if len(ours) != len(theirs):
        return f"{len(theirs)} values instead of {len(ours)}"
    for one, other in zip(ours, theirs, strict=True):
        if isinstance(one, Tensor) and isinstance(other, Tensor):
            if one.shape != other.shape or one.dtype != other.dtype:
                return f"{tuple(other.shape)} {other.dtype} instead of {tuple(one.shape)} {one.dtype}"
            largest = one.abs().nan_to_num().max().item() if one.numel() else 0.0
            if not torch.allclose(one, other, rtol=0.0, atol=TOLERANCE * max(largest, 1e-3), equal_nan=True):
                return f"off by {(one - other).abs().max().item():.1e} of {largest:.1e}"
        elif isinstance(one, float) and isinstance(other, float):
            if abs(one - other) > TOLERANCE * max(abs(one), 1.0) and not math.isnan(one):
                return f"{other} instead of {one}"
        elif one != other:
            return f"{other} instead of {one}"
    return None
