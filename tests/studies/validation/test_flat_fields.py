import math

import pandas as pd
import pytest
import torch

from deconvbench.studies.validation.flat_fields import (
    LAYERS,
    measure_flat_fields,
    share_off_zero,
    summarise_flat_fields,
)


@pytest.fixture(scope="module")
def summary() -> pd.DataFrame:
    frame = pd.DataFrame([row for seed in range(2) for row in measure_flat_fields(seed)])
    assert len(frame) == 2 * len(LAYERS)
    return summarise_flat_fields(frame).set_index("upsampler")


def test_the_middle_is_flat_behind_resize_convolution_and_the_border_is_not(summary: pd.DataFrame) -> None:
    for name in ("nearest_conv", "bilinear_conv", "subpixel_icnr", "equal_gain_transposed"):
        row = summary.loc[name]
        assert row["middle"] == pytest.approx(0, abs=1e-20)
        assert row["whole"] > 1e-3
        assert abs(row["checkerboard"]) < 1e-4


def test_uneven_phases_are_seen_by_all_three(summary: pd.DataFrame) -> None:
    rows = summary.loc[["transposed", "subpixel"]]
    assert (rows[["whole", "middle", "checkerboard"]] > 0.5).all(axis=None)
    assert rows["checkerboard"].to_numpy() == pytest.approx(rows["middle"].to_numpy(), rel=0.1)


def test_a_share_is_that_of_the_spectrum() -> None:
    maps = torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1
    power = torch.fft.fft2(maps).abs().square()
    assert share_off_zero(maps) == pytest.approx(float(1 - power[..., 0, 0].sum() / power.sum()))
    assert share_off_zero(torch.ones(1, 1, 4, 4, dtype=torch.float64)) == 0
    assert math.isclose(share_off_zero(torch.tensor([[[[3.0, 1.0]]]], dtype=torch.float64)), 0.2)
