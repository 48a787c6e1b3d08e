"""Scores of pictures as text, plain data and CSV."""

import csv
import io
import json
import math
from dataclasses import replace

import pytest

from deconvbench.analysis.picture_verdicts import BlockEdges
from deconvbench.report.picture_scores import (
    LeftOut,
    Scores,
    describe_scores,
    format_csv,
    format_scores,
    list_left_out,
    list_rows,
)
from tests.analysis.test_picture_verdicts import GRID, NOTHING

BLOCKED = replace(
    NOTHING, name="b.jpg", format="JPEG", blocks=BlockEdges(period=8, amplitude=3.0, detection_level=1.0)
)
LEFT_OUT = (LeftOut(name="c.txt", reason="not an image that Pillow reads"),)


def test_one_picture_is_told_in_words() -> None:
    text = str(Scores(pictures=(replace(GRID, notes=("transparent pixels are put on white",)),)))
    assert text.splitlines() == [
        "a.png: grid of period 4, 2 levels (1 of period 2, 1.7 of period 4)",
        "  an upsampling layer's, or of content or a sensor that repeats with whole pixels (screen, fence,"
        " mosaic): the spectrum cannot tell which",
        "  detection level: 0.3 levels",
        "  note: transparent pixels are put on white",
    ]


def test_block_edges_are_told_as_no_checkerboard() -> None:
    text = format_scores(Scores(pictures=(BLOCKED,)))
    assert text.splitlines() == [
        "b.jpg: no grid found (period 8 is below the detection level of 0.3 levels)",
        "  block edges: steps of 3 levels at blocks of 8 pixels, of random sign: JPEG's, tiles, or an"
        " enlargement's, no checkerboard",
    ]
    tiles = replace(BLOCKED, blocks=BlockEdges(period=64, amplitude=3.0, detection_level=1.0))
    assert "tiles, or enlarged pixels" in format_scores(Scores(pictures=(tiles,)))


def test_an_enlargement_is_told_of_one_picture_and_of_several() -> None:
    enlarged = replace(NOTHING, enlargement=2, enlarged_by="interpolation")
    (line,) = (line for line in str(Scores(pictures=(enlarged,))).splitlines() if "enlarged" in line)
    assert line.startswith("  probably enlarged 2 times (interpolation): ")
    text = str(Scores(pictures=(enlarged, GRID)))
    assert f"{enlarged.name}: probably enlarged 2 times (interpolation): " in text
    (row, _) = csv.DictReader(io.StringIO(format_csv(Scores(pictures=(enlarged, GRID)))))
    assert (row["enlargement"], row["enlarged_by"]) == ("2", "interpolation")


def test_several_pictures_are_a_table() -> None:
    scores = Scores(
        pictures=(GRID, BLOCKED), left_out=LEFT_OUT, period=4, region=(1, 2, 30, 40), reference="r.png"
    )
    head, _, first, second, *rest = format_scores(scores).splitlines()
    assert head.split("|")[1].strip() == "picture"
    assert [cell.strip() for cell in first.split("|")[1:-1]] == [
        "a.png", "256×256", "4", "2", "0.3", "–", "checkerboard",
    ]  # fmt: skip
    assert [cell.strip() for cell in second.split("|")[1:-1]] == [
        "b.jpg", "256×256", "–", "–", "0.3", "3 (period 8)", "nothing",
    ]  # fmt: skip
    assert rest == [
        "",
        "a.png: grid of period 4, 2 levels (1 of period 2, 1.7 of period 4)",
        "2 pictures, 1 with a grid",
        "scored: the difference from r.png",
        "scored: 30×40 pixels from column 1 and row 2",
        "left out: c.txt: not an image that Pillow reads",
    ]


def test_notes_of_many_pictures_are_grouped() -> None:
    note = "the first of several frames"
    scores = Scores(pictures=(*[replace(NOTHING, notes=(note,))] * 2, replace(GRID, notes=("dark",))))
    assert f"note: {note}: 2 pictures" in format_scores(scores)
    assert "note: dark: a.png" in format_scores(scores)


def test_names_cannot_move_the_terminal() -> None:
    scores = Scores(pictures=(replace(GRID, name="a\x1b[2J\n.png"), NOTHING), left_out=LEFT_OUT)
    assert "\x1b" not in format_scores(scores)
    assert len(format_scores(scores).splitlines()) == 8
    assert list_left_out(scores) == ["left out: c.txt: not an image that Pillow reads"]


def test_rows_are_strict_json_with_a_row_for_each_file() -> None:
    rows = list_rows(Scores(pictures=(GRID, BLOCKED), left_out=LEFT_OUT))
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert [row["name"] for row in rows] == ["a.png", "b.jpg", "c.txt"]
    assert rows[0]["by_scale"] == {"2": 1.0, "4": 1.73}
    assert rows[0]["verdict"] == "checkerboard"
    assert rows[1]["stretch"] is None
    assert rows[0]["exact_period"] == pytest.approx(4.004)
    assert rows[1]["blocks"] == {"period": 8, "amplitude": 3.0, "detection_level": 1.0}
    assert [row["left_out"] for row in rows] == ["", "", "not an image that Pillow reads"]


def test_what_was_asked_for_is_said() -> None:
    assert describe_scores(Scores(pictures=(GRID,))) == {
        "period": "auto",
        "region": None,
        "reference": None,
        "unit": "8-bit levels",
    }
    asked = Scores(pictures=(GRID,), period=2, region=(0, 0, 64, 64), reference="r.png")
    assert describe_scores(asked)["period"] == 2
    assert describe_scores(asked)["region"] == [0, 0, 64, 64]


def test_csv_has_a_line_for_each_file_and_no_formula() -> None:
    scores = Scores(
        pictures=(replace(GRID, name="=cmd()", notes=("one", "two")), BLOCKED, replace(GRID, amplitude=math.nan)),
        left_out=LEFT_OUT,
    )
    rows = list(csv.DictReader(io.StringIO(format_csv(scores))))
    assert [row["name"] for row in rows] == ["'=cmd()", "b.jpg", "a.png", "c.txt"]
    assert (rows[0]["amplitude_levels"], rows[0]["detection_level"]) == ("2.0", "0.3")
    assert json.loads(rows[0]["by_scale"]) == {"2": 1.0, "4": 1.73}
    assert rows[0]["notes"] == "one; two"
    assert (rows[1]["block_period"], rows[1]["block_edge_levels"]) == ("8", "3.0")
    assert rows[2]["amplitude_levels"] == ""
    assert rows[3]["left_out"] == "not an image that Pillow reads"
    assert rows[3]["period"] == ""
