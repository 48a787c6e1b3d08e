"""No two labels overlap, whatever the points."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.text import Annotation

from deconvbench.plots.labels import Box, Point, freeze_layout, label_points, place_labels
from deconvbench.plots.style import make_figure

BOUNDS = Box(0, 0, 600, 300)
SIZE = (90.0, 14.0)


def assert_apart(boxes: list[Box]) -> None:
    for first, second in combinations(boxes, 2):
        assert not first.overlaps(second)


@settings(deadline=None, max_examples=25)
@given(
    points=st.lists(st.tuples(st.floats(0, 600), st.floats(0, 300)), max_size=14),
    width=st.floats(10, 200),
)
def test_labels_never_overlap(points: list[Point], width: float) -> None:
    boxes = place_labels(points, [(width, 14.0)] * len(points), BOUNDS)
    assert len(boxes) == len(points)
    assert_apart(boxes)


def test_a_lone_label_stays_beside_its_point_and_off_the_marker() -> None:
    (box,) = place_labels([(300.0, 150.0)], [SIZE], BOUNDS, radius=5)
    assert not box.overlaps(Box(295, 145, 10, 10))
    x, y = box.nearest_point((300, 150))
    assert abs(x - 300) + abs(y - 150) < 15


def test_labels_keep_off_lines_where_there_is_room() -> None:
    line = ((0.0, 160.0), (600.0, 160.0))
    (box,) = place_labels([(300.0, 150.0)], [SIZE], BOUNDS, lines=[line])
    assert not box.meets_segment(*line)


def test_labels_stay_inside_where_there_is_room() -> None:
    corners = [(0.0, 0.0), (600.0, 0.0), (0.0, 300.0), (600.0, 300.0)]
    assert all(BOUNDS.holds(box) for box in place_labels(corners, [SIZE] * 4, BOUNDS))


def test_a_full_neighbourhood_sends_labels_further_away() -> None:
    # more than the rings hold: some are found a place by searching everything
    wide = Box(0, 0, 900, 60)
    boxes = place_labels([(100.0, 30.0)] * 16, [SIZE] * 16, wide)
    assert_apart(boxes)
    assert all(wide.holds(box) for box in boxes)
    assert max(box.left for box in boxes) > 400


def test_what_fits_nowhere_goes_below() -> None:
    small = Box(0, 0, 100, 30)
    boxes = place_labels([(50.0, 15.0)] * 6, [SIZE] * 6, small)
    assert_apart(boxes)
    assert any(box.top < 0 for box in boxes)


def test_placing_does_not_depend_on_the_order_of_different_points() -> None:
    points = [(100.0, 50.0), (110.0, 52.0), (300.0, 90.0)]
    forward = place_labels(points, [SIZE] * 3, BOUNDS)
    assert place_labels(points[::-1], [SIZE] * 3, BOUNDS)[::-1] == forward


@pytest.mark.parametrize(
    ("start", "end", "meets"),
    [
        pytest.param((-5, 5), (15, 5), True, id="through"),
        pytest.param((2, 2), (3, 3), True, id="inside"),
        pytest.param((-5, 20), (15, 20), False, id="above"),
        pytest.param((20, -5), (20, 15), False, id="beside"),
        pytest.param((5, -5), (5, 15), True, id="upright"),
        pytest.param((-5, 8), (8, 21), False, id="past the corner"),
        pytest.param((-5, -20), (15, -20), False, id="below"),
        pytest.param((-20, -5), (-1, 15), False, id="left"),
        pytest.param((-5, 10), (15, 10), True, id="along a side"),
    ],
)
def test_segments_meet_boxes(start: Point, end: Point, *, meets: bool) -> None:
    assert Box(0, 0, 10, 10).meets_segment(start, end) is meets
    assert Box(0, 0, 10, 10).meets_segment(end, start) is meets


def test_far_labels_get_a_leader_and_near_ones_none() -> None:
    figure = make_figure(3.0)
    axes = figure.subplots()
    points = [(0.5, 0.5)] * 9
    axes.plot(*zip(*points, strict=True), "o")
    freeze_layout(figure)
    label_points(axes, points, [f"label number {i}" for i in range(9)], ["#000000"] * 9, lines=[((0, 0), (1, 1))])
    notes = [note for note in axes.texts if isinstance(note, Annotation)]
    leaders = [note for note in notes if note.arrow_patch is not None]
    assert 0 < len(leaders) < 9
