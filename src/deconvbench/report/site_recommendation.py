"""Recommendations for every site of a network: as text, as Markdown and as plain data.

What a network's modules are called is data: on one line, escaped, never obeyed. Chooses nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deconvbench.analysis.candidates import Candidate
from deconvbench.records.decoding import make_strict
from deconvbench.records.sites import SiteReport
from deconvbench.report.inspection_words import (
    count,
    describe_layer,
    describe_scale,
    describe_shapes,
    name_site,
    shorten,
)
from deconvbench.report.recommendation import Answer, describe_choice, describe_estimate, describe_limits
from deconvbench.report.recommendation_rows import describe_answer
from deconvbench.system.texts import escape_controls, escape_markdown, tidy_line, write_code


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteAnswer:
    """What to take at one site.

    Parameters
    ----------
    report : SiteReport
        What was audited of it.
    present : str
        The layer that it is, as the grid names it; empty where it is none of them.
    answer : Answer or None
        The recommendation in its setting; None where nothing is known there.
    reason : str
        Why there is none.
    speedup : float or None
        Time of the present layer over that of the chosen one; None where one of them was not measured.
    is_measured : bool
        Whether its setting was measured for this answer.
    """

    report: SiteReport
    present: str = ""
    answer: Answer | None = None
    reason: str = ""
    speedup: float | None = None
    is_measured: bool = False

    @property
    def chosen(self) -> Candidate | None:
        """What to take; None where there is none, or nothing is known."""
        return None if self.answer is None else self.answer.chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkAnswer:
    """What to take at every site of a network.

    Parameters
    ----------
    sites : tuple of SiteAnswer
        In network order.
    target : str
        What was audited.
    limits : mapping of str to float
        That every layer keeps to.
    """

    sites: tuple[SiteAnswer, ...]
    target: str = ""
    limits: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether there is a recommendation for every site."""
        return all(one.chosen is not None for one in self.sites)

    def __str__(self) -> str:
        return format_sites(self)


def format_sites(found: NetworkAnswer) -> str:
    """Write what to take at each site: a few lines for each, with the code once for each layer.

    Parameters
    ----------
    found : NetworkAnswer
        Any.
    """
    if not found.sites:
        return "No upsampling site was found in what was run."
    lines: list[str] = []
    for one in found.sites:
        lines += [_head(one), *(f"   {tidy_line(text)}" for text in _describe(one)), ""]
    codes = list(dict.fromkeys(one.answer.code for one in found.sites if one.answer and one.answer.code))
    for code in codes:
        numbers = [str(one.report.site.number) for one in found.sites if one.answer and one.answer.code == code]
        lines += [
            f"code for site {', '.join(numbers)}:",
            *(f"  {escape_controls(line)}" for line in code.splitlines() if line),
            "",
        ]
    sources = dict.fromkeys(one.answer.source for one in found.sites if one.answer)
    lines += [tidy_line(f"run: {source}") for source in sources]
    return "\n".join(lines).rstrip("\n")


def _head(one: SiteAnswer) -> str:
    site = one.report.site
    return f"{name_site(site)}: {describe_layer(site)}, {describe_scale(site)}, {describe_shapes(site)}"


def _describe(one: SiteAnswer) -> list[str]:
    """Say what to take, or why there is no answer; then how that compares with what is there."""
    if one.answer is None:
        return [one.reason]
    lines = [describe_choice(one.answer)]
    if one.chosen is not None and one.chosen.layer == one.present:
        lines.append("it is what is there")
    elif one.speedup is not None and one.present != one.answer.baseline:
        lines.append(f"{one.speedup:.2f} times as fast as {one.present}, which is there")
    elif one.chosen is not None and one.speedup is None:
        lines.append(f"{one.present}, which is there, was not measured in this setting")
    if one.chosen is not None and one.chosen.is_estimated:
        ends = one.chosen.cost
        interval = (
            "" if ends.low is None or ends.high is None else f" (its ratio: {ends.low:.2f} to {ends.high:.2f})"
        )
        lines.append(f"{describe_estimate(one.chosen)}{interval}")
    if one.answer.ties:
        lines.append(f"cannot be told from it: {', '.join(each.layer for each in one.answer.ties)}")
    if one.answer.limits:
        lines.append(describe_limits(one.answer))
    return lines


def format_sites_markdown(found: NetworkAnswer) -> str:
    """Write what to take at each site as Markdown, with the code.

    Parameters
    ----------
    found : NetworkAnswer
        Any.
    """
    of = f" ({write_code(shorten(found.target))})" if found.target else ""
    lines = [f"### deconvbench recommend: {count(len(found.sites), 'site')}{of}", ""]
    if found.sites:
        lines += ["| site | layer there | take | times as fast | interval of its ratio |", "|---|---|---|--:|--:|"]
    for one in found.sites:
        chosen = one.chosen
        cost = None if chosen is None else chosen.cost
        ends = "–" if cost is None or cost.low is None or cost.high is None else f"{cost.low:.3g}–{cost.high:.3g}"
        name = chosen.layer if chosen else tidy_line(one.reason) or "none"
        cells = (
            write_code(name_site(one.report.site)),
            escape_markdown(one.present or describe_layer(one.report.site)),
            escape_markdown(name),
            "–" if one.speedup is None else f"{one.speedup:.2f}",
            ends,
        )
        lines.append(f"| {' | '.join(cells)} |")
    for code in dict.fromkeys(one.answer.code for one in found.sites if one.answer and one.answer.code):
        lines += ["", "```python", code, "```"]
    sources = dict.fromkeys(one.answer.source for one in found.sites if one.answer)
    lines += ["", *(f"- run: {escape_markdown(tidy_line(source))}" for source in sources)]
    return "\n".join(lines).rstrip("\n") + "\n"


def list_site_rows(found: NetworkAnswer) -> list[dict[str, Any]]:
    """List what to take at each site as plain data, in network order.

    Parameters
    ----------
    found : NetworkAnswer
        Any.

    Returns
    -------
    list of dict
        ``site``, ``path``, ``present``, ``chosen``, ``speedup`` (over the present layer), ``is_measured``,
        ``reason``, and ``answer`` with what `recommendation.describe_answer` gives, null where there is none.
    """
    rows = []
    for one in found.sites:
        row = {
            "site": one.report.site.number,
            "path": one.report.site.path,
            "present": one.present,
            "chosen": None if one.chosen is None else one.chosen.layer,
            "speedup": one.speedup,
            "is_measured": one.is_measured,
            "reason": one.reason,
            "answer": None if one.answer is None else describe_answer(one.answer),
        }
        rows.append(make_strict(row))
    return rows
