"""Artifacts over kernel size and stride: the article's advice as numbers, with both its faces.

The article advises a kernel divisible by the stride: its overlap is even. Beside that stands what the advice does
to the variance of the output and to the ripple of a constant input. Draws means over seeds of what the quality
table holds.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from deconvbench.plots.cell_grid import draw_cells, make_shades
from deconvbench.plots.metrics import format_metric, get_metric_label
from deconvbench.plots.panels import EmptyFigureError
from deconvbench.plots.style import (
    FONT_PT,
    MUTED,
    figure_style,
    make_figure,
    rank_upsampler,
)

FACES = ("overlap_cv", "noise_gain_cv", "phase_ripple")


def pivot_metric(quality: pd.DataFrame, upsampler: str, metric: str) -> pd.DataFrame:
    """Arrange a metric by kernel size (rows) and scale (columns), averaged over seeds.

    Parameters
    ----------
    quality : DataFrame
        The quality table.
    upsampler : str
        Whose rows to take.
    metric : str
        Name of the column.

    Returns
    -------
    DataFrame
        NaN where nothing was measured; every kernel and scale that was asked for is there.
    """
    rows = quality[(quality["upsampler"] == upsampler) & quality["kernel_size"].notna()]
    kernels = sorted({int(k) for k in rows["kernel_size"]})
    scales = sorted({int(s) for s in rows["scale_factor"]})
    usable = rows[rows["status"] == "ok"].assign(value=lambda frame: frame[metric].astype(float))
    table = pd.DataFrame(np.nan, index=kernels, columns=scales)
    for kernel in kernels:
        for scale in scales:
            cell = (usable["kernel_size"] == kernel) & (usable["scale_factor"] == scale)
            table.loc[kernel, scale] = usable.loc[cell, "value"].mean()
    return table


def list_mapped_upsamplers(quality: pd.DataFrame) -> list[str]:
    """List the upsamplers measured at two kernels or more and two strides or more, the article's first.

    Parameters
    ----------
    quality : DataFrame
        The quality table.
    """
    if quality.empty:
        return []
    counts = (
        quality[quality["kernel_size"].notna()].groupby("upsampler")[["kernel_size", "scale_factor"]].nunique()
    )
    names = counts.index[(counts["kernel_size"] > 1) & (counts["scale_factor"] > 1)]
    return sorted(map(str, names), key=rank_upsampler)


def draw_artifact_maps(
    quality: pd.DataFrame, *, upsamplers: Sequence[str] = ("transposed",), metrics: Sequence[str] = FACES
) -> Figure:
    """Draw a heat map for each upsampler (rows of panels) and metric (columns of panels).

    Cells that cannot be built or were not measured are hatched, with a dash.

    Parameters
    ----------
    quality : DataFrame
        The quality table: one row per upsampler, kernel size, scale and seed.
    upsamplers : sequence of str
        At least one.
    metrics : sequence of str
        At least one.

    Returns
    -------
    Figure

    Raises
    ------
    EmptyFigureError
        If none of the upsamplers has a number.
    UsageError
        If a metric is unknown.
    """
    labels = [get_metric_label(metric) for metric in metrics]
    if quality.empty:
        raise EmptyFigureError("quality: the table has no rows")
    tables = {(u, m): pivot_metric(quality, u, m) for u in upsamplers for m in metrics}
    if not any(table.notna().to_numpy().any() for table in tables.values()):
        raise EmptyFigureError(f"quality: {', '.join(upsamplers)} has no {' or '.join(metrics)}")
    with figure_style():
        heights = [1.0 + 0.36 * max(len(tables[u, metrics[0]]), 2) for u in upsamplers]
        figure = make_figure(sum(heights) + 0.9)
        grid = figure.subplots(len(upsamplers), len(metrics), squeeze=False, height_ratios=heights)
        for column, (metric, label) in enumerate(zip(metrics, labels, strict=True)):
            values = np.concatenate([tables[u, metric].to_numpy().ravel() for u in upsamplers])
            shades = make_shades(*_choose_limits(values, label.unit))
            for row, upsampler in enumerate(upsamplers):
                axes: Axes = grid[row, column]
                _draw_map(axes, tables[upsampler, metric], metric, shades)
                axes.set_title(f"{upsampler}: {label.title}", fontsize=FONT_PT)
            bar = figure.colorbar(shades, ax=list(grid[:, column]), location="bottom", shrink=0.8, aspect=30)
            bar.set_label(label.axis)
        figure.suptitle("Artifacts by kernel size and stride", fontsize=FONT_PT, color=MUTED, ha="left", x=0.01)
    return figure


def _choose_limits(values: np.ndarray, unit: str) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    if unit == "dB":
        return (float(known.min()) - 1, float(known.max()) + 1) if known.size else (-60.0, 0.0)
    # ratios share one range from panel to panel, so that the same shade is the same number
    return 0.0, max([1.0, *map(float, known)])


def _draw_map(axes: Axes, table: pd.DataFrame, metric: str, shades: ScalarMappable) -> None:
    if table.isna().to_numpy().all():
        axes.text(0.5, 0.5, "does not apply\nor was not measured", ha="center", va="center", color=MUTED)
        axes.set_xticks([])
        axes.set_yticks([])
        return
    texts = table.map(lambda value: format_metric(value, metric)).to_numpy()
    draw_cells(axes, table.to_numpy(float), texts, shades)
    axes.set_xticks(np.arange(len(table.columns)) + 0.5, labels=list(map(str, table.columns)))
    axes.set_yticks(np.arange(len(table.index)) + 0.5, labels=list(map(str, table.index)))
    axes.set_xlabel("stride = scale factor (pixels)")
    axes.set_ylabel("kernel size (pixels)")
