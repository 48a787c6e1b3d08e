from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from deconvbench.analysis.selection import EmptyFigureError
from deconvbench.plots.detection_rates import RateLimits, draw_rates

Legible = Callable[[Figure], list[tuple[str, Any]]]
LIMITS = RateLimits(nominal=0.023, factor=1.5, least_found=0.95, multiple=2)


def make_summary(alarms: int = 2) -> pd.DataFrame:
    rows = []
    for kind in ("photographs", "1/f", "discs"):
        for period in (2, 3, 4, 8, 16, 32):
            for multiple in (0, 1, 2, 3):
                found = (alarms, 50, 98, 100)[multiple]
                rows.append(
                    {
                        "kind": kind,
                        "period": period,
                        "multiple": multiple,
                        "images": 100,
                        "found": found,
                        "found_by_noise_level": found + 1,
                    }
                )
    return pd.DataFrame(rows)


def list_points(figure: Figure, place: int) -> list[np.ndarray]:
    return [
        point
        for line in figure.axes[place].lines
        if line.get_linestyle() == "None"
        for point in np.asarray(line.get_xydata(), dtype=float)
    ]


def test_every_rate_has_a_point(assert_legible: Legible) -> None:
    figure = draw_rates(make_summary(), LIMITS)
    texts = {text for text, _ in assert_legible(figure)}
    assert {"no pattern: false alarms", "1 level: found", "3 levels: found"} <= texts
    assert {
        "photographs",
        "1/f images",
        "random discs",
        "period (pixels); levels are detection levels",
        "nominal, 2.3 %",
    } <= texts
    assert "asked for: 1.53 to 3.45 % on photographs; from 95 %" in texts
    alarms = list_points(figure, 0)
    assert len(alarms) == 2 * 3 * 6
    assert {y for _, y in alarms} == {0.02, 0.03}
    for place, rate in ((1, 0.5), (2, 0.98), (3, 1.0)):
        points = list_points(figure, place)
        assert len({tuple(point) for point in points}) == 3 * 6
        assert {y for _, y in points} == {rate}


def test_many_false_alarms_stay_within_the_axis(assert_legible: Legible) -> None:
    figure = draw_rates(make_summary(alarms=60), LIMITS)
    assert_legible(figure)
    assert figure.axes[0].get_ylim()[1] > 0.61


def test_periods_and_kinds_that_were_not_read_are_not_drawn(assert_legible: Legible) -> None:
    summary = make_summary()
    figure = draw_rates(summary[(summary["kind"] == "discs") & (summary["period"] < 4)], LIMITS)
    texts = {text for text, _ in assert_legible(figure)}
    assert "photographs" not in texts
    assert len(list_points(figure, 1)) == 2


def test_nothing_counted_is_no_figure() -> None:
    with pytest.raises(EmptyFigureError, match="nothing was counted"):
        draw_rates(make_summary().head(0), LIMITS)
