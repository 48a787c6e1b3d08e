"""How much `fuse` finds in the architectures that people use: ``python -m bench.fusion_count [NAME...]``.

Fuses a tiny network of each, in float64, with its outputs compared, and prints a line of CSV: upsamplings and
convolutions that were found, those that were fused, and why the others were not. With ``--before FILE``, an
earlier answer, both are printed side by side, as a table in Markdown. Times nothing.
"""

import argparse
import csv
import io
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from bench.fusion_architectures import ARCHITECTURES, Architecture
from bench.fusion_further import FURTHER
from bench.fusion_fuzz.forcing import force_fast_forms
from deconvbench.errors import DeconvbenchError, UnsupportedError, UsageError, describe_failure
from deconvbench.networks.fusion.rewriting import fuse

_COLUMNS = ("architecture", "found", "fused", "max_relative_error", "left")
_LONGEST = 160


def count(architecture: Architecture) -> tuple[int, int, float, str]:
    """Fuse a network.

    Parameters
    ----------
    architecture : Architecture
        Which.

    Returns
    -------
    found, fused : int
        Resize-convolutions and what is left alone, and those that were fused.
    max_relative_error : float
        Of the outputs.
    left : str
        Why the rest was not.

    Raises
    ------
    UnsupportedError
        If its package is not installed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = architecture.build().double().eval()
    report = fuse(model, architecture.make_input(1, 1, torch.float64), inplace=True)
    reasons = sorted({left.reason for left in report.left})
    fused = len(report.changed)
    return fused + len(report.left), fused, report.max_relative_error or 0.0, "; ".join(reasons)[:_LONGEST]


def format_table(before: Mapping[str, Mapping[str, str]], after: Mapping[str, Mapping[str, str]]) -> str:
    """Write two answers as one table in Markdown.

    Parameters
    ----------
    before, after : mapping of str to mapping
        By architecture, then by column.
    """
    lines = ["| architecture | fused before | fused | left, and why |", "| --- | --- | --- | --- |"]
    for name, row in after.items():
        earlier = before.get(name)
        cells = [
            "–" if one is None else f"{one['fused']} of {one['found']}" if one["found"] else one["left"]
            for one in (earlier, row)
        ]
        lines.append(f"| {name} | {cells[0]} | {cells[1]} | {row['left'] if row['found'] else ''} |")
    return "\n".join(lines)


def _read(path: str) -> dict[str, dict[str, str]]:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--before: {describe_failure(error)}") from error
    return {row["architecture"]: row for row in csv.DictReader(io.StringIO(text))}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; those of this process by default.

    Returns
    -------
    int
        The exit code.
    """
    every = {**ARCHITECTURES, **FURTHER}
    parser = argparse.ArgumentParser("python -m bench.fusion_count", description=f"{__doc__}".split(":")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(every)}; all by default")
    parser.add_argument("--before", metavar="FILE", help="what an earlier version printed")
    given = parser.parse_args(arguments)
    rows: dict[str, dict[str, str]] = {}
    writer = csv.writer(sys.stdout)
    try:
        before = None if given.before is None else _read(given.before)
        unknown = next((name for name in given.names if name not in every), None)
        if unknown is not None:
            raise UsageError(f"NAME: {unknown} is not one of {', '.join(every)}")
        # what is small would be convolved plainly, and prove nothing
        force_fast_forms(setattr)
        if before is None:
            writer.writerow(_COLUMNS)
        for name in given.names or every:
            cells = _count_or_explain(every[name])
            rows[name] = dict(zip(_COLUMNS, (name, *cells), strict=True))
            if before is None:
                writer.writerow((name, *cells))
                sys.stdout.flush()
    except DeconvbenchError as error:
        print(f"deconvbench: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    if before is not None:
        print(format_table(before, rows))
    return 0


def _count_or_explain(architecture: Architecture) -> tuple[str, str, str, str]:
    """Count, or say why the network cannot be built; one package that is missing is no end of the others."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found, fused, error, left = count(architecture)
    except UnsupportedError as missing:
        return "", "", "", " ".join(str(missing).split())[:_LONGEST]
    return str(found), str(fused), f"{error:.0e}", left


if __name__ == "__main__":
    sys.exit(main())
