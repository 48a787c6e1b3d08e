"""What a user asked to have measured, on whichever front, and the plan that it becomes."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deconvbench.arguments import LARGEST_SEED, check_whole
from deconvbench.errors import UsageError
from deconvbench.grid.grid import Grid, load_grid, load_preset, select_all
from deconvbench.grid.reading import read_positive, read_whole
from deconvbench.records.case import Case
from deconvbench.runner.conditions import choose_policy
from deconvbench.runner.plan import Plan
from deconvbench.system.imports import search_current_folder
from deconvbench.system.paths import make_absolute
from deconvbench.units import parse_fraction
from deconvbench.upsamplers import list_sources, load_upsampler
from deconvbench.upsamplers.sources import identify_sources


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a user asked to have measured, on whichever front.

    Parameters
    ----------
    preset : str or None
        One of the presets; `quick` where neither preset nor grid is given.
    grid : Path or None
        A grid file instead.
    settings : tuple of str
        ``AXIS=V,V``, each replacing an axis.
    keyword : str
        As pytest's ``-k``.
    upsamplers : tuple of str
        ``pkg.mod:factory`` of further upsamplers; they join the grid's.
    device : str
        Devices with commas between, replacing the axis; empty keeps the grid's.
    replicates : int or None
        Passes over the cases; None keeps the grid's.
    timeout_s : float or None
        Seconds after which a case counts as hanging; None keeps the grid's.
    precision : str or None
        Measure further replicates of the cases whose interval is wider, such as ``2%``.
    seed : int or None
        Of orders, weights and inputs; None draws one, and records it.
    conditions : str or None
        The policy under which all is timed; None takes `settled` where it can be had.
    """

    preset: str | None = None
    grid: Path | None = None
    settings: tuple[str, ...] = ()
    keyword: str = ""
    upsamplers: tuple[str, ...] = ()
    device: str = ""
    replicates: int | None = None
    timeout_s: float | None = None
    precision: str | None = None
    seed: int | None = None
    conditions: str | None = None

    @property
    def is_default(self) -> bool:
        """True where the user chose nothing."""
        return self == Selection()


def make_plan(selection: Selection, command: Sequence[str] = ()) -> Plan:
    """Turn a selection into the cases that would run.

    Parameters
    ----------
    selection : Selection
        What the user asked for.
    command : sequence of str
        What the user typed, for the report.

    Raises
    ------
    UsageError
        If anything in it is wrong; the message names it.
    """
    if selection.preset is not None and selection.grid is not None:
        raise UsageError(
            f"--preset: {selection.preset!r} and --grid {str(selection.grid)!r} are mutually exclusive"
        )
    names = load_upsamplers(selection.upsamplers)
    if selection.grid is not None:
        grid = load_grid(selection.grid)
    else:
        grid = load_preset("quick" if selection.preset is None else selection.preset)
    grid = _adapt(grid, selection, names)
    cases, speedups = select_all(grid.expand(), grid.list_settings(), selection.keyword)
    sources = tuple(dict.fromkeys((*selection.upsamplers, *find_sources(grid, cases))))
    return Plan(
        grid=grid,
        cases=tuple(cases),
        seed=choose_seed(selection.seed, "--seed"),
        upsamplers=sources,
        upsampler_digests=identify_sources(sources),
        command=tuple(command),
        precision=None if selection.precision is None else parse_fraction(selection.precision, "--precision"),
        settings=tuple(speedups),
        keyword=selection.keyword,
        conditions=choose_policy(selection.conditions),
    )


def choose_seed(seed: int | None, name: str) -> int:
    """Check a seed, or draw one.

    Parameters
    ----------
    seed : int or None
        From 0 to 2**63 - 1, which every file can hold; None draws one.
    name : str
        Argument or option, for the message.

    Raises
    ------
    UsageError
        If it is not such a number.
    """
    return secrets.randbelow(2**31) if seed is None else check_whole(name, seed, 0, LARGEST_SEED)


def find_sources(grid: Grid, cases: Sequence[Case]) -> tuple[str, ...]:
    """Say where workers find the upsamplers that a script registered in this process."""
    interleaved = grid.speedup.list_upsamplers() if grid.speedup is not None else ()
    return list_sources((*(name for name, _, _ in grid.list_layers(cases)), *interleaved))


def load_upsamplers(paths: Sequence[str]) -> tuple[str, ...]:
    """Load upsamplers of the user's own; their modules are looked for in the current folder first.

    What these import in turn is looked for there last, so that a file of the user's does not take the place of a
    module that others need.

    Parameters
    ----------
    paths : sequence of str
        Each ``pkg.mod:factory``.

    Returns
    -------
    tuple of str
        Their names.
    """
    if paths:
        make_absolute(Path())  # says so where the current folder was removed
        search_current_folder([path.partition(":")[0] for path in paths])
    return tuple(load_upsampler(path) for path in paths)


def _adapt(grid: Grid, selection: Selection, names: tuple[str, ...]) -> Grid:
    grid = grid.override(selection.settings)
    if selection.device:
        grid = grid.choose_devices(selection.device)
    if names and not any(setting.startswith("upsampler=") for setting in selection.settings):
        grid = replace(
            grid, axes={**grid.axes, "upsampler": tuple(dict.fromkeys((*grid.axes["upsampler"], *names)))}
        )
    if selection.replicates is not None:
        grid = replace(grid, replicates=read_whole(selection.replicates, "--replicates"))
    if selection.timeout_s is not None:
        grid = replace(grid, timeout_s=read_positive(selection.timeout_s, "--timeout"))
    return grid
