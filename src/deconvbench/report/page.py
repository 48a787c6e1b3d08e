"""The report itself: one HTML text that holds everything, opens from disk and fetches nothing.

Puts together what answer, charts, tables and figures say; measures and decides nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from deconvbench.analysis.answer import SMOOTH_DB, VISIBLE_LEVELS, Answer, find_answer
from deconvbench.analysis.machines import MachineComparison
from deconvbench.analysis.results import RunResults
from deconvbench.plots.article import CAPTIONS
from deconvbench.plots.gallery import TRADEOFF_METRICS
from deconvbench.records.metrics import METRICS
from deconvbench.records.schema import TRAINED_COLUMNS
from deconvbench.report.answer import describe_answer, describe_setting, view_answer
from deconvbench.report.article_page import name_figures
from deconvbench.report.case_table import describe_cases
from deconvbench.report.claims import ClaimRow, count_verdicts, name_anchor, view_claims
from deconvbench.report.crops import list_shown
from deconvbench.report.embedding import CHART_LIBRARY, embed_json, embed_picture, gather_parts
from deconvbench.report.findings import describe_findings
from deconvbench.report.interactive import describe_charts
from deconvbench.report.machines import view_machines
from deconvbench.report.provenance import (
    describe_origin,
    describe_state,
    get_mapping,
    list_commands,
    list_facts,
    name_run,
)
from deconvbench.report.speedups import describe_speedups, list_failures, view_choices, view_costs, view_means
from deconvbench.report.tables import flatten_environment, view_failures, view_noisy, view_quality
from deconvbench.report.templates import load_template
from deconvbench.report.trained import (
    complete_tasks,
    describe_tasks,
    explain_tasks,
    find_qualities,
    view_trained,
    view_variants,
)
from deconvbench.tables.trained import Trained

_UNKNOWN_ORIGIN = (
    "What is known after training was in the tables of this run; where it comes from was not recorded."
)
_HOW_CHOSEN = (
    f"Clean: no ripple before training and, where it was trained, a checkerboard under {VISIBLE_LEVELS:g} 8-bit"
    f" levels (upper end of the interval). Smooth: copies of edges under {SMOOTH_DB:.0f} dB."
)
_HOW_MAPS = (
    "One number for each kernel and stride, averaged over seeds; pale is clean. Outlined cells follow the"
    " article's advice: the stride divides the kernel, so each output pixel is visited equally often. The noise"
    " gain, in the middle, says what the advice does to the variance of the output, the phase ripple, on the"
    " right, what it does to a constant input. Hatched cells cannot be built or were not measured."
)
# the section that shows what a static figure shows
SECTIONS: Mapping[str, str] = {
    "trained_tradeoff": "#tradeoff",
    "trained_tradeoff_super_resolution": "#tradeoff",
    "latency": "#costs",
    "memory": "#costs",
    "artifact_maps": "#costs",
    "speedups": "#speedups",
    "overlap_maps": "#article",
    "machines": "#machines",
    **{f"tradeoff_{metric}": "#tradeoff" for metric in METRICS},
}
_CONTENTS = (
    ("answer", "Answer"),
    ("tradeoff", "Tradeoff"),
    ("costs", "Costs"),
    ("machines", "Machines"),
    ("speedups", "Fast forms"),
    ("article", "Claims"),
    ("gallery", "Pictures"),
    ("failures", "Failed, noisy"),
    ("summary", "All cases"),
    ("environment", "Environment"),
    ("again", "Run it again"),
)


def render_report(
    results: RunResults,
    run_info: Mapping[str, Any],
    pictures: Mapping[str, bytes],
    *,
    metrics: Sequence[str] = TRADEOFF_METRICS,
    claims: Sequence[ClaimRow] | None = None,
    origin: str = "",
    trained: Trained | None = None,
    shipped: Trained | None = None,
    article_address: str = "",
    has_files: bool = False,
    machines: MachineComparison | None = None,
) -> str:
    """Write the whole report as one self-contained HTML page.

    Parameters
    ----------
    results : RunResults
        Of a run; any of its frames may be empty.
    run_info : mapping
        Contents of ``run.json``; every key may be missing.
    pictures : mapping of str to bytes
        From `deconvbench.plots.encode_figures`; what the charts of the page show anew is left out.
    metrics : sequence of str
        Metrics, each known; the tradeoff begins with the first, where they are not the usual ones.
    claims : sequence of ClaimRow, optional
        What was found of the article's claims (`deconvbench.report.claims.parse_claims`); where they are missing,
        a sentence says how to get them.
    origin : str
        Where trained quality comes from (`deconvbench.tables.trained.describe_trained`).
    trained : Trained, optional
        Results of training experiments.
    shipped : Trained, optional
        Results that ship with the package: shown for the tasks that `trained` lacks.
    article_address : str
        Where the page of the article's figures (`render_article`) is, relative to this one; empty where there is
        none.
    has_files : bool
        Whether the files of the run folder are beside the page, so that it can link to them.
    machines : MachineComparison, optional
        The machines of a run that was measured on several.

    Returns
    -------
    str
        HTML with everything embedded: it opens from disk and fetches nothing.
    """
    found = trained or Trained()
    everything = complete_tasks(found, shipped)
    summary, quality = results.summary, results.quality_summary
    is_trained = bool(results.quality[list(TRAINED_COLUMNS)].notna().any(axis=None))
    answer = find_answer(summary, quality, *find_qualities(everything))
    charts = _describe_charts(results, metrics)
    cases = describe_cases(summary, quality) if len(summary) else None
    crops, crops_note = list_shown(found, _find_recommended(answer))
    speedups = _show_speedups(results, pictures.get("speedups"))
    scripts = ["page.js", *(("charts.js",) if charts else ()), *(("table.js",) if cases else ()), "sorting.js"]
    environment, grid = (get_mapping(run_info, key) for key in ("environment", "grid"))
    title = name_run(run_info)
    absent = {"speedups": speedups is None, "costs": charts is None, "machines": machines is None}
    return load_template("report.html.j2").render(
        parts=gather_parts(scripts=(*(CHART_LIBRARY if charts else ()), *scripts)),
        title=title,
        heading=f"Upsampling layers: {title}",
        meta=describe_origin(run_info, results),
        contents=[(anchor, name) for anchor, name in _CONTENTS if not absent.get(anchor)],
        state=describe_state(run_info, summary),
        sentences=describe_answer(answer),
        answer=view_answer(answer),
        ratio_heading=f"times {answer.baseline}" if answer and answer.baseline else "ratio",
        where=f"All of {describe_setting(answer)}" if answer else "",
        how_chosen=_HOW_CHOSEN,
        task=answer.task if answer else "",
        crops=crops,
        crops_note=crops_note,
        charts=charts,
        qualities=[(metric["key"], metric["label"]) for metric in charts["metrics"]] if charts else [],
        switches=[
            (field["key"], field["label"], [(value, value) for value in field["values"]])
            for field in (charts or {}).get("fields", ())
        ],
        files=_make_linker(has_files),
        origin=(origin or _UNKNOWN_ORIGIN) if is_trained else "",
        maps=_show_maps(results, pictures.get("artifact_maps")),
        findings=describe_findings(results),
        speedups=speedups,
        machines=_show_machines(machines, pictures.get("machines")),
        article_address=article_address,
        claims=None
        if claims is None
        else view_claims(claims, name_figures(), _find_addresses(pictures, article_address)),
        counts=count_verdicts(claims or ()),
        trained=_show_trained(everything),
        gallery=_show_gallery(pictures.get("gallery")),
        others=[
            {"anchor": name_anchor(name), "heading": name.replace("_", " "), "image": embed_picture(picture)}
            for name, picture in pictures.items()
            if name not in {*SECTIONS, *CAPTIONS}
        ],
        failures=view_failures([results.table, results.quality]),
        noisy=view_noisy(results.table),
        cases=cases,
        quality=view_quality(quality) if len(results.quality) else None,
        metrics=[(label.heading, label.unit, label.meaning) for label in METRICS.values()],
        facts=list_facts(run_info, results),
        environment=list(flatten_environment(environment)),
        grid=list(flatten_environment(grid)),
        commands=list_commands(run_info),
        seed=run_info.get("seed"),
        chart_data=embed_json(charts, "chart-data"),
        table_data=embed_json(cases, "table-data"),
    )


def _describe_charts(results: RunResults, metrics: Sequence[str]) -> dict[str, Any] | None:
    charts = describe_charts(results.summary, results.quality_summary)
    if charts is None:
        return None
    known = {metric["key"] for metric in charts["metrics"]}
    asked = [metric for metric in metrics if metric in known]
    if tuple(metrics) != TRADEOFF_METRICS and asked:
        charts["start"]["metric"] = asked[0]
    return charts


def _find_recommended(answer: Answer | None) -> tuple[str, int | None] | None:
    clean = answer.find("clean") if answer else None
    return (clean.candidate.upsampler, clean.candidate.kernel_size) if clean else None


def _make_linker(has_files: bool) -> Any:
    def link(name: str) -> Markup:
        shown = Markup("<code>{}</code>").format(name)
        return Markup('<a href="{}">{}</a>').format(name, escape(shown)) if has_files else shown

    return link


def _find_addresses(pictures: Mapping[str, bytes], article_address: str) -> dict[str, str]:
    """Say where each figure is shown: on this page, or on that of the article."""
    addresses = {name: anchor for name, anchor in SECTIONS.items() if name in pictures}
    if article_address:
        drawn = (name for name in CAPTIONS if name in pictures)
        addresses |= {name: f"{article_address}#{name_anchor(name)}" for name in drawn}
    return addresses


def _show_speedups(results: RunResults, picture: bytes | None) -> Mapping[str, Any] | None:
    """Gather the section on interleaved timing; None for a run without any."""
    if results.speedups.empty:
        return None
    sentences = describe_speedups(results)
    return {
        "sentences": sentences,
        "image": picture and embed_picture(picture),
        "alt": f"Speed-ups over the plain form. {' '.join(sentences)}",
        "means": view_means(results.speedup_means),
        "costs": view_costs(results.speedup_means),
        "choices": view_choices(results.choices),
        "failures": list_failures(results.speedups),
    }


def _show_machines(machines: MachineComparison | None, picture: bytes | None) -> Mapping[str, Any] | None:
    """Gather the section on machines; None for a run of one."""
    if machines is None:
        return None
    view = view_machines(machines)
    return {"view": view, "image": picture and embed_picture(picture), "alt": " ".join(view.sentences)}


def _show_maps(results: RunResults, picture: bytes | None) -> Mapping[str, str] | None:
    if picture is None:
        return None
    sentences = [text for text in describe_findings(results) if text.startswith("Transposed convolutions")]
    title = sentences[0].rstrip(".") if sentences else "Artifacts by kernel size and stride"
    return {"title": title, "image": embed_picture(picture), "how": _HOW_MAPS}


def _show_trained(trained: Trained) -> Mapping[str, Any] | None:
    if trained.is_empty:
        return None
    view = view_trained(trained)
    return {
        "view": view,
        "title": describe_tasks(view, trained),
        "note": explain_tasks(trained),
        "variants": view_variants(trained),
    }


def _show_gallery(picture: bytes | None) -> Mapping[str, str] | None:
    if picture is None:
        return None
    caption = CAPTIONS["gallery"]
    return {"image": embed_picture(picture), "alt": f"{caption.title}. {caption.text}", "caption": caption.text}
