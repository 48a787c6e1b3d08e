import math

import numpy as np
import pandas as pd
import pytest

from deconvbench.measure.artifacts.spectrum import checkerboard
from deconvbench.studies.validation.calibration import (
    AMPLITUDES,
    LIMITS,
    PERIODS,
    calibrate,
    pool_amplitudes,
    summarise_calibration,
)
from deconvbench.studies.validation.images import draw_discs, make_rng


def make_frame() -> pd.DataFrame:
    keys = {"kind": "discs", "period": 2, "detection_level": 0.01}
    return pd.DataFrame(
        [
            {**keys, "content": "a", "planted": 0.03, "seed": 0, "measured": 0.03},
            {**keys, "content": "b", "planted": 0.03, "seed": 0, "measured": 0.04, "detection_level": 0.07},
            {**keys, "content": "a", "planted": 0.3, "seed": 0, "measured": 0.3},
        ]
    )


def test_every_period_and_amplitude_has_a_row() -> None:
    rows = calibrate("discs", "discs", 3, lambda: draw_discs(make_rng(0), 128))
    frame = pd.DataFrame(rows)
    assert len(frame) == len(PERIODS) * len(AMPLITUDES)
    assert set(frame["seed"]) == {3}
    assert not frame.isna().any(axis=None)
    clear = frame[(frame["planted"] == 0.3) & (frame["period"] == 2)]
    assert clear["measured"].item() == pytest.approx(0.3, rel=0.05)
    # the level is one of the floor, which a checkerboard leaves as it is
    assert frame.groupby("period")["detection_level"].std().max() < 0.01


@pytest.mark.parametrize(
    ("amplitudes", "pooled"),
    [([0.3, 0.4], math.sqrt(0.125)), ([0.3, -0.3], 0), ([-0.2], -0.2), ([0.1, -0.3], -0.2)],
    ids=str,
)
def test_pooling_averages_signed_squares(amplitudes: list[float], pooled: float) -> None:
    assert pool_amplitudes(pd.Series(amplitudes)) == pytest.approx(pooled)


def test_pooling_nothing_is_unknown() -> None:
    assert math.isnan(pool_amplitudes(pd.Series([], dtype=float)))


def test_pooling_is_what_the_score_does_to_a_batch() -> None:
    images = np.stack([draw_discs(make_rng(seed), 128) for seed in range(4)])
    singles = pd.Series([checkerboard(image).amplitude for image in images])
    assert pool_amplitudes(singles) == pytest.approx(checkerboard(images[:, None]).amplitude, abs=1e-12)


def test_the_summary_pools_kinds_or_contents() -> None:
    summary = summarise_calibration(make_frame()).set_index("planted")
    faint = summary.loc[0.03]
    assert faint["pooled"] == pytest.approx(math.sqrt((0.03**2 + 0.04**2) / 2))
    assert (faint["low"], faint["high"], faint["images"]) == (0.03, 0.04, 2)
    assert faint["deviation"] == pytest.approx(0.005)
    assert faint["detection_level"] == pytest.approx(0.05)
    assert faint["limit"] == LIMITS[2, 0.03]
    assert summary["limit"].isna().to_list() == [False, True]
    assert len(summarise_calibration(make_frame(), "content")) == 3
