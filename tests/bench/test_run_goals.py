import json
from pathlib import Path

from bench.run_goals import read_measuring_share, read_quick, read_selftest
from deconvbench.units import format_duration


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
