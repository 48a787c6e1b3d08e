"""Commands of the article's studies, and the self-test of the comparison."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from deconvbench.cli.options import (
    ConditionsOption,
    ForceOption,
    JsonOption,
    KeywordOption,
    ResultsOption,
    SetOption,
    make_selection,
    parse_path,
    parse_whole,
)
from deconvbench.cli.output import OWN_CLAIMS, print_rows
from deconvbench.system.texts import print_text
from deconvbench.system.writing import check_target


def selftest(
    preset: Annotated[str, typer.Option("--preset", metavar="NAME", help="Preset to measure.")] = "selftest",
    settings: SetOption = None,
    keyword: KeywordOption = "",
    replicates: Annotated[
        int, typer.Option("--replicates", metavar="N", parser=parse_whole, help="Pairs of fresh processes.")
    ] = 24,
    slowdown: Annotated[
        str, typer.Option("--slowdown", metavar="SHARE", help="Slowdown of the cases made slower.")
    ] = "10%",
    conditions: ConditionsOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", parser=parse_path, help="Output folder of records and result."),
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare identical code with itself on this machine: false-positive rate and power of each rule."""
    from deconvbench.progress import show_progress
    from deconvbench.report.selftest import format_selftest, list_rows
    from deconvbench.units import parse_fraction
    from deconvbench.workflows.selftest import run_selftest

    selection = make_selection(preset, None, settings, keyword, None, "", replicates, conditions=conditions)
    share = parse_fraction(slowdown, "--slowdown")
    with show_progress(sys.stderr) as observer:
        result, folder = run_selftest(selection, share, out, observer, force=force)
    if as_json:
        print_rows("selftest", list_rows(result))
    else:
        print_text(format_selftest(result))
    print_text(f"records and result: {folder}", sys.stderr)


def validate(
    seeds: Annotated[
        int,
        typer.Option(
            "--seeds", metavar="N", parser=parse_whole, help="Images of each kind; 1 or 2 for a quick look."
        ),
    ] = 12,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            metavar="DIR",
            parser=parse_path,
            help="Folder of your own photographs, from 256 pixels a side, in place of scikit-image's.",
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", parser=parse_path, help="Output folder of tables, figures and page."),
    ] = Path("results/validation"),
    force: ForceOption = False,
) -> None:
    """Validate the checkerboard score on planted patterns and against other scores.

    Prints false alarms and detections, and which requirements are met; the last line on standard output is the
    path of the page it writes.
    """
    from deconvbench.progress import show_steps
    from deconvbench.studies.validation import validate as validate_score

    with show_steps(sys.stderr) as observer:
        result = validate_score(out, seeds=seeds, images=images, observer=observer, force=force)
    print_text(result.summary)
    print_text(result.page)


def train(
    upsampler: Annotated[
        list[str] | None,
        typer.Option("--upsampler", metavar="NAME[-kN]", help="Upsampler to train with; repeat for more."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Train with every upsampler.")] = False,
    task: Annotated[
        list[str] | None,
        typer.Option(
            "--task",
            metavar="TASK,TASK",
            help="Tasks: reconstruction (default), super-resolution, segmentation, style-transfer.",
        ),
    ] = None,
    norm: Annotated[
        list[str] | None,
        typer.Option(
            "--norm",
            metavar="NORM,NORM",
            help="Norms: instance, none [default: the task's own for the recipe].",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", metavar="NAME", help="How networks are trained: tuned (default) or plain."),
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            "--variant",
            metavar="NAME,NAME",
            help="What to change in the network: standard (default), last-1, last-3, last-9, gain-0.5, gain-2, "
            "encoder-switches.",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps",
            metavar="N",
            parser=parse_whole,
            help="Steps per training run [default: 1500; plain: 500]; tuned segmentation 1000, style-transfer "
            "500.",
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", metavar="N", parser=parse_whole, help="Training runs per network [default: 3]."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            metavar="DIR",
            parser=parse_path,
            help="Folder of your own photographs, of any size and format.",
        ),
    ] = None,
    article: Annotated[
        bool, typer.Option("--article", help="Use the article's 70,000 steps, batch size and width; needs a GPU.")
    ] = False,
    batch: Annotated[
        int | None,
        typer.Option("--batch", metavar="N", parser=parse_whole, help="Batch size [default: 2; plain: 4]."),
    ] = None,
    crop_size: Annotated[
        int | None,
        typer.Option(
            "--crop-size", metavar="N", parser=parse_whole, help="Crop side in pixels [default: 64; plain: 128]."
        ),
    ] = None,
    width: Annotated[
        int | None, typer.Option("--width", metavar="N", parser=parse_whole, help="Base channels [default: 16].")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", metavar="D", help="Device: cpu (default), cuda, mps.")
    ] = None,
    autocast: Annotated[bool, typer.Option("--autocast", help="Compute in bfloat16 where that is safe.")] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            metavar="N",
            parser=parse_whole,
            help="Parallel trainings, one thread each [default: all cores].",
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="DIR", parser=parse_path, help="Output folder; continues the experiments in it."
        ),
    ] = Path("results/experiments"),
    score_again: Annotated[
        bool,
        typer.Option(
            "--score-again",
            help="Train nothing: score the finished runs in the folder again, from the weights that they kept.",
        ),
    ] = False,
    force: ForceOption = False,
) -> None:
    """Train the article's networks with other upsamplers; the last line on standard output is the folder.

    Exit 1 if every training failed.
    """
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
        recipe=recipe,
        variants=variant or (),
        jobs=jobs,
        out=out,
        force=force,
        score_again=score_again,
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
    print_text(out)


def claims(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="[RUN]", parser=parse_path, help="Run folder [default: the newest, if any]."),
    ] = None,
    results: ResultsOption = None,
    as_json: JsonOption = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", parser=parse_path, help="Output file [default: RUN/claims.json]."),
    ] = None,
    force: ForceOption = False,
) -> None:
    """Check whether each claim of the article holds, with the numbers that decide it."""
    from deconvbench.progress import show_steps
    from deconvbench.records.run_folder import CLAIMS_NAME
    from deconvbench.studies.claims import evaluate_claims, find_run
    from deconvbench.studies.claims.output import list_rows, print_claims, write_claims

    if out is not None:
        check_target(out, "--out", OWN_CLAIMS, force=force)
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
        print_text(f"written: {target}", sys.stderr)
