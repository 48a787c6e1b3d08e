"""What must not move the score, and what it must not mistake for a checkerboard, measured one by one."""

import itertools
from typing import Any

import numpy as np
from scipy import ndimage

from deconvbench.measure.artifacts.spectrum import checkerboard
from deconvbench.studies.validation.calibration import PERIODS
from deconvbench.studies.validation.images import (
    CONTENTS,
    Image,
    draw_bars,
    draw_content,
    draw_ramp,
    draw_signs,
    draw_tile,
    make_alternating_tile,
    make_rng,
    plant,
    spread_tile,
)

GAINS = (1.0, 1e-3, 127.5, -255.0)
# rows and columns cut off at the upper left: odd and even, less and more than a hop, near a whole patch
CROPS = ((0, 0), (1, 0), (0, 1), (1, 1), (3, 5), (7, 2), (16, 16), (17, 9), (31, 30))
# the side of a patch: the smallest region in which a checkerboard of one sign is still seen
REGION_PX = 64
BLUR_PX = 1.0
NOISE_RMS = 0.1
FAINT, CLEAR = 0.03, 0.1  # planted RMS, in σ

Row = dict[str, Any]


def measure_invariances(seed: int, size: int) -> list[Row]:
    """Measure every invariance on the images of one seed.

    Parameters
    ----------
    seed : int
        Of images, patterns and noise.
    size : int
        Side of the images in pixels.

    Returns
    -------
    list of dict
        ``property, case, content, period, planted, seed, measured``; amplitudes in σ, after a gain divided by it.
    """
    rows = []
    for period in PERIODS:
        tile = draw_tile(make_rng(seed, "tile", period), period)
        alone = plant(np.zeros((size, size)), tile, CLEAR)
        rows += [
            _read("pure", "checkerboard alone", alone, planted=CLEAR, period=period),
            _read("ramp", "ramp alone", draw_ramp(size), period=period),
            _read("bars", "bars and rectangles", draw_bars(make_rng(seed, "bars"), size), period=period),
        ]
    for content in CONTENTS:
        image = draw_content(content, seed, size)
        rows += [{**row, "content": content} for row in _measure_on(image, seed)]
    return [{**row, "seed": seed} for row in rows]


def _measure_on(image: Image, seed: int) -> list[Row]:
    """Measure what depends on the content."""
    tile = draw_tile(make_rng(seed, "tile", 2), 2)
    planted = {rms: plant(image, tile, rms) for rms in (0.0, FAINT, CLEAR)}
    board = CLEAR * spread_tile(make_alternating_tile(), image.shape)
    rows = [_read("gain", f"×{gain:g}", gain * planted[FAINT], planted=FAINT, gain=gain) for gain in GAINS]
    for rms, (top, left) in itertools.product((FAINT, CLEAR), CROPS):
        rows.append(_read("crop", f"{top} rows, {left} columns", planted[rms][top:, left:], planted=rms))
    for region in (REGION_PX, 2 * REGION_PX):
        signs = draw_signs(make_rng(seed, "signs", region), image.shape, region)
        rows.append(_read("sign flips", f"regions of {region} px", image + board * signs, planted=CLEAR))
    noise = NOISE_RMS * make_rng(seed, "noise").standard_normal(image.shape)
    upsampled = image[::2, ::2].repeat(2, axis=0).repeat(2, axis=1)
    return [
        *rows,
        _read("blur", f"Gaussian of {BLUR_PX:g} px", ndimage.gaussian_filter(image, BLUR_PX)),
        *(
            _read("noise", f"white, RMS {NOISE_RMS:g} σ", planted[rms] + noise, planted=rms)
            for rms in (0.0, FAINT)
        ),
        _read("nearest", "upsampled ×2 by repeating pixels", upsampled),
    ]


def _read(name: str, case: str, image: Image, *, planted: float = 0.0, period: int = 2, gain: float = 1.0) -> Row:
    return {
        "property": name,
        "case": case,
        "content": "none",
        "period": period,
        "planted": planted,
        "measured": checkerboard(image, period=period).amplitude / abs(gain),
    }
