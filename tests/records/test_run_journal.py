"""A run folder read by its journal, and the newest run of several."""

from collections.abc import Callable
from pathlib import Path

import pytest

from deconvbench.errors import RunFolderError, UsageError
from deconvbench.records.run_folder import JOURNAL_NAME, find_newest_run, read_journal
from deconvbench.records.schema import SPEEDUP_DTYPES
from deconvbench.tables.files import (
    load,
    read_tables,
    write_tables,
)
from deconvbench.tables.frames import encode_parquet, make_frame
from tests.tables.made_records import make_run, set_age, write_run


def test_read_journal_gives_all_records_but_a_torn_last_one(tmp_path: Path) -> None:
    write_run(tmp_path)
    with (tmp_path / JOURNAL_NAME).open("ab") as file:
        file.write(b'{"schema_version":1,"kind":"rec')
    assert read_journal(tmp_path) == make_run()
    assert read_journal(str(tmp_path)) == make_run()


def _no_folder(path: Path) -> None:
    path.rmdir()


def _a_file(path: Path) -> None:
    path.rmdir()
    path.write_text("")


def _speedups_alone(path: Path) -> None:
    (path / "speedups.parquet").write_bytes(encode_parquet(make_frame([], SPEEDUP_DTYPES)))


def _journal_is_a_folder(path: Path) -> None:
    (path / JOURNAL_NAME).mkdir()


@pytest.mark.parametrize(
    ("prepare", "problem"),
    [
        (_no_folder, "does not exist"),
        (_a_file, "is a file, not a folder"),
        (lambda _: None, f"has no {JOURNAL_NAME}: nothing was measured in it"),
        (
            _speedups_alone,
            rf"has no {JOURNAL_NAME}, only what was made of it \(speedups.parquet\), which is not enough",
        ),
        (_journal_is_a_folder, "cannot read .*: Is a directory"),
    ],
    ids=["missing", "file", "empty", "published", "folder-for-a-journal"],
)
@pytest.mark.parametrize("function", [read_journal, write_tables, read_tables, load])
def test_what_is_no_run_folder_is_named(
    tmp_path: Path, function: Callable[[Path], object], prepare: Callable[[Path], None], problem: str
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    prepare(folder)
    with pytest.raises(RunFolderError, match=f"^run folder: .*{problem}") as caught:
        function(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_newest_run_is_the_one_whose_journal_was_written_last(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    ages = {"20260101T000000Z-quick": 5, "20260102T000000Z-smoke": 10, "mine": 20}
    for name, age in ages.items():
        set_age(write_run(runs / name) / JOURNAL_NAME, age)
    (runs / "20270101T000000Z-empty").mkdir()
    (runs / "notes.txt").write_text("not a run")
    assert find_newest_run(tmp_path) == runs / "20260101T000000Z-quick"
    set_age(runs / "mine" / JOURNAL_NAME, 0)
    assert find_newest_run(str(tmp_path)) == runs / "mine"
    # at the same moment, the later name
    set_age(runs / "20260101T000000Z-quick" / JOURNAL_NAME, 10)
    set_age(runs / "mine" / JOURNAL_NAME, 20)
    assert find_newest_run(tmp_path) == runs / "20260102T000000Z-smoke"


@pytest.mark.parametrize("exists", [True, False], ids=["empty", "missing"])
def test_no_run_at_all_says_how_to_get_one(tmp_path: Path, exists: bool) -> None:
    if exists:
        (tmp_path / "runs" / "no-journal").mkdir(parents=True)
    with pytest.raises(
        UsageError, match=r"^RUN: no run folder in .*runs'; name one, or measure with: deconvbench run$"
    ):
        find_newest_run(tmp_path)
