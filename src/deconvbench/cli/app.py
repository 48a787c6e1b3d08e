"""The command line: words in, one call into the package, words out.

Results go to standard output, progress and errors to standard error. torch and pandas are imported inside the
commands, so that ``--help`` needs neither.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deconvbench import __version__
from deconvbench.errors import SurroundingsError, UsageError
from deconvbench.records.record import SCHEMA_VERSION

if TYPE_CHECKING:
    import pandas as pd

    from deconvbench.runner.plan import Plan
    from deconvbench.workflows.run import Selection

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Benchmark of upsampling layers in PyTorch: latency, memory and checkerboard artifacts in one table.",
)

PresetOption = Annotated[
    str | None,
    typer.Option("--preset", metavar="NAME", help="One of smoke, quick (default), article, full, fast."),
]
GridOption = Annotated[Path | None, typer.Option("--grid", metavar="FILE", help="A grid of your own, as TOML.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="AXIS=V,V", help="Replace an axis: --set height=32,64.")
]
KeywordOption = Annotated[
    str, typer.Option("-k", metavar="EXPR", help="Only cases whose id matches, as pytest's -k.")
]
UpsamplerOption = Annotated[
    list[str] | None,
    typer.Option("--upsampler", metavar="MODULE:FACTORY", help="An upsampler of your own; repeat for more."),
]
DeviceOption = Annotated[str, typer.Option("--device", metavar="D,D", help="Devices: cpu, cuda, cuda:1, mps.")]
ReplicatesOption = Annotated[
    int | None, typer.Option("--replicates", metavar="N", help="Passes over the cases, each in a fresh process.")
]
TimeoutOption = Annotated[
    float | None, typer.Option("--timeout", metavar="S", help="Seconds after which a case counts as hanging.")
]
PrecisionOption = Annotated[
    str | None,
    typer.Option("--precision", metavar="SHARE", help="Further replicates of cells whose interval is wider: 2%."),
]
SeedOption = Annotated[int | None, typer.Option("--seed", metavar="N", help="Of orders, weights and inputs.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


def _print_version(value: bool) -> None:
    if value:
        print(f"deconvbench {__version__}")
        raise typer.Exit


@app.callback()
def set_up(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave."),
    ] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show tracebacks of errors.")] = False,
) -> None:
    """Take the options that stand before every command; `main` looks for -v itself."""


def print_rows(kind: str, rows: list[dict[str, Any]]) -> None:
    """Print the one object that every ``--json`` prints.

    Parameters
    ----------
    kind : str
        The command's name.
    rows : list of dict
        Plain data.
    """
    print(json.dumps({"schema_version": SCHEMA_VERSION, "kind": kind, "rows": rows}, allow_nan=False))


def _make_selection(
    preset: str | None,
    grid_file: Path | None,
    settings: list[str] | None,
    keyword: str,
    upsampler: list[str] | None,
    device: str,
    replicates: int | None,
    *,
    timeout_s: float | None = None,
    precision: str | None = None,
    seed: int | None = None,
) -> "Selection":
    from deconvbench.workflows.run import Selection

    return Selection(
        preset=preset,
        grid=grid_file,
        settings=tuple(settings or ()),
        keyword=keyword,
        upsamplers=tuple(upsampler or ()),
        device=device,
        replicates=replicates,
        timeout_s=timeout_s,
        precision=precision,
        seed=seed,
    )


@app.command()
def grid(
    preset: PresetOption = None,
    grid_file: GridOption = None,
    settings: SetOption = None,
    keyword: KeywordOption = "",
    upsampler: UpsamplerOption = None,
    device: DeviceOption = "",
    replicates: ReplicatesOption = None,
    upsamplers: Annotated[bool, typer.Option("--upsamplers", help="List the upsamplers instead.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the cases that would run, their number and an estimated duration."""
    from deconvbench.runner.estimate import describe_extent
    from deconvbench.workflows.run import load_upsamplers, make_plan

    if upsamplers:
        load_upsamplers(upsampler or [])
        _show_catalogue(upsampler or [], as_json=as_json)
        return
    selection = _make_selection(preset, grid_file, settings, keyword, upsampler, device, replicates)
    plan = make_plan(selection)
    if as_json:
        from dataclasses import asdict

        print_rows("grid", [{**asdict(case), "case_id": case.case_id} for case in plan.cases])
        return
    for case in plan.cases:
        print(case.case_id)
    print(describe_extent(plan), file=sys.stderr)


def _show_catalogue(sources: list[str], *, as_json: bool) -> None:
    from deconvbench.runner.catalogue import format_catalogue, lay_out_catalogue, list_catalogue

    rows = list_catalogue(sources)
    if as_json:
        print_rows("upsamplers", [row.to_dict() for row in rows])
    elif sys.stdout.isatty():
        from rich.console import Console

        Console().print(lay_out_catalogue(rows))
    else:
        print(format_catalogue(rows))


@app.command()
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
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="The run folder; default results/runs/<time>-<preset>."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out, or the newest.")] = False,
    resume_anyway: Annotated[
        bool, typer.Option("--resume-anyway", help="Resume although machine, code or torch changed; recorded.")
    ] = False,
) -> None:
    """Measure a grid; the run folder is the last line on standard output."""
    from deconvbench.workflows.run import make_plan, resume_plan, start_folder

    selection = _make_selection(
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
    )
    if resume or resume_anyway:
        plan, folder = resume_plan(out, selection, anyway=resume_anyway)
    else:
        plan = make_plan(selection, ["deconvbench", *sys.argv[1:]])
        folder = start_folder(plan, out)
    _measure(plan, folder)
    print(folder)


def _measure(plan: "Plan", folder: Path) -> None:
    """Measure with progress on standard error; say how to go on when something stops it."""
    from deconvbench.progress import show_progress
    from deconvbench.workflows.run import measure, summarise_outcome

    resume = f"deconvbench run --out {folder} --resume"
    try:
        with show_progress(sys.stderr) as observer:
            outcome = measure(plan, folder, observer)
    except KeyboardInterrupt as error:
        print(f"deconvbench: interrupted; everything measured is kept. Go on with: {resume}", file=sys.stderr)
        raise typer.Exit(130) from error
    except SurroundingsError as error:
        raise SurroundingsError(f"{error}. What was measured is kept. Go on with: {resume}") from error
    print(summarise_outcome(plan, outcome), file=sys.stderr)


@app.command()
def report(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="[RUN]...", help="Run folders; default: the newest.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where to write; default RUN/report.html.")
    ] = None,
    quality: Annotated[
        str | None,
        typer.Option("--quality", metavar="METRIC,METRIC", help="What to set against latency, a figure each."),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            "--results",
            metavar="DIR",
            help="What deconvbench train found; default: results/experiments, else what ships with the package.",
        ),
    ] = None,
) -> None:
    """Write tables, figures and one self-contained HTML file; its path is the last line on standard output."""
    from deconvbench.plots.gallery import TRADEOFF_METRICS
    from deconvbench.report import write_report
    from deconvbench.tables.table import find_newest_run
    from deconvbench.tables.trained import find_trained

    folders = runs or [find_newest_run(Path("results"))]
    if out is not None and len(folders) > 1:
        raise UsageError(f"--out: {str(out)!r} is one file, for {len(folders)} runs; give one run")
    metrics = TRADEOFF_METRICS if quality is None else tuple(word.strip() for word in quality.split(","))
    trained = find_trained(results)
    for folder in folders:
        print(write_report(folder, out, metrics=metrics, trained=trained))


def show_comparison(
    comparison: "pd.DataFrame",
    title: str,
    *,
    as_json: bool = False,
    page: Path | None = None,
    markdown: Path | None = None,
) -> int:
    """Print a comparison and write what was asked for.

    Parameters
    ----------
    comparison : DataFrame
        From `deconvbench.compare`.
    title : str
        What was compared.
    as_json : bool
        Print rows instead of a table.
    page, markdown : Path or None
        Files to write.

    Returns
    -------
    int
        1 if a case is slower, else 0.
    """
    from deconvbench.records.run_folder import write_whole
    from deconvbench.report.comparison import format_markdown, format_text, list_rows, render_page

    if as_json:
        print_rows("compare", list_rows(comparison))
    else:
        print(format_text(comparison))
    if page is not None:
        write_whole(page, render_page(comparison, title).encode())
    if markdown is not None:
        write_whole(markdown, format_markdown(comparison, title).encode())
    return int((comparison["verdict"] == "slower").any())


@app.command()
def compare(
    base: Annotated[Path, typer.Argument(metavar="BASE", help="A run folder, or a file of pytest-benchmark.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Another.")],
    margin: Annotated[
        str, typer.Option("--margin", metavar="SHARE", help="Differences that do not count.")
    ] = "5%",
    as_json: JsonOption = False,
    page: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page.")] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", metavar="FILE", help="Write a summary.")] = None,
) -> int:
    """Say of each case whether NEW is faster, slower, the same, or whether nobody can tell; exits 1 if slower."""
    from deconvbench.analysis.comparison import compare as compare_runs
    from deconvbench.units import parse_margin

    comparison = compare_runs(base, new, parse_margin(margin))
    return show_comparison(comparison, f"{new} against {base}", as_json=as_json, page=page, markdown=markdown)


@app.command()
def selftest(
    preset: Annotated[str, typer.Option("--preset", metavar="NAME", help="What to measure.")] = "selftest",
    settings: SetOption = None,
    keyword: KeywordOption = "",
    replicates: Annotated[int, typer.Option("--replicates", metavar="N", help="Of each of five runs.")] = 5,
    slowdown: Annotated[str, typer.Option("--slowdown", metavar="SHARE", help="Of the fifth run.")] = "10%",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where the runs and the result go.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare identical code with itself on this machine: false alarms and power of each rule."""
    from deconvbench.analysis.selftest import format_selftest, list_rows
    from deconvbench.progress import show_progress
    from deconvbench.units import parse_fraction
    from deconvbench.workflows.run import run_selftest

    selection = _make_selection(preset, None, settings, keyword, None, "", replicates)
    share = parse_fraction(slowdown, "--slowdown")
    with show_progress(sys.stderr) as observer:
        result, folder = run_selftest(selection, share, out, observer)
    if as_json:
        print_rows("selftest", list_rows(result))
    else:
        print(format_selftest(result))
    print(f"runs and result: {folder}", file=sys.stderr)


@app.command()
def validate(
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", help="Images of each drawn kind.")] = 12,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where tables, figures and page go.")] = Path(
        "results/validation"
    ),
) -> None:
    """Put the checkerboard score to the test; the page it writes is the last line on standard output."""
    from deconvbench.progress import show_steps
    from deconvbench.studies.validation import validate as validate_score

    with show_steps(sys.stderr) as observer:
        page = validate_score(out, seeds=seeds, observer=observer)
    print(page)


@app.command()
def train(
    upsampler: Annotated[
        list[str] | None,
        typer.Option("--upsampler", metavar="NAME[-kN]", help="Train with this one; repeat for more."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Train with every upsampler.")] = False,
    task: Annotated[
        list[str] | None,
        typer.Option("--task", metavar="TASK,TASK", help="reconstruction (default), super-resolution."),
    ] = None,
    norm: Annotated[
        list[str] | None,
        typer.Option("--norm", metavar="NORM,NORM", help="instance, none; the task's own by default."),
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", metavar="N", help="Of each training; 500.")] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", metavar="N", help="Trainings of each network; 3.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--images", metavar="DIR", help="Photographs of your own, of any size and kind.")
    ] = None,
    article: Annotated[
        bool, typer.Option("--article", help="The article's 70,000 steps, batch and width; for a GPU.")
    ] = False,
    batch: Annotated[int | None, typer.Option("--batch", metavar="N", help="Crops a step; 4.")] = None,
    crop_size: Annotated[int | None, typer.Option("--crop-size", metavar="N", help="Pixels a side; 128.")] = None,
    width: Annotated[int | None, typer.Option("--width", metavar="N", help="First channels; 16.")] = None,
    device: Annotated[str | None, typer.Option("--device", metavar="D", help="cpu (default), cuda, mps.")] = None,
    autocast: Annotated[bool, typer.Option("--autocast", help="Compute in bfloat16 where that is safe.")] = False,
    jobs: Annotated[
        int | None, typer.Option("--jobs", metavar="N", help="Trainings at a time, one thread each; all cores.")
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="The experiments folder; goes on with what is there.")
    ] = Path("results/experiments"),
) -> None:
    """Train the article's networks with exchanged upsamplers; the folder is the last line on standard output."""
    from deconvbench.studies.training.command import train_from_words

    code = train_from_words(
        sys.argv[1:],
        layers=upsampler or (),
        all_upsamplers=every,
        tasks=task or (),
        norms=norm or (),
        seeds=seeds,
        images_folder=images,
        is_article=article,
        jobs=jobs,
        out=out,
        numbers={
            "steps": steps,
            "batch": batch,
            "crop_size": crop_size,
            "width": width,
            "device": device,
            "autocast": autocast or None,
        },
    )
    if code:
        raise typer.Exit(code)
    print(out)


@app.command()
def claims(
    run: Annotated[
        Path | None, typer.Argument(metavar="[RUN]", help="A run folder; default: the newest, if there is one.")
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option("--results", metavar="DIR", help="Of deconvbench train; default: yours, or what ships."),
    ] = None,
    as_json: JsonOption = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where to write; default RUN/claims.json.")
    ] = None,
) -> None:
    """Say of each claim of the article whether it holds, with the numbers that decide."""
    from deconvbench.progress import show_steps
    from deconvbench.records.run_folder import CLAIMS_NAME
    from deconvbench.studies.claims import evaluate_claims, find_run
    from deconvbench.studies.claims.output import list_rows, print_claims, write_claims

    folder = run or find_run()
    with show_steps(sys.stderr) as observer:
        found = evaluate_claims(folder, results, observer)
    if as_json:
        print_rows("claims", list_rows(found))
    else:
        print_claims(found, sys.stdout)
    target = out or (folder / CLAIMS_NAME if folder else None)
    if target is not None:
        write_claims(found, target)
        print(f"written: {target}", file=sys.stderr)


@app.command()
def native() -> None:
    """Compile the fast resize-convolution for this machine and try it; its path is the last line on output."""
    from deconvbench.measure.native_gain import measure_native_gain
    from deconvbench.nn import build_native

    build = build_native()
    threads = "torch's threads" if build.is_threaded else "one thread"
    print(f"{build.command}; works in {threads}, within {build.error:.0e} of the plain form", file=sys.stderr)
    print(measure_native_gain(), file=sys.stderr)
    print(build.path)


@app.command()
def env() -> None:
    """Print the record of machine and software that every run keeps."""
    from deconvbench.workflows.run import read_environment

    print(json.dumps(read_environment(), indent=1))
