"""What a comparison records of a pair of processes."""

import math
from typing import Any

import pytest

from deconvbench.errors import RunFolderError
from deconvbench.records.conditions import Conditions
from deconvbench.records.record import decode_record, encode_record
from tests.builders import make_case, make_pair_record


def test_a_pair_survives_on_disk() -> None:
    record = make_pair_record(log_ratio=0.1, conditions=Conditions(policy="settled", pinned_cores=(1,)))
    assert decode_record(encode_record(record), "journal") == record


def test_case_replicate_and_pair_say_which_measurement_it_is() -> None:
    records = [
        make_pair_record(),
        make_pair_record(pair="control"),
        make_pair_record(replicate=1),
        make_pair_record(case=make_case(height=16)),
    ]
    assert len({record.key for record in records}) == 4
    assert make_pair_record(log_ratio=0.5).key == records[0].key


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"status": "lost"}, "status: 'lost' is not one of"),
        ({"pair": "other"}, "pair: 'other' is not one of head, control"),
        ({"head_samples_s": (1.0,)}, "each round has one of each"),
    ],
    ids=["status", "pair", "rounds"],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_pair_record(**changes)


def test_a_line_with_unequal_rounds_is_named() -> None:
    line = encode_record(make_pair_record(rounds=2)).replace('"head_samples_s":[', '"head_samples_s":[0.5,')
    with pytest.raises(RunFolderError, match="journal: .*each round has one of each"):
        decode_record(line, "journal")


def test_a_message_becomes_one_line() -> None:
    assert make_pair_record(status="error", message="a\nb").message == "a b"


def test_numbers_that_are_none_are_not_written() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode_record(make_pair_record(output_difference=math.inf))
