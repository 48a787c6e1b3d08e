"""What the report says of interleaved timing: two tables and the sentences that sum them up.

Every number is looked up in the frames of `deconvbench.analysis.speedups`. Knows no HTML: the
template escapes.
"""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from deconvbench.analysis.results import RunResults
from deconvbench.analysis.speedups import CHOICE_MARGIN, MEMORY_LIMIT
from deconvbench.report.tables import Cell, TableView, write_text
from deconvbench.system.texts import escape_markdown

_Row = Mapping[Any, Any]


def view_means(means: pd.DataFrame) -> TableView:
    """Show the geometric means over shapes: one row a setting, one column a layer.

    Parameters
    ----------
    means : DataFrame
        From `average_speedups`.

    Returns
    -------
    TableView
        A number is followed by half the width of its 95 % interval where there is one.
    """
    rows_of_means = means.to_dict("records")
    layers = tuple(dict.fromkeys(row["layer"] for row in rows_of_means))
    settings = sorted(dict.fromkeys(_name_setting(row) for row in rows_of_means), key=_order_setting)
    found = {(_name_setting(row), row["layer"]): row for row in rows_of_means}
    rows = tuple(
        (Cell(text=setting, sort=str(number)), *(_write_ratio(found.get((setting, layer))) for layer in layers))
        for number, setting in enumerate(settings)
    )
    return TableView(headings=("setting", *layers), rows=rows)


def view_costs(means: pd.DataFrame) -> TableView:
    """Show what each layer makes of the machine: its share of the ceiling, and its memory over the baseline's.

    Parameters
    ----------
    means : DataFrame
        From `average_speedups`.

    Returns
    -------
    TableView
        One row a layer; one column for each setting of `forward` (geometric mean over shapes of the share), and
        one for the most memory at any shape and setting.
    """
    found = means.to_dict("records")
    shares = {(_name_setting(r), r["layer"]): r["ceiling_share"] for r in found if pd.notna(r["ceiling_share"])}
    settings = sorted({setting for setting, _ in shares}, key=_order_setting)
    rows = []
    for layer in dict.fromkeys(row["layer"] for row in found):
        memory = [
            r["most_memory_ratio"] for r in found if r["layer"] == layer and pd.notna(r["most_memory_ratio"])
        ]
        rows.append(
            (
                Cell(text=layer, sort=layer),
                *(_write_share(shares.get((setting, layer))) for setting in settings),
                _write_memory(max(memory, default=None)),
            )
        )
    return TableView(headings=("layer", *settings, "most memory (ratio)"), rows=tuple(rows))


def format_markdown(view: TableView) -> str:
    """Write a table as Markdown, for a README.

    Parameters
    ----------
    view : TableView
        From one of the functions here.
    """
    ruler = ["---", *("---:" for _ in view.headings[1:])]
    rows = [map(escape_markdown, (cell.text for cell in row)) for row in view.rows]
    lines = [map(escape_markdown, view.headings), ruler, *rows]
    return "\n".join(f"| {' | '.join(words)} |" for words in lines)


def view_choices(choices: pd.DataFrame) -> TableView:
    """Show for each shape and setting what was chosen, and whether it is the best.

    Parameters
    ----------
    choices : DataFrame
        From `compare_choices`.
    """
    rows = []
    for row in choices.to_dict("records"):
        setting = _name_setting(row)
        rows.append(
            (
                Cell(text=f"{row['in_channels']} → {row['out_channels']}", sort=str(row["in_channels"])),
                Cell(
                    text=f"{row['height']}×{row['width']}", sort=str(row["height"] * row["width"]), kind="number"
                ),
                Cell(text=setting, sort=setting),
                write_text(row["implementation"]),
                _write_number(row["speedup"]),
                Cell(text=row["best_layer"], sort=row["best_layer"]),
                _write_number(row["best_speedup"]),
                Cell(
                    text=f"{row['share_of_best']:.2f}",
                    sort=repr(row["share_of_best"]),
                    kind="number" if row["is_within_noise"] else "noisy",
                ),
                _write_memory(row["memory_ratio"]),
            )
        )
    headings = (
        *("channels", "input (pixels)", "setting", "chosen", "speed-up (ratio)", "best fixed form"),
        *("its speed-up (ratio)", "share of the best", "memory (ratio)"),
    )
    return TableView(headings=headings, rows=tuple(rows))


def describe_speedups(results: RunResults) -> list[str]:
    """Say how much faster the layers that choose by themselves are, and where their choice falls short.

    Parameters
    ----------
    results : RunResults
        Of a run; its speed-ups may be empty.

    Returns
    -------
    list of str
        Sentences; empty where there is no interleaved timing.
    """
    speedups, means, choices = results.speedups, results.speedup_means, results.choices
    if means.empty:
        return []
    plain = speedups["baseline_id"].iloc[0].partition("-s")[0].replace("-", " ")
    sentences = []
    for layer in dict.fromkeys(choices["layer"]):
        own = means[means["layer"] == layer].to_dict("records")
        frozen = [row for row in own if row["is_frozen"]]
        kept = [
            *(frozen or [row for row in own if row["step"] == "forward"]),
            *(r for r in own if r["step"] == "train"),
        ]
        kept.sort(key=lambda row: _order_setting(_name_setting(row)))
        named = ", ".join(f"{row['speedup']:.2f} ({_name_setting(row)})" for row in kept)
        shapes = max((row["shapes"] for row in kept), default=0)
        sentences.append(
            f"{layer} computes what {plain} computes and is so many times faster, in the geometric mean over"
            f" {shapes} shapes: {named}."
        )
        chosen = choices[choices["layer"] == layer]
        good = int(chosen["is_within_noise"].sum())
        text = (
            f"Its choice of a form is the best, or within {CHOICE_MARGIN:.0%} or the noise of it, in {good} of"
            f" {len(chosen)} cases"
        )
        known = chosen[chosen["memory_ratio"].notna()]
        if len(known):
            greedy = int(known["takes_too_much_memory"].sum())
            text += f"; it takes more than {MEMORY_LIMIT:.1f} times the memory in {greedy} of {len(known)}"
        sentences.append(text + ".")
    alternatives = means[~means["is_twin"] & (means["step"] == "forward")]
    for layer in dict.fromkeys(alternatives["layer"]):
        ratios = alternatives.loc[alternatives["layer"] == layer, "speedup"]
        sentences.append(
            f"For comparison: {layer}, which computes something else, is {ratios.min():.2f} to {ratios.max():.2f}"
            f" times faster than {plain} (forward)."
        )
    return sentences


def list_failures(speedups: pd.DataFrame) -> list[str]:
    """Say which settings gave nothing, and why, each once.

    Parameters
    ----------
    speedups : DataFrame
        As in ``speedups.csv``; may be empty.
    """
    failed = speedups[speedups["status"] != "ok"].drop_duplicates(["baseline_id", "is_frozen"])
    return [
        f"{row['baseline_id']}{', frozen' if row['is_frozen'] else ''}: {row['status']}: {row['message']}"
        for row in failed.to_dict("records")
    ]


def _name_setting(row: _Row) -> str:
    weights = "" if row["step"] == "train" else " frozen" if row["is_frozen"] else " live"
    threads = f"{row['threads']} thread{'' if row['threads'] == 1 else 's'}"
    common = [str(row[name]) for name, usual in (("dtype", "float32"), ("device", "cpu")) if row[name] != usual]
    common += [f"batch {row['batch']}"] if row["batch"] != 1 else []
    return ", ".join([f"{row['step']}{weights}", row["memory_format"], threads, *common])


def _order_setting(name: str) -> tuple[bool, bool, str]:
    # frozen before live before train, contiguous before channels_last
    return (name.startswith("train"), " live" in name, name.replace("contiguous", "a"))


def _write_number(value: float) -> Cell:
    return Cell(text=f"{value:.2f}", sort=repr(float(value)), kind="number")


def _write_ratio(row: _Row | None) -> Cell:
    if row is None:
        return Cell(text="–", sort="", kind="number")
    cell = _write_number(row["speedup"])
    low, high = row["speedup_ci_low"], row["speedup_ci_high"]
    if math.isnan(low):
        return cell
    return Cell(text=f"{cell.text} ± {(high - low) / 2:.2f}", sort=cell.sort, kind="number")


def _write_share(value: float | None) -> Cell:
    if value is None:
        return Cell(text="–", sort="", kind="number")
    return Cell(text=f"{value:.0%}", sort=repr(float(value)), kind="number")


def _write_memory(value: float | None) -> Cell:
    if value is None or math.isnan(value):
        return Cell(text="–", sort="", kind="number")
    return Cell(text=f"{value:.2f}", sort=repr(float(value)), kind="noisy" if value > MEMORY_LIMIT else "number")
