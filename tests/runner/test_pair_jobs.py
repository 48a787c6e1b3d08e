"""Which pairs make a replicate."""

from collections import Counter

import pytest

from deconvbench.runner.pair_jobs import draw_control, list_pair_jobs
from tests.builders import make_case

CASES = [make_case(height=height) for height in (4, 8, 16, 32)]


def test_a_replicate_has_every_case_in_an_order_of_its_own() -> None:
    first, again, second = (list_pair_jobs(CASES, [], seed=1, replicate=r) for r in (0, 0, 1))
    assert first == again
    assert [job.case for job in first] != [job.case for job in second]
    assert Counter(job.case for job in first) == Counter(CASES)


def test_the_control_stands_beside_its_case() -> None:
    jobs = list_pair_jobs(CASES, CASES[:2], seed=3, replicate=0)
    assert Counter(job.pair for job in jobs) == {"head": 4, "control": 2}
    for case in CASES[:2]:
        places = [index for index, job in enumerate(jobs) if job.case == case]
        assert places[1] - places[0] == 1
    firsts = {
        next(job.pair for job in list_pair_jobs(CASES[:1], CASES[:1], seed=3, replicate=r)) for r in range(20)
    }
    assert firsts == {"head", "control"}


def test_the_control_goes_on_where_its_case_is_decided() -> None:
    jobs = list_pair_jobs(CASES[2:], CASES[:1], seed=3, replicate=12)
    assert {(job.pair, job.case) for job in jobs} == {
        ("head", CASES[2]), ("head", CASES[3]), ("control", CASES[0]),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("share", "fewest", "expected"), [(0.5, 1, 2), (0.0, 3, 3), (0.1, 10, 4)], ids=["share", "fewest", "all"]
)
def test_the_control_is_a_part_of_the_cases(share: float, fewest: int, expected: int) -> None:
    chosen = draw_control(CASES, share, fewest, seed=5)
    assert len(chosen) == expected
    assert chosen == [case for case in CASES if case in chosen] == draw_control(CASES, share, fewest, seed=5)
