"""The command that joins runs."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from deconvbench.cli.options import ForceOption, parse_path
from deconvbench.system.texts import print_text


def merge(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", parser=parse_path, help="Run folders, which stay as they are."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", parser=parse_path, help="The new run folder.")],
    machine: Annotated[
        str | None,
        typer.Option(
            "--machine",
            metavar="ID",
            help="Keep what one machine has measured; the beginning of its id is enough.",
        ),
    ] = None,
    force: ForceOption = False,
) -> None:
    """Join runs of one or many machines into a new run folder; its path is the last line on standard output."""
    from deconvbench.workflows.merge import merge_runs

    merged = merge_runs(runs, out, machine=machine, force=force)
    machines = len(merged.machines)
    line = (
        f"{merged.records} records of {merged.runs} run{'s' * (merged.runs != 1)} on {machines}"
        f" machine{'s' * (machines != 1)}"
    )
    if merged.repeated:
        line += f"; {merged.repeated} given more than once, and counted once"
    for text in (line, *merged.notes):
        print_text(text, sys.stderr)
    print_text(merged.folder)
