"""Paths that users give: what cannot be one, what a folder holds, and names that are harmless."""

import errno
import os
from pathlib import Path

import pytest

from deconvbench.errors import RunFolderError, SurroundingsError, UsageError
from deconvbench.system.paths import check_contents, check_path, make_absolute, make_file_name, make_folder


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "'' is empty"),
        ("  ", "'  ' is empty"),
        ("\n", r"'\\n' is empty"),
        ("a\0b", "has a NUL character"),
        ("a" * 300, "cannot be a path: File name too long"),
        ("a/" * 5000, "cannot be a path: File name too long"),
        ("\ud800", "has characters that no path can have"),
        ("loop", "cannot be a path: Too many levels of symbolic links"),
        ("loop/below", "cannot be a path: Too many levels of symbolic links"),
        (Path("a\0b"), "has a NUL character"),
        (3, "3 is not the path of"),
        (None, "None is not the path of"),
    ],
)
def test_what_cannot_be_a_path_is_refused(
    path: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match=f"^--out: .*{reason}") as caught:
        check_path(path, "--out")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("path", [".", "none", "a b", "Aufwärts/上", Path(), "file/below", "\udcff"], ids=ascii)
def test_what_can_be_a_path_is_taken_as_it_is(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert check_path(path, "--out") == Path(path)


def test_an_absolute_path_outlives_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert make_absolute(Path("run")) == tmp_path / "here" / "run"
    (tmp_path / "here").rmdir()
    assert make_absolute(tmp_path) == tmp_path
    for path in (Path("run"), Path()):
        with pytest.raises(SurroundingsError, match="the current folder does not exist any more"):
            make_absolute(path)


# folders


def test_folders_are_made_or_refused(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b", "--out")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("file", "dangling"):
        with pytest.raises(RunFolderError, match=f"--out: '.*{name}' is a file, not a folder"):
            make_folder(tmp_path / name, "--out")
    with pytest.raises(RunFolderError, match="--out: cannot make '.*below': Not a directory"):
        make_folder(tmp_path / "file" / "below", "--out")
    with pytest.raises(SurroundingsError, match="cannot write to .*below: Not a directory"):
        make_folder(tmp_path / "file" / "below")


@pytest.mark.parametrize(
    ("number", "option", "kind"),
    [
        (errno.ENOSPC, "--out", SurroundingsError),
        (errno.EROFS, "--out", RunFolderError),
        (errno.EACCES, "--out", RunFolderError),
        (errno.EROFS, "", SurroundingsError),
    ],
)
def test_a_full_disk_is_told_from_a_folder_that_was_named_wrongly(
    number: int, option: str, kind: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*words: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(kind, match="the disk is full|read-only|permission denied"):
        make_folder(tmp_path / "new", option)


@pytest.mark.parametrize("entries", [(), (".gitkeep", ".lock"), ("run.json", "mine.txt")], ids=str)
def test_a_folder_of_ours_is_taken(tmp_path: Path, entries: tuple[str, ...]) -> None:
    for name in entries:
        (tmp_path / name).touch()
    check_contents(tmp_path, ["run.json"])
    check_contents(tmp_path / "none", ["run.json"])


@pytest.mark.parametrize(
    ("entries", "shown"),
    [
        (("table.csv",), r"\('table.csv'\)"),
        (("d/", "c", "b", "a"), r"\('a', 'b', 'c', …\)"),
        (("RUN.JSON",), r"\('RUN.JSON'\)"),
    ],
    ids=["one", "many", "capitals"],
)
def test_a_folder_with_files_of_others_asks_for_force(
    tmp_path: Path, entries: tuple[str, ...], shown: str
) -> None:
    for name in entries:
        (tmp_path / name).mkdir() if name.endswith("/") else (tmp_path / name).touch()
    with pytest.raises(RunFolderError, match=rf"--out: '.*' holds other files {shown}; .* pass --force"):
        check_contents(tmp_path, ["run.json"])
    check_contents(tmp_path, ["run.json"], force=True)


def test_contents_of_what_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match="is a file, not a folder"):
        check_contents(tmp_path / "file", [])
    check_contents(tmp_path / "file" / "below", [])


# names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("quick", "quick"),
        ("../../x", "_.._x"),
        ("/etc/passwd", "_etc_passwd"),
        ("..", "unnamed"),
        ("", "unnamed"),
        (" . ", "unnamed"),
        (".hidden", "hidden"),
        ("dots...", "dots"),
        ('a\\b:c*d?e"f<g>h|i', "a_b_c_d_e_f_g_h_i"),
        ("a\0b\nc\x1b[2Jd", "a_b_c_[2Jd"),
        ("a\u202eb\u200bc\u2028d", "a_b_c_d"),
        ("\ud800", "_"),
        ("größe 上采样 σ²", "größe 上采样 σ²"),
        ("e\u0301", "é"),
        ("x" * 300, "x" * 120),
        ("上" * 100, "上" * 40),
    ],
    ids=ascii,
)
def test_a_name_is_harmless_and_readable(text: str, expected: str, tmp_path: Path) -> None:
    name = make_file_name(text)
    assert name == expected
    (tmp_path / name).mkdir()
    assert [path.name for path in tmp_path.iterdir()] == [name]
