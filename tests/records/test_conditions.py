import json
from dataclasses import asdict

import pytest

from deconvbench.errors import RunFolderError
from deconvbench.records.conditions import Conditions, describe_conditions
from deconvbench.records.record import Latency, Record, decode_record, encode_record
from tests.builders import make_record

SETTLED = Conditions(policy="settled", allocator="settled", huge_pages="malloc", pinned_cores=(1,), priority=0)


@pytest.mark.parametrize(
    ("conditions", "text"),
    [
        (None, ""),
        (Conditions(), "system"),
        (SETTLED, "settled; huge pages malloc; pinned"),
        (Conditions(policy="settled", huge_pages="never"), "settled; allocator system; huge pages never"),
        (Conditions(allocator="libjemalloc.so.2"), "system; allocator libjemalloc.so.2"),
        (Conditions(allocator="settled"), "system; allocator settled"),
        (Conditions(pinned_cores=(0, 2, 5), priority=-5), "system; on 3 cores; nice -5"),
    ],
    ids=["unknown", "system", "settled", "not to be had", "preloaded", "set by the user", "bound and urgent"],
)
def test_conditions_as_one_text(conditions: Conditions | None, text: str) -> None:
    assert describe_conditions(conditions) == text


def test_which_core_it_was_does_not_make_other_conditions() -> None:
    texts = {describe_conditions(Conditions(pinned_cores=(core,))) for core in range(4)}
    assert len(texts) == 1


def test_a_policy_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="policy: 'quiet' is not one of settled, system"):
        Conditions(policy="quiet")


def test_texts_that_come_from_the_system_are_one_line() -> None:
    assert "\n" not in Conditions(allocator="lib\nx.so").allocator


def test_a_record_without_conditions_is_of_an_earlier_version() -> None:
    line = json.loads(encode_record(make_record(conditions=SETTLED)))
    assert line.pop("conditions") == {**asdict(SETTLED), "pinned_cores": [1]}
    earlier = decode_record(json.dumps(line), "journal")
    assert isinstance(earlier, Record)
    assert earlier.conditions is None


def test_a_latency_says_which_samples_were_taken_again() -> None:
    latency = Latency(
        samples_s=(0.1, 0.2, 0.1), calls_per_sample=1, first_call_s=0.5, stop_reason="precision",
        repeated=((1, "3% of the block stolen"),),
    )  # fmt: skip
    record = make_record(latency=latency)
    assert decode_record(encode_record(record), "journal") == record


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"policy": "quiet"}, "conditions: policy: 'quiet' is not one of settled, system"),
        ({"pinned_cores": ["1"]}, r"conditions\.pinned_cores\[0\]: '1' is not a whole number"),
    ],
)
def test_a_foreign_line_is_refused_by_name(change: dict[str, object], message: str) -> None:
    line = json.loads(encode_record(make_record(conditions=SETTLED)))
    line["conditions"] |= change
    with pytest.raises(RunFolderError, match=message):
        decode_record(json.dumps(line), "journal")
