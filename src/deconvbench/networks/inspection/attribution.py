"""Which site causes the ripple in a network's output: equal phase gains at one site, and at all others.

Plain colours show it without any content; in outputs for real images it is the difference that counts, from which
content cancels. Runs nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from deconvbench.measure.artifacts.spectrum import CheckerboardResult
from deconvbench.networks.inspection.periodic import PeriodicPart, project
from deconvbench.records.audit import Attribution, Harmonic

# amplitude in levels from which a cause is looked for, and how much of the pattern it must have
LEAST_LEVELS = 0.05
_LEAST_SHARE = 0.25
# of what chance would make of it
_SIGNIFICANT = 4.0
# RMS of what equal gains at a site change in a pattern, over that of the pattern, below which it has no part in it
_NO_PART = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A site whose gains were made equal.

    Parameters
    ----------
    number : int
        Of the site.
    path : str
        Of its module.
    periods : frozenset of int
        Scales of its own pattern (see `views.list_direct_periods`).
    """

    number: int
    path: str
    periods: frozenset[int]


def is_significant(part: PeriodicPart, period: int) -> bool:
    """Whether the ripple of one period is more than chance."""
    return part.power[period] > _SIGNIFICANT * part.scatter and part.power[period] > LEAST_LEVELS**2


def has_part(before: PeriodicPart, colour: PeriodicPart, without: PeriodicPart | None) -> bool:
    """Whether equal gains at a site change a ripple that is more than chance.

    Parameters
    ----------
    before : PeriodicPart
        Of the network as it is, over all colours.
    colour : PeriodicPart
        The same of one colour.
    without : PeriodicPart or None
        Of that colour, with equal gains at the site.
    """
    if without is None:
        return False
    for period in filter(lambda one: is_significant(before, one), before.power):
        whole = colour.take_waves(period)
        change = float((whole - without.take_waves(period)).abs().square().sum())
        if change > _NO_PART**2 * float(whole.abs().square().sum()):
            return True
    return False


def attribute_flat(
    before: PeriodicPart,
    colour: PeriodicPart,
    without: Mapping[int, PeriodicPart | None],
    alone: Mapping[int, PeriodicPart | None],
    suspects: Mapping[int, Suspect],
) -> list[Attribution]:
    """Find the cause of each period in plain colours.

    Parameters
    ----------
    before : PeriodicPart
        Of the network as it is, over all colours.
    colour : PeriodicPart
        The same of the one colour that the next two are of.
    without : mapping of int to PeriodicPart or None
        With equal gains at one site, by its number.
    alone : mapping of int to PeriodicPart or None
        With equal gains at all other sites, by the number of the one that is left; for sites that have a part.
    suspects : mapping of int to Suspect
        The sites.

    Returns
    -------
    list of Attribution
        By period; of those with a ripple that is more than chance.
    """
    found = []
    for period, power in before.power.items():
        if not is_significant(before, period):
            continue
        shares, levels = {}, {}
        for number, part in without.items():
            if part is None:
                continue
            left = alone.get(number)
            taken = 1 - project(part, colour, period)
            shares[number] = taken if left is None else (taken + project(left, colour, period)) / 2
            if left is not None:
                # one colour ripples more than all of them do in the mean
                levels[number] = math.sqrt(power * left.power[period] / max(colour.power[period], 1e-300))
        found.append(_name_cause(period, math.sqrt(power), shares, levels, suspects))
    return found


def attribute_real(
    before: CheckerboardResult,
    differences: Mapping[int, CheckerboardResult | None],
    suspects: Mapping[int, Suspect],
) -> list[Attribution]:
    """Find the cause of each period in outputs for real images, where plain colours cannot be used.

    Parameters
    ----------
    before : CheckerboardResult
        Of the outputs.
    differences : mapping of int to CheckerboardResult or None
        What equal gains at one site change in them, by its number.
    suspects : mapping of int to Suspect
        The sites.

    Returns
    -------
    list of Attribution
        Of the periods that some site changes.
    """
    found = []
    for period, amplitude in before.by_scale.items():
        changes = {
            number: change.by_scale.get(period, 0.0)
            for number, change in differences.items()
            if change is not None
        }
        if max(changes.values(), default=0.0) < LEAST_LEVELS:
            continue
        # of what they change together: content has a part in the amplitude
        total = sum(max(change, 0.0) ** 2 for change in changes.values())
        shares = {number: max(change, 0.0) ** 2 / total for number, change in changes.items()}
        levels = max(amplitude, *changes.values())
        found.append(_name_cause(period, levels, shares, {}, suspects, is_flat=False))
    return found


def _name_cause(
    period: int,
    levels: float,
    shares: Mapping[int, float],
    alone: Mapping[int, float],
    suspects: Mapping[int, Suspect],
    *,
    is_flat: bool = True,
) -> Attribution:
    own = {number: share for number, share in shares.items() if period in suspects[number].periods}
    cause, is_harmonic = _take_largest(own), False
    if cause is None:
        cause, is_harmonic = _take_largest({key: shares[key] for key in shares.keys() - own.keys()}), True
    harmonics = [
        Harmonic(site=number, path=suspects[number].path, levels=amplitude)
        for number, amplitude in alone.items()
        if number not in own and number != cause and amplitude**2 >= _LEAST_SHARE * levels**2
    ]
    return Attribution(
        period=period,
        levels=levels,
        site=cause,
        path="" if cause is None else suspects[cause].path,
        removed_share=0.0 if cause is None else min(shares[cause], 1.0),
        alone_levels=None if cause is None else alone.get(cause),
        is_harmonic=cause is not None and is_harmonic,
        harmonics=tuple(harmonics),
        is_flat=is_flat,
    )


def _take_largest(shares: Mapping[int, float]) -> int | None:
    """Site with the largest share, if that is a quarter at least."""
    best = max(shares, key=shares.__getitem__, default=None)
    return None if best is None or shares[best] < _LEAST_SHARE else best
