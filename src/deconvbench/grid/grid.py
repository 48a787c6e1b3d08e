"""Grids: axes and constraints that expand into cases.

A grid is TOML. ``[axes]`` gives each field of a case its list of values; the cases are their product, less
those that a constraint excludes. ``[quality]`` adds layers whose artifacts are measured although their cost
is not asked for (the heat maps of kernel × stride need them). ``[speedup]`` names layers whose timing is
interleaved. Presets are grids kept in this package.
"""

import itertools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from deconvbench.errors import GridError, UsageError
from deconvbench.grid.expressions import compile_constraint, compile_keyword
from deconvbench.grid.reading import (
    check_upsamplers,
    read_axes,
    read_constraints,
    read_positive,
    read_text,
    read_whole,
)
from deconvbench.grid.speedup import SpeedupGrid
from deconvbench.paths import check_path
from deconvbench.reading import decode_text, read_file
from deconvbench.records.case import CASE_DEFAULTS, CASE_FIELDS, Case
from deconvbench.upsamplers import get_upsampler

PRESETS = ("smoke", "quick", "article", "full", "fast", "selftest")

_REQUIRED_AXES = ("upsampler", "scale_factor", "in_channels", "height")
_QUALITY_AXES = ("upsampler", "kernel_size", "scale_factor")
_SETTINGS = (
    *("name", "description", "replicates", "timeout_s", "time_cap_s", "constraints", "axes", "quality", "speedup"),
)

# one layer whose artifacts are measured: upsampler, kernel_size, scale_factor
LayerKey = tuple[str, int | None, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Axes and constraints, and how long to measure each case.

    Parameters
    ----------
    name : str
        What the run folder is called after; what would have a meaning in a path is replaced there.
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
    speedup : SpeedupGrid or None
        Layers whose timing is interleaved.
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
    speedup: SpeedupGrid | None = None

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
        axes = read_axes(data.get("axes", {}), CASE_FIELDS, f"{source}: axes")
        for name in _REQUIRED_AXES:
            if name not in axes:
                raise GridError(f"{source}: axes.{name}: missing; a grid needs {', '.join(_REQUIRED_AXES)}")
        constraints = read_constraints(data.get("constraints", []), f"{source}: constraints")
        quality = dict(data.get("quality", {}))
        seeds = read_whole(quality.pop("seeds", 8), f"{source}: quality.seeds")
        channels = read_whole(quality.pop("channels", 16), f"{source}: quality.channels")
        quality_axes = read_axes(quality, _QUALITY_AXES, f"{source}: quality")
        if quality_axes and set(quality_axes) != set(_QUALITY_AXES):
            raise GridError(f"{source}: quality: needs all of {', '.join(_QUALITY_AXES)} or none")
        return cls(
            name=read_text(data.get("name", Path(source).stem), f"{source}: name"),
            source=source,
            description=read_text(data.get("description", ""), f"{source}: description"),
            axes=axes,
            constraints=constraints,
            replicates=read_whole(data.get("replicates", 3), f"{source}: replicates"),
            timeout_s=read_positive(data.get("timeout_s", 120.0), f"{source}: timeout_s"),
            time_cap_s=read_positive(data.get("time_cap_s", 1.0), f"{source}: time_cap_s"),
            quality_axes=quality_axes,
            quality_seeds=seeds,
            quality_channels=channels,
            speedup=SpeedupGrid.from_dict(data["speedup"], f"{source}: speedup") if "speedup" in data else None,
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
        # grids of versions before speed-ups have no such table
        speedup = values.get("speedup")
        values["speedup"] = None if speedup is None else SpeedupGrid.from_record(speedup)
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
        changes: dict[str, tuple[Any, ...]] = {}
        for setting in settings:
            name, equals, text = setting.partition("=")
            if not equals or not text:
                raise UsageError(f"--set: {setting!r} is not of the form AXIS=VALUE,VALUE")
            values = [_read_value(name, word) for word in text.split(",")]
            changes.update(read_axes({name: values}, CASE_FIELDS, "--set"))
        speedup = self.speedup
        if speedup is not None:
            own = {name: values for name, values in changes.items() if name in speedup.axes}
            speedup = replace(speedup, axes={**speedup.axes, **own})
        return replace(self, axes={**self.axes, **changes}, speedup=speedup)

    def expand(self) -> list[Case]:
        """List the cases, in the order of the axes.

        Raises
        ------
        GridError
            If an upsampler is unknown, two cases are the same, or no case is left.
        """
        cases = _expand(self.axes, self.constraints, f"{self.source}: axes")
        if not cases:
            raise GridError(
                f"{self.source}: no case is left: the constraints exclude every combination of the axes"
            )
        return cases

    def list_settings(self) -> list[Case]:
        """List the settings in which the timing of layers is interleaved, each as the case of its baseline.

        Returns
        -------
        list of Case
            Empty where the grid asks for no speed-ups, or its constraints leave none.

        Raises
        ------
        GridError
            If an upsampler is unknown, or has a kernel and gets none.
        """
        speedup = self.speedup
        if speedup is None:
            return []
        where = f"{self.source}: speedup"
        speedup.check_upsamplers(where)
        layer = {"upsampler": (speedup.baseline,), "kernel_size": (speedup.kernel_size,)}
        constraints = self.constraints if speedup.constraints is None else speedup.constraints
        return _expand({**self.axes, **speedup.axes, **layer}, constraints, f"{where}.axes")

    def list_layers(self, cases: Sequence[Case]) -> list[LayerKey]:
        """List the layers whose artifacts are to be measured: those of the cases, then the quality axes'.

        Parameters
        ----------
        cases : sequence of Case
            The cases that will run.
        """
        layers = {(case.upsampler, case.kernel_size, case.scale_factor): None for case in cases}
        if self.quality_axes:
            check_upsamplers(self.quality_axes["upsampler"], f"{self.source}: quality.upsampler")
            for name, kernel_size, scale_factor in itertools.product(
                *(self.quality_axes[a] for a in _QUALITY_AXES)
            ):
                layers[(name, kernel_size if get_upsampler(name).has_kernel else None, scale_factor)] = None
        return list(layers)


def _expand(axes: Mapping[str, tuple[Any, ...]], constraints: Sequence[str], where: str) -> list[Case]:
    """List the cases that a product of axes and its constraints leave, in the order of the axes."""
    full = dict(axes)
    full.setdefault("kernel_size", (None,))
    for name, default in CASE_DEFAULTS.items():
        full.setdefault(name, (default,))
    check_upsamplers(full["upsampler"], f"{where}.upsampler")
    conditions = [compile_constraint(text, CASE_FIELDS) for text in constraints]
    names = [name for name in CASE_FIELDS if name in full]
    cases: dict[str, Case] = {}
    for combination in itertools.product(*(full[name] for name in names)):
        values = dict(zip(names, combination, strict=True))
        values.setdefault("width", values["height"])
        values.setdefault("out_channels", values["in_channels"])
        if not get_upsampler(values["upsampler"]).has_kernel:
            values["kernel_size"] = None
        elif values["kernel_size"] is None:
            raise GridError(f"{where}.kernel_size: missing; {values['upsampler']} has a kernel")
        if all(condition(values) for condition in conditions):
            case = Case(**values)
            cases[case.case_id] = case  # layers without a kernel meet themselves once per kernel size
    return list(cases.values())


def _read_value(axis: str, word: str) -> Any:
    """Read one value after ``--set``: whole numbers where the axis takes them, words elsewhere."""
    text = word.strip()
    is_text = axis == "upsampler" or isinstance(CASE_DEFAULTS.get(axis), str)
    return int(text) if not is_text and text.lstrip("-").isdecimal() else text


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
    check_path(path, "--grid")
    try:
        text = decode_text(read_file(path))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
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
    text = (files("deconvbench.grid") / "presets" / f"{name}.toml").read_text(encoding="utf-8")
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
    return select_all(cases, (), expression)[0]


def select_all(cases: Sequence[Case], settings: Sequence[Case], expression: str) -> tuple[list[Case], list[Case]]:
    """Keep the cases, and the settings of speed-ups, whose id matches a ``-k`` expression.

    Parameters
    ----------
    cases, settings : sequence of Case
        To choose from.
    expression : str
        As pytest's ``-k``; empty keeps all.

    Returns
    -------
    cases, settings : list of Case
        One of them may be empty.

    Raises
    ------
    UsageError
        If the expression is malformed or nothing matches.
    """
    if not expression:
        return list(cases), list(settings)
    matches = compile_keyword(expression)
    kept = [case for case in cases if matches(case.case_id)]
    kept_settings = [setting for setting in settings if matches(setting.case_id)]
    if not kept and not kept_settings:
        raise UsageError(f"-k: {expression!r} matches none of the {len(cases) + len(settings)} cases")
    return kept, kept_settings
