"""What is said of interleaved timing: the report's tables, the sentences that sum them up, and a terminal's table.

Every number is looked up in the frames of `deconvbench.analysis.speedups`. Knows no HTML: the
template escapes.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from deconvbench.analysis.results import RunResults
from deconvbench.analysis.speedups import BASELINE_KERNEL, CHOICE_MARGIN, MEMORY_LIMIT
from deconvbench.records.layers import FAST_UPSAMPLERS
from deconvbench.report.aligned_table import align_table
from deconvbench.report.tables import Cell, TableView, write_text

_Row = Mapping[Any, Any]
# the first of them chooses among the others
_FIXED_FORMS = FAST_UPSAMPLERS[1:]


def view_means(means: pd.DataFrame) -> TableView:
    """Show the geometric means over shapes: a row a layer for each kernel and scale, a column a setting.

    Parameters
    ----------
    means : DataFrame
        From `average_speedups`.

    Returns
    -------
    TableView
        A number is followed by half the width of its 95 % interval where there is one.
    """
    found = {(_name_baseline(row), row["layer"], _name_setting(row)): row for row in means.to_dict("records")}
    settings = sorted({setting for _, _, setting in found}, key=_order_setting)
    rows = tuple(
        (
            Cell(text=baseline, sort=baseline),
            Cell(text=layer, sort=layer),
            *(_write_ratio(found.get((baseline, layer, setting))) for setting in settings),
        )
        for baseline, layer in _list_lines(means.to_dict("records"))
    )
    return TableView(headings=("plain form", "layer", *settings), rows=rows)


def view_costs(means: pd.DataFrame) -> TableView:
    """Show what each layer makes of the machine: its share of the ceiling, and its memory over the baseline's.

    Parameters
    ----------
    means : DataFrame
        From `average_speedups`.

    Returns
    -------
    TableView
        One row a layer for each kernel and scale; one column for each setting of `forward` (geometric mean over
        shapes of the share), and one for the most memory at any shape and setting.
    """
    found: dict[tuple[str, str], list[_Row]] = {}
    for row in means.to_dict("records"):
        found.setdefault((_name_baseline(row), row["layer"]), []).append(row)
    settings = sorted(
        {_name_setting(r) for rows in found.values() for r in rows if _is_known(r["ceiling_share"])},
        key=_order_setting,
    )
    rows = []
    for baseline, layer in _list_lines(means.to_dict("records")):
        own = found[baseline, layer]
        shares = {_name_setting(r): r["ceiling_share"] for r in own if _is_known(r["ceiling_share"])}
        memory = [r["most_memory_ratio"] for r in own if _is_known(r["most_memory_ratio"])]
        rows.append(
            (
                Cell(text=baseline, sort=baseline),
                Cell(text=layer, sort=layer),
                *(_write_share(shares.get(setting)) for setting in settings),
                _write_memory(max(memory, default=None)),
            )
        )
    return TableView(headings=("plain form", "layer", *settings, "most memory (ratio)"), rows=tuple(rows))


def format_means(means: pd.DataFrame) -> str:
    """Write the geometric means as a table for each kind of step, which a terminal shows and is Markdown as well.

    Parameters
    ----------
    means : DataFrame
        From `average_speedups`.

    Returns
    -------
    str
        A line for each kernel and scale and each layer that chooses its form or computes something else, a column
        for each memory format and number of threads; empty where there are no means. The fixed forms are in the
        report.
    """
    shown = means[~(means["is_twin"] & means["upsampler"].isin(_FIXED_FORMS))]
    if shown.empty:
        return ""
    text = ["times faster than the plain form, ± half the 95 % interval; geometric means over shapes"]
    steps = sorted({_name_step(row) for row in shown.to_dict("records")}, key=_order_setting)
    for step in steps:
        rows = [row for row in shown.to_dict("records") if _name_step(row) == step]
        found = {(_name_baseline(row), row["layer"], _name_conditions(row)): row for row in rows}
        columns = sorted({conditions for *_, conditions in found}, key=_order_setting)
        lines = [
            [f"{baseline}: {layer}", *(_write_ratio(found.get((baseline, layer, name))).text for name in columns)]
            for baseline, layer in _list_lines(rows)
        ]
        text += ["", *align_table([[step, *columns], *lines])]
    return "\n".join(text)


def view_choices(choices: pd.DataFrame) -> TableView:
    """Show for each shape and setting what was chosen, and whether it is the best.

    Parameters
    ----------
    choices : DataFrame
        From `compare_choices`.
    """
    rows = []
    for row in choices.to_dict("records"):
        setting, baseline = _name_setting(row), _name_baseline(row)
        rows.append(
            (
                Cell(text=baseline, sort=baseline),
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
        *("plain form", "channels", "input (pixels)", "setting", "chosen", "speed-up (ratio)", "best fixed form"),
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
    name = str(speedups["baseline_id"].iloc[0]).partition("-")[0]
    kernels = {row["layer"]: row[BASELINE_KERNEL] for row in choices.to_dict("records")}
    sentences = []
    for layer, kernel in kernels.items():
        plain = _name_plain(name, kernel)
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
    alternatives = means[~means["is_twin"] & (means["step"] == "forward")].to_dict("records")
    ratios: dict[tuple[str, str], list[float]] = {}
    for row in alternatives:
        ratios.setdefault((row["layer"], _name_plain(name, row[BASELINE_KERNEL])), []).append(row["speedup"])
    sentences += [
        f"For comparison: {layer}, which computes something else, is {min(found):.2f} to {max(found):.2f} times"
        f" faster than {plain} (forward)."
        for (layer, plain), found in ratios.items()
    ]
    return sentences


def _name_plain(name: str, kernel: Any) -> str:
    return f"{name} k{kernel}" if _is_known(kernel) else name


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


def _list_lines(rows: Iterable[_Row]) -> list[tuple[str, str]]:
    """List the layers of each kernel and scale of the baseline, these in order, layers as the grid has them."""
    found: dict[tuple[int, int, str], str] = {}
    for row in rows:
        kernel = row[BASELINE_KERNEL]
        place = (int(kernel) if _is_known(kernel) else 0, row["scale_factor"], row["layer"])
        found.setdefault(place, _name_baseline(row))
    places = sorted(found, key=lambda place: place[:2])
    return [(found[place], place[-1]) for place in places]


def _is_known(value: Any) -> bool:
    return bool(pd.notna(value))


def _name_baseline(row: _Row) -> str:
    kernel = row[BASELINE_KERNEL]
    return f"{f'k{kernel} ' if _is_known(kernel) else ''}s{row['scale_factor']}"


def _name_setting(row: _Row) -> str:
    return f"{_name_step(row)}, {_name_conditions(row)}"


def _name_step(row: _Row) -> str:
    weights = "" if row["step"] == "train" else " frozen" if row["is_frozen"] else " live"
    return f"{row['step']}{weights}"


def _name_conditions(row: _Row) -> str:
    threads = f"{row['threads']} thread{'' if row['threads'] == 1 else 's'}"
    common = [str(row[name]) for name, usual in (("dtype", "float32"), ("device", "cpu")) if row[name] != usual]
    common += [f"batch {row['batch']}"] if row["batch"] != 1 else []
    return ", ".join([row["memory_format"], threads, *common])


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
