"""A smaller look at a network: the middle of its maps, where it takes them and upsamples there as at its own size.

Comparing sites takes many runs; where a quarter of the pixels shows the same, each takes a quarter of the time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

from deconvbench.errors import UsageError
from deconvbench.networks.inspection.inputs import is_map
from deconvbench.networks.inspection.norms import Statistics
from deconvbench.networks.inspection.running import Runner
from deconvbench.networks.inspection.sites import TracedSite, collect_sites
from deconvbench.networks.inspection.views import find_period, pick

# side of an output that shows enough, in pixels and in periods; scores of images need as much
_LEAST_SIDE, _LEAST_PERIODS = 128, 8
_LARGEST_FACTOR = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A network at one size, and what it gave for images there.

    Parameters
    ----------
    factor : int
        Its own size over this one.
    traced : sequence of TracedSite
        Its sites.
    real : sequence
        Examples with images.
    norms : sequence of Statistics
        Of the norms in their runs.
    maps : sequence of Tensor
        Outputs for them.
    """

    factor: int
    traced: Sequence[TracedSite]
    real: Sequence[Any]
    norms: Sequence[Statistics]
    maps: Sequence[Tensor]


def shrink(runner: Runner, own: Stage, output: int, period: int) -> Stage | None:
    """Look at a network at a smaller size.

    Parameters
    ----------
    runner : Runner
        Runs it, once.
    own : Stage
        At its own size.
    output : int
        Which of its outputs is looked at.
    period : int
        Common period of its sites.

    Returns
    -------
    Stage or None
        Of the middle of the first image. None where a smaller output would show too little, the network does not
        take it, or does not upsample there in the same places.
    """
    sides = own.maps[0].shape[2:]
    factor = choose_factor(sides, period)
    cropped = crop_example(own.real[0], factor) if factor > 1 else None
    if cropped is None:
        return None
    tracer, recorder = runner.trace(), runner.record()
    try:
        image = pick(runner.run(cropped, tracer, recorder), output)
    except UsageError:
        return None
    if [factor * side for side in image.shape[2:]] != list(sides):
        return None
    traced = collect_sites(tracer.upsamplings)
    if _describe(traced, image) != _describe(own.traced, own.maps[0]):
        return None
    return Stage(factor=factor, traced=traced, real=[cropped], norms=[recorder.statistics], maps=[image])


def choose_factor(sides: Sequence[int], period: int) -> int:
    """Choose by how much smaller an output still shows its ripple: 1, 2 or 4."""
    least, factor = max(_LEAST_SIDE, _LEAST_PERIODS * period), _LARGEST_FACTOR
    while factor > 1 and (min(sides) < least * factor or any(side % factor for side in sides)):
        factor //= 2
    return factor


def crop_example(example: Any, factor: int) -> Any | None:
    """Cut the middle out of every map of an example; None if it has none, or one whose sides cannot be divided."""
    maps = [value for value in pytree.tree_leaves(example) if is_map(value)]
    if not maps or any(side % factor for value in maps for side in value.shape[2:]):
        return None

    def crop(value: Any) -> Any:
        if not is_map(value):
            return value
        for axis in range(2, value.ndim):
            side = value.shape[axis] // factor
            value = value.narrow(axis, (value.shape[axis] - side) // 2, side)
        return value

    return pytree.tree_map(crop, example)


def _describe(traced: Sequence[TracedSite], image: Tensor) -> list[tuple[Any, ...]]:
    return [
        (one.upsampling.place, one.site.kind, one.site.scale, find_period(one.site, image.shape)) for one in traced
    ]
