"""What trained networks make of pictures, for every task: a table, and the qualities that the answer uses."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from deconvbench.records.case import format_layer
from deconvbench.records.layers import FAST_ORIGINAL, FAST_UPSAMPLERS, rank_upsampler
from deconvbench.records.schema import LAYER_COLUMNS, RUN_KEYS
from deconvbench.records.training_tasks import get_task
from deconvbench.report.tables import Cell, TableView
from deconvbench.statistics import mean_interval
from deconvbench.tables.trained import Trained
from deconvbench.tables.trained_networks import (
    MAIN_TASK,
    Network,
    find_network,
    keep_network,
    list_networks,
)

# in the order of the columns; the first says most about a layer: nothing comes behind it, and it sees no target
_TASKS = ("super-resolution", MAIN_TASK)
# name, heading and digits
_CHECKERBOARD = ("checkerboard_levels", "checkerboard (8-bit levels)", 2)
# two seeds have an interval too, which is so wide that it says nothing
FEWEST_FOR_INTERVAL = 3
_Layer = tuple[str, int | None, int]


def find_qualities(
    trained: Trained, scale_factor: int = 2
) -> tuple[dict[tuple[str, int | None], Sequence[float]], str]:
    """Find the PSNR of every training of the task that says most about it, in the network that stands for it.

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
    for network, rows in _choose(trained).items():
        known = rows[(rows["scale_factor"] == scale_factor) & rows["psnr_db"].notna()]
        if network.task in _TASKS and len(known):
            found = {layer[:2]: own["psnr_db"].astype(float).tolist() for layer, own in _group(known).items()}
            forms = {
                (form, kernel): values
                for (name, kernel), values in found.items()
                if name == FAST_ORIGINAL
                for form in FAST_UPSAMPLERS
            }
            return {**forms, **found}, network.task
    return {}, ""


def _get_layer(row: Mapping[Any, Any]) -> _Layer:
    kernel = None if pd.isna(row["kernel_size"]) else int(row["kernel_size"])
    return str(row["upsampler"]), kernel, int(row["scale_factor"])


def _rank_layer(layer: _Layer) -> tuple[tuple[int, str], int, int]:
    return rank_upsampler(layer[0]), layer[1] or 0, layer[2]


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


def _choose(trained: Trained) -> dict[Network, pd.DataFrame]:
    """Rows of the network that stands for each task, one a training, in the order of the columns."""
    rows = trained.results
    tasks = [*_TASKS, *sorted({*map(str, rows["task"])} - {*_TASKS})]
    networks = [network for task in tasks if (network := find_network(rows, task)) is not None]
    return {
        network: keep_network(rows, network).drop_duplicates(list(RUN_KEYS), keep="last") for network in networks
    }


def view_trained(trained: Trained) -> TableView:
    """Show what was found after training: a row for each layer, and columns for the network of each task.

    Parameters
    ----------
    trained : Trained
        Any; may be empty.

    Returns
    -------
    TableView
        Means over seeds with their 95 % intervals, of the network that stands for each task (`find_network`); a
        score that its task does not have has no column. The cleanest layer of the first task comes first.
    """
    chosen = _choose(trained)
    layers = sorted(
        {_get_layer(row) for rows in chosen.values() for row in rows.to_dict("records")}, key=_rank_layer
    )
    found = {network: _group(rows) for network, rows in chosen.items()}
    scores = {
        network: [score for score in _list_scores(network) if rows[score[0]].notna().any()]
        for network, rows in chosen.items()
    }
    order: dict[str, float] = {}
    views = []
    for layer in layers:
        name = format_layer(*layer)
        cells = [Cell(text=name, sort=name)]
        for network, groups in found.items():
            own = groups.get(layer)
            order.setdefault(name, math.inf if own is None else float(own["checkerboard_levels"].mean()))
            count = "0" if own is None else str(len(own))
            cells.append(Cell(text="–" if own is None else count, sort=count, kind="number"))
            cells += [
                _write_scores(None if own is None else own[column].dropna(), digits, is_signed=is_signed)
                for column, _, digits, is_signed in scores[network]
            ]
        views.append(tuple(cells))
    # what diverged comes last, with what was not trained
    views.sort(key=lambda cells: order[cells[0].text] if math.isfinite(order[cells[0].text]) else math.inf)
    headings = [
        f"{network.title}: {name}"
        for network in chosen
        for name in ("trainings", *(title for _, title, *_ in scores[network]))
    ]
    return TableView(headings=("layer", *headings), rows=tuple(views))


def view_variants(trained: Trained) -> TableView:
    """Show networks in which something was changed, beside the one that stands for their task.

    Parameters
    ----------
    trained : Trained
        Any; may be empty.

    Returns
    -------
    TableView
        A row for each network and layer: means over seeds with their 95 % intervals, and the checkerboard of the
        same layer in the network that stands for its task; no row where nothing was trained besides.
    """
    main = {network.task: _group(rows) for network, rows in _choose(trained).items()}
    chosen = {*_choose(trained)}
    rows = []
    for network in list_networks(trained.results):
        if network in chosen:
            continue
        kept = keep_network(trained.results, network).drop_duplicates(list(RUN_KEYS), keep="last")
        (column, _, digits, is_signed), score = _list_scores(network)
        for layer, own in sorted(_group(kept).items(), key=lambda item: _rank_layer(item[0])):
            usual = main.get(network.task, {}).get(layer)
            name, count = format_layer(*layer), str(len(own))
            rows.append(
                (
                    Cell(text=network.title, sort=network.title),
                    Cell(text=name, sort=name),
                    Cell(text=count, sort=count, kind="number"),
                    _write_scores(own[column].dropna(), digits, is_signed=is_signed),
                    _write_scores(None if usual is None else usual[column].dropna(), digits, is_signed=is_signed),
                    _write_scores(own[score[0]].dropna(), score[2], is_signed=score[3]),
                )
            )
    score_title = "PSNR (dB), mIoU or style loss" if {*main} - {*_TASKS} else "PSNR (dB)"
    headings = ("network", "layer", "trainings", _CHECKERBOARD[1], "unchanged: checkerboard", score_title)
    return TableView(headings=headings, rows=tuple(rows))


def _list_scores(network: Network) -> tuple[tuple[str, str, int, bool], ...]:
    """Name, heading, digits and whether below 0 there is something, of what is shown of a network."""
    task = get_task(network.task)
    return (*_CHECKERBOARD, False), (task.headline, task.headline_title, task.headline_digits, True)


def _group(rows: pd.DataFrame) -> dict[_Layer, pd.DataFrame]:
    groups = rows.groupby(list(LAYER_COLUMNS), dropna=False, sort=False)
    return {_get_layer(group.iloc[0].to_dict()): group for _, group in groups}


def _write_scores(values: "pd.Series[float] | None", digits: int, *, is_signed: bool) -> Cell:
    finite = [] if values is None else [value for value in values if math.isfinite(value)]
    if not finite:
        return Cell(text="–", sort="", kind="number")
    mean, low, high = mean_interval(finite)
    # a checkerboard below 0 is none
    shown = [value if is_signed else max(value, 0.0) for value in (mean, low, high)]
    text = f"{shown[0]:.{digits}f}"
    if len(finite) >= FEWEST_FOR_INTERVAL:
        text += f" ({shown[1]:.{digits}f} to {shown[2]:.{digits}f})"
    return Cell(text=text.replace("-", "−"), sort=repr(float(mean)), kind="number")


def describe_tasks(view: TableView, trained: Trained) -> str:
    """Say in one sentence which layer leaves the strongest checkerboard in each task, and which the weakest.

    Parameters
    ----------
    view : TableView
        From `view_trained`.
    trained : Trained
        That it was made of.
    """
    parts = []
    for network, rows in _choose(trained).items():
        means = {format_layer(*layer): own["checkerboard_levels"].mean() for layer, own in _group(rows).items()}
        known = {name: float(mean) for name, mean in means.items() if math.isfinite(mean)}
        if known:
            worst = max(known, key=lambda name: known[name])
            text = (
                f"{network.title}: {worst} leaves the strongest checkerboard, {max(known[worst], 0.0):.1f} levels"
            )
            parts.append(text)
    return f"{len(view.rows)} layers were trained; {'; '.join(parts)}" if parts else ""


def explain_tasks(trained: Trained) -> str:
    """Say how the table is to be read.

    Parameters
    ----------
    trained : Trained
        That it was made of.
    """
    text = (
        f"Means over trainings; in brackets the 95 % interval of the mean, where there are {FEWEST_FOR_INTERVAL} "
        "trainings or more. A checkerboard below 0 is none, and is written as 0."
    )
    lost = [network.title for network in _choose(trained) if _loses_brightness(network)]
    if lost:
        text += f" Behind instance norm brightness is lost: PSNR is low for every layer ({'; '.join(lost)})."
    return text


def _loses_brightness(network: Network) -> bool:
    """Whether its norm takes from the PSNR that it is judged by."""
    return network.norm == "instance" and get_task(network.task).headline == "psnr_db"
