"""The images that networks are trained and scored on, split by image, and the batches cut from them.

What is trained on is never scored on. Everything is a function of its arguments, so that a training run that was
interrupted continues with the batches that it would have had. Nothing is downloaded.
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.errors import UsageError
from deconvbench.measure.photographs import PHOTOGRAPHS, read_photograph
from deconvbench.studies.training.folder import ImageLike, LoadedImage, NamedImage, hash_pixels, read_folder
from deconvbench.system.paths import check_path

SCIKIT_IMAGE = "scikit-image"
# a face, cloth and a black glove; fur and what is out of focus; flat china and the grain of wood
TEST_PHOTOGRAPHS = ("astronaut", "chelsea", "coffee")
_ONE_TEST_IN = 5
# squares to score on, where not said otherwise, and images that they are cut from at most
_TEST_CROPS, _TEST_IMAGES = 6, 4
# bytes of pixels, kept by each process that trains
_HELD = 2 * 2**30
# pixels of an image that become one at half scale, each way
_HALF = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSet:
    """Images, split into those to train on and those to score on.

    Parameters
    ----------
    source : str
        "scikit-image", or the folder.
    train, test : tuple of ImageLike
        At least one each: `NamedImage`, or `FiledImage` where a folder's images do not fit into memory.
    skipped : tuple of str
        "NAME: reason" for each file that is not used.
    fingerprint : str
        Hash over names, pixels and the split: equal where these are, wherever the files lie.
    """

    source: str
    train: tuple[ImageLike, ...]
    test: tuple[ImageLike, ...]
    skipped: tuple[str, ...]
    fingerprint: str


def load_images(folder: Path | None, *, seed: int = 0, smallest: int = 128, held_bytes: int = _HELD) -> ImageSet:
    """Read the images, all of them once, and split them.

    Parameters
    ----------
    folder : Path or None
        With one's own images, also in folders and linked folders within: any sizes and modes that Pillow reads.
        About one in five, by a hash of its name and the seed, is for testing. None: photographs of scikit-image,
        of which astronaut, chelsea and coffee are for testing.
    seed : int
        Of the split of a folder.
    smallest : int
        Images of a folder with fewer pixels a side are skipped.
    held_bytes : int
        So many bytes of pixels of a folder stay in memory; images beyond are decoded whenever they are used.

    Returns
    -------
    ImageSet

    Raises
    ------
    UsageError
        If there is no such folder, or fewer than two images in it can be used: one for training, one for testing.
    SurroundingsError
        If this installation of scikit-image lacks a photograph.
    """
    if folder is None:
        return _split(SCIKIT_IMAGE, [_load_photograph(name) for name in PHOTOGRAPHS], (), TEST_PHOTOGRAPHS)
    if not check_path(folder, "--images").is_dir():
        raise UsageError(f"images: {folder} is not a folder; a folder with at least two images is needed")
    loaded, skipped = read_folder(folder, smallest, held_bytes)
    if len(loaded) < 2:
        why = f" (skipped {len(skipped)}: {skipped[0]}{', ...' if len(skipped) > 1 else ''})" if skipped else ""
        raise UsageError(
            f"images: {folder} has {len(loaded)} readable images of {smallest}×{smallest} pixels or more; at least"
            f" 2 are needed, one for training and one for testing{why}"
        )
    return _split(str(folder), loaded, tuple(skipped), _choose_tests([one.image.name for one in loaded], seed))


def _choose_tests(names: Iterable[str], seed: int) -> list[str]:
    """Names of the images for testing: whether one is does not depend on the others, but where it must."""

    def rank(name: str) -> tuple[int, int]:
        digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
        number = int.from_bytes(digest, "big")
        return number % _ONE_TEST_IN, number

    ordered = sorted(names, key=rank)
    chosen = sum(rank(name)[0] == 0 for name in ordered)
    return ordered[: min(max(chosen, 1), len(ordered) - 1)]


def _load_photograph(name: str) -> LoadedImage:
    pixels = torch.from_numpy(np.atleast_3d(read_photograph(name))).permute(2, 0, 1).expand(3, -1, -1).contiguous()
    return LoadedImage(image=NamedImage(name=name, pixels=pixels), digest=hash_pixels(pixels))


def _split(
    source: str, loaded: Iterable[LoadedImage], skipped: tuple[str, ...], tests: Collection[str]
) -> ImageSet:
    train: list[ImageLike] = []
    test: list[ImageLike] = []
    digest = hashlib.blake2b(digest_size=16)
    chosen = frozenset(tests)
    for one in loaded:
        is_test = one.image.name in chosen
        (test if is_test else train).append(one.image)
        digest.update(repr((one.image.name, is_test, one.digest)).encode())
    return ImageSet(
        source=source, train=tuple(train), test=tuple(test), skipped=skipped, fingerprint=digest.hexdigest()
    )


def mean_colour(images: ImageSet) -> Tensor:
    """Mean colour of the training images, each of the same weight.

    Parameters
    ----------
    images : ImageSet
        Whose training images are used.

    Returns
    -------
    Tensor, shape (3,), float64
        RGB, 0..1.
    """
    return torch.tensor([image.mean for image in images.train], dtype=torch.float64).mean(0)


def draw_batch(images: ImageSet, batch: int, crop_size: int, seed: int, step: int) -> Tensor:
    """Cut random squares out of the training images.

    Each comes from a random image of those large enough, from a random place, mirrored or not, at full or at half
    scale (the mean of 2×2 pixels) if the image is large enough for both.

    Parameters
    ----------
    images : ImageSet
        Whose training images are used.
    batch : int
        Number N of squares.
    crop_size : int
        Side S in pixels.
    seed, step : int
        Of the training run, and its step; not negative. The batch depends on these and the images alone.

    Returns
    -------
    Tensor, shape (N, 3, S, S), float32
        0..1.

    Raises
    ------
    UsageError
        If no training image is large enough.
    """
    usable = _find_large(images.train, "crop_size", crop_size)
    rng = np.random.default_rng((seed, step))
    squares = []
    for _ in range(batch):
        image = usable[rng.integers(len(usable))]
        scale = 1 + int(rng.integers(_HALF)) * (min(image.size) >= _HALF * crop_size)
        top, left = (int(rng.integers(side - scale * crop_size + 1)) for side in image.size)
        square = _cut(image.pixels, top, left, crop_size, scale)
        squares.append(square.flip(-1) if rng.integers(2) else square)
    return torch.stack(squares)


def make_test_batch(images: ImageSet, size: int, most: int = _TEST_CROPS) -> tuple[tuple[str, ...], Tensor]:
    """Cut the squares that every network is scored on, always the same, at full and at half scale.

    Of each test image in turn (of four, spread evenly, where there are more): one near the top of the middle,
    where faces are; the middle at half scale (the mean of 2×2 pixels) if that is large enough; right; left.

    Parameters
    ----------
    images : ImageSet
        Whose test images are used.
    size : int
        Side S in pixels.
    most : int
        Number of squares at most.

    Returns
    -------
    names : tuple of str
        One a square, all different and fit for names of files: the image's, and what part it is.
    squares : Tensor, shape (N, 3, S, S), float32
        0..1; N from 1 to `most`.

    Raises
    ------
    UsageError
        If no test image is large enough.
    """
    usable = _find_large(images.test, "size", size)
    step = max(len(usable) / _TEST_IMAGES, 1)
    chosen = [usable[int(step * index)] for index in range(min(len(usable), _TEST_IMAGES))]
    places = [list(_list_places(image.size, size)) for image in chosen]
    taken = [
        (image, *candidates[turn])
        for turn in range(max(map(len, places)))
        for image, candidates in zip(chosen, places, strict=True)
        if turn < len(candidates)
    ][:most]
    names: list[str] = []
    for number, (image, part, *_) in enumerate(taken):
        name = f"{_make_file_name(image.name)}-{part}"
        # not every file system tells capitals from small letters
        is_new = name.casefold() not in map(str.casefold, names)
        names.append(name if is_new else f"{name}-{number}")
    squares = [_cut(image.pixels, top, left, size, scale) for image, _, top, left, scale in taken]
    return tuple(names), torch.stack(squares)


def _find_large(images: Iterable[ImageLike], argument: str, size: int) -> list[ImageLike]:
    usable = [image for image in images if min(image.size) >= size]
    if not usable:
        raise UsageError(
            f"{argument}: no image has {size}×{size} pixels; a smaller size or larger images are needed"
        )
    return usable


def _list_places(shape: tuple[int, int], size: int) -> Iterator[tuple[str, int, int, int]]:
    """Name, top, left and scale of squares of an image, the most telling first."""
    down, across = (side - size for side in shape)
    yield "upper", down // 8, across // 2, 1
    if min(shape) >= _HALF * size:
        yield "half", (shape[0] - _HALF * size) // 2, (shape[1] - _HALF * size) // 2, _HALF
    if across:
        yield "right", down // 2, across, 1
        yield "left", down // 2, 0, 1


def _make_file_name(name: str) -> str:
    stem = str(PurePosixPath(name).with_suffix(""))
    return re.sub(r"[^A-Za-z0-9_]+", "_", stem)[-80:]


def _cut(pixels: Tensor, top: int, left: int, size: int, scale: int) -> Tensor:
    side = size * scale
    square = pixels[:, top : top + side, left : left + side].to(torch.float32) / 255
    return shrink(square[None], scale)[0]


def shrink(batch: Tensor, scale_factor: int) -> Tensor:
    """Make images of low resolution, the mean of s×s pixels each.

    Parameters
    ----------
    batch : Tensor, shape (N, C, H, W)
        Height and width divisible by s.
    scale_factor : int
        Scale s; 1 changes nothing.

    Returns
    -------
    Tensor, shape (N, C, H/s, W/s)

    Raises
    ------
    UsageError
        If they are not.
    """
    height, width = batch.shape[-2:]
    if height % scale_factor or width % scale_factor:
        raise UsageError(f"scale_factor: {scale_factor} does not divide {height}×{width} pixels")
    return batch if scale_factor == 1 else functional.avg_pool2d(batch, scale_factor)
