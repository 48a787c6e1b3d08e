"""Goals for what is large: long journals and their reports, runs of many machines, thousands of cases."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench.goal import Goal
from bench.made_journal import write_run
from bench.merge_speed import measure_merges
from bench.overhead import Overhead, make_plan, measure_locally, measure_through_dask
from deconvbench.report import write_report
from deconvbench.tables.files import load

_LOADING_LIMIT_S, _REPORT_LIMIT_S, _PAGE_LIMIT_BYTES = 5.0, 30.0, 20e6
_MERGE_LIMIT_S = 10.0
# a case, without the disk's own time; and what the client may grow by while thousands are measured
_LOCAL_LIMIT_S, _DASK_LIMIT_S, _GROWTH_LIMIT_BYTES = 5e-3, 20e-3, 16 * 2**20


def time_loading(records: int = 100_000, repeats: int = 3) -> Iterator[Goal]:
    """Time how long the table of a long journal takes to load, without tables beside it; the median of several.

    Parameters
    ----------
    records : int
        Records of cases in the journal; that it is compared with has a tenth of them.
    repeats : int
        How often each.
    """
    taken = {}
    with tempfile.TemporaryDirectory() as scratch:
        for count in (records // 10, records):
            folder = write_run(Path(scratch) / str(count), count)
            times = []
            for _ in range(repeats):
                started = time.perf_counter()
                load(folder)
                times.append(time.perf_counter() - started)
            taken[count] = median(times)
    longest = taken[records]
    yield Goal(
        name=f"journal of {records:,} records loads in",
        measured=f"{longest:.1f} s",
        limit=f"{_LOADING_LIMIT_S:.0f} s",
        met=longest < _LOADING_LIMIT_S,
    )
    growth = longest / taken[records // 10]
    yield Goal(
        name=f"over a journal of {records // 10:,}",
        measured=f"{growth:.1f} times as long",
        limit="13",
        met=growth <= 13,
    )


def time_report(records: int = 100_000) -> Iterator[Goal]:
    """Time how long the report of a long journal takes, tables and figures included, and how large its page is.

    Parameters
    ----------
    records : int
        Records of cases in the journal.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = write_run(Path(scratch) / "run", records)
        started = time.perf_counter()
        page = write_report(folder)
        taken = time.perf_counter() - started
        size = page.stat().st_size
    yield Goal(
        name=f"journal of {records:,} records is reported in",
        measured=f"{taken:.1f} s",
        limit=f"{_REPORT_LIMIT_S:.0f} s",
        met=taken < _REPORT_LIMIT_S,
    )
    yield Goal(
        name=f"page of {records:,} records has",
        measured=f"{size / 1e6:.1f} MB",
        limit=f"{_PAGE_LIMIT_BYTES / 1e6:.0f} MB",
        met=size < _PAGE_LIMIT_BYTES,
    )


def time_merge(machines: int = 50, records: int = 2_000) -> Iterator[Goal]:
    """Time how long runs of many machines take to become one, tables included, and how the time grows.

    Parameters
    ----------
    machines : int
        Runs, each of a machine of its own.
    records : int
        Records of cases in each.
    """
    taken = measure_merges(machines, records)
    (fewer, first), last = next(iter(taken.items())), taken[machines]
    yield Goal(
        name=f"runs of {machines} machines × {records:,} records are merged in",
        measured=f"{last:.1f} s",
        limit=f"{_MERGE_LIMIT_S:.0f} s",
        met=last < _MERGE_LIMIT_S,
    )
    limit = 1.3 * machines / fewer
    yield Goal(
        name=f"over those of {fewer}",
        measured=f"{last / first:.1f} times as long",
        limit=f"{limit:.1f}",
        met=last / first <= limit,
    )


def time_overhead(cases: int = 10_000) -> Iterator[Goal]:
    """Time what each case costs around its measurement, on this machine and through Dask with three workers.

    Parameters
    ----------
    cases : int
        A multiple of a hundred, at most ten thousand.
    """
    plan = make_plan(cases)
    ways = (
        ("on this machine", measure_locally, _LOCAL_LIMIT_S),
        ("through Dask", measure_through_dask, _DASK_LIMIT_S),
    )
    for name, measure, limit_s in ways:
        with tempfile.TemporaryDirectory() as scratch:
            found: Overhead = measure(plan, Path(scratch))
        fsync_s = found.fsync_s / cases
        yield Goal(
            name=f"{cases:,} cases of a measure that does nothing, {name}, journal included, fsync apart",
            measured=f"{found.case_s * 1e3:.2f} ms a case (fsync: {fsync_s * 1e3:.2f} ms)",
            limit=f"{limit_s * 1e3:.0f} ms",
            met=found.case_s < limit_s,
        )
    growth = found.growth_bytes
    yield Goal(
        name=f"client of a cluster grows from the second tenth of {cases:,} cases to the last by",
        measured=f"{growth / 2**20:.1f} MiB (has {found.resident_bytes[-1] / 2**20:.0f})",
        limit=f"{_GROWTH_LIMIT_BYTES / 2**20:.0f} MiB",
        met=growth <= _GROWTH_LIMIT_BYTES,
    )
