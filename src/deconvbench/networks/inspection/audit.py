"""The audit of a network: where it upsamples, whether it draws checkerboards, which site causes them, what to do.

Here its parts are put together. The model is left as it was (see `fusion.snapshot`), and no weight of it is
written to meanwhile.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from deconvbench.arguments import check_callable, check_kind, check_whole
from deconvbench.errors import UsageError
from deconvbench.networks.frames import FrameStack
from deconvbench.networks.fusion.observation import keep_state
from deconvbench.networks.inspection.checks import (
    check_example,
    check_images,
    check_model,
    check_range,
    explain_failure,
    is_finite,
)
from deconvbench.networks.inspection.comparing import Ripple, Scene, measure_ripple
from deconvbench.networks.inspection.description import describe_site
from deconvbench.networks.inspection.evidence import make_evidence
from deconvbench.networks.inspection.findings import describe_infinite, list_findings
from deconvbench.networks.inspection.hidden import find_ending, may_hide
from deconvbench.networks.inspection.inputs import PHOTOGRAPH_NAMES, OutputRange, guess_range, make_photographs
from deconvbench.networks.inspection.judgement import judge
from deconvbench.networks.inspection.norms import Statistics
from deconvbench.networks.inspection.preparation import list_unseen, name_dtype, run_eagerly, to_single, widen
from deconvbench.networks.inspection.running import Runner, Stopwatch
from deconvbench.networks.inspection.shrinking import Stage, shrink
from deconvbench.networks.inspection.sites import TracedSite, collect_sites
from deconvbench.networks.inspection.timing import choose_synchronise, find_fusible, take_shares
from deconvbench.networks.inspection.tracing import NORMS, Tracer
from deconvbench.networks.inspection.views import choose_output, find_common_period, find_period, pick
from deconvbench.records.audit import Audit
from deconvbench.records.evidence import Evidence
from deconvbench.records.findings import Finding, check_codes
from deconvbench.records.sites import SiteReport

_MOST_COLOURS = 100


def audit(
    model: nn.Module,
    example_input: Any,
    *,
    images: Sequence[Any] | None = None,
    output_range: tuple[float, float] | None = None,
    colours: int = 3,
    photographs: int = 2,
    measure_fuse: bool = False,
    ignore: Collection[str] = (),
    evidence: bool = False,
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
    ignore : collection of str
        Codes of findings that do not count in the judgement, such as ``{"DB001"}``.
    evidence : bool
        Keep a picture, a map of its ripple, a pattern and spectra too (`Audit.evidence`), for pages.
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
    check_model(model)
    check_example(model, example_input)
    if images is not None:
        check_images(model, images, example_input)
    colours = check_whole("colours", colours, 1, _MOST_COLOURS)
    photographs = check_whole("photographs", photographs, 1, len(PHOTOGRAPH_NAMES))
    check_kind("measure_fuse", measure_fuse, bool, "True or False")
    check_kind("evidence", evidence, bool, "True or False")
    if progress is not None:
        check_callable("progress", progress)
    ignored = check_codes(ignore, "ignore")
    given_range = None if output_range is None else check_range(output_range)
    say = progress or _say_nothing
    with keep_state(model), run_eagerly():
        auditor = _Auditor(model, example_input, say)
        return auditor.audit(
            images,
            given_range,
            colours,
            photographs,
            measure_fuse=measure_fuse,
            ignore=ignored,
            with_evidence=evidence,
        )


class _Auditor:
    """One audit of one model, whose state somebody else keeps."""

    def __init__(self, model: nn.Module, example: Any, say: Callable[[str], None]) -> None:
        self._original, self._own_example = model, example
        self._say = say
        self._missing: list[str] = list_unseen(model)
        self._model, self._example, problem = widen(model, example)
        self._missing += [problem] if problem else []
        self._synchronise = choose_synchronise(model)
        self._watches: list[Stopwatch] = []

    def audit(
        self,
        images: Sequence[Any] | None,
        given_range: OutputRange | None,
        colours: int,
        photographs: int,
        *,
        measure_fuse: bool,
        ignore: Collection[str],
        with_evidence: bool,
    ) -> Audit:
        """Do it."""
        evidence = None
        self._say("finding the upsampling sites")
        own_tracer, own_sites, outputs = self._trace()
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
            shown, norms, reports = self._run_real(runner, real, own_sites, traced)
            number = choose_output(outputs)
            maps = [] if number is None else [pick(one, number) for one in shown]
            others = sum(one.shape != maps[0].shape for one in maps)
            if others:
                self._missing.append(
                    f"{others} of {len(maps)} images, whose outputs are not as large as the first's"
                )
            ripple, chosen, factor = Ripple(), given_range or guess_range(maps), 1
            if number is None:
                self._missing.append("the output: no tensor of shape (N, C, ...) with spatial axes")
            else:
                reports = [replace(one, period=find_period(one.site, outputs[number].shape)) for one in reports]
                own = Stage(factor=1, traced=traced, real=real, norms=norms, maps=maps)
                periods = [one.period for one in reports]
                small = shrink(runner, own, number, find_common_period(periods)) if any(periods) else None
                ending = find_ending(runner, (small or own).real[0], number) if may_hide(tracer.ends) else None
                if given_range is None and ending is not None:
                    chosen = ending.output_range or chosen
                factor = 1 if small is None else small.factor
                scene = Scene(
                    runner=runner,
                    own=own,
                    small=small,
                    example=self._example,
                    output=number,
                    output_range=chosen,
                    normalises=bool(tracer.functions & NORMS),
                    ending=ending,
                )
                if reports:
                    ripple, reports = measure_ripple(scene, reports, colours, self._say)
                else:
                    self._missing.append(
                        "the output: nothing was seen to upsample, so there is no period to look for; `deconvbench"
                        " score` judges pictures"
                    )
                if with_evidence:
                    self._say("drawing what was found")
                    evidence = make_evidence(maps, chosen, ripple)
        reports, problem = find_fusible(
            self._original,
            self._own_example,
            reports,
            self._say,
            factor=factor,
            measures_speedup=measure_fuse,
        )
        missing = (*self._missing, *ripple.missing, *([problem] if problem else []))
        infinite = self._find_infinite(outputs, shown, inputs, ripple)
        level = 0.0 if ripple.real is None else ripple.real.detection_level
        findings = [*([] if infinite is None else [infinite]), *list_findings(list(reports), level)]
        findings = [replace(one, is_ignored=one.code in ignore) for one in findings]
        return _assemble(reports, ripple, chosen, inputs, missing, findings, evidence)

    @property
    def _is_widened(self) -> bool:
        return self._model is not self._original

    def _trace(self) -> tuple[Tracer, list[TracedSite], list[Tensor]]:
        """Run the model itself once."""
        stack = FrameStack()
        with stack.follow(self._original):
            runner = Runner(self._original, stack)
            tracer = runner.trace()
            self._watches.append(runner.time(self._synchronise))
            try:
                outputs = runner.run(self._own_example, self._watches[0], tracer)
            except UsageError as error:
                raise explain_failure(error, self._original, self._own_example) from error
            return tracer, collect_sites(tracer.upsamplings), outputs

    def _find_infinite(
        self, outputs: Sequence[Tensor], shown: Sequence[Sequence[Tensor]], inputs: str, ripple: Ripple
    ) -> Finding | None:
        """Say for what the model's output is not finite, and which weights are not."""
        dtype = f", in {name_dtype(self._original)}" if self._is_widened else ""
        places = {
            f"the example{dtype}": outputs,
            "" if inputs == "the example" else f"the {inputs}": [one for each in shown for one in each],
        }
        where = [text for text, tensors in places.items() if text and not all(map(is_finite, tensors))]
        where += [] if ripple.is_finite else ["plain colours"]
        weights = [name for name, one in self._original.state_dict(keep_vars=True).items() if not is_finite(one)]
        return describe_infinite(where, weights)

    def _choose_real(self, images: Sequence[Any] | None, photographs: int) -> tuple[list[Any], str]:
        if images is not None:
            return [pytree.tree_map(to_single, image) if self._is_widened else image for image in images], "images"
        made = make_photographs(self._example, photographs)
        return (made, "photographs") if made else ([self._example], "the example")

    def _run_real(
        self, runner: Runner, real: Sequence[Any], own_sites: Sequence[TracedSite], traced: Sequence[TracedSite]
    ) -> tuple[list[list[Tensor]], list[Statistics], list[SiteReport]]:
        """Run images, and describe the sites by what they were given."""
        self._say("running images")
        collector, shown, norms = runner.collect(traced), [], []
        for example in real:
            watch, recorder = runner.time(self._synchronise), runner.record()
            shown.append(runner.run(example, watch, collector, recorder))
            norms.append(recorder.statistics)
            self._watches += [] if self._is_widened else [watch]
        reports, dtype = [], name_dtype(self._original)
        for own, one in zip(own_sites, traced, strict=True):
            time_share, memory_share = take_shares(self._watches, own)
            report = describe_site(own.site, one, collector)
            reports.append(replace(report, time_share=time_share, memory_share=memory_share, network_dtype=dtype))
        self._missing += [
            f"{one.site.name}: phase gains, since no layer right before it decides about them"
            for one in reports
            if not one.gains_from
        ]
        return shown, norms, reports


def _assemble(
    reports: Sequence[SiteReport],
    ripple: Ripple,
    chosen: OutputRange,
    inputs: str,
    missing: Sequence[str],
    findings: Sequence[Finding],
    evidence: Evidence | None,
) -> Audit:
    """Put together what was measured, and judge it."""
    flat, real = ripple.flat, ripple.real
    hidden = {} if ripple.hidden is None else ripple.hidden.levels
    return Audit(
        judgement=judge(reports, findings, ripple.attributions, real, tuple(hidden.values())),
        sites=tuple(reports),
        findings=tuple(findings),
        flat_field={} if flat is None else {key: math.sqrt(power) for key, power in flat.power.items()},
        flat_noise_levels=math.nan if flat is None else math.sqrt(flat.scatter),
        periodicity_error=math.nan if flat is None else flat.periodicity_error,
        is_two_tone=ripple.is_two_tone,
        hidden=hidden,
        last_activation="" if ripple.hidden is None else ripple.hidden.activation,
        real={} if real is None else dict(real.by_scale),
        real_detection_level=math.nan if real is None else real.detection_level,
        attributions=tuple(ripple.attributions),
        output_range=(chosen.low, chosen.high),
        is_range_guessed=chosen.is_guessed,
        inputs=inputs,
        not_covered=tuple(dict.fromkeys(missing)),
        evidence=evidence,
    )


def _say_nothing(text: str) -> None:
    del text
