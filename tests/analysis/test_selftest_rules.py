import numpy as np
import pytest

from deconvbench.analysis.selftest_rules import RULES, Run, find_log_ratios, make_plan, scale_run


def make_run(seed: int, noise: float = 0.01, cases: int = 40, replicates: int = 10, drift: float = 0.03) -> Run:
    """Draw what a machine measures: replicates differ by `drift`, samples within one by `noise`."""
    rng = np.random.default_rng(seed)
    return {
        f"case-{i}": [
            (1e-3 * np.exp(drift * rng.standard_normal() + noise * np.abs(rng.standard_normal(12)))).tolist()
            for _ in range(replicates)
        ]
        for i in range(cases)
    }


@pytest.mark.parametrize("rule", RULES)
def test_identical_runs_raise_no_alarm(rule: str) -> None:
    run = make_run(1)
    assert {*RULES[rule](run, run, 0.02)} <= {"same", "inconclusive"}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("share", "word"), [(0.15, "slower"), (-0.15, "faster")])
def test_fifteen_per_cent_are_found(rule: str, share: float, word: str) -> None:
    verdicts = RULES[rule](make_run(1, drift=0.01), scale_run(make_run(2, drift=0.01), share), 0.05)
    assert verdicts.count(word) / len(verdicts) > 0.95


def test_noise_between_processes_fools_thresholds_and_ranks_but_not_us() -> None:
    base, new = make_run(3), make_run(4)
    alarms = {
        name: np.mean([verdict in ("slower", "faster") for verdict in rule(base, new, 0.02)])
        for name, rule in RULES.items()
    }
    assert alarms["paired"] == alarms["unpaired"] == 0
    assert min(alarms[name] for name in RULES if name not in ("paired", "unpaired")) > 0.02


def test_scaling_makes_slower_by_the_share() -> None:
    scaled = scale_run({"a": [[1.0, 2.0], [3.0]]}, 0.1)
    assert list(scaled) == ["a"]
    assert [list(samples) for samples in scaled["a"]] == [pytest.approx([1.1, 2.2]), pytest.approx([3.3])]


def test_a_replicate_is_the_median_of_its_rounds_taken_in_twos() -> None:
    found = find_log_ratios({"a": [[1.0, 1.0, 2.0, 1.0]]}, {"a": [[2.0, 8.0, 4.0, 2.0]]})
    assert found == {"a": [pytest.approx(np.log(np.sqrt(2 * 8 * 2 * 2) ** 0.5))]}


@pytest.mark.parametrize(("count", "looks"), [(4, (4,)), (10, (10,)), (24, (10, 15, 20, 24))])
def test_the_plan_ends_with_what_was_measured(count: int, looks: tuple[int, ...]) -> None:
    assert make_plan(count).looks == looks
