"""What a goal is: what is aimed at, and how this machine meets it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One goal and how this machine meets it.

    Parameters
    ----------
    name : str
        What is aimed at.
    measured, limit : str
        With their units.
    met : bool
        Whether it was met.
    """

    name: str
    measured: str
    limit: str
    met: bool
