"""Artifacts over kernel size and stride: the article's advice as numbers, with both its faces.

The article advises a kernel divisible by the stride: its overlap is even. Beside that stands what the advice does
to the variance of the output and to the ripple of a constant input; the cells that follow it are outlined. Draws
means over seeds of what the quality table holds.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from deconvbench.analysis.selection import EmptyFigureError, describe_rest
from deconvbench.plots.heatmap import draw_cells, make_shades
from deconvbench.plots.style import FONT_PT, INK, MUTED, figure_style, make_figure
from deconvbench.records.layers import rank_upsampler
from deconvbench.records.metrics import METRICS, format_metric, get_metric
from deconvbench.records.schema import LAYER_COLUMNS
from deconvbench.tables.frames import require_columns

_PLACES = {name: metric.heat_map for name, metric in METRICS.items() if metric.heat_map is not None}
FACES = tuple(sorted(_PLACES, key=_PLACES.__getitem__))


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
    """List the upsamplers that are worth a map, the article's first.

    Parameters
    ----------
    quality : DataFrame
        The quality table.

    Returns
    -------
    list of str
        Those measured at two kernels or more and two strides or more that have any of `FACES`.
    """
    if quality.empty:
        return []
    has_face = quality[list(FACES)].notna().any(axis=1) & (quality["status"] == "ok")
    rows = quality[quality["kernel_size"].notna() & quality["upsampler"].isin(quality["upsampler"][has_face])]
    counts = rows.groupby("upsampler")[["kernel_size", "scale_factor"]].nunique()
    names = counts.index[(counts["kernel_size"] > 1) & (counts["scale_factor"] > 1)]
    return sorted(map(str, names), key=rank_upsampler)


def split_advice(table: pd.DataFrame) -> tuple[float, float]:
    """Average a map over the cells whose stride divides the kernel, and over the others.

    Parameters
    ----------
    table : DataFrame
        From `pivot_metric`.

    Returns
    -------
    followed, ignored : float
        Means over the cells that have a number; NaN where none has.
    """
    values = table.to_numpy(float)
    follows = _follow_advice(table)
    parts = [part[~np.isnan(part)] for part in (values[follows], values[~follows])]
    followed, ignored = (float(part.mean()) if part.size else np.nan for part in parts)
    return followed, ignored


def _follow_advice(table: pd.DataFrame) -> np.ndarray:
    """Mark the cells whose stride divides the kernel."""
    kernels, strides = np.array(table.index, dtype=int), np.array(table.columns, dtype=int)
    follows: np.ndarray = kernels[:, None] % strides == 0
    return follows


def draw_artifact_maps(
    quality: pd.DataFrame,
    *,
    upsamplers: Sequence[str] = ("transposed",),
    metrics: Sequence[str] = FACES,
    max_upsamplers: int = 4,
) -> Figure:
    """Draw a heat map for each upsampler (rows of panels) and metric (columns of panels).

    Cells whose stride divides the kernel are outlined, and each map says its mean over these and over the others.
    Cells that cannot be built or were not measured are hatched, with a dash.

    Parameters
    ----------
    quality : DataFrame
        The quality table: one row per upsampler, kernel size, scale and seed.
    upsamplers : sequence of str
        At least one.
    metrics : sequence of str
        At least one.
    max_upsamplers : int
        Most rows; the rest are counted in the title.

    Returns
    -------
    Figure

    Raises
    ------
    EmptyFigureError
        If none of the upsamplers has a number.
    UsageError
        If a metric is unknown, or it is not a quality table.
    """
    labels = [get_metric(metric) for metric in metrics]
    require_columns(quality, "quality", LAYER_COLUMNS, metrics)
    if quality.empty:
        raise EmptyFigureError("quality: the table has no rows")
    left_out, upsamplers = len(upsamplers[max_upsamplers:]), upsamplers[:max_upsamplers]
    tables = {(u, m): pivot_metric(quality, u, m) for u in upsamplers for m in metrics}
    if not any(table.notna().to_numpy().any() for table in tables.values()):
        raise EmptyFigureError(f"quality: {', '.join(upsamplers)} has no {' or '.join(metrics)}")
    with figure_style():
        heights = [1.2 + 0.36 * max(len(tables[u, metrics[0]]), 2) for u in upsamplers]
        figure = make_figure(sum(heights) + 0.9)
        grid = figure.subplots(len(upsamplers), len(metrics), squeeze=False, height_ratios=heights)
        for column, (metric, label) in enumerate(zip(metrics, labels, strict=True)):
            values = np.concatenate([tables[u, metric].to_numpy().ravel() for u in upsamplers])
            shades = make_shades(*_choose_limits(values, label.unit))
            for row, upsampler in enumerate(upsamplers):
                axes: Axes = grid[row, column]
                table = tables[upsampler, metric]
                # room for a line below it, which says what is mapped
                axes.set_title(upsampler, fontsize=FONT_PT, pad=2 * FONT_PT)
                line = axes.text(
                    0, 1.02, label.title + _describe_advice(table, metric), transform=axes.transAxes, ha="left",
                    va="bottom", fontsize=FONT_PT - 0.5, color=INK,
                )  # fmt: skip
                # it may be a little wider than its map, which must not shrink for it
                line.set_in_layout(False)
                _draw_map(axes, table, metric, shades)
            bar = figure.colorbar(
                shades, ax=list(grid[:, column]), location="bottom", shrink=0.8, aspect=30, pad=0.02
            )
            bar.set_label(label.axis)
        title = f"Artifacts by kernel size and stride{describe_rest(left_out, 'upsamplers')}"
        figure.suptitle(
            f"{title}\noutlined: the stride divides the kernel, as the article advises; above each map, the means "
            "over these cells and over the others",
            fontsize=FONT_PT, color=MUTED, ha="left", x=0.01,
        )  # fmt: skip
    return figure


def _choose_limits(values: np.ndarray, unit: str) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    if unit == "dB":
        return (float(known.min()) - 1, float(known.max()) + 1) if known.size else (-60.0, 0.0)
    # ratios share one range from panel to panel, so that the same shade is the same number
    return 0.0, max([1.0, *map(float, known)])


def _describe_advice(table: pd.DataFrame, metric: str) -> str:
    if table.isna().to_numpy().all():
        return ""
    followed, ignored = (format_metric(value, metric) for value in split_advice(table))
    return f": outlined {followed}, others {ignored}"


def _draw_map(axes: Axes, table: pd.DataFrame, metric: str, shades: ScalarMappable) -> None:
    if table.isna().to_numpy().all():
        axes.text(0.5, 0.5, "does not apply\nor was not measured", ha="center", va="center", color=MUTED)
        axes.set_xticks([])
        axes.set_yticks([])
        return
    texts = table.map(lambda value: format_metric(value, metric)).to_numpy()
    draw_cells(axes, table.to_numpy(float), texts, shades)
    for row, column in np.argwhere(_follow_advice(table) & table.notna().to_numpy()):
        # within its cell, so that neighbours keep their own; dark on white shows on pale and on dark cells
        for colour, width in (("white", 4.0), (INK, 1.8)):
            outline = Rectangle((column + 0.03, row + 0.05), 0.94, 0.9, fill=False, edgecolor=colour)
            outline.set_linewidth(width)
            axes.add_patch(outline)
    axes.set_xticks(np.arange(len(table.columns)) + 0.5, labels=list(map(str, table.columns)))
    axes.set_yticks(np.arange(len(table.index)) + 0.5, labels=list(map(str, table.index)))
    axes.set_xlabel("stride = scale factor (pixels)")
    axes.set_ylabel("kernel size (pixels)")
