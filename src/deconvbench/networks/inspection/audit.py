"""The audit of a network: where it upsamples, whether it draws checkerboards, which site causes them, what to do.

The one function here reads from top to bottom as what is done. The model is left as it was (see
`fusion.snapshot`), and no weight of it is written to meanwhile.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from deconvbench.arguments import check_kind, check_whole
from deconvbench.errors import UsageError, describe_failure
from deconvbench.measure.artifacts.spectrum import CheckerboardResult
from deconvbench.networks.frames import FrameStack
from deconvbench.networks.fusion.observation import keep_state, observe, split_input
from deconvbench.networks.inspection.attribution import (
    Meter,
    Views,
    attribute_alone,
    attribute_flat,
    attribute_real,
    choose_output,
    find_common_period,
    find_period,
    pick,
)
from deconvbench.networks.inspection.description import describe_site
from deconvbench.networks.inspection.findings import list_findings
from deconvbench.networks.inspection.hidden import HiddenRipple, may_hide, measure_hidden
from deconvbench.networks.inspection.inputs import check_range, guess_range, make_flat_inputs, make_photographs
from deconvbench.networks.inspection.judgement import judge
from deconvbench.networks.inspection.norms import Statistics
from deconvbench.networks.inspection.periodic import PeriodicPart, average_parts
from deconvbench.networks.inspection.preparation import list_unseen, name_dtype, run_eagerly, to_single, widen
from deconvbench.networks.inspection.running import Runner
from deconvbench.networks.inspection.sites import TracedSite, collect_sites
from deconvbench.networks.inspection.timing import choose_synchronise, measure_fuse_speedup, take_shares
from deconvbench.networks.inspection.tracing import NORMS, Tracer
from deconvbench.records import sites as kinds
from deconvbench.records.audit import Attribution, Audit
from deconvbench.records.sites import SiteReport

# photographs whose outputs are compared with equal gains at each site; every one takes a run
_COMPARED = 1
# sites whose gains are made equal, those with the largest ripple; every one takes some runs
_MOST_CANDIDATES = 8
# of what does not repeat in plain colours over what does, above which they say nothing
_MOST_APERIODIC = 1.0
# ripple of a layer, over its output, that is rounding
_NEGLIGIBLE = 1e-6


def audit(
    model: nn.Module,
    example_input: Any,
    *,
    images: Sequence[Any] | None = None,
    output_range: tuple[float, float] | None = None,
    colours: int = 3,
    photographs: int = 2,
    measure_fuse: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Audit:
    """Find where a network upsamples, whether it draws checkerboards, and which site causes them.

    Every upsampling is found as it is executed: modules, functions (``interpolate``, ``pixel_shuffle``,
    ``conv_transpose*d``, ``repeat_interleave``) and values that are moved by reshaping (einops), in 1-D, 2-D and
    3-D, in any control flow. Then plain colours and photographs are looked at, as the network is and with the
    phase gains of one site at a time made equal: the site that removes most of a ripple causes it.

    Parameters
    ----------
    model : nn.Module
        Any network, in any mode; it is run in evaluation mode and left as it was: weights, buffers, modes,
        gradients, random states.
    example_input : Tensor, tuple, list or dict
        Its arguments, in a dict by name; of the shape and in the range that the network is meant for.
    images : sequence, optional
        Real inputs, each like the example. Without: photographs in scikit-image's wheel, brought to the example's
        shape and range, in the place of arguments of shape (N, 1 or 3, H, W); the example itself if there are
        none such.
    output_range : (float, float), optional
        Black and white in the output, for levels. Without: a usual range, guessed from outputs.
    colours : int
        Plain colours that are looked at.
    photographs : int
        How many, at most 3.
    measure_fuse : bool
        Time what `deconvbench.fuse` would gain, where it can do something.
    progress : callable, optional
        Is given a line before each part.

    Returns
    -------
    Audit
        `judgement` is ``checkerboards`` from one level on in plain colours, or in images from one site;
        ``at risk`` from a quarter of a level on, or with a finding that is a risk; ``clean`` otherwise.

    Raises
    ------
    UsageError
        If an argument is not allowed, or the model raises; in one line.

    Notes
    -----
    Not seen: what TorchScript does, zeros that are put between pixels by indexing, ``grid_sample``; `not_covered`
    names what was met. Half precision is measured in single where the model can be copied and converted. The
    ranges of input and output are guesses where they are not given.
    """
    check_kind("model", model, nn.Module, "a module")
    colours, photographs = check_whole("colours", colours, 1), check_whole("photographs", photographs, 1, 3)
    split_input(example_input)
    given_range = None if output_range is None else check_range(output_range)
    say = progress or _say_nothing
    with keep_state(model), run_eagerly():
        return _Auditor(model, example_input, say).audit(
            images, given_range, colours, photographs, measure_fuse=measure_fuse
        )


@dataclass(slots=True)
class _Measured:
    """What was measured of a whole network."""

    flat: PeriodicPart | None
    is_two_tone: bool
    real: CheckerboardResult | None
    attributions: list[Attribution]
    hidden: HiddenRipple | None = None


class _Auditor:
    """One audit of one model, whose state somebody else keeps."""

    def __init__(self, model: nn.Module, example: Any, say: Callable[[str], None]) -> None:
        self._original, self._own_example = model, example
        self._say = say
        self._missing: list[str] = list_unseen(model)
        self._model, self._example, problem = widen(model, example)
        self._missing += [problem] if problem else []

    def audit(
        self,
        images: Sequence[Any] | None,
        given_range: Any,
        colours: int,
        photographs: int,
        *,
        measure_fuse: bool,
    ) -> Audit:
        """Do it."""
        self._say("finding the upsampling sites")
        own_stack = FrameStack()
        watches = []
        with own_stack.follow(self._original):
            own_runner = Runner(self._original, own_stack)
            own_tracer, synchronise = own_runner.trace(), choose_synchronise(self._original)
            watches.append(own_runner.time(synchronise))
            outputs = own_runner.run(self._own_example, watches[0], own_tracer)
            own_sites = collect_sites(own_tracer.upsamplings)
        stack = FrameStack()
        with stack.follow(self._model):
            runner, tracer, traced = Runner(self._model, stack), own_tracer, own_sites
            if self._is_widened:
                tracer = runner.trace()
                runner.run(self._example, tracer)
                traced = collect_sites(tracer.upsamplings)
            if len(traced) != len(own_sites):
                raise UsageError("model: upsamples elsewhere in single precision than in its own")
            real, inputs = self._choose_real(images, photographs)
            self._say("running images")
            collector, shown, norms = runner.collect(traced), [], []
            for example in real:
                watch, recorder = runner.time(synchronise), runner.record()
                shown.append(runner.run(example, watch, collector, recorder))
                norms.append(recorder.statistics)
                watches += [] if self._is_widened else [watch]
            reports = []
            for own, one in zip(own_sites, traced, strict=True):
                time_share, memory_share = take_shares(watches, own)
                report = describe_site(own.site, one, collector)
                dtype = name_dtype(self._original)
                reports.append(
                    replace(report, time_share=time_share, memory_share=memory_share, network_dtype=dtype)
                )
            self._missing += [
                f"{one.site.name}: phase gains, since no layer right before it decides about them"
                for one in reports
                if not one.gains_from
            ]
            number = choose_output(outputs)
            maps = [] if number is None else [pick(one, number) for one in shown]
            others = sum(one.shape != maps[0].shape for one in maps)
            if others:
                self._missing.append(
                    f"{others} of {len(maps)} images, whose outputs are not as large as the first's"
                )
            chosen = given_range or guess_range(maps)
            measured = _Measured(None, False, None, [])
            if number is None:
                self._missing.append("the output: no tensor of shape (N, C, ...) with spatial axes")
            elif reports:
                reports = [replace(one, period=find_period(one.site, outputs[number].shape)) for one in reports]
                measured, reports = self._measure(
                    runner, tracer, traced, reports, maps, number, real, norms, chosen, colours
                )
        reports = self._find_fusible(reports, measure_fuse=measure_fuse)
        findings = list_findings(reports)
        flat, hidden = measured.flat, measured.hidden
        return Audit(
            judgement=judge(
                reports,
                findings,
                measured.attributions,
                measured.real,
                tuple(hidden.levels.values() if hidden else ()),
            ),
            sites=tuple(reports),
            findings=tuple(findings),
            flat_field={} if flat is None else {key: math.sqrt(power) for key, power in flat.power.items()},
            flat_noise_levels=math.nan if flat is None else math.sqrt(flat.scatter),
            periodicity_error=math.nan if flat is None else flat.periodicity_error,
            is_two_tone=measured.is_two_tone,
            hidden={} if hidden is None else hidden.levels,
            last_activation="" if hidden is None else hidden.activation,
            real={} if measured.real is None else dict(measured.real.by_scale),
            real_detection_level=math.nan if measured.real is None else measured.real.detection_level,
            attributions=tuple(measured.attributions),
            output_range=(chosen.low, chosen.high),
            is_range_guessed=chosen.is_guessed,
            inputs=inputs,
            not_covered=tuple(dict.fromkeys(self._missing)),
        )

    def _choose_real(self, images: Sequence[Any] | None, photographs: int) -> tuple[list[Any], str]:
        if images is not None:
            if isinstance(images, Tensor | str):
                raise UsageError(
                    f"images: is a {type(images).__name__}; a list of inputs is needed, each as example_input"
                )
            if not images:
                raise UsageError("images: is empty; give at least one, or None for photographs")
            return [pytree.tree_map(to_single, image) if self._is_widened else image for image in images], "images"
        made = make_photographs(self._example, photographs)
        return (made, "photographs") if made else ([self._example], "the example")

    @property
    def _is_widened(self) -> bool:
        return self._model is not self._original

    def _measure(
        self,
        runner: Runner,
        tracer: Tracer,
        traced: Sequence[TracedSite],
        reports: list[SiteReport],
        maps: Sequence[Tensor],
        number: int,
        real: Sequence[Any],
        norms: Sequence[Statistics],
        chosen: Any,
        colours: int,
    ) -> tuple[_Measured, list[SiteReport]]:
        """Look at plain colours and images, with equal gains at one site at a time."""
        periods, normalises = [report.period for report in reports], bool(tracer.functions & NORMS)
        if not any(periods):
            self._missing.append("ripple of the output: no site has a period of whole pixels there")
            return _Measured(None, normalises, None, []), reports
        parts = 2 if normalises else 1
        views = Views(
            flat=make_flat_inputs(self._example, colours, parts),
            parts=parts,
            real=real,
            output=number,
            period=find_common_period(periods),
        )
        meter = Meter(runner, views, chosen)
        self._say("looking at plain colours")
        tones = meter.measure_flat()
        flat = average_parts(tones) if tones else None
        sides = "×".join(map(str, maps[0].shape[2:]))
        if flat is None:
            self._missing.append(
                f"plain colours: an output of {sides} pixels has too few periods of {views.period}"
                if views.flat
                else "plain colours: no input is a map of more than one pixel"
            )
        elif flat.periodicity_error > _MOST_APERIODIC:
            self._missing.append(
                f"plain colours: the middle of an output of {sides} pixels does not repeat, for borders reach into"
                f" it (what does not is {flat.periodicity_error:.2g} times what does); a larger example is needed"
            )
            flat = None
        hidden = None
        if flat is not None and may_hide(tracer.ends):
            hidden = measure_hidden(runner, views, chosen.levels_per_unit)
        images = [meter.to_levels(one) for one in maps]
        score = meter.score(images)
        if score is None:
            self._missing.append("the score of outputs for images: too small, or not two spatial axes")
        # one colour is enough to compare sites
        strongest = max(range(len(tones)), key=lambda number: tones[number].total, default=0)
        candidates = self._choose_candidates(traced, reports)
        after: dict[int, PeriodicPart | None] = {}
        changes: dict[int, CheckerboardResult | None] = {}
        for one in candidates:
            self._say(f"equal gains at {one.site.name}")
            if flat is not None and flat.total > 0:
                after[one.site.number] = meter.measure_equal([one], strongest)
            if score is not None:
                equal = meter.run_real([one], norms[:_COMPARED])
                pairs = zip(images, equal, strict=False)
                differences = [image - other for image, other in pairs if image.shape == other.shape]
                changes[one.site.number] = meter.score(differences)
        paths = {report.site.number: report.site.path for report in reports}
        attributions = [] if flat is None else attribute_flat(flat, tones[strongest], after, paths)
        if len(candidates) > 1 and any(one.site is None for one in attributions):
            self._say("equal gains at all sites but one")
            alone = {
                one.site.number: meter.measure_equal(
                    [other for other in candidates if other is not one], strongest
                )
                for one in candidates
            }
            attributions = attribute_alone(attributions, alone, paths)
        if flat is None and score is not None:
            attributions = attribute_real(score, changes, paths)
        described = [
            replace(
                report,
                flat_levels=_find_flat_levels(
                    report, None if flat is None else tones[strongest], after.get(report.site.number)
                ),
                real_levels=None if (change := changes.get(report.site.number)) is None else change.amplitude,
            )
            for report in reports
        ]
        return _Measured(flat, normalises, score, attributions, hidden), described

    def _choose_candidates(self, traced: Sequence[TracedSite], reports: Sequence[SiteReport]) -> list[TracedSite]:
        """Choose the sites whose gains can differ, those with the largest ripple."""
        ripples = {
            report.site.number: math.inf if report.relative_ripple is None else report.relative_ripple
            for report in reports
            if report.period is not None and report.gains_from != "construction"
        }
        ranked = sorted(ripples, key=ripples.__getitem__, reverse=True)
        kept = {number for number in ranked[:_MOST_CANDIDATES] if ripples[number] > _NEGLIGIBLE}
        left = [number for number in ranked[_MOST_CANDIDATES:] if ripples[number] > _NEGLIGIBLE]
        if left:
            self._missing.append(
                f"equal gains at {len(left)} sites with less ripple than {_MOST_CANDIDATES} others"
            )
        return [one for one in traced if one.site.number in kept]

    def _find_fusible(self, reports: list[SiteReport], *, measure_fuse: bool) -> list[SiteReport]:
        """Mark the resize-convolutions that `fuse` has a faster form for."""
        nearest = [report for report in reports if report.site.operation.startswith("interpolate(mode=nearest")]
        if not any(report.site.kind == kinds.RESIZE_CONVOLUTION for report in nearest):
            return reports
        self._say("looking for what can be fused")
        try:
            seen, _ = observe(self._original, self._own_example)
            speedup = measure_fuse_speedup(self._original, self._own_example) if measure_fuse else None
        except Exception as error:  # noqa: BLE001 -- code of the user's may raise anything
            self._missing.append(f"what fuse would gain: {describe_failure(error)}")
            return reports
        paths = {path for fusion in seen.fusions for path, _ in fusion.upsampled}
        return [
            replace(report, is_fusible=True, fuse_speedup=speedup)
            if report in nearest and report.site.path in paths
            else report
            for report in reports
        ]


def _find_flat_levels(report: SiteReport, before: PeriodicPart | None, after: PeriodicPart | None) -> float | None:
    """Levels that plain colours lose with equal gains at a site."""
    if before is None or (after is None and report.gains_from != "construction"):
        return None
    return 0.0 if after is None else _take_root(before.total - after.total)


def _take_root(power: float) -> float:
    return math.copysign(math.sqrt(abs(power)), power)


def _say_nothing(text: str) -> None:
    del text
