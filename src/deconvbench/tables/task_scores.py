"""What a task's networks score after training, as a Markdown table: for pages that are generated.

Segmentation and style transfer have scores of their own beside the checkerboard. Reads frames, trains nothing.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from deconvbench.records.case import format_layer
from deconvbench.records.schema import LAYER_COLUMNS
from deconvbench.records.training_tasks import get_task
from deconvbench.statistics import mean_interval
from deconvbench.tables.trained import Trained
from deconvbench.tables.trained_networks import find_network, keep_network

# columns of a table: heading, and digits after the point
_CHECKERBOARD: Mapping[str, tuple[str, int]] = {"checkerboard_levels": ("CBA (levels)", 2)}
_COLUMNS: Mapping[str, Mapping[str, tuple[str, int]]] = {
    "segmentation": {"miou": ("mIoU", 3), "boundary_error_px": ("boundary error (px)", 2)},
    "style-transfer": {
        "output_checkerboard_levels": ("CBA of the output itself (levels)", 2),
        "target_checkerboard_levels": ("of the photographs (levels)", 2),
        "style_loss": ("style loss", 3),
        "content_loss": ("content loss", 4),
    },
}


def write_task_table(trained: Trained, task: str) -> str:
    """Write what the networks of a task score: a row for each layer, the strongest checkerboard first.

    Parameters
    ----------
    trained : Trained
        Results of training experiments.
    task : str
        ``segmentation`` or ``style-transfer``.

    Returns
    -------
    str
        A Markdown table of means over seeds, with half the width of the 95 % interval where there are several,
        and a sentence that says what was trained; where nothing was, a sentence that says so.
    """
    get_task(task)
    network = find_network(trained.results, task)
    rows = keep_network(trained.results, network)
    if network is None or rows.empty:
        return f"No results of {task} ship with this version: `deconvbench train --task {task}` makes them."
    columns = {**_CHECKERBOARD, **_COLUMNS[task]}
    lines = [
        f"| layer | {' | '.join(heading for heading, _ in columns.values())} |",
        f"|---|{'---|' * len(columns)}",
    ]
    groups = sorted(
        rows.groupby(list(LAYER_COLUMNS), dropna=False), key=lambda group: -group[1]["checkerboard_levels"].mean()
    )
    for layer, own in groups:
        cells = [_write_mean(own[name], digits) for name, (_, digits) in columns.items()]
        lines.append(f"| {_write_layer(layer)} | {' | '.join(cells)} |")
    seeds = sorted({len(own) for _, own in groups})
    steps = sorted({int(number) for number in rows["steps"]})
    count = f"{_write_numbers(seeds)} seed{'' if seeds[-1] == 1 else 's'}"
    title = network.title.replace("-", " ").capitalize()
    lines += ["", f"{title}: {count} each, {_write_numbers(steps)} steps."]
    return "\n".join(lines)


def _write_layer(layer: Any) -> str:
    name, kernel, scale = layer
    return f"`{name}` {format_layer('', None if pd.isna(kernel) else int(kernel), int(scale)).strip()}"


def _write_mean(values: "pd.Series[float]", digits: int) -> str:
    known = values.dropna().to_numpy()
    if not len(known):
        return "–"
    mean = f"{known.mean():.{digits}f}"
    if len(known) > 1:
        _, low, high = mean_interval(known)
        mean += f" ± {(high - low) / 2:.{digits}f}"
    return mean.replace("-", "−")


def _write_numbers(numbers: list[int]) -> str:
    return " to ".join(f"{number:,}" for number in sorted({numbers[0], numbers[-1]}))
