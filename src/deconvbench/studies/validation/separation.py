"""How well each score tells planted images from clean ones, whatever its level: the area under its curve.

Compares scores that need no reference, on the same squares of photographs. A score is given no threshold: the area
is the chance that a planted image reads higher than a clean one.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from deconvbench.measure.artifacts.spectrum import checkerboard
from deconvbench.studies.validation.calibration import Row
from deconvbench.studies.validation.images import Image, draw_signs, draw_tile, make_rng, spread_tile
from deconvbench.studies.validation.other_scores import (
    measure_neighbours,
    profile_spectrum,
    spread_of_phase_means,
    sum_grid_rings,
    sum_high_frequencies,
)
from deconvbench.studies.validation.scores import CleanImages

SEPARATED_PERIODS = (2, 4, 8)
FAINT_AMPLITUDES = (0.01, 0.03)  # RMS of what is planted, in σ
PLAIN, FLIPPING = "one sign", "sign flips"
# name in the frame and in words
SEPARATORS = {
    "checkerboard": "checkerboard score, in detection levels",
    "phase_means": "phase means",
    "fine_phase_means": "phase means of the Laplacian",
    "high_frequencies": "azimuthal spectrum from .45",
    "grid_rings": "its grid rings",
    "npr": "NPR",
}
# pixels; regions in which a flipping pattern has one sign
_REGION_PX = 64


def measure_separation(scale: str, draw: Callable[[], CleanImages]) -> list[Row]:
    """Read every score on clean squares and on planted ones.

    Parameters
    ----------
    scale : str
        Of the photographs, for the rows.
    draw : callable
        Gives clean images of deviation 1.

    Returns
    -------
    list of dict
        ``content, scale, seed, period, pattern, planted`` and a column for each of `SEPARATORS`; `planted` 0 and
        pattern ``none`` for the clean image.
    """
    rows = []
    for (content, seed), image in draw().items():
        for period in SEPARATED_PERIODS:
            about = {"content": content, "scale": scale, "seed": seed, "period": period}
            rows.append({**about, "pattern": "none", "planted": 0.0, **read_separators(image, period)})
            tile = spread_tile(draw_tile(make_rng(seed, content, "tile", period), period), image.shape)
            signs = draw_signs(make_rng(seed, content, "signs"), image.shape, _REGION_PX)
            for pattern, added in ((PLAIN, tile), (FLIPPING, tile * signs)):
                for planted in FAINT_AMPLITUDES:
                    readings = read_separators(image + planted * added, period)
                    rows.append({**about, "pattern": pattern, "planted": planted, **readings})
    return rows


def read_separators(image: Image, period: int) -> dict[str, float]:
    """Read every score that needs no reference.

    Parameters
    ----------
    image : ndarray, shape (H, W)
        In grey.
    period : int
        P.

    Returns
    -------
    dict of str to float
        By the names of `SEPARATORS`; the checkerboard score in detection levels, the others in the image's units.
    """
    found = checkerboard(image, period)
    profile = profile_spectrum(image)
    return {
        "checkerboard": found.amplitude / found.detection_level,
        "phase_means": spread_of_phase_means(image, period),
        "fine_phase_means": spread_of_phase_means(_sharpen(image), period),
        "high_frequencies": sum_high_frequencies(profile),
        "grid_rings": sum_grid_rings(profile, period),
        "npr": measure_neighbours(image),
    }


def _sharpen(image: Image) -> Image:
    """Take the Laplacian: each pixel less the mean of its four neighbours, without the border."""
    around = image[:-2, 1:-1] + image[2:, 1:-1] + image[1:-1, :-2] + image[1:-1, 2:]
    return np.asarray(image[1:-1, 1:-1] - around / 4)


def summarise_separation(separation: pd.DataFrame) -> pd.DataFrame:
    """Turn readings into areas under the curve.

    Parameters
    ----------
    separation : DataFrame
        From `measure_separation`.

    Returns
    -------
    DataFrame
        ``period, planted, pattern, images`` and a column for each of `SEPARATORS`: chance in 0..1 that a planted
        image reads higher than a clean one, .5 for a coin, 1 for a perfect score.
    """
    rows = []
    for (period, pattern, planted), chosen in separation.groupby(["period", "pattern", "planted"], sort=False):
        if planted == 0:
            continue
        clean = separation[(separation["period"] == period) & (separation["planted"] == 0)]
        areas = {name: area_under_curve(chosen[name].to_numpy(), clean[name].to_numpy()) for name in SEPARATORS}
        rows.append({"period": period, "planted": planted, "pattern": pattern, "images": len(chosen), **areas})
    return pd.DataFrame(rows)


def area_under_curve(planted: np.ndarray, clean: np.ndarray) -> float:
    """Chance that a planted image reads higher than a clean one; equal readings count half.

    Parameters
    ----------
    planted, clean : ndarray
        Readings, at least one each.

    Returns
    -------
    float
        0..1.
    """
    ranks = rankdata(np.concatenate([planted, clean]))
    count = len(planted)
    return float((ranks[:count].sum() - count * (count + 1) / 2) / (count * len(clean)))
