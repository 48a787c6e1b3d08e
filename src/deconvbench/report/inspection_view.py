"""What the page of an audit shows, laid out for its template: texts, lengths of bars, drawings with their words.

Every drawing has its numbers in words beside it, for whoever does not see it. Decides nothing.
"""

import base64
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from deconvbench.analysis.remedy_costs import RemedyCost
from deconvbench.analysis.site_settings import find_size
from deconvbench.plots.network_audit import (
    draw_pattern,
    draw_ripple_map,
    draw_spectra,
    encode_picture,
    encode_themed_svg,
)
from deconvbench.records.audit import AT_RISK, CLEAN, Audit
from deconvbench.records.evidence import Evidence, Picture, RippleMap
from deconvbench.records.findings import RULES
from deconvbench.records.sites import SiteReport
from deconvbench.report.inspection_words import (
    UNKNOWN,
    count,
    describe_layer,
    describe_range,
    describe_scale,
    describe_shapes,
    explain_judgement,
    format_levels,
    format_share,
    list_causes,
    list_cost_cells,
    list_periods,
    name_site,
    shorten,
)

# sites in the drawing of scales, and its measures
_MOST_DRAWN = 16
_STEP, _BOX, _LOW, _HIGH, _TOP = 64, 40, 14, 86, 26
_CLASSES = {CLEAN: "clean", AT_RISK: "risk"}
_NO_COST = "not measured"


def make_view(audit: Audit, target: str, command: str, costs: Sequence[RemedyCost]) -> dict[str, Any]:
    """Lay out an audit for the template ``inspection.html.j2``.

    Parameters
    ----------
    audit : Audit
        Any.
    target, command : str
        What was audited, and the command that did.
    costs : sequence of RemedyCost
        Of its findings.
    """
    evidence = audit.evidence or Evidence()
    return {
        "target": shorten(target),
        "judgement": audit.judgement,
        "state": _CLASSES.get(audit.judgement, "bad"),
        "reason": explain_judgement(audit),
        "level": describe_range(audit),
        "counts": f"{count(len(audit.sites), 'upsampling site')}, {count(len(audit.findings), 'finding')}",
        "causes": list_causes(audit),
        "hidden": _describe_hidden(audit),
        "sites": [_view_site(report, audit) for report in audit.sites],
        "scales": _draw_scales(audit),
        "findings": _view_findings(audit, costs),
        "figures": _list_figures(audit, evidence),
        "details": [(name_site(one.site), _list_details(one)) for one in audit.sites],
        "missing": audit.not_covered,
        "facts": _list_facts(audit, target, command),
    }


def _describe_hidden(audit: Audit) -> str:
    if not any(map(math.isfinite, audit.hidden.values())):
        return ""
    return f"Before the last {audit.last_activation}, which may hide ripple: {list_periods(audit.hidden)}."


def _find_state(report: SiteReport, audit: Audit) -> str:
    if any(one.site == report.site.number for one in audit.attributions):
        return "cause"
    return "found" if any(one.site == report.site.number and one.is_risk for one in audit.findings) else ""


def _view_site(report: SiteReport, audit: Audit) -> dict[str, Any]:
    site = report.site
    most = max([1.0, *(one.flat_levels or 0 for one in audit.sites if _is_number(one.flat_levels))])
    state = _find_state(report, audit)
    codes = list(dict.fromkeys(one.code for one in audit.findings if one.site == site.number))
    return {
        "anchor": f"site-{site.number}",
        "name": name_site(site),
        "note": {"cause": "causes the ripple", "found": "at risk"}.get(state, ""),
        "state": state,
        "layer": f"{describe_layer(site)}, {describe_scale(site)}",
        "shapes": describe_shapes(site),
        "bars": [
            ("time", format_share(report.time_share), _take_length(report.time_share, 1.0)),
            ("memory", format_share(report.memory_share), _take_length(report.memory_share, 1.0)),
            (
                "ripple",
                format_levels(report.flat_levels, unit=False),
                _take_length(report.flat_levels, most),
            ),
        ],
        "images": format_levels(report.real_levels, unit=False),
        "own": "equal gains" if report.gains_from == "construction" else format_share(report.relative_ripple, 2),
        "codes": codes,
    }


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _take_length(value: float | None, most: float) -> str:
    """Length of a bar in per cent, to two digits; empty where there is none."""
    if value is None or not math.isfinite(value):
        return ""
    return f"{100 * min(1.0, max(0.0, value / most)):.4g}"


def _draw_scales(audit: Audit) -> dict[str, Any] | None:
    """Lay out the sites as shapes that widen as the map does, on a logarithmic scale."""
    if not audit.sites:
        return None
    shown = audit.sites[:_MOST_DRAWN]
    sizes = [tuple(map(_measure, (find_size(r.site, r.site.in_shape), find_size(r.site, r.site.out_shape))))
             for r in shown]  # fmt: skip
    logs = [math.log2(side) for pair in sizes for side in pair]
    low, span = min(logs), max(logs) - min(logs) or 1.0
    middle = _TOP + _HIGH / 2
    boxes, words = [], []
    for number, (report, pair) in enumerate(zip(shown, sizes, strict=True)):
        left = 12 + number * _STEP
        halves = [(_LOW + (_HIGH - _LOW) * (math.log2(side) - low) / span) / 2 for side in pair]
        site = report.site
        out = "×".join(map(str, find_size(site, site.out_shape)))
        state = _find_state(report, audit)
        boxes.append(
            {
                "points": f"{left},{middle - halves[0]:.4g} {left + _BOX},{middle - halves[1]:.4g}"
                f" {left + _BOX},{middle + halves[1]:.4g} {left},{middle + halves[0]:.4g}",
                "state": state,
                "number": site.number,
                "x": left + _BOX / 2,
                "out": out,
            }
        )
        note = {"cause": ", causes the ripple", "found": ", at risk"}.get(state, "")
        words.append(f"{name_site(site)} makes {out} pixels ({describe_scale(site)}){note}")
    rest = len(audit.sites) - len(shown)
    return {
        "width": 24 + len(shown) * _STEP - (_STEP - _BOX),
        "height": _TOP + _HIGH + 24,
        "middle": middle,
        "base": _TOP + _HIGH + 18,
        "boxes": boxes,
        "words": "; ".join(words) + (f"; and {rest} more" if rest else ""),
    }


def _measure(size: tuple[int, ...]) -> float:
    """Mean side of a map."""
    return max(1.0, math.pow(math.prod(size), 1 / max(1, len(size))))


def _view_findings(audit: Audit, costs: Sequence[RemedyCost]) -> list[dict[str, Any]]:
    """Group findings by code, in the order in which they first occur."""
    views: dict[str, dict[str, Any]] = {}
    for finding in audit.findings:
        rule = RULES.get(finding.code)
        view = views.setdefault(
            finding.code,
            {
                "code": finding.code,
                "title": rule.title if rule else "",
                "why": rule.explanation if rule else "",
                "is_risk": False,
                "weight": "ignored",
                "places": [],
                "remedies": {},
                "costs": {},
            },
        )
        view["is_risk"] = view["is_risk"] or (finding.is_risk and not finding.is_ignored)
        if not finding.is_ignored:
            view["weight"] = "" if view["is_risk"] else "no risk"
        view["places"].append(
            (f"site-{finding.site}", f"{finding.site}. {shorten(finding.path or '(the model)')}", finding.message)
        )
        view["remedies"][finding.remedy] = None
        for cost in costs:
            if (cost.site, cost.code) == (finding.site, finding.code):
                words = list_cost_cells(cost) if cost.proposed else (cost.reason,)
                view["costs"].setdefault(words, []).append(cost.site)
    for view in views.values():
        view["remedies"] = list(view["remedies"])
        several = len(view["places"]) > 1
        costs_of = {
            words: f"site {', '.join(map(str, dict.fromkeys(sites)))}" if several else ""
            for words, sites in view["costs"].items()
        }
        view["costs"] = [(words, where) for words, where in costs_of.items() if len(words) > 1]
        # one sentence where nothing tells
        view["unknown"] = [f"{where}: {words[0]}" if where else words[0] for words, where in costs_of.items()
                           if len(words) == 1] or ([] if view["costs"] else [_NO_COST])  # fmt: skip
    return list(views.values())


def _list_figures(audit: Audit, evidence: Evidence) -> list[dict[str, Any]]:
    figures = []
    if evidence.picture is not None:
        figures.append(_show_picture(evidence.picture))
        if evidence.ripple_map is not None:
            figures.append(
                _make_figure(
                    "map",
                    "Where the ripple is",
                    draw_ripple_map(evidence.picture, evidence.ripple_map),
                    _describe_map(evidence.ripple_map),
                )
            )
    if evidence.flat_pattern is not None:
        figures.append(
            _make_figure(
                "pattern",
                "What becomes of a plain colour",
                draw_pattern(evidence.flat_pattern),
                _describe_pattern(evidence.flat_pattern),
            )
        )
    periods = [*{one.site.number: one.period for one in audit.sites if one.period}.values()]
    spectra = draw_spectra(evidence.spectrum, evidence.flat_spectrum, [one for one in periods if one <= 64])
    if spectra is not None:
        words = _describe_spectra({"real images": evidence.spectrum, "a plain colour": evidence.flat_spectrum})
        figures.append(_make_figure("spectra", "Spectra of the output", spectra, words))
    return figures


def _make_figure(name: str, title: str, figure: Any, words: str) -> dict[str, Any]:
    return {"name": name, "title": title, "svg": Markup(encode_themed_svg(figure, name)), "words": words}


def _show_picture(picture: Picture) -> dict[str, Any]:
    content = base64.b64encode(encode_picture(picture)).decode("ascii")
    return {
        "name": "picture",
        "title": "An output",
        "svg": "",
        "image": f"data:image/png;base64,{content}",
        "width": picture.width,
        "height": picture.height,
        "words": f"The middle {picture.width}×{picture.height} pixels of the output for a real image, a dot each.",
    }


def _describe_map(found: RippleMap) -> str:
    pairs = [
        (amplitude, level)
        for amplitudes, levels in zip(found.amplitudes, found.detection_levels, strict=True)
        for amplitude, level in zip(amplitudes, levels, strict=True)
    ]
    above = [amplitude for amplitude, level in pairs if level is not None and amplitude > level]
    text = (
        f"Amplitude at period {found.period} in {len(pairs)} windows of {found.window} pixels: {len(above)} are"
        f" above their detection level"
    )
    return f"{text}, with up to {format_levels(max(above))}." if above else f"{text}."


def _describe_pattern(pattern: Sequence[Sequence[Sequence[float]]]) -> str:
    values = [value for row in pattern for pixel in row for value in pixel]
    side, channels = len(pattern), len(pattern[0][0])
    return (
        f"One plain colour, the one with most ripple, comes out with a pattern that repeats every {side} pixels:"
        f" from {format_levels(min(values), unit=False)} to {format_levels(max(values))} about its mean, in"
        f" {count(channels, 'channel')}."
    )


def _describe_spectra(spectra: Mapping[str, Sequence[float] | None]) -> str:
    words = []
    for name, powers in spectra.items():
        if powers is not None and max(powers) > 0:
            largest = max(range(len(powers)), key=powers.__getitem__)
            words.append(
                f"{name}: largest at {0.5 * largest / (len(powers) - 1):.3g} cycles per pixel with"
                f" {powers[largest]:.3g} levels², median {statistics.median(powers):.3g}"
            )
    return f"Power of the output after the Laplacian, by frequency along an axis. {'; '.join(words)}."


def _list_details(report: SiteReport) -> list[tuple[str, str]]:
    """List what the table of sites has no room for."""
    site = report.site

    def join(values: tuple[int, ...]) -> str:
        return "×".join(map(str, values)) or UNKNOWN

    def write(value: float | None, pattern: str = ".3g") -> str:
        return UNKNOWN if value is None or not math.isfinite(value) else format(value, pattern)

    convolution = site.convolution
    return [
        ("operation", site.operation or UNKNOWN),
        ("convolution", UNKNOWN if convolution is None else shorten(convolution.path or "(the model)")),
        ("kernel, stride", f"{join(site.kernel_size)}, {join(site.stride)}"),
        ("padding, output padding", f"{join(site.padding)}, {join(site.output_padding)}"),
        ("shapes", f"{join(site.in_shape)} → {join(site.out_shape)}"),
        ("dtype", site.dtype),
        ("multiply-accumulates", f"{site.macs:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")),
        ("uses in a run", f"{site.uses}{', shares its weights' if site.is_shared else ''}"),
        ("last layer", "yes" if site.is_last else "no"),
        ("phase gains known from", report.gains_from or "nothing: not known"),
        ("overlap varies by", format_share(report.overlap_cv)),
        ("phase ripple, each pair for itself", write(report.phase_ripple)),
        ("effective ripple, at mean activations", write(report.effective_ripple)),
        ("ripple of its output (RMS)", format_share(report.relative_ripple, 2)),
        ("ripple in plain colours", format_levels(report.flat_levels)),
        ("ripple in real images", format_levels(report.real_levels)),
        ("period in the output", UNKNOWN if report.period is None else f"{report.period} pixels"),
        ("image rejection", UNKNOWN if not _is_number(report.image_rejection_db)
         else f"{write(report.image_rejection_db, '.1f')} dB"),
        ("fuse", "has a faster exact form" if report.is_fusible else "nothing to gain"),
    ]  # fmt: skip


def _list_facts(audit: Audit, target: str, command: str) -> list[tuple[str, str]]:
    facts = [("Target", target), ("Command", command), ("Real inputs", audit.inputs or UNKNOWN)]
    facts.append(("Output", describe_range(audit)))
    if audit.flat_field:
        tones = (
            " Each half had a colour of its own, as the network normalises images." if audit.is_two_tone else ""
        )
        facts.append(("Plain colours", f"{list_periods(audit.flat_field)}.{tones}"))
        facts.append(("Chance would make of that", format_levels(audit.flat_noise_levels)))
    if audit.real:
        facts.append(("Score of real outputs", f"{list_periods(audit.real)}; content that repeats counts too"))
        facts.append(("Its detection level", format_levels(audit.real_detection_level)))
    return facts
