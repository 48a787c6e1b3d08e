"""The headline: what a layer costs against what networks trained with it make of images.

Two faces of one picture: its checkerboard, and how near it comes to the target. Draws what
`deconvbench.analysis.tradeoff` computes.
"""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deconvbench.analysis.selection import (
    EmptyFigureError,
    at_size,
    choose_layers,
    choose_size,
    describe_common,
    describe_rest,
    name_some,
    split_panels,
)
from deconvbench.plots.labels import Segment, freeze_layout
from deconvbench.plots.style import FONT_PT, MUTED, figure_style, make_figure
from deconvbench.plots.tradeoff_map import FAST_NOTE, INTERVAL_NOTE, join_quality
from deconvbench.plots.tradeoff_panel import choose_scale, draw_panel, is_changed_by_fast, label_panel
from deconvbench.records.schema import name_interval

_METRICS = ("trained_checkerboard_levels", "trained_psnr_db")
_TARGET_DASHES: Any = (0, (6, 1.5, 1, 1.5))


def draw_trained_tradeoff(
    summary: pd.DataFrame,
    quality: pd.DataFrame,
    *,
    target_level: float | None = None,
    network: str = "",
    size: tuple[int, int] | None = None,
    max_layers: int = 26,
) -> Figure:
    """Draw latency against checkerboard and PSNR after training, one point a layer, the Pareto frontiers marked.

    One setting is shown: the forward step (another where there is none) with the settings nearest to the defaults
    that most layers were measured in. Every point is labelled in both panels; bars are 95 % intervals over seeds.

    Parameters
    ----------
    summary : DataFrame
        One row per case, as in ``summary.csv``.
    quality : DataFrame
        The quality table of the same run, or its summary, with what is known after training
        (`deconvbench.tables.trained.fill_qualities`).
    target_level : float, optional
        Checkerboard of the target images themselves, in 8-bit levels, signed: a line to compare with.
    network : str
        What was trained, for the heading: ``reconstruction``.
    size : (int, int), optional
        Height and width of the input; the largest common one by default.
    max_layers : int
        Most points; those on a frontier are always among them.

    Returns
    -------
    Figure

    Raises
    ------
    EmptyFigureError
        If no measured case has both numbers.
    """
    frames = [join_quality(summary, metric, quality) for metric in _METRICS]
    known = pd.concat([frame[metric].notna() for frame, metric in zip(frames, _METRICS, strict=True)], axis=1)
    trained = frames[0][known.all(axis=1)]
    if trained.empty:
        raise EmptyFigureError("summary: no measured case has both checkerboard and PSNR after training")
    forward = trained[trained["step"] == "forward"]
    measured = forward if len(forward) else trained
    size = size or choose_size(measured)
    (panel,), settings_left = split_panels(at_size(measured, size), 1)
    shown = [frame.loc[panel.frame.index] for frame in frames]
    best = pd.concat(
        [frame.loc[frame["on_frontier"] | frame["on_frontier_without_fast"], "layer"] for frame in shown]
    )
    layers = choose_layers(panel.frame, max_layers, keep=list(best))
    layers_left = panel.frame["layer"].nunique() - len(layers)
    drawn = [frame[frame["layer"].isin(layers)] for frame in shown]
    notes = [describe_common(panel.frame)]
    if any(frame[name_interval(metric)[0]].notna().any() for frame, metric in zip(drawn, _METRICS, strict=True)):
        notes.append(INTERVAL_NOTE)
    if target_level is not None:
        notes.append(f"targets: the checkerboard of the target images themselves, {target_level:.2f} levels")
    if any(is_changed_by_fast(frame) for frame in drawn):
        notes.append(FAST_NOTE)
    untrained = {*frames[0]["upsampler"]} - {*trained["upsampler"]}
    if untrained:
        notes.append(f"not trained: {name_some(untrained)}")
    scales = [
        choose_scale(drawn[0], _METRICS[0], () if target_level is None else (target_level,)),
        choose_scale(drawn[1], _METRICS[1]),
    ]
    with figure_style():
        height = 2.4 + 0.13 * len(layers)
        figure = make_figure(2 * height + 0.7)
        panels: list[Axes] = list(figure.subplots(2, 1, sharex=True))
        parts = list(zip(panels, drawn, _METRICS, scales, strict=True))
        lines = [draw_panel(*part) for part in parts]
        if target_level is not None:
            lines[0] += _draw_target(panels[0], target_level)
        panels[0].set_title(panel.title + describe_rest(layers_left, "layers"))
        panels[0].tick_params(labelbottom=True)
        panels[1].set_xlabel("latency per call (ms, logarithmic)")
        title = (
            f"Checkerboard and PSNR after training{f' ({network})' if network else ''} against latency, input "
            f"{size[0]}×{size[1]}"
            f"{describe_rest(settings_left, 'settings')}"
        )
        figure.suptitle("\n".join([title, *notes]), fontsize=FONT_PT, color=MUTED, ha="left", x=0.01)
        freeze_layout(figure)
        for part, segments in zip(parts, lines, strict=True):
            label_panel(*part, segments)
    return figure


def _draw_target(axes: Axes, level: float) -> list[Segment]:
    left, right = axes.get_xlim()
    axes.axhline(level, color=MUTED, linewidth=1.0, linestyle=_TARGET_DASHES, zorder=1)
    # in the margin, where no label of a layer can be
    axes.annotate(
        "targets", (1, level), xycoords=axes.get_yaxis_transform(), xytext=(4, 0), textcoords="offset points",
        va="center", fontsize=FONT_PT - 1, color=MUTED,
    )  # fmt: skip
    return [((left, level), (right, level))]
