"""Scoring pictures from the command line."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deconvbench.__main__ import main
from deconvbench.measure.decoding import read_levels
from deconvbench.workflows import picture_scores
from tests.json_schemas import check_output
from tests.measure.test_picture import draw


@pytest.fixture(autouse=True)
def _pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, amplitude in (("board.png", 3.0), ("clean.png", 0.0)):
        Image.fromarray(draw(amplitude=amplitude)[0].numpy()).save(name)


def test_one_picture_is_scored_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "board.png"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("board.png: grid of period 2, ")
    assert err == ""


def test_several_are_a_table_and_what_is_no_picture_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    Path("notes.txt").write_text("x")
    assert main(["score", ".", "--period", "2"]) == 0
    out, err = capsys.readouterr()
    assert [line.split("|")[1].strip() for line in out.splitlines() if line.startswith("|")][2:] == [
        "board.png",
        "clean.png",
    ]
    assert "2 pictures, 1 with a grid\n" in out
    assert "left out: notes.txt: not an image that Pillow reads\n" in out
    assert "[1/3]" in err


def test_as_json_it_is_one_strict_object(capsys: pytest.CaptureFixture[str]) -> None:
    Path("notes.txt").write_text("x")
    assert main(["score", "board.png", "clean.png", "notes.txt", "--json", "--period", "2"]) == 0
    out, err = capsys.readouterr()
    answer = check_output(out)
    assert (answer["schema_version"], answer["kind"], answer["period"]) == (1, "score", 2)
    assert [row["name"] for row in answer["rows"]] == ["board.png", "clean.png", "notes.txt"]
    assert [row.get("verdict") for row in answer["rows"]] == ["checkerboard", "nothing", None]
    assert "left out: notes.txt: not an image that Pillow reads" in err


@pytest.mark.parametrize(
    ("pictures", "limit", "code"),
    [
        (["board.png"], "2.5", 1),
        (["board.png"], "3.5", 0),
        (["clean.png", "board.png"], "2", 1),
        (["clean.png"], "2", 0),
    ],
)
def test_a_limit_decides_the_exit_code(
    pictures: list[str], limit: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", *pictures, "--period", "2", "--fail-over", limit]) == code
    assert "not judged" not in capsys.readouterr().err


def test_a_limit_that_no_picture_can_be_judged_at_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "clean.png", "--period", "2", "--fail-over", "0"]) == 0
    err = capsys.readouterr().err
    assert err == "not judged at 0 levels, which is below the detection level: clean.png\n"


@pytest.mark.usefixtures("capsys")
def test_tables_replace_their_own_files_and_no_other() -> None:
    words = ["score", "board.png", "--period", "2", "--csv", "mine.csv"]
    Path("mine.csv").write_text("my own")
    assert main(words) == 2
    assert Path("mine.csv").read_text() == "my own"
    assert main([*words, "--force"]) == 0
    assert Path("mine.csv").read_text().startswith("name,width,height,format,verdict,")
    assert main(words) == 0


def test_the_map_replaces_its_own_file_and_no_picture(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["score", "board.png", "--period", "2", "--map"]
    clean = Path("clean.png").read_bytes()
    assert main([*words, "clean.png"]) == 2
    assert Path("clean.png").read_bytes() == clean
    assert main([*words, "map.png"]) == 0
    assert main([*words, "map.png"]) == 0
    with Image.open("map.png") as drawn:
        assert drawn.format == "PNG"
        assert np.asarray(drawn).std() > 0
    assert "grid of period 2" in capsys.readouterr().out


@pytest.mark.parametrize("words", ["--map board.png", "--map clean.png --reference clean.png", "--csv board.png"])
def test_what_is_scored_is_never_written_over(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = {name: Path(name).read_bytes() for name in ("board.png", "clean.png")}
    assert main(["score", "board.png", "--period", "2", "--force", *words.split()]) == 2
    assert "is a picture to score; name another file" in capsys.readouterr().err
    assert {name: Path(name).read_bytes() for name in before} == before


@pytest.mark.parametrize("option", ["--csv", "--map"])
def test_a_file_in_no_folder_is_refused_before_anything_is_scored(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", "board.png", option, "none/x.png"]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == (
        "",
        f"deconvbench: {option}: 'none/x.png' cannot be written: there is no folder 'none'\n",
    )


@pytest.mark.parametrize("verbose", [False, True])
def test_an_error_that_was_not_foreseen_is_a_line_and_with_v_its_traceback(
    verbose: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(values: torch.Tensor, period: int | None) -> object:
        raise KeyError("odd")

    monkeypatch.setattr(picture_scores, "measure_picture", fail)
    assert main(["-v"] * verbose + ["score", "board.png", "clean.png"]) == 2
    out, err = capsys.readouterr()
    assert "board.png: cannot be scored: KeyError: 'odd'" in err
    assert ("Traceback" in err) == verbose
    assert out == ""


def test_of_several_files_one_error_is_a_line_below_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(path: Path) -> object:
        if path.name == "clean.png":
            raise KeyError("odd")
        return read_levels(path)

    monkeypatch.setattr(picture_scores, "read_levels", fail)
    assert main(["-v", "score", "board.png", "clean.png", "--period", "2"]) == 0
    out, err = capsys.readouterr()
    assert "left out: clean.png: cannot be scored: KeyError: 'odd'" in out
    assert "Traceback" in err


def test_an_interruption_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stop(*_: object, **__: object) -> object:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(picture_scores, "score", stop)
        assert main(["score", "board.png"]) == 130
    assert capsys.readouterr().err == "deconvbench: interrupted; no scores were written\n"
    monkeypatch.setattr(picture_scores, "draw_map", stop)
    assert main(["score", "board.png", "--period", "2", "--map", "map.png"]) == 130
    out, err = capsys.readouterr()
    assert (out.startswith("board.png: grid"), err) == (True, "deconvbench: interrupted; no map was drawn\n")


def test_where_no_map_can_be_drawn_the_scores_are_there_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(draw(48, 48)[0].numpy()).save("small.png")
    code = main(["score", "small.png", "--map", "map.png"])
    out, err = capsys.readouterr()
    assert out.startswith("small.png: ")
    assert code == 0 or (code == 2 and err.startswith("deconvbench: map: "))
