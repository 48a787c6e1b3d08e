"""Where each layer stands in the setting that most readers ask about: the answer of a run in a few lines.

One setting at one size, those of the report's first sentence and of its figures that show one size.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from deconvbench.analysis.ratios import find_baseline, take_ratios
from deconvbench.analysis.selection import (
    SETTING_FIELDS,
    SIZE_FIELDS,
    EmptyFigureError,
    add_layer_columns,
    at_size,
    choose_size,
    select_measured,
    split_panels,
)
from deconvbench.analysis.tradeoff import join_tradeoff

_QUALITY = "phase_ripple"
# what is left of the ripple where a layer is not linear
_QUALITY_OF_OTHERS = "flat_field_ripple"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One layer beside the others.

    Parameters
    ----------
    layer : str
        As a reader calls it.
    ratio : float or None
        Its latency over that of the baseline; None where it has none.
    ratio_low, ratio_high : float or None
        Ends of its 95 % interval over replicates; None where it has none, as the baseline.
    ripple : float or None
        Phase ripple, or the flat-field ripple of a layer that is not linear.
    is_linear : bool
        Which of the two it is.
    verdict : str
        ``frontier`` where nothing is both faster and cleaner, ``baseline``, ``noisy``, or several of them with
        commas between; the status and the reason of a case that was not measured.
    """

    layer: str
    ratio: float | None
    ripple: float | None
    is_linear: bool = True
    verdict: str = ""
    ratio_low: float | None = None
    ratio_high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standings:
    """The layers of one setting at one size.

    Parameters
    ----------
    setting : str
        For a reader, with the size.
    baseline : str
        The layer whose latency is 1.
    rows : tuple of Standing
        The fastest first; those that were not measured come last.
    left_out : int
        Layers beyond the limit.
    """

    setting: str
    baseline: str
    rows: tuple[Standing, ...]
    left_out: int = 0


def list_standings(summary: pd.DataFrame, limit: int = 12) -> Standings | None:
    """Say where each layer stands.

    Parameters
    ----------
    summary : DataFrame
        One row per case.
    limit : int
        Most layers; those on the frontier and the baseline come before others, and the fast before the slow.

    Returns
    -------
    Standings or None
        None where fewer than two layers were measured. The baseline is the one that the run was timed against,
        else the transposed convolution with kernel 3, else the fastest layer. Ratios are those of the table where
        it has them, taken in the same moments, else of latencies.
    """
    try:
        measured = select_measured(summary, "latency_s")
    except EmptyFigureError:
        return None
    size = choose_size(measured)
    panel = split_panels(join_tradeoff(at_size(measured, size), quality=_QUALITY), 1)[0][0]
    if len(panel.frame) < 2:
        return None
    frame = panel.frame.sort_values("latency_s", kind="stable").reset_index(drop=True)
    baseline = find_baseline(frame)
    ratios = take_ratios(frame, baseline)
    rows = [
        _place(row, ratio, is_baseline=index == baseline)
        for index, (row, ratio) in enumerate(zip(frame.to_dict("records"), ratios, strict=True))
    ]
    # stable: among equals the fast come first
    wanted = sorted(range(len(rows)), key=lambda index: (not frame["on_frontier"][index], index != baseline))
    chosen = {*wanted[:limit]}
    kept = sorted((rows[index] for index in chosen), key=lambda row: row.ratio or 0.0)
    return Standings(
        setting=f"{panel.title}, input {size[0]}×{size[1]}",
        baseline=str(frame["layer"][baseline]),
        rows=(*kept, *_list_failures(summary, frame)),
        left_out=len(rows) - len(chosen),
    )


def _place(
    row: Mapping[Any, Any], ratio: tuple[float, float | None, float | None], *, is_baseline: bool
) -> Standing:
    is_linear = pd.notna(row[_QUALITY])
    ripple = row[_QUALITY] if is_linear else row.get(_QUALITY_OF_OTHERS)
    words = {"frontier": row["on_frontier"], "baseline": is_baseline, "noisy": row["noisy"]}
    return Standing(
        layer=row["layer"],
        ratio=ratio[0],
        ratio_low=ratio[1],
        ratio_high=ratio[2],
        ripple=None if ripple is None or pd.isna(ripple) else float(ripple),
        is_linear=bool(is_linear),
        verdict=", ".join(word for word, applies in words.items() if applies),
    )


def _list_failures(summary: pd.DataFrame, frame: pd.DataFrame) -> list[Standing]:
    """List the cases of the same setting and size that have no latency."""
    same = summary[summary["status"] != "ok"]
    for field in (*SETTING_FIELDS, *SIZE_FIELDS):
        same = same[same[field] == frame[field][0]]
    return [
        Standing(layer=row["layer"], ratio=None, ripple=None, verdict=f"{row['status']}: {row['message']}")
        for row in (add_layer_columns(same).to_dict("records") if len(same) else ())
    ]
