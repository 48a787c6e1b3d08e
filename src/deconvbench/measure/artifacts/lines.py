"""The lines that a grid has in a spectrum, and what is around them.

What repeats every P pixels has its energy at the grid lines (i/P, j/P) cycles per pixel. Reads a spectrum at them
and beside them, made white; what it means is decided in `spectrum` and `period_search`.
"""

import math

import torch
from torch import Tensor

from deconvbench.measure.artifacts.soft_clip import measure_transfer

# bins from a line that are its own: ±1, which is as wide as the window's peak
NEAREST = 2


def list_lines(period: int) -> Tensor:
    """List the grid lines of a period but for the mean.

    Parameters
    ----------
    period : int
        P in pixels.

    Returns
    -------
    Tensor, shape (P² − 1, 2), int64
        (i, j) of the frequency (i/P, j/P).
    """
    return torch.tensor([(i, j) for i in range(period) for j in range(period)][1:], device="cpu")


def find_scale(i: int, j: int, period: int) -> int:
    """Find the smallest period of a pattern at a line.

    Parameters
    ----------
    i, j : int
        Of the frequency (i/P, j/P).
    period : int
        P in pixels.

    Returns
    -------
    int
        The least common multiple of the two reduced denominators.
    """
    return math.lcm(*(period // math.gcd(index, period) for index in (i, j)))


def read_surroundings(power: Tensor, bins: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """Read a spectrum of clipped Laplacians at some lines and around them, as power of the image, made white.

    Parameters
    ----------
    power : Tensor, shape (B, B//2 + 1), float64
        From `mean_clipped_power`, in the layout of ``torch.fft.rfft2``.
    bins : Tensor, shape (L, 2), int64
        Row and column of each line, 0 to B − 1, more than `reach` bins away from the mean.
    reach : int
        Bins around each line.

    Returns
    -------
    white : Tensor, shape (L, 2·reach + 1, 2·reach + 1)
        Power times squared frequency: what falls off as 1/f has the same median on all sides of a line.
    squares : Tensor, shape (L,)
        Squared frequency of each line.
    """
    side = power.shape[0]
    around = torch.arange(-reach, reach + 1, device=bins.device)
    # modulo B: the spectrum goes on in itself
    near = (bins[..., None] + around) % side
    rows, columns = near[:, 0, :, None], near[:, 1, None, :]
    is_mirrored = columns > side // 2
    found = power[torch.where(is_mirrored, -rows % side, rows), torch.where(is_mirrored, side - columns, columns)]
    frequencies = torch.fft.fftfreq(side, dtype=torch.float64, device=bins.device)
    down, right = frequencies[rows], frequencies[columns]
    squares = down.square() + right.square()
    return found / measure_transfer(down, right) * squares, squares[:, reach, reach]


def select_beside(white: Tensor) -> Tensor:
    """Select the places around each line that are not its own.

    Parameters
    ----------
    white : Tensor, shape (L, 2R + 1, 2R + 1)
        From `read_surroundings`, R at least 2.

    Returns
    -------
    Tensor, shape (L, K)
        At 2 ≤ max(|Δu|, |Δv|) ≤ R.
    """
    distance = _distances(white)
    return white[:, torch.maximum(distance[:, None], distance) >= NEAREST]


def estimate_floor(white: Tensor) -> tuple[Tensor, Tensor]:
    """Estimate what each line would have if there were no grid.

    That is the median of what is beside it, or more where the line's own row or column has more, as edges along an
    axis do. The median of the few bins of a row is a third too high by chance now and then: up to that it does
    not count, from a half more on it counts in full.

    Parameters
    ----------
    white : Tensor, shape (L, 2R + 1, 2R + 1)
        From `read_surroundings`, with no other line among the bins.

    Returns
    -------
    ring : Tensor, shape (L,)
        Median of what is beside each line.
    floor : Tensor, shape (L,)
        As above.
    """
    middle = white.shape[-1] // 2
    is_far = _distances(white) >= NEAREST
    ring = take_median(select_beside(white))
    floor = ring
    for own in (take_median(white[:, middle, is_far]), take_median(white[:, is_far, middle])):
        floor = torch.maximum(floor, torch.minimum(own, 3 * (own - ring)))
    return ring, floor


def _distances(white: Tensor) -> Tensor:
    reach = white.shape[-1] // 2
    return torch.arange(-reach, reach + 1, device=white.device).abs()


def take_median(values: Tensor) -> Tensor:
    """Take the median of an even number of values along the last axis.

    Parameters
    ----------
    values : Tensor, shape (..., K)
        K even.

    Returns
    -------
    Tensor, shape (...)
        Mean of the two in the middle (``torch.median`` gives the lower one).
    """
    middle = values.shape[-1] // 2
    ranked: Tensor = torch.sort(values, -1)[0]
    return ranked[..., middle - 1 : middle + 1].mean(-1)
