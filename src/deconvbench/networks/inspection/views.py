"""What a network is looked at through: inputs, the output that counts, the periods that its sites make there."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from deconvbench.errors import UsageError
from deconvbench.records.sites import Site

# largest period that is looked for, in output pixels
LARGEST_PERIOD = 64
# share of a side that a network may take off its map on the way
_CROPPED = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """What a network is looked at through.

    Parameters
    ----------
    flat : sequence
        Examples with plain colours; none where it has no maps.
    parts : int
        Colours side by side.
    real : sequence
        Examples with images.
    output : int
        Which of the network's outputs.
    period : int
        P in output pixels.
    """

    flat: Sequence[Any]
    parts: int
    real: Sequence[Any]
    output: int
    period: int


def find_period(site: Site, out_shape: Sequence[int]) -> int | None:
    """Period of a site's ripple in pixels of the network's output; None where that is not a whole number."""
    own = site.out_shape[1:-1] if site.is_channels_last else site.out_shape[2:]
    if not len(own) == len(out_shape) - 2 == site.dims:
        return None
    periods = [0.0]
    for scale, side, whole in zip(site.scale, own, out_shape[2:], strict=True):
        ratio = round(whole / side)
        # convolutions without padding and crops take a little off
        if ratio < 1 or abs(whole / side - ratio) > _CROPPED * ratio:
            return None
        periods.append(scale * ratio)
    largest = max(periods)
    return int(largest) if largest == int(largest) and largest > 1 else None


def list_direct_periods(site: Site, out_shape: Sequence[int]) -> frozenset[int]:
    """List the smallest periods of what unequal gains at a site add to the output, without any harmonics.

    A constant becomes waves of i/s cycles per pixel there, and an upsampling by r after it makes (i/s + m)/r of
    them. Other periods come from a site only through what is not linear after it (a ReLU).

    Parameters
    ----------
    site : Site
        The site.
    out_shape : sequence of int
        Of the network's output.

    Returns
    -------
    frozenset of int
        Empty where its ripple has no period of whole pixels.
    """
    period = find_period(site, out_shape)
    if period is None:
        return frozenset()
    own = site.out_shape[1:-1] if site.is_channels_last else site.out_shape[2:]
    periods = {1}
    for scale, side, whole in zip(site.scale, own, out_shape[2:], strict=True):
        if scale != int(scale):
            return frozenset({period})
        whole_scale, ratio = int(scale), round(whole / side)
        along = {
            whole_scale * ratio // math.gcd(index + whole_scale * image, whole_scale * ratio)
            for index in range(1, whole_scale)
            for image in range(ratio)
        }
        periods |= {math.lcm(one, other) for one in periods for other in along}
    return frozenset(periods - {1})


def find_common_period(periods: Sequence[int | None]) -> int:
    """Find the period in which every other one fits; the largest one where it would be too large."""
    known = [period for period in periods if period is not None and period <= LARGEST_PERIOD]
    common = math.lcm(*known)
    return common if common <= LARGEST_PERIOD else max(known)


def choose_output(outputs: Sequence[Tensor]) -> int | None:
    """Choose the output with the most pixels among those with channels and spatial axes; None if there is none."""
    maps = [
        (tensor.shape[2:].numel(), -number)
        for number, tensor in enumerate(outputs)
        if tensor.is_floating_point() and 3 <= tensor.ndim <= 5
    ]
    return -max(maps)[1] if maps else None


def pick(outputs: Sequence[Tensor], number: int) -> Tensor:
    """Pick one of a model's outputs, whose number may depend on what it is shown."""
    if number >= len(outputs):
        raise UsageError(
            f"model: returned {len(outputs)} tensors for one input, and more than {number} for another"
        )
    return outputs[number]
