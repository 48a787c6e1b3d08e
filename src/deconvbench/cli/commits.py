"""The command that compares two commits of a repository."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from deconvbench.cli.options import (
    ConditionsOption,
    FailOnOption,
    ForceOption,
    JsonOption,
    KeywordOption,
    SeedOption,
    SetOption,
    UpsamplerOption,
    parse_fail_on,
    parse_path,
    parse_whole,
)
from deconvbench.cli.output import check_comparison_files, show_comparison
from deconvbench.errors import find_exit_code
from deconvbench.progress import print_interruption
from deconvbench.system.paths import make_absolute
from deconvbench.system.texts import print_text

# exit code where identical code was called slower or faster, so that no verdict means anything
VOID = 4


def compare_commits(
    base: Annotated[str, typer.Argument(metavar="BASE", help="The commit to compare with.")],
    head: Annotated[str, typer.Argument(metavar="[HEAD]", help="The new commit.")] = "HEAD",
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            metavar="NAME",
            help="Measure this preset's cases [default: sizes of quick for what changed, smoke for the rest].",
        ),
    ] = None,
    settings: SetOption = None,
    keyword: KeywordOption = "",
    upsampler: UpsamplerOption = None,
    replicates: Annotated[
        int | None,
        typer.Option(
            "--replicates",
            metavar="N",
            parser=parse_whole,
            help="Pairs of fresh processes [default: 10, and up to 30 for cases not decided].",
        ),
    ] = None,
    margin: Annotated[
        str, typer.Option("--margin", metavar="SHARE", help="Largest relative change to ignore.")
    ] = "2%",
    fail_on: FailOnOption = None,
    seed: SeedOption = None,
    base_python: Annotated[
        Path | None,
        typer.Option("--base-python", metavar="FILE", parser=parse_path, help="Python interpreter for BASE."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            parser=parse_path,
            help="Output folder; an interrupted comparison in it continues.",
        ),
    ] = None,
    page: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", parser=parse_path, help="Write an HTML page.")
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option("--markdown", metavar="FILE", parser=parse_path, help="Write a summary as Markdown."),
    ] = None,
    conditions: ConditionsOption = None,
    as_json: JsonOption = False,
    slow_down: Annotated[list[str] | None, typer.Option("--slow-down", hidden=True)] = None,
    force: ForceOption = False,
) -> int:
    """Measure two commits in turns and print which cases became slower; exit 4 if the control voids it."""
    from deconvbench.progress import show_progress
    from deconvbench.units import parse_margin
    from deconvbench.workflows import commits

    failing = parse_fail_on(fail_on)
    check_comparison_files(page, markdown, force=force)
    selection = commits.CommitSelection(
        preset=preset,
        settings=tuple(settings or ()),
        keyword=keyword,
        upsamplers=tuple(upsampler or ()),
        replicates=replicates,
        margin=parse_margin(margin),
        base_python=None if base_python is None else str(base_python),
        seed=seed,
        conditions=conditions,
        slowdowns=commits.parse_slowdowns(slow_down or ()),
        command=("deconvbench", *sys.argv[1:]),
    )
    started: list[Path] = []

    def announce(lines: Sequence[str], folder: Path) -> None:
        started.append(folder)
        print_text("\n".join(lines), sys.stderr)

    try:
        with show_progress(sys.stderr) as observer:
            done = commits.compare_commits(
                make_absolute(Path()), base, head, selection, out=out, observer=observer, announce=announce
            )
    except KeyboardInterrupt as error:
        if not started:
            raise
        words = sys.argv[1:] if out is not None else [*sys.argv[1:], "--out", str(started[0])]
        print_interruption("measured", ["deconvbench", *words])
        raise typer.Exit(find_exit_code(error)) from error
    print_text(f"comparison folder: {done.folder}", sys.stderr)
    code = show_comparison(
        done.found.table,
        f"{head} against {base}",
        command="compare-commits",
        as_json=as_json,
        page=page,
        markdown=markdown,
        notes=(*done.lines, *done.found.notes),
        fail_on=failing,
    )
    if done.found.control.is_void:
        print_text(
            "deconvbench: void: identical code was called slower or faster, so no verdict can be trusted; stop"
            " what else runs on this machine, and compare again",
            sys.stderr,
        )
        return VOID
    return code
