"""Reading the code of a class for enlargements, where there is no example to run.

Only says where it is worth watching; nothing is decided by what is found here. Runs no code of the model.
"""

import functools
from collections.abc import Iterator
from types import CodeType, FunctionType, MethodType
from typing import Any

from torch import nn
from torch.fx import GraphModule
from torch.nn import functional

from deconvbench.networks.fusion.calls import NEAREST

_NAMES = frozenset({"interpolate", "upsample", "upsample_nearest"})
_OTHER_MODES = frozenset({"linear", "bilinear", "bicubic", "trilinear", "area", "lanczos"})
_FUNCTIONS = (functional.interpolate, functional.upsample, functional.upsample_nearest)
# helpers of helpers of helpers: deep enough for any decoder, and certain to end
_DEPTH = 4


def read_forward(module: nn.Module) -> str | None:
    """Find whether the forward pass of a module itself may enlarge, by its code.

    Parameters
    ----------
    module : nn.Module
        Any; its children are not looked at.

    Returns
    -------
    str or None
        ``nearest`` or the other mode that its code names; None if it enlarges nothing.
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
