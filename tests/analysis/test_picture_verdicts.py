"""Verdicts on pictures: each kind from the numbers that make it, and the words that it gets."""

import math
from dataclasses import replace
from typing import Any

import pytest

from deconvbench.analysis.picture_verdicts import (
    BlockEdges,
    PictureScore,
    choose_blocks,
    explain_enlargement,
    explain_verdict,
)

BLOCKS = BlockEdges(period=8, amplitude=3.0, detection_level=1.0)
GRID = PictureScore(
    name="a.png",
    width=256,
    height=256,
    format="PNG",
    period=4,
    is_given=False,
    strength=9.0,
    strength_level=2.5,
    read_period=4,
    amplitude=2.0,
    detection_level=0.3,
    by_scale={2: 1.0, 4: 1.73},
    fainter={},
    blocks=None,
    one_way=0.4,
    direction="downward",
    stretch=0.001,
    stretch_error=0.0005,
)
NOTHING = replace(
    GRID, period=None, read_period=8, amplitude=-0.1, one_way=math.nan, direction="", stretch=math.nan,
    stretch_error=math.nan,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "verdict", "said"),
    [
        ({}, "checkerboard", "grid of period 4, 2 levels (1 of period 2, 1.7 of period 4)"),
        ({"by_scale": {2: 2.0}, "period": 2}, "checkerboard", "grid of period 2, 2 levels"),
        ({"fainter": {8: 0.71}}, "checkerboard", "of period 4), and fainter 0.71 of period 8"),
        ({"one_way": 0.99}, "stripes", "it repeats downward only"),
        ({"stretch": 0.025}, "texture", "its period is about 4.1 pixels, which is not a whole number"),
        ({"stretch": -0.02, "stretch_error": 0.01}, "checkerboard", "grid of period 4"),
        ({"stretch": 0.004, "stretch_error": 0.0}, "checkerboard", "grid of period 4"),
        ({"blocks": BLOCKS}, "checkerboard", "grid of period 4"),
        ({"blocks": BLOCKS, "period": 8}, "checkerboard or blocks", "the spectrum cannot tell which"),
        ({"blocks": BLOCKS, "period": 16}, "checkerboard or blocks", "cannot tell which"),
        ({"format": "JPEG", "period": 8}, "checkerboard or blocks", "(JPEG, tiles)"),
        ({"format": "MPO", "period": 16}, "checkerboard or blocks", "(JPEG, tiles)"),
        ({"format": "JPEG", "period": 3}, "checkerboard", "grid of period 3"),
        ({"blocks": replace(BLOCKS, period=32), "period": 32}, "checkerboard or blocks", "cannot tell"),
        ({"period": 48, "read_period": None, "amplitude": math.nan, "detection_level": math.nan, "by_scale": {},
          "one_way": math.nan, "stretch": math.nan}, "checkerboard", "grid of period 48 (too long for an"),
        ({"period": 12, "read_period": None, "amplitude": math.nan, "detection_level": math.nan, "by_scale": {},
          "one_way": math.nan, "stretch": math.nan}, "checkerboard", "(picture too small for an amplitude)"),
        ({"amplitude": 0.2}, "nothing",
         "no grid found: period 4 stands out, but its amplitude is below the detection level of 0.3 levels"),
        ({"amplitude": 0.2, "is_given": True}, "nothing",
         "no grid of period 4 found, below the detection level of 0.3 levels"),
        ({"detection_level": math.nan, "is_given": True, "strength": 2.0}, "nothing",
         "no grid of period 4 found: it does not stand out, and there are too few patches for a detection level"),
        ({"detection_level": math.nan, "is_given": True}, "checkerboard",
         "2 levels (judged by how far it stands out: too few patches for a detection level)"),
        ({"detection_level": math.nan}, "checkerboard", "(judged by how far it stands out: "),
        ({"detection_level": math.nan, "is_given": True, "strength": math.nan}, "nothing", "does not stand out"),
        ({"enlargement": 4, "enlarged_by": "interpolation"}, "enlarged", "which is that of the enlargement"),
        ({"enlargement": 8, "enlarged_by": "interpolation"}, "enlarged", "which is that of the enlargement"),
        # a grid that is longer than one pixel of the smaller picture was in that
        ({"enlargement": 2, "enlarged_by": "nearest neighbour"}, "checkerboard", "grid of period 4"),
    ],
)  # fmt: skip
def test_verdict_and_words_follow_from_the_numbers(changes: dict[str, Any], verdict: str, said: str) -> None:
    score = replace(GRID, **changes)
    assert score.verdict == verdict
    assert said in explain_verdict(score)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "no grid found (period 8 is below the detection level of 0.3 levels)"),
        (
            {"amplitude": 0.4},
            "no grid found: no period stands out, though period 8 reads 0.4, above the detection",
        ),
        ({"read_period": None, "amplitude": math.nan, "detection_level": math.nan}, "no grid found"),
        (
            {"detection_level": math.nan},
            "no grid found: no period stands out, and there are too few patches for a detection level",
        ),
    ],
)
def test_where_no_period_stands_out_it_is_nothing(changes: dict[str, Any], said: str) -> None:
    score = replace(NOTHING, **changes)
    assert score.verdict == "nothing"
    assert explain_verdict(score).startswith(said)


def test_an_enlargement_is_said_whether_or_not_a_grid_is_found() -> None:
    assert explain_enlargement(GRID) == ""
    for score in (GRID, NOTHING):
        said = explain_enlargement(replace(score, enlargement=4, enlarged_by="nearest neighbour"))
        assert said.startswith("probably enlarged 4 times (nearest neighbour): ")


def test_only_what_may_be_a_grid_counts_against_a_limit() -> None:
    assert GRID.exceeds(1.9)
    assert not GRID.exceeds(2.0)
    assert not replace(GRID, stretch=-0.02).exceeds(0)
    assert not replace(GRID, enlargement=4, enlarged_by="interpolation").exceeds(0)
    assert replace(GRID, one_way=1.0).exceeds(1)
    assert not NOTHING.exceeds(0)
    # an amplitude that nobody knows is not known to be below
    assert replace(GRID, period=48, read_period=None, amplitude=math.nan, detection_level=math.nan).exceeds(100)


def test_a_limit_below_the_level_cannot_be_judged_where_nothing_is_found() -> None:
    assert NOTHING.can_be_judged(0.3)
    assert not NOTHING.can_be_judged(0.2)
    assert not replace(NOTHING, detection_level=math.nan).can_be_judged(5)
    assert GRID.can_be_judged(0.1)


@pytest.mark.parametrize(
    ("found", "period"),
    [
        ({}, None),
        ({8: (0.9, 1.0)}, None),
        ({8: (1.1, 1.0)}, 8),
        ({8: (2.0, 1.0), 16: (2.0, 1.1), 32: (2.0, 1.2)}, 8),
        # half of the edges of a grid of 8 are those of blocks of 16
        ({8: (2.0, 1.0), 16: (2.8, 1.1), 32: (2.8, 1.2)}, 16),
        ({8: (0.5, 1.0), 16: (0.7, 1.0), 32: (1.0, 1.2), 64: (2.0, 1.2)}, 64),
        ({8: (2.0, 1.0), 64: (2.8, 2.9)}, 8),
        # two JPEG files at quality 20: of their edges every fourth is a little stronger by chance
        ({8: (9.32, 5.77), 16: (9.77, 7.96, (8, 0)), 32: (13.58, 13.18, (16, 16))}, 8),
        ({8: (21.51, 11.35), 16: (23.55, 16.38, (8, 8)), 32: (27.78, 23.68, (24, 24))}, 8),
        # tiles of 32 on JPEG's blocks of 8
        ({8: (10.0, 1.0), 32: (20.0, 3.0)}, 32),
        # not on the same grid, and no stronger
        ({8: (2.0, 1.0), 16: (2.3, 0.5, (4, 4))}, 8),
        ({8: (2.0, 1.0), 16: (2.9, 0.5, (4, 4))}, 16),
    ],
)
def test_blocks_are_as_long_as_their_edges_are_strong(
    found: dict[int, tuple[Any, ...]], period: int | None
) -> None:
    chosen = choose_blocks({size: (one[0], one[1], one[2] if one[2:] else (0, 0)) for size, one in found.items()})
    assert (chosen.period if chosen else None) == period
