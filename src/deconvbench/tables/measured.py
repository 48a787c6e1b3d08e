"""What was measured of cases, as one column for each fact: from records, or from a journal in bulk.

A journal may have a hundred thousand records, most of them alike: what many share, such as a case or its
conditions, is looked at once. Decides nothing about what the table says: that is `tables.table`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Self

from deconvbench.records.case import Case
from deconvbench.records.conditions import Conditions, describe_conditions
from deconvbench.records.ratio import find_ratio
from deconvbench.records.record import RECORD_FIELDS, Record
from deconvbench.records.schema import BYTE_COLUMNS, TABLE_DTYPES

# what a table takes over from a record as it is
PLAIN_FIELDS = tuple(name for name in RECORD_FIELDS if name in TABLE_DTYPES and name != "conditions")
LATENCY_FIELDS = ("stop_reason", "host_latency_s", "launch_bound")
MEMORY_FIELDS = (*BYTE_COLUMNS, "gradient_bytes")
_COLUMNS = (*PLAIN_FIELDS, *LATENCY_FIELDS, *MEMORY_FIELDS, "conditions", "samples_s", "ratio")


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
        no latency or memory; ``conditions`` as text; ``samples_s``, empty without latency; ``ratio``.
    """

    cases: list[Case] = field(default_factory=list)
    case: list[int] = field(default_factory=list)
    columns: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in _COLUMNS})

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
        return type(self)(self.cases, [self.case[place] for place in places], columns)

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
        return type(self)(cases, joined, columns)


def gather_records(records: Iterable[Record]) -> Measured:
    """Take records apart.

    Parameters
    ----------
    records : iterable of Record
        In any order.
    """
    found = Measured()
    known: dict[Case, int] = {}
    texts: dict[Conditions | None, str | None] = {}
    columns = found.columns
    for record in records:
        found.case.append(_find_place(record.case, found.cases, known))
        for name in PLAIN_FIELDS:
            columns[name].append(getattr(record, name))
        for part, names in ((record.latency, LATENCY_FIELDS), (record.memory, MEMORY_FIELDS)):
            for name in names:
                columns[name].append(None if part is None else getattr(part, name))
        if record.conditions not in texts:
            texts[record.conditions] = describe_conditions(record.conditions) or None
        columns["conditions"].append(texts[record.conditions])
        columns["samples_s"].append(() if record.latency is None else record.latency.samples_s)
        columns["ratio"].append(find_ratio(record))
    return found


def _find_place(case: Case, cases: list[Case], known: dict[Case, int]) -> int:
    place = known.setdefault(case, len(cases))
    if place == len(cases):
        cases.append(case)
    return place
