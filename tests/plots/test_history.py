import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from bench.history_simulation import make_commits, name_cases
from deconvbench.analysis.history import History, find_history
from deconvbench.plots.history import choose_series, draw_history
from tests.analysis.test_history import draw

CASES = name_cases(8)


@pytest.fixture(scope="module")
def found() -> History:
    logs = draw()
    logs[3, 12:] += math.log(1.2)
    logs[5, 16:] -= math.log(1.5)
    return find_history(make_commits(logs, with_ratios=False))


def list_titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()]


def test_the_largest_change_comes_first_then_the_rest_in_order(found: History) -> None:
    names = [case for case, _ in choose_series(found, 20)]
    assert names == [CASES[5], CASES[3], *(case for case in CASES if case not in (CASES[3], CASES[5]))]
    assert len(choose_series(found, 3)) == 3


def test_each_case_has_a_panel_with_its_points_and_levels(found: History) -> None:
    figure = draw_history(found)
    assert list_titles(figure)[:2] == [CASES[5], CASES[3]]
    drawn = [line for line in figure.axes[1].lines if len(np.asarray(line.get_xdata())) == 30]
    assert len(drawn) == 2
    assert np.asarray(drawn[1].get_ydata())[-1] == pytest.approx(1.2, abs=0.02)


def test_a_band_marks_where_the_change_lies(found: History) -> None:
    figure = draw_history(found)
    bands = [len(axes.patches) for axes in figure.axes]
    assert bands == [1, 1, *[0] * (len(bands) - 2)]


def test_what_is_not_shown_is_counted(found: History) -> None:
    figure = draw_history(found, max_panels=2)
    assert len(list_titles(figure)) == 2
    assert "6 more are in the page" in str(figure.get_suptitle())


def test_one_outlier_does_not_flatten_the_rest() -> None:
    logs = draw(1, commits=200)
    logs[0, 50] += 3.0
    axes = draw_history(find_history(make_commits(logs, with_ratios=False))).axes[0]
    assert axes.get_ylim()[1] < 1.5
