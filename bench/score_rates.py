"""Measure what ``deconvbench score`` finds on photographs: without a grid, with one planted, and with look-alikes.

Squares of scikit-image's photographs are saved as files and scored as such. Prints the tables of docs/scoring.md::

    python -m bench.score_rates
"""

import argparse
import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from deconvbench.analysis.picture_verdicts import PictureScore
from deconvbench.report.aligned_table import align_table
from deconvbench.studies.validation.images import draw_tile, make_rng, spread_tile
from deconvbench.studies.validation.photographs import HALF, average_blocks, list_bundled, plan_crops, to_grey
from deconvbench.workflows.picture_scores import score

PERIODS, LEVELS = (2, 3, 4, 8, 16), (2, 3)
SCREENS = (4.1, 5.7, 8.2)
QUALITIES = (50, 75, 90)
# share that an amplitude may be off by
_TOLERANCE = 0.1
Pixels = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Square:
    """A square of a photograph, in whole 8-bit levels."""

    name: str
    seed: int
    pixels: Pixels


def cut_squares(number: int) -> Iterator[Square]:
    """Cut squares as `studies.validation` does: 256 pixels a side, and 192 of photographs at half their size."""
    for plan in plan_crops(list_bundled().photographs, number):
        image = to_grey(plan.photograph.read())
        image = average_blocks(image, 2) if plan.scale == HALF else image
        for seed in range(plan.number):
            rng = make_rng(seed, plan.photograph.name, plan.scale)
            top, left = (rng.integers(length - plan.side + 1) for length in image.shape)
            square = np.rint(image[top : top + plan.side, left : left + plan.side])
            yield Square(f"{plan.photograph.name}-{plan.scale}", seed, square)


def add_pattern(pixels: Pixels, pattern: Pixels) -> Pixels:
    """Add a pattern, with room for it at black and white."""
    most = math.ceil(float(np.abs(pattern).max()))
    return np.asarray(np.rint(pixels.clip(most, 255 - most) + pattern))


def draw_pattern(square: Square, period: int, levels: float) -> Pixels:
    """Draw one period of a random pattern, in whole levels, as those of the squares are."""
    tile = draw_tile(make_rng(square.seed, square.name, "tile", period), period)
    return np.asarray(np.rint(levels * tile))


def plant(square: Square, pattern: Pixels) -> Pixels:
    """Plant a pattern."""
    return add_pattern(square.pixels, spread_tile(pattern, square.pixels.shape))


def print_screen(square: Square, period: float) -> Pixels:
    """Add a halftone screen of 3 levels RMS, of a period that is not a whole number."""
    rows, columns = np.indices(square.pixels.shape)
    waves = np.cos(2 * np.pi * rows / period) * np.cos(2 * np.pi * columns / period)
    return add_pattern(square.pixels, 6 * waves)


def score_squares(
    squares: list[Square], change: Callable[[Square], Pixels], quality: int | None = None
) -> list[PictureScore]:
    """Save the changed squares as PNG, or as JPEG of a quality, and score the folder."""
    with tempfile.TemporaryDirectory() as folder:
        ending = "png" if quality is None else "jpg"
        for number, square in enumerate(squares):
            path = Path(folder) / f"{number:04}-{square.name}.{ending}"
            Image.fromarray(change(square).astype(np.uint8)).save(
                path, quality=quality or 0
            )  # of no effect on PNG
        found = score(folder)
        assert not found.left_out
        return list(found.pictures)


def share(number: int, of: int) -> str:
    """Write a share with its numbers."""
    return f"{number} of {of} ({number / of:.0%})"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--squares", type=int, default=200)
    parser.add_argument("--planted", type=int, default=100, help="squares that patterns are planted in")
    parser.add_argument("--others", type=int, default=50, help="squares with JPEG's blocks and with screens")
    parser.add_argument(
        "--after", type=int, default=0, help="leave out the first so many, of which constants were chosen"
    )
    arguments = parser.parse_args()
    first = {(square.name, square.seed) for square in cut_squares(arguments.after)} if arguments.after else set()
    squares = [
        square
        for square in cut_squares(arguments.after + arguments.squares)
        if (square.name, square.seed) not in first
    ]
    clean = score_squares(squares, lambda square: square.pixels)
    print(f"clean: nothing reported on {share(sum(not one.is_periodic for one in clean), len(clean))}")
    print(f"       block edges reported on {share(sum(one.blocks is not None for one in clean), len(clean))}")
    for one in clean:
        if one.is_periodic:
            print(f"       {one.name}: period {one.period}, {one.amplitude:.2g} levels, {one.verdict}")

    chosen = squares[:: max(1, len(squares) // arguments.planted)][: arguments.planted]
    rows: list[tuple[str, ...]] = [("period", "levels", "found", "its period", "amplitude within 10 %", "both")]
    for period in PERIODS:
        for levels in LEVELS:
            patterns = {id(square): draw_pattern(square, period, levels) for square in chosen}
            scores = score_squares(chosen, lambda square, p=patterns: plant(square, p[id(square)]))  # type: ignore[misc]
            # rounding changes the RMS of four numbers by up to a fifth: what is in the file is what is to be found
            planted = [float(patterns[id(square)].std()) for square in chosen]
            is_period = [one.is_periodic and one.period == period for one in scores]
            is_close = [abs(one.amplitude / a - 1) <= _TOLERANCE for one, a in zip(scores, planted, strict=True)]
            counts = (
                sum(one.is_periodic for one in scores),
                sum(is_period),
                sum(is_close),
                sum(a and b for a, b in zip(is_period, is_close, strict=True)),
            )
            rows.append((str(period), str(levels), *(share(count, len(scores)) for count in counts)))
            print(rows[-1], flush=True)
    print("\n".join(align_table(rows)))

    others = squares[:: max(1, len(squares) // arguments.others)][: arguments.others]
    rows = [("picture", "nothing", "checkerboard", "told apart", "left open", "block edges")]
    changes: list[tuple[str, Callable[[Square], Pixels], int | None]] = [
        (f"JPEG, quality {quality}", lambda square: square.pixels, quality) for quality in QUALITIES
    ]
    changes += [(f"screen of {p} pixels", lambda square, p=p: print_screen(square, p), None) for p in SCREENS]  # type: ignore[misc]
    for title, change, quality in changes:
        scores = score_squares(others, change, quality)
        verdicts = [one.verdict for one in scores]
        groups = (("nothing",), ("checkerboard",), ("texture", "stripes"), ("checkerboard or blocks",))
        counted = [share(sum(v in group for v in verdicts), len(verdicts)) for group in groups]
        rows.append((title, *counted, share(sum(one.blocks is not None for one in scores), len(scores))))
    print("\n".join(align_table(rows)))


if __name__ == "__main__":
    main()
