"""Journals joined: nothing lost, nothing twice, whatever the parts share."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deconvbench.errors import RunFolderError, UsageError
from deconvbench.records.case import Case
from deconvbench.records.conditions import Conditions
from deconvbench.records.record import (
    AnyRecord,
    NumericsRecord,
    QualityRecord,
    Record,
    decode_journal,
    decode_record,
    encode_record,
)
from deconvbench.tables import bulk, joining
from deconvbench.tables.joining import Joined, Part, join_parts
from tests.builders import make_case, make_pair_record, make_record
from tests.made_machines import make_machine_records
from tests.made_speedups import make_speedup_record
from tests.tables.made_records import make_latency, make_numerics, make_quality

SAMPLE = Path(__file__).parents[1] / "samples" / "before_packages" / "run"


def encode(records: list[AnyRecord]) -> bytes:
    return "".join(encode_record(record) + "\n" for record in records).encode()


def make_part(name: str, records: list[AnyRecord] | None = None, **info: Any) -> Part:
    found = make_machine_records(name) if records is None else records
    return Part(name=name, info={"created_at": f"made {name}", "seed": 1, **info}, content=encode(found))


def describe_again(joined: Joined, name: str = "merged") -> Part:
    """A part that is itself the outcome of a merge."""
    entries = [
        {**origin.facts, "id": origin.id, "replicates": sorted(origin.numbers.items())}
        for origin in joined.origins
    ]
    return Part(name=name, info={"merged": entries}, content=joined.content)


def list_cases(content: bytes) -> list[Record]:
    return [record for record in decode_journal(content, "journal") if isinstance(record, Record)]


def list_measured(content: bytes) -> list[tuple[Any, ...]]:
    """Each measurement without the number of its replicate."""
    return sorted(
        (r.case.case_id, r.machine_id, r.latency.samples_s) for r in list_cases(content) if r.latency is not None
    )


def test_replicates_of_different_runs_get_different_numbers_in_order() -> None:
    joined = join_parts([make_part("a"), make_part("b")])
    records = list_cases(joined.content)
    assert len({record.key for record in records}) == len(records) == 36
    by_machine = {name: sorted({r.replicate for r in records if r.machine_id == name}) for name in "ab"}
    assert by_machine == {"a": [0, 1, 2], "b": [3, 4, 5]}
    assert [origin.numbers for origin in joined.origins] == [{0: 0, 1: 1, 2: 2}, {0: 3, 1: 4, 2: 5}]
    assert [origin.records for origin in joined.origins] == [18, 18]
    assert list_measured(joined.content) == sorted(
        list_measured(make_part("a").content) + list_measured(make_part("b").content)
    )


def test_runs_of_one_machine_become_further_replicates() -> None:
    first, second = make_part("a"), make_part("a", make_machine_records("a", seconds=2e-3), created_at="later")
    joined = join_parts([first, second])
    assert [list(origin.machine_ids) for origin in joined.origins] == [["a"], ["a"]]
    records = list_cases(joined.content)
    assert len({record.key for record in records}) == 36


def test_a_copy_of_a_run_counts_once_and_one_that_got_further_adds_what_it_has() -> None:
    whole = make_part("a")
    lines = whole.content.splitlines(keepends=True)
    part = Part(name="part", info=whole.info, content=b"".join(lines[:20]) + lines[20][:40])
    for order in ([whole, part], [part, whole], [part, whole, make_part("b")]):
        joined = join_parts(order)
        assert joined.repeated == 20 - 12  # lines without a replicate are no measurements
        own = [m for m in list_measured(joined.content) if m[1] == "a"]
        assert own == list_measured(whole.content)


def test_merging_merged_runs_again_changes_nothing() -> None:
    parts = [make_part(name) for name in "abc"]
    once = join_parts(parts)
    for again in (
        [describe_again(join_parts(parts[:2])), parts[2]],
        [describe_again(join_parts(parts[1:])), describe_again(join_parts(parts[:2]), "other"), parts[1]],
        [describe_again(once), describe_again(once, "copy")],
    ):
        joined = join_parts(again)
        assert list_measured(joined.content) == list_measured(once.content)
        assert {o.id: o.facts["name"] for o in joined.origins} == {o.id: o.facts["name"] for o in once.origins}
    assert join_parts([describe_again(once), parts[0]]).content == once.content


def test_copies_that_were_both_continued_are_refused() -> None:
    records = make_machine_records("a")
    other = [*records[:-1], make_record(case=records[-1].case, replicate=2, machine_id="a")]  # type: ignore[union-attr]
    with pytest.raises(
        UsageError, match=r"^x and y are copies of one run, but differ in bicubic_conv-k3.*replicate 2"
    ):
        join_parts([make_part("x", records, created_at=""), make_part("y", other, created_at="")])


def test_of_two_lines_of_one_journal_on_one_measurement_the_later_counts() -> None:
    first, second = (make_record(machine_id="a", latency=make_latency(s)) for s in (1.0, 2.0))
    joined = join_parts([make_part("a", [first, second]), make_part("b")])
    assert [m for m in list_measured(joined.content) if m[1] == "a"] == [(make_case().case_id, "a", (2.0,))]
    assert joined.repeated == 0


def test_artifacts_are_kept_once_and_the_largest_rounding_error() -> None:
    good, failed = (
        make_quality(metrics={"phase_ripple": 0.5}),
        make_quality(status="error", message="x", metrics={}),
    )
    parts = [
        make_part("a", [failed, make_numerics(numerical_error=1e-7), make_record()]),
        make_part("b", [good, make_numerics(numerical_error=3e-7), make_record()]),
        make_part("c", [good, make_numerics(status="error", numerical_error=None), make_record()]),
    ]
    joined = join_parts(parts)
    found = decode_journal(joined.content, "journal")
    assert [r for r in found if isinstance(r, QualityRecord)] == [good]
    assert [r.numerical_error for r in found if isinstance(r, NumericsRecord)] == [3e-7]
    assert joined.notes == []
    other = make_part("d", [make_quality(metrics={"phase_ripple": 0.6}), make_record()])
    assert join_parts([*parts, other]).notes == ["artifacts differ between runs, the first count: nearest_conv"]


def test_interleaved_timings_are_renumbered_too() -> None:
    joined = join_parts(
        [
            make_part(name, [replace(make_speedup_record(make_case()), total_s=float(index))])
            for index, name in enumerate("ab")
        ]
    )
    assert [r.replicate for r in decode_journal(joined.content, "journal")] == [0, 1]  # type: ignore[union-attr]


def test_a_line_keeps_every_byte_but_the_number() -> None:
    line = encode_record(make_record(message='says "replicate":5 and more', status="error"))
    spaced = line.replace('"seed":1', '"seed": 1')
    part = Part(name="b", info={}, content=f"{spaced}\n".encode())
    joined = join_parts([make_part("a", [make_record()]), part])
    assert joined.content.splitlines()[1].decode() == spaced.replace('"replicate":0', '"replicate":1')


def test_early_lines_are_written_in_the_present_form(monkeypatch: pytest.MonkeyPatch) -> None:
    content = (SAMPLE / "journal.jsonl").read_bytes()
    assert b'"kernel"' not in content
    joined = join_parts([Part(name="early", info={}, content=content), make_part("b")])
    assert list_measured(content) == [m for m in list_measured(joined.content) if m[1] != "b"]

    def refuse(*_: Any) -> Any:
        raise AssertionError("the whole journal is read line by line")

    monkeypatch.setattr(bulk, "decode_journal", refuse)
    assert len(bulk.read_bulk(joined.content, "merged").measured)


def test_a_line_that_was_read_in_bulk_needs_no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[bytes] = []
    look = joining._has_all_once

    def note(line: bytes, *arguments: Any) -> bool:
        looked_at.append(line)
        return look(line, *arguments)

    monkeypatch.setattr(joining, "_has_all_once", note)
    conditions = Conditions(policy="settled", pinned_cores=(1,))
    usual = make_record(machine_id="m", latency=make_latency(), conditions=conditions)
    # null may have been meant, or the line be older than conditions; and Arrow reads no samples taken again
    unknown = replace(usual, replicate=1, conditions=None)
    again = replace(usual, replicate=2, latency=make_latency(1.0, 2.0, repeated=((1, "load"),)))
    joined = join_parts([make_part("a", [usual]), make_part("b", [again, usual, unknown])])
    assert [decode_record(line.decode(), "a line") for line in looked_at] == [again, unknown]
    assert sorted(record.replicate for record in list_cases(joined.content)) == [0, 1, 2, 3]


def test_a_line_without_conditions_is_written_anew_and_one_with_null_stays() -> None:
    line = encode_record(make_record(machine_id="m", latency=make_latency()))
    older = line.replace('"conditions":null,', "")
    assert older != line
    for content in (line, older):
        part = Part(name="a", info={}, content=f"{content}\n".encode())
        assert join_parts([part]).content == f"{line}\n".encode()


def test_lines_of_other_programs_are_joined_too() -> None:
    line = encode_record(make_record(machine_id="x"))
    escaped = line.replace('"kind":"record"', '"kind":"\\u0072ecord"').replace(":", ": ")
    part = Part(name="x", info={}, content=f"{encode_record(make_quality())}\n{escaped}\n".encode())
    joined = join_parts([make_part("a", [make_record(latency=make_latency(1.0))]), part])
    assert [record.replicate for record in list_cases(joined.content)] == [0, 1]


def test_numbers_that_json_cannot_write_stay() -> None:
    line = encode_record(make_record(latency_pass_s=1.5)).replace('"latency_pass_s":1.5', '"latency_pass_s":NaN')
    early = line.replace(',"kernel":""', "")
    joined = join_parts([Part(name="a", info={}, content=f"{early}\n".encode()), make_part("b")])
    assert early.encode() in joined.content


def test_what_cannot_be_joined_is_named() -> None:
    good = make_part("a")
    with pytest.raises(UsageError, match="^c: holds a comparison of commits"):
        join_parts([good, make_part("c", [make_pair_record()])])
    with pytest.raises(UsageError, match="^d: its journal has no finished line"):
        join_parts([good, Part(name="d", info={}, content=good.content[:30])])
    with pytest.raises(RunFolderError, match=r"^e:1: written with schema 99; this version reads up to 1$"):
        join_parts([good, Part(name="e", info={}, content=b'{"schema_version":99,"kind":"record"}\n')])
    again = describe_again(join_parts([good, make_part("b")]))
    entries = again.info["merged"][:1]
    with pytest.raises(RunFolderError, match="does not say which run replicate 3 is of"):
        join_parts([good, Part(name="m", info={"merged": entries}, content=again.content)])


def test_the_work_grows_with_the_lines_and_not_with_their_square(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line is cut once and numbered once, however many parts there are; each journal is parsed once."""
    counts = {"cut": 0, "number": 0, "read": 0}
    cut, number, read = joining._cut_line, joining._Line.number_anew, bulk.read_bulk

    def count_cut(*arguments: Any, **named: Any) -> Any:
        counts["cut"] += 1
        return cut(*arguments, **named)

    def count_number(line: Any, new: int) -> bytes:
        counts["number"] += 1
        return number(line, new)

    def count_read(*arguments: Any) -> Any:
        counts["read"] += 1
        return read(*arguments)

    monkeypatch.setattr(joining, "_cut_line", count_cut)
    monkeypatch.setattr(joining._Line, "number_anew", count_number)
    monkeypatch.setattr(joining, "read_bulk", count_read)
    monkeypatch.setattr(joining, "decode_record", lambda *_: pytest.fail("a line in order is not decoded"))
    monkeypatch.setattr(bulk, "decode_journal", lambda *_: pytest.fail("a journal in order is read in bulk"))
    for parts in (2, 4, 8):
        counts.update(cut=0, number=0, read=0)
        join_parts(
            [
                make_part(f"m{n}", [make_record(machine_id=f"m{n}", replicate=r) for r in range(9)])
                for n in range(parts)
            ]
        )
        assert counts == {"cut": 9 * parts, "number": 9 * parts, "read": parts}


def test_a_case_is_looked_at_once_however_many_machines_measured_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Case] = []

    def note(**values: Any) -> Case:
        made.append(Case(**values))
        return made[-1]

    monkeypatch.setattr(bulk, "Case", note)
    cases = [make_case(height=height) for height in (8, 9)]
    parts = [
        make_part(
            f"m{n}", [make_record(case=case, machine_id=f"m{n}", latency=make_latency(1.0)) for case in cases]
        )
        for n in range(4)
    ]
    assert join_parts(parts).measured.cases == made == cases
