import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deconvbench.errors import RunFolderError
from deconvbench.records.record import (
    RECORD_FIELDS,
    SCHEMA_VERSION,
    AnyRecord,
    Latency,
    Memory,
    NumericsRecord,
    QualityRecord,
    decode_journal,
    decode_record,
    encode_record,
)
from tests.builders import make_case, make_record
from tests.made_speedups import make_speedup_record
from tests.strategies import records

WHERE = "runs/x/journal.jsonl"


def make_full_record(**changes: Any) -> AnyRecord:
    latency = Latency(samples_s=(0.1, 0.2), calls_per_sample=3, first_call_s=0.5, stop_reason="precision")
    memory = Memory(
        peak_memory_bytes=100,
        peak_reserved_bytes=None,
        input_bytes=10,
        output_bytes=20,
        parameter_bytes=5,
        gradient_bytes=0,
    )
    return make_record(latency=latency, memory=memory, macs=7, **changes)


def edit(record: AnyRecord, **changes: Any) -> str:
    return json.dumps({**json.loads(encode_record(record)), **changes})


@settings(deadline=None, max_examples=150)
@given(records)
def test_decoding_gives_the_record_back(record: AnyRecord) -> None:
    line = encode_record(record)
    assert line.isascii()
    assert "\n" not in line
    assert decode_record(line, WHERE) == record


@settings(deadline=None, max_examples=50)
@given(st.lists(records, max_size=4))
def test_a_journal_gives_its_records_back_in_order(written: list[AnyRecord]) -> None:
    content = "".join(encode_record(record) + "\n" for record in written).encode()
    assert decode_journal(content, WHERE) == written


@settings(deadline=None, max_examples=20)
@given(st.lists(records, max_size=2), records)
def test_torn_at_every_byte_of_the_last_record_the_others_are_read(
    written: list[AnyRecord], last: AnyRecord
) -> None:
    before = "".join(encode_record(record) + "\n" for record in written).encode()
    line = encode_record(last).encode()
    for cut in range(len(line) + 1):
        assert decode_journal(before + line[:cut], WHERE) == written
    assert decode_journal(before + line + b"\n", WHERE) == [*written, last]


@pytest.mark.parametrize(
    "record", [make_full_record(), make_record(status="oom", message="boom")], ids=["ok", "oom"]
)
def test_a_line_says_its_kind_and_schema(record: AnyRecord) -> None:
    data = json.loads(encode_record(record))
    assert (data["schema_version"], data["kind"]) == (SCHEMA_VERSION, "record")
    assert set(data) == {"schema_version", "kind", *RECORD_FIELDS}


@pytest.mark.parametrize("kind", ["record", "quality", "numerics", "speedup"])
def test_a_newer_schema_is_refused_with_both_versions(kind: str) -> None:
    line = json.dumps({"schema_version": SCHEMA_VERSION + 1, "kind": kind, "something_new": 1})
    with pytest.raises(RunFolderError) as caught:
        decode_journal(line.encode() + b"\n", WHERE)
    assert str(caught.value) == (
        f"{WHERE}:1: written with schema {SCHEMA_VERSION + 1}; this version reads up to {SCHEMA_VERSION}"
    )


DAMAGED = {
    "cut": encode_record(make_full_record())[:40],
    "no-json": "hello",
    "no-object": "[1, 2]",
    "number": "7",
    "no-schema": '{"kind": "record"}',
    "no-kind": '{"schema_version": 1}',
    "unknown-kind": '{"schema_version": 1, "kind": "wish"}',
    "kind-is-a-list": '{"schema_version": 1, "kind": []}',
    "missing-fields": '{"schema_version": 1, "kind": "quality"}',
    "unknown-field": edit(make_full_record(), colour="red"),
    "no-case": edit(make_full_record(), case=None),
    "half-a-case": edit(make_full_record(), case={"upsampler": "nearest_conv"}),
    "half-a-latency": edit(make_full_record(), latency={"samples_s": [1.0]}),
    "half-a-memory": edit(make_full_record(), memory={}),
    "speedup-without-case": '{"schema_version": 1, "kind": "speedup", "case": null}',
    "speedup-samples-are-a-list": edit(make_speedup_record(make_case()), samples_s=[1.0]),
    "speedup-twins-are-missing": edit(make_speedup_record(make_case()), twins=None),
    "unknown-status": edit(make_full_record(), status="fine"),
    "binary": "\x00\x01",
}


@pytest.mark.parametrize("line", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_line_in_the_middle_is_named_by_file_and_line(line: str) -> None:
    good = encode_record(make_full_record())
    content = f"{good}\n{line}\n{good}\n".encode()
    with pytest.raises(RunFolderError) as caught:
        decode_journal(content, WHERE)
    message = str(caught.value)
    assert message.startswith(f"{WHERE}:2: not a record of deconvbench: ")
    assert "\n" not in message


@pytest.mark.parametrize(
    "line",
    [
        edit(make_full_record(), schema_version="1"),
        edit(make_full_record(), schema_version=None),
        edit(make_full_record(), case={**json.loads(encode_record(make_record()))["case"], "height": 0}),
        edit(make_full_record(), latency=[]),
        edit(make_full_record(), latency=7),
    ],
    ids=["schema-is-a-text", "schema-is-null", "case-that-cannot-be", "latency-is-a-list", "latency-is-a-number"],
)
def test_a_line_with_values_that_cannot_be_is_named_as_well(line: str) -> None:
    with pytest.raises(RunFolderError, match=rf"^{WHERE}:1: not a record of deconvbench: "):
        decode_journal(line.encode() + b"\n", WHERE)


def test_bytes_that_are_no_text_are_a_damaged_line() -> None:
    with pytest.raises(RunFolderError, match=":1: not a record"):
        decode_journal(b"\xff\xfe\x00\n", WHERE)


def test_empty_lines_and_an_empty_journal_hold_nothing() -> None:
    assert decode_journal(b"", WHERE) == []
    line = encode_record(make_record()).encode()
    assert decode_journal(b"\n" + line + b"\n\n", WHERE) == [make_record()]


@pytest.mark.parametrize("value", [math.nan, math.inf], ids=str)
def test_a_number_that_json_has_no_word_for_is_not_written(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode_record(make_record(total_s=value))


def test_an_unknown_status_is_refused_in_every_kind() -> None:
    layer: dict[str, Any] = {"upsampler": "bilinear", "kernel_size": None, "scale_factor": 2, "status": "fine"}
    with pytest.raises(
        ValueError, match="status: 'fine' is not one of ok, oom, crashed, timeout, unsupported, error"
    ):
        make_record(status="fine")
    with pytest.raises(ValueError, match="status: 'fine'"):
        QualityRecord(**layer, seed=0, channels=4)
    with pytest.raises(ValueError, match="status: 'fine'"):
        NumericsRecord(**layer, in_channels=4, out_channels=4, dtype="float32", device="cpu")


def test_keys_tell_measurements_apart() -> None:
    layer: dict[str, Any] = {"upsampler": "bilinear", "kernel_size": None, "scale_factor": 2, "status": "ok"}
    numerics: dict[str, Any] = {**layer, "in_channels": 4, "out_channels": 4, "device": "cpu"}
    different: list[AnyRecord] = [
        make_record(),
        make_record(replicate=1),
        make_record(case=make_case(height=9)),
        make_speedup_record(make_case()),
        make_speedup_record(make_case(), is_frozen=True),
        make_speedup_record(make_case(), replicate=1),
        make_speedup_record(make_case(height=9, width=9)),
        QualityRecord(**layer, seed=0, channels=4),
        QualityRecord(**layer, seed=1, channels=4),
        NumericsRecord(**numerics, dtype="float32"),
        NumericsRecord(**numerics, dtype="float16"),
    ]
    assert len({record.key for record in different}) == len(different)
    # what came out does not change what was asked
    assert make_record(status="oom", process_index=3, order=5).key == make_record().key


def test_a_journal_of_before_speedups_is_read() -> None:
    # written by the first version of this package, word for word
    line = (
        '{"schema_version":1,"kind":"numerics","upsampler":"subpixel","kernel_size":3,"scale_factor":2,'
        '"in_channels":4,"out_channels":2,"dtype":"float32","device":"cpu","status":"ok","message":"",'
        '"numerical_error":1e-07,"total_s":0.1}\n'
    )
    (record,) = decode_journal(line.encode(), WHERE)
    assert isinstance(record, NumericsRecord)
    assert record.numerical_error == 1e-7
