import math
from typing import Any

import pytest

from deconvbench.errors import UsageError
from deconvbench.measure.latency import LatencyPolicy, StopRule


def make_policy(**changes: Any) -> LatencyPolicy:
    """Make a policy that may stop as soon as it is precise, so that each other rule shows by itself."""
    return LatencyPolicy(**{"min_time_s": 0.0, **changes})


def test_a_cap_looks_once_more() -> None:
    looks: list[int] = []

    def find_reason(count: int, elapsed_s: float) -> str | None:
        def look() -> float:
            looks.append(count)
            return 0.02 * math.sqrt(15 / count)

        return rule.find_reason(count, elapsed_s, look)

    rule = StopRule(make_policy(time_cap_s=1))
    assert find_reason(10, 0.5) is None
    assert find_reason(15, 0.9) is None
    assert find_reason(15, 1.0) == "precision"
    assert looks == [10, 15]


def test_falling_noise_is_no_floor() -> None:
    widths = iter([0.50, 0.49, 0.48, 0.36, 0.35, 0.34, 0.33])
    rule = StopRule(make_policy())
    # .36 is .72 of .50, .35 is .71 of .49, .34 is .71 of .48: below .9³ = .729 each; .33 is .92 of .36
    reasons = [rule.find_reason(10 * 2**doubling, 0, lambda: next(widths)) for doubling in range(7)]
    assert reasons == [None] * 6 + ["noise_floor"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": 0}, "precision: 0 "),
        ({"level": 1.0}, "level: 1.0 "),
        ({"time_cap_s": -1}, "time_cap_s: -1 "),
        ({"warmup_s": math.inf}, "warmup_s: inf "),
        ({"min_block_s": math.nan}, "min_block_s: nan "),
        ({"min_samples": 5}, "min_samples: 5 .* at least 6"),
        ({"max_samples": 9}, "max_samples: 9 is below min_samples, 10"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_policy_that_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        LatencyPolicy(**changes)
