"""An audit for people: a page in one file, Markdown for a pull request, and a row per site for tables.

What others wrote, paths of modules above all, is data everywhere: escaped, on one line, and never obeyed. Measures
and decides nothing; the words are those of `inspection_words`, the drawings those of `plots.network_audit`.
"""

from collections.abc import Sequence
from typing import Any

from deconvbench.analysis.remedy_costs import RemedyCost
from deconvbench.analysis.site_settings import find_size
from deconvbench.records.audit import Audit
from deconvbench.records.sites import SiteReport
from deconvbench.report.inspection_view import make_view
from deconvbench.report.inspection_words import (
    describe_cost,
    describe_layer,
    describe_scale,
    explain_judgement,
    format_levels,
    format_share,
    list_causes,
    name_site,
    shorten,
)
from deconvbench.report.templates import load_template
from deconvbench.system.texts import escape_markdown, write_code

# rows of the table in a comment; the rest is in the page
_MOST_ROWS = 30
# remedies' costs that a comment names for one finding
_MOST_COSTS = 2


def render_html(audit: Audit, *, target: str, command: str, costs: Sequence[RemedyCost] = ()) -> str:
    """Render an audit as a page that holds everything, runs nothing and fetches nothing.

    Parameters
    ----------
    audit : Audit
        Any.
    target : str
        What was audited, as it was named.
    command : str
        That made the audit.
    costs : sequence of RemedyCost
        Of its findings.
    """
    return load_template("inspection.html.j2").render(make_view(audit, target, command, costs))


def render_markdown(audit: Audit, *, target: str = "", costs: Sequence[RemedyCost] = ()) -> str:
    """Write an audit as Markdown: a few lines where it is clean, a table and the findings where not.

    Parameters
    ----------
    audit : Audit
        Any.
    target : str
        What was audited, as it was named.
    costs : sequence of RemedyCost
        Of its findings.
    """
    of = f" ({write_code(shorten(target))})" if target else ""
    lines = [f"### deconvbench audit: {escape_markdown(audit.judgement)}{of}", ""]
    lines += [escape_markdown(explain_judgement(audit)), ""]
    causes = [f"- {escape_markdown(cause)}" for cause in list_causes(audit)]
    lines += [*causes, ""] if causes else []
    if audit.findings:
        lines += _write_sites(audit) + _write_findings(audit, costs)
    if audit.not_covered:
        missing = "; ".join(audit.not_covered)
        lines += [f"Not covered: {escape_markdown(missing)}", ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _write_sites(audit: Audit) -> list[str]:
    lines = [
        "| site | layer | scale | time | memory | ripple (levels) | findings |",
        "|---|---|--:|--:|--:|--:|---|",
    ]
    for report in audit.sites[:_MOST_ROWS]:
        site = report.site
        codes = ", ".join(dict.fromkeys(one.code for one in audit.findings if one.site == site.number))
        cells = (
            write_code(name_site(site)),
            *map(
                escape_markdown,
                (
                    describe_layer(site),
                    describe_scale(site),
                    format_share(report.time_share),
                    format_share(report.memory_share),
                    format_levels(report.flat_levels, unit=False),
                    codes,
                ),
            ),
        )
        lines.append(f"| {' | '.join(cells)} |")
    rest = len(audit.sites) - _MOST_ROWS
    return [*lines, "", *([f"{rest} more sites are not shown.", ""] if rest > 0 else [])]


def _write_findings(audit: Audit, costs: Sequence[RemedyCost]) -> list[str]:
    lines = []
    for finding in audit.findings[:_MOST_ROWS]:
        where = write_code(f"{finding.site}. {shorten(finding.path or '(the model)')}")
        lines.append(f"- **{escape_markdown(finding.code)}** {where}: {escape_markdown(finding.message)}")
        lines.append(f"  - do: {escape_markdown(finding.remedy)}")
        known = [one for one in costs if (one.site, one.code) == (finding.site, finding.code) and one.proposed]
        lines += [f"  - costs: {escape_markdown(describe_cost(one))}" for one in known[:_MOST_COSTS]]
    rest = len(audit.findings) - _MOST_ROWS
    return [*lines, *([f"- and {rest} more findings"] if rest > 0 else []), ""]


def list_rows(audit: Audit) -> list[dict[str, Any]]:
    """List the sites of an audit as flat data: a row for each, in network order.

    Parameters
    ----------
    audit : Audit
        Any.

    Returns
    -------
    list of dict
        Text and numbers, None for what is not known; shapes and kernels as ``4x4``; NaN stays NaN.
    """
    return [_make_row(report, audit) for report in audit.sites]


def _make_row(report: SiteReport, audit: Audit) -> dict[str, Any]:
    site = report.site
    codes = dict.fromkeys(one.code for one in audit.findings if one.site == site.number)
    causes = [str(one.period) for one in audit.attributions if one.site == site.number]
    return {
        "site": site.number,
        "path": site.path,
        "kind": site.kind,
        "operation": site.operation,
        "scale": _join(site.scale),
        "kernel_size": _join(site.kernel_size),
        "stride": _join(site.stride),
        "padding": _join(site.padding),
        "output_padding": _join(site.output_padding),
        "dilation": _join(site.dilation),
        "groups": site.groups,
        "in_channels": site.in_channels,
        "out_channels": site.out_channels,
        "in_shape": _join(site.in_shape),
        "out_shape": _join(site.out_shape),
        "in_size": _join(find_size(site, site.in_shape)),
        "out_size": _join(find_size(site, site.out_shape)),
        "dtype": site.dtype,
        "macs": site.macs,
        "uses": site.uses,
        "is_shared": site.is_shared,
        "is_last": site.is_last,
        "gains_from": report.gains_from,
        "overlap_cv": report.overlap_cv,
        "phase_ripple": report.phase_ripple,
        "effective_ripple": report.effective_ripple,
        "relative_ripple": report.relative_ripple,
        "image_rejection_db": report.image_rejection_db,
        "period": report.period,
        "flat_levels": report.flat_levels,
        "real_levels": report.real_levels,
        "time_share": report.time_share,
        "memory_share": report.memory_share,
        "is_fusible": report.is_fusible,
        "fuse_speedup": report.fuse_speedup,
        "causes_period": ";".join(causes),
        "findings": ";".join(codes),
    }


def _join(values: tuple[float, ...]) -> str:
    return "x".join(f"{value:g}" for value in values)
