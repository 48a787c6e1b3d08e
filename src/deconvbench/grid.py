"""Grids: axes and constraints that expand into cases.

A grid is TOML. ``[axes]`` gives each field of a case its list of values; the cases are their product, less
those that a constraint excludes. ``[quality]`` adds layers whose artifacts are measured although nobody asks
for their cost (the heat maps of kernel × stride need them). Presets are grids kept in this package.
"""

import itertools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from deconvbench.case import CASE_DEFAULTS, CASE_FIELDS, Case, check_field
from deconvbench.errors import GridError, UsageError
from deconvbench.expressions import compile_constraint, compile_keyword
from deconvbench.upsamplers import get_upsampler

PRESETS = ("smoke", "quick", "article", "full", "selftest")

_REQUIRED_AXES = ("upsampler", "scale_factor", "in_channels", "height")
_QUALITY_AXES = ("upsampler", "kernel_size", "scale_factor")
_SETTINGS = ("name", "description", "replicates", "timeout_s", "time_cap_s", "constraints", "axes", "quality")

# one layer whose artifacts are measured: upsampler, kernel_size, scale_factor
Layer = tuple[str, int | None, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Axes and constraints, and how long to measure each case.

    Parameters
    ----------
    name : str
        What the run folder is called after.
    source : str
        File it was read from, for messages.
    axes : mapping of str to tuple
        Values of each field of `Case`. `width` defaults to the height, `out_channels` to `in_channels`, the
        others to the defaults of `Case`.
    constraints : tuple of str
        Conditions that every case must meet, see `expressions.compile_constraint`.
    replicates : int
        Passes over the cases, each in a fresh process.
    timeout_s : float
        Seconds after which a case counts as hanging.
    time_cap_s : float
        Seconds of sampling per case and replicate at most.
    quality_axes : mapping of str to tuple
        Further layers whose artifacts are measured: `upsampler`, `kernel_size`, `scale_factor`.
    quality_seeds, quality_channels : int
        Seeds and channels of the artifact metrics.
    """

    name: str
    source: str
    axes: Mapping[str, tuple[Any, ...]]
    description: str = ""
    constraints: tuple[str, ...] = ()
    replicates: int = 3
    timeout_s: float = 120.0
    time_cap_s: float = 1.0
    quality_axes: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    quality_seeds: int = 8
    quality_channels: int = 16

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], source: str) -> Self:
        """Check and build a grid from what TOML gave.

        Parameters
        ----------
        data : mapping
            The parsed file.
        source : str
            The file's name, for messages.

        Raises
        ------
        GridError
            Naming file, key, value and what is allowed.
        """
        for key in data:
            if key not in _SETTINGS:
                raise GridError(f"{source}: {key}: unknown key; the keys are {', '.join(_SETTINGS)}")
        axes = _read_axes(data.get("axes", {}), CASE_FIELDS, f"{source}: axes")
        for name in _REQUIRED_AXES:
            if name not in axes:
                raise GridError(f"{source}: axes.{name}: missing; a grid needs {', '.join(_REQUIRED_AXES)}")
        constraints = _read_constraints(data.get("constraints", []), f"{source}: constraints")
        quality = dict(data.get("quality", {}))
        seeds = _read_whole(quality.pop("seeds", 8), f"{source}: quality.seeds")
        channels = _read_whole(quality.pop("channels", 16), f"{source}: quality.channels")
        quality_axes = _read_axes(quality, _QUALITY_AXES, f"{source}: quality")
        if quality_axes and set(quality_axes) != set(_QUALITY_AXES):
            raise GridError(f"{source}: quality: needs all of {', '.join(_QUALITY_AXES)} or none")
        return cls(
            name=_read_text(data.get("name", Path(source).stem), f"{source}: name"),
            source=source,
            description=_read_text(data.get("description", ""), f"{source}: description"),
            axes=axes,
            constraints=constraints,
            replicates=_read_whole(data.get("replicates", 3), f"{source}: replicates"),
            timeout_s=_read_positive(data.get("timeout_s", 120.0), f"{source}: timeout_s"),
            time_cap_s=_read_positive(data.get("time_cap_s", 1.0), f"{source}: time_cap_s"),
            quality_axes=quality_axes,
            quality_seeds=seeds,
            quality_channels=channels,
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything about the grid as plain data, for ``run.json``."""
        return asdict(self)

    @classmethod
    def from_record(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild a grid from what `to_dict` wrote into ``run.json``."""
        values = dict(data)
        for name in ("axes", "quality_axes"):
            values[name] = {axis: tuple(entries) for axis, entries in values[name].items()}
        return cls(**{**values, "constraints": tuple(values["constraints"])})

    def override(self, settings: Sequence[str]) -> "Grid":
        """Replace axes by ``AXIS=V,V`` as typed after ``--set``.

        Parameters
        ----------
        settings : sequence of str
            Each one axis and its values.

        Raises
        ------
        UsageError
            If a setting is malformed or its axis or values are not allowed.
        """
        axes = dict(self.axes)
        for setting in settings:
            name, equals, text = setting.partition("=")
            if not equals or not text:
                raise UsageError(f"--set: {setting!r} is not of the form AXIS=VALUE,VALUE")
            values = [_read_value(name, word) for word in text.split(",")]
            axes.update(_read_axes({name: values}, CASE_FIELDS, "--set"))
        return replace(self, axes=axes)

    def expand(self) -> list[Case]:
        """List the cases, in the order of the axes.

        Raises
        ------
        GridError
            If an upsampler is unknown, two cases are the same, or no case is left.
        """
        full = dict(self.axes)
        full.setdefault("kernel_size", (None,))
        for name, default in CASE_DEFAULTS.items():
            full.setdefault(name, (default,))
        _check_upsamplers(full["upsampler"], f"{self.source}: axes.upsampler")
        conditions = [compile_constraint(text, CASE_FIELDS) for text in self.constraints]
        names = [name for name in CASE_FIELDS if name in full]
        cases: dict[str, Case] = {}
        for combination in itertools.product(*(full[name] for name in names)):
            values = dict(zip(names, combination, strict=True))
            values.setdefault("width", values["height"])
            values.setdefault("out_channels", values["in_channels"])
            if not get_upsampler(values["upsampler"]).has_kernel:
                values["kernel_size"] = None
            elif values["kernel_size"] is None:
                raise GridError(f"{self.source}: axes.kernel_size: missing; {values['upsampler']} has a kernel")
            if all(condition(values) for condition in conditions):
                case = Case(**values)
                cases[case.case_id] = case  # layers without a kernel meet themselves once per kernel size
        if not cases:
            raise GridError(
                f"{self.source}: no case is left: the constraints exclude every combination of the axes"
            )
        return list(cases.values())

    def list_layers(self, cases: Sequence[Case]) -> list[Layer]:
        """List the layers whose artifacts are to be measured: those of the cases, then the quality axes'.

        Parameters
        ----------
        cases : sequence of Case
            The cases that will run.
        """
        layers = {(case.upsampler, case.kernel_size, case.scale_factor): None for case in cases}
        if self.quality_axes:
            _check_upsamplers(self.quality_axes["upsampler"], f"{self.source}: quality.upsampler")
            for name, kernel_size, scale_factor in itertools.product(
                *(self.quality_axes[a] for a in _QUALITY_AXES)
            ):
                layers[(name, kernel_size if get_upsampler(name).has_kernel else None, scale_factor)] = None
        return list(layers)


def _check_upsamplers(names: Sequence[str], where: str) -> None:
    for name in names:
        try:
            get_upsampler(name)
        except UsageError as error:
            raise GridError(f"{where}: {str(error).removeprefix('upsampler: ')}") from error


def _read_axes(data: Any, allowed: Sequence[str], where: str) -> dict[str, tuple[Any, ...]]:
    if not isinstance(data, Mapping):
        raise GridError(f"{where}: {data!r} is not a table of axes")
    axes = {}
    for name, values in data.items():
        key = f"{where}.{name}" if not where.startswith("--") else f"{where} {name}"
        if name not in allowed:
            raise GridError(f"{key}: unknown axis; the axes are {', '.join(allowed)}")
        entries = tuple(values) if isinstance(values, list | tuple) else (values,)
        if not entries:
            raise GridError(f"{key}: an axis needs at least one value")
        for entry in entries:
            try:
                check_field(name, entry)
            except UsageError as error:
                raise GridError(f"{key}: {str(error).removeprefix(f'{name}: ')}") from error
            if entries.count(entry) > 1:
                raise GridError(f"{key}: {entry!r} stands there twice, so every case with it would be a duplicate")
        axes[name] = entries
    return axes


def _read_constraints(data: Any, where: str) -> tuple[str, ...]:
    if not isinstance(data, list) or not all(isinstance(text, str) for text in data):
        raise GridError(f"{where}: {data!r} is not a list of conditions such as 'kernel_size >= scale_factor'")
    for text in data:
        try:
            compile_constraint(text, CASE_FIELDS)
        except UsageError as error:
            raise GridError(f"{where}: {error}") from error
    return tuple(data)


def _read_value(axis: str, word: str) -> Any:
    """Read one value after ``--set``: whole numbers where the axis takes them, words elsewhere."""
    text = word.strip()
    is_text = axis == "upsampler" or isinstance(CASE_DEFAULTS.get(axis), str)
    return int(text) if not is_text and text.lstrip("-").isdecimal() else text


def _read_text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise GridError(f"{where}: {value!r} is not text")
    return value


def _read_whole(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise GridError(f"{where}: {value!r} is not a whole number of at least 1")
    return value


def _read_positive(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise GridError(f"{where}: {value!r} is not a number of seconds above 0")
    return float(value)


def load_grid(path: Path) -> Grid:
    """Read a grid from a TOML file.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    GridError
        If it cannot be read, is not TOML or not a grid.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise GridError(f"--grid: cannot read {str(path)!r}: {reason}") from error
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise GridError(f"{path}: not TOML: {error}") from error
    return Grid.from_dict(data, str(path))


def load_preset(name: str) -> Grid:
    """Read one of the grids kept in this package.

    Parameters
    ----------
    name : str
        One of `PRESETS`.

    Raises
    ------
    UsageError
        If there is no preset of that name.
    """
    if name not in PRESETS:
        raise UsageError(f"--preset: {name!r} is not one of {', '.join(PRESETS)}")
    text = (files("deconvbench") / "grids" / f"{name}.toml").read_text(encoding="utf-8")
    return Grid.from_dict(tomllib.loads(text), f"{name}.toml")


def select_cases(cases: Sequence[Case], expression: str) -> list[Case]:
    """Keep the cases whose id matches a ``-k`` expression.

    Parameters
    ----------
    cases : sequence of Case
        To choose from.
    expression : str
        As pytest's ``-k``; empty keeps all.

    Raises
    ------
    UsageError
        If the expression is malformed or nothing matches.
    """
    if not expression:
        return list(cases)
    matches = compile_keyword(expression)
    kept = [case for case in cases if matches(case.case_id)]
    if not kept:
        raise UsageError(f"-k: {expression!r} matches none of the {len(cases)} cases")
    return kept
