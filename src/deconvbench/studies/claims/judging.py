"""From numbers to verdicts: intervals against limits, parts into a whole, and what to say where nothing is known.

The one place where "straddles the limit" is decided.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import wraps

from deconvbench.records.schema import name_interval
from deconvbench.statistics import mean_interval
from deconvbench.studies.claims.claim import Evidence, Finding, Verdict

Judge = Callable[[Evidence], Finding]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A number with its 95 % interval.

    Parameters
    ----------
    value : float
        Any unit.
    low, high : float or None
        Ends of the interval; None where nothing tells how far another measurement might be off.
    """

    value: float
    low: float | None = None
    high: float | None = None

    def is_above(self, limit: float) -> bool | None:
        """Say on which side of a limit the number lies.

        Parameters
        ----------
        limit : float
            In its unit.

        Returns
        -------
        bool or None
            True where the whole interval is above; False where none of it is; None where it straddles the limit,
            or there is no interval.
        """
        if self.low is None or self.high is None:
            return None
        if self.low > limit:
            return True
        return False if self.high <= limit else None

    def find_side(self, margin: float) -> int | None:
        """Say on which side of 0 a difference lies, where small ones do not count.

        Parameters
        ----------
        margin : float
            In its unit; above 0.

        Returns
        -------
        int or None
            0 where the whole interval is within the margin; 1 or -1 where all of it is above or below 0; None
            where it straddles, or there is no interval.
        """
        if self.low is None or self.high is None:
            return None
        if -margin <= self.low and self.high <= margin:
            return 0
        return 1 if self.low > 0 else -1 if self.high < 0 else None

    def __str__(self) -> str:
        value = write_number(self.value)
        if self.low is None or self.high is None or self.low == self.high:
            return value
        return f"{value} ({write_number(self.low)} to {write_number(self.high)})"


def write_number(value: float) -> str:
    """Write a number with three significant digits.

    Parameters
    ----------
    value : float
        Finite.
    """
    # three digits of what is larger would be written with an exponent
    return f"{value:.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def put_interval(name: str, values: Iterable[float | None]) -> dict[str, float | None]:
    """Lay out the mean over seeds, with Student's 95 % interval, as evidence.

    Parameters
    ----------
    name : str
        What the number is, with its unit.
    values : iterable of float or None
        One a seed; what is missing or not finite is left out.

    Returns
    -------
    dict
        Under the name, and under ``<name>_ci_low`` and ``<name>_ci_high``, None for a single seed; empty where
        there is no value.
    """
    known = [float(value) for value in values if value is not None and math.isfinite(value)]
    if not known:
        return {}
    low_name, high_name = name_interval(name)
    mean, low, high = mean_interval(known)
    ends = (None if math.isnan(end) else end for end in (low, high))
    return {name: mean, **dict(zip((low_name, high_name), ends, strict=True))}


def read_number(evidence: Evidence, name: str) -> float:
    """Read a number that the rule cannot do without; see `needs`.

    Parameters
    ----------
    evidence : mapping
        Has the name.
    name : str
        What the number is.

    Raises
    ------
    KeyError
        If it is missing.
    """
    value = evidence.get(name)
    if value is None:
        raise KeyError(name)
    return value


def read_interval(evidence: Evidence, name: str) -> Interval:
    """Read back what `put_interval` laid out.

    Parameters
    ----------
    evidence : mapping
        Has the name.
    name : str
        What the number is.

    Raises
    ------
    KeyError
        If it is missing.
    """
    low, high = (evidence.get(end) for end in name_interval(name))
    return Interval(value=read_number(evidence, name), low=low, high=high)


def answer(holds: bool | None) -> Verdict:
    """Turn an answer to "does it hold?" into a verdict.

    Parameters
    ----------
    holds : bool or None
        None where it is inconclusive.
    """
    if holds is None:
        return Verdict.UNDECIDED
    return Verdict.SUPPORTED if holds else Verdict.REFUTED


def negate(holds: bool | None) -> bool | None:
    """Negate an answer; an inconclusive one stays so.

    Parameters
    ----------
    holds : bool or None
        An answer.
    """
    return None if holds is None else not holds


def combine(parts: Iterable[bool | Verdict | None]) -> Verdict:
    """Judge a claim whose parts, or whose networks, all have to agree.

    Parameters
    ----------
    parts : iterable of bool, Verdict or None
        What was found of each.

    Returns
    -------
    Verdict
        `PARTLY` where some hold and some do not, whatever the undecided ones turn out to be; otherwise `UNDECIDED`
        where one is undecided, or there is none; otherwise what all say.
    """
    verdicts = {part if isinstance(part, Verdict) else answer(part) for part in parts}
    decided = verdicts - {Verdict.UNDECIDED}
    if len(decided) > 1:
        return Verdict.PARTLY
    if verdicts == decided and decided:
        return decided.pop()
    return Verdict.PARTLY if Verdict.PARTLY in decided else Verdict.UNDECIDED


def leave_undecided(reason: str) -> Finding:
    """Say that nothing was measured that could decide.

    Parameters
    ----------
    reason : str
        What is missing and what to do about it, for the reader.
    """
    return Finding(verdict=Verdict.UNDECIDED, sentence=f"Not measured: {reason}.")


def needs(names: Sequence[str], remedy: str) -> Callable[[Judge], Judge]:
    """Leave a claim undecided where evidence that its rule cannot do without is missing.

    Parameters
    ----------
    names : sequence of str
        What the rule reads.
    remedy : str
        What to do about it, for the reader.
    """

    def guard(judge: Judge) -> Judge:
        @wraps(judge)
        def judge_if_known(evidence: Evidence) -> Finding:
            if any(evidence.get(name) is None for name in names):
                return leave_undecided(remedy)
            return judge(evidence)

        return judge_if_known

    return guard
