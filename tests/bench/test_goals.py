"""Goals are printed, met or missed; here their cause is tested, not their size."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench import goals
from bench.goals import (
    Goal,
    compare_with_plain,
    compare_with_resident_peak,
    compare_with_timer,
    estimate_budget,
    print_goals,
    read_measuring_share,
    read_quick,
    read_selftest,
    time_audits,
    time_claims,
    time_loading,
    time_merge,
    time_overhead,
    time_report,
)
from deconvbench.studies.claims import CLAIMS, Claim, Evidence, Finding
from deconvbench.units import format_duration


def test_goals_are_printed_with_limit_and_machine() -> None:
    lines: list[str] = []
    found = [
        Goal(name="a", measured="1 s", limit="2 s", met=True),
        Goal(name="b", measured="3 s", limit="2 s", met=False),
    ]
    print_goals(iter(found), lines.append)
    assert "torch" in lines[0]
    assert lines[1:] == ["met     a: 1 s (goal: 2 s)", "missed  b: 3 s (goal: 2 s)"]


def test_latency_is_compared_with_torchs_timer() -> None:
    goal = compare_with_timer(("nearest_conv-k3-s2-c4x2-4x4",), rounds=1)
    assert goal.met == (abs(float(goal.measured.split()[0]) - 1) < 0.03)


@pytest.mark.slow
def test_speedups_are_compared_with_their_goals_beside_the_deconvolution() -> None:
    found = list(compare_with_plain(((4, 4), (8, 4)), time_cap_s=0.0))
    assert [goal.limit for goal in found] == ["3.0", "3.5", "2.6", "2.6", "1.8"]
    for goal in found:
        ratio, _, rest = goal.measured.partition(" times faster (transposed k3: ")
        assert goal.met == (float(ratio) >= float(goal.limit)) or ratio == goal.limit
        assert float(rest.removesuffix(")")) > 0
    assert found[0].name == "nearest_conv_fast over nearest_conv, forward, frozen, contiguous, threads: 1"
    assert "train, contiguous" in found[-1].name


@pytest.mark.slow
def test_audits_are_timed_beside_the_forwards_that_they_take() -> None:
    decoder, unet, upscaler = time_audits(is_small=True)
    assert decoder.name == "audit of the decoder, 0.2 million parameters, 256×256, two threads"
    for goal in (decoder, unet, upscaler):
        seconds, _, rest = goal.measured.partition(" s, ")
        assert goal.limit == "30 s"
        assert goal.met == (float(seconds) < 30)
        assert 3 < float(rest.split()[0]) < 15


def test_merging_is_timed_with_few_machines_and_with_all() -> None:
    whole, growth = time_merge(machines=3, records=20)
    assert whole.name == "runs of 3 machines × 20 records are merged in"
    assert whole.met == (float(whole.measured.removesuffix(" s")) < 10)
    assert (growth.name, growth.limit) == ("over those of 2", "2.0")  # a third more for the half more
    assert growth.measured.endswith(" times as long")


def test_help_is_timed_from_start_to_end() -> None:
    goal = goals.time_help(repeats=1)
    assert float(goal.measured.removesuffix(" s")) > 0


def test_claims_are_judged_while_they_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[int] = []

    def judge(claim: Claim, number: int) -> Claim:
        def note(evidence: Evidence) -> Finding:
            judged.append(number)
            return claim.judge(evidence)

        return replace(claim, judge=note)

    monkeypatch.setattr(goals, "CLAIMS", tuple(judge(claim, claim.id) for claim in CLAIMS))
    goal = time_claims((1, 5))
    assert judged == [1, 5]
    assert goal.name == "claims 1, 5 together"
    assert goal.limit == "10 s"


def test_the_budget_is_that_of_all_default_runs_on_two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    # eight networks of three seeds, 100 s each
    monkeypatch.setattr(goals, "estimate_seconds", lambda *_: 100.0)
    goal = estimate_budget()
    assert (goal.measured, goal.limit, goal.met) == ("20 min 00 s", "30 min 00 s", True)
    assert "24 runs" in goal.name
    monkeypatch.setattr(goals, "estimate_seconds", lambda *_: 200.0)
    assert not estimate_budget().met


@pytest.mark.slow
def test_peaks_are_compared_with_the_kernels() -> None:
    (goal,) = compare_with_resident_peak(("nearest_conv-k3-s2-c32x16-256x256",))
    assert goal.met, goal


def test_the_share_is_read_from_the_newest_run(tmp_path: Path) -> None:
    assert list(read_measuring_share(tmp_path)) == []
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    (folder / "journal.jsonl").touch()
    info = {"schema_version": 1, "measuring_share": 0.7}
    (folder / "run.json").write_text(json.dumps(info))
    (goal,) = read_measuring_share(tmp_path)
    assert (goal.measured, goal.met) == ("70%", False)
    (folder / "run.json").write_text(json.dumps({**info, "measuring_share": None}))
    assert list(read_measuring_share(tmp_path)) == []


def test_rates_are_read_from_the_newest_selftest(tmp_path: Path) -> None:
    assert list(read_selftest(tmp_path)) == []
    row = {"runs": "pairs", "rule": "paired", "margin": 0.05, "comparisons": 60, "false_alarms": 0.02}
    rows = [
        {**row, "power": {"5%": 0.1, "10%": 0.95}},
        {**row, "rule": "Mann-Whitney", "power": {"5%": 1.0, "10%": 1.0}},
        {**row, "margin": 0.02, "false_alarms": 0.0, "power": {"5%": 0.8, "10%": 1.0}},
    ]
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    (folder / "selftest.json").write_text(json.dumps({"rows": rows, "total_s": 630.0}))
    assert [(goal.measured, goal.met) for goal in read_selftest(tmp_path)] == [
        ("2.0%", False),
        ("95%", True),
        ("0.0%", True),
        ("80%", False),
        (format_duration(630), False),
    ]
    # of versions before there were pairs
    (folder / "selftest.json").write_text(json.dumps({"rows": [{**row, "rule": "ours"}]}))
    assert list(read_selftest(tmp_path)) == []


def write_ratios(folder: Path, ratios: list[float], half_width: float, noisy: int) -> None:
    lines = [
        "case_id,baseline_id,ratio,ratio_low,ratio_high,noisy",
        "base,base,1.0,1.0,1.0,False",
        "alone,,,,,False",
    ]
    for number, ratio in enumerate(ratios):
        ends = f"{ratio * (1 - half_width)},{ratio * (1 + half_width)}"
        lines.append(f"case{number},base,{ratio},{ends},{number < noisy}")
    folder.mkdir(parents=True)
    (folder / "summary.csv").write_text("\n".join(lines))


def test_ratios_are_read_from_the_newest_two_runs_of_quick(tmp_path: Path) -> None:
    assert list(read_quick(tmp_path)) == []
    runs = tmp_path / "runs"
    write_ratios(runs / "20260101T000000Z-quick", [9.0] * 10, 0.5, 10)
    write_ratios(runs / "20260102T000000Z-quick", [2.0] * 10, 0.5, 10)
    write_ratios(runs / "20260103T000000Z-quick", [2.0] * 5 + [2.3] * 5, 0.03, 1)
    write_ratios(runs / "20260104T000000Z-smoke", [7.0] * 10, 0.9, 10)
    assert [(goal.measured, goal.met) for goal in read_quick(tmp_path)] == [
        ("3.0%", False),
        ("3.0%", True),
        ("10%", True),
        ("7.0%", False),
        ("14.0%", False),
    ]


def test_journals_of_two_lengths_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[int] = []
    times = iter([0.0, 1.0, 2.0, 4.0, 10.0, 14.0, 20.0, 24.0])
    monkeypatch.setattr("bench.goals.time.perf_counter", lambda: next(times))
    monkeypatch.setattr(
        goals,
        "load",
        lambda folder: loaded.append((folder / "journal.jsonl").read_text().count('"kind":"record"')),
    )
    longest, growth = time_loading(records=200, repeats=2)
    assert loaded == [20, 20, 200, 200]
    assert (longest.measured, longest.limit, longest.met) == ("4.0 s", "5 s", True)
    assert (growth.measured, growth.met) == ("2.7 times as long", True)


def test_a_long_report_is_timed_and_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([1.0, 32.5])
    monkeypatch.setattr("bench.goals.time.perf_counter", lambda: next(times))

    def write_report(folder: Path) -> Path:
        assert (folder / "journal.jsonl").read_text().count('"kind":"record"') == 30
        page = folder / "report.html"
        page.write_bytes(b"x" * 21_000_000)
        return page

    monkeypatch.setattr(goals, "write_report", write_report)
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
