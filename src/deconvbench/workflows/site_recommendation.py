"""Which layer to take at each upsampling site of an audited network: from a run's tables, or measured on the spot.

A site is a setting like any other: its scale, channels, batch and dtype, and the size of its input. What was not
measured there is measured if that is asked for, in a run folder of its own, by the workers of every run.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from deconvbench.analysis.recommendation import LIMITS, check_limits
from deconvbench.analysis.site_settings import make_setting, name_present
from deconvbench.errors import UsageError
from deconvbench.grid.grid import Grid
from deconvbench.progress import JobObserver
from deconvbench.records.audit import Audit
from deconvbench.records.case import format_layer
from deconvbench.records.sites import Site, SiteReport
from deconvbench.report.recommendation import Answer
from deconvbench.report.site_recommendation import NetworkAnswer, SiteAnswer
from deconvbench.runner.folder import make_new_folder
from deconvbench.workflows.recommendation import Question, Source, answer_question, read_source
from deconvbench.workflows.run import RESULTS, run

# what may stand in for a layer, without those that are much slower than others of the same function
CANDIDATES = (
    "transposed",
    "nearest_conv",
    "nearest_conv_fast",
    "bilinear_conv",
    "conv_nearest",
    "conv_bilinear",
    "subpixel",
    "subpixel_icnr",
    "subpixel_icnr_blur",
    "equal_gain_transposed",
    "transposed_fir",
    "bilinear_additive",
)
_KERNEL = 3
# few and short: a recommendation needs to tell layers apart that differ by a few per cent
_REPLICATES, _TIME_CAP_S, _QUALITY_SEEDS = 3, 0.3, 2
SITES = "sites"


def recommend_for(
    audit: Audit,
    question: Question | None = None,
    source: Source | None = None,
    *,
    target: str = "",
    measure: bool = False,
    observer: JobObserver = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> NetworkAnswer:
    """Recommend a layer for each site of an audited network.

    Parameters
    ----------
    audit : Audit
        Of the network.
    question : Question, optional
        Where to look, and the limits: without one on artifacts, no ripple at initialisation. What is of a site,
        such as its channels, is not looked at.
    source : Source, optional
        What is known; by default what the question's run has.
    target : str
        What was audited, for the answer.
    measure : bool
        Measure the settings that the run does not have; a folder for each below ``results/sites``.
    observer : callable
        Receives each job done.
    say : callable
        Is given a line before each setting is measured.

    Returns
    -------
    NetworkAnswer

    Raises
    ------
    UsageError
        If a limit is not allowed.
    RunFolderError
        If there is no run to look into.
    """
    asked = question or Question()
    limits = check_limits(asked.limits)
    if not any(LIMITS[name].is_quality for name in limits):
        # who asks about a network wants none
        limits["ripple"] = 0.0
    asked = replace(asked, limits=limits)
    asker = _Asker(asked, source, measure=measure, observer=observer, say=say)
    return NetworkAnswer(sites=tuple(map(asker.answer, audit.sites)), target=target, limits=limits)


class _Asker:
    """Answers site after site; each folder is read once, each setting measured once."""

    def __init__(
        self,
        question: Question,
        source: Source | None,
        *,
        measure: bool,
        observer: JobObserver,
        say: Callable[[str], None],
    ) -> None:
        self._question, self._measure = question, measure
        self._observer, self._say = observer, say
        self._measured: dict[str, Source] = {}
        self._source = source

    def answer(self, report: SiteReport) -> SiteAnswer:
        site = report.site
        present, reason = name_present(site)
        if present is None:
            return SiteAnswer(report=report, reason=reason)
        fields, size = make_setting(site)
        name = format_layer(*present, fields["scale_factor"])
        setting = {"step": "forward", "device": "cpu", **self._question.setting, **fields}
        question = replace(self._question, setting=setting, size=size)
        key = _name_setting(setting, size)
        try:
            answer = answer_question(question, self._measured.get(key) or self._load())
        except UsageError as error:
            if not self._measure:
                return SiteAnswer(report=report, present=name, reason=f"{error}; --measure does")
            self._say(f"measuring {key} for {site.number}. {site.name}")
            grid = make_grid(site, present, setting, key)
            folder = run(grid, out=make_new_folder(key, RESULTS / SITES), observer=self._observer)
            self._measured[key] = read_source(replace(question, run=folder))
            try:
                answer = answer_question(question, self._measured[key])
            except UsageError as why:
                return SiteAnswer(report=report, present=name, reason=f"{why} in {folder}", is_measured=True)
        return SiteAnswer(
            report=report,
            present=name,
            answer=answer,
            speedup=_compare(answer, present),
            is_measured=key in self._measured,
        )

    def _load(self) -> Source:
        if self._source is None:
            self._source = read_source(self._question)
        return self._source


def _name_setting(setting: Mapping[str, Any], size: tuple[int, int]) -> str:
    words = [f"c{setting['in_channels']}x{setting['out_channels']}", f"{size[0]}x{size[1]}"]
    words += [f"s{setting['scale_factor']}", *([f"b{setting['batch']}"] if setting["batch"] != 1 else [])]
    words += [str(setting[name]) for name in ("dtype", "device") if name in setting]
    return "-".join(words).replace(":", "")


def _compare(answer: Answer, present: tuple[str, int | None]) -> float | None:
    """Time of the present layer over that of the chosen one."""
    here = {(one.upsampler, one.kernel_size): one for one in answer.candidates}.get(present)
    return None if here is None or answer.chosen is None else here.cost.value / answer.chosen.cost.value


def make_grid(site: Site, present: tuple[str, int | None], setting: Mapping[str, Any], name: str) -> Grid:
    """Make the grid of the candidates for one site, the present layer among them.

    Parameters
    ----------
    site : Site
        Which.
    present : (str, int or None)
        Its layer.
    setting : mapping
        Of its cases.
    name : str
        Of the grid.
    """
    scale, kernel = int(site.scale[0]), present[1]
    kernels = list(dict.fromkeys([_KERNEL, *([kernel] if kernel else []), scale, 2 * scale]))
    # transposed ones of kernels that are and are not a multiple of the stride, the others of the usual one
    kept = [f"kernel_size == {_KERNEL}", "upsampler == 'transposed'"]
    kept += [f"(upsampler == '{present[0]}' and kernel_size == {kernel})"] if kernel else []
    height, width = make_setting(site)[1]
    upsamplers = list(dict.fromkeys([*CANDIDATES, present[0]]))
    # its filter is made for strides of two
    upsamplers = [one for one in upsamplers if scale == 2 or one != "transposed_fir"]
    return Grid(
        name=name,
        source=f"site {site.number}",
        axes={
            **{name: (value,) for name, value in setting.items()},
            "upsampler": tuple(upsamplers),
            "kernel_size": tuple(kernels),
            "height": (height,),
            "width": (width,),
        },
        constraints=(" or ".join(kept),),
        replicates=_REPLICATES,
        time_cap_s=_TIME_CAP_S,
        quality_seeds=_QUALITY_SEEDS,
    )
