"""What trained networks make of pictures, for both tasks: a table, and the qualities that the answer uses."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from deconvbench.records.case import format_layer
from deconvbench.records.layers import FAST_ORIGINAL, FAST_UPSAMPLERS, rank_upsampler
from deconvbench.records.schema import RUN_KEYS
from deconvbench.report.tables import Cell, TableView
from deconvbench.tables.trained import Trained
from deconvbench.tables.trained_networks import MAIN_TASK

# in the order of the columns; brightness is lost behind the instance norm of the other, and with it what PSNR says
_TASKS = ("super-resolution", MAIN_TASK)
_SCORES = (("checkerboard_levels", "checkerboard (8-bit levels)", 2), ("psnr_db", "PSNR (dB)", 1))
_Layer = tuple[str, int | None]


def find_qualities(trained: Trained, scale_factor: int = 2) -> tuple[dict[_Layer, Sequence[float]], str]:
    """Find the PSNR of every training of the task that says most about it.

    Parameters
    ----------
    trained : Trained
        Any; may be empty.
    scale_factor : int
        Of the layers.

    Returns
    -------
    values : dict of (upsampler, kernel size) to sequence of float
        dB. Exact fast forms have the values of the layer that they compute.
    task : str
        Empty where nothing was trained.
    """
    rows = trained.results
    for task in _TASKS:
        chosen = rows[(rows["task"] == task) & (rows["scale_factor"] == scale_factor) & rows["psnr_db"].notna()]
        if len(chosen):
            found: dict[_Layer, list[float]] = {}
            for row in chosen.drop_duplicates(list(RUN_KEYS), keep="last").to_dict("records"):
                found.setdefault(_get_layer(row), []).append(float(row["psnr_db"]))
            forms = {
                (form, kernel): values
                for (name, kernel), values in found.items()
                if name == FAST_ORIGINAL
                for form in FAST_UPSAMPLERS
            }
            return {**forms, **found}, task
    return {}, ""


def _get_layer(row: Mapping[Any, Any]) -> _Layer:
    return str(row["upsampler"]), None if pd.isna(row["kernel_size"]) else int(row["kernel_size"])


def complete_tasks(trained: Trained, shipped: Trained | None) -> Trained:
    """Add the results of the tasks that one's own experiments lack.

    Parameters
    ----------
    trained : Trained
        One's own; may be empty.
    shipped : Trained or None
        Those that ship with the package.
    """
    if shipped is None or shipped.is_empty:
        return trained
    others = shipped.results[~shipped.results["task"].isin({*trained.results["task"]})]
    if trained.is_empty:
        return replace(trained, results=others)
    return (
        replace(trained, results=pd.concat([trained.results, others], ignore_index=True))
        if len(others)
        else trained
    )


def view_trained(trained: Trained) -> TableView:
    """Show what was found after training: a row for each layer, and columns for each task.

    Parameters
    ----------
    trained : Trained
        Any; may be empty.

    Returns
    -------
    TableView
        Means over seeds, with the lowest and the highest where there are several. The cleanest layer comes first.
    """
    rows = trained.results.drop_duplicates(list(RUN_KEYS), keep="last")
    tasks = [task for task in (*_TASKS, *sorted({*rows["task"]} - {*_TASKS})) if (rows["task"] == task).any()]
    layers = sorted(
        {(str(r["upsampler"]), _get_layer(r)[1], int(r["scale_factor"])) for r in rows.to_dict("records")},
        key=lambda layer: (rank_upsampler(layer[0]), layer[1] or 0, layer[2]),
    )
    views = []
    for upsampler, kernel, scale in layers:
        name = format_layer(upsampler, kernel, scale)
        same = rows["kernel_size"].isna() if kernel is None else rows["kernel_size"] == kernel
        own = rows[(rows["upsampler"] == upsampler) & same.fillna(value=False) & (rows["scale_factor"] == scale)]
        cells = [Cell(text=name, sort=name)]
        for task in tasks:
            trainings = own[own["task"] == task]
            cells.append(
                Cell(text=str(len(trainings)) if len(trainings) else "–", sort=str(len(trainings)), kind="number")
            )
            # below 0 there is no checkerboard either
            cells += [
                _write_scores(
                    trainings[column].dropna().clip(lower=0.0 if column == "checkerboard_levels" else None), digits
                )
                for column, _, digits in _SCORES
            ]
        views.append(tuple(cells))
    views.sort(key=lambda cells: float(cells[2].sort or "inf") if len(cells) > 2 else 0.0)
    headings = [f"{task}: {name}" for task in tasks for name in ("trainings", *(title for _, title, _ in _SCORES))]
    return TableView(headings=("layer", *headings), rows=tuple(views))


def _write_scores(values: "pd.Series[float]", digits: int) -> Cell:
    if values.empty:
        return Cell(text="–", sort="", kind="number")
    mean, low, high = values.mean(), values.min(), values.max()
    text = f"{mean:.{digits}f}" + (f" ({low:.{digits}f} to {high:.{digits}f})" if len(values) > 1 else "")
    return Cell(text=text.replace("-", "−"), sort=repr(float(mean)), kind="number")


def describe_tasks(view: TableView, trained: Trained) -> str:
    """Say in one sentence what both tasks agree on.

    Parameters
    ----------
    view : TableView
        From `view_trained`.
    trained : Trained
        That it was made of.
    """
    rows = trained.results
    if rows.empty:
        return ""
    tasks = [task for task in _TASKS if (rows["task"] == task).any()]
    parts = []
    for task in tasks:
        chosen = rows[rows["task"] == task]
        worst = chosen.groupby(["upsampler"])["checkerboard_levels"].mean().sort_values()
        if len(worst):
            parts.append(
                f"{task}: {worst.index[-1]} leaves the strongest checkerboard, {worst.iloc[-1]:.1f} levels"
            )
    return f"{len(view.rows)} layers were trained; {'; '.join(parts)}" if parts else ""
