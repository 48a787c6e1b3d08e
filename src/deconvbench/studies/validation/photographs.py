"""Photographs, those of scikit-image's wheel or of a folder of one's own, and the many squares cut from them.

Each photograph gives squares at its own scale and, where it is large enough, at half of it, where its detail is
finer in pixels. Which squares are cut depends on names and numbers alone. Nothing is downloaded.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deconvbench.errors import UsageError
from deconvbench.measure.photographs import PHOTOGRAPHS as COLOURED
from deconvbench.measure.photographs import read_bundled
from deconvbench.progress import PartObserver
from deconvbench.studies.training.folder import ImageLike, read_folder
from deconvbench.studies.validation.images import Image, make_rng, normalise
from deconvbench.system.paths import check_path

SCIKIT_IMAGE = "scikit-image"
NATIVE, HALF = "native", "half"
# those that calibration curves are drawn on
PHOTOGRAPHS = ("camera", "brick", "coins", "astronaut")
# every photograph in the wheel with at least 256 pixels a side
BUNDLED = {**COLOURED, "gravel": "gravel.png", "moon": "moon.png"}
# sides of the squares in pixels: below the largest that fits, so that the squares of a photograph differ
CROP_PX, HALF_CROP_PX = 256, 192
# for the one period that needs more
LARGE_CROP_PX = 512
# photographs of a folder that calibration curves are drawn on
_WHOLE_PHOTOGRAPHS = 4
# bytes of a folder's pixels that stay in memory
_HELD = 2**30
# squares tried before a photograph counts as constant
_TRIES = 20
# weights of red, green and blue in grey: ITU-R BT.709, as in skimage.color.rgb2gray
_GREY = np.array([0.2125, 0.7154, 0.0721])

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Photograph:
    """A photograph that is decoded when it is asked for.

    Parameters
    ----------
    name : str
        Name, unique in its set.
    size : (int, int)
        Height and width in pixels.
    read : callable
        Gives its pixels, shape (H, W, 3), uint8.
    """

    name: str
    size: tuple[int, int]
    read: Callable[[], Pixels]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotographSet:
    """The photographs of a study.

    Parameters
    ----------
    source : str
        "scikit-image", or the folder.
    photographs : tuple of Photograph
        At least one.
    whole : tuple of str
        Names of those that calibration curves are drawn on.
    left_out : tuple of str
        "NAME: reason" for each file that is not used.
    """

    source: str
    photographs: tuple[Photograph, ...]
    whole: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    def find(self, name: str) -> Photograph:
        """Find a photograph by its name."""
        return next(photograph for photograph in self.photographs if photograph.name == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class CropPlan:
    """The squares that one photograph gives at one scale.

    Parameters
    ----------
    photograph : Photograph
        What they are cut from.
    scale : str
        ``native`` or ``half``.
    side : int
        Height and width in pixels.
    number : int
        How many; the seed of each is its number.
    """

    photograph: Photograph
    scale: str
    side: int
    number: int

    def cut(self) -> dict[tuple[str, int], Image]:
        """Cut them: mean 0 and deviation 1, by name of the photograph and seed; what is constant is left out."""
        image = to_grey(self.photograph.read())
        if self.scale == HALF:
            image = average_blocks(image, 2)
        crops = {}
        for seed in range(self.number):
            crop = _draw_uneven(make_rng(seed, self.photograph.name, self.scale), image, self.side)
            if crop is not None:
                crops[self.photograph.name, seed] = crop
        return crops


def list_bundled(whole: Sequence[str] = PHOTOGRAPHS) -> PhotographSet:
    """List the photographs of scikit-image's wheel.

    Parameters
    ----------
    whole : sequence of str
        Names of those that calibration curves are drawn on.

    Returns
    -------
    PhotographSet

    Raises
    ------
    UsageError
        If there is no photograph of such a name.
    SurroundingsError
        If this installation of scikit-image lacks a file.
    """
    for name in whole:
        if name not in BUNDLED:
            raise UsageError(f"photograph: {name!r} is none of {', '.join(BUNDLED)}")
    found = []
    for name, file_name in BUNDLED.items():
        read = partial(_read_coloured, file_name)
        height, width, _ = read().shape
        found.append(Photograph(name=name, size=(height, width), read=read))
    return PhotographSet(source=SCIKIT_IMAGE, photographs=tuple(found), whole=tuple(whole))


def list_own(folder: Path, observer: PartObserver = lambda _: None) -> PhotographSet:
    """Read the images of a folder of one's own, in any format that Pillow reads.

    Parameters
    ----------
    folder : Path
        Images in it and in folders within it are used, from 256 pixels a side.
    observer : callable
        Receives each file, with a note where it is left out.

    Returns
    -------
    PhotographSet

    Raises
    ------
    UsageError
        If there is no such folder, or no image in it that can be used.
    """
    if not check_path(folder, "--images").is_dir():
        raise UsageError(f"--images: {str(folder)!r} is not a folder; a folder of images is needed")
    loaded, left_out = read_folder(folder, CROP_PX, _HELD, observer)
    if not loaded:
        why = (
            f" (left out {len(left_out)}: {left_out[0]}{', ...' if len(left_out) > 1 else ''})" if left_out else ""
        )
        raise UsageError(
            f"--images: {str(folder)!r} has no readable image of {CROP_PX}×{CROP_PX} pixels or more{why}"
        )
    found = [
        Photograph(name=one.image.name, size=one.image.size, read=partial(_read_own, one.image)) for one in loaded
    ]
    whole = tuple(found[place].name for place in spread_places(len(found), _WHOLE_PHOTOGRAPHS))
    return PhotographSet(source=str(folder), photographs=tuple(found), whole=whole, left_out=tuple(left_out))


def _read_coloured(file_name: str) -> Pixels:
    pixels = read_bundled(file_name)
    return pixels[..., :3] if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)


def _read_own(image: ImageLike) -> Pixels:
    return np.ascontiguousarray(image.pixels.numpy().transpose(1, 2, 0))


def plan_crops(photographs: Sequence[Photograph], number: int, *, large: bool = False) -> list[CropPlan]:
    """Share a number of squares out over photographs and scales, as evenly as it goes.

    Parameters
    ----------
    photographs : sequence of Photograph
        From `list_bundled` or `list_own`.
    number : int
        Squares in all.
    large : bool
        Squares of 512 pixels at the own scale, where there is room, in place of 256 and 192.

    Returns
    -------
    list of CropPlan
        Empty where no photograph is large enough. A photograph that is no larger than a square gives just one.
    """
    sources = []
    for photograph in photographs:
        side = LARGE_CROP_PX if large else CROP_PX
        if min(photograph.size) >= side:
            sources.append((photograph, NATIVE, side))
        if not large and min(photograph.size) >= 2 * HALF_CROP_PX:
            sources.append((photograph, HALF, HALF_CROP_PX))
    chosen = [sources[place] for place in spread_places(len(sources), number)]
    plans = []
    for place, (photograph, scale, side) in enumerate(chosen):
        share = number // len(chosen) + (place < number % len(chosen))
        height, width = (length // (2 if scale == HALF else 1) for length in photograph.size)
        different = (height - side + 1) * (width - side + 1)
        plans.append(CropPlan(photograph=photograph, scale=scale, side=side, number=min(share, different)))
    return plans


def spread_places(available: int, wanted: int) -> list[int]:
    """Choose places spread evenly over a list.

    Parameters
    ----------
    available, wanted : int
        Length of the list, and how many of it are wanted.

    Returns
    -------
    list of int
        All, if no more are available.
    """
    number = min(available, wanted)
    return [place * available // number for place in range(number)]


def to_grey(pixels: Pixels) -> Image:
    """Turn colours into grey.

    Parameters
    ----------
    pixels : ndarray, shape (H, W, 3), uint8
        RGB.

    Returns
    -------
    ndarray, shape (H, W), float64
        Luminance, 0..255 (ITU-R BT.709).
    """
    return np.asarray(pixels @ _GREY)


def average_blocks(image: Image, side: int) -> Image:
    """Shrink an image by averaging blocks.

    Parameters
    ----------
    image : ndarray, shape (H, W)
        Rows and columns that do not fill a block are dropped.
    side : int
        Of a block, in pixels.

    Returns
    -------
    ndarray, shape (H // side, W // side), float64
    """
    height, width = (length // side for length in image.shape)
    blocks = image[: height * side, : width * side].reshape(height, side, width, side)
    return np.asarray(blocks.mean(axis=(1, 3)))


def draw_crop(rng: np.random.Generator, photograph: Image, size: int) -> Image:
    """Cut a random square out of a photograph.

    Parameters
    ----------
    rng : Generator
        Source of chance.
    photograph : ndarray, shape (H, W)
        Of any units.
    size : int
        Height and width in pixels.

    Returns
    -------
    ndarray, shape (size, size), float64
        Mean 0, deviation 1.

    Raises
    ------
    UsageError
        If the photograph is smaller.
    """
    height, width = photograph.shape
    if size > min(height, width):
        raise UsageError(f"size: {size} is more than a photograph of {height}×{width} pixels has")
    top, left = rng.integers(height - size + 1), rng.integers(width - size + 1)
    return normalise(photograph[top : top + size, left : left + size])


def _draw_uneven(rng: np.random.Generator, image: Image, side: int) -> Image | None:
    """Cut a square that is not constant, such as a burnt-out sky; None if there seems to be none."""
    for _ in range(_TRIES):
        try:
            return draw_crop(rng, image, side)
        except UsageError:
            continue
    return None


def cut_middle(image: Image, side: int) -> Image:
    """Cut the middle out of an image.

    Parameters
    ----------
    image : ndarray, shape (H, W)
        Of any size.
    side : int
        Largest height and width of what is cut, in pixels.

    Returns
    -------
    ndarray, float64
        Mean 0, deviation 1.
    """
    top, left = (max(0, (length - side) // 2) for length in image.shape)
    return normalise(image[top : top + side, left : left + side])
