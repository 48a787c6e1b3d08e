"""Planted changes of 10 % among 200 commits are found, and hardly any others."""

import numpy as np
import pytest

from bench import history_simulation
from bench.history_simulation import CASES, COMMITS, MODELS, REALISTIC, REPLICATES, draw_latencies, main, plant


@pytest.mark.parametrize(
    ("seeds", "with_ratios"),
    [
        pytest.param(6, True, marks=pytest.mark.slow),
        pytest.param(100, True, marks=pytest.mark.slow),
        pytest.param(100, False, marks=pytest.mark.slow),
    ],
)
def test_planted_changes_are_found_and_few_others(seeds: int, with_ratios: bool) -> None:
    trials = [plant(REALISTIC, seed, with_ratios=with_ratios) for seed in range(seeds)]
    assert sum(trial.found for trial in trials) >= 0.9 * seeds
    assert sum(trial.held for trial in trials) >= 0.85 * seeds
    assert sum(trial.false for trial in trials) <= sum(trial.series for trial in trials) / 10


def test_a_single_history_of_each_kind() -> None:
    trials = [plant(noise, 0, with_ratios=True) for noise in MODELS[:2]]
    assert all(trial.found and trial.held for trial in trials)
    assert sum(trial.false for trial in trials) == 0


def test_nothing_planted_is_nothing_found() -> None:
    trial = plant(MODELS[0], 0, with_ratios=False, change=0.0)
    assert (trial.found, trial.false) == (False, 0)


def test_the_realistic_noise_has_all_that_disturbs_a_machine() -> None:
    logs = draw_latencies(REALISTIC, 0)
    assert logs.shape == (CASES, COMMITS, REPLICATES)
    quiet = logs - np.median(logs, axis=(1, 2), keepdims=True)
    # a slow mode in three of ten processes, runs that are far off, and a drift that all cases share
    assert 0.15 < (quiet > 0.12).mean() < 0.5
    assert quiet.max() > 0.5
    drift = np.median(quiet, axis=(0, 2))
    assert drift.std() > 0.03


def test_the_table_has_a_line_for_each_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["history_simulation", "--seeds", "1"])
    monkeypatch.setattr(history_simulation, "MODELS", MODELS[:1])
    main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[2].startswith("| normal, 3 % | ratios | 100% |")
