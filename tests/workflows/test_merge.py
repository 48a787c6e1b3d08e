"""Runs merged into a folder that everything else reads."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

import deconvbench
from deconvbench.errors import DeconvbenchError, RunFolderError, UsageError
from deconvbench.records.run_folder import JOURNAL_NAME, RUN_NAME, read_run_info
from deconvbench.tables.files import TABLE_NAME, read_tables, write_tables
from deconvbench.workflows.merge import merge_runs
from tests.made_machines import make_machine_records, write_machine, write_machines

SAMPLE = Path(__file__).parents[1] / "samples" / "before_packages" / "run"


def test_the_folder_has_every_measurement_and_tables_that_belong_to_its_journal(tmp_path: Path) -> None:
    runs = write_machines(tmp_path, "a", "b")
    before = {path: path.read_bytes() for run in runs for path in run.iterdir()}
    merged = merge_runs(runs, tmp_path / "m")
    assert (merged.runs, merged.machines, merged.records, merged.repeated) == (2, ("a", "b"), 36, 0)
    assert merged.notes == ()
    table = deconvbench.load(tmp_path / "m")
    assert table.groupby("machine_id").size().to_dict() == {"a": 18, "b": 18}
    stored = read_tables(tmp_path / "m")
    pd.testing.assert_frame_equal(stored.table, table)
    (tmp_path / "m" / TABLE_NAME).unlink()
    pd.testing.assert_frame_equal(deconvbench.load(tmp_path / "m"), table)
    assert before == {path: path.read_bytes() for run in runs for path in run.iterdir()}


def test_run_json_says_of_each_run_where_it_comes_from(tmp_path: Path) -> None:
    a, b = write_machines(tmp_path, "a", "b")
    merge_runs([a, b], tmp_path / "m")
    info = read_run_info(tmp_path / "m")
    assert info["environment"] == {"machine_id": None, "cores": 2, "torch_version": "2.13.0", "machines": 2}
    assert info["finished_at"] is not None
    assert (info["grid"], info["seed"]) == ({"name": "made"}, 7)
    assert info["command"] == ["deconvbench", "merge", "a", "b", "--out", "m"]
    first, second = info["merged"]
    assert (first["name"], first["machine_ids"], first["records"]) == ("a", ["a"], 18)
    assert second["replicates"] == [(0, 3), (1, 4), (2, 5)]
    assert second["environment"]["cpu"] == "Processor b"
    assert str(tmp_path) not in (tmp_path / "m" / RUN_NAME).read_text()


def test_different_grids_and_unfinished_runs_are_joined_and_named(tmp_path: Path) -> None:
    small = write_machine(tmp_path / "small", make_machine_records("a"), grid={"name": "smoke"})
    large = write_machine(
        tmp_path / "large", make_machine_records("b", height=16), grid={"name": "quick"}, finished_at=None
    )
    merged = merge_runs([small, large], tmp_path / "m")
    assert merged.notes == (
        "not finished: large",
        "12 of 12 cases were not measured on every machine: compare them by their ratios, not by latencies",
    )
    info = read_run_info(tmp_path / "m")
    assert info["grid"] == {"name": "smoke, quick"}
    assert info["finished_at"] is None
    assert set(deconvbench.load(tmp_path / "m")["height"]) == {8, 16}


def test_a_merge_of_merges_has_each_run_once(tmp_path: Path) -> None:
    a, b, c = write_machines(tmp_path, "a", "b", "c")
    merge_runs([a, b], tmp_path / "ab")
    merge_runs([b, c], tmp_path / "bc")
    merged = merge_runs([tmp_path / "ab", tmp_path / "bc", a], tmp_path / "all")
    assert (merged.runs, merged.records, merged.repeated) == (3, 54, 36)
    assert [entry["name"] for entry in read_run_info(tmp_path / "all")["merged"]] == ["a", "b", "c"]


def test_one_machine_is_taken_out_as_it_was(tmp_path: Path) -> None:
    a, b = write_machines(tmp_path, "a", "b")
    merge_runs([a, b], tmp_path / "m")
    merged = merge_runs([tmp_path / "m"], tmp_path / "again", machine="b")
    assert (merged.machines, merged.records) == (("b",), 18)
    assert [entry["name"] for entry in read_run_info(tmp_path / "again")["merged"]] == ["b"]
    assert read_run_info(tmp_path / "again")["environment"]["cpu"] == "Processor b"
    own, before = deconvbench.load(tmp_path / "again"), deconvbench.load(b)
    pd.testing.assert_frame_equal(own, before.assign(numerical_error=own["numerical_error"]))


def test_a_run_of_an_earlier_version_is_merged_with_one_of_today(tmp_path: Path) -> None:
    early = Path(shutil.copytree(SAMPLE, tmp_path / "early"))
    (today,) = write_machines(tmp_path, "a")
    merge_runs([early, today], tmp_path / "m")
    table = deconvbench.load(tmp_path / "m")
    assert len(table) == len(deconvbench.load(SAMPLE)) + 18


def test_runs_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    runs = [write_machine(tmp_path / n / "run", make_machine_records(n)) for n in "ab"]
    merge_runs(runs, tmp_path / "m")
    assert [entry["name"] for entry in read_run_info(tmp_path / "m")["merged"]] == ["run", "run (2)"]


def test_what_is_refused_leaves_nothing_behind(tmp_path: Path) -> None:
    a, b = write_machines(tmp_path, "a", "b")
    (tmp_path / "link").symlink_to(a)
    (tmp_path / "empty").mkdir()
    newer = write_machine(tmp_path / "newer", make_machine_records("n"))
    info = json.loads((newer / RUN_NAME).read_text())
    (newer / RUN_NAME).write_text(json.dumps({**info, "schema_version": 99}))
    torn = write_machine(tmp_path / "torn", make_machine_records("t"))
    (torn / JOURNAL_NAME).write_bytes((torn / JOURNAL_NAME).read_bytes()[:50])
    bare = write_machine(tmp_path / "bare", make_machine_records("u"))
    (bare / JOURNAL_NAME).unlink()
    published = write_machine(tmp_path / "published", make_machine_records("p"))
    write_tables(published)
    (published / JOURNAL_NAME).unlink()
    damaged = write_machine(tmp_path / "damaged", make_machine_records("d"), merged=[{"id": 5}])
    others = tmp_path / "others"
    others.mkdir()
    (others / "notes.txt").write_text("mine")
    out = tmp_path / "m"
    refused: list[tuple[list[Path], Path, type[DeconvbenchError], str]] = [
        ([a], out, UsageError, "1 run given; at least two"),
        ([a, tmp_path / "link"], out, UsageError, "link' is given twice"),
        ([a, b], a, UsageError, "is one of the runs that are merged"),
        ([a, b], b / "inner" / "m", UsageError, "is within one of the runs that are merged"),
        ([a, b], tmp_path / "link", UsageError, "is one of the runs that are merged"),
        ([a, b], newer, RunFolderError, "holds a run already; name a new folder"),
        ([a, b], others, RunFolderError, "others"),
        ([a, tmp_path / "none"], out, RunFolderError, "none' does not exist"),
        ([a, tmp_path / "empty"], out, RunFolderError, "has no run.json"),
        ([a, newer], out, RunFolderError, "has schema 99; this version reads up to 1"),
        ([a, torn], out, UsageError, "torn: its journal has no finished line"),
        ([a, bare], out, RunFolderError, "has no journal.jsonl: nothing was measured in it"),
        (
            [a, published],
            out,
            RunFolderError,
            "published' has no journal.jsonl, only what was made of it .*; name the folder that was measured",
        ),
        ([a, damaged], out, RunFolderError, "is not a description of a run: merged"),
    ]
    for runs, target, kind, message in refused:
        with pytest.raises(kind, match=message) as caught:
            merge_runs(runs, target)
        assert "\n" not in str(caught.value)
    assert not out.exists()
    assert [path.name for path in others.iterdir()] == ["notes.txt"]
    merge_runs([a, b], others, force=True)
    assert len(deconvbench.load(others)) == 36


class TestPooling:
    """What several machines say of a case."""

    def test_machines_are_what_varies(self, tmp_path: Path) -> None:
        runs = [
            write_machine(tmp_path / name, make_machine_records(name, seconds=seconds))
            for name, seconds in (("a", 1e-3), ("b", 4e-3), ("c", 2e-3))
        ]
        merge_runs(runs, tmp_path / "m")
        row = read_tables(tmp_path / "m").summary.set_index("upsampler").loc["nearest_conv"]
        assert row["replicates"] == 3  # machines, of nine processes
        assert row["latency_s"] == pytest.approx(1.6 * 2e-3, rel=0.05)
        assert row["latency_ci_high_s"] / row["latency_ci_low_s"] > 4
        # but ratios agree, within a percent
        assert row["ratio"] == pytest.approx(1.6, rel=0.02)
        assert row["ratio_high"] / row["ratio_low"] < 1.1

    def test_a_machine_with_more_replicates_counts_no_more(self, tmp_path: Path) -> None:
        many = make_machine_records("a", {"transposed": 1.0, "nearest_conv": 1.0}, replicates=9)
        few = make_machine_records("b", {"transposed": 1.0, "nearest_conv": 3.0}, replicates=2)
        runs = [write_machine(tmp_path / name, records) for name, records in (("a", many), ("b", few))]
        merge_runs(runs, tmp_path / "m")
        row = read_tables(tmp_path / "m").summary.set_index("upsampler").loc["nearest_conv"]
        assert row["ratio"] == pytest.approx(2, rel=0.01)

    def test_runs_of_one_machine_are_pooled_as_replicates(self, tmp_path: Path) -> None:
        runs = [
            write_machine(tmp_path / str(n), make_machine_records("a", seconds=1e-3 * (1 + n / 1e3)), seed=n)
            for n in range(2)
        ]
        merged = merge_runs(runs, tmp_path / "m")
        assert merged.machines == ("a",)
        row = read_tables(tmp_path / "m").summary.iloc[0]
        assert row["replicates"] == 6
        assert read_run_info(tmp_path / "m")["environment"]["machine_id"] == "a"

    def test_ratios_to_different_baselines_are_not_mixed(self, tmp_path: Path) -> None:
        costs = {"nearest_conv": 1.0, "transposed": 0.625, "bilinear_conv": 1.5}
        first = make_machine_records("a", {"transposed": 1.0, "nearest_conv": 1.6, "bilinear_conv": 2.4})
        second = make_machine_records("b", costs, replicates=2)
        for name, records in (("a", first), ("b", second)):
            write_machine(tmp_path / name, records)
        merge_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "m")
        row = read_tables(tmp_path / "m").summary.set_index("upsampler").loc["bilinear_conv"]
        assert row["baseline_id"].startswith("transposed")
        assert row["ratio"] == pytest.approx(2.4, rel=0.02)


def test_tables_can_be_written_anew(tmp_path: Path) -> None:
    merge_runs(write_machines(tmp_path, "a", "b"), tmp_path / "m")
    before = (tmp_path / "m" / "table.csv").read_bytes()
    write_tables(tmp_path / "m")
    assert (tmp_path / "m" / "table.csv").read_bytes() == before
