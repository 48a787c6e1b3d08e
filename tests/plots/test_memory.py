"""Where the memory goes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from deconvbench.analysis.selection import EmptyFigureError
from deconvbench.plots.memory import draw_memory, split_memory
from tests.plots.made_tables import make_summary

Legible = Callable[[Figure], list[tuple[str, Any]]]


def test_the_parts_of_a_peak_add_up(summary: pd.DataFrame) -> None:
    measured = summary[summary["status"] == "ok"]
    parts = split_memory(measured)
    np.testing.assert_allclose(
        parts[["output", "gradients", "workspace"]].sum(axis=1), measured["peak_memory_bytes"]
    )
    assert (parts.loc[measured["step"] == "forward", "gradients"] == 0).all()
    assert (parts.loc[measured["step"] == "train", "gradients"] > 0).all()


def test_a_peak_below_its_output_has_no_negative_part() -> None:
    frame = make_summary((("transposed", 3),), (16,), ("forward",))
    frame["peak_memory_bytes"] = frame["output_bytes"] / 2
    frame["workspace_bytes"] = -frame["output_bytes"] / 2
    assert (split_memory(frame) >= 0).all(axis=None)


def test_bars_panels_and_units(summary: pd.DataFrame, assert_legible: Legible) -> None:
    figure = draw_memory(summary)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["forward, cpu", "train, cpu"]
    texts = [text for text, _ in assert_legible(figure)]
    assert "memory above what was there before the step (MiB)" in texts
    assert texts.count("transposed_smoothed k3 s2") == 2
    for part in ("output", "gradients", "hidden workspace"):
        assert part in texts


def test_forward_alone_names_no_gradients(assert_legible: Legible) -> None:
    figure = draw_memory(make_summary(steps=("forward",)), max_layers=5)
    texts = [text for text, _ in assert_legible(figure)]
    assert "gradients" not in texts
    assert "forward, cpu (7 more layers are in the table)" in texts


def test_nothing_measured_is_said(summary: pd.DataFrame) -> None:
    with pytest.raises(EmptyFigureError, match="peak_memory_bytes"):
        draw_memory(summary.assign(peak_memory_bytes=np.nan))
