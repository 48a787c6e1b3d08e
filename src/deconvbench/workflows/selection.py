"""What a user asked to have measured, on whichever front, and the plan that it becomes."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deconvbench.arguments import LARGEST_SEED, check_whole
from deconvbench.errors import UsageError, quote
from deconvbench.grid.grid import Grid, load_grid, load_preset, select_all
from deconvbench.grid.reading import read_positive, read_whole
from deconvbench.records.case import Case, parse_layer
from deconvbench.runner.conditions import choose_policy
from deconvbench.runner.plan import Plan
from deconvbench.system.imports import search_current_folder
from deconvbench.system.paths import make_absolute
from deconvbench.units import parse_fraction
from deconvbench.upsamplers import get_upsampler, list_sources, load_upsampler
from deconvbench.upsamplers.sources import identify_sources

_USUAL_KERNEL = 3


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
    baseline : str or None
        ``NAME`` or ``NAME-kK`` of the layer that all are compared with; None leaves it to the plan.
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
    baseline: str | None = None
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
    baseline = None if selection.baseline is None else choose_baseline(selection.baseline, cases, "--baseline")
    sources = tuple(dict.fromkeys((*selection.upsamplers, *find_sources(grid, cases, baseline))))
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
        baseline=baseline,
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


def choose_baseline(text: object, cases: Sequence[Case], name: str) -> tuple[str, int | None]:
    """Find the layer that a user wants all others compared with.

    Parameters
    ----------
    text : object
        ``NAME`` or ``NAME-kK``. Without a kernel size, that of the cases of this upsampler counts, 3 where there
        are several or none.
    cases : sequence of Case
        What is measured; the layer need not be among them.
    name : str
        The option or argument, for the message.

    Raises
    ------
    UsageError
        If it is not such a name, there is no such upsampler, or it cannot be built at any scale of the cases.
    """
    upsampler, kernel_size = parse_layer(text, name)
    try:
        spec = get_upsampler(upsampler)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from error
    if not spec.has_kernel and kernel_size is not None:
        raise UsageError(f"{name}: {quote(text)} has a kernel size, and {upsampler} has no kernel")
    if spec.has_kernel and kernel_size is None:
        found = {case.kernel_size for case in cases if case.upsampler == upsampler}
        kernel_size = found.pop() if len(found) == 1 else _USUAL_KERNEL
    scales = dict.fromkeys(case.scale_factor for case in cases)
    reasons = [spec.unsupported_reason(kernel_size, scale) for scale in scales]
    if reasons and all(reasons):
        raise UsageError(f"{name}: {quote(text)}: {reasons[0]}")
    return upsampler, kernel_size


def find_sources(
    grid: Grid, cases: Sequence[Case], baseline: tuple[str, int | None] | None = None
) -> tuple[str, ...]:
    """Say where workers find the upsamplers that a script registered in this process."""
    interleaved = grid.speedup.list_upsamplers() if grid.speedup is not None else ()
    compared = () if baseline is None else (baseline[0],)
    return list_sources((*(name for name, _, _ in grid.list_layers(cases)), *interleaved, *compared))


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
