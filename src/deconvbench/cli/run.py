"""Commands that measure, and those that show what would be measured and on which machine."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deconvbench.cli.options import (
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
from deconvbench.errors import SurroundingsError, find_exit_code
from deconvbench.system.texts import print_text

if TYPE_CHECKING:
    from deconvbench.runner.engine import RunOutcome
    from deconvbench.runner.plan import Plan


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
) -> None:
    """Measure a grid; the last line on standard output is the run folder; exit 1 if every case failed."""
    from deconvbench.workflows.run import resume_plan, start_folder
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
        conditions=conditions,
    )
    if resume or resume_anyway:
        plan, folder = resume_plan(out, selection, anyway=resume_anyway)
    else:
        plan = make_plan(selection, ["deconvbench", *sys.argv[1:]])
        folder = start_folder(plan, out, force=force)
    outcome = _measure(plan, folder)
    print_text(folder)
    if outcome.is_failure:
        raise typer.Exit(1)


def _measure(plan: "Plan", folder: Path) -> "RunOutcome":
    """Measure with progress on standard error; if it is stopped, print how to continue."""
    from deconvbench.progress import print_interruption, show_progress
    from deconvbench.workflows.run import measure, summarise_outcome

    # a folder may have a name that begins with a dash
    out = ["--out", str(folder)] if not str(folder).startswith("-") else [f"--out={folder}"]
    resume = ["deconvbench", "run", *out, "--resume"]
    try:
        with show_progress(sys.stderr) as observer:
            outcome = measure(plan, folder, observer)
    except KeyboardInterrupt as error:
        print_interruption("measured", resume)
        raise typer.Exit(find_exit_code(error)) from error
    except SurroundingsError as error:
        raise SurroundingsError(
            f"{error}. What was measured is kept. Continue with: {shlex.join(resume)}"
        ) from error
    print_text(summarise_outcome(plan, outcome), sys.stderr)
    show_standings(folder)
    return outcome


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
