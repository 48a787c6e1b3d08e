"""The result of an audit: plain data, in words and as a dict.

Decides nothing. The words are those of `audit_text`.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from deconvbench.records.audit_text import format_text
from deconvbench.records.decoding import DecodingError, build, show_value
from deconvbench.records.evidence import Evidence
from deconvbench.records.findings import Finding
from deconvbench.records.sites import SiteReport

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
    evidence : Evidence or None
        What a page shows beside the numbers.
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

    def to_dict(self) -> dict[str, Any]:
        """Give all of it as dicts, lists, numbers and text, for JSON; what is not finite is None."""
        return {item.name: _to_plain(getattr(self, item.name)) for item in dataclasses.fields(self)}

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """Read what `to_dict` gave, also from JSON; None where a number is needed is NaN.

        Parameters
        ----------
        data : dict
            Plain data.

        Raises
        ------
        DecodingError
            If it is something else; the message names the field.
        """
        if not isinstance(data, Mapping):
            raise DecodingError(f"{show_value(data)} is not an object", "an object")
        prepared = {**data, **{name: math.nan for name in _NUMBERS if data.get(name, math.nan) is None}}
        for name, numbers in (("sites", _SITE_NUMBERS), ("attributions", _ATTRIBUTION_NUMBERS)):
            if isinstance(entries := prepared.get(name), list):
                prepared[name] = [_fill(entry, numbers) for entry in entries]
        made = build(cls, prepared)
        return dataclasses.replace(
            made,
            flat_field=_read_periods(made.flat_field),
            hidden=_read_periods(made.hidden),
            real=_read_periods(made.real),
        )


# fields that are NaN where nothing was measured, which JSON has no word for
_NUMBERS = ("flat_noise_levels", "periodicity_error", "real_detection_level")
_SITE_NUMBERS = ("time_share", "memory_share")
_ATTRIBUTION_NUMBERS = ("removed_share",)


def _fill(entry: Any, names: Sequence[str]) -> Any:
    """Put NaN in the place of None in some fields."""
    if not isinstance(entry, Mapping):
        return entry
    return {key: math.nan if value is None and key in names else value for key, value in entry.items()}


def _read_periods(levels: Mapping[Any, float]) -> dict[int, float]:
    try:
        return {int(key): level for key, level in levels.items()}
    except ValueError as error:
        raise DecodingError(f"a period is not a whole number: {error}") from error


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
