"""From picture files to their scores, and to a map of where the grid is.

A few threads decode and score, a few files ahead at most, so that a folder of any length takes the memory of a few
pictures.
"""

import os
import traceback
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias

import numpy as np
from PIL import Image
from torch import Tensor

from deconvbench.analysis.picture_verdicts import PictureScore, choose_blocks
from deconvbench.arguments import check_whole
from deconvbench.errors import UsageError, describe_failure, explain_os_error, quote
from deconvbench.measure.artifacts.patches import check_period
from deconvbench.measure.decoding import (
    Picture,
    UnreadableImageError,
    count_pixels,
    hush_pillow,
    read_given,
    read_levels,
)
from deconvbench.measure.picture import Reading, map_amplitudes, measure_picture
from deconvbench.plots.score_map import draw_score_map, encode_score_map
from deconvbench.progress import PartDone, PartObserver
from deconvbench.report.picture_scores import LeftOut, Scores
from deconvbench.system.folders import list_files, name_within
from deconvbench.system.paths import check_path

AUTO = "auto"
_THREADS = 4
_MOST_PIXELS = 2**31
# pictures of more pixels take turns, so that only one of them is in memory
_LARGE, _LARGE_TURN = 2**24, Lock()
Region = tuple[int, int, int, int]
_Held: TypeAlias = Image.Image | np.ndarray[Any, Any] | Tensor
Source: TypeAlias = str | Path | _Held
_HELD = (Image.Image, np.ndarray, Tensor)
_ALLOWED = "a path, a Pillow image, an array, a tensor or a list of these"


def score(
    pictures: Source | Iterable[Source],
    *,
    period: int | str = AUTO,
    reference: Source | None = None,
    region: str | Sequence[int] | None = None,
    observer: PartObserver = lambda _: None,
) -> Scores:
    """Score picture files: the amplitude of the grid in each, in 8-bit levels, and what it is.

    Parameters
    ----------
    pictures : str, Path, PIL.Image.Image, ndarray, Tensor or iterable of them
        Files of any kind that Pillow reads, and folders, which are searched with all folders within. EXIF's
        rotation is applied, transparent pixels are put on white, 16 bits are divided by 257. Images that a program
        holds are named ``image 1`` and so on; of arrays and tensors `read_given` has the rules.
    period : int or "auto"
        Period to read in pixels, 2 to 32, or ``auto``: the one that stands out, of 2 to 64.
    reference : str, Path, PIL.Image.Image, ndarray or Tensor, optional
        A picture of the same size that is taken off each, so that the content cancels.
    region : str or sequence of four int, optional
        Left, top, width and height in pixels of the part to score, such as ``"0,0,256,256"``.
    observer : callable
        Receives each picture that is scored, if there are several files.

    Returns
    -------
    Scores
        ``print`` shows it; ``pictures`` has a `PictureScore` for each, ``left_out`` the files that could not be
        scored, with the reason.

    Raises
    ------
    UsageError
        If there is no such file, none of them could be scored, or something that is asked for is not allowed.

    Examples
    --------
    >>> found = score("renders", period=2)  # doctest: +SKIP
    >>> [one.name for one in found.pictures if one.exceeds(1.0)]  # doctest: +SKIP
    """
    asked = _read_period(period)
    part = None if region is None else _read_region(region)
    files, left_out = _list_pictures(pictures)
    with hush_pillow():
        base = None if reference is None else _read_reference(reference)
        found: list[PictureScore] = []
        for done, (name, one) in enumerate(_score_files(files, asked, base, part), 1):
            if isinstance(one, LeftOut):
                left_out.append(one)
                continue
            found.append(one)
            if len(files) > 1:
                observer(PartDone(done=done, total=len(files), title=f"scored {name}"))
    if not found:
        more = f" (and {len(left_out) - 1} more)" if len(left_out) > 1 else ""
        refusal = UsageError(f"no picture could be scored: {left_out[0].name}: {left_out[0].reason}{more}")
        for one in left_out:
            if one.details:
                refusal.add_note(one.details)
        raise refusal
    return Scores(
        pictures=tuple(found),
        left_out=tuple(left_out),
        period=asked,
        region=part,
        reference=_name_reference(reference),
    )


def draw_map(
    picture: Source,
    scored: PictureScore,
    *,
    reference: Source | None = None,
    region: str | Sequence[int] | None = None,
    observer: PartObserver = lambda _: None,
) -> bytes:
    """Draw where in a picture its grid is.

    Parameters
    ----------
    picture : str, Path, PIL.Image.Image, ndarray or Tensor
        The file or image, as it was scored.
    scored : PictureScore
        Its score, whose period is drawn.
    reference, region, observer
        As for `score`. The picture is shown, and the amplitude is that of the difference.

    Returns
    -------
    bytes
        A PNG file.

    Raises
    ------
    UsageError
        As `score`, or if the score has no amplitude.
    """
    if scored.read_period is None:
        raise UsageError(f"map: the amplitude of period {scored.period} cannot be measured on this picture")
    part = None if region is None else _read_region(region)
    try:
        with hush_pillow():
            held = picture if isinstance(picture, _HELD) else check_path(picture, "picture")
            shown = _cut(_read_source(held).values, part)
            base = None if reference is None else _read_reference(reference)
        values = _take_off(shown, None if base is None else _cut(base.values, part))
    except UnreadableImageError as error:
        raise UsageError(f"{scored.name}: {error}") from error

    def observe(done: int, total: int) -> None:
        observer(PartDone(done=done, total=total, title="mapped a row of windows"))

    local = map_amplitudes(values, scored.read_period, observe)
    return encode_score_map(
        draw_score_map(
            shown.numpy(),
            local.amplitudes,
            local.detection_levels,
            local.rows,
            local.columns,
            name=scored.name,
            period=local.period,
            window=local.window,
            is_found=scored.is_periodic,
        )
    )


def _read_period(period: int | str) -> int | None:
    if period == AUTO:
        return None
    try:
        number = int(period) if isinstance(period, str) and period.isascii() and period.isdigit() else period
        return check_period(number)
    except (UsageError, ValueError) as error:  # texts of thousands of digits are no numbers to Python
        raise UsageError(f"period: {quote(period)} is not auto or a whole number from 2 to 32") from error


def _read_region(region: str | Sequence[int]) -> Region:
    parts = region.split(",") if isinstance(region, str) else region
    try:
        numbers = [int(p) if isinstance(p, str) and p.isascii() and p.strip().isdigit() else p for p in parts]
        left, top = (check_whole("region", n, 0, _MOST_PIXELS) for n in numbers[:2])
        width, height = (check_whole("region", n, 1, _MOST_PIXELS) for n in numbers[2:])
    except (UsageError, ValueError, TypeError) as error:
        raise UsageError(
            f"region: {quote(region)} is not X,Y,WIDTH,HEIGHT in whole pixels, such as 0,0,256,256"
        ) from error
    return left, top, width, height


def _list_given(pictures: object) -> list[Any]:
    if isinstance(pictures, (str, os.PathLike, *_HELD)):
        return [pictures]
    if not isinstance(pictures, Iterable) or isinstance(pictures, bytes | bytearray):
        raise UsageError(f"pictures: {quote(pictures)} is not {_ALLOWED}")
    return list(pictures)


def _list_pictures(pictures: Source | Iterable[Source]) -> tuple[list[tuple[str, Path | _Held]], list[LeftOut]]:
    """Names and sources of all pictures, in order, none twice; and what is left out already."""
    given = _list_given(pictures)
    if not given:
        raise UsageError("pictures: none is given; name picture files or a folder of them")
    files: dict[Path, str] = {}
    held: list[tuple[str, Path | _Held]] = []
    left_out: list[LeftOut] = []
    for number, each in enumerate(given, 1):
        if isinstance(each, _HELD):
            held.append((f"image {number}", each))
            continue
        path = check_path(each, "pictures")
        try:
            path.stat()
        except OSError as error:
            raise UsageError(f"pictures: cannot read {str(path)!r}: {explain_os_error(error)}") from error
        if not path.is_dir():
            files.setdefault(path, _write_name(path))
            continue
        inside, skipped = list_files(path)
        if not inside and not skipped:
            raise UsageError(f"pictures: {str(path)!r} is a folder without files; name one with pictures in it")
        for file in inside:
            # of several folders the names within them may be the same
            files.setdefault(file, name_within(file, path) if len(given) == 1 else _write_name(file))
        left_out += [LeftOut(name=name, reason=why) for name, _, why in (s.partition(": ") for s in skipped)]
    return [*((name, path) for path, name in files.items()), *held], left_out


def _write_name(path: Path) -> str:
    return path.as_posix().encode(errors="backslashreplace").decode()


def _read_source(source: Path | _Held) -> Picture:
    return read_levels(source) if isinstance(source, Path) else read_given(source)


def _name_reference(reference: Source | None) -> str:
    return "" if reference is None else "the given image" if isinstance(reference, _HELD) else str(reference)


def _read_reference(reference: Source) -> Picture:
    held = reference if isinstance(reference, _HELD) else check_path(reference, "reference")
    try:
        return _read_source(held)
    except UnreadableImageError as error:
        named = repr(str(held)) if isinstance(held, Path) else _name_reference(held)
        raise UsageError(f"reference: cannot read {named}: {error}") from error


def _score_files(
    files: Sequence[tuple[str, Path | _Held]], period: int | None, base: Picture | None, region: Region | None
) -> Iterator[tuple[str, PictureScore | LeftOut]]:
    """Each name with its score or the reason why it has none, in order, a few files ahead at most."""
    threads = min(_THREADS, os.cpu_count() or 1)
    waiting: deque[tuple[str, Future[PictureScore | LeftOut]]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for name, source in files:
            waiting.append((name, pool.submit(_score_source, name, source, period, base, region)))
            if len(waiting) > threads:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _score_source(
    name: str, source: Path | _Held, period: int | None, base: Picture | None, region: Region | None
) -> PictureScore | LeftOut:
    details = ""
    try:
        with _LARGE_TURN if isinstance(source, Path) and count_pixels(source) > _LARGE else nullcontext():
            picture = _read_source(source)
            values = _cut(picture.values, region)
            taken_off = _take_off(values, None if base is None else _cut(base.values, region))
            reading = measure_picture(taken_off, period)
        return _make_score(name, picture, values, reading)
    except (UnreadableImageError, UsageError) as error:
        reason = str(error).removeprefix("image: ")
    except MemoryError:
        reason = "does not fit into memory"
    except Exception as error:  # noqa: BLE001 -- of other people's files; one must not cost the scores of all others
        reason, details = f"cannot be scored: {describe_failure(error)}", traceback.format_exc()
    return LeftOut(name=name, reason=reason, details=details)


def _cut(values: Tensor, region: Region | None) -> Tensor:
    if region is None:
        return values
    left, top, width, height = region
    if left + width > values.shape[2] or top + height > values.shape[1]:
        size = f"{values.shape[2]}×{values.shape[1]}"
        raise UsageError(f"region {left},{top},{width},{height} does not lie within its {size} pixels")
    return values[:, top : top + height, left : left + width]


def _take_off(values: Tensor, base: Tensor | None) -> Tensor:
    """Take the reference off; grey goes with colour."""
    if base is None:
        return values
    if values.shape[1:] != base.shape[1:]:
        sizes = " and ".join(f"{one.shape[2]}×{one.shape[1]}" for one in (values, base))
        raise UsageError(f"its size and that of the reference differ: {sizes} pixels")
    return values.float() - base.float()


def _make_score(name: str, picture: Picture, values: Tensor, reading: Reading) -> PictureScore:
    measured = {each.name: getattr(reading, each.name) for each in fields(reading)}
    blocks = choose_blocks(
        {one.period: (one.amplitude, one.detection_level, one.offset) for one in measured.pop("blocks")}
    )
    enlargement = measured.pop("enlargement")
    if enlargement is not None:
        blocks = None  # whatever edges there are may be its own
    sampled = ["the period was looked for in four parts of the picture"] if measured.pop("is_sampled") else []
    return PictureScore(
        name=name,
        width=values.shape[2],
        height=values.shape[1],
        format=picture.format,
        blocks=blocks,
        enlargement=None if enlargement is None else enlargement.factor,
        enlarged_by=""
        if enlargement is None
        else "nearest neighbour"
        if enlargement.is_nearest
        else "interpolation",
        notes=(*picture.notes, *sampled),
        **measured,
    )
