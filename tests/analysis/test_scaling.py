"""Costs between measured sizes: exact where they are a power, refused where not, and as sure as they say."""

import math

import numpy as np
import pytest

from deconvbench.analysis.scaling import LARGEST_RESIDUAL, Quantity, estimate_at

SIZES = (256, 1024, 4096, 16384)


def take(found: Quantity | str) -> Quantity:
    assert isinstance(found, Quantity), found
    return found


@pytest.mark.parametrize("exponent", [-0.1, 0.0, 1.0, 1.3])
@pytest.mark.parametrize("pixels", [256, 3000, 100000])
def test_a_power_of_the_pixels_is_found_exactly(exponent: float, pixels: int) -> None:
    points = [(size, 3e-7 * size**exponent) for size in SIZES]
    found = take(*estimate_at([points], pixels))
    assert found.value == pytest.approx(3e-7 * pixels**exponent)
    assert found.low == pytest.approx(found.value)
    assert found.high == pytest.approx(found.value)


def test_too_few_sizes_have_no_line() -> None:
    same = [(256.0, 1.0), (256.0, 1.1), (1024.0, 2.0)]  # 8×32 and 16×16 are one size in pixels
    assert estimate_at([[], same[:1], same], 500) == [
        "measured at 0 sizes; an estimate needs 3",
        "measured at 1 size; an estimate needs 3",
        "measured at 2 sizes; an estimate needs 3",
    ]


def test_a_fixed_share_is_no_power() -> None:
    points = [(size, 1e-3 + 1e-6 * size) for size in SIZES]
    (found,) = estimate_at([points], 2000)
    assert isinstance(found, str)
    assert found.startswith("does not scale as a power of the pixels: off by ")
    small = [(size, 1e-3 * (1 + (LARGEST_RESIDUAL / 2) * (size == 1024))) for size in SIZES]
    assert take(*estimate_at([small], 2000)).value == pytest.approx(1e-3, rel=0.03)


@pytest.mark.parametrize("pixels", [600, 10**6])
def test_memory_is_a_fixed_share_and_one_for_each_pixel(pixels: int) -> None:
    points = [(size, 7e5 + 512.0 * size) for size in SIZES]
    found = take(*estimate_at([points], pixels, has_fixed_share=True))
    assert [found.value, found.low, found.high] == pytest.approx([7e5 + 512 * pixels] * 3)
    bumped = [(size, cost * (1.2 if size == 1024 else 1)) for size, cost in points]
    (reason,) = estimate_at([bumped], pixels, has_fixed_share=True)
    assert isinstance(reason, str)
    assert reason.startswith("does not scale in proportion to the pixels beside a fixed share: off by ")
    # what falls would be negative far away
    falling = [(size, 1e6 - 50.0 * size) for size in SIZES]
    assert isinstance(estimate_at([falling], 1e6, has_fixed_share=True)[0], str)
    assert take(*estimate_at([falling], 5000, has_fixed_share=True)).value == pytest.approx(1e6 - 250000)


def test_the_interval_of_memory_covers_too() -> None:
    random = np.random.default_rng(2)
    inside = total = 0
    for _ in range(60):
        draws = np.exp(0.01 * random.standard_normal((20, 4)))
        costs = [7e5 + 512.0 * size for size in (*SIZES[:3], 2000)]
        series = [
            [(size, cost * f) for size, cost, f in zip(SIZES[:3], costs, row, strict=False)] for row in draws
        ]
        for found, row in zip(estimate_at(series, 2000, has_fixed_share=True), draws, strict=True):
            quantity = take(found)
            assert quantity.low is not None
            assert quantity.high is not None
            inside += quantity.low <= costs[3] * row[3] <= quantity.high
            total += 1
    assert 0.93 < inside / total < 0.985


def test_one_line_is_student_with_what_is_left() -> None:
    logs = np.log([1.0, 1.02, 1.0])
    points = list(zip((1.0, math.e, math.e**2), np.exp(logs), strict=True))
    found = take(*estimate_at([points], math.e))
    # residuals of (−1, 2, −1)/3 of the bump; variance from one degree of freedom; at the middle 1 + 1/3
    sd = math.log(1.02) * math.sqrt(6) / 3
    assert found.value == pytest.approx(math.exp(logs.mean()))
    assert found.high is not None
    assert math.log(found.high / found.value) == pytest.approx(12.7062 * sd * math.sqrt(4 / 3), rel=1e-4)


def test_many_lines_lend_each_other_what_they_know() -> None:
    random = np.random.default_rng(0)
    series = [[(size, math.exp(0.01 * random.standard_normal())) for size in SIZES[:3]] for _ in range(24)]
    together = take(estimate_at(series, 1000)[0])
    alone = np.median([take(*estimate_at([points], 1000)).high for points in series])
    assert together.high is not None
    assert together.high - 1 < 0.5 * (float(alone) - 1)


@pytest.mark.parametrize("pixels", [600, 40000])
def test_the_interval_covers_a_further_measurement(pixels: int) -> None:
    random = np.random.default_rng(1)
    noise = 0.01
    inside = total = 0
    for _ in range(60):
        series = [
            [(size, size**0.9 * math.exp(noise * random.standard_normal())) for size in SIZES[:3]]
            for _ in range(20)
        ]
        for found in estimate_at(series, pixels):
            truth = pixels**0.9 * math.exp(noise * random.standard_normal())
            quantity = take(found)
            assert quantity.low is not None
            assert quantity.high is not None
            inside += quantity.low <= truth <= quantity.high
            total += 1
    assert 0.93 < inside / total < 0.985


def test_the_interval_widens_away_from_the_sizes() -> None:
    points = [(size, 1 + 0.01 * (size == 1024)) for size in SIZES]
    middle, far = (take(*estimate_at([points], pixels)) for pixels in (2048, 10**7))
    assert middle.high is not None
    assert far.high is not None
    assert far.high / far.value - 1 > 2 * (middle.high / middle.value - 1)
