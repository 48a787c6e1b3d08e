"""What else is read as a grid: pictures that no learned upsampler has touched, and that the score answers to.

Pixels that are repeated, dithered, compressed in blocks or set as text do repeat, so an answer is not wrong in
itself; it is wrong to take it for a network's checkerboard. Everything here is made from photographs, or drawn.
"""

import io
import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont
from scipy import ndimage

from deconvbench.errors import UsageError
from deconvbench.measure.artifacts.block_edge import block_edge
from deconvbench.measure.artifacts.spectrum import checkerboard
from deconvbench.measure.photographs import read_bundled
from deconvbench.studies.validation.calibration import Row
from deconvbench.studies.validation.images import Image, make_rng, normalise
from deconvbench.studies.validation.photographs import Photograph, Pixels, average_blocks, to_grey

# side in pixels of what is cut out of each photograph
_SIDE = 256
# makes a picture of _SIDE × _SIDE or so, shape (H, W) or (H, W, 3), out of a square of a photograph
Make = Callable[[Pixels], Image]
# of the periods that `block_edge` takes
_LEAST_BLOCK = 4
_TEXT_PX = (11, 13, 16)
_LETTERS = "etaoinshrdlucmfwypvbgk,."
_SCANS = {"a page of text, photographed": "page.png", "handwriting, photographed": "text.png"}
_RED, _GREEN, _BLUE = range(3)


def repeat_pixels(pixels: Pixels, times: int) -> Image:
    """Average blocks, then repeat each mean: an image upsampled by nearest neighbour.

    Parameters
    ----------
    pixels : ndarray, shape (H, W, 3), uint8
        RGB; sides are multiples of `times`.
    times : int
        Side of a block.

    Returns
    -------
    ndarray, shape (H, W), float64
        Grey.
    """
    return np.asarray(average_blocks(to_grey(pixels), times).repeat(times, axis=0).repeat(times, axis=1))


def resample(pixels: Pixels, times: float, method: Pillow.Resampling) -> Image:
    """Shrink by averaging, then enlarge smoothly to the old size.

    Parameters
    ----------
    pixels : ndarray, shape (H, W, 3), uint8
        RGB.
    times : float
        Factor of the enlargement.
    method : Resampling
        Pillow's.

    Returns
    -------
    ndarray, shape (H, W), float64
        Grey, rounded to whole levels as in a file.
    """
    height, width, _ = pixels.shape
    grey = Pillow.fromarray(to_grey(pixels).astype(np.float32))
    small = grey.resize((round(width / times), round(height / times)), Pillow.Resampling.BOX)
    return np.rint(np.asarray(small.resize((width, height), method), dtype=np.float64))


def compress(pixels: Pixels, quality: int) -> Image:
    """Write as JPEG and read again.

    Parameters
    ----------
    pixels : ndarray, shape (H, W, 3), uint8
        RGB.
    quality : int
        Pillow's, 1 to 95.

    Returns
    -------
    ndarray, shape (H, W), float64
        Grey.
    """
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, "JPEG", quality=quality)
    return to_grey(np.asarray(Pillow.open(file).convert("RGB")))


def diffuse_errors(pixels: Pixels) -> Image:
    """Dither to black and white by Floyd and Steinberg's error diffusion.

    Parameters
    ----------
    pixels : ndarray, shape (H, W, 3), uint8
        RGB.

    Returns
    -------
    ndarray, shape (H, W), float64
    """
    return np.asarray(Pillow.fromarray(pixels).convert("L").convert("1"), dtype=np.float64)


def dither_ordered(pixels: Pixels, side: int) -> Image:
    """Dither to black and white with Bayer's threshold matrix, which repeats.

    Parameters
    ----------
    pixels : ndarray, shape (H, W, 3), uint8
        RGB.
    side : int
        Of the matrix: a power of two.

    Returns
    -------
    ndarray, shape (H, W), float64
    """
    matrix = np.zeros((1, 1))
    while len(matrix) < side:
        matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
    grey = to_grey(pixels)
    repeats = tuple(-(-length // side) for length in grey.shape)
    thresholds = np.tile((matrix + 0.5) / side**2 * 255, repeats)[: grey.shape[0], : grey.shape[1]]
    return np.asarray((grey > thresholds).astype(np.float64))


def demosaic(pixels: Pixels) -> Image:
    """Sample one colour a pixel, as a camera does, and fill in the others from their neighbours.

    Parameters
    ----------
    pixels : ndarray, shape (H, W, 3), uint8
        RGB.

    Returns
    -------
    ndarray, shape (H, W), float64
        Grey, rounded to whole levels.
    """
    rows, columns = np.indices(pixels.shape[:2]) % 2
    places = {_RED: (rows == 0) & (columns == 0), _GREEN: rows != columns, _BLUE: (rows == 1) & (columns == 1)}
    kernel = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4
    filled = np.empty(pixels.shape)
    for colour, sampled in places.items():
        total = ndimage.convolve(np.where(sampled, pixels[..., colour], 0.0), kernel, mode="mirror")
        weight = ndimage.convolve(sampled.astype(np.float64), kernel, mode="mirror")
        # of what was sampled nothing is changed
        filled[..., colour] = np.where(sampled, pixels[..., colour], total / weight)
    return to_grey(np.rint(filled))


# name, periods to look at, and how it is made
_MADE: Sequence[tuple[str, tuple[int, ...], Make]] = (
    ("as it is", (2, 3, 4, 8), to_grey),
    ("pixels repeated ×2", (2,), lambda pixels: repeat_pixels(pixels, 2)),
    ("pixels repeated ×4", (4,), lambda pixels: repeat_pixels(pixels, 4)),
    ("pixels repeated ×8", (8,), lambda pixels: repeat_pixels(pixels, 8)),
    ("bilinear ×2", (2,), lambda pixels: resample(pixels, 2, Pillow.Resampling.BILINEAR)),
    ("bicubic ×2", (2,), lambda pixels: resample(pixels, 2, Pillow.Resampling.BICUBIC)),
    ("bilinear ×1.5", (3,), lambda pixels: resample(pixels, 1.5, Pillow.Resampling.BILINEAR)),
    ("bilinear ×4", (4,), lambda pixels: resample(pixels, 4, Pillow.Resampling.BILINEAR)),
    ("demosaiced, bilinear", (2,), demosaic),
    ("dithered, Floyd-Steinberg", (2, 4, 8), diffuse_errors),
    ("dithered, Bayer matrix 4×4", (4,), lambda pixels: dither_ordered(pixels, 4)),
    ("dithered, Bayer matrix 8×8", (8,), lambda pixels: dither_ordered(pixels, 8)),
    ("JPEG, quality 90", (8,), lambda pixels: compress(pixels, 90)),
    ("JPEG, quality 75", (8,), lambda pixels: compress(pixels, 75)),
    ("JPEG, quality 30", (8,), lambda pixels: compress(pixels, 30)),
)
_TEXT_PERIODS = (2, 3, 4, 8)


def read_lookalikes(photograph: Photograph) -> list[Row]:
    """Make every picture out of the middle of a photograph, and read it.

    Parameters
    ----------
    photograph : Photograph
        At least 256 pixels a side.

    Returns
    -------
    list of dict
        ``picture, content, period, measured, detection_level, block_amplitude, block_level``: what `checkerboard`
        and `block_edge` give, in σ of the picture; NaN for blocks of periods below 4.
    """
    pixels = photograph.read()
    top, left = ((length - _SIDE) // 2 for length in pixels.shape[:2])
    square = np.ascontiguousarray(pixels[top : top + _SIDE, left : left + _SIDE])
    rows = []
    for name, periods, make in _MADE:
        rows += _read(name, photograph.name, make(square), periods)
    return rows


def read_pages() -> list[Row]:
    """Read pages of text: two that were photographed, and some that are drawn.

    Returns
    -------
    list of dict
        As of `read_lookalikes`.

    Raises
    ------
    SurroundingsError
        If this installation of scikit-image lacks a page.
    """
    rows = []
    for name, file_name in _SCANS.items():
        rows += _read(name, file_name, read_bundled(file_name).astype(np.float64), _TEXT_PERIODS)
    for height in _TEXT_PX:
        rows += _read("a page of text, drawn", f"{height} px", draw_text(height), _TEXT_PERIODS)
    return rows


def draw_text(height: int) -> Image:
    """Draw a page of random words, with the font that Pillow brings along.

    Parameters
    ----------
    height : int
        Of the font in pixels.

    Returns
    -------
    ndarray, shape (256, 256), float64
        0 for ink, 255 for paper.
    """
    rng = make_rng(height, "text")
    page = Pillow.new("L", (_SIDE, _SIDE), 255)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(height)
    for top in range(4, _SIDE, round(1.3 * height)):
        words = ["".join(rng.choice(list(_LETTERS), rng.integers(2, 9))) for _ in range(24)]
        draw.text((4, top), " ".join(words), fill=0, font=font)
    return np.asarray(page, dtype=np.float64)


def _read(picture: str, content: str, pixels: Image, periods: Sequence[int]) -> list[Row]:
    try:
        image = normalise(pixels)
    except UsageError:
        return []  # black or white all over
    rows = []
    for period in periods:
        found = checkerboard(image, period)
        blocks = block_edge(image, period) if period >= _LEAST_BLOCK else None
        rows.append(
            {
                "picture": picture,
                "content": content,
                "period": period,
                "measured": found.amplitude,
                "detection_level": found.detection_level,
                "block_amplitude": blocks.amplitude if blocks else math.nan,
                "block_level": blocks.detection_level if blocks else math.nan,
            }
        )
    return rows


def summarise_lookalikes(lookalikes: pd.DataFrame) -> pd.DataFrame:
    """Count the answers.

    Parameters
    ----------
    lookalikes : DataFrame
        From `read_lookalikes` and `read_pages`.

    Returns
    -------
    DataFrame
        ``picture, period, images``; ``found`` (readings above the level); ``middle, most`` (median and largest
        reading, in detection levels); ``amplitude`` (median, σ); ``blocks_read, blocks_found`` (pictures in which
        block edges were looked for, and found).
    """
    ratio = lookalikes["measured"] / lookalikes["detection_level"]
    has_blocks = lookalikes["block_amplitude"] > lookalikes["block_level"]
    marked = lookalikes.assign(ratio=ratio, found=ratio > 1, has_blocks=has_blocks)
    groups = marked.groupby(["picture", "period"], sort=False)
    return groups.agg(
        images=("found", "size"),
        found=("found", "sum"),
        middle=("ratio", "median"),
        most=("ratio", "max"),
        amplitude=("measured", "median"),
        blocks_read=("block_level", "count"),
        blocks_found=("has_blocks", "sum"),
    ).reset_index()
