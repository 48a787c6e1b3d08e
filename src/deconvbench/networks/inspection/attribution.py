"""Which site causes the ripple in a network's output: equal phase gains at one site at a time, and another look.

Plain colours show it without any content; in outputs for real images it is the difference that counts, from which
content cancels.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from deconvbench.errors import UsageError
from deconvbench.measure.artifacts.spectrum import CheckerboardResult, checkerboard
from deconvbench.networks.inspection.inputs import OutputRange
from deconvbench.networks.inspection.norms import Statistics
from deconvbench.networks.inspection.periodic import PeriodicPart, read_periodic
from deconvbench.networks.inspection.running import Runner
from deconvbench.networks.inspection.sites import TracedSite
from deconvbench.networks.inspection.tracing import Watcher
from deconvbench.records.audit import Attribution
from deconvbench.records.sites import Site

# largest period that is looked for, in output pixels
LARGEST_PERIOD = 64
# amplitude in levels from which a cause is looked for, and how much of the power it must have
LEAST_LEVELS = 0.05
_LEAST_SHARE = 0.25
# share of a side that a network may take off its map on the way
_CROPPED = 0.2
# of what chance would make of it
_SIGNIFICANT = 4.0


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


class Meter:
    """Measures a network's ripple, with or without equal gains at some of its sites.

    Parameters
    ----------
    runner : Runner
        Runs it.
    views : Views
        What it is shown.
    output_range : OutputRange
        For levels.
    """

    def __init__(self, runner: Runner, views: Views, output_range: OutputRange) -> None:
        self._runner = runner
        self._views = views
        self._unit = output_range.levels_per_unit
        self._norms: list[Statistics] = []

    def measure_flat(self) -> list[PeriodicPart]:
        """Measure each plain colour, in levels; none where the output is too small or not finite."""
        recorders = [self._runner.record() for _ in self._views.flat]
        pairs = zip(self._views.flat, recorders, strict=True)
        found = [self._measure_colour(example, recorder) for example, recorder in pairs]
        self._norms = [recorder.statistics for recorder in recorders]
        parts = [part for part in found if part is not None]
        return parts if len(parts) == len(found) else []

    def measure_equal(self, sites: Sequence[TracedSite], colour: int) -> PeriodicPart | None:
        """Measure one plain colour with equal gains at some sites, and norms as they were without."""
        replayer = self._runner.replay(self._norms[colour])
        return self._measure_colour(self._views.flat[colour], replayer, self._runner.equalise(sites))

    def _measure_colour(self, example: Any, *watchers: Watcher) -> PeriodicPart | None:
        y = self.to_levels(pick(self._runner.run(example, *watchers), self._views.output))
        if not bool(y.isfinite().all()):
            return None
        return read_periodic(y, self._views.period, y.ndim - 2, self._views.parts)

    def to_levels(self, output: Tensor) -> Tensor:
        """Convert an output to levels, float64, on the CPU."""
        return self._unit * output.double().cpu()

    def run_real(self, sites: Sequence[TracedSite], norms: Sequence[Statistics]) -> list[Tensor]:
        """Run the first few images with equal gains at some sites and norms as they were without, in levels."""
        shown = [
            self._runner.run(example, self._runner.replay(statistics), self._runner.equalise(sites))
            for example, statistics in zip(self._views.real, norms, strict=False)
        ]
        return [self.to_levels(pick(one, self._views.output)) for one in shown]

    def score(self, images: Sequence[Tensor]) -> CheckerboardResult | None:
        """Score images as large as the first, at the largest period that they have room for; None if for none."""
        period = self._views.period
        if not images or images[0].ndim != 4 or not all(bool(image.isfinite().all()) for image in images):
            return None
        for part in (period // one for one in range(1, period // 2 + 1) if period % one == 0):
            try:
                return checkerboard(torch.cat([one for one in images if one.shape == images[0].shape]), part)
            except UsageError:  # too large a period, or too small an image
                continue
        return None


def is_significant(part: PeriodicPart, period: int) -> bool:
    """Whether the ripple of one period is more than chance."""
    return part.power[period] > _SIGNIFICANT * part.scatter and part.power[period] > LEAST_LEVELS**2


def attribute_flat(
    before: PeriodicPart,
    colour: PeriodicPart,
    after: Mapping[int, PeriodicPart | None],
    paths: Mapping[int, str],
) -> list[Attribution]:
    """Find the cause of each period in plain colours.

    Parameters
    ----------
    before : PeriodicPart
        Of the network as it is, over all colours.
    colour : PeriodicPart
        The same of the one colour that `after` is of.
    after : mapping of int to PeriodicPart or None
        With equal gains at one site, by its number.
    paths : mapping of int to str
        Of all sites.

    Returns
    -------
    list of Attribution
        By period; of those with a ripple that is more than chance.
    """
    found = []
    for period, power in before.power.items():
        if not is_significant(before, period):
            continue
        own = colour.power[period]
        removed = {
            number: 1 - part.power[period] / own for number, part in after.items() if part is not None and own > 0
        }
        found.append(_name_cause(period, math.sqrt(power), removed, paths, is_flat=True))
    return found


def attribute_alone(
    attributions: Sequence[Attribution], alone: Mapping[int, PeriodicPart | None], paths: Mapping[int, str]
) -> list[Attribution]:
    """Find the cause where no site removes a ripple by itself, as ripples of several sites cancel in part.

    Parameters
    ----------
    attributions : sequence of Attribution
        In plain colours.
    alone : mapping of int to PeriodicPart or None
        With equal gains at all other sites, by the number of the one that is left.
    paths : mapping of int to str
        Of all sites.

    Returns
    -------
    list of Attribution
        The same, with a cause more.
    """
    found = []
    for attribution in attributions:
        powers = {number: part.power[attribution.period] for number, part in alone.items() if part is not None}
        best = max(powers, key=powers.__getitem__, default=None)
        if attribution.site is None and best is not None:
            levels = math.sqrt(powers[best])
            if levels**2 >= _LEAST_SHARE * attribution.levels**2:
                attribution = replace(  # noqa: PLW2901 -- the same, with a cause
                    attribution, site=best, path=paths[best], removed_share=math.nan, alone_levels=levels
                )
        found.append(attribution)
    return found


def attribute_real(
    before: CheckerboardResult, differences: Mapping[int, CheckerboardResult | None], paths: Mapping[int, str]
) -> list[Attribution]:
    """Find the cause of each period in outputs for real images, where plain colours cannot be used.

    Parameters
    ----------
    before : CheckerboardResult
        Of the outputs.
    differences : mapping of int to CheckerboardResult or None
        What equal gains at one site change in them, by its number.
    paths : mapping of int to str
        Of all sites.

    Returns
    -------
    list of Attribution
        Of the periods that some site changes.
    """
    found = []
    for period, amplitude in before.by_scale.items():
        changes = {
            number: change.by_scale.get(period, 0.0)
            for number, change in differences.items()
            if change is not None
        }
        if max(changes.values(), default=0.0) < LEAST_LEVELS:
            continue
        # of what they change together: content has a part in the amplitude
        total = sum(max(change, 0.0) ** 2 for change in changes.values())
        shares = {number: max(change, 0.0) ** 2 / total for number, change in changes.items()}
        found.append(_name_cause(period, max(amplitude, *changes.values()), shares, paths, is_flat=False))
    return found


def _name_cause(
    period: int, levels: float, removed: Mapping[int, float], paths: Mapping[int, str], *, is_flat: bool
) -> Attribution:
    best = max(removed, key=removed.__getitem__, default=None)
    if best is None or removed[best] < _LEAST_SHARE:
        return Attribution(period=period, levels=levels, site=None, path="", removed_share=0.0, is_flat=is_flat)
    return Attribution(
        period=period,
        levels=levels,
        site=best,
        path=paths[best],
        removed_share=removed[best],
        is_flat=is_flat,
    )
