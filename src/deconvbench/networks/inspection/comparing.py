"""Which site makes the ripple of a network: plain colours, real images, equal gains at one site at a time.

Runs the network; judges nothing.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from deconvbench.measure.artifacts.spectrum import CheckerboardResult
from deconvbench.networks.inspection.attribution import attribute_alone, attribute_flat, attribute_real
from deconvbench.networks.inspection.hidden import HiddenRipple, may_hide, measure_hidden
from deconvbench.networks.inspection.inputs import OutputRange, make_flat_inputs
from deconvbench.networks.inspection.metering import Meter
from deconvbench.networks.inspection.norms import Statistics
from deconvbench.networks.inspection.periodic import PeriodicPart, average_parts
from deconvbench.networks.inspection.running import Runner
from deconvbench.networks.inspection.sites import TracedSite
from deconvbench.networks.inspection.tracing import NORMS, Tracer
from deconvbench.networks.inspection.views import Views, find_common_period
from deconvbench.records.audit import Attribution
from deconvbench.records.sites import SiteReport

# photographs whose outputs are compared with equal gains at each site; every one takes a run
_COMPARED = 1
# sites whose gains are made equal, those with the largest ripple; every one takes some runs
_MOST_CANDIDATES = 8
# of what does not repeat in plain colours over what does, above which they say nothing
_MOST_APERIODIC = 1.0
# ripple of a layer, over its output, that is rounding
_NEGLIGIBLE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A network, and what its first runs gave.

    Parameters
    ----------
    runner : Runner
        Runs it.
    tracer : Tracer
        Has seen its calls.
    traced : sequence of TracedSite
        Its sites.
    example : Any
        Its arguments.
    real : sequence
        Examples with images.
    norms : sequence of Statistics
        Of the norms in their runs.
    output : int
        Which of its outputs is looked at.
    maps : sequence of Tensor
        That output for the images.
    output_range : OutputRange
        For levels.
    """

    runner: Runner
    tracer: Tracer
    traced: Sequence[TracedSite]
    example: Any
    real: Sequence[Any]
    norms: Sequence[Statistics]
    output: int
    maps: Sequence[Tensor]
    output_range: OutputRange


@dataclass(slots=True)
class Ripple:
    """What was measured of a whole network's output.

    Parameters
    ----------
    flat : PeriodicPart or None
        In plain colours.
    is_two_tone : bool
        Whether each half had a colour of its own.
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
    is_two_tone: bool = False
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


class _Comparison:
    def __init__(self, scene: Scene, reports: list[SiteReport], say: Callable[[str], None]) -> None:
        self._scene, self._reports, self._say = scene, reports, say
        self._found = Ripple(is_two_tone=bool(scene.tracer.functions & NORMS))

    def measure(self, colours: int) -> tuple[Ripple, list[SiteReport]]:
        """Do it."""
        scene, found, reports = self._scene, self._found, self._reports
        periods = [report.period for report in reports]
        if not any(periods):
            found.missing.append("ripple of the output: no site has a period of whole pixels there")
            return found, reports
        parts = 2 if found.is_two_tone else 1
        views = Views(
            flat=make_flat_inputs(scene.example, colours, parts),
            parts=parts,
            real=scene.real,
            output=scene.output,
            period=find_common_period(periods),
        )
        meter = Meter(scene.runner, views, scene.output_range)
        tones = self._measure_flat(meter, views)
        if found.flat is not None and may_hide(scene.tracer.ends):
            found.hidden = measure_hidden(scene.runner, views, scene.output_range.levels_per_unit)
        images = [meter.to_levels(one) for one in scene.maps]
        found.real = meter.score(images)
        if found.real is None:
            found.missing.append("the score of outputs for images: too small, or not two spatial axes")
        return found, self._find_causes(meter, tones, images)

    def _measure_flat(self, meter: Meter, views: Views) -> list[PeriodicPart]:
        self._say("looking at plain colours")
        tones, found = meter.measure_flat(), self._found
        found.flat = average_parts(tones) if tones else None
        sides = "×".join(map(str, self._scene.maps[0].shape[2:]))
        if found.flat is None:
            found.missing.append(
                f"plain colours: an output of {sides} pixels has too few periods of {views.period}"
                if views.flat
                else "plain colours: no input is a map of more than one pixel"
            )
        elif found.flat.periodicity_error > _MOST_APERIODIC:
            found.missing.append(
                f"plain colours: the middle of an output of {sides} pixels does not repeat, for borders reach into"
                f" it (what does not is {found.flat.periodicity_error:.2g} times what does); a larger example is"
                " needed"
            )
            found.flat = None
        return tones

    def _find_causes(
        self, meter: Meter, tones: Sequence[PeriodicPart], images: Sequence[Tensor]
    ) -> list[SiteReport]:
        found, reports = self._found, self._reports
        # one colour is enough to compare sites
        strongest = max(range(len(tones)), key=lambda number: tones[number].total, default=0)
        candidates = self._choose_candidates()
        after: dict[int, PeriodicPart | None] = {}
        changes: dict[int, CheckerboardResult | None] = {}
        for one in candidates:
            self._say(f"equal gains at {one.site.name}")
            if found.flat is not None and found.flat.total > 0:
                after[one.site.number] = meter.measure_equal([one], strongest)
            if found.real is not None:
                equal = meter.run_real([one], self._scene.norms[:_COMPARED])
                pairs = zip(images, equal, strict=False)
                differences = [image - other for image, other in pairs if image.shape == other.shape]
                changes[one.site.number] = meter.score(differences)
        paths = {report.site.number: report.site.path for report in reports}
        if found.flat is not None:
            found.attributions = attribute_flat(found.flat, tones[strongest], after, paths)
        if len(candidates) > 1 and any(one.site is None for one in found.attributions):
            self._say("equal gains at all sites but one")
            alone = {
                one.site.number: meter.measure_equal(
                    [other for other in candidates if other is not one], strongest
                )
                for one in candidates
            }
            found.attributions = attribute_alone(found.attributions, alone, paths)
        if found.flat is None and found.real is not None:
            found.attributions = attribute_real(found.real, changes, paths)
        return [
            replace(
                report,
                flat_levels=_find_flat_levels(
                    report, None if found.flat is None else tones[strongest], after.get(report.site.number)
                ),
                real_levels=None if (change := changes.get(report.site.number)) is None else change.amplitude,
            )
            for report in reports
        ]

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
        return [one for one in self._scene.traced if one.site.number in kept]


def _find_flat_levels(report: SiteReport, before: PeriodicPart | None, after: PeriodicPart | None) -> float | None:
    """Levels that plain colours lose with equal gains at a site."""
    if before is None or (after is None and report.gains_from != "construction"):
        return None
    return 0.0 if after is None else _take_root(before.total - after.total)


def _take_root(power: float) -> float:
    return math.copysign(math.sqrt(abs(power)), power)
