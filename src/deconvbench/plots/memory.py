"""Where the memory of a step goes: the expected tensors, and the hidden workspace.

Draws what the summary holds, in MiB.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from deconvbench.analysis.selection import (
    Panel,
    at_size,
    choose_layers,
    choose_size,
    describe_common,
    describe_rest,
    select_measured,
    split_panels,
)
from deconvbench.plots.style import FONT_PT, GRID_COLOUR, MUTED, figure_style, make_figure
from deconvbench.tables.frames import require_columns

_MIB = 2**20
# (name, colour, hatch): dark to light, so that the parts differ without their hues as well
_PARTS = (
    ("output", "#0072b2", ""),
    ("gradients", "#e69f00", ""),
    ("hidden workspace", "#882255", ""),
    ("parameters (held before the step, not in the peak)", "#bbbbbb", "///"),
)


def split_memory(frame: pd.DataFrame) -> pd.DataFrame:
    """Split the peak of each case into its parts.

    Parameters
    ----------
    frame : DataFrame
        Rows with a peak.

    Returns
    -------
    DataFrame
        Bytes in the columns ``output``, ``gradients`` (what the peak holds besides output and workspace),
        ``workspace`` and ``parameters``, with the index of `frame`; none is negative.
    """
    output = frame["output_bytes"].astype(float)
    workspace = frame["workspace_bytes"].astype(float).clip(lower=0)
    gradients = (frame["peak_memory_bytes"].astype(float) - output - workspace).clip(lower=0)
    # forward leaves no gradients: a peak that misses part of its output must not look like one
    gradients = gradients.where(frame["step"] == "train", 0.0)
    parts = {"output": output, "gradients": gradients, "workspace": workspace}
    return pd.DataFrame({**parts, "parameters": frame["parameter_bytes"].astype(float)}).fillna(0.0)


def draw_memory(
    summary: pd.DataFrame, *, size: tuple[int, int] | None = None, max_layers: int = 26, max_panels: int = 6
) -> Figure:
    """Draw the peak memory of every layer at one size, split into its parts, one panel a setting.

    Parameters
    ----------
    summary : DataFrame
        One row per case, as in ``summary.csv``.
    size : (int, int), optional
        Height and width of the input; the largest common one by default.
    max_layers : int
        Most bars in a panel.
    max_panels : int
        Most settings.

    Returns
    -------
    Figure

    Raises
    ------
    EmptyFigureError
        If no case has a peak.
    UsageError
        If it is not a summary.
    """
    measured = select_measured(summary, "peak_memory_bytes")
    require_columns(summary, "summary", (), ("output_bytes", "workspace_bytes", "parameter_bytes"))
    size = size or choose_size(measured)
    chosen = at_size(measured, size)
    panels, settings_left = split_panels(chosen, max_panels)
    with figure_style():
        frames = [_sort_layers(panel, max_layers) for panel in panels]
        heights = [0.6 + 0.23 * len(frame) for frame in frames]
        figure = make_figure(sum(heights) + 1.3)
        grid = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)
        axes_list: list[Axes] = list(grid.flat)
        for axes, panel, frame in zip(axes_list, panels, frames, strict=True):
            left_out = panel.frame["layer"].nunique() - len(frame)
            axes.set_title(panel.title + describe_rest(left_out, "layers"))
            _draw_bars(axes, frame)
        axes_list[-1].set_xlabel("memory above what was there before the step (MiB)")
        handles = [Patch(facecolor=c, edgecolor="white", hatch=h, label=name) for name, c, h in _PARTS]
        if not any((frame["step"] == "train").any() for frame in frames):
            handles = [handle for handle in handles if handle.get_label() != "gradients"]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
        rest = describe_rest(settings_left, "settings")
        figure.suptitle(
            f"Peak memory of one step, input {size[0]}×{size[1]}{rest}\n{describe_common(chosen)}",
            fontsize=FONT_PT, color=MUTED, ha="left", x=0.01,
        )  # fmt: skip
    return figure


def _sort_layers(panel: Panel, max_layers: int) -> pd.DataFrame:
    layers = choose_layers(panel.frame, max_layers)
    kept = panel.frame[panel.frame["layer"].isin(layers)]
    return kept.sort_values("peak_memory_bytes", ascending=False, kind="stable")


def _draw_bars(axes: Axes, frame: pd.DataFrame) -> None:
    parts = split_memory(frame)
    positions = np.arange(len(frame))
    left = np.zeros(len(frame))
    for column, (_, colour, hatch) in zip(parts, _PARTS, strict=True):
        widths = parts[column].to_numpy() / _MIB
        axes.barh(
            positions, widths, left=left, height=0.72, color=colour, hatch=hatch, edgecolor="white", linewidth=0.4
        )
        left += widths
    peaks = frame["peak_memory_bytes"].to_numpy(float) / _MIB
    for position, end, peak in zip(positions, left, peaks, strict=True):
        axes.annotate(
            f"{peak:.3g}", (end, position), xytext=(4, 0), textcoords="offset points", va="center",
            fontsize=FONT_PT - 1,
        )  # fmt: skip
    axes.set_yticks(positions, labels=list(frame["layer"]))
    axes.set_ylim(-0.6, len(frame) - 0.4)
    axes.set_xlim(0, max(float(left.max()), 1e-3) * 1.1)
    axes.grid(visible=True, axis="x", color=GRID_COLOUR)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
