"""What every record goes through when it is made."""

from dataclasses import dataclass

import pytest

from deconvbench.records.finishing import STATUSES, finish_record


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    status: str = "ok"
    message: str = ""
    count: int = 0

    def __post_init__(self) -> None:
        finish_record(self)


@pytest.mark.parametrize("status", STATUSES)
def test_known_statuses_are_kept(status: str) -> None:
    assert Told(status=status).status == status


def test_another_status_is_refused_with_all_that_are_known() -> None:
    with pytest.raises(ValueError, match=r"status: 'fine' is not one of .*ok") as caught:
        Told(status="fine")
    assert all(status in str(caught.value) for status in STATUSES)


def test_a_text_of_several_lines_becomes_one() -> None:
    assert Told(message="first\nsecond\r\n  third").message == "first second third"
    assert Told(message="as it was").message == "as it was"


def test_what_is_no_text_is_left_alone() -> None:
    assert Told(count=3).count == 3
