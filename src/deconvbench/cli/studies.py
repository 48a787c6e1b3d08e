"""Commands of the article's studies, and of the comparison's own test."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from deconvbench.cli.options import JsonOption, KeywordOption, SetOption, make_selection
from deconvbench.cli.output import print_rows


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

    selection = make_selection(preset, None, settings, keyword, None, "", replicates)
    share = parse_fraction(slowdown, "--slowdown")
    with show_progress(sys.stderr) as observer:
        result, folder = run_selftest(selection, share, out, observer)
    if as_json:
        print_rows("selftest", list_rows(result))
    else:
        print(format_selftest(result))
    print(f"runs and result: {folder}", file=sys.stderr)


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
