"""The calibrated checkerboard amplitude: how strong the grid-periodic part of an image is, with no reference.

What the phases of an upsampler of scale s do differently repeats every s pixels, so in the spectrum it lies at the
grid lines (i/s, j/s) cycles per pixel, while the content of an image is spread over all frequencies. The power at
these lines, less what the bins around them lead to expect, is the checkerboard's. `soft_clip` makes the spectrum,
`levels` adds up the lines. Looks at pixels alone: no network, no file.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from deconvbench.measure.artifacts.images import (
    IMAGE_UNITS,
    Channels,
    Picture,
    find_unit,
    read_images,
    split_magnitude,
)
from deconvbench.measure.artifacts.levels import (
    Lines,
    estimate_amplitude,
    find_detection_level,
    find_noise_level,
)
from deconvbench.measure.artifacts.lines import (
    estimate_floor,
    find_scale,
    list_lines,
    read_surroundings,
    select_beside,
)
from deconvbench.measure.artifacts.patches import check_period, choose_patch_size
from deconvbench.measure.artifacts.result_text import describe_amplitude
from deconvbench.measure.artifacts.soft_clip import mean_clipped_power

# bins around a line that its floor is read from; other grid lines are 8 away at least (`choose_patch_size`)
FARTHEST = 4
# with fewer patches than this the spectrum's own scatter cannot be told
_FEWEST_PATCHES = 4
# share of the largest value that rounding leaves at a grid line of an image that has nothing else
_ROUNDING = 2**-52


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckerboardResult:
    """What `checkerboard` found; amplitudes are in the image's units. ``str()`` says it in words.

    Parameters
    ----------
    amplitude : float
        Signed RMS amplitude of the grid-periodic part. A checkerboard of ±a reads a. Negative where the grid lines
        hold less than their surroundings: nothing is there.
    detection_level : float
        What a photograph without any grid stays below, as a rule: 2.3 % read more. NaN where there are fewer than
        four patches.
    noise_level : float
        The same for an image whose content is noise from a random generator: two standard deviations of the
        spectrum's own scatter. NaN where there are fewer than four patches.
    by_scale : mapping of int to float
        Share of each scale: the signed amplitude of the patterns whose smallest period is that many pixels. Their
        signed squares add up to that of `amplitude`.
    period : int
        Period P that was looked for, in pixels.
    patches : int
        Patches per image and channel.
    unit : str
        Of the amplitudes: ``8-bit levels``, ``16-bit levels`` or ``image units``.
    """

    amplitude: float
    detection_level: float
    noise_level: float
    by_scale: Mapping[int, float]
    period: int
    patches: int
    unit: str = IMAGE_UNITS

    @property
    def is_detected(self) -> bool:
        """Whether the amplitude exceeds the detection level; False where there is none."""
        return self.amplitude > self.detection_level

    def __str__(self) -> str:
        return describe_amplitude(
            "checkerboard",
            self.amplitude,
            self.detection_level,
            unit=self.unit,
            period=self.period,
            shares=self.by_scale,
        )


def checkerboard(image: Picture, period: int = 2, *, channels: Channels | None = None) -> CheckerboardResult:
    """Measure the calibrated amplitude of the part of an image that repeats with a period of P pixels.

    The power at the grid lines (i/P, j/P) of the mean spectrum of windowed patches, less its floor there, added
    up over the P² − 1 lines that are not the mean; the root of it, with its sign. The spectrum is that of the
    Laplacian with everything softly clipped that is not the patch's own pattern, divided by the Laplacian's
    transfer and the gain of the clip: edges, which are rare and strong, lose their weight, and the pattern keeps
    its amplitude. A line whose scatter exceeds the mean signal of the lines is taken to be as strong as the
    others. The floor is what the spectrum has around the line. Signed squares are averaged over images and
    channels, all weighted alike, before the root.

    Unit: that of the image (8-bit levels for uint8 and most Pillow images; floats have whatever unit they were
    given in, and the result says "image units"). Range: any; negative means below the floor.
    Best: 0, or anything below the detection level.
    Sees: the grid that upsampling leaves in real outputs of whole networks, with no reference. A pure checkerboard
    of ±a reads a. On content of deviation 1, over a dozen images of 256 pixels, amplitudes from .03 read within
    5 % at P = 2 and 10 % at P = 3 and 4, from .1 within 5 % at every P (a single image within 8 % at .03), and
    crops the same to 3 %. Linear in gain, zero for a constant or a ramp. A grid whose sign differs at random from
    region to region keeps three quarters of its amplitude, if the regions are at least a patch (about 64 pixels)
    wide; one that flips with every patch keeps .57.
    Blind to: artifacts that are not periodic, and block edges of random sign (JPEG, nearest neighbour): see
    `block_edge`.
    Misread: content that repeats with a whole number of pixels (a fence, a page of text, a screen), and patterns
    that cameras and files leave themselves, of two and four pixels above all. A faint pattern whose lines are
    all at low frequencies, among the content, is taken for weaker than it is. Where there is a target, take the
    residual ŷ − y, so that the content cancels.

    Parameters
    ----------
    image : Tensor, ndarray or PIL.Image.Image
        Shape (H, W), (C, H, W), (H, W, C), (N, C, H, W) or (N, H, W, C); any integer or floating-point type, on
        any device, with or without a graph; or a Pillow image as it is seen, transparent pixels on white and
        without EXIF's rotation (`read_images` has the rules). Computed in float64 on the CPU. H and W at least 32
        (P = 2 and 4), 33 (P = 3) or 128 (P from 5).
    period : int
        P in pixels, 2 to 32: the product of the scales of all upsamplers in the network.
    channels : {"first", "last"} or None
        Where the channels are. None: a tensor has them first; an array has them at the end whose axis is at most
        4, and where both ends could be meant, or none, this argument is asked for.

    Returns
    -------
    CheckerboardResult
        `by_scale` has a key for every divisor of P from 2: the smallest period, in both directions, of what a grid
        line stands for. At scale 2^l (level l) the lines come from the l-th upsampler of scale 2 counted from the
        output, or an earlier one. At P = 6 lines of scale 2 (3) come from a last upsampler of scale 2 (3) or from
        earlier ones, those of scale 6 from earlier ones only.
        The detection level is √(c·sd): sd is the scatter of the same weighted sum at places beside the lines of
        the same image, c was chosen on photographs for each period. The noise level is √(2·sd) with the sd that
        the floor of a spectrum of Gaussian noise has over the number of patches that do not overlap.
        Images count as independent, so their sd² are averaged as those of a mean; the channels of an image do not.

    Raises
    ------
    UsageError
        If the image is none of these (lists are not: their type and layout are guesswork), has masked pixels, is
        sparse or without values, holds NaN or infinity or is too small for the period, if its channels cannot be
        told, or if the period is not a whole number from 2 to 32.

    References
    ----------
    Odena, Dumoulin, Olah, "Deconvolution and checkerboard artifacts", Distill 2016 (the effect).
    Sugawara, Shiota, Kiya, "Super-resolution using convolutional neural networks without any checkerboard
    artifacts", arXiv:1806.02658 (why it is periodic).
    Not the azimuthally averaged spectrum of Durall, Keuper, Keuper, "Watch your up-convolution", arXiv:2003.01826:
    that averages the grid lines with everything else of their radius, and has no unit.

    Examples
    --------
    >>> board = torch.arange(256)[:, None].add(torch.arange(256)).remainder(2)
    >>> print(checkerboard((100 + 4 * board).to(torch.uint8)))
    checkerboard: 2 8-bit levels (period 2), above the detection level of ...
    """
    period = check_period(period)
    images, factor = split_magnitude(read_images(image, channels=channels))
    depth, height, width = images.shape[1:]
    side = choose_patch_size(height, width, period)
    lines = list_lines(period)
    bins = lines * (side // period)
    independent = (height // side) * (width // side)
    estimates = []
    for image_map in images.flatten(0, 1):
        power, patches = mean_clipped_power(image_map, side, period)
        estimates.append(estimate_amplitude(read_lines(power, bins), independent))
    shares = torch.stack([estimate.shares for estimate in estimates]).mean(0)

    by_scale = sum_scales(shares, period, factor)
    level = noise_level = math.nan
    if patches >= _FEWEST_PATCHES:
        least = _ROUNDING * float(images.abs().max())
        scatter = _pool([estimate.scatter for estimate in estimates], depth)
        noise = _pool([estimate.noise for estimate in estimates], depth)
        level = factor * max(find_detection_level(scatter, period), least)
        noise_level = factor * max(find_noise_level(noise), least)
    return CheckerboardResult(
        amplitude=factor * take_signed_root(float(shares.sum())),
        detection_level=level,
        noise_level=noise_level,
        by_scale=by_scale,
        period=period,
        patches=patches,
        unit=find_unit(image),
    )


def _pool(deviations: list[float], channels: int) -> float:
    """Deviation of the mean over images and channels, of which only the images are independent."""
    single = torch.tensor(deviations, dtype=torch.float64, device="cpu").reshape(-1, channels).mean(1)
    return float(single.square().sum().sqrt()) / len(single)


def read_lines(power: Tensor, bins: Tensor) -> Lines:
    """Read the grid lines of one map's spectrum and what is beside them.

    Parameters
    ----------
    power : Tensor, shape (B, B//2 + 1), float64
        From `mean_clipped_power`.
    bins : Tensor, shape (L, 2), int64
        Row and column of each line.

    Returns
    -------
    Lines
        In squared units of the image.
    """
    white, squares = read_surroundings(power, bins, FARTHEST)
    ring, floor = estimate_floor(white)
    # where an edge's own row or column has more, there is more scatter too
    louder = torch.where(ring > 0, floor / ring, 1)
    return Lines(
        excess=(white[:, FARTHEST, FARTHEST] - floor) / squares,
        beside=(select_beside(white) - ring[:, None]) * (louder / squares)[:, None],
        floor=floor / squares,
    )


def sum_scales(shares: Tensor, period: int, factor: float) -> dict[int, float]:
    """Sum squared amplitudes by scale.

    Parameters
    ----------
    shares : Tensor, shape (P² − 1,)
        Signed squared amplitude of each line, in the order of `list_lines`.
    period : int
        P in pixels.
    factor : float
        What amplitudes are multiplied with.

    Returns
    -------
    dict of int to float
        Signed amplitude by the smallest period, the shortest first.
    """
    scales = [find_scale(i, j, period) for i, j in list_lines(period).tolist()]
    return {
        scale: factor * take_signed_root(sum(float(e) for e, s in zip(shares, scales, strict=True) if s == scale))
        for scale in sorted(set(scales))
    }


def take_signed_root(power: float) -> float:
    """Take the root of a number's size, with the number's sign.

    Parameters
    ----------
    power : float
        A squared amplitude less its floor.
    """
    return math.copysign(math.sqrt(abs(power)), power)
