from pathlib import Path

import pytest

from bench import scale_goals
from bench.scale_goals import time_loading, time_merge, time_overhead, time_report


def test_merging_is_timed_with_few_machines_and_with_all() -> None:
    whole, growth = time_merge(machines=3, records=20)
    assert whole.name == "runs of 3 machines × 20 records are merged in"
    assert whole.met == (float(whole.measured.removesuffix(" s")) < 10)
    assert (growth.name, growth.limit) == ("over those of 2", "2.0")  # a third more for the half more
    assert growth.measured.endswith(" times as long")


def test_journals_of_two_lengths_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[int] = []
    times = iter([0.0, 1.0, 2.0, 4.0, 10.0, 14.0, 20.0, 24.0])
    monkeypatch.setattr("bench.scale_goals.time.perf_counter", lambda: next(times))
    monkeypatch.setattr(
        scale_goals,
        "load",
        lambda folder: loaded.append((folder / "journal.jsonl").read_text().count('"kind":"record"')),
    )
    longest, growth = time_loading(records=200, repeats=2)
    assert loaded == [20, 20, 200, 200]
    assert (longest.measured, longest.limit, longest.met) == ("4.0 s", "5 s", True)
    assert (growth.measured, growth.met) == ("2.7 times as long", True)


def test_a_long_report_is_timed_and_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([1.0, 32.5])
    monkeypatch.setattr("bench.scale_goals.time.perf_counter", lambda: next(times))

    def write_report(folder: Path) -> Path:
        assert (folder / "journal.jsonl").read_text().count('"kind":"record"') == 30
        page = folder / "report.html"
        page.write_bytes(b"x" * 21_000_000)
        return page

    monkeypatch.setattr(scale_goals, "write_report", write_report)
    taken, size = time_report(records=30)
    assert (taken.measured, taken.limit, taken.met) == ("31.5 s", "30 s", False)
    assert (size.measured, size.limit, size.met) == ("21.0 MB", "20 MB", False)


@pytest.mark.process
@pytest.mark.slow
def test_overhead_is_told_with_the_disks_share_and_the_clients_memory() -> None:
    local, dask, memory = time_overhead(100)
    assert "ms a case (fsync: " in local.measured
    assert "through Dask" in dask.name
    assert dask.limit == "20 ms"
    assert memory.measured.endswith(")")
