import numpy as np
import pytest

from deconvbench.analysis.two_speeds import find_two_speeds


@pytest.mark.parametrize("count", [20, 48])
@pytest.mark.parametrize("noise", ["normal", "even", "t"])
def test_one_speed_is_not_two(noise: str, count: int) -> None:
    rng = np.random.default_rng(4)
    draws = {
        "normal": rng.standard_normal((400, count)),
        "even": rng.uniform(-2, 2, (400, count)),
        "t": rng.standard_t(5, (400, count)),
    }[noise]
    found = [find_two_speeds((0.03 * values).tolist()) for values in draws]
    assert sum(item is not None for item in found) <= 4


def test_two_speeds_are_found_with_share_and_step() -> None:
    rng = np.random.default_rng(5)
    logs = 0.02 * rng.standard_normal(48)
    logs[:14] += np.log(1.25)
    found = find_two_speeds(rng.permutation(logs).tolist())
    assert found is not None
    assert found.slow_share == pytest.approx(14 / 48)
    assert found.step == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(
    "logs",
    [
        [],
        [0.0] * 12 + [1.0] * 6,
        [0.0] * 20,
        [0.0] * 10 + [0.04] * 10,
        [0.0] * 29 + [1.0] * 2,
        [0.1 * index for index in range(20)],
    ],
    ids=["none", "too few", "equal", "less than 5 %", "less than a tenth", "a drift"],
)
def test_what_is_not_two_speeds(logs: list[float]) -> None:
    assert find_two_speeds(logs) is None


def test_exact_groups_are() -> None:
    found = find_two_speeds([0.0] * 16 + [0.3] * 8)
    assert found is not None
    assert found.slow_share == pytest.approx(1 / 3)
