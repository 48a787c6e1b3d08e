"""The result of an audit: plain data, in words and as a dict.

Decides nothing.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from deconvbench.records.audit_text import count_things, format_text
from deconvbench.records.decoding import DecodingError, build
from deconvbench.records.evidence import Evidence
from deconvbench.records.findings import Finding
from deconvbench.records.sites import SiteReport
from deconvbench.system.notebook import write_html

CLEAN, AT_RISK, CHECKERBOARDS = "clean", "at risk", "checkerboards"


@dataclass(frozen=True, slots=True, kw_only=True)
class Harmonic:
    """What the pattern of one site has at a shorter period than its own.

    Parameters
    ----------
    site : int
        The site.
    path : str
        Of its module.
    levels : float
        RMS amplitude in 8-bit levels, with equal gains everywhere else.
    """

    site: int
    path: str
    levels: float


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
        The site that has most of it, among those whose own scale it is if one of them has a quarter; of all others
        otherwise. None if none has a quarter.
    path : str
        Of its module.
    removed_share : float
        Of the pattern, 0 to 1: the mean of what equal gains there take away and of what is left of it with equal
        gains everywhere else. Of two sites these are the Shapley values.
    alone_levels : float or None
        Amplitude with equal gains everywhere else; None where no other site has a part.
    is_harmonic : bool
        Whether the site's own pattern is of another scale, and this one comes from what is not linear after it.
    harmonics : tuple of Harmonic
        Other sites, of longer periods, whose patterns have such waves at this scale too.
    is_flat : bool
        Whether it was read off plain colours, or off the outputs for real images.
    """

    period: int
    levels: float
    site: int | None
    path: str
    removed_share: float
    alone_levels: float | None = None
    is_harmonic: bool = False
    harmonics: tuple[Harmonic, ...] = ()
    is_flat: bool = True

    def __str__(self) -> str:
        text = f"period {self.period}: {self.levels:.2f} levels in {'plain colours' if self.is_flat else 'images'}"
        if self.site is None:
            text += ", from no single site"
        else:
            how = "harmonics of the longer pattern of " if self.is_harmonic else ""
            text += (
                f", from {how}{self.site}. {self.path or '(the model)'}, which has {self.removed_share:.0%} of it"
            )
            text += "" if self.alone_levels is None else f", and alone {self.alone_levels:.2f} levels"
        for one in self.harmonics:
            text += (
                f"; harmonics of the longer pattern of {one.site}. {one.path or '(the model)'}, alone"
                f" {one.levels:.2f} levels, add to it or cancel with it"
            )
        return text


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
    evidence : Evidence or None
        What is shown beside the numbers, if that was asked for.
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
    evidence: Evidence | None = None

    def __str__(self) -> str:
        return format_text(self)

    def _repr_html_(self) -> str:
        counts = count_things(len(self.sites), "upsampling site"), count_things(len(self.findings), "finding")
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

    def to_dict(self, *, evidence: bool = True) -> dict[str, Any]:
        """Give all of it as dicts, lists, numbers and text, for JSON; what is not finite is None.

        Parameters
        ----------
        evidence : bool
            Whether `evidence` is among it.
        """
        plain: dict[str, Any] = {
            item.name: _to_plain(getattr(self, item.name)) for item in dataclasses.fields(self)
        }
        if not evidence:
            del plain["evidence"]
        return plain

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make an audit again from what `to_dict` gave, also by way of JSON.

        Parameters
        ----------
        data : mapping
            By the names of the fields.

        Raises
        ------
        DecodingError
            If something in it is missing or of another kind.
        """
        found = build(cls, _put_nan(dict(data)))
        return dataclasses.replace(
            found,
            flat_field=_read_periods(found.flat_field),
            hidden=_read_periods(found.hidden),
            real=_read_periods(found.real),
        )


# numbers that are NaN where there is none
_MAY_BE_NAN = frozenset(
    {"flat_noise_levels", "periodicity_error", "real_detection_level", "time_share", "memory_share"}
)


def _read_periods(by_period: Mapping[Any, float]) -> dict[int, float]:
    """Make whole numbers of keys again: JSON has text for them."""
    try:
        return {int(period): levels for period, levels in by_period.items()}
    except ValueError as error:
        raise DecodingError("a period is not a whole number") from error


def _put_nan(value: Any, name: str = "") -> Any:
    """Put NaN back where `to_dict` had none, and text for whole numbers that are keys."""
    if isinstance(value, Mapping):
        return {str(key): _put_nan(item, str(key)) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_put_nan(item) for item in value]
    return math.nan if value is None and name in _MAY_BE_NAN else value


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
