"""The rates of `deconvbench score`: what is planted, and the tables of a few squares."""

import sys

import numpy as np
import pytest

from bench.score_rates import Square, add_pattern, cut_squares, draw_pattern, main, plant, print_screen

FLAT = Square("a", 0, np.full((192, 192), 128.0))


@pytest.mark.parametrize("period", [2, 3, 8])
def test_what_is_planted_repeats_with_its_size(period: int) -> None:
    pattern = draw_pattern(FLAT, period, 3)
    planted = plant(FLAT, pattern) - 128
    np.testing.assert_array_equal(planted[:period, :period], pattern)
    np.testing.assert_array_equal(planted[:-period], planted[period:])
    assert planted.std() == pytest.approx(pattern.std()) == pytest.approx(3, rel=0.2)


def test_screens_have_three_levels_and_no_whole_period() -> None:
    screen = print_screen(FLAT, 4.1) - 128
    assert screen.std() == pytest.approx(3, rel=0.05)
    assert not np.array_equal(screen[:-4], screen[4:])


def test_patterns_have_room_at_black_and_white() -> None:
    found = add_pattern(np.array([[0.0, 255.0]]), np.array([[-3.0, 3.0]]))
    np.testing.assert_array_equal(found, [[0, 255]])


def test_squares_are_those_that_were_asked_for() -> None:
    squares = list(cut_squares(24))
    assert len(squares) == 24
    assert {square.pixels.shape for square in squares} <= {(256, 256), (192, 192)}
    assert all(np.array_equal(square.pixels, np.rint(square.pixels)) for square in squares)


@pytest.mark.slow
def test_tables_are_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("bench.score_rates.PERIODS", (2,))
    monkeypatch.setattr(sys, "argv", ["score_rates", "--squares", "2", "--planted", "1", "--others", "1"])
    main()
    out = capsys.readouterr().out
    assert "clean: nothing reported on 2 of 2 (100%)" in out
    assert "| 2      |" in out
    assert "| JPEG, quality 50" in out
