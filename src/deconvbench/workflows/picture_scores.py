"""From picture files to their scores, and to a map of where the grid is.

A few threads decode and score, a few files ahead at most, so that a folder of any length takes the memory of a few
pictures.
"""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from threading import Lock

from torch import Tensor

from deconvbench.analysis.picture_verdicts import PictureScore, choose_blocks
from deconvbench.arguments import check_whole
from deconvbench.errors import UsageError, explain_os_error, quote
from deconvbench.measure.artifacts.patches import check_period
from deconvbench.measure.decoding import Picture, UnreadableImageError, count_pixels, hush_pillow, read_levels
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


def score(
    pictures: str | Path | Sequence[str | Path],
    *,
    period: int | str = AUTO,
    reference: str | Path | None = None,
    region: str | Sequence[int] | None = None,
    observer: PartObserver = lambda _: None,
) -> Scores:
    """Score picture files: the amplitude of the grid in each, in 8-bit levels, and what it is.

    Parameters
    ----------
    pictures : str, Path or sequence of them
        Files of any kind that Pillow reads, and folders, which are searched with all folders within. EXIF's
        rotation is applied, transparent pixels are put on white, 16 bits are divided by 257.
    period : int or "auto"
        Period to read in pixels, 2 to 32, or ``auto``: the one that stands out, of 2 to 64.
    reference : str or Path, optional
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
        base = None if reference is None else _read_reference(check_path(reference, "reference"))
        found: list[PictureScore] = []
        for done, (name, one) in enumerate(_score_files(files, asked, base, part), 1):
            if isinstance(one, str):
                left_out.append(LeftOut(name=name, reason=one))
                continue
            found.append(one)
            if len(files) > 1:
                observer(PartDone(done=done, total=len(files), title=f"scored {name}"))
    if not found:
        more = f" (and {len(left_out) - 1} more)" if len(left_out) > 1 else ""
        raise UsageError(f"no picture could be scored: {left_out[0].name}: {left_out[0].reason}{more}")
    return Scores(
        pictures=tuple(found),
        left_out=tuple(left_out),
        period=asked,
        region=part,
        reference="" if reference is None else str(reference),
    )


def draw_map(
    picture: str | Path,
    scored: PictureScore,
    *,
    reference: str | Path | None = None,
    region: str | Sequence[int] | None = None,
    observer: PartObserver = lambda _: None,
) -> bytes:
    """Draw where in a picture its grid is.

    Parameters
    ----------
    picture : str or Path
        The file, as it was scored.
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
            shown = _cut(read_levels(check_path(picture, "picture")).values, part)
            base = None if reference is None else _read_reference(check_path(reference, "reference"))
        values = _take_off(shown, None if base is None else _cut(base.values, part))
    except UnreadableImageError as error:
        raise UsageError(f"{picture}: {error}") from error

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


def _list_pictures(pictures: str | Path | Sequence[str | Path]) -> tuple[list[tuple[str, Path]], list[LeftOut]]:
    """Names and paths of all files, in order, none twice; and what is left out already."""
    given = [pictures] if isinstance(pictures, str | os.PathLike) else list(pictures)
    if not given:
        raise UsageError("pictures: none is given; name picture files or a folder of them")
    files: dict[Path, str] = {}
    left_out: list[LeftOut] = []
    for each in given:
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
    return [(name, path) for path, name in files.items()], left_out


def _write_name(path: Path) -> str:
    return path.as_posix().encode(errors="backslashreplace").decode()


def _read_reference(path: Path) -> Picture:
    try:
        return read_levels(path)
    except UnreadableImageError as error:
        raise UsageError(f"reference: cannot read {str(path)!r}: {error}") from error


def _score_files(
    files: Sequence[tuple[str, Path]], period: int | None, base: Picture | None, region: Region | None
) -> Iterator[tuple[str, PictureScore | str]]:
    """Each name with its score or the reason why it has none, in order, a few files ahead at most."""
    threads = min(_THREADS, os.cpu_count() or 1)
    waiting: deque[tuple[str, Future[PictureScore | str]]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for name, path in files:
            waiting.append((name, pool.submit(_score_file, name, path, period, base, region)))
            if len(waiting) > threads:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _score_file(
    name: str, path: Path, period: int | None, base: Picture | None, region: Region | None
) -> PictureScore | str:
    try:
        with _LARGE_TURN if count_pixels(path) > _LARGE else nullcontext():
            picture = read_levels(path)
            values = _cut(picture.values, region)
            taken_off = _take_off(values, None if base is None else _cut(base.values, region))
            reading = measure_picture(taken_off, period)
    except (UnreadableImageError, UsageError) as error:
        return str(error).removeprefix("image: ")
    except MemoryError:
        return "does not fit into memory"
    return _make_score(name, picture, values, reading)


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
    blocks = choose_blocks({one.period: (one.amplitude, one.detection_level) for one in measured.pop("blocks")})
    sampled = ["the period was looked for in four parts of the picture"] if measured.pop("is_sampled") else []
    return PictureScore(
        name=name,
        width=values.shape[2],
        height=values.shape[1],
        format=picture.format,
        blocks=blocks,
        notes=(*picture.notes, *sampled),
        **measured,
    )
