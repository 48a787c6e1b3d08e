"""Comparing two commits of a repository: ``deconvbench compare-commits BASE [HEAD]``.

Both are checked out into git worktrees of their own. Memory, multiply-accumulates and artifacts of each are found
once; latencies are timed in pairs of processes that take turns, until the rule of `analysis.pairing` has decided.
What is measured goes into ``results/comparisons``, and a comparison that was interrupted goes on there.
"""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from deconvbench.analysis.comparison_input import read_side
from deconvbench.analysis.intervals import PAIRED_MARGIN
from deconvbench.analysis.paired_comparison import PairedComparison, compare_pairs
from deconvbench.analysis.pairing import PairedPlan
from deconvbench.arguments import check_whole
from deconvbench.errors import RunFolderError, UsageError, quote
from deconvbench.measure.accelerator import check_device
from deconvbench.progress import JobObserver
from deconvbench.records.decoding import DecodingError, parse_json
from deconvbench.records.record import SCHEMA_VERSION
from deconvbench.records.run_folder import JOURNAL_NAME
from deconvbench.runner.checkout import CheckoutFinder
from deconvbench.runner.conditions import choose_policy
from deconvbench.runner.folder import make_new_folder
from deconvbench.runner.pairing import (
    WAITING_VARIABLES,
    PairProcess,
    PairSetup,
    StartSide,
)
from deconvbench.runner.plan import Plan
from deconvbench.runner.worker import WorkerError, WorkerOptions
from deconvbench.system.paths import check_contents, check_path, make_absolute, make_folder
from deconvbench.system.reading import read_file
from deconvbench.system.writing import write_whole
from deconvbench.units import format_now, parse_fraction
from deconvbench.workflows.changes import SourceTree
from deconvbench.workflows.extent import Layers, check_choice, choose_extent, find_layers
from deconvbench.workflows.paired_measuring import SIDES, measure_replicates, measure_values
from deconvbench.workflows.run import RESULTS, check_sizes, read_environment
from deconvbench.workflows.selection import choose_seed, load_upsamplers
from deconvbench.workflows.worktrees import Commit, check_out, list_changed_files

# describes a comparison in its folder, beside the journal
COMPARISON_NAME = "comparison.json"
_MOST_REPLICATES = 1000
# what two parts of one comparison must have in common
_IDENTITY = ("base_sha", "head_sha", "case_ids", "replicates", "margin", "conditions", "slowdowns")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitSelection:
    """What a user asked to have compared.

    Parameters
    ----------
    preset : str or None
        See `choose_extent`.
    settings : tuple of str
        ``AXIS=V,V``, each replacing an axis.
    keyword : str
        As pytest's ``-k``.
    upsamplers : tuple of str
        ``pkg.mod:factory`` of the repository.
    replicates : int or None
        Pairs of fresh processes, 2 at least; None takes ten, and more for what is not decided then.
    margin : float
        Largest relative change to ignore, from 0, below 1.
    base_python : str or None
        Interpreter of an environment with BASE's dependencies, where they differ.
    seed : int or None
        Of orders, weights and inputs; None draws one, and records it.
    conditions : str or None
        One of `POLICIES`; None takes the default of this machine.
    slowdowns : tuple
        By upsampler: the share by which HEAD's is made slower, to see whether a comparison finds it.
    command : tuple of str
        What the user typed.
    """

    preset: str | None = None
    settings: tuple[str, ...] = ()
    keyword: str = ""
    upsamplers: tuple[str, ...] = ()
    replicates: int | None = None
    margin: float = PAIRED_MARGIN
    base_python: str | None = None
    seed: int | None = None
    conditions: str | None = None
    slowdowns: tuple[tuple[str, float], ...] = ()
    command: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.replicates is not None:
            check_whole("--replicates", self.replicates, 2, _MOST_REPLICATES)
        object.__setattr__(self, "conditions", choose_policy(self.conditions))

    @property
    def plan(self) -> PairedPlan:
        """When the rule looks."""
        return PairedPlan() if self.replicates is None else PairedPlan(first=self.replicates, most=self.replicates)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitComparison:
    """Two commits compared.

    Parameters
    ----------
    found : PairedComparison
        The verdicts, and what the control gave.
    folder : Path
        Where everything measured is kept.
    lines : tuple of str
        What was measured at which sizes, and what was not measured.
    """

    found: PairedComparison
    folder: Path
    lines: tuple[str, ...]


def compare_commits(
    repository: Path,
    base: str,
    head: str,
    selection: CommitSelection,
    *,
    results: Path = RESULTS,
    out: Path | None = None,
    observer: JobObserver = lambda _: None,
    announce: Callable[[Sequence[str], Path], None] = lambda *_: None,
    start: StartSide = PairProcess,
) -> CommitComparison:
    """Measure two commits, taking turns, and compare them.

    Parameters
    ----------
    repository : Path
        A checkout: of this package, or of one whose upsamplers come by entry point or are named.
    base, head : str
        Commits.
    selection : CommitSelection
        What to compare.
    results : Path
        The folder that gets ``comparisons``.
    out : Path, optional
        The comparison's own folder; one that was interrupted in it goes on.
    observer : callable
        Receives each job done.
    announce : callable
        Receives, before anything is measured, what will be, and the folder.
    start : callable
        Starts a process of a pair.

    Raises
    ------
    UsageError
        If a commit is unknown or its upsamplers cannot be driven, or the selection is wrong.
    SurroundingsError
        If the folder cannot be written.
    """
    plan = selection.plan
    check_choice(selection.preset, selection.settings, selection.keyword)
    with check_out(repository, (base, head)) as (one, two):
        loaded = _load_upsamplers((one, two), selection.upsamplers)
        layers = find_layers(one, two, list_changed_files(repository, one.sha, two.sha), loaded)
        extent = choose_extent(
            layers, preset=selection.preset, settings=selection.settings, keyword=selection.keyword
        )
        for device in dict.fromkeys(case.device for case in extent.cases):
            check_device(device)
        description = {
            "base": base, "head": head, "base_sha": one.sha, "head_sha": two.sha,
            "case_ids": [case.case_id for case in extent.cases], "replicates": asdict(plan),
            "margin": selection.margin, "conditions": selection.conditions,
            "slowdowns": [list(entry) for entry in selection.slowdowns],
            "seed": choose_seed(selection.seed, "--seed"), "lines": list(extent.lines),
            "command": list(selection.command),
        }  # fmt: skip
        grid = replace(extent.grid, name=f"{one.sha}-{two.sha}")
        folder, seed = _open(description, grid.name, results, out)
        values = Plan(
            grid=grid,
            cases=extent.cases,
            seed=seed,
            upsamplers=selection.upsamplers,
            conditions=str(selection.conditions),
        )
        check_sizes(values)
        announce(extent.lines, folder)
        options = [
            _make_options(commit, layers, selection, python)
            for commit, python in ((one, selection.base_python), (two, None))
        ]
        try:
            measure_values(values, options, folder, observer)
            setup = PairSetup(
                base=options[0],
                head=replace(options[1], slowdowns=selection.slowdowns),
                timeout_s=grid.timeout_s,
                logs=folder,
            )
            records = measure_replicates(
                setup,
                extent.cases,
                folder,
                plan=plan,
                margin=selection.margin,
                seed=seed,
                observer=observer,
                start=start,
            )
        except WorkerError as error:
            raise UsageError(f"{base!r} or {head!r} cannot be driven by this engine: {error}") from error
    sides = [read_side(folder / name) for name in SIDES]
    found = compare_pairs(records, sides[0], sides[1], selection.margin, plan=plan)
    return CommitComparison(found=found, folder=folder, lines=extent.lines)


def parse_slowdowns(words: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """Read which layers of HEAD are to be made slower, to see whether the comparison finds it.

    Parameters
    ----------
    words : sequence of str
        Each ``LAYER=SHARE``, such as ``transposed=5%``.

    Raises
    ------
    UsageError
        If one is not of that form.
    """
    found = []
    for word in words:
        name, equals, share = word.partition("=")
        if not (name and equals):
            raise UsageError(f"--slow-down: {quote(word)} is not of the form LAYER=SHARE")
        found.append((name, parse_fraction(share, "--slow-down")))
    return tuple(found)


@contextlib.contextmanager
def _find_in(folders: Sequence[Path], names: set[str]) -> Iterator[None]:
    finder = CheckoutFinder(folders, names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def _load_upsamplers(commits: tuple[Commit, Commit], paths: Sequence[str]) -> dict[str, str]:
    """Register the user's upsamplers as HEAD has them, by name; what they cost is measured in other processes."""
    if not paths:
        return {}
    trees = [SourceTree(commit.folders) for commit in commits]
    here = SourceTree([make_absolute(Path())])
    modules = {path: path.partition(":")[0] for path in paths}
    if not commits[1].has_products:
        for path, module in modules.items():
            if not any(module in tree for tree in trees):
                raise UsageError(f"--upsampler: {path!r}: neither commit has a module {module!r}")
    tops = {module.partition(".")[0] for module in modules.values()}
    own = {top for top in tops if top not in sys.modules and any(top in tree for tree in (*trees, here))}
    with _find_in(commits[1].folders, set() if commits[1].has_products else own):
        names = load_upsamplers(paths)
    if commits[1].has_products:
        raise UsageError(
            f"--upsampler: {paths[0]!r} is not part of deconvbench, whose own layers alone are compared in its"
            " repository"
        )
    return dict(zip(names, paths, strict=True))


def _make_options(commit: Commit, layers: Layers, selection: CommitSelection, python: str | None) -> WorkerOptions:
    options = WorkerOptions(
        upsamplers=selection.upsamplers,
        conditions=str(selection.conditions),
        code_version=commit.sha,
        python=python,
        environment=WAITING_VARIABLES,
    )
    if commit.has_products:
        return replace(options, products=commit.worktree / "src")
    return replace(options, checkout=tuple(map(str, commit.folders)), checked_out=layers.modules)


def _open(description: Mapping[str, Any], name: str, results: Path, out: Path | None) -> tuple[Path, int]:
    """Make the comparison's folder, or take up what was interrupted in it; return it with the seed."""
    if out is None:
        folder = make_new_folder(name, results / "comparisons")
    else:
        folder = check_path(out, "--out")
        check_contents(folder, [COMPARISON_NAME, JOURNAL_NAME], force=False)
        make_folder(folder, "--out")
    folder = make_absolute(folder)
    path = folder / COMPARISON_NAME
    if path.exists():
        return folder, _check_same(path, description)
    content = {"schema_version": SCHEMA_VERSION, "created_at": format_now(), **description}
    content["environment"] = read_environment()
    write_whole(path, (json.dumps(content, indent=1, default=str) + "\n").encode())
    return folder, int(description["seed"])


def _check_same(path: Path, description: Mapping[str, Any]) -> int:
    """Refuse to go on with a comparison of something else; return the seed of this one."""
    try:
        earlier = parse_json(read_file(path))
        differing = [name for name in _IDENTITY if earlier[name] != json.loads(json.dumps(description[name]))]
        seed = int(earlier["seed"])
    except (OSError, DecodingError, KeyError, TypeError, ValueError) as error:
        raise RunFolderError(f"--out: {path} does not describe a comparison: {error!r}") from error
    if differing:
        raise RunFolderError(
            f"--out: {str(path.parent)!r} holds another comparison ({', '.join(differing)} differ); name another"
        )
    return seed
