"""The result of an audit: plain data, in words and as a dict.

Decides nothing.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deconvbench.records.findings import Finding
from deconvbench.records.sites import SiteReport
from deconvbench.system.notebook import write_html

CLEAN, AT_RISK, CHECKERBOARDS = "clean", "at risk", "checkerboards"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """Which site causes the ripple of one scale.

    Parameters
    ----------
    period : int
        Smallest period of the patterns, in pixels of the output.
    levels : float
        Their RMS amplitude in 8-bit levels.
    site : int or None
        The site whose equal gains remove most of their power. If none removes a quarter, the ripples of several
        sites cancel in part: then the one that has the largest when all others have equal gains. None if that has
        not a quarter either.
    path : str
        Of its module.
    removed_share : float
        Of the power, at most 1; NaN where nothing is removed.
    alone_levels : float or None
        What the site has when all others have equal gains, if it was chosen for that.
    is_flat : bool
        Whether it was read off plain colours, or off the outputs for real images.
    """

    period: int
    levels: float
    site: int | None
    path: str
    removed_share: float
    alone_levels: float | None = None
    is_flat: bool = True

    def __str__(self) -> str:
        where = "plain colours" if self.is_flat else "images"
        cause = "no single site" if self.site is None else f"{self.site}. {self.path or '(the model)'}"
        share = "" if self.site is None else f", which has {self.removed_share:.0%} of it"
        if self.alone_levels is not None:
            share = f", which alone has {self.alone_levels:.2f} (ripples of several sites cancel in part)"
        return f"period {self.period}: {self.levels:.2f} levels in {where}, from {cause}{share}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What an audit found; levels are 8-bit levels of the output, 0 to 255.

    Parameters
    ----------
    judgement : str
        ``clean``, ``at risk`` or ``checkerboards``.
    sites : tuple of SiteReport
        In network order.
    findings : tuple of Finding
        In the same order.
    flat_field : mapping of int to float
        RMS amplitude in levels that plain colours get, by period; empty where it was not measured.
    flat_noise_levels : float
        What chance would make of that; NaN where it was not measured.
    periodicity_error : float
        RMS of what does not repeat in the middle of those outputs, over that of what does.
    is_two_tone : bool
        Whether each half had a colour of its own, because the network normalises images.
    hidden : mapping of int to float
        The same before a saturating last activation, as it would be in the output where that is steepest; empty
        where the network ends in something else.
    last_activation : str
        Name of that activation.
    real : mapping of int to float
        Checkerboard amplitude of outputs for real images, by period; content that repeats counts too.
    real_detection_level : float
        For them together.
    attributions : tuple of Attribution
        The cause for every period with a ripple.
    output_range : tuple of float
        Black and white in the output.
    is_range_guessed : bool
        Whether they were guessed from the outputs.
    inputs : str
        What the real images were.
    not_covered : tuple of str
        What could not be measured, and why.
    """

    judgement: str
    sites: tuple[SiteReport, ...]
    findings: tuple[Finding, ...]
    flat_field: Mapping[int, float]
    flat_noise_levels: float
    periodicity_error: float
    is_two_tone: bool
    hidden: Mapping[int, float]
    last_activation: str
    real: Mapping[int, float]
    real_detection_level: float
    attributions: tuple[Attribution, ...]
    output_range: tuple[float, float]
    is_range_guessed: bool
    inputs: str
    not_covered: tuple[str, ...] = ()

    def __str__(self) -> str:
        black, white = self.output_range
        guessed = " (guessed)" if self.is_range_guessed else ""
        counts = _count(len(self.sites), "upsampling site"), _count(len(self.findings), "finding")
        lines = [f"{self.judgement}: {', '.join(counts)}"]
        lines.append(f"levels are 1/255 of an output range of {black:.4g} to {white:.4g}{guessed}")
        lines += [f"  {report}" for report in self.sites]
        lines += [f"  {attribution}" for attribution in self.attributions]
        if not self.attributions and self.flat_field:
            lines.append("  plain colours stay plain")
        if self.hidden:
            levels = ", ".join(f"{level:.2f} at period {period}" for period, level in self.hidden.items())
            lines.append(f"  before the last {self.last_activation}, which may hide ripple: levels of {levels}")
        for finding in self.findings:
            lines += [f"  {finding}", f"    {finding.remedy}"]
        lines += [f"  not covered: {text}" for text in self.not_covered]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        counts = _count(len(self.sites), "upsampling site"), _count(len(self.findings), "finding")
        headings = ("site", "ripple", "levels in plain colours", "levels in images", "time")
        rows = [
            (
                report.site,
                None if report.relative_ripple is None else f"{report.relative_ripple:.2%}",
                None if report.flat_levels is None else f"{report.flat_levels:.2f}",
                None if report.real_levels is None else f"{report.real_levels:.2f}",
                f"{report.time_share:.0%}",
            )
            for report in self.sites
        ]
        notes = [f"{finding} {finding.remedy}" for finding in self.findings]
        return write_html(
            f"{self.judgement}: {', '.join(counts)}", headings, rows, [*map(str, self.attributions), *notes]
        )

    def to_dict(self) -> dict[str, Any]:
        """Give all of it as dicts, lists, numbers and text, for JSON; what is not finite is None."""
        return {item.name: _to_plain(getattr(self, item.name)) for item in dataclasses.fields(self)}


def _to_plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: _to_plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _to_plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_to_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
