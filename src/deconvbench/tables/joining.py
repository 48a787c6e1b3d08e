"""Journals of several runs as one: every measurement once, replicates numbered anew.

A run is known by an id that all its copies share, however far each had got, and a measurement by run, replicate
and what was measured; so the parts may overlap, be interrupted, or be merged runs themselves. Reads each line
once, and keeps it as it is but for the number of its replicate. Takes bytes and gives bytes; knows no folders.
"""

import codecs
import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from deconvbench.errors import RunFolderError, UsageError, quote
from deconvbench.records.metrics import METRICS
from deconvbench.records.origin import KEPT_FACTS, keep_facts
from deconvbench.records.pairs import PairRecord
from deconvbench.records.record import (
    AnyRecord,
    NumericsRecord,
    QualityRecord,
    Record,
    SpeedupRecord,
    decode_record,
    encode_record,
)
from deconvbench.tables.bulk import Cases, Journal, is_usual_line, pause_collector, read_bulk
from deconvbench.tables.measured import Measured

# in a line of JSON, quotation marks within a text are escaped, so this is never part of one
_NUMBER = re.compile(rb'"replicate":\s*(\d+)')
# fields that came later: a line that lacks one is written anew, so that all have one form
_LATER_FIELDS = tuple(f'"{name}":'.encode() for name in ("kernel", "conditions", "ratios", "baseline_id"))

_OF_CASE = f'"{Record.KIND}"'.encode()

# kind, case, and whatever else says which measurement it is, without the replicate
_Topic = tuple[Any, ...]
# id of a run, its own number of the replicate, and what was measured
_Key = tuple[str, int, _Topic]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One of the runs that are to be joined.

    Parameters
    ----------
    name : str
        For messages, and for what the joined run says of it.
    info : mapping
        Its ``run.json``.
    content : bytes
        Its journal; a torn last line does not count.
    """

    name: str
    info: Mapping[str, Any]
    content: bytes


@dataclass(slots=True, kw_only=True)
class Origin:
    """A run that was measured, not merged, and what became of it.

    Parameters
    ----------
    id : str
        The same for every copy of the run.
    facts : dict
        What is kept of its ``run.json``, by `keep_facts` or an earlier merge.
    numbers : dict of int to int
        Its own number of each replicate, and the number in the joined run.
    records : int
        How many of its measurements the joined run has, those without a replicate left out.
    machine_ids : dict of str to None
        Of those, in the order of their first line.
    """

    id: str
    facts: dict[str, Any]
    numbers: dict[int, int] = field(default_factory=dict)
    records: int = 0
    machine_ids: dict[str, None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """Several runs as one.

    Parameters
    ----------
    content : bytes
        The journal.
    measured : Measured
        Its records of cases.
    others : list of record
        Those of every other kind.
    origins : list of Origin
        In the order of the parts; a run that several parts have is one.
    repeated : int
        Measurements that a part had and an earlier one too.
    notes : list of str
        What a reader must know.
    """

    content: bytes
    measured: Measured
    others: list[AnyRecord]
    origins: list[Origin]
    repeated: int
    notes: list[str]


@dataclass(slots=True)
class _Line:
    """One measurement of a part: the line before and behind the number of its replicate, and what it is of.

    Neither has the line's end, which `number_anew` gives it.
    """

    topic: _Topic
    number: int
    head: bytes
    tail: bytes
    machine_id: str
    # its place among the records of cases of its part, or the record itself where it is none of a case
    what: int | SpeedupRecord

    def number_anew(self, number: int) -> bytes:
        return b"%s%d%s\n" % (self.head, number, self.tail)


def join_parts(parts: Sequence[Part], machine: str = "") -> Joined:
    """Join the journals of several runs.

    Parameters
    ----------
    parts : sequence of Part
        Merged runs may be among them; several may hold the same measurements.
    machine : str
        Keep what was measured on this one alone, by its id or the beginning of it; empty keeps all.

    Returns
    -------
    Joined
        Replicates of different runs have different numbers, from 0, in the order of the parts. What does not
        depend on the replicate is kept once: of artifacts the first that is `ok`, of rounding errors the largest.

    Raises
    ------
    RunFolderError
        If a line is not a record.
    UsageError
        If a part holds a comparison of commits or no measurement, two copies of one run differ in one, or nothing
        was measured on `machine`.
    """
    joiner = _Joiner(machine)
    with pause_collector():
        for part, journal in zip(parts, _read_ahead(parts), strict=True):
            joiner.add(part, journal)
    if machine and not joiner.lines:
        known = ", ".join(joiner.left_out) or "none"
        raise UsageError(f"--machine: {quote(machine)} is not the id of a machine in these runs: {known}")
    lines = [f"{encode_record(record)}\n".encode() for record in joiner.shared.values()]
    # what is written now is sorted as a run would have it: replicate by replicate
    lines += [line for number in sorted(joiner.lines) for line in joiner.lines[number]]
    return Joined(
        content=b"".join(lines),
        measured=Measured().join(*joiner.measured),
        others=[*joiner.shared.values(), *joiner.speedups],
        origins=[origin for origin in joiner.origins.values() if origin.records or not machine],
        repeated=joiner.repeated,
        notes=joiner.list_notes(),
    )


def _read_ahead(parts: Sequence[Part]) -> Iterator[Journal]:
    """Read the journals, each while the one before is taken apart: Arrow parses without holding Python up."""
    cases: Cases = {}  # machines measure the same, as a rule
    with ThreadPoolExecutor(max_workers=1) as reader:
        ahead = [reader.submit(read_bulk, part.content, part.name, cases) for part in parts[:1]]
        for following in (*parts[1:], None):
            journal = ahead.pop().result()  # raises, and names, the first line that is not a record
            if following is not None:
                ahead.append(reader.submit(read_bulk, following.content, following.name, cases))
            yield journal


class _Joiner:
    """What was taken so far: every measurement by its origin, its replicate and what was measured."""

    def __init__(self, machine: str) -> None:
        self.machine = machine
        self.left_out: dict[str, None] = {}
        self.origins: dict[str, Origin] = {}
        self.shared: dict[_Topic, QualityRecord | NumericsRecord] = {}
        self.lines: dict[int, list[bytes]] = {}
        self.measured: list[Measured] = []
        self.speedups: list[SpeedupRecord] = []
        self.repeated = 0
        # each line as it was taken, and the part that it is of
        self._known: dict[_Key, tuple[bytes, str]] = {}
        self._differing: dict[str, None] = {}
        self._next = 0

    def add(self, part: Part, journal: Journal) -> None:
        """Take what a part has and those before it had not."""
        lines, others = _take_apart(part, journal)
        places = self._open_part(part)
        found: dict[_Key, _Line] = {}
        order: dict[tuple[str, int], int] = {}
        for line in lines:
            if not line.machine_id.startswith(self.machine):
                self.left_out[line.machine_id] = None
                continue
            origin, number = places.find(line.number)
            order[origin.id, number] = line.number
            # of two lines of one journal on the same measurement the later counts
            found[origin.id, number, line.topic] = line
        for replicate in sorted(order, key=order.__getitem__):
            self._number(*replicate)
        taken: dict[int, int] = {}
        for key, line in found.items():
            new = self._take(key, line, part)
            if new is not None and isinstance(line.what, SpeedupRecord):
                self.speedups.append(replace(line.what, replicate=new))
            elif new is not None and isinstance(line.what, int):
                taken[line.what] = new
        is_whole = len(taken) == len(journal.measured)  # and in order then, as each line is one measurement
        own = journal.measured if is_whole else journal.measured.take([*taken])
        own.columns["replicate"][:] = taken.values()
        self.measured.append(own)
        for record in others:
            self._share(record)
        if not lines and not others:
            raise UsageError(f"{part.name}: its journal has no finished line, so there is nothing to merge")

    def _open_part(self, part: Part) -> "_Places":
        places = _Places(part.name, {})
        merged = part.info.get("merged")
        if not merged:
            origin = self._open_origin(_identify(part), {**keep_facts(part.info), "name": part.name})
            places.single = origin
            return places
        for entry in merged:
            facts = {name: value for name, value in entry.items() if name in KEPT_FACTS or name == "name"}
            origin = self._open_origin(str(entry["id"]), facts)
            places.numbers |= {new: (origin, own) for own, new in entry["replicates"]}
        return places

    def _open_origin(self, identity: str, facts: dict[str, Any]) -> Origin:
        origin = self.origins.setdefault(identity, Origin(id=identity, facts=facts))
        if origin.facts.get("finished_at") is None and facts.get("finished_at") is not None:
            origin.facts = facts  # a copy that got further
        return origin

    def _number(self, identity: str, own: int) -> None:
        numbers = self.origins[identity].numbers
        if own not in numbers:
            numbers[own] = self._next
            self._next += 1

    def _take(self, key: _Key, line: _Line, part: Part) -> int | None:
        """Take a measurement; its replicate's new number, or None where it was there already."""
        identity, number, topic = key
        origin = self.origins[identity]
        new = origin.numbers[number]
        numbered = line.number_anew(new)
        known = self._known.get(key)
        if known is not None:
            if known[0] != numbered:
                raise UsageError(
                    f"{known[1]} and {part.name} are copies of one run, but differ in {topic[1]}, replicate"
                    f" {number}: both were continued; name one of them"
                )
            self.repeated += 1
            return None
        self._known[key] = (numbered, part.name)
        self.lines.setdefault(new, []).append(numbered)
        origin.records += 1
        if line.machine_id:
            origin.machine_ids[line.machine_id] = None
        return new

    def _share(self, record: QualityRecord | NumericsRecord) -> None:
        """Keep what does not depend on the replicate once."""
        known = self.shared.get(record.key)
        if known is None or (known.status != "ok" and record.status == "ok"):
            self.shared[record.key] = record
        elif record.status != "ok" or known.status != "ok":
            return
        elif isinstance(record, NumericsRecord) and isinstance(known, NumericsRecord):
            if (record.numerical_error or 0.0) > (known.numerical_error or 0.0):
                self.shared[record.key] = record
        elif isinstance(record, QualityRecord) and not _agree(known, record):
            self._differing[record.upsampler] = None

    def list_notes(self) -> list[str]:
        """List what a reader must know of the whole."""
        names = ", ".join(self._differing)
        return [f"artifacts differ between runs, the first count: {names}"] if names else []


@dataclass(slots=True)
class _Places:
    """Which run, and which of its replicates, each replicate of a part is."""

    name: str
    numbers: dict[int, tuple[Origin, int]]
    single: Origin | None = None

    def find(self, number: int) -> tuple[Origin, int]:
        if self.single is not None:
            return self.single, number
        if number not in self.numbers:
            raise RunFolderError(f"{self.name}: its run.json does not say which run replicate {number} is of")
        return self.numbers[number]


def _identify(part: Part) -> str:
    """Name a run by what its copies share from their first record on."""
    facts = [str(part.info.get(name)) for name in ("created_at", "seed")]
    content = part.content.removeprefix(codecs.BOM_UTF8)
    end = content.find(b"\n")
    first = content if end < 0 else content[:end]
    return hashlib.blake2b("|".join(facts).encode() + b"\n" + first, digest_size=8).hexdigest()


def _take_apart(part: Part, journal: Journal) -> tuple[list[_Line], list[QualityRecord | NumericsRecord]]:
    """Take a part apart: its measurements line by line, and what does not depend on the replicate."""
    cases = _iterate_cases(journal.measured)
    others = iter(journal.others)
    lines: list[_Line] = []
    shared: list[QualityRecord | NumericsRecord] = []
    content = part.content.removeprefix(codecs.BOM_UTF8)
    for number, line in enumerate(content.split(b"\n")[:-1], 1):
        if not line.strip():
            continue
        where = f"{part.name}, line {number}"
        if is_usual_line(line) or _is_of_case(line, where):
            place, (topic, machine_id) = next(cases)
            is_complete = place in journal.complete
            lines.append(_cut_line(line, topic, machine_id, place, where, is_complete=is_complete))
            continue
        record = next(others)
        if isinstance(record, PairRecord):
            raise UsageError(f"{part.name}: holds a comparison of commits, and no run that could be merged")
        if isinstance(record, SpeedupRecord):
            topic = (record.KIND, record.case.case_id, record.is_frozen)
            lines.append(_cut_line(line, topic, record.machine_id, record, where))
        elif isinstance(record, QualityRecord | NumericsRecord):
            shared.append(record)
    return lines, shared


def _iterate_cases(measured: Measured) -> Iterator[tuple[int, tuple[_Topic, str]]]:
    topics = [(Record.KIND, case.case_id) for case in measured.cases]
    machines = measured.columns["machine_id"]
    return enumerate(zip((topics[place] for place in measured.case), machines, strict=True))


def _is_of_case(line: bytes, where: str) -> bool:
    """Say whether a line is the record of a case; most that are not need no second look."""
    may_be = _OF_CASE in line or b"\\" in line  # what JSON escapes may be any text
    return may_be and isinstance(_decode(line, where), Record)


def _decode(line: bytes, where: str) -> AnyRecord:
    return decode_record(line.decode("utf-8", errors="replace"), where)


def _cut_line(
    line: bytes,
    topic: _Topic,
    machine_id: str,
    what: int | SpeedupRecord,
    where: str,
    *,
    is_complete: bool = False,
) -> _Line:
    """Cut a line at the number of its replicate; one of an earlier form is written in the present one first."""
    found = _NUMBER.search(line)
    if found is None or not (is_complete or _has_all_once(line, topic, found.end())):
        # numbers that JSON has no word for stay as another program wrote them
        with contextlib.suppress(ValueError):
            line = encode_record(_decode(line, where)).encode()
        found = _NUMBER.search(line)
    if found is None:
        raise RunFolderError(f"{where}: has no replicate that could be numbered anew")
    start, end = found.span(1)
    return _Line(topic, int(line[start:end]), line[:start], line[end:].rstrip(b"\r"), machine_id, what)


def _has_all_once(line: bytes, topic: _Topic, end: int) -> bool:
    """Say whether a line has what came later, and no second number behind the first, which ends there."""
    # fields that came later are written last, so the search begins there
    is_old = topic[0] == Record.KIND and -1 in [line.rfind(name) for name in _LATER_FIELDS]
    return not is_old and _NUMBER.search(line, end) is None


def _agree(first: QualityRecord | NumericsRecord, second: QualityRecord) -> bool:
    """Say whether two measurements of the same artifacts are the same but for rounding."""
    assert isinstance(first, QualityRecord)  # their keys begin with the kind
    for name in dict.fromkeys(chain(first.metrics, second.metrics)):
        one, other = first.metrics.get(name), second.metrics.get(name)
        if one is None or other is None or name not in METRICS:
            continue
        share, amount = METRICS[name].tolerance or (0.0, 0.0)
        if abs(one - other) > max(share * max(abs(one), abs(other)), amount):
            return False
    return first.channels == second.channels
