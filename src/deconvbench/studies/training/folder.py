"""Images with names, and a folder of one's own as a list of them.

Reads every file once, to know which ones are good and to know them again. What is for training and what for
testing is not decided here.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from torch import Tensor

from deconvbench.errors import SurroundingsError
from deconvbench.measure.decoding import UnreadableImageError, hush_pillow, read_image
from deconvbench.progress import PartDone, PartObserver
from deconvbench.system.folders import list_files, name_within

_THREADS = 4
# decoded and not yet looked at: some 50 MB of ordinary photographs
_FILES_AT_A_TIME = 16
Colour = tuple[float, float, float]


class ImageLike(Protocol):
    """An image with a name, whose pixels may be decoded only when asked for."""

    @property
    def name(self) -> str:
        """Name, unique in its set."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""

    @property
    def mean(self) -> Colour:
        """Mean colour, 0..1."""

    @property
    def pixels(self) -> Tensor:
        """RGB, shape (3, H, W), uint8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedImage:
    """An image in memory.

    Parameters
    ----------
    name : str
        Name, unique in its set.
    pixels : Tensor, shape (3, H, W), uint8
        RGB.
    """

    name: str
    pixels: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[1], self.pixels.shape[2]

    @property
    def mean(self) -> Colour:
        """Mean colour, 0..1."""
        white = 255 * self.pixels[0].numel()
        # by numpy, which is ten times as fast on bytes
        red, green, blue = self.pixels.numpy().reshape(3, -1).sum(1, dtype=np.int64).tolist()
        return red / white, green / white, blue / white


@dataclass(frozen=True, slots=True, kw_only=True)
class FiledImage:
    """An image that is decoded anew each time it is used: those of a large folder do not fit into memory.

    Parameters
    ----------
    name : str
        Name, unique in its set.
    path : Path
        Its file.
    size : (int, int)
        Height and width in pixels.
    mean : (float, float, float)
        Mean colour, 0..1.
    """

    name: str
    path: Path
    size: tuple[int, int]
    mean: Colour

    @property
    def pixels(self) -> Tensor:
        """RGB, shape (3, H, W), uint8; SurroundingsError if the file is no longer what it was."""
        try:
            with hush_pillow():
                pixels = read_image(self.path)
        except UnreadableImageError as error:
            raise SurroundingsError(f"{self.path} can no longer be read: {error}") from error
        if tuple(pixels.shape[1:]) != self.size:
            raise SurroundingsError(f"{self.path} is another image than when the training began")
        return pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedImage:
    """An image and what it is known again by.

    Parameters
    ----------
    image : ImageLike
        The image.
    digest : str
        Hash of its size and pixels.
    """

    image: ImageLike
    digest: str


def hash_pixels(pixels: Tensor) -> str:
    """Hash an image by what it shows.

    Parameters
    ----------
    pixels : Tensor, shape (3, H, W), uint8
        RGB.

    Returns
    -------
    str
        32 hexadecimal digits.
    """
    digest = hashlib.blake2b(repr(tuple(pixels.shape)).encode(), digest_size=16)
    digest.update(pixels.contiguous().numpy().data)
    return digest.hexdigest()


def read_folder(
    folder: Path, smallest: int, held_bytes: int, observer: PartObserver = lambda _: None
) -> tuple[list[LoadedImage], list[str]]:
    """Read all images in a folder and in the folders within it, in the order of their names.

    Parameters
    ----------
    folder : Path
        With files of any kind, and links to files and folders; what begins with a dot is passed over.
    smallest : int
        Images with fewer pixels a side are skipped.
    held_bytes : int
        So many bytes of pixels stay in memory; images beyond are `FiledImage`.
    observer : callable
        Receives each file, with a note where it is left out.

    Returns
    -------
    images : list of LoadedImage
        Named by their path within the folder.
    skipped : list of str
        "NAME: reason" for every other file.
    """
    images: list[LoadedImage] = []
    paths, skipped = list_files(folder)
    room = held_bytes

    def read(path: Path) -> LoadedImage | str:
        name = name_within(path, folder)
        try:
            pixels = read_image(path)
        except UnreadableImageError as error:
            return f"{name}: {error}"
        height, width = pixels.shape[1:]
        if min(height, width) < smallest:
            return f"{name}: {height}×{width} pixels, below {smallest}×{smallest}"
        return LoadedImage(image=NamedImage(name=name, pixels=pixels), digest=hash_pixels(pixels))

    with hush_pillow(), ThreadPoolExecutor(_THREADS) as pool:
        for first in range(0, len(paths), _FILES_AT_A_TIME):
            turn = paths[first : first + _FILES_AT_A_TIME]
            for done, (path, found) in enumerate(zip(turn, pool.map(read, turn), strict=True), first + 1):
                note = f"left out: {found}" if isinstance(found, str) else ""
                observer(
                    PartDone(done=done, total=len(paths), title=f"read {name_within(path, folder)}", note=note)
                )
                if isinstance(found, str):
                    skipped.append(found)
                    continue
                room -= found.image.pixels.numel()
                images.append(found if room >= 0 else _put_back(found, path))
    return images, skipped


def _put_back(loaded: LoadedImage, path: Path) -> LoadedImage:
    image = loaded.image
    filed = FiledImage(name=image.name, path=path, size=image.size, mean=image.mean)
    return LoadedImage(image=filed, digest=loaded.digest)
