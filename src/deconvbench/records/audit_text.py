"""What an audit found, for a terminal: a table of the sites, the whole network, the findings with what to do."""

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from deconvbench.records import sites as kinds
from deconvbench.records.findings import RULES, Finding
from deconvbench.records.sites import Site, SiteReport
from deconvbench.units import format_count

if TYPE_CHECKING:
    from deconvbench.records.audit import Audit

_HEADINGS = (
    "",
    "site",
    "layer",
    "input → output",
    "MACs",
    "time",
    "memory",
    "ripple",
    "plain",
    "images",
)
# in a column's width
_KINDS = {
    kinds.TRANSPOSED_CONVOLUTION: "transposed",
    kinds.RESIZE_CONVOLUTION: "resize-conv",
    kinds.SUBPIXEL_CONVOLUTION: "sub-pixel",
    kinds.DEPTH_TO_SPACE: "shuffle",
    kinds.MAX_UNPOOLING: "max-unpooling",
}
_WORDS = 3  # columns that are words, to the left
_MOST_NAME = 36
_MOST_PATHS = 6
_WIDTH = 110
# levels that are not written as zero
_SHOWN_LEVELS = 0.005


def format_text(audit: "Audit") -> str:
    """Write an audit as text.

    Parameters
    ----------
    audit : Audit
        Any.
    """
    ignored = sum(finding.is_ignored for finding in audit.findings)
    counts = [count_things(len(audit.sites), "upsampling site"), count_things(len(audit.findings), "finding")]
    counts += [f"{ignored} of them ignored"] if ignored else []
    lines = [f"{audit.judgement}: {', '.join(counts)}", ""]
    lines += [*_align([_HEADINGS, *map(_list_cells, audit.sites)]), ""] if audit.sites else []
    lines += _describe_network(audit)
    for code in dict.fromkeys(finding.code for finding in audit.findings):
        lines += ["", *_describe_findings([finding for finding in audit.findings if finding.code == code])]
    if audit.not_covered:
        lines += ["", "not covered", *(f"  {text}" for text in audit.not_covered)]
    return "\n".join(lines)


def _list_cells(report: SiteReport) -> tuple[str, ...]:
    site = report.site
    if report.gains_from == "construction":
        ripple = "none"
    else:
        ripple = "–" if report.relative_ripple is None else f"{report.relative_ripple:.2%}"
    return (
        str(site.number),
        _shorten(site.name),
        _name_layer(site),
        f"{_write_map(site.in_shape)} → {_write_map(site.out_shape)}",
        format_count(site.macs),
        _write_share(report.time_share),
        _write_share(report.memory_share),
        ripple,
        _write_levels(report.flat_levels),
        _write_levels(report.real_levels),
    )


def _describe_network(audit: "Audit") -> list[str]:
    black, white = audit.output_range
    guessed = " (guessed)" if audit.is_range_guessed else ""
    lines = []
    if audit.flat_field:
        halves = ", each half its own" if audit.is_two_tone else ""
        chance = (
            f"; chance makes {audit.flat_noise_levels:.2f}" if audit.flat_noise_levels >= _SHOWN_LEVELS else ""
        )
        lines.append(f"plain colours{halves}: {_write_periods(audit.flat_field)}{chance}")
    if audit.hidden:
        lines.append(f"before the last {audit.last_activation}, which may hide it: {_write_periods(audit.hidden)}")
    if audit.real:
        level = audit.real_detection_level
        detected = f"; a grid is detected from {level:.2g}" if math.isfinite(level) else ""
        lines.append(f"{audit.inputs}: {_write_periods(audit.real)}{detected}")
    lines += [f"cause: {attribution}" for attribution in audit.attributions]
    if not audit.attributions and audit.flat_field:
        lines.append("cause: none, plain colours stay plain")
    lines.append(
        f"levels are 1/255 of an output range of {black:.4g} to {white:.4g}{guessed}"
        if audit.sites
        else "nothing in it upsamples, as far as can be seen"
    )
    return lines


def _describe_findings(findings: Sequence[Finding]) -> list[str]:
    """All findings of one code, with what to do."""
    first = findings[0]
    rule = RULES.get(first.code)
    weight = "ignored" if first.is_ignored else "a risk" if any(one.is_risk for one in findings) else ""
    words = [first.code, *([rule.title] if rule else []), *([f"({weight})"] if weight else [])]
    lines = [" ".join(words)]
    by_message: dict[str, list[str]] = {}
    for one in findings:
        name = f"{one.site}. {one.path or '(the model)'}" if one.site else "the network"
        by_message.setdefault(one.message, []).append(name)
    for message, names in by_message.items():
        more = f" and {len(names) - _MOST_PATHS} more" if len(names) > _MOST_PATHS else ""
        lines.append(f"  {', '.join(names[:_MOST_PATHS])}{more}: {message}")
    for remedy in dict.fromkeys(one.remedy for one in findings):
        lines += textwrap.wrap(remedy, _WIDTH, initial_indent="  → ", subsequent_indent="    ")
    return lines


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if column < _WORDS else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _write_periods(levels: Mapping[int, float]) -> str:
    return ", ".join(f"{max(level, 0.0):.2f} levels at period {period}" for period, level in levels.items())


def _name_layer(site: Site) -> str:
    kernel = f" k{_write_sizes(site.kernel_size)}" if site.kernel_size else ""
    return f"{_KINDS.get(site.kind, site.kind)}{kernel} ×{_write_sizes(site.scale)}"


def _write_sizes(sizes: Iterable[float]) -> str:
    return "×".join(f"{one:.4g}" for one in dict.fromkeys(sizes))


def _write_map(shape: Sequence[int]) -> str:
    """Shape without the batch."""
    return "×".join(map(str, shape[1:]))


def _write_share(share: float) -> str:
    return f"{share:.0%}" if math.isfinite(share) else "–"


def _write_levels(levels: float | None) -> str:
    # rounded first: there is no negative zero
    return "–" if levels is None else f"{round(levels, 2) + 0.0:.2f}"


def _shorten(name: str) -> str:
    return name if len(name) <= _MOST_NAME else f"…{name[1 - _MOST_NAME :]}"


def count_things(number: int, word: str) -> str:
    """Count things in words: "1 site", "2 sites".

    Parameters
    ----------
    number : int
        How many.
    word : str
        For one of them.
    """
    return f"{number} {word}{'s' * (number != 1)}"
