"""Planted amplitude against measured: the rows of the calibration curve and their summary."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from deconvbench.measure.artifacts.spectrum import checkerboard
from deconvbench.studies.validation.images import Image, draw_tile, make_rng, plant

PERIODS = (2, 3, 4, 8)
# RMS of the planted checkerboard, in units of the content's deviation
AMPLITUDES = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3)
# error of the pooled reading that is allowed, as a share of what was planted, by period and amplitude
LIMITS = {
    (2, 0.03): 0.05,
    (2, 0.1): 0.05,
    (3, 0.03): 0.10,
    (3, 0.1): 0.05,
    (4, 0.03): 0.10,
    (4, 0.1): 0.05,
    (8, 0.1): 0.05,
    (8, 0.3): 0.05,
}

Row = dict[str, Any]


def calibrate(kind: str, content: str, seed: int, draw: Callable[[], Image]) -> list[Row]:
    """Plant random patterns of every period and amplitude on one image and measure them.

    Parameters
    ----------
    kind, content : str
        What the image is, for the rows.
    seed : int
        Of the patterns.
    draw : callable
        Gives the clean image, of deviation 1.

    Returns
    -------
    list of dict
        ``kind, content, period, planted, seed, measured, detection_level``; amplitudes in σ.
    """
    image = draw()
    rows = []
    for period in PERIODS:
        tile = draw_tile(make_rng(seed, "tile", period), period)
        for planted in AMPLITUDES:
            result = checkerboard(plant(image, tile, planted), period=period)
            rows.append(
                {
                    "kind": kind,
                    "content": content,
                    "period": period,
                    "planted": planted,
                    "seed": seed,
                    "measured": result.amplitude,
                    "detection_level": result.detection_level,
                }
            )
    return rows


def pool_amplitudes(amplitudes: pd.Series) -> float:
    """Average signed amplitudes as the score averages over a batch: by their signed squares.

    Parameters
    ----------
    amplitudes : Series
        Of single images.

    Returns
    -------
    float
        In the same units; NaN if there are none.
    """
    values = amplitudes.to_numpy(float)
    if not values.size:
        return float("nan")
    power = float(np.mean(np.sign(values) * values**2))
    return float(np.sign(power) * np.sqrt(abs(power)))


def summarise_calibration(calibration: pd.DataFrame, by: str = "kind") -> pd.DataFrame:
    """Pool the single images.

    Parameters
    ----------
    calibration : DataFrame
        From `calibrate`.
    by : str
        ``kind`` puts the photographs together, ``content`` leaves them apart.

    Returns
    -------
    DataFrame
        `by`, ``period, planted``; ``pooled`` (as a batch), ``low, high`` (over single images), ``deviation`` (of
        the single images), ``detection_level`` (root mean square), ``images``, ``limit`` (share, or NaN).
    """
    groups = calibration.groupby([by, "period", "planted"], sort=False)
    summary = groups.agg(
        pooled=("measured", pool_amplitudes),
        low=("measured", "min"),
        high=("measured", "max"),
        deviation=("measured", lambda readings: float(readings.std(ddof=0))),
        detection_level=("detection_level", lambda levels: float(np.sqrt(np.mean(levels**2)))),
        images=("measured", "size"),
    ).reset_index()
    keys = zip(summary["period"], summary["planted"], strict=True)
    return summary.assign(limit=[LIMITS.get(key, np.nan) for key in keys])
