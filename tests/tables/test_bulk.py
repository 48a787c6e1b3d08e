"""What is read in bulk is what is read line by line, whatever a journal holds."""

import gc
import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.made_journal import make_lines, write_run
from deconvbench.errors import RunFolderError
from deconvbench.records.case import Case
from deconvbench.records.conditions import Conditions
from deconvbench.records.record import AnyRecord, Latency, decode_journal, decode_record, encode_record
from deconvbench.tables import bulk
from deconvbench.tables.bulk import Journal, read_bulk, sort_records
from deconvbench.tables.files import build_tables, load
from deconvbench.tables.table import lay_out_table
from tests.builders import make_case, make_record
from tests.counting import count_calls
from tests.strategies import records as any_records
from tests.tables.made_records import make_latency, make_memory, make_run


def encode(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def read_one_by_one(content: bytes) -> Journal:
    return sort_records(decode_journal(content, "j"))


def lay_out(journal: Journal) -> pd.DataFrame:
    return lay_out_table(journal.measured, journal.others)


def read(reader: Callable[[bytes, str], Journal], content: bytes) -> Journal | str:
    """What was read, or the words with which it was refused."""
    try:
        return reader(content, "j")
    except RunFolderError as error:
        return str(error)


def check_same(content: bytes) -> None:
    """Both readers give the same, or refuse it with the same words."""
    journal, expected = read(read_bulk, content), read(lambda found, _: read_one_by_one(found), content)
    if isinstance(journal, str) or isinstance(expected, str):
        assert journal == expected
        return
    assert journal.others == expected.others
    pd.testing.assert_frame_equal(lay_out(journal), lay_out(expected), check_exact=True)


MEASURED = make_record(
    latency=make_latency(2.0, 1.0, 4.0, host_latency_s=0.5, launch_bound=False),
    memory=make_memory(),
    macs=7,
    baseline_id="transposed-k3-s2-c4x2-8x8",
    ratios=(1.5, 2.0, 1.0),
    conditions=Conditions(policy="settled", pinned_cores=(1,), priority=0),
)
AGAIN = make_record(latency=make_latency(2.0, 9.0, 1.0, repeated=((1, "load"),)), ratios=(1.0, 3.0), replicate=1)


@settings(max_examples=40, deadline=None)
@given(st.lists(any_records, max_size=8))
def test_any_records_are_read_alike(records: list[AnyRecord]) -> None:
    check_same(encode(*map(encode_record, records)))


@pytest.mark.parametrize(
    "records",
    [
        [],
        make_run(),
        [MEASURED],
        [MEASURED, AGAIN, make_record(status="oom", message="too large")],
        [AGAIN, AGAIN],
        # of one measurement the later counts, whichever way each is read
        [AGAIN, make_record(replicate=1, latency=make_latency(7.0))],
        [make_record(replicate=1, latency=make_latency(7.0)), AGAIN],
        [make_record(message="a } b"), make_record(replicate=1, message="Infinity")],
        [make_record(message="é\x00\x1b"), make_record(case=make_case(kernel_size=None))],
    ],
    ids=range(9),
)
def test_records_are_read_alike(records: list[AnyRecord]) -> None:
    check_same(encode(*map(encode_record, records)))


def change(path: str, value: Any) -> str:
    """A record's line in which one value is another, or is removed where that is Ellipsis."""
    line = json.loads(encode_record(MEASURED))
    *parents, name = path.split(".")
    target = line
    for parent in parents:
        target = target[parent]
    if value is ...:
        target.pop(name, None)
    else:
        target[name] = value
    return json.dumps(line, separators=(",", ":"))


VALUES: tuple[Any, ...] = (
    None,
    ...,
    3,
    2.5,
    True,
    "x",
    [],
    [1],
    [None],
    {},
    {"a": 1},
    2**70,
    1e300,
    -1,
    [[1, "a"]],
)
PATHS = (
    "case", "case.upsampler", "case.kernel_size", "case.height", "case.execution", "replicate", "started_at",
    "status", "noisy", "message", "latency", "latency.samples_s", "latency.stop_reason", "latency.launch_bound",
    "latency.host_latency_s", "latency.repeated", "memory", "memory.peak_memory_bytes", "memory.output_bytes",
    "macs", "total_s", "baseline_id", "ratios", "conditions", "conditions.policy", "conditions.pinned_cores",
    "conditions.priority", "kernel", "new", "case.new", "latency.new", "schema_version", "kind",
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_a_value_of_another_kind_is_read_or_refused_alike(path: str) -> None:
    usual = encode_record(make_record(replicate=5))
    for value in VALUES:
        check_same(encode(usual, change(path, value), usual))


GOOD = encode_record(MEASURED)
LINES = [
    f"{GOOD} null",
    f"{GOOD}null",
    f"{GOOD} {GOOD}",
    f"{GOOD}\r{GOOD}",
    f"{GOOD}\r",
    f" {GOOD}",
    GOOD[:-1],
    GOOD + "}",
    GOOD.replace('"samples_s":[2.0', '"samples_s":[NaN'),
    GOOD.replace('"samples_s":[2.0', '"samples_s":[Infinity'),
    GOOD.replace('"samples_s":[2.0', '"samples_s":[Inf'),
    GOOD.replace('"samples_s":[2.0', '"samples_s":[1e400'),
    GOOD.replace('"samples_s":[2.0', f'"samples_s":[1{"0" * 400}'),
    GOOD.replace('"samples_s":[2.0', '"samples_s":[0'),
    GOOD.replace('"samples_s":[2.0', '"samples_s":[-0.0'),
    GOOD.replace('"samples_s":[2.0', '"samples_s":[02'),
    GOOD.replace('"seed":1', '"seed":1,"seed":1'),
    GOOD.replace('"width":8', '"width":8,"width":8'),
    GOOD.replace('"message":""', '"message":"\\ud800"'),
    GOOD.replace('"message":""', '"message":"\x01"'),
    GOOD.replace('"message":""', '"message":"a\\u0000  b\\n"'),
    GOOD.replace('"message":""', '"message":"{}x"'),
    GOOD.replace('"noisy":', '"noisy" : '),
    GOOD.replace('"upsampler":"nearest_conv"', '"upsampler":"Nearest"'),
    '{"schema_version":1,"kind":"record",null',
    '{"schema_version":1,"kind":"record","repeated":[]}',
    "null",
    "",
    "{}",
    "[]",
]


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_a_line_of_another_form_is_read_or_refused_alike(line: str) -> None:
    check_same(encode(line))
    check_same(encode(GOOD, line, GOOD))
    check_same(b"\xef\xbb\xbf" + encode(line, GOOD))
    check_same(encode(GOOD) + line.encode())


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_line_with_bytes_changed_is_read_or_refused_alike(data: st.DataObject) -> None:
    content = bytearray(encode(GOOD))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(
            st.one_of(st.sampled_from(b'0123456789-eE.,:[]{}"\\ntfu\r\n '), st.integers(0, 255))
        )
    check_same(bytes(content))


def test_known_to_be_complete_are_lines_read_in_bulk_that_say_under_what_conditions() -> None:
    unsaid = make_record(replicate=3, latency=make_latency())
    lines = [*map(encode_record, [AGAIN, MEASURED, unsaid]), change("replicate", 4)]
    assert read_bulk(encode(*lines), "j").complete == {1, 3}
    assert read_bulk(encode(*lines[1:]), "j").complete == {0, 2}
    # decoded one by one, as one of them lacks a field or has it twice
    for odd in (change("kernel", ...), GOOD.replace('"replicate":0', '"replicate":0,"replicate":0')):
        found = read(read_bulk, encode(*lines, odd))
        assert isinstance(found, str) or not found.complete


def test_lines_longer_than_a_block_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "_BLOCK_BYTES", 2**10)
    latency = Latency(samples_s=(1.25,) * 5000, calls_per_sample=1, first_call_s=1.0, stop_reason="time_cap")
    check_same(encode(GOOD, encode_record(make_record(replicate=1, latency=latency)), GOOD))


def test_the_collector_of_garbage_is_left_as_it_was() -> None:
    content = encode(GOOD, "null")
    for is_enabled in (True, False):
        (gc.enable if is_enabled else gc.disable)()
        try:
            read_bulk(encode(GOOD), "j")
            with pytest.raises(RunFolderError):
                read_bulk(content, "j")
            assert gc.isenabled() is is_enabled
        finally:
            gc.enable()


# what it costs


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    return {size: write_run(tmp_path_factory.mktemp("run") / str(size), size) for size in (1000, 4000)}


def test_what_a_run_writes_is_not_decoded_line_by_line(
    folders: dict[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []
    made: list[Case] = []

    def note_line(line: str, where: str) -> AnyRecord:
        decoded.append(line)
        return decode_record(line, where)

    def note_case(**values: Any) -> Case:
        made.append(Case(**values))
        return made[-1]

    monkeypatch.setattr(bulk, "decode_record", note_line)
    monkeypatch.setattr(bulk, "Case", note_case)
    read_bulk((folders[1000] / "journal.jsonl").read_bytes(), "j")
    assert not any('"kind":"record"' in line for line in decoded)
    assert len(made) == len(set(made)) == 200


@pytest.mark.parametrize("action", [load, build_tables], ids=["load", "tables"])
def test_the_work_grows_with_the_journal_and_not_faster(
    folders: dict[int, Path], action: Callable[[Path], object]
) -> None:
    action(folders[1000])  # what is imported or cached once
    few, many = (count_calls(partial(action, folder)) for folder in folders.values())
    assert many.total() <= 4 * few.total()
    # no function of pandas is called for each row, or each case
    assert not [name for name, count in many.items() if name.startswith("pandas") and count > few[name] + 200]


def test_a_made_journal_has_the_lines_that_it_was_asked_for() -> None:
    records = decode_journal(encode(*make_lines(700)), "j")
    assert Counter(record.KIND for record in records) == {"record": 700, "quality": 300, "numerics": 180}
    assert [encode_record(record) for record in records] == list(make_lines(700))
