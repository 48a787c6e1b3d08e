"""Third-party factories: importing them, naming them, and refusing what is not a factory.

A factory is called with `ARGUMENTS`, by position, and builds a layer. Every refusal is a `UsageError` whose one
line helps the factory's author.
"""

import functools
import hashlib
import importlib
import inspect
import re
import sys
from collections.abc import Callable

from torch import nn

from deconvbench.arguments import is_text
from deconvbench.errors import UsageError, describe_failure, quote

# what a factory is called with, by position
ARGUMENTS = ("in_channels", "out_channels", "kernel_size", "scale_factor")


def import_foreign(load: Callable[[], object]) -> object:
    """Import third-party code, whose module may raise anything at all.

    Parameters
    ----------
    load : callable
        Does the import.

    Returns
    -------
    object
        What `load` returned.

    Raises
    ------
    UsageError
        Whatever it raised; the message names it and the line of their file.
    """
    try:
        return load()
    except (Exception, SystemExit) as error:
        raise UsageError(describe_failure(error)) from error


def import_factory(path: str, label: str = "--upsampler") -> tuple[object, str]:
    """Import ``pkg.mod:factory``.

    Parameters
    ----------
    path : str
        Module and attribute, which may be dotted, with a colon between.
    label : str
        What it was given for, for the message.

    Returns
    -------
    object
        The attribute, whatever it is.
    str
        A name for it: the attribute's last part in lower case.

    Raises
    ------
    UsageError
        If the path is malformed or cannot be imported.
    """
    if not is_text(path) or not re.fullmatch(r"\w+(\.\w+)*:\w+(\.\w+)*", path):
        raise UsageError(f"{label}: {quote(path)} is not of the form pkg.mod:factory")
    module_name, _, attribute = path.partition(":")
    try:
        found = import_foreign(functools.partial(importlib.import_module, module_name))
    except UsageError as error:
        raise UsageError(f"{label}: cannot import {module_name!r}: {error}") from error
    return find_attribute(found, attribute, f"{label}: {module_name!r}"), attribute.rpartition(".")[2].lower()


def find_attribute(module: object, attribute: str, where: str) -> object:
    """Find an attribute of a module that was imported.

    Parameters
    ----------
    module : object
        The module.
    attribute : str
        Its name, which may be dotted.
    where : str
        The module and what it was given for, for the message.

    Raises
    ------
    UsageError
        If there is none, or the module's own ``__getattr__`` raises.
    """
    found = module
    try:
        for part in attribute.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        raise UsageError(f"{where} has no {attribute!r}") from error
    except Exception as error:
        raise UsageError(f"{where} has no {attribute!r}: {describe_failure(error)}") from error
    return found


def name_factory(factory: object) -> str:
    """Name a factory ``pkg.mod:factory``, or by its looks where it has no such name.

    Parameters
    ----------
    factory : object
        Usually a function or class.
    """
    name = getattr(factory, "__qualname__", None)
    return f"{getattr(factory, '__module__', None)}:{name}" if name else repr(factory)


def find_source(factory: object, module: str) -> str | None:
    """Say as what another process can import a factory from a module that was imported here.

    Parameters
    ----------
    factory : object
        Usually a function or class.
    module : str
        The module's full name.

    Returns
    -------
    str or None
        ``pkg.mod:factory``; None where no attribute of the module is this factory, or the module is ``__main__``,
        which is another one in another process.
    """
    if module == "__main__":
        return None
    attributes = vars(sys.modules[module]) if module in sys.modules else {}
    return next((f"{module}:{name}" for name, value in attributes.items() if value is factory), None)


def digest_module(name: str) -> str:
    """Digest the source of a module that was imported, as it is now.

    Parameters
    ----------
    name : str
        Its full name.

    Returns
    -------
    str
        Twelve hexadecimal digits; empty where it has no file.
    """
    spec = getattr(sys.modules.get(name), "__spec__", None)
    read = getattr(getattr(spec, "loader", None), "get_data", None)
    if spec is None or read is None or not spec.has_location:
        return ""
    try:
        content: bytes = read(spec.origin)
    except OSError:
        return ""
    return hashlib.sha256(content).hexdigest()[:12]


def check_factory(factory: object, upsampler_name: str) -> None:
    """Refuse what cannot be called to build a layer.

    Parameters
    ----------
    factory : object
        What is to be registered.
    upsampler_name : str
        Under this name, for the message.

    Raises
    ------
    UsageError
        If it is not callable, or a layer itself.
    """
    if isinstance(factory, nn.Module):
        raise UsageError(
            f"upsampler: {upsampler_name!r} is a {type(factory).__name__} that is built already, not a function or"
            f" class that builds one from ({', '.join(ARGUMENTS)})"
        )
    if not callable(factory):
        raise UsageError(f"upsampler: {upsampler_name!r} is {type(factory).__name__}, not a function or class")


def check_signature(factory: Callable[..., object], upsampler_name: str) -> None:
    """Refuse a factory that cannot be called with `ARGUMENTS`, or that has them in another order.

    Parameters
    ----------
    factory : callable
        Not called.
    upsampler_name : str
        Its name, for the message.

    Raises
    ------
    UsageError
        The message tells what it takes and what it is called with.
    """
    try:
        # what is called is the wrapper, whatever it wraps
        signature = inspect.signature(factory, follow_wrapped=False)
    except (TypeError, ValueError):  # some callables written in C have none
        return
    try:
        given = tuple(signature.bind(*ARGUMENTS).arguments)
    except TypeError:
        given = ()
    if not given or (given != ARGUMENTS and set(given) == set(ARGUMENTS)):
        raise UsageError(
            f"upsampler: {upsampler_name!r}: {name_factory(factory)} takes {signature}, but is called with"
            f" ({', '.join(ARGUMENTS)}), in this order"
        )
