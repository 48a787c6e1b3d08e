"""The list of known upsamplers: one private dict, one decorator.

A registration says what an upsampler is (linear? shift-equivariant? which kernels and scales?); the test matrix
and the artifact metrics read these declarations, so an exemption that is not declared fails. Upsamplers of other
packages arrive through the entry-point group ``deconvbench.upsamplers`` or as ``pkg.mod:factory``.
"""

import functools
import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from torch import nn

from deconvbench.case import NAME_PATTERN, check_field
from deconvbench.errors import UnsupportedError, UsageError

ENTRY_POINT_GROUP = "deconvbench.upsamplers"

# kernel_size is an int, or None for an upsampler without a kernel: typed Any, because `has_kernel` decides which
# (in_channels, out_channels, kernel_size, scale_factor) -> layer
Factory = Callable[[int, int, Any, int], nn.Module]
# (in_channels, out_channels, kernel_size, scale_factor, height, width) of one image -> multiply-accumulates
MacCount = Callable[[int, int, Any, int, int, int], int]
# (kernel_size, scale_factor) -> why it cannot be built, or None
Objection = Callable[[Any, int], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpsamplerSpec:
    """What the registry knows about an upsampler.

    Parameters
    ----------
    name : str
        What cases, tables and figures call it.
    factory : callable
        ``(in_channels, out_channels, kernel_size, scale_factor) -> nn.Module``.
    summary : str
        One line: what it computes.
    formula : str
        The same in symbols: x is the input, k the kernel size, s the scale.
    macs_formula : str
        Multiply-accumulates per output pixel in units of C_in·C_out; other units are named.
    reference : str
        The paper or the article's figure it comes from.
    linear : bool
        Linear in its input once its bias is zero; metrics that need it are null otherwise.
    shift_equivariant : bool
        Moving the input by one pixel moves the output by the scale (away from borders).
    has_kernel : bool
        False for an upsampler without a kernel: its `kernel_size` is None.
    objection : callable or None
        ``(kernel_size, scale_factor)`` to the reason why it cannot be built, or None where it can.
    macs : callable or None
        Exact multiply-accumulates of one image; None: counted with torch's flop counter.
    """

    name: str
    factory: Factory
    summary: str = ""
    formula: str = ""
    macs_formula: str = ""
    reference: str = ""
    linear: bool = False
    shift_equivariant: bool = False
    has_kernel: bool = True
    objection: Objection | None = None
    macs: MacCount | None = None

    def unsupported_reason(self, kernel_size: int | None, scale_factor: int) -> str | None:
        """Say why this kernel and scale cannot be built, or None where they can.

        Parameters
        ----------
        kernel_size : int or None
            Kernel size k.
        scale_factor : int
            Scale s.
        """
        return None if self.objection is None else self.objection(kernel_size, scale_factor)


_REGISTRY: dict[str, UpsamplerSpec] = {}


def register_upsampler(
    name: str,
    *,
    summary: str = "",
    formula: str = "",
    macs_formula: str = "",
    reference: str = "",
    linear: bool = False,
    shift_equivariant: bool = False,
    has_kernel: bool = True,
    objection: Objection | None = None,
    macs: MacCount | None = None,
) -> Callable[[Factory], Factory]:
    """Decorate a function or class so that the grid knows it by name.

    Parameters
    ----------
    name : str
        Lower-case letters, digits and underscores.
    summary, formula, macs_formula, reference, linear, shift_equivariant, has_kernel, objection, macs
        See `UpsamplerSpec`.

    Returns
    -------
    callable
        A decorator that returns what it decorates, unchanged.

    Raises
    ------
    UsageError
        If the name is not well formed or already taken.

    Examples
    --------
    >>> from torch import nn
    >>> @register_upsampler("doctest_nearest", linear=True, shift_equivariant=True)
    ... def build(in_channels, out_channels, kernel_size, scale_factor):
    ...     return nn.Sequential(
    ...         nn.Upsample(scale_factor=scale_factor),
    ...         nn.Conv2d(in_channels, out_channels, kernel_size, padding="same"),
    ...     )
    """
    if not NAME_PATTERN.fullmatch(name):
        raise UsageError(f"upsampler: {name!r} is not a name in lower case such as nearest_conv")

    def decorate(factory: Factory) -> Factory:
        if name in _REGISTRY:
            raise UsageError(f"upsampler: {name!r} is already registered by {_REGISTRY[name].factory!r}")
        _REGISTRY[name] = UpsamplerSpec(
            name=name,
            factory=factory,
            summary=summary,
            formula=formula,
            macs_formula=macs_formula,
            reference=reference,
            linear=linear,
            shift_equivariant=shift_equivariant,
            has_kernel=has_kernel,
            objection=objection,
            macs=macs,
        )
        return factory

    return decorate


@functools.cache
def _load_entry_points() -> None:
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        try:
            found = entry.load()
        except (ImportError, AttributeError) as error:
            raise UsageError(f"entry point {ENTRY_POINT_GROUP}: cannot load {entry.value!r}: {error}") from error
        _register_object(found, entry.name)


def _register_object(factory: object, name: str) -> str:
    """Register a factory under a name, unless its own decorator did so on import."""
    for spec in _REGISTRY.values():
        if spec.factory is factory:
            return spec.name
    if not callable(factory):
        raise UsageError(f"upsampler: {name!r} is {type(factory).__name__}, not a function or class")
    register_upsampler(name)(factory)
    return name


def load_upsampler(path: str) -> str:
    """Import ``pkg.mod:factory`` and register it.

    Parameters
    ----------
    path : str
        Module and attribute, with a colon between.

    Returns
    -------
    str
        The name under which the grid knows it: the name it registers itself under, or the attribute's own in
        lower case.

    Raises
    ------
    UsageError
        If the path is malformed, cannot be imported or is not callable.
    """
    module_name, _, attribute = path.partition(":")
    if not re.fullmatch(r"\w+(\.\w+)*:\w+(\.\w+)*", path):
        raise UsageError(f"--upsampler: {path!r} is not of the form pkg.mod:factory")
    try:
        found: object = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except ImportError as error:
        raise UsageError(f"--upsampler: cannot import {module_name!r}: {error}") from error
    except AttributeError as error:
        raise UsageError(f"--upsampler: {module_name!r} has no {attribute!r}") from error
    return _register_object(found, attribute.rpartition(".")[2].lower())


def list_upsamplers() -> dict[str, UpsamplerSpec]:
    """Return every known upsampler by name; the dict is a copy."""
    _load_entry_points()
    return dict(_REGISTRY)


def get_upsampler(name: str) -> UpsamplerSpec:
    """Look an upsampler up.

    Parameters
    ----------
    name : str
        Name in the registry.

    Raises
    ------
    UsageError
        If it is unknown; the message lists the known ones.
    """
    known = list_upsamplers()
    if name not in known:
        raise UsageError(f"upsampler: {name!r} is unknown; known are {', '.join(sorted(known))}")
    return known[name]


def build_upsampler(
    name: str, in_channels: int, out_channels: int, kernel_size: int | None, scale_factor: int
) -> nn.Module:
    """Build a layer.

    Parameters
    ----------
    name : str
        Name in the registry.
    in_channels, out_channels, kernel_size, scale_factor
        See `UpsamplerSpec.factory`.

    Returns
    -------
    nn.Module
        Maps (N, in_channels, H, W) to (N, out_channels, s·H, s·W).

    Raises
    ------
    UsageError
        If the name is unknown, a number is below 1, `kernel_size` is missing or too many, or what was built is
        not a module.
    UnsupportedError
        If this upsampler cannot have that kernel or scale; the message says why.
    """
    spec = get_upsampler(name)
    check_field("in_channels", in_channels)
    check_field("out_channels", out_channels)
    check_field("kernel_size", kernel_size)
    check_field("scale_factor", scale_factor)
    if spec.has_kernel != (kernel_size is not None):
        allowed = "has a kernel: give a whole number" if spec.has_kernel else "has no kernel: give None"
        raise UsageError(f"kernel_size: {kernel_size!r}: {name} {allowed}")
    reason = spec.unsupported_reason(kernel_size, scale_factor)
    if reason is not None:
        raise UnsupportedError(reason)
    layer = spec.factory(in_channels, out_channels, kernel_size, scale_factor)
    if not isinstance(layer, nn.Module):
        raise UsageError(f"upsampler: {name!r} built a {type(layer).__name__}, not an nn.Module")
    return layer
