"""The ratio that one replicate says: of a case to its baseline, and of two sides that took turns.

What disturbs a block only ever adds time, so the fast blocks tell more than the middle ones: over processes the
ratio of tenth percentiles varies less than the median of the rounds' ratios does. Between two processes that take
turns the block that follows a change of sides finds cold caches (7 % slower, measured), so what is compared is two
rounds, one begun by each side.
"""

import math
from collections.abc import Sequence
from operator import truediv
from statistics import median
from typing import Any

from deconvbench.records.record import Record


def find_ratio(record: Record) -> float | None:
    """Find how long a case takes over its baseline, where both were timed round by round.

    Parameters
    ----------
    record : Record
        Any.

    Returns
    -------
    float or None
        See `compute_ratio`.
    """
    latency = record.latency
    if latency is None:
        return compute_ratio((), record.ratios)
    return compute_ratio(latency.samples_s, record.ratios, latency.repeated)


def compute_ratio(
    samples_s: Sequence[float], ratios: Sequence[float], repeated: Sequence[tuple[int, str]] = ()
) -> float | None:
    """Compute how long a case takes over its baseline, from what both took round by round.

    Parameters
    ----------
    samples_s : sequence of float
        Seconds per call of the case.
    ratios : sequence of float
        Over those of the baseline, one for each round.
    repeated : sequence of (int, str)
        Index and reason of samples that were taken again, which are no rounds.

    Returns
    -------
    float or None
        Tenth percentile of its seconds per call over that of the baseline's: exactly 1 for the baseline, None for
        a case that was timed without. The median of the ratios, where samples and rounds are not as many, as other
        programs may write them, or the baseline's time is too small for a number.
    """
    if not ratios:
        return None
    if not _are_positive(ratios):
        ratios = [ratio for ratio in ratios if 0 < ratio < math.inf]
        if not ratios:
            return None
    if repeated:
        left_out = {index for index, _ in repeated}
        samples_s = [sample for index, sample in enumerate(samples_s) if index not in left_out]
    if len(samples_s) != len(ratios) or not _are_positive(samples_s):
        return median(ratios)
    # a round's ratio tells what the baseline took in it
    own_s: float = find_tenth(sorted(samples_s))
    baseline_s: float = find_tenth(sorted(map(truediv, samples_s, ratios)))
    return own_s / baseline_s if baseline_s else median(ratios)


def _are_positive(numbers: Sequence[float]) -> bool:
    """Say whether each is above 0 and finite."""
    # beside a NaN the least may be any number, but the sum is NaN; a sum of finite numbers may be too large
    return min(numbers) > 0 and (math.isfinite(sum(numbers)) or all(0 < number < math.inf for number in numbers))


def find_tenth(ordered: Sequence[Any]) -> Any:
    """Find the tenth percentile, with the smallest number as 0 % and the largest as 100 %.

    Parameters
    ----------
    ordered : sequence of float, or of ndarray
        At least one, each no smaller than that before; arrays of one shape are as many sequences side by side.
    """
    if len(ordered) == 1:
        return ordered[0]
    place, rest = divmod(len(ordered) - 1, 10)
    return (ordered[place] * (10 - rest) + ordered[place + 1] * rest) / 10


def find_log_ratio(base_s: Sequence[float], new_s: Sequence[float]) -> float:
    """Find what one replicate says of a case timed in turns.

    Parameters
    ----------
    base_s, new_s : sequence of float, of equal length
        Seconds per call, positive, one for each round; sides begin the rounds in turns.

    Returns
    -------
    float
        Median of log(new/base), each the mean over two rounds next to each other, of which each side began one:
        what a block costs for being the first or the second of a round is the same on both sides. A last round
        without another is left out, but for an only one.
    """
    logs = [math.log(new / base) for base, new in zip(base_s, new_s, strict=True)]
    return median([(one + two) / 2 for one, two in zip(logs[::2], logs[1::2], strict=False)] or logs)
