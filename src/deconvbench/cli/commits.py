"""The command that compares two commits of a repository."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from deconvbench.cli.options import KeywordOption, SetOption, make_selection
from deconvbench.cli.output import show_comparison


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
    base_python: Annotated[
        str | None, typer.Option("--base-python", metavar="FILE", help="Python interpreter for BASE.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Write a summary as Markdown.")
    ] = None,
) -> int:
    """Measure two commits, interleaved, and print which cases became slower."""
    from deconvbench.progress import show_progress
    from deconvbench.units import parse_margin
    from deconvbench.workflows import commits
    from deconvbench.workflows.selection import make_plan

    selection = make_selection(preset, None, settings, keyword, None, "", replicates)
    plan = make_plan(selection, ["deconvbench", *sys.argv[1:]])
    with show_progress(sys.stderr) as observer:
        comparison, folders = commits.compare_commits(
            Path.cwd(),
            base,
            head,
            plan,
            base_python=base_python,
            margin=parse_margin(margin),
            observer=observer,
        )
    print("\n".join(f"run folder: {folder}" for folder in folders), file=sys.stderr)
    return show_comparison(comparison, f"{head} against {base}", markdown=markdown)
