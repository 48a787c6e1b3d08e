"""A run folder is made, taken up again and closed; what does not fit is refused before anything is written."""

import errno
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from deconvbench.errors import DeconvbenchError, RunFolderError, SurroundingsError
from deconvbench.records.record import Record
from deconvbench.records.run_folder import JOURNAL_NAME, hold_folder, read_journal, read_run_info, write_run_info
from deconvbench.runner import folder as folder_module
from deconvbench.runner.engine import run_plan
from deconvbench.runner.folder import close_folder, make_new_folder, open_folder, reopen_folder
from deconvbench.runner.plan import Plan
from tests.builders import make_plan
from tests.made_machines import make_machine_records, write_machine
from tests.noop_run import FORKS, NoopWorker

ENVIRONMENT: dict[str, Any] = {
    "machine_id": "m",
    "torch_version": "2",
    "code_version": "1",
    "python_version": "3.11",
}


@pytest.mark.parametrize("precision", [None, 0.02])
def test_plan_survives_run_json(tmp_path: Path, precision: float | None) -> None:
    plan = make_plan(upsamplers=("a.b:c",), command=("deconvbench", "run"), precision=precision)
    open_folder(plan, tmp_path / "run", ENVIRONMENT)
    assert Plan.from_dict(json.loads((tmp_path / "run" / "run.json").read_text())) == plan
    assert reopen_folder(tmp_path / "run", ENVIRONMENT) == plan
    assert read_run_info(tmp_path / "run")["resumed"][0]["differences"] == []


def test_a_folder_is_described_until_it_is_closed(tmp_path: Path) -> None:
    open_folder(make_plan(), tmp_path, ENVIRONMENT)
    assert read_run_info(tmp_path)["finished_at"] is None
    close_folder(tmp_path, 0.9)
    close_folder(tmp_path, None)
    info = read_run_info(tmp_path)
    assert info["finished_at"]
    assert info["measuring_share"] == 0.9


def test_a_folder_that_holds_a_run_is_refused(tmp_path: Path) -> None:
    open_folder(make_plan(), tmp_path, ENVIRONMENT)
    with pytest.raises(RunFolderError, match="holds a run already; continue it with --resume"):
        open_folder(make_plan(), tmp_path, ENVIRONMENT)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="is a file, not a folder"):
        open_folder(make_plan(), tmp_path / "file", ENVIRONMENT)
    with pytest.raises(RunFolderError, match="--out: cannot make .*: Not a directory"):
        open_folder(make_plan(), tmp_path / "file" / "below", ENVIRONMENT)


def test_a_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # chmod would not stop root, which is who runs the tests in continuous integration
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(RunFolderError, match="cannot be written: permission denied"):
        open_folder(make_plan(), tmp_path, ENVIRONMENT)


def test_a_full_disk_is_told_from_a_wrong_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, parents: bool, exist_ok: bool) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(SurroundingsError, match="the disk is full"):
        open_folder(make_plan(), tmp_path / "run", ENVIRONMENT)


@pytest.mark.parametrize(
    ("key", "word"), [("machine_id", "machine"), ("torch_version", "torch"), ("code_version", "code")]
)
def test_a_changed_surrounding_is_refused_and_named_unless_told_otherwise(
    tmp_path: Path, key: str, word: str
) -> None:
    open_folder(make_plan(), tmp_path, ENVIRONMENT)
    now = {**ENVIRONMENT, key: "other"}
    with pytest.raises(RunFolderError, match=rf"{word} was .*, is other.*; pass --resume-anyway"):
        reopen_folder(tmp_path, now)
    assert reopen_folder(tmp_path, now, anyway=True) == make_plan()
    assert read_run_info(tmp_path)["resumed"][-1]["differences"] == [f"{word} was {ENVIRONMENT[key]}, is other"]


def test_the_variables_of_the_children_are_described_and_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, str] = {}
    monkeypatch.setattr(
        folder_module, "list_variables", lambda policy: {"GLIBC_TUNABLES": f"{policy}{given.get('more', '')}"}
    )
    plan = make_plan(conditions="settled")
    open_folder(plan, tmp_path, {**ENVIRONMENT, "variables": {"OMP_NUM_THREADS": "2"}})
    info = read_run_info(tmp_path)
    assert info["conditions"] == "settled"
    assert info["environment"]["variables"] == {"OMP_NUM_THREADS": "2", "GLIBC_TUNABLES": "settled"}
    assert reopen_folder(tmp_path, ENVIRONMENT) == plan
    given["more"] = ":mine"
    with pytest.raises(RunFolderError, match=r"GLIBC_TUNABLES was settled, is settled:mine\)"):
        reopen_folder(tmp_path, ENVIRONMENT)
    assert reopen_folder(tmp_path, ENVIRONMENT, anyway=True) == plan


def test_a_foreign_folder_cannot_be_resumed(tmp_path: Path) -> None:
    write_run_info(tmp_path, {"grid": 3})
    with pytest.raises(RunFolderError, match="(is not a description of|does not describe) a run"):
        reopen_folder(tmp_path, ENVIRONMENT)


@pytest.mark.parametrize(
    ("key", "value"),
    [("resumed", None), ("environment", []), ("grid", {"axes": []}), ("case_ids", None)],
    ids=["resumed", "environment", "axes", "cases"],
)
def test_a_description_with_foreign_values_cannot_be_resumed(tmp_path: Path, key: str, value: object) -> None:
    open_folder(make_plan(), tmp_path, ENVIRONMENT)
    write_run_info(tmp_path, {**read_run_info(tmp_path), key: value})
    with pytest.raises(RunFolderError, match="(is not a description of|does not describe) a run"):
        reopen_folder(tmp_path, ENVIRONMENT)


def test_a_folder_that_another_run_holds_is_not_written(tmp_path: Path) -> None:
    open_folder(make_plan(), tmp_path, ENVIRONMENT)
    with hold_folder(tmp_path), pytest.raises(SurroundingsError, match="another run is writing this folder"):
        reopen_folder(tmp_path, ENVIRONMENT)
    assert read_run_info(tmp_path)["resumed"] == []
    assert reopen_folder(tmp_path, ENVIRONMENT) == make_plan()


def test_a_journal_that_cannot_be_read_is_refused_before_anything_changes(tmp_path: Path) -> None:
    open_folder(make_plan(), tmp_path, ENVIRONMENT)
    (tmp_path / JOURNAL_NAME).mkdir()
    with pytest.raises(SurroundingsError, match="cannot read .*: Is a directory"):
        reopen_folder(tmp_path, ENVIRONMENT)
    (tmp_path / JOURNAL_NAME).rmdir()
    (tmp_path / JOURNAL_NAME).write_text("{oops\n")
    with pytest.raises(RunFolderError, match=f"{JOURNAL_NAME}:1: not a record"):
        reopen_folder(tmp_path, ENVIRONMENT)
    assert read_run_info(tmp_path)["resumed"] == []


@pytest.mark.parametrize("names", [("table.csv", "summary.csv"), ("notes/",)], ids=["files", "folder"])
def test_a_folder_with_files_of_others_asks_for_force(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / name).mkdir() if name.endswith("/") else (tmp_path / name).write_text("mine")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(RunFolderError, match="--out: .* holds other files .*; .* pass --force"):
        open_folder(make_plan(), tmp_path, ENVIRONMENT)
    assert sorted(tmp_path.iterdir()) == before
    open_folder(make_plan(), tmp_path, ENVIRONMENT, force=True)
    assert read_run_info(tmp_path)["seed"] == make_plan().seed
    for name in names:
        assert name.endswith("/") or (tmp_path / name).read_text() == "mine"
    with pytest.raises(RunFolderError, match="holds a run already"):
        open_folder(make_plan(), tmp_path, ENVIRONMENT, force=True)


@pytest.mark.parametrize("name", ["run.json", JOURNAL_NAME])
def test_a_link_in_the_place_of_a_run_is_not_followed(tmp_path: Path, name: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).symlink_to(tmp_path / "victim")
    with pytest.raises(RunFolderError, match="holds a run already"):
        open_folder(make_plan(), tmp_path / "run", ENVIRONMENT, force=True)
    assert not (tmp_path / "victim").exists()


def test_a_folder_is_held_before_it_is_described(tmp_path: Path) -> None:
    with hold_folder(tmp_path), pytest.raises(SurroundingsError, match="another run is writing this folder"):
        open_folder(make_plan(), tmp_path, ENVIRONMENT)
    assert not (tmp_path / "run.json").exists()


def test_a_description_that_is_gone_at_the_end_is_the_fault_of_the_system(tmp_path: Path) -> None:
    open_folder(make_plan(), tmp_path / "run", ENVIRONMENT)
    (tmp_path / "run").rename(tmp_path / "moved")
    with pytest.raises(SurroundingsError, match="was changed or removed while the run was writing it"):
        close_folder(tmp_path / "run", 0.9)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["../../x", "/x", "..", "", "a/b", "x" * 300, "a\0b", "Größe"], ids=ascii)
def test_no_name_leads_out_of_the_folder_of_runs(tmp_path: Path, name: str) -> None:
    folder = make_new_folder(name, tmp_path / "runs")
    assert folder.parent == tmp_path / "runs"
    assert list((tmp_path / "runs").iterdir()) == [folder]
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_names_that_differ_in_capitals_alone_get_folders_of_their_own(tmp_path: Path) -> None:
    assert len({make_new_folder(name, tmp_path) for name in ("grid", "Grid", "GRID", "grid")}) == 4


def make_many(parent: Path, count: int) -> None:
    for _ in range(count):
        folder = make_new_folder("same", parent)
        (folder / "alone").touch(exist_ok=False)


def run_at_once(seed: int, folder: Path) -> None:
    """Take a folder when all others do; end with 1 where it was refused in a line."""
    plan = make_plan(seed=seed)
    while not (folder.parent / "go").exists():
        pass
    try:
        open_folder(plan, folder, ENVIRONMENT)
        run_plan(
            plan,
            folder,
            start_worker=NoopWorker,
            finish=lambda at, outcome: close_folder(at, outcome.measuring_share),
        )
    except DeconvbenchError as error:
        raise SystemExit(1) from error


@pytest.mark.process
def test_many_runs_started_at_once_each_get_a_folder_of_their_own(tmp_path: Path) -> None:
    processes = [FORKS.Process(target=make_many, args=(tmp_path, 25)) for _ in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 8
    assert len(list(tmp_path.glob("*-same*/alone"))) == 200


@pytest.mark.process
def test_of_many_runs_in_one_folder_one_measures_and_describes_itself(tmp_path: Path) -> None:
    processes = [FORKS.Process(target=run_at_once, args=(seed, tmp_path / "run")) for seed in range(8)]
    for process in processes:
        process.start()
    (tmp_path / "go").touch()
    for process in processes:
        process.join()
    assert Counter(process.exitcode for process in processes) == {0: 1, 1: 7}
    info = read_run_info(tmp_path / "run")
    assert info["finished_at"]
    seeds = {record.seed for record in read_journal(tmp_path / "run") if isinstance(record, Record)}
    assert seeds == {info["seed"]}


def test_a_merged_run_is_not_resumed(tmp_path: Path) -> None:
    write_machine(tmp_path / "m", make_machine_records("a"), merged=[{"id": "x", "name": "a", "replicates": []}])
    with pytest.raises(RunFolderError, match="m was merged from other runs; resume those, and merge them again"):
        reopen_folder(tmp_path / "m", {}, anyway=True)
