"""Reading the code of forward passes, without running it: whether it upsamples, or can tell what is not computed.

What is found decides where it is worth watching, and where watching would be noticed.
"""

import dis
import functools
import sys
from collections.abc import Iterable, Iterator
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule
from torch.nn import functional
from torch.nn.modules.module import _global_forward_hooks, _global_forward_pre_hooks

from deconvbench.networks.fusion.calls import NEAREST
from deconvbench.networks.fusion.originals import is_code_of_torch

_NAMES = frozenset({"interpolate", "upsample", "upsample_nearest"})
_CLASSES = (nn.Upsample, nn.UpsamplingNearest2d)
_CLASS_NAMES = frozenset(cls.__name__ for cls in _CLASSES)
# of torch's own operations, and of what each axis is repeated by
_OPERATIONS, _REPETITION = frozenset({"upsample_nearest2d", "_upsample_nearest_exact2d"}), "repeat_interleave"
_OTHER_MODES = frozenset({"linear", "bilinear", "bicubic", "trilinear", "area", "lanczos"})
_FUNCTIONS = (functional.interpolate, functional.upsample, functional.upsample_nearest)
_KNOWN = (*_FUNCTIONS, torch.conv2d)
# these read an address from beneath torch's Python interface, where what is not computed cannot be found
_ADDRESS_NAMES = frozenset({"to_dlpack", "_to_dlpack", "_to_dlpack_versioned"})
_ADDRESS_FUNCTIONS = tuple(getattr(torch._C, name) for name in sorted(_ADDRESS_NAMES) if hasattr(torch._C, name))
# helpers of helpers of helpers: deep enough for any decoder, and certain to end
_DEPTH = 4
# a missed question is a wrong answer, a missed upsampling is only a slow one
_DEPTH_OF_QUESTIONS = 12


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
    if _is_of_torch(type(module).__module__) and not isinstance(module, GraphModule):
        return None
    own = [value for value in vars(module).values() if not isinstance(value, nn.Module)]
    reached = [*_reach((type(module).forward, *own), type(module), _DEPTH)]
    if not any(value in _FUNCTIONS or _upsamples(value) for value in reached):
        return None
    codes = [value.__code__ for value in reached if isinstance(value, FunctionType)]
    words = {constant for code in codes for constant in _find_words(code)}
    others = sorted(words & _OTHER_MODES)
    return others[0] if others and words.isdisjoint(NEAREST) else "nearest"


def names_convolution(module: nn.Module) -> bool:
    """Whether the code of a module itself names ``conv2d``, so that it may convolve without a child.

    Parameters
    ----------
    module : nn.Module
        Any; its children are not looked at.
    """
    if _is_of_torch(type(module).__module__) and not isinstance(module, GraphModule):
        return False
    own = [value for value in vars(module).values() if not isinstance(value, nn.Module)]
    reached = _reach((type(module).forward, *own), type(module), _DEPTH)
    return any(
        value is torch.conv2d or (isinstance(value, FunctionType) and "conv2d" in _find_names(value.__code__))
        for value in reached
    )


def _upsamples(function: Any) -> bool:
    if not isinstance(function, FunctionType):
        return False
    names = set(_find_names(function.__code__))
    known = [function.__globals__[name] for name in names if name in function.__globals__]
    # an attribute of such a name may be anything
    calls = bool(names & _NAMES) and ("functional" in names or functional in known)
    makes = bool(names & _CLASS_NAMES) and (nn in known or torch in known or any(cls in known for cls in _CLASSES))
    return bool(calls or makes or names & _OPERATIONS or _repeats_twice(function))


def _repeats_twice(function: FunctionType) -> bool:
    """Whether code repeats along two axes, as an upsampling does; along one it is rather something else."""
    steps = [step for code in _list_codes(function.__code__) for step in dis.get_instructions(code)]
    return len([step for step in steps if step.argval == _REPETITION and step.opname != "LOAD_CONST"]) > 1


def explain_code(module: nn.Module) -> str | None:
    """Say why the code of a module or its descendants would notice an upsampled tensor that is not computed yet.

    Such a tensor is an instance of ``torch.Tensor``, but its exact type is another, and it has no address.

    Parameters
    ----------
    module : nn.Module
        Any; its code, its hooks and its helpers are read.

    Returns
    -------
    str or None
        The name of the function, and what it does: asks for the exact type of anything but the module itself, or
        hands out an address.
    """
    seen: set[CodeType] = set()
    roots: list[tuple[type | None, list[Any]]] = [
        (None, [*_global_forward_hooks.values(), *_global_forward_pre_hooks.values()])
    ]
    for child in module.modules():
        if not isinstance(child, torch.jit.ScriptModule):
            own = [value for value in vars(child).values() if not isinstance(value, nn.Module)]
            roots.append((type(child), [type(child).forward, type(child).__call__, *own, *_list_hooks(child)]))
    for owner, values in roots:
        for value in _reach(values, owner, _DEPTH_OF_QUESTIONS, is_wide=True):
            if value in _ADDRESS_FUNCTIONS:
                return _explain_address(type(module).__name__ if owner is None else owner.__name__)
            if value not in _KNOWN and value.__code__ not in seen:
                seen.add(value.__code__)
                codes = list(_list_codes(value.__code__))
                if any(_asks(code) for code in codes):
                    return (
                        f"{value.__qualname__} asks for the exact type of something, and an upsampled tensor that"
                        " is not computed yet has another"
                    )
                if any(not _ADDRESS_NAMES.isdisjoint(code.co_names) for code in codes):
                    return _explain_address(value.__qualname__)
    return None


def _explain_address(name: str) -> str:
    return (
        f"{name} calls to_dlpack, which an upsampled tensor that is not computed yet has no memory for;"
        " torch.from_dlpack would compute it"
    )


def list_forwards(module: nn.Module) -> list[Any]:
    """List the forward passes and hooks of a module and its descendants: other ones may ask other questions.

    Parameters
    ----------
    module : nn.Module
        Any.
    """
    # those of all modules too
    found: list[Any] = [*_global_forward_hooks.values(), *_global_forward_pre_hooks.values()]
    _collect(module, found)
    return found


def _collect(module: nn.Module, found: list[Any]) -> None:
    if isinstance(module, torch.jit.ScriptModule):
        return
    found.append(type(module).forward)
    own = vars(module)
    if "forward" in own:
        found.append(own["forward"])
    if own["_forward_hooks"] or own["_forward_pre_hooks"]:
        found.extend(_list_hooks(module))
    for child in own["_modules"].values():
        if child is not None:
            _collect(child, found)


def _list_hooks(module: nn.Module) -> list[Any]:
    return [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]


def _reach(values: Iterable[Any], owner: type | None, depth: int, *, is_wide: bool = False) -> Iterator[Any]:
    """Find the functions that values are, and those that their code names, each once; of torch only the first."""
    seen: set[int] = set()
    # what is near comes first, so that nothing near is cut off by the depth
    level = [(value, owner) for value in values]
    for _ in range(depth):
        following: list[tuple[Any, type | None]] = []
        for value, own in level:
            function = _unwrap(value)
            if is_wide and isinstance(value, FunctionType) and "__wrapped__" in vars(value):
                # the decorator's own code too
                following.append((vars(value)["__wrapped__"], own))
                function = value
            if function is None and is_wide:
                following.extend(_open(value))
                continue
            if function is None or id(function) in seen:
                continue
            seen.add(id(function))
            if function in _KNOWN or function in _ADDRESS_FUNCTIONS:
                yield function
            elif isinstance(function, FunctionType) and not is_code_of_torch(function):
                yield function
                following.extend(_list_named(function, own, is_wide=is_wide))
        level = following


def _list_named(function: FunctionType, owner: type | None, *, is_wide: bool) -> Iterator[tuple[Any, type | None]]:
    """List what the code of a function names: of its closure, of its module, and methods of its class."""
    # what a test runner has added to the code has other names
    names = {name for name in _find_names(function.__code__) if name.isidentifier()}
    cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    known = [function.__globals__[name] for name in names if name in function.__globals__]
    for value in (*cells, *known):
        yield value, owner
        if is_wide and (isinstance(value, type) or _is_module_of_others(value)):
            of = value if isinstance(value, type) else None
            yield from ((found, of) for name in names if (found := vars(value).get(name)) is not None)
    # of all its bases, for super() may mean any of them
    for cls in () if owner is None else owner.__mro__:
        for name in names & vars(cls).keys():
            method = vars(cls)[name]
            method = method.fget if isinstance(method, property) else _unwrap(method)
            if isinstance(method, FunctionType):
                yield method, owner


def _open(value: Any) -> Iterator[tuple[Any, type | None]]:
    """List the methods of a class or an object that run when it is called."""
    cls = value if isinstance(value, type) else type(value)
    names = ("__init__", "__new__", "forward") if isinstance(value, type) else ("__call__", "__torch_function__")
    # not of the standard library, which knows tensors only by what they do
    if _is_of_torch(cls.__module__) or cls.__module__.partition(".")[0] in sys.stdlib_module_names:
        return
    for name in names:
        method = vars(cls).get(name)
        method = method.__func__ if isinstance(method, (staticmethod, classmethod)) else method
        if isinstance(method, FunctionType):
            yield method, cls


def _is_module_of_others(value: Any) -> bool:
    if not isinstance(value, ModuleType):
        return False
    return not _is_of_torch(value.__name__) and value.__name__.partition(".")[0] not in sys.stdlib_module_names


def _is_of_torch(name: str | None) -> bool:
    return name is not None and (name == "torch" or name.startswith("torch."))


def _unwrap(value: Any) -> Any:
    while True:
        if isinstance(value, functools.partial):
            value = value.func
        elif isinstance(value, (MethodType, staticmethod, classmethod)):
            value = value.__func__
        elif isinstance(value, FunctionType) and hasattr(value, "__wrapped__"):
            value = value.__wrapped__
        else:
            # what cannot be compared is not a function
            is_function = callable(value) and not isinstance(value, type) and hasattr(value, "__name__")
            return value if is_function else None


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        # assigned later
        return False


def _list_codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _list_codes(constant)


def _find_names(code: CodeType) -> Iterator[str]:
    for own in _list_codes(code):
        yield from own.co_names


def _find_words(code: CodeType) -> Iterator[str]:
    for own in _list_codes(code):
        yield from (constant for constant in own.co_consts if isinstance(constant, str))


def _asks(code: CodeType) -> bool:
    """Whether code uses ``type`` or ``__class__`` of anything but ``self``."""
    if "type" not in code.co_names and "__class__" not in code.co_names:
        return False
    own = code.co_varnames[0] if code.co_argcount and code.co_varnames[0] == "self" else None
    steps = [step for step in dis.get_instructions(code) if step.opname not in {"CACHE", "PUSH_NULL", "PRECALL"}]
    for before, step, after in zip([None, *steps], steps, [*steps[1:], None], strict=False):
        if step.argval == "type" and step.opname in {"LOAD_GLOBAL", "LOAD_NAME"}:
            neighbour = after
        elif step.argval == "__class__" and step.opname in {"LOAD_ATTR", "LOAD_METHOD"}:
            neighbour = before
        else:
            continue
        is_own = neighbour is not None and neighbour.opname.startswith("LOAD_FAST") and neighbour.argval == own
        if own is None or not is_own:
            return True
    return False
