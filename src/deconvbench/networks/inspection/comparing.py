"""Which site makes the ripple of a network: plain colours, real images, equal gains at one site at a time.

Runs the network; judges nothing.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from deconvbench.errors import UsageError
from deconvbench.measure.artifacts.spectrum import CheckerboardResult
from deconvbench.networks.inspection.attribution import Suspect, attribute_flat, attribute_real, has_part
from deconvbench.networks.inspection.hidden import Ending, HiddenRipple, read_hidden
from deconvbench.networks.inspection.inputs import OutputRange, make_flat_inputs
from deconvbench.networks.inspection.metering import Meter
from deconvbench.networks.inspection.periodic import PeriodicPart, average_parts
from deconvbench.networks.inspection.running import Runner
from deconvbench.networks.inspection.shrinking import Stage, crop_example
from deconvbench.networks.inspection.sites import TracedSite
from deconvbench.networks.inspection.views import Views, find_common_period, list_direct_periods
from deconvbench.records.audit import Attribution
from deconvbench.records.sites import SiteReport

# photographs whose outputs are compared with equal gains at each site; every one takes a run
_COMPARED = 1
# sites whose gains are made equal, those with the largest ripple; every one takes some runs
_MOST_CANDIDATES = 8
# of what does not repeat in plain colours over what does, above which they say nothing
_MOST_APERIODIC = 1.0
# and above which the network's own size is looked at instead of a smaller one
_MOST_APERIODIC_SMALL = 0.25
# ripple of a layer, over its output, that is rounding
_NEGLIGIBLE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A network, and what its first runs gave.

    Parameters
    ----------
    runner : Runner
        Runs it.
    own : Stage
        At its own size.
    small : Stage or None
        At a smaller one.
    example : Any
        Its arguments.
    output : int
        Which of its outputs is looked at.
    output_range : OutputRange
        For levels.
    normalises : bool
        Whether it has norms over the pixels of an image.
    ending : Ending or None
        The saturating activation that it ends in.
    """

    runner: Runner
    own: Stage
    small: Stage | None
    example: Any
    output: int
    output_range: OutputRange
    normalises: bool
    ending: Ending | None


@dataclass(slots=True)
class Ripple:
    """What was measured of a whole network's output.

    Parameters
    ----------
    flat : PeriodicPart or None
        In plain colours.
    strongest : PeriodicPart or None
        The same of the colour with most ripple.
    strongest_output : Tensor or None
        The output for that colour, in levels.
    is_two_tone : bool
        Whether each half had a colour of its own.
    is_finite : bool
        Whether all outputs for plain colours were.
    real : CheckerboardResult or None
        In outputs for images.
    attributions : list of Attribution
        Causes.
    hidden : HiddenRipple or None
        Before the last activation.
    missing : list of str
        What could not be measured, and why.
    """

    flat: PeriodicPart | None = None
    strongest: PeriodicPart | None = None
    strongest_output: Tensor | None = None
    is_two_tone: bool = False
    is_finite: bool = True
    real: CheckerboardResult | None = None
    attributions: list[Attribution] = field(default_factory=list)
    hidden: HiddenRipple | None = None
    missing: list[str] = field(default_factory=list)


def measure_ripple(
    scene: Scene, reports: list[SiteReport], colours: int, say: Callable[[str], None]
) -> tuple[Ripple, list[SiteReport]]:
    """Look at plain colours and images, with equal gains at one site at a time.

    Parameters
    ----------
    scene : Scene
        The network.
    reports : list of SiteReport
        Of its sites, with their periods.
    colours : int
        Plain colours to look at.
    say : callable
        Is given a line before each part.

    Returns
    -------
    ripple : Ripple
        Of the output.
    reports : list of SiteReport
        The same, with what each site has of it.
    """
    return _Comparison(scene, reports, say).measure(colours)


@dataclass(frozen=True, slots=True)
class _Flat:
    """Plain colours at one size."""

    stage: Stage
    meter: Meter
    tones: Sequence[PeriodicPart]

    def find_strongest(self) -> int:
        """Find the colour with most ripple; one is enough to compare sites."""
        return max(range(len(self.tones)), key=lambda number: self.tones[number].total)

    def measure_equal(self, numbers: Collection[int]) -> PeriodicPart | None:
        """Measure that colour with equal gains at some sites."""
        sites = [one for one in self.stage.traced if one.site.number in numbers]
        return self.meter.measure_equal(sites, self.find_strongest())


class _Comparison:
    def __init__(self, scene: Scene, reports: list[SiteReport], say: Callable[[str], None]) -> None:
        self._scene, self._reports, self._say = scene, reports, say
        self._found = Ripple(is_two_tone=scene.normalises)
        self._period = 0

    def measure(self, colours: int) -> tuple[Ripple, list[SiteReport]]:
        """Do it."""
        scene, found, reports = self._scene, self._found, self._reports
        periods = [report.period for report in reports]
        if not any(periods):
            found.missing.append("ripple of the output: no site has a period of whole pixels there")
            return found, reports
        self._period = find_common_period(periods)
        flat = self._measure_flat(colours)
        meter = self._open(scene.own, [])
        found.real = meter.score([meter.to_levels(one) for one in scene.own.maps])
        if found.real is None:
            found.missing.append(
                "the score of outputs for images: too small, or not two spatial axes"
                if all(bool(one.isfinite().all()) for one in scene.own.maps)
                else "the score of outputs for images: they are not finite"
            )
        return found, self._find_causes(flat)

    def _open(self, stage: Stage, flat: Sequence[Any]) -> Meter:
        views = Views(
            flat=flat,
            parts=2 if self._found.is_two_tone else 1,
            real=stage.real,
            output=self._scene.output,
            period=self._period,
        )
        return Meter(self._scene.runner, views, self._scene.output_range)

    def _measure_flat(self, colours: int) -> _Flat | None:
        """Look at plain colours, at the smaller size if that shows as much."""
        self._say("looking at plain colours")
        scene, found = self._scene, self._found
        made = make_flat_inputs(scene.example, colours, 2 if found.is_two_tone else 1)
        flat = None
        if made and scene.small is not None:
            cropped = [crop_example(one, scene.small.factor) for one in made]
            flat = self._measure_tones(scene.small, cropped, _MOST_APERIODIC_SMALL)
        flat = flat or self._measure_tones(scene.own, made, math.inf)
        sides = "×".join(map(str, scene.own.maps[0].shape[2:]))
        if flat is None:
            found.missing.append(
                "plain colours: the output for them is not finite"
                if not found.is_finite
                else f"plain colours: an output of {sides} pixels has too few periods of {self._period}"
                if made
                else "plain colours: no input is a map of more than one pixel"
            )
            return None
        mean = average_parts(flat.tones)
        if mean.periodicity_error > _MOST_APERIODIC:
            found.missing.append(
                f"plain colours: the middle of an output of {sides} pixels does not repeat, for borders reach into"
                f" it (what does not is {mean.periodicity_error:.2g} times what does); a larger example is needed"
            )
            return None
        number = flat.find_strongest()
        found.flat, found.strongest, found.strongest_output = mean, flat.tones[number], flat.meter.outputs[number]
        if scene.ending is not None:
            unit = scene.output_range.levels_per_unit
            found.hidden = read_hidden(flat.meter.befores, scene.ending, flat.meter.views, unit)
        return flat

    def _measure_tones(self, stage: Stage, made: Sequence[Any], most_aperiodic: float) -> _Flat | None:
        meter, ending = self._open(stage, made), self._scene.ending
        try:
            tones = meter.measure_flat(None if ending is None else ending.number, most_aperiodic)
        except UsageError:
            # a smaller size may be refused in a way of its own
            if stage is self._scene.own:
                raise
            return None
        self._found.is_finite = meter.is_finite
        return _Flat(stage, meter, tones) if tones else None

    def _find_causes(self, flat: _Flat | None) -> list[SiteReport]:
        found, scene = self._found, self._scene
        shape = scene.own.maps[0].shape
        suspects = {
            one.site.number: Suspect(
                number=one.site.number, path=one.site.path, periods=list_direct_periods(one.site, shape)
            )
            for one in self._choose_candidates()
        }
        without: dict[int, PeriodicPart | None] = {}
        changes: dict[int, CheckerboardResult | None] = {}
        stage = scene.small or scene.own
        meter = self._open(stage, [])
        images = [meter.to_levels(one) for one in stage.maps]
        for one in stage.traced:
            number = one.site.number
            if number not in suspects:
                continue
            self._say(f"equal gains at {one.site.name}")
            if flat is not None and found.flat is not None and found.flat.total > 0:
                without[number] = flat.measure_equal([number])
            if found.real is not None:
                equal = meter.run_real([one], stage.norms[:_COMPARED])
                pairs = zip(images, equal, strict=False)
                differences = [image - other for image, other in pairs if image.shape == other.shape]
                changes[number] = meter.score(differences)
        if flat is not None and found.flat is not None and found.strongest is not None:
            alone = self._measure_alone(flat, found.flat, without)
            found.attributions = attribute_flat(found.flat, found.strongest, without, alone, suspects)
        elif found.real is not None:
            found.attributions = attribute_real(found.real, changes, suspects)
        return [
            replace(
                report,
                flat_levels=_find_flat_levels(report, found.strongest, without.get(report.site.number)),
                real_levels=None if (change := changes.get(report.site.number)) is None else change.amplitude,
            )
            for report in self._reports
        ]

    def _measure_alone(
        self, flat: _Flat, mean: PeriodicPart, without: Mapping[int, PeriodicPart | None]
    ) -> dict[int, PeriodicPart | None]:
        """Measure what is left with equal gains at all sites but one, for those that have a part in a ripple."""
        strongest = flat.tones[flat.find_strongest()]
        kept = [number for number, part in without.items() if has_part(mean, strongest, part)]
        if len(kept) < 2:
            return {}
        if len(kept) == 2:
            # what one alone makes is what there is without the other
            return {number: without[other] for number, other in zip(kept, reversed(kept), strict=True)}
        self._say("equal gains at all sites but one")
        return {number: flat.measure_equal(without.keys() - {number}) for number in kept}

    def _choose_candidates(self) -> list[TracedSite]:
        """Choose the sites whose gains can differ, those with the largest ripple."""
        ripples = {
            report.site.number: math.inf if report.relative_ripple is None else report.relative_ripple
            for report in self._reports
            if report.period is not None and report.gains_from != "construction"
        }
        ranked = sorted(ripples, key=ripples.__getitem__, reverse=True)
        kept = {number for number in ranked[:_MOST_CANDIDATES] if ripples[number] > _NEGLIGIBLE}
        left = [number for number in ranked[_MOST_CANDIDATES:] if ripples[number] > _NEGLIGIBLE]
        if left:
            self._found.missing.append(
                f"equal gains at {len(left)} sites with less ripple than {_MOST_CANDIDATES} others"
            )
        return [one for one in self._scene.own.traced if one.site.number in kept]


def _find_flat_levels(report: SiteReport, before: PeriodicPart | None, after: PeriodicPart | None) -> float | None:
    """Levels that plain colours lose with equal gains at a site."""
    if before is None or (after is None and report.gains_from != "construction"):
        return None
    return 0.0 if after is None else _take_root(before.total - after.total)


def _take_root(power: float) -> float:
    return math.copysign(math.sqrt(abs(power)), power)
