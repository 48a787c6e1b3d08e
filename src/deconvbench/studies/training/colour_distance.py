"""Whether checkerboards are worse where colours are far from the mean, as Odena et al. say.

Compares patches of images with each other.
"""

import math

import torch
from scipy import stats
from torch import Tensor

from deconvbench.measure.artifacts.lines import NEAREST, list_lines
from deconvbench.measure.artifacts.patches import choose_patch_size, measure_powers

# side that the smaller patches of `choose_patch_size` are made for
_SMALL_IMAGE = 33
# of a spectrum against the squared frequency: 1 is that of photographs, whose amplitude falls as 1/f
_STEEPEST = 2.0
# bins from a grid line that its floor is read from; the next line is 8 away at least
_BESIDE = tuple(sign * bins for bins in range(NEAREST, 5) for sign in (-1, 1))


def correlate_with_colour(residual: Tensor, targets: Tensor, mean_colour: Tensor, *, period: int) -> float:
    """Correlate the local checkerboard with the distance of the local colour from a mean.

    Over patches of about 32 pixels that do not overlap: the RMS amplitude of the residual at the grid lines,
    against the distance in RGB of the target's mean colour from the mean colour. The amplitude is that of the
    patch without its plane and under a Hann window: the root of the power at all lines (i/P, j/P) but the mean,
    averaged over the channels. No floor is taken off, so content of the residual at these frequencies counts too:
    where texture depends on the colour, networks without a grid read what the texture does (−.5 in photographs).
    See `correlate_grid_with_colour`.

    Unit: none. Range: −1 to 1, Spearman's rank correlation. 0: no relation.

    Parameters
    ----------
    residual, targets : Tensor, shape (N, C, H, W), float64
        In one unit; H and W at least 32 (33 where P = 3).
    mean_colour : Tensor, shape (C,)
        In that unit.
    period : int
        P in pixels, 2 to 4.

    Returns
    -------
    float
        NaN where the residual is not finite, or all patches have the same amplitude or the same distance.

    Raises
    ------
    UsageError
        If the images are too small for the period.

    References
    ----------
    Odena, Dumoulin, Olah, "Deconvolution and checkerboard artifacts", Distill 2016 (artifacts are most prominent
    where strong colours are).
    """
    side = _choose_side(residual, period)
    if not bool(residual.isfinite().all()):
        return math.nan
    amplitudes = _measure_amplitudes(_measure_powers(_cut(residual, side)), period)
    return _correlate(amplitudes, _measure_distances(targets, mean_colour, side))


def correlate_grid_with_colour(residual: Tensor, targets: Tensor, mean_colour: Tensor, *, period: int) -> float:
    """Correlate the local grid's power above its local floor with the distance of the local colour from a mean.

    Over the patches of `correlate_with_colour`: the power of the residual at the grid lines less what lies beside
    each line in the same patch, signed, against the distance of the colour. The floor of a line is the mean power
    2 to 4 bins away: all around it, or along its own row or column where it lies on an axis, as what edges leave
    does. How power falls off with the frequency, beside the lines in the mean of all patches, is divided out. A
    patch without a grid reads as often more as less than zero however strong its texture is, so texture that
    depends on the colour does not correlate.

    The excess and not the ratio of power to floor: over texture that falls with the distance, a grid that is
    equally strong everywhere stands out where the colour is far. Grids of 1 level planted in the residuals of
    twelve networks that make none read −.07 (−.18 to .09) here where they are equally strong, and .23 (.20 to .29)
    by the log ratio; in proportion to the distance .50 (.36 to .84), and falling with it −.64 (−.84 to −.51).

    Unit: none. Range: −1 to 1, Spearman's rank correlation. 0: no relation. Networks that cannot make a grid read
    −.27 to −.05 (edges are not texture), so the difference from one of these is what counts.

    Parameters
    ----------
    residual, targets, mean_colour, period
        As for `correlate_with_colour`.

    Returns
    -------
    float
        NaN where the residual is not finite, or all patches have the same excess or the same distance.

    Raises
    ------
    UsageError
        If the images are too small for the period.

    References
    ----------
    As `correlate_with_colour`.
    """
    side = _choose_side(residual, period)
    if not bool(residual.isfinite().all()):
        return math.nan
    excesses = _measure_excesses(_measure_powers(_cut(residual, side)), period)
    return _correlate(excesses, _measure_distances(targets, mean_colour, side))


def _choose_side(residual: Tensor, period: int) -> int:
    height, width = residual.shape[-2:]
    return choose_patch_size(min(height, _SMALL_IMAGE), min(width, _SMALL_IMAGE), period)


def _cut(images: Tensor, side: int) -> Tensor:
    """Patches (n, C, B, B) that do not overlap, of all images."""
    patches: Tensor = images.unfold(-2, side, side).unfold(-2, side, side).movedim(1, 3).flatten(0, 2)
    return patches


def _measure_distances(targets: Tensor, mean_colour: Tensor, side: int) -> Tensor:
    colours = _cut(targets, side).mean((-2, -1))
    distances: Tensor = (colours - mean_colour.to(colours)).norm(dim=-1)
    return distances


def _correlate(values: Tensor, distances: Tensor) -> float:
    if any(bool((ranked == ranked[0]).all()) for ranked in (values, distances)):
        return math.nan
    return float(stats.spearmanr(values.numpy(), distances.numpy()).statistic)


def _measure_powers(patches: Tensor) -> Tensor:
    """Power spectra (n, B, B//2 + 1) of patches (n, C, B, B), the mean over the channels."""
    return measure_powers(patches).mean(1)


def _read(power: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Read bins of spectra (..., B, B//2 + 1), whose right half is the left one, turned about zero."""
    side = power.shape[-2]
    rows, columns = rows % side, columns % side
    is_mirrored = columns > side // 2
    found: Tensor = power[
        ..., torch.where(is_mirrored, -rows % side, rows), torch.where(is_mirrored, side - columns, columns)
    ]
    return found


def _measure_amplitudes(powers: Tensor, period: int) -> Tensor:
    """Root of the power at the grid lines of each spectrum (n, B, B//2 + 1)."""
    rows, columns = list_lines(period).T * (powers.shape[-2] // period)
    return _read(powers, rows, columns).sum(-1).sqrt()


def _measure_excesses(powers: Tensor, period: int) -> Tensor:
    """Power at the grid lines above what lies beside them, signed, of each spectrum (n, B, B//2 + 1)."""
    side = powers.shape[-2]
    down, right = torch.fft.fftfreq(side, dtype=torch.float64), torch.arange(side // 2 + 1) / side
    squares = (down[:, None].square() + right.square()).clamp_min(side**-2)
    lines = [
        (torch.tensor([row]), torch.tensor([column]), _list_beside(row, column))
        for row, column in (list_lines(period) * (side // period)).tolist()
    ]
    # what falls off with the frequency is made as strong on all sides of a line
    mean = powers.mean(0)
    bent = squares ** _fit_slope(
        torch.cat([_read(squares, *places) for _, _, places in lines]),
        torch.cat([_read(mean, *places) for _, _, places in lines]),
    )
    excess = powers.new_zeros(len(powers))
    for row, column, places in lines:
        floor = (_read(powers, *places) * _read(bent, *places)).mean(-1) / _read(bent, row, column)
        excess += _read(powers, row, column)[:, 0] - floor
    return excess


def _fit_slope(squares: Tensor, power: Tensor) -> float:
    """Exponent with which power falls off with the squared frequency, by least squares of their logarithms."""
    is_there = power > 0
    if not bool(is_there.any()):
        return 0.0
    x, y = squares[is_there].log(), power[is_there].log()
    x = x - x.mean()
    slope = -float((x * y).sum() / x.square().sum())
    return min(max(slope, -_STEEPEST), _STEEPEST)


def _list_beside(row: int, column: int) -> tuple[Tensor, Tensor]:
    """Rows and columns of the bins beside a grid line."""
    reach = range(min(_BESIDE), max(_BESIDE) + 1)
    if row == 0:
        places = [(0, bins) for bins in _BESIDE]
    elif column == 0:
        places = [(bins, 0) for bins in _BESIDE]
    else:
        places = [(down, right) for down in reach for right in reach if max(abs(down), abs(right)) >= NEAREST]
    down, right = torch.tensor(places).T
    return row + down, column + right
