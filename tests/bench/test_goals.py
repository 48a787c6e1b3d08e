"""Goals are printed, met or missed; here their cause is tested, not their size."""

from dataclasses import replace

import pytest

from bench import goals
from bench.goal import Goal
from bench.goals import (
    compare_with_plain,
    compare_with_resident_peak,
    compare_with_timer,
    estimate_budget,
    print_goals,
    time_audits,
    time_claims,
)
from deconvbench.studies.claims import CLAIMS, Claim, Evidence, Finding


def test_goals_are_printed_with_limit_and_machine() -> None:
    lines: list[str] = []
    found = [
        Goal(name="a", measured="1 s", limit="2 s", met=True),
        Goal(name="b", measured="3 s", limit="2 s", met=False),
    ]
    print_goals(iter(found), lines.append)
    assert "torch" in lines[0]
    assert lines[1:] == ["met     a: 1 s (goal: 2 s)", "missed  b: 3 s (goal: 2 s)"]


def test_latency_is_compared_with_torchs_timer() -> None:
    goal = compare_with_timer(("nearest_conv-k3-s2-c4x2-4x4",), rounds=1)
    assert goal.met == (abs(float(goal.measured.split()[0]) - 1) < 0.03)


@pytest.mark.slow
def test_speedups_are_compared_with_their_goals_beside_the_deconvolution() -> None:
    found = list(compare_with_plain(((4, 4), (8, 4)), time_cap_s=0.0))
    assert [goal.limit for goal in found] == ["3.0", "3.5", "2.6", "2.6", "1.8"]
    for goal in found:
        ratio, _, rest = goal.measured.partition(" times faster (transposed k3: ")
        assert goal.met == (float(ratio) >= float(goal.limit)) or ratio == goal.limit
        assert float(rest.removesuffix(")")) > 0
    assert found[0].name == "nearest_conv_fast over nearest_conv, forward, frozen, contiguous, threads: 1"
    assert "train, contiguous" in found[-1].name


@pytest.mark.slow
def test_audits_are_timed_beside_the_forwards_that_they_take() -> None:
    decoder, unet, upscaler = time_audits(is_small=True)
    assert decoder.name == "audit of the decoder, 0.2 million parameters, 256×256, two threads"
    for goal in (decoder, unet, upscaler):
        seconds, _, rest = goal.measured.partition(" s, ")
        assert goal.limit == "30 s"
        assert goal.met == (float(seconds) < 30)
        assert 3 < float(rest.split()[0]) < 15


def test_help_is_timed_from_start_to_end() -> None:
    goal = goals.time_help(repeats=1)
    assert float(goal.measured.removesuffix(" s")) > 0


def test_claims_are_judged_while_they_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[int] = []

    def judge(claim: Claim, number: int) -> Claim:
        def note(evidence: Evidence) -> Finding:
            judged.append(number)
            return claim.judge(evidence)

        return replace(claim, judge=note)

    monkeypatch.setattr(goals, "CLAIMS", tuple(judge(claim, claim.id) for claim in CLAIMS))
    goal = time_claims((1, 5))
    assert judged == [1, 5]
    assert goal.name == "claims 1, 5 together"
    assert goal.limit == "10 s"


def test_the_budget_is_that_of_all_default_runs_on_two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    # eight networks of three seeds, 100 s each
    monkeypatch.setattr(goals, "estimate_seconds", lambda *_: 100.0)
    goal = estimate_budget()
    assert (goal.measured, goal.limit, goal.met) == ("20 min 00 s", "30 min 00 s", True)
    assert "24 runs" in goal.name
    monkeypatch.setattr(goals, "estimate_seconds", lambda *_: 200.0)
    assert not estimate_budget().met


@pytest.mark.slow
def test_peaks_are_compared_with_the_kernels() -> None:
    (goal,) = compare_with_resident_peak(("nearest_conv-k3-s2-c32x16-256x256",))
    assert goal.met, goal
