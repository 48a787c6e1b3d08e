"""Rows of numbers, not as many in each, as one array: the samples of a hundred thousand records.

As lists they would be millions of Python's numbers, of which each table needs one or two a row.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """Rows of numbers.

    Parameters
    ----------
    values : ndarray, shape (numbers,), float64
        Row behind row.
    lengths : ndarray, shape (rows,), int64
        How many each row has; their sum is that of the numbers.
    """

    values: Floats = field(default_factory=lambda: np.empty(0))
    lengths: Places = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    @classmethod
    def gather(cls, rows: Iterable[Sequence[float]]) -> Self:
        """Put rows one behind another.

        Parameters
        ----------
        rows : iterable of sequence of float
            Of any length.
        """
        every = list(rows)
        lengths = np.fromiter(map(len, every), dtype=np.int64, count=len(every))
        return cls(np.fromiter(chain.from_iterable(every), dtype=np.float64, count=int(lengths.sum())), lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    def list_row(self, place: int) -> list[float]:
        """List the numbers of one row.

        Parameters
        ----------
        place : int
            Of the row.
        """
        end = int(self.lengths[: place + 1].sum())
        numbers: list[float] = self.values[end - int(self.lengths[place]) : end].tolist()
        return numbers

    def take(self, places: Sequence[int] | Places) -> Self:
        """Keep some rows, in the order given.

        Parameters
        ----------
        places : sequence of int
            Of rows.
        """
        chosen = np.asarray(places, dtype=np.int64)
        lengths = self.lengths[chosen]
        # how far each number comes from where it will be
        shifts = (self.lengths.cumsum() - self.lengths)[chosen] - (lengths.cumsum() - lengths)
        return type(self)(self.values[np.arange(lengths.sum()) + shifts.repeat(lengths)], lengths)

    def join(self, *others: Self) -> Self:
        """Put the rows of others behind these.

        Parameters
        ----------
        *others : Ragged
            Any.
        """
        every = (self, *others)
        return type(self)(
            np.concatenate([each.values for each in every]), np.concatenate([each.lengths for each in every])
        )

    def count(self, mask: Mask) -> Places:
        """Count the numbers of each row for which something holds.

        Parameters
        ----------
        mask : ndarray, shape (numbers,), bool
            Whether it holds for each of `values`.

        Returns
        -------
        ndarray, shape (rows,), int64
        """
        counted = np.concatenate([[0], mask.cumsum(dtype=np.int64)])
        ends = self.lengths.cumsum()
        counts: Places = counted[ends] - counted[ends - self.lengths]
        return counts

    def keep(self, mask: Mask) -> Self:
        """Keep the numbers for which something holds; a row may become empty.

        Parameters
        ----------
        mask : ndarray, shape (numbers,), bool
            As for `count`.
        """
        return self if mask.all() else type(self)(self.values[mask], self.count(mask))

    def group(self) -> Iterator[tuple[Places, Floats]]:
        """Give the rows of each length as one array, those without a number left out.

        Yields
        ------
        places : ndarray, shape (k,), int64
            Of the rows.
        numbers : ndarray, shape (k, length), float64
        """
        for length in np.unique(self.lengths[self.lengths > 0]).tolist():
            places = np.flatnonzero(self.lengths == length)
            yield places, self.take(places).values.reshape(-1, length)


def are_times(numbers: Floats) -> Mask:
    """Say of each number whether it can be a time, or a ratio of two: above 0 and finite.

    Parameters
    ----------
    numbers : ndarray, float64
        Any.
    """
    found: NDArray[Any] = (numbers > 0) & np.isfinite(numbers)
    return found
