"""Fuzz `fuse`: ``python -m bench.fusion_fuzz [--networks N] [--seed S] [--jobs J]``.

Prints each network that differs, the first with their sources, and what was tried. Exit code 1 if any differs.
"""

import argparse
import sys
import time
from collections import Counter

from bench.fusion_fuzz.trials import describe, try_all

_REPORT_EVERY = 500


def main(words: list[str]) -> int:
    """Try networks, print what differs, and count."""
    parser = argparse.ArgumentParser(prog="python -m bench.fusion_fuzz", description=__doc__)
    parser.add_argument("--networks", type=int, default=200, help="how many networks [default: 200]")
    parser.add_argument("--seed", type=int, default=0, help="of the first network [default: 0]")
    parser.add_argument("--jobs", type=int, default=1, help="processes [default: 1]")
    parser.add_argument("--show", type=int, default=3, help="failing networks to print in full [default: 3]")
    asked = parser.parse_args(words)
    started, counts, failures = time.monotonic(), Counter[str](), []
    seeds = range(asked.seed, asked.seed + asked.networks)
    for number, trial in enumerate(try_all(seeds, asked.jobs), 1):
        counts["fused"] += trial.outcome.fused > 0
        counts["calls"] += trial.outcome.calls
        if trial.outcome.difference is not None:
            failures.append(trial)
            print(f"seed {trial.seed}: {trial.outcome.difference}", flush=True)
        if number % _REPORT_EVERY == 0:
            print(f"[{number}/{asked.networks}] {time.monotonic() - started:.0f} s", file=sys.stderr)
    for trial in failures[: asked.show]:
        print(f"\n# seed {trial.seed}: {trial.outcome.difference}\n{describe(trial.seed)}")
    print(
        f"{asked.networks} networks, {counts['fused']} of them fused, {counts['calls']} calls that answered,"
        f" {len(failures)} differences, {time.monotonic() - started:.0f} s"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
