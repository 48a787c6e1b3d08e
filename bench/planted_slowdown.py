"""Tries of a comparison in which one layer was made slower: ``python -m bench.planted_slowdown [--tries N]``.

Each compares HEAD with HEAD on a preset, with a busy loop in one layer of one side, and prints what the comparison
said of that layer and of the others. Exits with 1 if a try did not find it, or called another layer slower or
faster. Meant for a quiet machine; a try on `smoke` takes some minutes, ten an hour or more.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deconvbench.errors import DeconvbenchError
from deconvbench.records.case import Case
from deconvbench.units import format_duration, parse_fraction, parse_margin
from deconvbench.workflows.commits import CommitComparison, CommitSelection, compare_commits

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """What one comparison said.

    Parameters
    ----------
    planted, others : Counter of str
        Verdicts on the cases of the slowed layer, and on all others.
    noise_floor : float
        How far the control was off, as a share.
    is_void : bool
        Whether the control voided it.
    seconds : float
        How long it took.
    """

    planted: Counter[str]
    others: Counter[str]
    noise_floor: float
    is_void: bool
    seconds: float

    @property
    def is_right(self) -> bool:
        """Whether the slowed layer was found, and nothing else called slower or faster."""
        wrong = self.others["slower"] + self.others["faster"] + self.planted["faster"]
        return self.planted["slower"] > 0 and not wrong and not self.is_void


Compare = Callable[[CommitSelection, Path], CommitComparison]


def _compare(selection: CommitSelection, results: Path) -> CommitComparison:
    return compare_commits(ROOT, "HEAD", "HEAD", selection, results=results)


def make_try(selection: CommitSelection, results: Path, compare: Compare = _compare) -> Try:
    """Compare HEAD with HEAD once, and sort the verdicts.

    Parameters
    ----------
    selection : CommitSelection
        With the layer that is slowed.
    results : Path
        Where what is measured goes.
    compare : callable
        Makes the comparison.
    """
    started = time.monotonic()
    found = compare(selection, results).found
    slowed = {name for name, _ in selection.slowdowns}
    timed = found.table[found.table["metric"] == "latency_s"]
    sorted_out: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    for case, verdict in zip(timed["case_id"], timed["verdict"], strict=True):
        sorted_out[Case.from_id(case).upsampler in slowed][verdict] += 1
    return Try(
        planted=sorted_out[True],
        others=sorted_out[False],
        noise_floor=found.control.noise_floor,
        is_void=found.control.is_void,
        seconds=time.monotonic() - started,
    )


def format_try(number: int, made: Try) -> str:
    """Say in a line what a try gave."""
    parts = [
        f"try {number}: {'right' if made.is_right else 'WRONG'}",
        f"slowed layer: {_count(made.planted)}",
        f"others: {_count(made.others)}",
        f"control off by {made.noise_floor:.1%}{', VOID' if made.is_void else ''}",
        format_duration(made.seconds),
    ]
    return "; ".join(parts)


def _count(verdicts: Counter[str]) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items())) or "none"


def main(arguments: Sequence[str] | None = None, compare: Compare = _compare) -> int:
    """Make the tries and print them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tries", type=int, default=10)
    parser.add_argument("--layer", default="nearest_conv", help="the layer that is slowed")
    parser.add_argument("--share", default="5%", help="by how much")
    parser.add_argument(
        "--margin", default="2%", help="largest change to ignore; below the share, or none is found"
    )
    parser.add_argument("--preset", default="smoke")
    parser.add_argument("--replicates", type=int, help="as of compare-commits")
    options = parser.parse_args(arguments)
    try:
        right = 0
        for number in range(1, options.tries + 1):
            selection = CommitSelection(
                preset=options.preset,
                replicates=options.replicates,
                margin=parse_margin(options.margin),
                slowdowns=((options.layer, parse_fraction(options.share, "--share")),),
            )
            with tempfile.TemporaryDirectory() as folder:
                made = make_try(selection, Path(folder), compare)
            right += made.is_right
            print(format_try(number, made), flush=True)
    except DeconvbenchError as error:
        print(f"planted_slowdown: {error}", file=sys.stderr)
        return error.exit_code
    print(
        f"{right} of {options.tries} tries right: {options.layer} {options.share} slower, margin {options.margin}"
    )
    return int(right < options.tries)


if __name__ == "__main__":
    sys.exit(main())
