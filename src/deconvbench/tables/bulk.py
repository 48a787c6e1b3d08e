"""Reading a journal in bulk: its records of cases become columns without being records in between.

Arrow parses the lines that this package wrote in this form, on all cores; every other line, and a journal of which
one line is not in order, is read by `records.record.decode_record`, whose word counts on what a journal may hold.
So nothing is accepted here that it refuses, and both give the same.
"""

import codecs
import contextlib
import gc
import re
import types
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from io import BytesIO
from itertools import compress
from typing import Any, Union, get_args, get_origin

import numpy as np
import pyarrow as pa
from pyarrow import json as arrow_json

from deconvbench.errors import RunFolderError, UsageError
from deconvbench.records.case import CASE_FIELDS, Case
from deconvbench.records.conditions import Conditions, describe_conditions
from deconvbench.records.finishing import STATUSES
from deconvbench.records.record import SCHEMA_VERSION, AnyRecord, Record, decode_journal, decode_record
from deconvbench.system.texts import tidy_line
from deconvbench.tables.measured import (
    LATENCY_FIELDS,
    MEMORY_FIELDS,
    PLAIN_FIELDS,
    Measured,
    compute_ratios,
    gather_records,
)
from deconvbench.tables.ragged import Ragged

_START = f'{{"schema_version":{SCHEMA_VERSION},"kind":"{Record.KIND}",'.encode()
# of samples that were taken again there are pairs of a number and a text, which no column can hold
_NONE_REPEATED = b'"repeated":[]'
# what Arrow reads otherwise than JSON has it: several values in a line, and a number that is none
_NOT_OF_ONE_LINE = re.compile(rb"\}(?![,}\]\n]|\Z)")
_INFINITE = b"Inf"
_BLOCK_BYTES = 2**23
_TYPES = {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}
# by their fields
Cases = dict[tuple[Any, ...], Case]


class _NotInOrderError(Exception):
    """A line is not what this package writes; which, and why, is for the other reader to say."""


@dataclass(frozen=True, slots=True)
class Journal:
    """What a journal holds.

    Parameters
    ----------
    measured : Measured
        Its records of cases, in the order of the lines.
    others : list of record
        Those of every other kind, in the order of the lines.
    complete : set of int
        Places of those records of cases whose lines are known to have every field of today, and each once.
    """

    measured: Measured
    others: list[AnyRecord]
    complete: Set[int] = frozenset()


def read_bulk(content: bytes, where: str, cases: Cases | None = None) -> Journal:
    """Read the bytes of a journal, forgiving a torn last line.

    Parameters
    ----------
    content : bytes
        The whole file.
    where : str
        The file's name, for messages.
    cases : dict, optional
        The cases of journals that were read before, which need no second look; those of this one are added.

    Raises
    ------
    RunFolderError
        As `decode_journal`.
    """
    try:
        with pause_collector():
            return _read_in_order(content.removeprefix(codecs.BOM_UTF8), where, {} if cases is None else cases)
    except (
        _NotInOrderError,
        RunFolderError,
        pa.ArrowException,
    ):  # the first line that is not in order is to be named
        return sort_records(decode_journal(content, where))


def sort_records(records: Iterable[AnyRecord]) -> Journal:
    """Set the records of cases apart from the others.

    Parameters
    ----------
    records : iterable of record
        In the order of the lines.
    """
    every = list(records)
    return Journal(
        gather_records(record for record in every if isinstance(record, Record)),
        [record for record in every if not isinstance(record, Record)],
    )


def is_usual_line(line: bytes) -> bool:
    """Say whether a line begins as this package writes the record of a case; of most lines that is known so.

    Parameters
    ----------
    line : bytes
        One of a journal.
    """
    return line.startswith(_START)


@contextlib.contextmanager
def pause_collector() -> Iterator[None]:
    """Keep Python from looking for cycles among hundreds of thousands of new lists, in which there are none."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _read_in_order(content: bytes, where: str, cases: Cases) -> Journal:
    lines = content.split(b"\n")[:-1]
    usual = [is_usual_line(line) and _NONE_REPEATED in line for line in lines]
    block = b"\n".join([line for line, is_usual in zip(lines, usual, strict=True) if is_usual])
    # a single letter is found ten times as fast
    has_infinite = _INFINITE[:1] in block and _INFINITE in block
    if has_infinite or not block.isascii() or _NOT_OF_ONE_LINE.search(block):
        raise _NotInOrderError
    odd = [number for number, is_usual in enumerate(usual) if not is_usual and lines[number].strip()]
    records = [decode_record(lines[n].decode("utf-8", errors="replace"), f"{where}:{n + 1}") for n in odd]
    rest = sort_records(records)
    fast = _measure_block(block, sum(usual), cases) if block else Measured()
    # Arrow refuses what is there twice, and `_check_nulls` what is not, but where null may be meant
    complete = [conditions is not None for conditions in fast.columns["conditions"]]
    if not len(rest.measured):
        return Journal(fast, rest.others, {*compress(range(len(fast)), complete)})
    # of two records of one measurement the later counts, so the order of the lines is kept
    numbers = [n for n, is_usual in enumerate(usual) if is_usual]
    numbers += [n for n, record in zip(odd, records, strict=True) if isinstance(record, Record)]
    places = sorted(range(len(numbers)), key=numbers.__getitem__)
    complete += [False] * len(rest.measured)
    known = {number for number, place in enumerate(places) if complete[place]}
    return Journal(fast.join(rest.measured).take(places), rest.others, known)


def _measure_block(block: bytes, count: int, cases: Cases) -> Measured:
    table = arrow_json.read_json(
        BytesIO(block),
        read_options=arrow_json.ReadOptions(block_size=_BLOCK_BYTES),
        parse_options=arrow_json.ParseOptions(explicit_schema=_make_schema(), unexpected_field_behavior="error"),
    ).combine_chunks()
    if len(table) != count:
        raise _NotInOrderError
    for field in fields(Record):
        _check_nulls(_get_column(table, field.name), field, block)
    latency, memory = _get_column(table, "latency"), _get_column(table, "memory")
    samples_s = _gather_numbers(_get_field(latency, "samples_s"))
    found = Measured(samples_s=samples_s)
    _fill_cases(found, table, cases)
    columns = found.columns
    for name in PLAIN_FIELDS:
        columns[name] = _list_values(_get_column(table, name))
    if not {*columns["status"]} <= {*STATUSES}:
        raise _NotInOrderError
    for part, names in ((latency, LATENCY_FIELDS), (memory, MEMORY_FIELDS)):
        for name in names:
            columns[name] = _list_values(_get_field(part, name))
    columns["conditions"] = _describe_conditions(_get_column(table, "conditions"))
    columns["ratio"] = compute_ratios(samples_s, _gather_numbers(_get_column(table, "ratios")))
    return found


@cache
def _make_schema() -> pa.Schema:
    columns = {field.name: _find_type(_find_hint(field)) for field in fields(Record)}
    return pa.schema({"schema_version": pa.int64(), "kind": pa.string(), **columns})


def _find_hint(field: Field[Any]) -> Any:
    assert not isinstance(field.type, str)  # no annotation of a record is postponed
    return field.type


def _find_type(hint: Any) -> pa.DataType:
    hint = _strip_none(hint)
    if is_dataclass(hint):
        return pa.struct({each.name: _find_type(_find_hint(each)) for each in fields(hint)})
    if get_origin(hint) is tuple:
        first, last = get_args(hint)[0], get_args(hint)[-1]
        # pairs of several types: there are none in these lines
        return pa.list_(pa.null() if get_origin(first) is tuple and last is ... else _find_type(first))
    return _TYPES[hint]


def _strip_none(hint: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (each for each in get_args(hint) if each is not type(None))
    return hint


def _get_column(table: pa.Table, name: str) -> pa.Array:
    column = table.column(name)
    return column.chunk(0) if column.num_chunks else column.combine_chunks()


def _get_field(part: pa.StructArray, name: str) -> pa.Array:
    """Take one field out of a structure, null where that is."""
    # to lay the structure's nulls over its fields takes all of them
    return part.flatten()[part.type.get_field_index(name)] if part.null_count else part.field(name)


def _check_nulls(column: pa.Array, field: Field[Any], block: bytes, absent: int = 0) -> None:
    """Refuse a null where the annotation has no None, and a field that is missing where it must be there."""
    nulls, inner = column.null_count, _strip_none(_find_hint(field))
    is_needed = field.default is MISSING and field.default_factory is MISSING
    if nulls > absent:
        if inner is _find_hint(field):
            raise _NotInOrderError
        # Arrow says null of both; no text can hold this, since its quotation marks would be escaped
        if is_needed and block.count(f'"{field.name}":'.encode()) != len(column) - absent:
            raise _NotInOrderError
    if is_dataclass(inner):
        for each in fields(inner):
            _check_nulls(_get_field(column, each.name), each, block, nulls)
    elif pa.types.is_list(column.type):
        entries = column.flatten()
        if entries.null_count or (pa.types.is_null(column.type.value_type) and len(entries)):
            raise _NotInOrderError


def _list_values(column: pa.Array, write: Callable[[str], str] = tidy_line) -> list[Any]:
    if pa.types.is_string(column.type):
        # few texts are different, as a rule
        coded = column.dictionary_encode()
        texts = [write(text) for text in coded.dictionary.to_pylist()]
        if not column.null_count:
            return [texts[index] for index in coded.indices.to_numpy().tolist()]
        return [None if index is None else texts[index] for index in coded.indices.to_pylist()]
    if column.null_count == len(column):
        return [None] * len(column)
    if column.null_count:
        return list(column.to_pylist())
    return list(column.to_numpy(zero_copy_only=False).tolist())


def _gather_numbers(column: pa.ListArray) -> Ragged:
    lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    return Ragged(column.flatten().to_numpy(zero_copy_only=False), lengths.astype(np.int64))


def _fill_cases(found: Measured, table: pa.Table, cases: Cases) -> None:
    column = _get_column(table, "case")
    values = [_list_values(_get_field(column, name), str) for name in CASE_FIELDS]
    known: dict[tuple[Any, ...], int] = {}
    for key in zip(*values, strict=True):
        place = known.get(key)
        if place is None:
            place = known[key] = len(known)
            if key not in cases:
                cases[key] = _make(Case, dict(zip(CASE_FIELDS, key, strict=True)))
            found.cases.append(cases[key])
        found.case.append(place)


def _describe_conditions(column: pa.StructArray) -> list[str | None]:
    names = [field.name for field in fields(Conditions)]
    values = [_get_field(column, name).to_pylist() for name in names]
    texts: dict[tuple[Any, ...], str | None] = {}
    described = []
    for policy, allocator, huge_pages, cores, priority in zip(*values, strict=True):
        key = (policy, allocator, huge_pages, None if cores is None else tuple(cores), priority)
        if key not in texts:
            known = None if policy is None else _make(Conditions, dict(zip(names, key, strict=True)))
            texts[key] = describe_conditions(known) or None
        described.append(texts[key])
    return described


def _make(kind: Callable[..., Any], values: dict[str, Any]) -> Any:
    try:
        return kind(**values)
    except (UsageError, ValueError) as error:
        raise _NotInOrderError from error
