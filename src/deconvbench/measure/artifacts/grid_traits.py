"""What the lines of a grid tell of its origin: the directions they lie in, and how exactly they keep their period.

An upsampling layer repeats its pattern every P pixels to the end of the image. A screen, a weave or a pattern that
was resized has a period of its own, near a whole number at best, so the phase of its waves wanders from patch to
patch. Looks at the pixels of one period that was found already; finds none and gives no verdict.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from deconvbench.measure.artifacts.images import Channels, Picture, read_images
from deconvbench.measure.artifacts.lines import estimate_floor, list_lines, read_surroundings
from deconvbench.measure.artifacts.patches import check_period, choose_patch_size, make_taper
from deconvbench.measure.artifacts.soft_clip import apply_laplacian, mean_clipped_power

# bins around a line that its floor is read from, as in `checkerboard`
_FARTHEST = 4
# lines whose phases are followed: the strongest
_MOST_LINES = 8
# the Laplacian is clipped at its mean size times this, so that edges do not decide
_CLIP = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GridTraits:
    """What `examine_grid` found.

    Parameters
    ----------
    one_way : float
        Largest share of the lines' power that repeats in one direction only, 0 to 1: 1 for stripes.
    direction : str
        ``downward`` or ``to the right``: where that share repeats.
    stretch : float
        Share by which the pattern's period differs from P, in the direction where that is clearest.
    stretch_error : float
        Standard error of `stretch`.
    """

    one_way: float
    direction: str
    stretch: float
    stretch_error: float


def examine_grid(image: Picture, period: int, *, channels: Channels | None = None) -> GridTraits:
    """Examine the lines of a grid whose period is known.

    Shares are those of the lines' power above the floor, as `checkerboard` has it. Stretch: the waves
    of the strongest lines in patches a quarter of their side apart; what the squared product of neighbours turns
    by, which a change of sign leaves alone, is twice what the frequency is off, and that is in proportion to the
    frequency on all lines.

    Parameters
    ----------
    image : Tensor, ndarray or PIL.Image.Image
        As for `checkerboard`.
    period : int
        P in pixels, 2 to 32.
    channels : {"first", "last"} or None
        As for `checkerboard`.

    Returns
    -------
    GridTraits

    Raises
    ------
    UsageError
        As `checkerboard`.
    """
    period = check_period(period)
    images = read_images(image, channels=channels)
    side = choose_patch_size(images.shape[-2], images.shape[-1], period)
    lines = list_lines(period)
    maps = images.flatten(0, 1)
    excess = torch.stack([_measure_excess(one, side, period, lines * (side // period)) for one in maps]).mean(0)
    power = excess.clamp_min(0)
    total = float(power.sum())
    # a wave (i, 0) goes down: it repeats downward only
    shares = {
        "downward": float(power[lines[:, 1] == 0].sum()) / total if total else 0.0,
        "to the right": float(power[lines[:, 0] == 0].sum()) / total if total else 0.0,
    }
    direction = max(shares, key=lambda name: shares[name])
    # of each pair of opposite lines one
    is_first = [(i, j) <= ((period - i) % period, (period - j) % period) for i, j in lines.tolist()]
    order = [k for k in power.argsort(descending=True).tolist() if is_first[k] and float(power[k]) > 0]
    chosen = lines[order[:_MOST_LINES]]
    stretch, error = _measure_stretch(maps, side, chosen / period, power[order[:_MOST_LINES]])
    return GridTraits(one_way=shares[direction], direction=direction, stretch=stretch, stretch_error=error)


def _measure_excess(image_map: Tensor, side: int, period: int, bins: Tensor) -> Tensor:
    power, _ = mean_clipped_power(image_map, side, period)
    white, squares = read_surroundings(power, bins, _FARTHEST)
    return (white[:, _FARTHEST, _FARTHEST] - estimate_floor(white)[1]) / squares


def _measure_stretch(maps: Tensor, side: int, frequencies: Tensor, power: Tensor) -> tuple[float, float]:
    """Stretch of the period of lines (L, 2), in the direction where it is clearest, and its error."""
    if not len(frequencies):
        return 0.0, math.inf
    hop = max(1, side // 4)
    products = torch.zeros(2, len(frequencies), dtype=torch.complex128, device="cpu")
    spread = torch.zeros(2, len(frequencies), dtype=torch.float64, device="cpu")
    for image_map in maps:
        waves = _find_waves(image_map, side, hop, frequencies)
        for axis in (0, 1):
            count = waves.shape[axis] - 1
            pairs = (waves.narrow(axis, 1, count) * waves.narrow(axis, 0, count).conj()).square()
            products[axis] += pairs.sum((0, 1))
            spread[axis] += pairs.abs().square().sum((0, 1))
    found = []
    for axis in (0, 1):
        signed = torch.where(frequencies[:, axis] > 0.5, frequencies[:, axis] - 1, frequencies[:, axis])
        # radians that a squared product turns by for each cycle per pixel
        turn = 2 * 2 * math.pi * hop
        off = products[axis].angle() / turn
        variance = spread[axis] / 2 / (products[axis].abs() * turn).square()
        # the strong lines are the pattern's, the weak ones may be the content's
        weight = torch.where(products[axis].abs() > 0, power / variance, 0)
        known = float((weight * signed.square()).sum())
        if known > 0:
            error = float((weight.square() * signed.square() * variance).nansum().sqrt()) / known
            # a frequency that is higher is a period that is shorter
            found.append((1 / (1 + float((weight * signed * off).sum()) / known) - 1, error))
    return max(found, key=lambda one: abs(one[0]) / max(one[1], 1e-9), default=(0.0, math.inf))


def _find_waves(image_map: Tensor, side: int, hop: int, frequencies: Tensor) -> Tensor:
    """Amplitudes (rows, columns, L) of waves in patches, with the phase that each has at the image's corner."""
    # the outermost pixels lack a neighbour: as their neighbours have it
    sharp = torch.nn.functional.pad(apply_laplacian(image_map)[None], (1, 1, 1, 1), mode="replicate")[0]
    limit = _CLIP * sharp.abs().mean()
    if float(limit) > 0:
        sharp = sharp * (1 + (sharp / limit).square()).rsqrt()
    taper = make_taper(side).sum(0)

    def make_waves(along: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Windowed waves (L, B), and what turns each patch (count, L) back to the corner."""
        angles = -2 * math.pi * along
        place, start = (torch.arange(n, dtype=torch.float64, device="cpu") for n in (side, count))
        waves = torch.polar(taper.expand(len(along), side).contiguous(), angles[:, None] * place)
        return waves, torch.exp(1j * hop * start[:, None] * angles)

    patches = sharp.unfold(1, side, hop).to(torch.complex128)
    waves, turns = make_waves(frequencies[:, 1], patches.shape[1])
    across = patches @ waves.T * turns
    rows = across.unfold(0, side, hop)
    waves, turns = make_waves(frequencies[:, 0], rows.shape[0])
    return torch.einsum("rcls,ls->rcl", rows, waves) * turns[:, None]
