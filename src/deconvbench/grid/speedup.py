"""Which layers have interleaved timing: the table ``[speedup]`` of a grid.

A baseline, its equivalents (`twins`: other layers of the same function, of the baseline's kernel) and alternatives
(`rivals`: layers of another function), each setting, of which the kernel of the baseline is a part, once with
uncached and once with cached weights. Knows neither
the cases that are measured by themselves nor how anything is timed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from deconvbench.errors import GridError, quote, suggest
from deconvbench.grid.reading import check_upsamplers, read_axes, read_constraints, read_text
from deconvbench.records.case import CASE_FIELDS, Case
from deconvbench.upsamplers import get_upsampler

WEIGHTS = ("live", "frozen")
_KEYS = ("baseline", "kernel_size", "twins", "rivals", "weights", "axes", "constraints")
_LAYER_AXES = ("upsampler", "kernel_size")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedupGrid:
    """Layers whose timing is interleaved, and in which settings.

    Parameters
    ----------
    baseline : str
        The upsampler that all are compared with.
    kernel_size : tuple of int
        Of the baseline and its equivalents, which are compared kernel by kernel; empty for upsamplers without one.
    twins : tuple of str
        Upsamplers that compute what the baseline computes.
    rivals : mapping of str to tuple
        Axes ``upsampler`` and ``kernel_size`` of layers that compute something else; may be empty.
    weights : tuple of str
        ``live``: layers transform their weights in each call; ``frozen``: once, where they can, `forward` only.
    axes : mapping of str to tuple
        Values that replace those of the grid's axes.
    constraints : tuple of str or None
        Conditions on the settings in place of the grid's; None takes those.
    """

    baseline: str
    kernel_size: tuple[int, ...] = ()
    twins: tuple[str, ...] = ()
    rivals: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    weights: tuple[str, ...] = WEIGHTS
    axes: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    constraints: tuple[str, ...] | None = None

    @classmethod
    def from_dict(cls, data: Any, where: str) -> Self:
        """Check and build the table from what TOML gave.

        Parameters
        ----------
        data : object
            The table.
        where : str
            File and key, for messages.

        Raises
        ------
        GridError
            Naming file, key, value and what is allowed.
        """
        if not isinstance(data, Mapping):
            raise GridError(f"{where}: {quote(data)} is not a table with a baseline and its rivals")
        for key in data:
            if key not in _KEYS:
                hint = suggest(key, _KEYS)
                raise GridError(f"{where}.{key}: unknown key; the keys are {', '.join(_KEYS)}{hint}")
        if "baseline" not in data:
            raise GridError(f"{where}.baseline: missing; name the upsampler that the others are compared with")
        twins = _read_some(data.get("twins", []), "upsampler", f"{where}.twins")
        rivals = read_axes(data.get("rivals", {}), _LAYER_AXES, f"{where}.rivals")
        if rivals and "upsampler" not in rivals:
            raise GridError(f"{where}.rivals.upsampler: missing; name the upsamplers that kernel_size is for")
        if not twins and not rivals:
            raise GridError(f"{where}: needs twins or rivals to compare the baseline with")
        axes = read_axes(data.get("axes", {}), CASE_FIELDS, f"{where}.axes")
        for name in _LAYER_AXES:
            if name in axes:
                raise GridError(f"{where}.axes.{name}: comes from baseline, twins and rivals")
        conditions = data.get("constraints")
        return cls(
            baseline=read_text(data["baseline"], f"{where}.baseline"),
            kernel_size=_read_some(data.get("kernel_size", []), "kernel_size", where),
            twins=twins,
            rivals=rivals,
            weights=_read_weights(data.get("weights", list(WEIGHTS)), f"{where}.weights"),
            axes=axes,
            constraints=None if conditions is None else read_constraints(conditions, f"{where}.constraints"),
        )

    @classmethod
    def from_record(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild the table from what ``run.json`` holds of it."""
        values = dict(data)
        # runs of before had one kernel, or none
        kernels = values["kernel_size"]
        if kernels is None or isinstance(kernels, int):
            kernels = () if kernels is None else (kernels,)
        values["kernel_size"] = tuple(kernels)
        for name in ("rivals", "axes"):
            values[name] = {axis: tuple(entries) for axis, entries in values[name].items()}
        for name in ("twins", "weights", "constraints"):
            values[name] = None if values[name] is None else tuple(values[name])
        return cls(**values)

    def check_upsamplers(self, where: str) -> None:
        """Check that all upsamplers exist, and that those with a kernel get one.

        Parameters
        ----------
        where : str
            File and key, for messages.

        Raises
        ------
        GridError
            Naming the first that is wrong.
        """
        check_upsamplers([self.baseline], f"{where}.baseline")
        check_upsamplers(self.twins, f"{where}.twins")
        check_upsamplers(self.rivals.get("upsampler", ()), f"{where}.rivals.upsampler")
        for name in (self.baseline, *self.twins):
            if get_upsampler(name).has_kernel and not self.kernel_size:
                raise GridError(f"{where}.kernel_size: missing; {name} has a kernel")
        for name in self.rivals.get("upsampler", ()):
            if get_upsampler(name).has_kernel and "kernel_size" not in self.rivals:
                raise GridError(f"{where}.rivals.kernel_size: missing; {name} has a kernel")

    def list_upsamplers(self) -> tuple[str, ...]:
        """Name all upsamplers, the baseline first."""
        return (self.baseline, *self.twins, *self.rivals.get("upsampler", ()))

    def list_equivalents(self, setting: Case) -> tuple[str, ...]:
        """Name the equivalents of a setting: case ids of those that can have its kernel and scale.

        Parameters
        ----------
        setting : Case
            The baseline's case.
        """
        kernels = (setting.kernel_size,) if setting.kernel_size is not None else self.kernel_size or (None,)
        return _name_cases(setting, [(name, k) for name in self.twins for k in kernels])

    def list_alternatives(self, setting: Case) -> tuple[str, ...]:
        """Name the alternatives for a setting: case ids of those that can have its scale.

        Parameters
        ----------
        setting : Case
            The baseline's case.
        """
        kernels = self.rivals.get("kernel_size", (None,))
        return _name_cases(setting, [(name, k) for name in self.rivals.get("upsampler", ()) for k in kernels])


def _name_cases(setting: Case, layers: list[tuple[str, int | None]]) -> tuple[str, ...]:
    named = []
    for name, kernel_size in layers:
        spec = get_upsampler(name)
        kernel = kernel_size if spec.has_kernel else None
        if spec.unsupported_reason(kernel, setting.scale_factor) is None:
            named.append(replace(setting, upsampler=name, kernel_size=kernel).case_id)
    # upsamplers without a kernel meet themselves once per kernel size; the baseline is not its own alternative
    return tuple(case_id for case_id in dict.fromkeys(named) if case_id != setting.case_id)


def _read_some(values: Any, axis: str, where: str) -> tuple[Any, ...]:
    """Read any number of values of an axis, none included."""
    if values == []:
        return ()
    return read_axes({axis: values}, _LAYER_AXES, where)[axis]


def _read_weights(value: Any, where: str) -> tuple[str, ...]:
    entries = value if isinstance(value, list) else [value]
    if not entries or any(entry not in WEIGHTS for entry in entries):
        raise GridError(f"{where}: {quote(value)} is not a list of {' and '.join(WEIGHTS)}")
    return tuple(dict.fromkeys(entries))
