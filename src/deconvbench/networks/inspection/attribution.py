"""Which site causes the ripple in a network's output: equal phase gains at one site at a time, and another look.

Plain colours show it without any content; in outputs for real images it is the difference that counts, from which
content cancels.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from deconvbench.measure.artifacts.spectrum import CheckerboardResult
from deconvbench.networks.inspection.periodic import PeriodicPart
from deconvbench.records.audit import Attribution

# amplitude in levels from which a cause is looked for, and how much of the power it must have
LEAST_LEVELS = 0.05
_LEAST_SHARE = 0.25
# of what chance would make of it
_SIGNIFICANT = 4.0


def is_significant(part: PeriodicPart, period: int) -> bool:
    """Whether the ripple of one period is more than chance."""
    return part.power[period] > _SIGNIFICANT * part.scatter and part.power[period] > LEAST_LEVELS**2


def attribute_flat(
    before: PeriodicPart,
    colour: PeriodicPart,
    after: Mapping[int, PeriodicPart | None],
    paths: Mapping[int, str],
) -> list[Attribution]:
    """Find the cause of each period in plain colours.

    Parameters
    ----------
    before : PeriodicPart
        Of the network as it is, over all colours.
    colour : PeriodicPart
        The same of the one colour that `after` is of.
    after : mapping of int to PeriodicPart or None
        With equal gains at one site, by its number.
    paths : mapping of int to str
        Of all sites.

    Returns
    -------
    list of Attribution
        By period; of those with a ripple that is more than chance.
    """
    found = []
    for period, power in before.power.items():
        if not is_significant(before, period):
            continue
        own = colour.power[period]
        removed = {
            number: 1 - part.power[period] / own for number, part in after.items() if part is not None and own > 0
        }
        found.append(_name_cause(period, math.sqrt(power), removed, paths, is_flat=True))
    return found


def attribute_alone(
    attributions: Sequence[Attribution], alone: Mapping[int, PeriodicPart | None], paths: Mapping[int, str]
) -> list[Attribution]:
    """Find the cause where no site removes a ripple by itself, as ripples of several sites cancel in part.

    Parameters
    ----------
    attributions : sequence of Attribution
        In plain colours.
    alone : mapping of int to PeriodicPart or None
        With equal gains at all other sites, by the number of the one that is left.
    paths : mapping of int to str
        Of all sites.

    Returns
    -------
    list of Attribution
        The same, with a cause more.
    """
    found = []
    for attribution in attributions:
        powers = {number: part.power[attribution.period] for number, part in alone.items() if part is not None}
        best = max(powers, key=powers.__getitem__, default=None)
        if attribution.site is None and best is not None:
            levels = math.sqrt(powers[best])
            if levels**2 >= _LEAST_SHARE * attribution.levels**2:
                attribution = replace(  # noqa: PLW2901 -- the same, with a cause
                    attribution, site=best, path=paths[best], removed_share=math.nan, alone_levels=levels
                )
        found.append(attribution)
    return found


def attribute_real(
    before: CheckerboardResult, differences: Mapping[int, CheckerboardResult | None], paths: Mapping[int, str]
) -> list[Attribution]:
    """Find the cause of each period in outputs for real images, where plain colours cannot be used.

    Parameters
    ----------
    before : CheckerboardResult
        Of the outputs.
    differences : mapping of int to CheckerboardResult or None
        What equal gains at one site change in them, by its number.
    paths : mapping of int to str
        Of all sites.

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
        found.append(_name_cause(period, max(amplitude, *changes.values()), shares, paths, is_flat=False))
    return found


def _name_cause(
    period: int, levels: float, removed: Mapping[int, float], paths: Mapping[int, str], *, is_flat: bool
) -> Attribution:
    best = max(removed, key=removed.__getitem__, default=None)
    if best is None or removed[best] < _LEAST_SHARE:
        return Attribution(period=period, levels=levels, site=None, path="", removed_share=0.0, is_flat=is_flat)
    return Attribution(
        period=period,
        levels=levels,
        site=best,
        path=paths[best],
        removed_share=removed[best],
        is_flat=is_flat,
    )
