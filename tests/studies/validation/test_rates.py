import numpy as np
import pandas as pd
import pytest

from deconvbench.studies.validation.images import draw_content
from deconvbench.studies.validation.rates import MULTIPLES, measure_rates, summarise_rates


def test_every_period_is_read_without_and_with_each_multiple_of_the_images_own_level() -> None:
    images = {("discs", seed): draw_content("discs", seed, 128) for seed in range(2)}
    frame = pd.DataFrame(measure_rates("discs", "drawn", lambda: images, (2, 4)))
    assert len(frame) == 2 * 2 * len(MULTIPLES)
    assert set(frame["kind"]) == {"discs"}
    assert set(frame["scale"]) == {"drawn"}
    assert not frame.isna().any(axis=None)
    for _, rows in frame.groupby(["seed", "period"]):
        clean = rows.iloc[0]
        np.testing.assert_allclose(rows["planted"], np.array(MULTIPLES) * clean["detection_level"])
        assert rows["measured"].iloc[1:].is_monotonic_increasing
        assert rows["measured"].iloc[-1] > rows["detection_level"].iloc[-1]


def test_what_has_no_level_is_left_out() -> None:
    # one patch, whose scatter cannot be told
    assert measure_rates("x", "drawn", lambda: {("x", 0): draw_content("discs", 0, 32)}, (2,)) == []


def test_readings_above_either_level_are_counted() -> None:
    about = {"kind": "photographs", "scale": "native", "period": 2, "multiple": 0, "planted": 0.0}
    levels = {"detection_level": 0.2, "noise_level": 0.1}
    readings = [("a", 0.05), ("a", 0.15), ("a", 0.3), ("b", 0.4), ("c", 0.2)]
    rows = [
        {**about, **levels, "content": content, "seed": 0, "measured": measured} for content, measured in readings
    ]
    (row,) = summarise_rates(pd.DataFrame(rows)).to_dict("records")
    assert (row["images"], row["found"], row["found_by_noise_level"], row["contents"]) == (5, 2, 4, 2)
    assert (row["detection_level"], row["noise_level"]) == pytest.approx((0.2, 0.1))
