"""Ratios to a baseline within one setting at one size: which layer is the baseline, and what each ratio is."""

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


def take_ratios(frame: pd.DataFrame, baseline: int) -> list[float]:
    """Take the latency of each layer over that of the baseline.

    Parameters
    ----------
    frame : DataFrame
        As for `find_baseline`.
    baseline : int
        Number of the baseline's row.

    Returns
    -------
    list of float
        The ratios of the table where it has them, taken in the same moments, else those of latencies.
    """
    computed = frame["latency_s"] / frame["latency_s"][baseline]
    if "ratio" not in frame:
        return [float(value) for value in computed]
    # those of another baseline are not comparable
    is_same = frame["baseline_id"] == frame["case_id"][baseline]
    return [float(value) for value in frame["ratio"].where(is_same).fillna(computed)]
