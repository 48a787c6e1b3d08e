"""The files of a run and its tables: written, read back, rebuilt, and refused with the reason."""

import csv
import errno
import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest

from deconvbench import load as public_load
from deconvbench.errors import RunFolderError, SurroundingsError, UsageError
from deconvbench.records import run_folder
from deconvbench.records.journal import Journal
from deconvbench.records.record import (
    AnyRecord,
    Record,
    encode_record,
)
from deconvbench.records.run_folder import JOURNAL_NAME, read_journal
from deconvbench.records.schema import (
    LATER_COLUMNS,
    QUALITY_SUMMARY_DTYPES,
    SUMMARY_DTYPES,
    TABLE_DTYPES,
)
from deconvbench.statistics import mean_interval
from deconvbench.system.texts import MOST_CHARACTERS
from deconvbench.tables import files
from deconvbench.tables.files import (
    QUALITY_CSV_NAME,
    QUALITY_NAME,
    SPEEDUPS_NAME,
    SUMMARY_CSV_NAME,
    TABLE_CSV_NAME,
    TABLE_NAME,
    load,
    read_tables,
    write_tables,
)
from deconvbench.tables.frames import decode_parquet, encode_parquet
from deconvbench.tables.table import build_quality, build_table, summarise, summarise_quality
from tests.builders import make_case, make_record
from tests.made_results import make_trained
from tests.made_speedups import make_speedup_record
from tests.tables.made_records import (
    DESIGN_COLUMNS,
    make_latency,
    make_numerics,
    make_quality,
    make_ripples,
    make_run,
    set_age,
    write_run,
)


def test_a_damaged_journal_is_named_by_file_and_line(tmp_path: Path) -> None:
    write_run(tmp_path, [])
    (tmp_path / JOURNAL_NAME).write_text(encode_record(make_record()) + "\nnonsense\n")
    with pytest.raises(RunFolderError, match=f"{JOURNAL_NAME}:2: not a record"):
        load(tmp_path)


@pytest.mark.parametrize("records", [make_run(), []], ids=["run", "killed-before-the-first-record"])
def test_written_tables_read_back_alike(
    tmp_path: Path, records: list[AnyRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path, records)
    written = write_tables(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [JOURNAL_NAME, TABLE_NAME, TABLE_CSV_NAME, SUMMARY_CSV_NAME, QUALITY_NAME, QUALITY_CSV_NAME]
    )
    # what is read now does not come from the journal
    monkeypatch.setattr(run_folder, "decode_journal", None)
    read = read_tables(tmp_path)
    for name in ("table", "summary", "quality"):
        pd.testing.assert_frame_equal(getattr(read, name), getattr(written, name))
    pd.testing.assert_frame_equal(load(tmp_path), written.table)


@pytest.mark.parametrize(
    ("name", "attribute", "dtypes"),
    [(TABLE_CSV_NAME, "table", TABLE_DTYPES), (SUMMARY_CSV_NAME, "summary", SUMMARY_DTYPES)],
    ids=["table", "summary"],
)
def test_csv_holds_every_digit(tmp_path: Path, name: str, attribute: str, dtypes: dict[str, str]) -> None:
    expected = getattr(write_tables(write_run(tmp_path)), attribute)
    read = pd.read_csv(tmp_path / name, dtype=dtypes)
    # CSV has one word for an empty text and for a missing one
    texts = [column for column, dtype in dtypes.items() if dtype == "str"]
    read, expected = (frame.fillna(dict.fromkeys(texts, "")) for frame in (read, expected))
    # pandas may read a number one unit in the last place off
    pd.testing.assert_frame_equal(read, expected, rtol=1e-15)
    assert (tmp_path / name).read_text().startswith("case_id,upsampler,kernel_size,")


def test_trained_quality_is_written_and_read_where_it_is_handed_in(tmp_path: Path) -> None:
    trained = make_trained(tmp_path / "experiments", (("nearest_conv", 3), ("transposed", 3)), seeds=3)
    folder = write_run(tmp_path / "run")
    plain, written = write_tables(folder), write_tables(folder, trained)
    nearest = written.quality[written.quality["upsampler"] == "nearest_conv"]
    # two seeds were measured, three were trained; the other layer of the run was not, and none is added
    assert nearest["seed"].tolist() == [0, 1, 2]
    assert nearest["trained_psnr_db"].notna().all()
    assert nearest["channels"].isna().tolist() == [False, False, True]
    assert set(written.quality["upsampler"]) == {"bilinear", "nearest_conv"}
    for name in ("table", "summary"):
        pd.testing.assert_frame_equal(getattr(written, name), getattr(plain, name))
    pooled = pd.read_csv(folder / QUALITY_CSV_NAME).set_index("upsampler").loc["nearest_conv"]
    mean, low, high = mean_interval(nearest["trained_psnr_db"])
    assert [pooled[f"trained_psnr_db{end}"] for end in ("", "_ci_low", "_ci_high")] == pytest.approx(
        [mean, low, high]
    )
    assert (pooled["seeds"], pooled["phase_ripple"]) == (3, pytest.approx(0.6))
    pd.testing.assert_frame_equal(read_tables(folder).quality, written.quality)
    # what outlived its journal is filled in as well, and what is handed in replaces what was there
    write_tables(folder)
    pd.testing.assert_frame_equal(read_tables(folder, trained).quality, written.quality)
    write_tables(folder, make_trained(tmp_path / "fewer", (("nearest_conv", 3),), seeds=1))
    (folder / JOURNAL_NAME).unlink()
    pd.testing.assert_frame_equal(read_tables(folder, trained).quality, written.quality)


def test_layers_without_measured_artifacts_have_trained_quality_too(tmp_path: Path) -> None:
    trained = make_trained(tmp_path / "experiments", (("nearest_conv", 3),), seeds=2)
    folder = write_run(tmp_path / "run", [make_record(case=make_case(upsampler="nearest_conv_fast"))])
    quality = read_tables(folder, trained).quality
    assert quality["upsampler"].tolist() == ["nearest_conv_fast"] * 2
    assert quality["trained_ssim"].tolist() == trained.results["ssim"].tolist()


@pytest.mark.parametrize("age_s", [-5, 0, 5], ids=["newer", "of-one-age", "older"])
def test_tables_of_another_journal_are_built_anew_whatever_the_clock_says(tmp_path: Path, age_s: int) -> None:
    """As after cp -r, unzip or a clone, which write the files in any order."""
    write_tables(write_run(tmp_path, make_run(replicates=1)))
    write_run(tmp_path, make_run(replicates=2))
    set_age(tmp_path / JOURNAL_NAME, 10)
    for name in (TABLE_NAME, QUALITY_NAME):
        set_age(tmp_path / name, 10 + age_s)
    assert set(load(tmp_path)["replicate"]) == {0, 1}
    assert read_tables(tmp_path).summary["replicates"].max() == 2


def test_tables_of_this_journal_are_read_though_older_or_torn_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write_tables(write_run(tmp_path)).table
    set_age(tmp_path / TABLE_NAME, 1000)
    with (tmp_path / JOURNAL_NAME).open("a") as journal:
        journal.write('{"schema_version":1,"ki')
    monkeypatch.setattr(files, "lay_out_table", None)
    pd.testing.assert_frame_equal(load(tmp_path), written)


@pytest.mark.parametrize("name", [TABLE_NAME, QUALITY_NAME])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b"this is not parquet"),
        lambda path: path.write_bytes(path.read_bytes()[:-20]),
        lambda path: path.write_bytes(b""),
        lambda path: pd.DataFrame({"a": [1]}).to_parquet(path),
        lambda path: pd.read_parquet(path).to_parquet(path),
        lambda path: path.write_bytes(encode_parquet(pd.read_parquet(path).astype("str"), read_facts(path))),
        lambda path: run_all(path.unlink, path.mkdir),
        lambda path: run_all(path.unlink, lambda: os.mkfifo(path)),
    ],
    ids=["no-parquet", "cut", "empty", "another", "unsigned", "texts", "folder", "pipe"],
)
def test_a_damaged_or_foreign_table_is_built_anew(
    tmp_path: Path, name: str, spoil: Callable[[Path], None]
) -> None:
    expected = write_tables(write_run(tmp_path))
    spoil(tmp_path / name)
    tables = read_tables(tmp_path)
    pd.testing.assert_frame_equal(tables.table, expected.table)
    pd.testing.assert_frame_equal(tables.quality, expected.quality)
    pd.testing.assert_frame_equal(load(tmp_path), expected.table)


def run_all(*steps: Callable[[], object]) -> None:
    for step in steps:
        step()


def read_facts(path: Path) -> dict[str, str]:
    return decode_parquet(path.read_bytes())[1]


def test_speedups_that_were_left_behind_are_built_anew(tmp_path: Path) -> None:
    write_tables(write_run(tmp_path, [make_speedup_record(make_case())]))
    (tmp_path / SPEEDUPS_NAME).unlink()
    assert len(read_tables(tmp_path).speedups) == 8


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [("status", "fine", "status: 'fine' is not one of ok"), ("replicate", "0", "replicate is str, not int64")],
)
def test_a_table_without_a_journal_is_checked(tmp_path: Path, column: str, value: str, problem: str) -> None:
    table = write_tables(write_run(tmp_path)).table
    (tmp_path / JOURNAL_NAME).unlink()
    table[column] = value
    (tmp_path / TABLE_NAME).write_bytes(encode_parquet(table))
    with pytest.raises(RunFolderError, match=rf"{TABLE_NAME}' is not a table of this package: {problem}"):
        load(tmp_path)


def make_hostile() -> list[AnyRecord]:
    """Records with every number and text that is too large or too strange for a column."""
    message = "\x1b[31mred\0 \u2028 \udce9 =1+1"
    return [
        make_record(replicate=0, seed=2**64 - 1, macs=10**30, latency=make_latency(1.0, math.inf, math.nan)),
        make_record(replicate=1, case=make_case(height=2**63), status="error", message=message),
        make_record(replicate=2, torch_version="@SUM(A1)", latency=make_latency(math.nan), order=-(2**70)),
        make_quality(seed=2**65, metrics={"phase_ripple": math.inf, "checkerboard": 1e300}),
        make_quality(seed=1, status="error", message="\u202e\r\n\x85" + "x" * 10**5),
        make_numerics(numerical_error=math.nan),
    ]


def test_what_is_too_large_or_strange_for_a_column_is_tabulated_all_the_same(tmp_path: Path) -> None:
    tmp_path.joinpath(JOURNAL_NAME).write_text("".join(encode_any(record) for record in make_hostile()))
    written = write_tables(tmp_path)
    table = load(tmp_path)
    pd.testing.assert_frame_equal(table, written.table)
    assert table["seed"].tolist() == [float(2**64 - 1), 1, 1]
    assert table["macs"].tolist()[0] == 1e30
    assert table["latency_s"].tolist()[0] == 1.0
    assert table["latency_s"].isna().tolist() == [False, True, True]
    assert table["message"].tolist()[2] == r"\x1b[31mred\x00 \udce9 =1+1"
    assert table["case_id"].str.contains(str(2**63)).sum() == 1
    assert written.quality["message"].str.len().max() <= MOST_CHARACTERS
    read = pd.read_csv(tmp_path / TABLE_CSV_NAME)
    assert read["torch_version"].tolist().count("'@SUM(A1)") == 1
    assert read["seed"].tolist() == table["seed"].tolist()


def encode_any(record: AnyRecord) -> str:
    """Write a line as a program would that knows no limits."""
    return json.dumps({"schema_version": 1, "kind": record.KIND, **asdict(record)}, ensure_ascii=True) + "\n"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@A1", "\t=1", "\r=1", "＝1"])
def test_no_cell_of_a_csv_file_begins_a_formula(tmp_path: Path, text: str) -> None:
    write_tables(write_run(tmp_path, [make_record(status="error", message=f"x{text}", torch_version=text)]))
    for name in (TABLE_CSV_NAME, SUMMARY_CSV_NAME):
        with (tmp_path / name).open(newline="", encoding="utf-8") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert not [cell for cell in cells if cell[:1] in set("=+-@\t\r＝")]
        assert pd.read_csv(tmp_path / name)["torch_version"].tolist() == [f"'{text.strip()}"]


def test_a_run_that_was_cut_off_has_tables_too(tmp_path: Path) -> None:
    tables = read_tables(write_run(tmp_path))
    pd.testing.assert_frame_equal(tables.table, build_table(make_run()))
    pd.testing.assert_frame_equal(tables.quality, build_quality(make_run()))
    assert [path.name for path in tmp_path.iterdir()] == [JOURNAL_NAME]


def test_tables_outlive_their_journal(tmp_path: Path) -> None:
    written = write_tables(write_run(tmp_path))
    (tmp_path / JOURNAL_NAME).unlink()
    pd.testing.assert_frame_equal(read_tables(tmp_path).summary, written.summary)


def test_a_table_of_another_version_is_built_anew(tmp_path: Path) -> None:
    write_run(tmp_path)
    build_table(make_run()).drop(columns="macs").to_parquet(tmp_path / TABLE_NAME)
    assert "macs" in load(tmp_path)


def test_quality_csv_holds_the_intervals(tmp_path: Path) -> None:
    written = write_tables(write_run(tmp_path, make_ripples(0.5, 0.625, 0.75)))
    read = pd.read_csv(tmp_path / QUALITY_CSV_NAME, dtype=dict(QUALITY_SUMMARY_DTYPES), keep_default_na=True)
    expected = summarise_quality(written.quality)
    read, expected = (frame.fillna({"message": ""}) for frame in (read, expected))
    pd.testing.assert_frame_equal(read, expected, rtol=1e-15)


def _age_tables(folder: Path, *lacking: str) -> None:
    """Let tables be those of a version that did not know these columns, and have outlived their journal."""
    write_tables(write_run(folder))
    (folder / JOURNAL_NAME).unlink()
    for name in (TABLE_NAME, QUALITY_NAME):
        frame = pd.read_parquet(folder / name)
        frame.drop(columns=list(lacking), errors="ignore").to_parquet(folder / name, index=False)


def test_old_tables_without_a_journal_lack_what_came_later(tmp_path: Path) -> None:
    _age_tables(tmp_path, *LATER_COLUMNS)
    tables = read_tables(tmp_path)
    expected = build_table(make_run())
    expected["attempt"] = pd.array([None] * len(expected), "Int64")
    pd.testing.assert_frame_equal(tables.table, expected)
    pd.testing.assert_frame_equal(load(tmp_path), expected)
    assert tables.quality.dtypes.to_dict() == build_quality(make_run()).dtypes.to_dict()
    of_summary = [name for name in LATER_COLUMNS if name in SUMMARY_DTYPES]
    assert tables.summary[of_summary].isna().all(axis=None)


def test_older_tables_without_a_journal_are_named_with_what_they_lack(tmp_path: Path) -> None:
    _age_tables(tmp_path, *LATER_COLUMNS, "macs")
    with pytest.raises(
        RunFolderError,
        match="another version: it lacks ended_at, attempt, baseline_id, ratio, macs, kernel, flat_field_ripple",
    ):
        load(tmp_path)
    with pytest.raises(RunFolderError, match=f"no {JOURNAL_NAME} to build it anew from"):
        read_tables(tmp_path)


def test_a_table_that_is_not_parquet_is_named_where_nothing_else_is_left(tmp_path: Path) -> None:
    (tmp_path / TABLE_NAME).write_bytes(b"this is not parquet")
    with pytest.raises(RunFolderError, match=f"cannot read .*{TABLE_NAME}"):
        load(tmp_path)


def test_a_table_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / TABLE_NAME).touch()

    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(RunFolderError, match=f"cannot read .*{TABLE_NAME}.*: permission denied"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("code", "explanation"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EACCES, "permission denied"),
    ],
    ids=["full", "read-only", "denied"],
)
def test_a_disk_that_refuses_is_one_line_and_leaves_the_old_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, explanation: str
) -> None:
    write_tables(write_run(tmp_path))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def refuse(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    write_run(tmp_path, make_run(replicates=1))
    with pytest.raises(SurroundingsError, match=f"^cannot write to .*{QUALITY_NAME}: {explanation}$"):
        write_tables(tmp_path)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {**after, JOURNAL_NAME: b""} == {**before, JOURNAL_NAME: b""}


def test_a_draft_that_cannot_even_be_removed_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tables(write_run(tmp_path))
    before = (tmp_path / QUALITY_NAME).read_bytes()

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "fsync", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(
        SurroundingsError, match=f"^cannot write to .*{QUALITY_NAME}: the file system is read-only$"
    ):
        write_tables(tmp_path)
    assert (tmp_path / QUALITY_NAME).read_bytes() == before


def test_what_is_called_like_a_draft_is_not_in_the_way(tmp_path: Path) -> None:
    write_run(tmp_path)
    (tmp_path / f"{QUALITY_NAME}.tmp").mkdir()
    write_tables(tmp_path)
    assert (tmp_path / f"{QUALITY_NAME}.tmp").is_dir()


def test_load_is_public() -> None:
    assert public_load is load


def test_several_runs_are_told_apart_by_their_names(tmp_path: Path) -> None:
    write_run(tmp_path / "one", make_run(replicates=1))
    write_run(tmp_path / "two", [])
    write_run(tmp_path / "three", make_run(replicates=2))
    both = load([tmp_path / "one", str(tmp_path / "two"), tmp_path / "three"])
    assert list(both.columns) == ["run", *DESIGN_COLUMNS]
    assert both["run"].value_counts().to_dict() == {"three": 5, "one": 3}
    assert both.drop(columns="run").dtypes.to_dict() == load(tmp_path / "one").dtypes.to_dict()
    assert both.index.is_unique
    summary = summarise(both)
    assert list(summary.columns[:2]) == ["run", "case_id"]
    assert summary["replicates"].tolist() == [1, 1, 0, 2, 2, 0]


def test_runs_of_one_name_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / where / "run") for where in ("here", "there")]
    assert list(dict.fromkeys(load(folders)["run"])) == [str(folder) for folder in folders]


def test_a_run_whose_name_is_not_text_is_told_apart_too(tmp_path: Path) -> None:
    folder = write_run(tmp_path / os.fsdecode(b"caf\xe9"))
    assert set(load([folder])["run"]) == {r"caf\udce9"}


def test_one_run_in_a_list_has_its_name_as_well(tmp_path: Path) -> None:
    assert set(load([write_run(tmp_path / "one")])["run"]) == {"one"}
    assert "run" not in load(tmp_path / "one")


def test_no_run_or_a_run_twice_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path)
    with pytest.raises(UsageError, match=r"^run: \[\] is not a list of different run folders"):
        load([])
    with pytest.raises(UsageError, match="is not a list of different run folders"):
        load([tmp_path, str(tmp_path)])


def test_records_round_trip_through_the_file_of_the_journal(tmp_path: Path) -> None:
    # the line of a record is what other programs read: plain JSON with the names of the columns
    line = json.loads((write_run(tmp_path) / JOURNAL_NAME).read_text().splitlines()[-1])
    assert line["case"]["height"] == 99
    assert isinstance(read_journal(tmp_path)[-1], Record)


def test_speedups_are_written_and_read_where_there_are_any(tmp_path: Path) -> None:
    record = make_speedup_record(make_case())
    with Journal(tmp_path) as journal:
        journal.append(make_record())
    assert write_tables(tmp_path).speedups.empty
    assert not list(tmp_path.glob("speedups*"))
    assert read_tables(tmp_path).speedups.empty
    with Journal(tmp_path) as journal:
        journal.append(record)
    written = write_tables(tmp_path).speedups
    assert len(written) == 8
    pd.testing.assert_frame_equal(read_tables(tmp_path).speedups, written)
    assert len(pd.read_csv(tmp_path / "speedups.csv")) == 8
    # what outlived its journal is still read; what the journal knows better is built anew
    (tmp_path / "journal.jsonl").rename(tmp_path / "elsewhere")
    pd.testing.assert_frame_equal(read_tables(tmp_path).speedups, written)
    (tmp_path / "elsewhere").rename(tmp_path / "journal.jsonl")
    with Journal(tmp_path) as journal:
        journal.append(make_speedup_record(make_case(height=16, width=16)))
    assert len(read_tables(tmp_path).speedups) == 16
