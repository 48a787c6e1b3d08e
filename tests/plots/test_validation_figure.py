from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox
from matplotlib.patches import Rectangle

from deconvbench.analysis.selection import EmptyFigureError
from deconvbench.plots.validation_figure import SCORES, Pictures, draw_scores

Legible = Callable[[Figure], list[tuple[str, Any]]]
CHANGES = ("checkerboard", "sign_flips", "clean", "blur", "noise", "texture", "bars", "ramp")
RIGHT, WRONG = "#0072b2", "#e8905a"


def make_summary(readings: dict[tuple[str, str], float] | None = None) -> pd.DataFrame:
    """Readings that are all right, but those given."""
    rows = []
    for score, *_ in SCORES:
        for change in CHANGES:
            expected = float(change in ("checkerboard", "sign_flips"))
            reading = (readings or {}).get((score, change), expected)
            rows.append(
                {
                    "change": change,
                    "has_checkerboard": bool(expected),
                    "score": score,
                    "reading": reading,
                    "low": reading - 0.05,
                    "high": reading + 0.05,
                }
            )
    return pd.DataFrame(rows)


@pytest.fixture
def pictures() -> dict[str, Pictures]:
    rng = np.random.default_rng(0)
    return {
        change: Pictures(image=rng.standard_normal((92, 92)), change=rng.standard_normal((23, 23)))
        for change in CHANGES
    }


def list_bars(figure: Figure, column: int) -> list[Rectangle]:
    return [patch for patch in figure.axes[column].patches if isinstance(patch, Rectangle)]


def test_a_row_a_change_and_a_column_a_score(pictures: dict[str, Pictures], assert_legible: Legible) -> None:
    readings = {("spectrum", "blur"): -2.0, ("spectrum", "noise"): 0.6, ("phase_means", "sign_flips"): 0.2}
    figure = draw_scores(make_summary(readings), pictures, "All changes have one RMS")
    texts = [text for text, _ in assert_legible(figure)]
    assert {"All changes have one RMS", "blur", "white noise", "ramp of brightness"} <= set(texts)
    assert {heading for _, heading, _ in SCORES} <= set(texts)
    assert "needs no reference\ncheckerboards: ≥ 20 %\nothers: 0 to 0 %" in texts
    assert "given the clean image\ncheckerboards: ≥ 100 %\nothers: −200 to 60 %" in texts
    assert "◂ −200" in texts
    assert "60" in texts


def test_a_reading_that_rounds_to_nothing_has_no_sign(
    pictures: dict[str, Pictures], assert_legible: Legible
) -> None:
    readings = {("cba", change): -0.002 for change in CHANGES[2:]}
    texts = [text for text, _ in assert_legible(draw_scores(make_summary(readings), pictures, ""))]
    assert "needs no reference\ncheckerboards: ≥ 100 %\nothers: 0 to 0 %" in texts
    assert "−0" not in texts


def test_wrong_readings_differ_in_colour_and_hatching(pictures: dict[str, Pictures]) -> None:
    figure = draw_scores(make_summary({("cba", "noise"): 0.3, ("cba", "sign_flips"): 0.8}), pictures, "")
    bars = list_bars(figure, 1)
    looks = [(to_hex(bar.get_facecolor()), bool(bar.get_hatch())) for bar in bars]
    expected = [(WRONG, True) if change == "noise" else (RIGHT, False) for change in CHANGES]
    assert looks == expected
    assert [bar.get_width() for bar in bars] == pytest.approx([1, 0.8, 0, 0, 0.3, 0, 0, 0])


def test_a_reading_off_the_scale_is_cut_at_its_edge(pictures: dict[str, Pictures]) -> None:
    figure = draw_scores(make_summary({("spectrum", "blur"): -9.0, ("psnr", "ramp"): 9.0}), pictures, "")
    assert list_bars(figure, 3)[3].get_width() == pytest.approx(figure.axes[3].get_xlim()[0])
    assert list_bars(figure, 4)[7].get_width() == pytest.approx(figure.axes[4].get_xlim()[1])
    assert "▸ 900" in {text.get_text() for text in figure.axes[4].texts}


def test_pictures_are_drawn_dot_by_dot(pictures: dict[str, Pictures]) -> None:
    axes = draw_scores(make_summary(), pictures, "").axes[0]
    boxes = [artist for artist in axes.artists if isinstance(artist, AnnotationBbox)]
    assert len(boxes) == 2 * len(CHANGES)
    zooms = {round(box.offsetbox.get_zoom() * 150 / 72, 9) for box in boxes}  # type: ignore[attr-defined] # an OffsetImage
    assert zooms == {1, 4}


def test_changes_that_were_not_made_have_no_row(pictures: dict[str, Pictures], assert_legible: Legible) -> None:
    summary = make_summary()
    some = summary[summary["change"].isin(["checkerboard", "blur"])]
    figure = draw_scores(some, pictures, "Two")
    assert len(list_bars(figure, 1)) == 2
    assert_legible(figure)


def test_no_reading_is_no_figure(pictures: dict[str, Pictures]) -> None:
    with pytest.raises(EmptyFigureError, match="no score was read"):
        draw_scores(make_summary().head(0), pictures, "")
