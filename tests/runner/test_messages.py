"""What a run and its workers say to each other survives the way."""

import pytest

from deconvbench.records.record import decode_record, encode_record
from deconvbench.runner.messages import Breakdown, join_lines, split_lines
from tests.builders import make_record


def test_records_that_are_put_into_one_line_come_apart_as_they_were() -> None:
    records = [make_record(message="a\tb \x0b c"), make_record(replicate=1, noise_reason="é")]
    line = join_lines(map(encode_record, records))
    assert line.count("\n") == 0
    assert [decode_record(part, "here") for part in split_lines(line + "\n")] == records


def test_a_breakdown_is_told_from_records() -> None:
    breakdown = Breakdown(
        status="error", message="changed the default dtype\tand more", suspect="x", is_fatal=True
    )
    assert Breakdown.decode(breakdown.encode()) == breakdown
    assert "\n" not in breakdown.encode()
    assert Breakdown.decode(encode_record(make_record())) is None


@pytest.mark.parametrize("content", ["broken ", "broken []", 'broken {"status": 1}', 'broken {"other": "x"}'])
def test_what_only_begins_like_a_breakdown_is_refused(content: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        Breakdown.decode(content)
