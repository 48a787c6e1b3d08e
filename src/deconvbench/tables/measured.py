"""What was measured of cases, as one column for each fact: from records, or from a journal in bulk.

A journal may have a hundred thousand records, most of them alike: what many share, such as a case or its
conditions, is looked at once. Decides nothing about what the table says: that is `tables.table`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Self

import numpy as np

from deconvbench.records.case import Case
from deconvbench.records.conditions import Conditions, describe_conditions
from deconvbench.records.ratio import compute_ratio, find_ratio, find_tenth
from deconvbench.records.record import RECORD_FIELDS, Record
from deconvbench.records.schema import BYTE_COLUMNS, TABLE_DTYPES
from deconvbench.tables.ragged import Ragged, are_times

# what a table takes over from a record as it is
PLAIN_FIELDS = tuple(name for name in RECORD_FIELDS if name in TABLE_DTYPES and name != "conditions")
LATENCY_FIELDS = ("stop_reason", "host_latency_s", "launch_bound")
MEMORY_FIELDS = (*BYTE_COLUMNS, "gradient_bytes")
_COLUMNS = (*PLAIN_FIELDS, *LATENCY_FIELDS, *MEMORY_FIELDS, "conditions", "ratio")


@dataclass(frozen=True, slots=True)
class Measured:
    """Records of cases, taken apart.

    Parameters
    ----------
    cases : list of Case
        Each once.
    case : list of int
        For each record the place of its case in `cases`.
    columns : dict of str to list
        For each record what it holds under `PLAIN_FIELDS`, `LATENCY_FIELDS` and `MEMORY_FIELDS`, None where it has
        no latency or memory; ``conditions`` as text; ``ratio``.
    samples_s : Ragged
        The samples of each record; none without latency.
    """

    cases: list[Case] = field(default_factory=list)
    case: list[int] = field(default_factory=list)
    columns: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in _COLUMNS})
    samples_s: Ragged = field(default_factory=Ragged)

    def __len__(self) -> int:
        return len(self.case)

    def take(self, places: Sequence[int]) -> Self:
        """Keep some records, in the order given.

        Parameters
        ----------
        places : sequence of int
            Of records.
        """
        columns = {name: [values[place] for place in places] for name, values in self.columns.items()}
        return type(self)(self.cases, [self.case[place] for place in places], columns, self.samples_s.take(places))

    def join(self, *others: Self) -> Self:
        """Put the records of others behind these.

        Parameters
        ----------
        *others : Measured
            Their cases may be among these.
        """
        cases = list(self.cases)
        known = {case: place for place, case in enumerate(cases)}
        joined = list(self.case)
        for other in others:
            places = [_find_place(case, cases, known) for case in other.cases]
            joined += [places[number] for number in other.case]
        columns = {name: [*chain(v, *(o.columns[name] for o in others))] for name, v in self.columns.items()}
        return type(self)(cases, joined, columns, self.samples_s.join(*(other.samples_s for other in others)))


def gather_records(records: Iterable[Record]) -> Measured:
    """Take records apart.

    Parameters
    ----------
    records : iterable of Record
        In any order.
    """
    every = list(records)
    samples_s = Ragged.gather(() if record.latency is None else record.latency.samples_s for record in every)
    found = Measured(samples_s=samples_s)
    known: dict[Case, int] = {}
    texts: dict[Conditions | None, str | None] = {}
    columns = found.columns
    for record in every:
        found.case.append(_find_place(record.case, found.cases, known))
        for name in PLAIN_FIELDS:
            columns[name].append(getattr(record, name))
        for part, names in ((record.latency, LATENCY_FIELDS), (record.memory, MEMORY_FIELDS)):
            for name in names:
                columns[name].append(None if part is None else getattr(part, name))
        if record.conditions not in texts:
            texts[record.conditions] = describe_conditions(record.conditions) or None
        columns["conditions"].append(texts[record.conditions])
        columns["ratio"].append(find_ratio(record))
    return found


def compute_ratios(samples_s: Ragged, ratios: Ragged) -> list[float | None]:
    """Compute the ratio of each of many records, of which no sample was taken again.

    Parameters
    ----------
    samples_s : Ragged
        Seconds per call.
    ratios : Ragged
        Over those of the baseline.

    Returns
    -------
    list of float or None
        What `compute_ratio` gives for each row.
    """
    found: list[float | None] = [None] * len(ratios)
    are_whole = [each.count(are_times(each.values)) == each.lengths for each in (samples_s, ratios)]
    is_usual = np.logical_and(*are_whole) & (samples_s.lengths == ratios.lengths)
    usual = np.flatnonzero(is_usual)
    groups = (each.take(usual).group() for each in (samples_s, ratios))
    # as `compute_ratio` does, for all rows of one length at a time
    for (rows, own_s), (_, over) in zip(*groups, strict=True):
        with np.errstate(all="ignore"):
            baseline_s = find_tenth([*np.sort(own_s / over, axis=1).T])
            quotients = find_tenth([*np.sort(own_s, axis=1).T]) / baseline_s
        is_usual[usual[rows[baseline_s == 0]]] = False
        for place, quotient in zip(usual[rows].tolist(), quotients.tolist(), strict=True):
            found[place] = quotient
    for place in np.flatnonzero(~is_usual & (ratios.lengths > 0)).tolist():
        found[place] = compute_ratio(samples_s.list_row(place), ratios.list_row(place))
    return found


def _find_place(case: Case, cases: list[Case], known: dict[Case, int]) -> int:
    place = known.setdefault(case, len(cases))
    if place == len(cases):
        cases.append(case)
    return place
