"""A handful of the trials, one of each way; ``python -m bench.kill_trials`` makes a thousand."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import kill_trials
from bench.kill_trials import WAYS, run_trial

pytestmark = pytest.mark.process

if sys.platform != "linux":
    pytest.skip("needs /proc", allow_module_level=True)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(len(WAYS)), ids=[" to ".join(way) for way in WAYS])
def test_a_run_survives(seed: int, tmp_path: Path) -> None:
    outcome = run_trial(seed, tmp_path)
    assert outcome.way == WAYS[seed]
    assert outcome.faults == ()


def test_what_is_left_over_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kill_trials, "_LONGEST_LEFT_S", 0.2)
    with subprocess.Popen(["sleep", "60"], env={**os.environ, "DECONVBENCH_TRIAL": "mine"}) as left:
        try:
            assert kill_trials._find_left("another") == []
            assert kill_trials._find_left("mine") == ["sleep 60"]
        finally:
            left.kill()
