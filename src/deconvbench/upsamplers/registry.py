"""The list of known upsamplers: one private dict, one decorator.

A registration says what an upsampler is (linear? shift-equivariant? which kernels and scales?); the test matrix
and the artifact metrics read these declarations, so an exemption that is not declared fails. Upsamplers of other
packages arrive through the entry-point group ``deconvbench.upsamplers`` or as ``pkg.mod:factory``; a package that
cannot be imported is reported once, by the logger, and affects no other upsampler.
"""

import functools
import logging
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from torch import nn

from deconvbench.arguments import is_text
from deconvbench.errors import UnsupportedError, UsageError, quote, suggest
from deconvbench.records.case import NAME_PATTERN, check_field
from deconvbench.upsamplers.factories import (
    check_factory,
    check_signature,
    digest_module,
    find_source,
    import_factory,
    import_foreign,
    name_factory,
)

ENTRY_POINT_GROUP = "deconvbench.upsamplers"

_OUR_NAME = __name__.partition(".")[0]
_LOGGER = logging.getLogger(__name__)

# kernel_size is an int, or None for an upsampler without a kernel: typed Any, because `has_kernel` decides which
# (in_channels, out_channels, kernel_size, scale_factor) -> layer
Factory = Callable[[int, int, Any, int], nn.Module]
# (in_channels, out_channels, kernel_size, scale_factor, height, width) of one image -> multiply-accumulates
MacCount = Callable[[int, int, Any, int, int, int], int]
# (in_channels, out_channels, kernel_size, scale_factor) -> code that builds it, ending in a variable `layer`
Code = Callable[[int, int, Any, int], str]
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
    code : callable or None
        ``(in_channels, out_channels, kernel_size, scale_factor)`` to the code that builds the layer, as a reader
        may paste it (`deconvbench.upsamplers.torch_code`); None: a call of the factory or of `build_upsampler`.
    module : str
        The module that registered it.
    package : str
        Name and version of the package whose entry point brought it; empty otherwise.
    digest : str
        Of the source of its module when it was registered; empty for those of this package.
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
    code: Code | None = None
    module: str = ""
    package: str = ""
    digest: str = ""

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
# entry points that could not be loaded, by name, with the reason
_BROKEN: dict[str, str] = {}


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
    code: Code | None = None,
) -> Callable[[Factory], Factory]:
    """Decorate a function or class so that the grid knows it by name.

    Parameters
    ----------
    name : str
        Lower-case letters, digits and underscores.
    summary, formula, macs_formula, reference, linear, shift_equivariant, has_kernel, objection, macs, code
        See `UpsamplerSpec`.

    Returns
    -------
    callable
        A decorator that returns what it decorates, unchanged.

    Raises
    ------
    UsageError
        If the name is not well formed or already taken, a description is not a text, or what it decorates cannot
        be called to build a layer.

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
    if not is_text(name) or not NAME_PATTERN.fullmatch(name):
        raise UsageError(f"upsampler: {quote(name)} is not a name in lower case such as nearest_conv")

    texts = {"summary": summary, "formula": formula, "macs_formula": macs_formula, "reference": reference}
    for field, text in texts.items():
        if not isinstance(text, str):
            raise UsageError(f"upsampler: {name!r}: {field} is {text!r}, not text")
    for field, value in {"objection": objection, "macs": macs, "code": code}.items():
        if value is not None and not callable(value):
            raise UsageError(f"upsampler: {name!r}: {field} is {quote(value)}, not a function")
    module = str(sys._getframe(1).f_globals["__name__"])  # of the caller: what to import to have it registered

    def decorate(factory: Factory) -> Factory:
        check_factory(factory, name)
        if name in _REGISTRY:
            raise UsageError(
                f"upsampler: {name!r} is already registered by {name_factory(_REGISTRY[name].factory)}; the"
                " decorator register_upsampler gives it another name"
            )
        _REGISTRY[name] = UpsamplerSpec(
            name=name,
            factory=factory,
            **texts,
            linear=linear,
            shift_equivariant=shift_equivariant,
            has_kernel=has_kernel,
            objection=objection,
            macs=macs,
            code=code,
            module=module,
            digest=_digest_foreign(module),
        )
        return factory

    return decorate


def _digest_foreign(module: str) -> str:
    return "" if module.partition(".")[0] == _OUR_NAME else digest_module(module)


@functools.cache
def _find_entry_points() -> list[EntryPoint]:
    """List what installed packages offer; `_load_entry_points` empties the list first."""
    return list(entry_points(group=ENTRY_POINT_GROUP))


def _load_entry_points() -> None:
    waiting = list(_find_entry_points())
    _find_entry_points().clear()  # a look-up from within an import gets what is registered by then
    for entry in waiting:
        package = "a package without metadata" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
        known = set(_REGISTRY)
        try:
            _register_object(import_foreign(entry.load), entry.name)
        except UsageError as error:
            reason = f"entry point {entry.name!r} of {package} ({entry.value}) cannot be loaded: {error}"
            _BROKEN[entry.name] = reason
            _LOGGER.warning("deconvbench: %s", reason)
        for name in _REGISTRY.keys() - known:
            _REGISTRY[name] = replace(_REGISTRY[name], package=_REGISTRY[name].package or package)


def _register_object(factory: Any, name: str) -> str:
    """Register a factory under a name, unless its own decorator did so on import."""
    for spec in _REGISTRY.values():
        if spec.factory is factory:
            return spec.name
    register_upsampler(name)(factory)
    return name


def load_upsampler(path: str) -> str:
    """Import ``pkg.mod:factory`` and register it, unless its decorator or an entry point did so.

    Parameters
    ----------
    path : str
        Module and attribute, with a colon between.

    Returns
    -------
    str
        The name under which the grid knows it: the name it registers itself under, or that of an entry point, or
        the attribute's own in lower case.

    Raises
    ------
    UsageError
        If the path is malformed, cannot be imported or is not callable.
    """
    _load_entry_points()  # first: which name it gets must not depend on who asked for it before
    name = _register_object(*import_factory(path))
    digest = _REGISTRY[name].digest or _digest_foreign(path.partition(":")[0])
    _REGISTRY[name] = replace(_REGISTRY[name], digest=digest)
    return name


def list_sources(names: Iterable[str]) -> tuple[str, ...]:
    """Say how another process finds upsamplers that a script or notebook registered in this one.

    Parameters
    ----------
    names : iterable of str
        Names in the registry.

    Returns
    -------
    tuple of str
        For each that a decorator registered outside of this package and of entry points, ``pkg.mod:factory``, as
        `load_upsampler` takes it.

    Raises
    ------
    UsageError
        If one is unknown, or no other process can import it, because it was registered in ``__main__`` or is no
        attribute of the module that registered it.
    """
    sources = []
    for name in dict.fromkeys(names):
        spec = get_upsampler(name)
        if spec.package or spec.module.partition(".")[0] == _OUR_NAME:
            continue
        source = find_source(spec.factory, spec.module)
        if source is None:
            raise UsageError(
                f"upsampler: {name!r} is {name_factory(spec.factory)}, registered in {spec.module}, where the"
                " process that measures cannot find it; write it at the top level of a module and import that"
            )
        sources.append(source)
    return tuple(sources)


def list_upsamplers() -> dict[str, UpsamplerSpec]:
    """Return every known upsampler by name; the dict is a copy."""
    _load_entry_points()
    return dict(_REGISTRY)


def list_broken_upsamplers() -> dict[str, str]:
    """Return the entry points that could not be loaded, by name, each with the reason; the dict is a copy."""
    _load_entry_points()
    return dict(_BROKEN)


def get_upsampler(name: str) -> UpsamplerSpec:
    """Look an upsampler up.

    Parameters
    ----------
    name : str
        Name in the registry.

    Raises
    ------
    UsageError
        If it is unknown; the message lists the known ones, or says why it cannot be loaded.
    """
    known = list_upsamplers()
    if not is_text(name):
        raise UsageError(f"upsampler: {quote(name)} is not the name of one")
    if name in known:
        return known[name]
    if name in _BROKEN:
        raise UsageError(f"upsampler: {name!r} is broken: {_BROKEN[name]}")
    broken = f"; not loaded: {', '.join(sorted(_BROKEN))}" if _BROKEN else ""
    raise UsageError(
        f"upsampler: {quote(name)} is unknown; known are {', '.join(sorted(known))}{broken}{suggest(name, known)}"
    )


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
        If the name is unknown, a number is below 1, `kernel_size` is missing or too many, the factory does not
        take these four arguments in this order, or what was built is not a module.
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
    check_signature(spec.factory, name)
    layer = spec.factory(in_channels, out_channels, kernel_size, scale_factor)
    if not isinstance(layer, nn.Module):
        raise UsageError(f"upsampler: {name!r} built a {type(layer).__name__}, not an nn.Module")
    return layer
