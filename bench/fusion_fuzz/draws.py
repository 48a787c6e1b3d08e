"""Where random decisions come from: a seed, or Hypothesis, which then finds the smallest network that fails."""

import random
from collections.abc import Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class Draw(Protocol):
    """A source of decisions."""

    def integer(self, low: int, high: int) -> int:
        """Draw a whole number between two, both included."""


class SeededDraw:
    """Decisions that follow from a seed.

    Parameters
    ----------
    seed : int
        The same seed leads to the same decisions.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def integer(self, low: int, high: int) -> int:
        """Draw a whole number between two, both included."""
        return self._random.randint(low, high)


def pick(draw: Draw, options: Sequence[T]) -> T:
    """Draw one of some options; Hypothesis prefers the first."""
    return options[draw.integer(0, len(options) - 1)]


def happens(draw: Draw, percent: int) -> bool:
    """Draw whether something happens; Hypothesis prefers that it does not."""
    return draw.integer(0, 99) >= 100 - percent
