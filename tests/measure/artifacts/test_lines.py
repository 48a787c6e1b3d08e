"""Grid lines of a period, and what is around them."""

import pytest
import torch

from deconvbench.measure.artifacts.lines import (
    estimate_floor,
    find_scale,
    list_lines,
    read_surroundings,
    select_beside,
    take_median,
)
from deconvbench.measure.artifacts.soft_clip import measure_transfer


def test_every_line_but_the_mean_is_listed_once() -> None:
    lines = [tuple(line) for line in list_lines(4).tolist()]
    assert len(set(lines)) == len(lines) == 15
    assert (0, 0) not in lines


@pytest.mark.parametrize(
    ("i", "j", "period", "scale"),
    [(1, 1, 2, 2), (2, 0, 4, 2), (1, 2, 4, 4), (2, 3, 6, 6), (3, 0, 6, 2), (4, 6, 8, 4)],
)
def test_the_scale_of_a_line_is_the_smallest_period_that_has_it(i: int, j: int, period: int, scale: int) -> None:
    assert find_scale(i, j, period) == scale


def test_what_falls_off_with_frequency_is_white() -> None:
    side = 32
    rows, columns = torch.fft.fftfreq(side).double()[:, None], torch.fft.rfftfreq(side).double()
    squares = rows.square() + columns.square()
    squares[0, 0] = 1
    power = measure_transfer(rows, columns) / squares
    bins = list_lines(2) * 16
    white, at = read_surroundings(power, bins, 4)
    torch.testing.assert_close(white, torch.ones_like(white), rtol=1e-6, atol=0)
    torch.testing.assert_close(at, torch.tensor([0.25, 0.25, 0.5]).double())


def test_the_line_itself_is_not_beside_it() -> None:
    white = torch.ones(1, 9, 9)
    white[0, 3:6, 3:6] = 1000
    assert select_beside(white).shape == (1, 72)
    assert float(select_beside(white).max()) == 1


def test_a_loud_row_raises_the_floor_and_chance_does_not() -> None:
    white = torch.ones(3, 9, 9)
    white[1, 4], white[2, :, 4] = 9.0, 1.2
    ring, floor = estimate_floor(white)
    torch.testing.assert_close(ring, torch.ones(3))
    torch.testing.assert_close(floor, torch.tensor([1.0, 9.0, 1.0]))


def test_the_median_of_an_even_number_is_between_the_two_in_the_middle() -> None:
    assert float(take_median(torch.tensor([9.0, 1.0, 2.0, 4.0]))) == 3
