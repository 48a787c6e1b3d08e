"""How long runs of many machines take to become one: what `bench.scale_goals` prints, and how the time grows.

``python -m bench.merge_speed [MACHINES] [RECORDS]`` prints seconds by number of machines.
"""

import sys
import tempfile
import time
from pathlib import Path

from bench.made_journal import write_run
from deconvbench.workflows.merge import merge_runs


def measure_merges(machines: int = 50, records: int = 2_000) -> dict[int, float]:
    """Merge made runs, a fifth of them and all.

    Parameters
    ----------
    machines : int
        Runs, each of a machine of its own.
    records : int
        Records of cases in each.

    Returns
    -------
    dict of int to float
        Seconds by number of machines, tables included, the fewer first.
    """
    taken = {}
    with tempfile.TemporaryDirectory() as scratch:
        runs = [
            write_run(Path(scratch) / f"run-{index}", records, index, f"{index:012x}") for index in range(machines)
        ]
        for count in dict.fromkeys((max(machines // 5, 2), machines)):
            started = time.perf_counter()
            merge_runs(runs[:count], Path(scratch) / f"merged-{count}")
            taken[count] = time.perf_counter() - started
    return taken


if __name__ == "__main__":
    for number, seconds in measure_merges(*map(int, sys.argv[1:])).items():
        print(f"{number} machines: {seconds:.2f} s")
