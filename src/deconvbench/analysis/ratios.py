"""Ratios to a baseline within one setting at one size: which layer is the baseline, and what each ratio is."""

import math

import pandas as pd

_BASELINE = ("transposed", 3)


def find_baseline(frame: pd.DataFrame) -> int:
    """Find the baseline among the layers of one setting at one size.

    Parameters
    ----------
    frame : DataFrame
        Cases with a latency, the fastest first, numbered from 0.

    Returns
    -------
    int
        Number of the row: the layer that the others were timed against, else the transposed convolution with
        kernel 3, else the fastest.
    """
    if "baseline_id" in frame:
        timed = frame.index[frame["case_id"].isin(frame["baseline_id"].dropna().mode()[:1])]
        if len(timed):
            return int(timed[0])
    known = frame.index[
        (frame["upsampler"] == _BASELINE[0]) & (frame["kernel_size"] == _BASELINE[1]).fillna(False)
    ]
    return int(known[0]) if len(known) else 0


def take_ratios(frame: pd.DataFrame, baseline: int) -> list[tuple[float, float | None, float | None]]:
    """Take the latency of each layer over that of the baseline.

    Parameters
    ----------
    frame : DataFrame
        As for `find_baseline`.
    baseline : int
        Number of the baseline's row.

    Returns
    -------
    list of (float, float or None, float or None)
        Each with the ends of its interval: the ratios of the table where it has them, taken in the same moments,
        else those of latencies, which have none.
    """
    computed = frame["latency_s"] / frame["latency_s"][baseline]
    if "ratio" not in frame:
        return [(float(value), None, None) for value in computed]
    # those of another baseline are not comparable
    own = frame.reindex(columns=["ratio", "ratio_low", "ratio_high"])
    own = own.where(frame["baseline_id"] == frame["case_id"][baseline])
    found = []
    for index, (ratio, low, high) in enumerate(own.to_numpy(dtype=float, na_value=math.nan).tolist()):
        has_interval = index != baseline and not math.isnan(low) and not math.isnan(high)
        ends = (low, high) if has_interval else (None, None)
        found.append((float(computed[index]) if math.isnan(ratio) else ratio, *ends))
    return found
