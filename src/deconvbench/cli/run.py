"""Commands that measure, and those that show what would be measured and on which machine."""

import contextlib
import json
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deconvbench.cli.options import (
    BaselineOption,
    ConditionsOption,
    DeviceOption,
    ForceOption,
    GridOption,
    JsonOption,
    KeywordOption,
    PrecisionOption,
    PresetOption,
    ReplicatesOption,
    SeedOption,
    SetOption,
    TimeoutOption,
    UpsamplerOption,
    make_selection,
    parse_path,
)
from deconvbench.cli.output import print_rows, show_standings
from deconvbench.errors import SurroundingsError, UsageError, find_exit_code
from deconvbench.system.texts import print_text

if TYPE_CHECKING:
    from deconvbench.runner.engine import RunOutcome
    from deconvbench.runner.plan import Plan
    from deconvbench.workflows.cluster import Cluster, ClusterOutcome


def grid(
    preset: PresetOption = None,
    grid_file: GridOption = None,
    settings: SetOption = None,
    keyword: KeywordOption = "",
    upsampler: UpsamplerOption = None,
    device: DeviceOption = "",
    replicates: ReplicatesOption = None,
    upsamplers: Annotated[
        bool, typer.Option("--upsamplers", help="List the upsamplers instead of the cases.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the cases that would run, their number and an estimated duration."""
    from deconvbench.runner.estimate import describe_extent
    from deconvbench.workflows.selection import load_upsamplers, make_plan

    if upsamplers:
        load_upsamplers(upsampler or [])
        _show_catalogue(upsampler or [], as_json=as_json)
        return
    selection = make_selection(preset, grid_file, settings, keyword, upsampler, device, replicates)
    plan = make_plan(selection)
    if as_json:
        from dataclasses import asdict

        print_rows("grid", [{**asdict(case), "case_id": case.case_id} for case in plan.cases])
        return
    for case in plan.cases:
        print(case.case_id)
    print_text(describe_extent(plan), sys.stderr)


def _show_catalogue(sources: list[str], *, as_json: bool) -> None:
    from deconvbench.runner.catalogue import format_catalogue, lay_out_catalogue, list_catalogue

    rows = list_catalogue(sources)
    if as_json:
        print_rows("upsamplers", [row.to_dict() for row in rows])
    elif sys.stdout.isatty():
        from rich.console import Console

        Console().print(lay_out_catalogue(rows))
    else:
        print_text(format_catalogue(rows))


def run(
    preset: PresetOption = None,
    grid_file: GridOption = None,
    settings: SetOption = None,
    keyword: KeywordOption = "",
    upsampler: UpsamplerOption = None,
    device: DeviceOption = "",
    replicates: ReplicatesOption = None,
    timeout: TimeoutOption = None,
    precision: PrecisionOption = None,
    seed: SeedOption = None,
    baseline: BaselineOption = None,
    conditions: ConditionsOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", parser=parse_path, help="Run folder [default: results/runs/<time>-<preset>]."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --out, or the newest one.")
    ] = False,
    resume_anyway: Annotated[
        bool,
        typer.Option(
            "--resume-anyway", help="Resume even if machine, code or torch changed; the change is recorded."
        ),
    ] = False,
    force: ForceOption = False,
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler",
            metavar="ADDRESS",
            help="Measure on a Dask cluster: tcp://HOST:PORT, tls://HOST:PORT, or local:N to try it here.",
        ),
    ] = None,
    placement: Annotated[
        str | None,
        typer.Option(
            "--placement",
            metavar="HOW",
            help="per-machine: each kind of machine measures the whole grid; spread: equal machines share it"
            " [default: per-machine].",
        ),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Accept a scheduler on another machine without TLS.")
    ] = False,
) -> None:
    """Measure a grid; the last line on standard output is the run folder; exit 1 if every case failed."""
    from deconvbench.workflows.run import find_resumed, resume_plan, start_folder
    from deconvbench.workflows.selection import make_plan

    selection = make_selection(
        preset,
        grid_file,
        settings,
        keyword,
        upsampler,
        device,
        replicates,
        timeout_s=timeout,
        precision=precision,
        seed=seed,
        baseline=baseline,
        conditions=conditions,
    )
    if scheduler is None:
        if placement is not None or insecure:
            option = "--insecure" if placement is None else "--placement"
            raise UsageError(f"{option}: is for runs on a cluster; give its address with --scheduler")
        if resume or resume_anyway:
            plan, folder = resume_plan(out, selection, anyway=resume_anyway)
        else:
            plan = make_plan(selection, ["deconvbench", *sys.argv[1:]])
            folder = start_folder(plan, out, force=force)
        outcomes = [_measure(plan, folder)]
    else:
        words = ClusterWords(scheduler, placement, insecure)
        if resume or resume_anyway:
            outcomes = _resume_on_cluster(words, find_resumed(out, selection), anyway=resume_anyway)
        else:
            plan = make_plan(selection, ["deconvbench", *sys.argv[1:]])
            outcomes = _start_on_cluster(words, plan, out, force=force)
    if any(outcome.is_failure for outcome in outcomes):
        raise typer.Exit(1)


def _measure(plan: "Plan", folder: Path) -> "RunOutcome":
    """Measure with progress on standard error; if it is stopped, print how to continue."""
    from deconvbench.progress import show_progress
    from deconvbench.workflows.run import measure

    with _explain_end() as name_folder:
        name_folder(folder)
        # only then a bar: where one is seen, a stop is explained
        with show_progress(sys.stderr) as observer:
            outcome = measure(plan, folder, observer)
    _show_outcome(plan, folder, outcome)
    return outcome


@dataclass(frozen=True, slots=True)
class ClusterWords:
    """The options that say where a run on a cluster is measured, as they were given."""

    scheduler: str
    placement: str | None
    insecure: bool

    def list_options(self) -> list[str]:
        """Write them as they are typed."""
        placement = [] if self.placement is None else ["--placement", self.placement]
        return ["--scheduler", self.scheduler, *placement, *(["--insecure"] if self.insecure else [])]

    def make_cluster(self) -> "Cluster":
        """Check them."""
        from deconvbench.workflows.cluster import Cluster

        placement = {} if self.placement is None else {"placement": self.placement}
        return Cluster(scheduler=self.scheduler, insecure=self.insecure, **placement)


def _start_on_cluster(words: ClusterWords, plan: "Plan", out: Path | None, *, force: bool) -> list["RunOutcome"]:
    from deconvbench.progress import show_progress
    from deconvbench.workflows.cluster import start_on_cluster

    cluster = words.make_cluster()
    with _explain_end(*words.list_options()) as begin, show_progress(sys.stderr) as observer:
        found = start_on_cluster(plan, out, cluster, force=force, observer=observer, warn=_warn, begin=begin)
    return _show_outcomes(found)


def _resume_on_cluster(words: ClusterWords, folder: Path, *, anyway: bool) -> list["RunOutcome"]:
    from deconvbench.progress import show_progress
    from deconvbench.workflows.cluster import resume_on_cluster

    cluster = words.make_cluster()
    with _explain_end(*words.list_options()) as begin, show_progress(sys.stderr) as observer:
        found = resume_on_cluster(folder, cluster, anyway=anyway, observer=observer, warn=_warn, begin=begin)
    return _show_outcomes(found)


def _warn(line: str) -> None:
    print_text(f"deconvbench: {line}", sys.stderr)


def _show_outcomes(found: list["ClusterOutcome"]) -> list["RunOutcome"]:
    for each in found:
        _show_outcome(each.plan, each.folder, each.outcome)
    return [each.outcome for each in found]


def _show_outcome(plan: "Plan", folder: Path, outcome: "RunOutcome") -> None:
    from deconvbench.workflows.run import summarise_outcome

    print_text(summarise_outcome(plan, outcome), sys.stderr)
    show_standings(folder)
    print_text(folder)


@contextlib.contextmanager
def _explain_end(*options: str) -> Iterator[Callable[[Path], None]]:
    """Print how to continue where a run is stopped, once it has a folder."""
    from deconvbench.progress import print_interruption

    folders: list[Path] = []

    def list_words() -> list[str]:
        folder = str(folders[-1])
        # a folder may have a name that begins with a dash
        out = ["--out", folder] if not folder.startswith("-") else [f"--out={folder}"]
        return ["deconvbench", "run", *options, *out, "--resume"]

    try:
        yield folders.append
    except KeyboardInterrupt as error:
        if not folders:
            raise
        print_interruption("measured", list_words())
        raise typer.Exit(find_exit_code(error)) from error
    except SurroundingsError as error:
        if not folders:
            raise
        raise SurroundingsError(
            f"{error}. What was measured is kept. Continue with: {shlex.join(list_words())}"
        ) from error


def native() -> None:
    """Compile and test the native resize-convolution; the last line on standard output is the library's path."""
    from deconvbench.measure.native_gain import measure_native_gain
    from deconvbench.nn import build_native

    build = build_native()
    threads = "torch's threads" if build.is_threaded else "one thread"
    print_text(f"{build.command}; works in {threads}, within {build.error:.0e} of the plain form", sys.stderr)
    print_text(measure_native_gain(), sys.stderr)
    print_text(build.path)


def env() -> None:
    """Print the environment record (machine and software) that is stored with every run."""
    from deconvbench.workflows.run import read_environment

    print(json.dumps(read_environment(), indent=1))
