import numpy as np
import pandas as pd
import pytest

from deconvbench.studies.validation.images import draw_content, make_alternating_tile, make_rng, plant
from deconvbench.studies.validation.separation import (
    FAINT_AMPLITUDES,
    FLIPPING,
    PLAIN,
    SEPARATED_PERIODS,
    SEPARATORS,
    area_under_curve,
    measure_separation,
    read_separators,
    summarise_separation,
)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    images = {("discs", seed): draw_content("discs", seed, 192) for seed in range(3)}
    return pd.DataFrame(measure_separation("native", lambda: images))


def test_each_image_is_read_clean_and_planted_in_every_way(frame: pd.DataFrame) -> None:
    ways = 1 + 2 * len(FAINT_AMPLITUDES)
    assert len(frame) == 3 * len(SEPARATED_PERIODS) * ways
    assert set(frame["pattern"]) == {"none", PLAIN, FLIPPING}
    assert (frame["planted"] == 0).equals(frame["pattern"] == "none")
    assert not frame.isna().any(axis=None)


def test_areas_tell_what_sees_a_pattern_from_what_does_not(frame: pd.DataFrame) -> None:
    summary = summarise_separation(frame)
    assert len(summary) == len(SEPARATED_PERIODS) * 2 * len(FAINT_AMPLITUDES)
    clear = summary[(summary["period"] == 2) & (summary["pattern"] == PLAIN) & (summary["planted"] == 0.03)].iloc[
        0
    ]
    assert clear["images"] == 3
    assert clear["checkerboard"] == clear["fine_phase_means"] == 1
    assert clear["npr"] < 0.8
    areas = summary[list(SEPARATORS)].to_numpy(float)
    assert ((areas >= 0) & (areas <= 1)).all()


def test_planting_raises_every_score_that_sees_a_checkerboard() -> None:
    image = draw_content("discs", 0, 128)
    clean = read_separators(image, 2)
    planted = read_separators(plant(image, make_alternating_tile(), 0.3), 2)
    assert set(clean) == set(SEPARATORS)
    assert all(planted[name] > clean[name] for name in SEPARATORS)


def test_the_laplacian_takes_out_a_ramp_and_keeps_a_checkerboard() -> None:
    rows, columns = np.mgrid[:66, :66]
    ramp = 3.0 * rows + columns
    board = 0.1 * (-1.0) ** (rows + columns)
    assert read_separators(ramp + board, 2)["fine_phase_means"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("planted", "clean", "area"),
    [([2, 3], [0, 1], 1), ([0, 1], [2, 3], 0), ([1, 1], [1, 1], 0.5), ([1, 3], [0, 2], 0.75), ([1], [0, 1], 0.75)],
)
def test_the_area_is_the_chance_to_read_higher(planted: list[float], clean: list[float], area: float) -> None:
    assert area_under_curve(np.array(planted), np.array(clean)) == pytest.approx(area)


def test_the_area_matches_the_obvious_loop() -> None:
    planted, clean = make_rng(0).integers(0, 6, (2, 9))
    wins = np.mean([float(p > c) + 0.5 * float(p == c) for p in planted for c in clean])
    assert area_under_curve(planted, clean) == pytest.approx(wins)
