"""What an audit shows beside its numbers: one output, where its ripple is, its pattern, and spectra.

Reads what was measured; runs no model. Of outputs with two spatial axes only.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from deconvbench.errors import UsageError
from deconvbench.measure.artifacts.patches import choose_patch_size, mean_power
from deconvbench.measure.artifacts.soft_clip import apply_laplacian, mean_clipped_power
from deconvbench.measure.picture import map_amplitudes
from deconvbench.networks.inspection.comparing import Ripple
from deconvbench.networks.inspection.inputs import LEVELS, OutputRange
from deconvbench.networks.inspection.periodic import PeriodicPart
from deconvbench.records.evidence import MOST_PERIOD, MOST_PIXELS, Evidence, Picture, RippleMap

# side of the patches that spectra of plain colours are taken from, about, in pixels
_PATCH = 64
_DIGITS = 5


def make_evidence(maps: Sequence[Tensor], output_range: OutputRange, ripple: Ripple) -> Evidence:
    """Make what is shown.

    Parameters
    ----------
    maps : sequence of Tensor
        Outputs for real images.
    output_range : OutputRange
        For levels.
    ripple : Ripple
        What was measured of them, and of plain colours.

    Returns
    -------
    Evidence
        With None for whatever could not be made.
    """
    kept = [one for one in maps if one.ndim == 4 and bool(one.isfinite().all())]
    levels = [output_range.levels_per_unit * (one.double().cpu() - output_range.low) for one in kept]
    middle = _crop(_choose_channels(levels[0][0])) if levels else None
    scales = {} if ripple.real is None else ripple.real.by_scale
    strongest = max(scales, key=scales.__getitem__, default=None)
    pattern = None if ripple.strongest is None else _read_pattern(ripple.strongest)
    parts = 2 if ripple.is_two_tone else 1
    return Evidence(
        picture=None if middle is None else _draw(middle),
        ripple_map=None if middle is None or strongest is None else _map_ripple(middle, strongest),
        flat_pattern=pattern,
        spectrum=None if ripple.real is None else _measure_spectrum(levels, ripple.real.period),
        flat_spectrum=None
        if pattern is None
        else _measure_flat_spectrum(ripple.strongest_output, parts, len(pattern)),
    )


def _choose_channels(image: Tensor) -> Tensor:
    """Channels of (C, ...) that are shown: all of a picture in colour or in grey, the first of others."""
    return image if image.shape[0] == 3 else image[:1]


def _crop(image: Tensor) -> Tensor:
    for axis in (1, 2):
        side = min(image.shape[axis], MOST_PIXELS)
        image = image.narrow(axis, (image.shape[axis] - side) // 2, side)
    return image


def _draw(image: Tensor) -> Picture:
    levels = image.clamp(0, LEVELS).round().to(torch.uint8).permute(1, 2, 0).contiguous()
    return Picture.from_levels(levels.numpy().tobytes(), *levels.shape)


def _map_ripple(image: Tensor, period: int) -> RippleMap | None:
    try:
        found = map_amplitudes(image, period)
    except UsageError:  # too small a picture, or too large a period
        return None
    return RippleMap(
        period=found.period,
        window=found.window,
        rows=found.rows,
        columns=found.columns,
        amplitudes=tuple(tuple(map(_shorten, row)) for row in found.amplitudes.tolist()),
        detection_levels=tuple(
            tuple(_shorten(one) if math.isfinite(one) else None for one in row)
            for row in found.detection_levels.tolist()
        ),
    )


def _read_pattern(part: PeriodicPart) -> tuple[tuple[tuple[float, ...], ...], ...] | None:
    """One period of the map that has most of it, (P, P, C)."""
    patterns = part.pattern
    if patterns is None or patterns.ndim != 5 or len(set(patterns.shape[3:])) > 1:
        return None
    if patterns.shape[-1] > MOST_PERIOD:
        return None
    flat = patterns.flatten(0, 1)
    worst = int(flat.square().mean((1, 2, 3)).argmax())
    pixels = _choose_channels(flat[worst]).permute(1, 2, 0)
    return tuple(tuple(tuple(map(_shorten, pixel)) for pixel in row) for row in pixels.tolist())


def _measure_spectrum(images: Sequence[Tensor], period: int) -> tuple[float, ...] | None:
    try:
        side = choose_patch_size(images[0].shape[2], images[0].shape[3], period)
    except UsageError:  # too large a period, or too small an image
        return None
    same = [one for one in images if one.shape == images[0].shape]
    powers = [mean_clipped_power(one, side, period)[0] for image in same for one in image.flatten(0, 1)]
    return _read_axes(powers)


def _measure_flat_spectrum(output: Tensor | None, parts: int, period: int) -> tuple[float, ...] | None:
    """Of the middle of plain colours, without any border."""
    if output is None:
        return None
    powers = []
    for part in output.tensor_split(parts, -1):
        rows, columns = (side - 2 * (side // 4) for side in part.shape[2:])
        middle = part.narrow(2, part.shape[2] // 4, rows).narrow(3, part.shape[3] // 4, columns)
        # whole periods, and an even number of pixels, that a patch of Laplacians has room for
        least = period if period % 2 == 0 else 2 * period
        side = least * (min(_PATCH, rows - 2, columns - 2) // least)
        if side == 0:
            return None
        powers += [mean_power(apply_laplacian(one), side)[0] for one in middle.flatten(0, 1)]
    return _read_axes(powers)


def _read_axes(powers: Sequence[Tensor]) -> tuple[float, ...] | None:
    """Mean power along the two axes of spectra in the layout of ``torch.fft.rfft2``."""
    if len({one.shape for one in powers}) != 1:
        return None
    mean = torch.stack(list(powers)).mean(0)
    count = mean.shape[1]
    return tuple(map(_shorten, ((mean[0] + mean[:count, 0]) / 2).tolist()))


def _shorten(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
