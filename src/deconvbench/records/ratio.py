"""The ratio that one replicate says: of a case to its baseline, and of two sides that took turns.

What disturbs a block only ever adds time, so the fast blocks tell more than the middle ones: over processes the
ratio of tenth percentiles varies less than the median of the rounds' ratios does. Between two processes that take
turns the block that follows a change of sides finds cold caches (7 % slower, measured), so what is compared is two
rounds, one begun by each side.
"""

import math
from collections.abc import Sequence
from statistics import median, quantiles

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
        Tenth percentile of its seconds per call over that of the baseline's: exactly 1 for the baseline, None for
        a case that was timed without. The median of the ratios, where samples and rounds are not as many, as other
        programs may write them.
    """
    ratios = [ratio for ratio in record.ratios if 0 < ratio < math.inf]
    if not ratios:
        return None
    latency = record.latency
    repeated = {index for index, _ in latency.repeated} if latency is not None else set()
    samples_s = [s for index, s in enumerate(latency.samples_s) if index not in repeated] if latency else []
    if len(samples_s) != len(ratios) or not all(0 < sample < math.inf for sample in samples_s):
        return median(ratios)
    # a round's ratio tells what the baseline took in it
    baseline_s = [sample / ratio for sample, ratio in zip(samples_s, ratios, strict=True)]
    return _find_tenth(samples_s) / _find_tenth(baseline_s)


def _find_tenth(samples_s: Sequence[float]) -> float:
    """Find the tenth percentile."""
    return quantiles(samples_s, n=10, method="inclusive")[0] if len(samples_s) > 1 else samples_s[0]


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
