"""How often the score answers where nothing was planted, and how often where something was: image by image.

What is planted is a multiple of the image's own detection level, so the rates of images of different texture can
be put together. What rates are good enough is decided in `checks`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from deconvbench.measure.artifacts.spectrum import CheckerboardResult, checkerboard
from deconvbench.studies.validation.calibration import Row
from deconvbench.studies.validation.images import draw_tile, make_rng, plant
from deconvbench.studies.validation.scores import CleanImages

# detection levels that are planted; 0 finds the false alarms
MULTIPLES = (0, 1, 2, 3)
# share of images without a grid that a level of two standard deviations is exceeded by: one side of a normal
NOMINAL_RATE = 0.023
# 32 needs larger images than the others
RATE_PERIODS, LARGE_PERIOD = (2, 3, 4, 8, 16), 32


def measure_rates(kind: str, scale: str, draw: Callable[[], CleanImages], periods: Sequence[int]) -> list[Row]:
    """Read images without and with a planted pattern of 1, 2 and 3 detection levels.

    Parameters
    ----------
    kind, scale : str
        What the images are, for the rows.
    draw : callable
        Gives clean images of deviation 1.
    periods : sequence of int
        P of the patterns.

    Returns
    -------
    list of dict
        ``kind, content, scale, seed, period, multiple, planted, measured, detection_level, noise_level``;
        amplitudes in σ. Images on which a period has no detection level are left out.
    """
    rows = []
    for (content, seed), image in draw().items():
        for period in periods:
            clean = checkerboard(image, period)
            if not np.isfinite(clean.detection_level):
                continue
            tile = draw_tile(make_rng(seed, content, "tile", period), period)
            for multiple in MULTIPLES:
                planted = multiple * clean.detection_level
                found = checkerboard(plant(image, tile, planted), period) if multiple else clean
                rows.append(
                    {
                        "kind": kind,
                        "content": content,
                        "scale": scale,
                        "seed": seed,
                        "period": period,
                        "multiple": multiple,
                        "planted": planted,
                        **_read(found),
                    }
                )
    return rows


def _read(found: CheckerboardResult) -> dict[str, Any]:
    return {
        "measured": found.amplitude,
        "detection_level": found.detection_level,
        "noise_level": found.noise_level,
    }


def summarise_rates(rates: pd.DataFrame) -> pd.DataFrame:
    """Count what was found.

    Parameters
    ----------
    rates : DataFrame
        From `measure_rates`.

    Returns
    -------
    DataFrame
        ``kind, period, multiple``; ``images``; ``found`` and ``found_by_noise_level`` (readings above each level);
        ``contents`` (different photographs among those found); ``detection_level, noise_level`` (medians, σ).
    """
    found = rates["measured"] > rates["detection_level"]
    marked = rates.assign(
        found=found,
        found_by_noise_level=rates["measured"] > rates["noise_level"],
        content_found=rates["content"].where(found),
    )
    groups = marked.groupby(["kind", "period", "multiple"], sort=False)
    return groups.agg(
        images=("found", "size"),
        found=("found", "sum"),
        found_by_noise_level=("found_by_noise_level", "sum"),
        contents=("content_found", "nunique"),
        detection_level=("detection_level", "median"),
        noise_level=("noise_level", "median"),
    ).reset_index()
