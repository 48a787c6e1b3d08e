"""Placing labels beside points so that no two of them overlap.

Pure geometry on rectangles in one unit (pixels of the display): no figure is touched here except by
`label_points`, which measures the texts, has them placed and draws them with leader lines.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from deconvbench.plots.style import FONT_PT, MUTED

Point = tuple[float, float]
Segment = tuple[Point, Point]

_DIRECTIONS = 16
_RINGS = 14
_MARKER_PT = 7.5  # half a marker with its ring
_GAP = 3.0  # pixels kept free around every label
_COST_OF_CROSSING = 120.0  # a leader through a label, marker or leader is as bad as so many pixels
_COST_OF_LINE = 80.0  # the same for a label that covers a drawn line or another leader


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle with sides along the axes.

    Parameters
    ----------
    left, bottom, width, height : float
        Lower left corner and size.
    """

    left: float
    bottom: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Right side."""
        return self.left + self.width

    @property
    def top(self) -> float:
        """Upper side."""
        return self.bottom + self.height

    def overlaps(self, other: "Box", gap: float = 0.0) -> bool:
        """Say whether the two share any area, each side moved out by half of `gap`.

        Parameters
        ----------
        other : Box
            The other rectangle.
        gap : float
            Distance to keep.
        """
        return (
            self.left < other.right + gap
            and other.left < self.right + gap
            and self.bottom < other.top + gap
            and other.bottom < self.top + gap
        )

    def holds(self, other: "Box") -> bool:
        """Say whether the other lies within this one."""
        return (
            self.left <= other.left
            and other.right <= self.right
            and self.bottom <= other.bottom
            and other.top <= self.top
        )

    def nearest_point(self, point: Point) -> Point:
        """Point of the rectangle nearest to `point`."""
        x, y = point
        return (min(max(x, self.left), self.right), min(max(y, self.bottom), self.top))

    def meets_segment(self, start: Point, end: Point) -> bool:
        """Say whether a straight line from `start` to `end` touches the rectangle."""
        # most lie wholly to one side
        if (
            (start[0] < self.left and end[0] < self.left)
            or (start[0] > self.right and end[0] > self.right)
            or (start[1] < self.bottom and end[1] < self.bottom)
            or (start[1] > self.top and end[1] > self.top)
        ):
            return False
        # Liang and Barsky: clip the segment's parameter against each side
        enter, leave = 0.0, 1.0
        for origin, delta, low, high in (
            (start[0], end[0] - start[0], self.left, self.right),
            (start[1], end[1] - start[1], self.bottom, self.top),
        ):
            if delta == 0:
                if not low <= origin <= high:
                    return False
                continue
            near, far = sorted(((low - origin) / delta, (high - origin) / delta))
            enter, leave = max(enter, near), min(leave, far)
        return enter <= leave


def place_labels(
    points: Sequence[Point],
    sizes: Sequence[tuple[float, float]],
    bounds: Box,
    *,
    radius: float = 6.0,
    lines: Sequence[Segment] = (),
) -> list[Box]:
    """Find a place for the label of every point, near it, off all markers and off all other labels.

    Greedy: the points are served from left to right, twice; each takes the cheapest free place on rings around
    it, where distance, covered lines and crossed labels cost. Where the rings are full, the whole of `bounds` is
    searched, and at the last a place is made below it, so every label gets one.

    Parameters
    ----------
    points : sequence of (x, y)
        Where the markers are, pixels.
    sizes : sequence of (width, height)
        Of the labels, pixels.
    bounds : Box
        Where labels should lie.
    radius : float
        Half the size of a marker, pixels.
    lines : sequence of (start, end)
        Straight lines that labels should rather not cover.

    Returns
    -------
    list of Box
        One for each point, in their order; no two overlap.
    """
    markers = [Box(x - radius, y - radius, 2 * radius, 2 * radius) for x, y in points]
    placed: dict[int, Box] = {}
    order = sorted(range(len(points)), key=lambda i: (points[i], i))
    # the second time round, each label knows where all others are
    for index in [*order, *order]:
        placed.pop(index, None)
        others = list(placed.values())
        leaders = [(points[i], box.nearest_point(points[i])) for i, box in placed.items()]
        placed[index] = _find_place(points[index], sizes[index], bounds, markers, others, lines, leaders)
    return [placed[index] for index in range(len(points))]


def _find_place(
    point: Point,
    size: tuple[float, float],
    bounds: Box,
    markers: Sequence[Box],
    others: Sequence[Box],
    lines: Sequence[Segment],
    leaders: Sequence[Segment],
) -> Box:
    """Find the cheapest free place for one label, given all others."""
    obstacles = [*others, *(marker for marker in markers if not marker.meets_segment(point, point))]

    def is_free(box: Box) -> bool:
        return not any(box.overlaps(other, _GAP) for other in others) and not any(map(box.overlaps, markers))

    def count_clashes(box: Box, leader: Segment) -> float:
        crossed = sum(obstacle.meets_segment(*leader) for obstacle in obstacles)
        crossed += sum(_segments_cross(leader, other) for other in leaders)
        # a label that only touches a line is read as part of it
        wide = Box(box.left - _GAP, box.bottom - _GAP, box.width + 2 * _GAP, box.height + 2 * _GAP)
        covered = sum(wide.meets_segment(*line) for line in (*lines, *leaders))
        return _COST_OF_CROSSING * crossed + _COST_OF_LINE * covered

    around = _boxes_around(point, size, markers[0].width / 2)
    for places in ((box for box in around if bounds.holds(box)), _boxes_across(bounds, size)):
        best, least = None, math.inf
        for box in places:
            leader = (point, box.nearest_point(point))
            # clashes only add to the distance: what is too far away by that alone need not be looked at
            if math.dist(*leader) >= least or not is_free(box):
                continue
            cost = math.dist(*leader) + count_clashes(box, leader)
            if cost < least:
                best, least = box, cost
        if best is not None:
            return best
    return _box_below(point, size, bounds, [*others, *markers])


def _boxes_around(point: Point, size: tuple[float, float], radius: float) -> Iterator[Box]:
    """Places on ever wider rings around the point."""
    width, height = size
    for ring in range(_RINGS):
        reach = radius + _GAP + ring * 0.8 * height
        for step in range(_DIRECTIONS):
            angle = 2 * math.pi * step / _DIRECTIONS
            x = point[0] + reach * math.cos(angle)
            y = point[1] + reach * math.sin(angle)
            # the side that faces the point is the one nearest to it
            left = x - width / 2 + (width / 2) * math.cos(angle)
            bottom = y - height / 2 + (height / 2) * math.sin(angle)
            yield Box(left, bottom, width, height)


def _boxes_across(bounds: Box, size: tuple[float, float]) -> Iterator[Box]:
    """Places on a grid over everything, half a label apart."""
    width, height = size
    for row in range(int((bounds.height - height) // (height / 2)) + 1):
        for column in range(int((bounds.width - width) // (width / 4)) + 1):
            yield Box(bounds.left + column * width / 4, bounds.bottom + row * height / 2, width, height)


def _box_below(point: Point, size: tuple[float, float], bounds: Box, taken: Sequence[Box]) -> Box:
    """Make a place below everything: outside, but legible."""
    width, height = size
    bottom = min([bounds.bottom, *(box.bottom for box in taken)]) - height - 2 * _GAP
    return Box(point[0] - width / 2, bottom, width, height)


def _segments_cross(first: Segment, second: Segment) -> bool:
    def side(start: Point, end: Point, point: Point) -> float:
        return (end[0] - start[0]) * (point[1] - start[1]) - (end[1] - start[1]) * (point[0] - start[0])

    (a, b), (c, d) = first, second
    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0


def label_points(
    axes: Axes,
    points: Sequence[Point],
    texts: Sequence[str],
    colours: Sequence[str],
    *,
    lines: Sequence[Segment] = (),
) -> None:
    """Write a label beside each point; where it had to move away, a thin line leads back.

    The layout of the figure must be final: call it last, for every panel, after `freeze_layout`.

    Parameters
    ----------
    axes : Axes
        Where the points are drawn.
    points : sequence of (x, y)
        In data coordinates.
    texts : sequence of str
        One label a point.
    colours : sequence of str
        Of the labels.
    lines : sequence of (start, end)
        Straight lines, in data coordinates, that labels should not cover.
    """
    # no panel is in a subfigure; `root=True` came with matplotlib 3.10
    figure = cast(Figure, axes.get_figure())
    renderer = cast(FigureCanvasAgg, figure.canvas).get_renderer()  # type: ignore[no-untyped-call] # no types there
    to_pixels = axes.transData.transform

    def locate(point: Point) -> Point:
        x, y = to_pixels(point)
        return (float(x), float(y))

    pixels = [locate(point) for point in points]
    sizes = []
    for text in texts:
        probe = axes.text(0, 0, text, fontsize=FONT_PT - 1)
        extent = probe.get_window_extent(renderer)
        sizes.append((float(extent.width), float(extent.height)))
        probe.remove()
    frame = axes.get_window_extent(renderer)
    bounds = Box(frame.x0 + _GAP, frame.y0 + _GAP, frame.width - 2 * _GAP, frame.height - 2 * _GAP)
    segments = [(locate(start), locate(end)) for start, end in lines]
    points_per_pixel = 72 / figure.dpi
    boxes = place_labels(pixels, sizes, bounds, lines=segments, radius=_MARKER_PT / points_per_pixel)
    for point, pixel, text, colour, box in zip(points, pixels, texts, colours, boxes, strict=True):
        arrow: dict[str, Any] | None = None
        if math.dist(pixel, box.nearest_point(pixel)) > 2 * _MARKER_PT / points_per_pixel:
            arrow = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 4}
            # the leader leaves from the side of the label that faces its point
            anchor = box.nearest_point(pixel)
            arrow["relpos"] = ((anchor[0] - box.left) / box.width, (anchor[1] - box.bottom) / box.height)
        offset = ((box.left - pixel[0]) * points_per_pixel, (box.bottom - pixel[1]) * points_per_pixel)
        note = axes.annotate(
            text, point, xytext=offset, textcoords="offset points", ha="left", va="bottom",
            fontsize=FONT_PT - 1, color=colour, arrowprops=arrow, annotation_clip=False, zorder=5,
            # a halo, so that a grid line or the frontier below a label does not strike it through
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6},
        )  # fmt: skip
        note.set_in_layout(False)


def freeze_layout(figure: Figure) -> None:
    """Lay the figure out once and for all, so that places in pixels stay true.

    Parameters
    ----------
    figure : Figure
        With everything drawn but the labels.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
