"""A library is loaded only where nobody else could have written it, and only if it was built here."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from deconvbench.errors import SurroundingsError, UsageError
from deconvbench.upsamplers.fast.native import build_native, building, find_library, library, trust
from deconvbench.upsamplers.fast.native.library import locate_library
from deconvbench.upsamplers.fast.native.trust import (
    DistrustError,
    check_place,
    digest_library,
    explain_distrust,
    make_private_folder,
    record_digest,
)

OTHER = 12345
_ANOTHER = "is not what was built here"
_WRITABLE = "can be written by others"


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A library as `build_native` leaves one; nothing here loads it."""
    folder = tmp_path / "cache" / "deconvbench"
    make_private_folder(folder)
    path = folder / "tiled-0.so"
    path.write_bytes(b"compiled")
    path.chmod(0o700)
    record_digest(path, digest_library(path))
    return path


def test_what_was_built_here_may_be_loaded(made: Path) -> None:
    assert explain_distrust(made) is None
    assert made.parent.stat().st_mode & 0o777 == 0o700


def replace_by_link(made: Path) -> None:
    elsewhere = made.parents[2] / "elsewhere.so"
    made.replace(elsewhere)
    made.symlink_to(elsewhere)


def lead_through_a_folder_of_all(made: Path) -> None:
    """The cache folder is a link into a folder that everybody can write."""
    cache = made.parents[1]
    shared = cache.parent / "shared"
    shared.mkdir()
    cache.rename(shared / "cache")
    cache.symlink_to(shared / "cache")
    shared.chmod(0o777)


def change_content(made: Path) -> None:
    made.write_bytes(b"changed")


def swap_for_another(made: Path) -> None:
    made.with_name("other.so").write_bytes(b"another that is ours too")
    made.with_name("other.so").replace(made)


def make_fifo(made: Path) -> None:
    made.unlink()
    os.mkfifo(made)


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "content": (change_content, _ANOTHER),
    "another": (swap_for_another, _ANOTHER),
    "no record": (lambda made: made.with_suffix(".sha256").unlink(), _ANOTHER),
    "a record of nothing": (lambda made: made.with_suffix(".sha256").write_text("\n"), _ANOTHER),
    "a record that others write": (lambda made: made.with_suffix(".sha256").chmod(0o666), _WRITABLE),
    "group writes the file": (lambda made: made.chmod(0o720), _WRITABLE),
    "all write the file": (lambda made: made.chmod(0o702), _WRITABLE),
    "group writes the folder": (lambda made: made.parent.chmod(0o770), f"{_WRITABLE} (chmod go-w"),
    "all write a folder above": (lambda made: made.parents[1].chmod(0o707), f"{_WRITABLE} (chmod go-w"),
    "a link": (replace_by_link, "symbolic links"),
    "a way through a folder of all": (lead_through_a_folder_of_all, "shared can be written by others"),
    "a FIFO": (make_fifo, "is not a file"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_what_others_could_have_written_is_refused(name: str, made: Path) -> None:
    change, message = CHANGES[name]
    change(made)
    objection = explain_distrust(made)
    assert objection is not None
    assert message in objection
    assert "\n" not in objection


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("level", [0, 1, 2], ids=["the file", "its folder", "a folder above"])
def test_what_belongs_to_another_is_refused_even_by_root(made: Path, level: int) -> None:
    path = [made, *made.parents][level]
    os.chown(path, OTHER, -1)
    assert explain_distrust(made) == f"{path} belongs to another user"


def test_what_belongs_to_root_is_trusted_as_a_folder_but_not_as_a_library(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    objection = explain_distrust(made)
    if made.stat().st_uid == 0:
        assert objection == f"{made} belongs to another user"
    else:
        assert objection is not None
        assert objection.endswith("belongs to another user")


def test_in_a_sticky_folder_what_is_ours_stays_ours(made: Path) -> None:
    made.parents[1].chmod(0o1777)
    assert explain_distrust(made) is None


def test_a_circle_of_links_is_an_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(DistrustError, match="circle"):
        check_place(tmp_path / "a" / "deconvbench")


def test_while_one_takes_the_place_of_another_both_are_known(made: Path) -> None:
    record_digest(made, "f" * 64)
    assert explain_distrust(made) is None
    record_digest(made, "e" * 64)
    assert explain_distrust(made) is not None  # two builds later it is not


def test_nothing_is_built_where_others_can_write(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.mkdir()
    cache.chmod(0o777)
    monkeypatch.setattr(building, "_compile", lambda target: pytest.fail("it was compiled"))
    with pytest.raises(UsageError, match=f"the cache folder is not safe: {cache} can be written by others"):
        build_native()
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "HOME"])
def test_no_cache_in_the_current_folder(
    variable: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv(variable, "relative")
    if variable == "HOME":
        assert find_library() is None
        with pytest.raises(SurroundingsError, match="set HOME or XDG_CACHE_HOME"):
            build_native()
    else:
        assert locate_library().parent == tmp_path / "home" / ".cache" / "deconvbench"


def test_a_refusal_is_one_line_and_nothing_is_loaded(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = locate_library()
    path.parent.mkdir(parents=True)
    path.write_bytes(b"planted")
    monkeypatch.setattr(library, "Library", lambda path: pytest.fail("it was loaded"))
    with caplog.at_level(logging.WARNING):
        assert find_library() is None
        assert find_library() is None
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(f"deconvbench: the compiled form is not used: {path} is not what was built here; ")
    assert "\n" not in message


def test_a_file_that_cannot_be_read_is_refused(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(trust, "_read_private", refuse)
    assert explain_distrust(made) == f"{made}: permission denied"
