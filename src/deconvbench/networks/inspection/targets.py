"""From the name of a target to a network: ``pkg.mod:factory``, ``file.py:factory`` and ``.onnx`` files.

What is imported here is somebody else's code and may do anything; it is meant to run in a process of its own (see
`audit_main`). Nothing is unpickled.
"""

import functools
import importlib.util
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType

from torch import nn

from deconvbench.errors import UsageError, describe_failure, explain_os_error, quote
from deconvbench.networks.onnx import load_onnx
from deconvbench.system.imports import search_current_folder
from deconvbench.upsamplers.factories import find_attribute, import_factory, import_foreign, name_factory

_LABEL = "TARGET"
# a path, on whatever system, then the name of what builds the network
_IN_FILE = re.compile(r"(.+\.py):(\w+(?:\.\w+)*)", re.DOTALL)


def is_onnx(target: str) -> bool:
    """Whether a target is an ONNX file by its name."""
    return target.lower().endswith(".onnx")


def load_target(target: str) -> nn.Module:
    """Import or read a network.

    Parameters
    ----------
    target : str
        ``pkg.mod:factory`` with the current folder searched too, ``file.py:factory``, or the path of an ONNX file.
        The factory is a function or class that can be called without arguments, or a network.

    Returns
    -------
    nn.Module
        The network; an `OnnxModule` of a file.

    Raises
    ------
    UsageError
        If there is no such thing, it raises, or it gives something else than a network; in one line.
    """
    if is_onnx(target):
        return load_onnx(target)
    if in_file := _IN_FILE.fullmatch(target):
        found = _import_file(in_file[1], in_file[2])
    elif target.endswith(".py"):
        raise UsageError(
            f"{_LABEL}: {quote(target)} names no function; write {target}:NAME, the function, class or network"
            " in it"
        )
    else:
        search_current_folder([target.partition(":")[0]])
        if ":" not in target:
            raise UsageError(
                f"{_LABEL}: {quote(target)} is not of the form pkg.mod:factory, file.py:factory or file.onnx"
            )
        found, _ = import_factory(target, _LABEL)
    return _make_network(found, target)


def _import_file(path: str, attribute: str) -> object:
    """Import a Python file as a module of its own, which finds those beside it."""
    file = Path(path).absolute()
    try:
        file.stat()
    except OSError as error:
        raise UsageError(f"{_LABEL}: cannot read {quote(path)}: {explain_os_error(error)}") from error
    if not file.is_file():
        raise UsageError(f"{_LABEL}: cannot read {quote(path)}: not a regular file")
    name = file.stem
    if name in sys.modules or not name.isidentifier():
        name = "target_" + re.sub(r"\W", "_", name)
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UsageError(f"{_LABEL}: {quote(path)} cannot be imported")
    module, loader = importlib.util.module_from_spec(spec), spec.loader
    sys.modules[name] = module
    sys.path.insert(_find_third_party(), str(file.parent))

    def load() -> ModuleType:
        loader.exec_module(module)
        return module

    try:
        import_foreign(load)
    except UsageError as error:
        raise UsageError(f"{_LABEL}: cannot import {quote(path)}: {error}") from error
    return find_attribute(module, attribute, f"{_LABEL}: {quote(path)}")


def _find_third_party() -> int:
    """Position on the search path of what is installed: before it, but after the standard library."""
    return next((at for at, entry in enumerate(sys.path) if entry.endswith("-packages")), len(sys.path))


def _make_network(found: object, target: str) -> nn.Module:
    """Take a network as it is, or have it built."""
    if isinstance(found, nn.Module):
        return found
    if not callable(found):
        raise UsageError(
            f"{_LABEL}: {quote(target)} is {_name_kind(found)}; a network is needed, or a function or class that"
            " builds one"
        )
    if inspect.iscoroutinefunction(found):
        raise UsageError(f"{_LABEL}: {quote(target)} is an async function; one that returns a network is needed")
    _check_arguments(found, target)
    try:
        made = import_foreign(functools.partial(_call, found))
    except UsageError as error:
        raise UsageError(f"{_LABEL}: {quote(target)}: {error}") from error
    if isinstance(made, nn.Module):
        return made
    if isinstance(made, type) and issubclass(made, nn.Module):
        raise UsageError(f"{_LABEL}: {quote(target)} returns the class {made.__name__}, not a network of it")
    raise UsageError(f"{_LABEL}: {quote(target)} returns {_name_kind(made)}, not a torch.nn.Module")


def _call(factory: object) -> object:
    assert callable(factory)
    return factory()


def _check_arguments(factory: object, target: str) -> None:
    """Refuse what needs arguments, which a target cannot have."""
    assert callable(factory)
    try:
        signature = inspect.signature(factory)
    except Exception:  # noqa: BLE001 -- some callables written in C have none, and others' may raise
        return
    try:
        signature.bind()
    except TypeError as error:
        raise UsageError(
            f"{_LABEL}: {quote(target)}: {name_factory(factory)} takes {signature} but is called without any;"
            " name a function that builds it"
        ) from error


def _name_kind(value: object) -> str:
    try:
        kind = type(value).__name__
    except Exception as error:  # noqa: BLE001 -- whatever it is, its author wants to know
        return describe_failure(error)
    return "None" if value is None else f"of type {kind}"
