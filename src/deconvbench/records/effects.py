"""Numbers with their intervals, and what they say against a limit: in the claims table and where it is shown."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A number with its interval.

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
            0 where the whole interval is within the margin; 1 or -1 where all of it is beyond the margin, above or
            below; None where it straddles an end of the margin, or there is no interval. A narrower interval
            within a decided one has the same side.
        """
        if self.low is None or self.high is None:
            return None
        if -margin <= self.low and self.high <= margin:
            return 0
        return 1 if self.low > margin else -1 if self.high < -margin else None

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A number that a verdict rests on, as the claims table has it.

    Parameters
    ----------
    name : str
        What it is: ``reconstruction, k4 less k3``.
    unit : str
        ``levels``, ``dB``; empty for a ratio, a share or a correlation.
    value : float
        Its size.
    low, high : float or None
        Ends of its interval, where it has one.
    """

    name: str
    unit: str
    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        interval = Interval(value=self.value, low=self.low, high=self.high)
        return f"{self.name}: {interval}{self.unit and ' '}{self.unit}"


def describe_experiment(size: str, effects: Sequence[Effect], confidence: float) -> str:
    """Say how large an experiment was, and the level of its intervals where it has any.

    Parameters
    ----------
    size : str
        ``12 seeds × 12 images, 1500 steps``; empty where nothing was measured.
    effects : sequence of Effect
        The numbers that decided.
    confidence : float
        Level of the intervals, as a share.
    """
    has_interval = any(effect.low is not None and effect.low != effect.high for effect in effects)
    return f"{size}; intervals of {confidence:.1%}" if size and has_interval else size
