"""The options of the commands that measure become one selection."""

from pathlib import Path

import pytest

from deconvbench.__main__ import main
from deconvbench.cli.options import make_selection, parse_fail_on
from deconvbench.workflows.selection import Selection


def test_words_become_a_selection() -> None:
    found = make_selection(
        None,
        Path("own.toml"),
        ["height=8"],
        "nearest",
        ["mine:build"],
        "cuda",
        3,
        timeout_s=2.0,
        precision="2%",
        seed=1,
        baseline="subpixel",
        conditions="system",
    )
    assert found == Selection(
        grid=Path("own.toml"),
        settings=("height=8",),
        keyword="nearest",
        upsamplers=("mine:build",),
        device="cuda",
        replicates=3,
        timeout_s=2.0,
        precision="2%",
        seed=1,
        baseline="subpixel",
        conditions="system",
    )


def test_no_words_are_the_default() -> None:
    assert make_selection(None, None, None, "", None, "", None).is_default


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (None, ("slower",)),
        (["inconclusive"], ("inconclusive",)),
        (["slower,inconclusive"], ("slower", "inconclusive")),
        (["inconclusive", " slower ", "slower"], ("inconclusive", "slower")),
    ],
)
def test_verdicts_to_fail_on_are_repeated_or_listed(words: list[str] | None, expected: tuple[str, ...]) -> None:
    assert parse_fail_on(words) == expected


TAKES_PATHS = [
    "run --out",
    "run --grid",
    "run --resume --out",
    "grid --grid",
    "report",
    "report base.json",
    "report folder --out",
    "report folder --results",
    "compare base.json",
    "compare base.json base.json --html",
    "compare base.json base.json --markdown",
    "compare-commits HEAD --markdown",
    "compare-commits HEAD --html",
    "compare-commits HEAD --out",
    "compare-commits HEAD --base-python",
    "selftest --out",
    "validate --out",
    "validate --images",
    "train --out",
    "train --images",
    "claims",
    "claims --out",
    "claims --results",
]


@pytest.mark.parametrize("line", TAKES_PATHS)
@pytest.mark.parametrize("path", ["", " ", "x" * 300, "loop"], ids=["empty", "blank", "long", "loop"])
def test_what_cannot_be_a_path_is_refused_wherever_one_is_taken(
    line: str, path: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "loop").symlink_to("loop")
    before = sorted(here.rglob("*"))
    assert main([*line.split(), path]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert ("is empty" if not path.strip() else "cannot be a path") in err
    assert sorted(here.rglob("*")) == before


FOLDER_COMMANDS = [
    "run --preset smoke --out",
    "selftest --out",
    "validate --out",
    "train --steps 1 --upsampler nearest_conv --out",
]


@pytest.mark.parametrize("line", FOLDER_COMMANDS)
def test_a_folder_with_files_of_others_asks_for_force(
    line: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("summary.csv", "results.csv", "README.md"):
        (here / "folder" / name).write_text("mine")
    assert main([*line.split(), "folder"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "--out: 'folder' holds other files ('README.md', 'results.csv', 'summary.csv')" in err
    assert "pass --force" in err
    assert {path.name: path.read_text() for path in (here / "folder").iterdir()} == dict.fromkeys(
        ("summary.csv", "results.csv", "README.md"), "mine"
    )
    assert main([*line.split()[:1], "--help"]) == 0
    assert "--force" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command", ["run --preset smoke --out x", "validate", "train --steps 1", "grid --upsampler a:b"]
)
def test_a_current_folder_that_was_removed_is_one_line(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here").rmdir()
    assert main(command.split()) in (2, 3)
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
