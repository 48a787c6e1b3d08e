import math
from dataclasses import replace
from typing import Any

import pytest

from deconvbench.records.ratio import find_log_ratio, find_ratio
from deconvbench.records.record import Record
from tests.builders import make_record
from tests.tables.made_records import make_latency


def make_timed(samples_s: list[float], ratios: list[float], **changes: Any) -> Record:
    return make_record(latency=make_latency(*samples_s, **changes), ratios=tuple(ratios), baseline_id="b")


def test_it_is_that_of_the_tenth_percentiles() -> None:
    # eleven rounds: of ten steps between them, the second of each is the tenth percentile
    own = [2.0 + 0.1 * number for number in range(11)]
    baseline = [1.0 + 0.2 * number for number in reversed(range(11))]
    record = make_timed(own, [mine / theirs for mine, theirs in zip(own, baseline, strict=True)])
    assert find_ratio(record) == pytest.approx(2.1 / 1.2)


def test_rounds_that_were_slow_do_not_count() -> None:
    own, ratios = [2.0] * 20, [2.0] * 20
    assert find_ratio(make_timed(own, ratios)) == 2
    assert find_ratio(make_timed([9.0] * 8 + own[8:], [9.0] * 8 + ratios[8:])) == 2


def test_what_was_taken_again_is_left_out() -> None:
    repeated = ((1, "robbed"),)
    assert find_ratio(make_timed([2.0, 50.0, 2.0], [2.0, 2.0], repeated=repeated)) == 2


def test_the_baseline_has_one_and_a_case_that_was_timed_alone_has_none() -> None:
    assert find_ratio(make_timed([1.0, 1.1, 1.2], [1.0] * 3)) == 1.0
    assert find_ratio(make_timed([3.0], [1.5])) == 1.5
    assert find_ratio(make_record()) is None
    assert find_ratio(replace(make_record(), ratios=(math.inf, 0.0))) is None


def test_where_samples_and_rounds_are_not_as_many_the_middle_ratio_stands() -> None:
    assert find_ratio(make_timed([1.0, 2.0], [3.0, 5.0, 4.0])) == 4
    assert find_ratio(replace(make_timed([1.0], [3.0, 5.0]), latency=None)) == 4
    assert find_ratio(make_timed([0.0, 2.0], [3.0, 5.0])) == 4


def test_a_baseline_too_small_for_a_number_leaves_the_middle_ratio() -> None:
    assert find_ratio(make_timed([5e-324] * 3, [3.0, 4.0, 5.0])) == 4


def test_what_the_second_block_of_a_round_costs_favours_no_side() -> None:
    # the second block takes a fifth longer, and the sides begin in turns
    base = [1.0, 1.2] * 4
    new = [1.05 * 1.2, 1.05 * 1.0] * 4
    assert find_log_ratio(base, new) == pytest.approx(math.log(1.05))
    assert find_log_ratio(base[:7], new[:7]) == pytest.approx(math.log(1.05))


def test_two_rounds_in_which_something_else_ran_do_not_count() -> None:
    base = [1.0] * 10
    assert find_log_ratio(base, [9.0, 9.0, *[1.1] * 8]) == pytest.approx(math.log(1.1))


def test_a_single_round_is_all_there_is() -> None:
    assert find_log_ratio([2.0], [3.0]) == pytest.approx(math.log(1.5))


def test_sides_have_a_sample_of_each_round() -> None:
    with pytest.raises(ValueError, match="shorter"):
        find_log_ratio([1.0, 1.0], [1.0])
