"""Patches: their size, and the spectrum against patch after patch."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deconvbench.errors import UsageError
from deconvbench.measure.artifacts.patches import check_period, choose_patch_size, mean_power
from deconvbench.measure.artifacts.spectrum import checkerboard
from tests.measure.artifacts.content import Image


def _reference_power(image: Image, side: int) -> tuple[Image, int]:
    """One patch after the other: fit a plane, subtract it, window, transform."""
    window = np.array([[(0.5 - 0.5 * np.cos(2 * np.pi * n / side)) for n in range(side)]])
    taper = window.T @ window
    rows, columns = np.mgrid[:side, :side]
    basis = np.stack([np.ones(side**2), rows.ravel(), columns.ravel()], axis=1)
    powers = []
    for top in range(0, image.shape[0] - side + 1, side // 2):
        for left in range(0, image.shape[1] - side + 1, side // 2):
            patch = image[top : top + side, left : left + side]
            plane = basis @ np.linalg.lstsq(basis, patch.ravel(), rcond=None)[0]
            powers.append(np.abs(np.fft.fft2((patch - plane.reshape(side, side)) * taper) / taper.sum()) ** 2)
    return np.mean(powers, axis=0), len(powers)


@settings(deadline=None, max_examples=20)
@given(side=st.integers(8, 21), height=st.integers(0, 30), width=st.integers(0, 30), seed=st.integers(0, 99))
def test_power_is_that_of_one_patch_after_the_other(side: int, height: int, width: int, seed: int) -> None:
    image = np.random.default_rng(seed).standard_normal((side + height, side + width)) + 3
    expected, count = _reference_power(image, side)
    power, patches = mean_power(torch.from_numpy(image), side)
    assert patches == count
    np.testing.assert_allclose(power.numpy(), expected[:, : side // 2 + 1], rtol=1e-9, atol=1e-20)


@pytest.mark.parametrize("period", [*range(2, 10), 16, 32], ids="P{}".format)
def test_patches_hold_whole_periods_and_at_least_eight(period: int) -> None:
    for shorter in (32, 33, 64, 127, 128, 129, 4000):
        try:
            side = choose_patch_size(shorter, 5000, period)
        except UsageError:
            continue
        assert side % period == 0
        assert 8 * period <= side <= shorter
        assert side == choose_patch_size(5000, shorter, period)
        if period <= 8:
            assert side == pytest.approx(64 if shorter >= 128 else 32, abs=period / 2)
        else:
            assert side == 8 * period


@pytest.mark.parametrize(
    ("period", "needed"),
    [(2, 32), (3, 33), (4, 32), (5, 128), (6, 128), (7, 128), (8, 128), (9, 128), (16, 128), (17, 136), (32, 256)],
    ids=str,
)
def test_smallest_image(period: int, needed: int) -> None:
    assert choose_patch_size(needed, needed, period) <= needed
    message = (
        rf"image: {needed - 1}×999 pixels .* too few for period {period}; at least {needed}×{needed} are needed"
    )
    with pytest.raises(UsageError, match=message):
        choose_patch_size(needed - 1, 999, period)


@pytest.mark.parametrize("period", [0, 1, 33, -2, 2.0, "2", None, True], ids=repr)
def test_period_out_of_range_is_an_error(period: object) -> None:
    with pytest.raises(UsageError, match=r"period: .* is not a whole number from 2 to 32"):
        check_period(period)


def test_period_may_be_a_number_of_numpy() -> None:
    check_period(np.int64(8))


@pytest.mark.parametrize("number", [np.int8, np.int64, np.uint16], ids=str)
def test_a_period_of_numpy_is_a_period(number: Any) -> None:
    image = np.random.default_rng(0).standard_normal((64, 64))
    found, expected = checkerboard(image, number(2)), checkerboard(image, 2)
    assert found == expected
    assert type(found.period) is int
