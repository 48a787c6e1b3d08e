"""Grids: axes and constraints that expand into cases.

A grid is TOML. ``[axes]`` gives each field of a case its list of values; the cases are their product, less
those that a constraint excludes. ``[quality]`` adds layers whose artifacts are measured although their cost
is not asked for (the heat maps of kernel × stride need them). ``[speedup]`` names layers whose timing is
interleaved. Presets are grids kept in this package.
"""

import itertools
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from deconvbench.errors import GridError, UsageError, explain_os_error, quote, suggest
from deconvbench.grid.expansion import expand_axes
from deconvbench.grid.keywords import compile_keyword
from deconvbench.grid.reading import (
    check_upsamplers,
    read_axes,
    read_axis,
    read_constraints,
    read_positive,
    read_text,
    read_whole,
)
from deconvbench.grid.speedup import SpeedupGrid
from deconvbench.records.case import CASE_DEFAULTS, CASE_FIELDS, Case, name_layer
from deconvbench.system.paths import check_path
from deconvbench.system.reading import decode_text, read_file
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

    Raises
    ------
    GridError
        If one of them is not what it should be; the message names source and key.
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

    def __post_init__(self) -> None:
        where = read_text(self.source, "source")
        if self.speedup is not None and not isinstance(self.speedup, SpeedupGrid):
            raise GridError(f"{where}: speedup: {quote(self.speedup)} is not a SpeedupGrid")
        checked: dict[str, Any] = {
            "name": read_text(self.name, f"{where}: name"),
            "description": read_text(self.description, f"{where}: description"),
            "axes": read_axes(self.axes, CASE_FIELDS, f"{where}: axes"),
            "constraints": read_constraints(self.constraints, f"{where}: constraints"),
            "replicates": read_whole(self.replicates, f"{where}: replicates"),
            "timeout_s": read_positive(self.timeout_s, f"{where}: timeout_s"),
            "time_cap_s": read_positive(self.time_cap_s, f"{where}: time_cap_s"),
            "quality_axes": read_axes(self.quality_axes, _QUALITY_AXES, f"{where}: quality"),
            "quality_seeds": read_whole(self.quality_seeds, f"{where}: quality.seeds"),
            "quality_channels": read_whole(self.quality_channels, f"{where}: quality.channels"),
        }
        for name in _REQUIRED_AXES:
            if name not in checked["axes"]:
                raise GridError(f"{where}: axes.{name}: missing; a grid needs {', '.join(_REQUIRED_AXES)}")
        if checked["quality_axes"] and set(checked["quality_axes"]) != set(_QUALITY_AXES):
            raise GridError(f"{where}: quality: needs all of {', '.join(_QUALITY_AXES)} or none")
        for name, value in checked.items():
            object.__setattr__(self, name, value)

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
        if not isinstance(data, Mapping):
            raise GridError(f"{source}: {quote(data)} is not a table with axes")
        for key in data:
            if key not in _SETTINGS:
                hint = suggest(key, _SETTINGS)
                raise GridError(f"{source}: {key}: unknown key; the keys are {', '.join(_SETTINGS)}{hint}")
        quality = data.get("quality", {})
        if not isinstance(quality, Mapping):
            raise GridError(f"{source}: quality: {quote(quality)} is not a table of axes, seeds and channels")
        given = {
            **{name: data[name] for name in _SETTINGS if name in data and name not in ("quality", "speedup")},
            **{f"quality_{name}": quality[name] for name in ("seeds", "channels") if name in quality},
        }
        return cls(
            **{"name": Path(source).stem, "axes": {}, **given},
            source=source,
            quality_axes={axis: entries for axis, entries in quality.items() if axis not in ("seeds", "channels")},
            speedup=SpeedupGrid.from_dict(data["speedup"], f"{source}: speedup") if "speedup" in data else None,
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything about the grid as plain data, for ``run.json``."""
        return asdict(self)

    @classmethod
    def from_record(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild a grid from what `to_dict` wrote into ``run.json``."""
        # grids of versions before speed-ups have no such table
        speedup = data.get("speedup")
        return cls(**{**data, "speedup": None if speedup is None else SpeedupGrid.from_record(speedup)})

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
                raise UsageError(f"--set: {quote(setting)} is not of the form AXIS=VALUE,VALUE")
            values = [_read_value(name, word) for word in text.split(",")]
            changes.update(read_axes({name: values}, CASE_FIELDS, "--set"))
            if name == "upsampler":
                check_upsamplers(changes[name], "--set upsampler")
        return self._replace_axes(changes, [f"--set {setting}" for setting in settings])

    def choose_devices(self, text: str) -> "Grid":
        """Replace the devices by those typed after ``--device``, with commas between.

        Parameters
        ----------
        text : str
            Such as ``cpu,cuda``.

        Raises
        ------
        UsageError
            If one of them is not the name of a device.
        """
        devices = read_axis("device", [word.strip() for word in text.split(",")], "--device")
        return self._replace_axes({"device": devices}, [f"--device {text}"])

    def _replace_axes(self, changes: Mapping[str, tuple[Any, ...]], words: Sequence[str]) -> "Grid":
        """Replace axes; messages name the words that did so beside the file."""
        if not changes:
            return self
        speedup = self.speedup
        if speedup is not None:
            own = {name: values for name, values in changes.items() if name in speedup.axes}
            speedup = replace(speedup, axes={**speedup.axes, **own})
        # layers of which artifacts alone are measured become fewer, never others
        quality = {
            name: tuple(value for value in values if value in changes.get(name, values))
            for name, values in self.quality_axes.items()
        }
        if not all(quality.values()):
            quality = {}
        source = f"{self.source} with {' '.join(words)}"
        return replace(self, axes={**self.axes, **changes}, quality_axes=quality, speedup=speedup, source=source)

    def expand(self) -> list[Case]:
        """List the cases, in the order of the axes.

        Raises
        ------
        GridError
            If an upsampler is unknown, two cases are the same, or no case is left.
        """
        cases = expand_axes(self.axes, self.constraints, self.source)
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
        layer = {"upsampler": (speedup.baseline,), "kernel_size": speedup.kernel_size or (None,)}
        constraints = self.constraints if speedup.constraints is None else speedup.constraints
        return expand_axes({**self.axes, **speedup.axes, **layer}, constraints, where)

    def list_layers(self, cases: Sequence[Case], keyword: str = "") -> list[LayerKey]:
        """List the layers whose artifacts are to be measured: those of the cases, then the quality axes'.

        Parameters
        ----------
        cases : sequence of Case
            The cases that will run.
        keyword : str
            As pytest's ``-k``: of the quality axes' layers, those are left whose names match, such as
            ``transposed-k3-s2``; empty keeps all.
        """
        matches = compile_keyword(keyword) if keyword else None
        layers = {(case.upsampler, case.kernel_size, case.scale_factor): None for case in cases}
        if self.quality_axes:
            check_upsamplers(self.quality_axes["upsampler"], f"{self.source}: quality.upsampler")
            for name, kernel_size, scale_factor in itertools.product(
                *(self.quality_axes[a] for a in _QUALITY_AXES)
            ):
                layer = (name, kernel_size if get_upsampler(name).has_kernel else None, scale_factor)
                if matches is None or matches(name_layer(*layer)):
                    layers[layer] = None
        return list(layers)


def _read_value(axis: str, word: str) -> Any:
    """Read one value after ``--set``: whole numbers where the axis takes them, words elsewhere."""
    text = word.strip()
    is_text = axis == "upsampler" or isinstance(CASE_DEFAULTS.get(axis), str)
    return int(text) if not is_text and re.fullmatch(r"-?[0-9]{1,4000}", text) else text


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
        # text that is not UTF-8, and names that no file can have
        reason = explain_os_error(error) if isinstance(error, OSError) else str(error)
        raise GridError(f"--grid: cannot read {quote(str(path))}: {reason}") from error
    try:
        data = tomllib.loads(text)
    # numbers of thousands of digits raise a plain ValueError
    except ValueError as error:
        raise GridError(f"{path}: not TOML: {error}") from error
    except RecursionError as error:
        raise GridError(f"{path}: not TOML that can be read: it is nested too deeply") from error
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
        hint = suggest(name, PRESETS)
        raise UsageError(f"--preset: {quote(name)} is not one of {', '.join(PRESETS)}{hint}")
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
        raise UsageError(f"-k: {quote(expression)} matches none of the {len(cases) + len(settings)} cases")
    return kept, kept_settings
