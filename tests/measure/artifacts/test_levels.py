"""From lines to an amplitude, and to what that is by chance."""

import pytest
import torch

from deconvbench.measure.artifacts.levels import (
    Lines,
    estimate_amplitude,
    find_detection_level,
    find_noise_level,
)


def draw_lines(excess: list[float], spread: float = 1.0) -> Lines:
    """Lines with that much excess, and places beside them that scatter so."""
    generator = torch.Generator().manual_seed(0)
    beside = spread * torch.randn(len(excess), 72, dtype=torch.float64, generator=generator)
    beside -= beside.median(1, keepdim=True)[0]
    return Lines(torch.tensor(excess).double(), beside, torch.full((len(excess),), spread).double())


def test_a_strong_pattern_is_the_plain_sum_of_its_lines() -> None:
    found = estimate_amplitude(draw_lines([1000.0, 3000.0, 2000.0]), 9)
    assert float(found.shares.sum()) == pytest.approx(6000, rel=1e-3)


def test_a_line_that_cannot_be_measured_is_taken_to_be_as_strong_as_the_others() -> None:
    lines = draw_lines([100.0, 100.0, 5000.0])
    lines.beside[2] *= 1e4
    shares = estimate_amplitude(lines, 9).shares
    assert float(shares[2]) == pytest.approx(100, rel=0.1)


def test_nothing_at_all_is_nothing() -> None:
    found = estimate_amplitude(Lines(*(torch.zeros(shape).double() for shape in ((3,), (3, 72), (3,)))), 9)
    assert (float(found.shares.sum()), found.scatter, found.noise) == (0, 0, 0)


@pytest.mark.parametrize("factor", [0.01, 100.0])
def test_chance_grows_as_the_spectrum_does(factor: float) -> None:
    one, other = (estimate_amplitude(draw_lines([0.5, -0.5, 0.2], spread), 9) for spread in (1.0, factor))
    # excess is small beside both, so that its weights are those of the scatter
    assert other.noise == pytest.approx(factor * one.noise, rel=0.2)
    assert other.scatter == pytest.approx(factor * one.scatter, rel=0.2)


def test_levels_are_roots_of_the_scatter() -> None:
    for period in (2, 3, 4, 8, 16, 32):
        assert find_detection_level(4.0, period) == pytest.approx(2 * find_detection_level(1.0, period))
    assert find_detection_level(1.0, 2) > find_detection_level(1.0, 4) > find_detection_level(1.0, 8)
    assert find_noise_level(8.0) == 4
