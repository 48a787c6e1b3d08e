import os
from pathlib import Path

import pytest

from deconvbench.system.folders import list_files, name_within


def test_files_are_sorted_and_hidden_ones_passed_over(tmp_path: Path) -> None:
    for name in ("b", "a/z", "a/b/c", ".git/x", ".hidden"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    paths, skipped = list_files(tmp_path)
    assert [name_within(path, tmp_path) for path in paths] == ["a/b/c", "a/z", "b"]
    assert skipped == []


@pytest.mark.parametrize(
    ("link", "target", "reason"),
    [
        ("a/loop", "..", "a/loop: the same as ."),
        ("other", "a", "other: the same as a"),
        ("a/0", "1", "a/0: the same as a/1"),
    ],
    ids=["loop", "sibling", "file"],
)
def test_what_links_lead_to_twice_is_listed_once(tmp_path: Path, link: str, target: str, reason: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1").write_text("")
    (tmp_path / link).symlink_to(target)
    paths, skipped = list_files(tmp_path)
    assert [name_within(path, tmp_path) for path in paths] == ["a/1"]
    assert skipped == [reason]


@pytest.mark.parametrize("target", ["..", "../..", "/"])
def test_links_to_what_the_folder_lies_in_are_not_followed(tmp_path: Path, target: str) -> None:
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    for path in (inner / "1", inner.parent / "not mine"):
        path.write_text("")
    (inner / "up").symlink_to(target)
    paths, skipped = list_files(inner)
    assert [name_within(path, inner) for path in paths] == ["1"]
    assert skipped == ["up: a link to a folder that this one lies in"]
    # named by way of a link, it lies in the same folders
    (tmp_path / "link").symlink_to("outer/inner")
    assert list_files(tmp_path / "link")[1] == skipped


def test_what_cannot_be_looked_at_is_listed_for_its_reader(tmp_path: Path) -> None:
    (tmp_path / "gone").symlink_to("nowhere")
    assert list_files(tmp_path) == ([tmp_path / "gone"], [])


def test_names_that_are_no_text_can_be_printed(tmp_path: Path) -> None:
    assert name_within(tmp_path / os.fsdecode(b"caf\xe9"), tmp_path) == r"caf\udce9"
