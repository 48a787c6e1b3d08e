"""The command that compares two commits of a repository."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from deconvbench.cli.options import (
    ConditionsOption,
    ForceOption,
    KeywordOption,
    SetOption,
    make_selection,
    parse_path,
)
from deconvbench.cli.output import check_comparison_files, show_comparison
from deconvbench.system.paths import make_absolute
from deconvbench.system.texts import print_text


def compare_commits(
    base: Annotated[str, typer.Argument(metavar="BASE", help="The commit to compare with.")],
    head: Annotated[str, typer.Argument(metavar="[HEAD]", help="The new commit.")] = "HEAD",
    preset: Annotated[str, typer.Option("--preset", metavar="NAME", help="Preset to measure.")] = "smoke",
    settings: SetOption = None,
    keyword: KeywordOption = "",
    replicates: Annotated[
        int, typer.Option("--replicates", metavar="N", help="Number of passes over the cases.")
    ] = 5,
    margin: Annotated[
        str, typer.Option("--margin", metavar="SHARE", help="Largest relative change to ignore.")
    ] = "5%",
    conditions: ConditionsOption = None,
    base_python: Annotated[
        Path | None,
        typer.Option("--base-python", metavar="FILE", parser=parse_path, help="Python interpreter for BASE."),
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option("--markdown", metavar="FILE", parser=parse_path, help="Write a summary as Markdown."),
    ] = None,
    force: ForceOption = False,
) -> int:
    """Measure two commits, interleaved, and print which cases became slower."""
    from deconvbench.progress import show_progress
    from deconvbench.units import parse_margin
    from deconvbench.workflows import commits
    from deconvbench.workflows.selection import make_plan

    check_comparison_files(markdown=markdown, force=force)
    selection = make_selection(preset, None, settings, keyword, None, "", replicates, conditions=conditions)
    plan = make_plan(selection, ["deconvbench", *sys.argv[1:]])
    with show_progress(sys.stderr) as observer:
        comparison, folders = commits.compare_commits(
            make_absolute(Path()),
            base,
            head,
            plan,
            base_python=None if base_python is None else str(base_python),
            margin=parse_margin(margin),
            observer=observer,
        )
    print_text("\n".join(f"run folder: {folder}" for folder in folders), sys.stderr)
    return show_comparison(comparison, f"{head} against {base}", markdown=markdown)
