"""The fuzzer itself: what it draws is repeatable and of all kinds, and it finds what is planted."""

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.fusion_fuzz import trials
from bench.fusion_fuzz.__main__ import main
from bench.fusion_fuzz.changes import Hands, apply_change
from bench.fusion_fuzz.comparing import Outcome, build, compare
from bench.fusion_fuzz.draws import SeededDraw, happens, pick
from bench.fusion_fuzz.forcing import force_fast_forms
from bench.fusion_fuzz.programs import HEADER, Program, draw_program
from bench.fusion_fuzz.scenarios import CHANGES, Call, Change, Scenario, draw_scenario
from deconvbench.networks.fusion import resizing

NETWORK = """
class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Upsample(scale_factor=2)
        self.conv = nn.Conv2d(2, 3, 3, padding=1)

    def forward(self, x):
        self.kept = self.up(x)
        return self.conv(self.kept)
"""
PROGRAM = Program(source=HEADER + NETWORK, channels=2)


def make_call(**changes: Any) -> Call:
    call = Call(
        batch=1,
        height=4,
        width=5,
        gradients="recorded",
        context="",
        layout="contiguous",
        loss="squares",
        is_leaf=True,
        seed=0,
    )
    return replace(call, **changes)


def make_scenario(*steps: Call | Change, has_example: bool = False) -> Scenario:
    return Scenario(has_example=has_example, caches_weights=False, is_training=False, before=(), steps=steps)


@pytest.fixture(autouse=True)
def fast_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    force_fast_forms(monkeypatch.setattr)


def test_draws_follow_from_the_seed_and_keep_their_bounds() -> None:
    numbers, again = ([draw.integer(2, 4) for draw in [SeededDraw(5)] * 20] for _ in range(2))
    assert numbers == again
    assert set(numbers) == {2, 3, 4}
    assert {pick(draw, "abc") for draw in [SeededDraw(1)] * 30} == set("abc")
    assert not any(happens(draw, 0) for draw in [SeededDraw(1)] * 30)
    assert all(happens(draw, 100) for draw in [SeededDraw(1)] * 30)


def test_a_seed_is_a_network_and_a_scenario() -> None:
    assert trials.describe(7) == trials.describe(7)
    assert len({trials.describe(seed) for seed in range(20)}) == 20


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_networks_run_and_use_everything() -> None:
    answered, words = 0, Counter[str]()
    for seed in range(60):
        program = draw_program(SeededDraw(seed))
        words.update(word for word in EXPECTED if word in program.source)
        try:
            build(program)(torch.ones(1, program.channels, 6, 6, dtype=torch.float64))
            answered += 1
        except RuntimeError:  # reads or writes that torch itself forbids
            pass
    assert answered >= 40
    assert set(words) == set(EXPECTED)


EXPECTED = (
    *("F.interpolate", "nn.Upsample", "nn.Conv2d", "F.conv2d", "nn.ConvTranspose2d", "nn.Sequential", "torch.cat"),
    *("checkpoint(", "register_hook", "self.kept", "inplace=True", ".data", "F.pad", "torch.autocast", "Block0"),
)


def test_scenarios_use_every_change() -> None:
    drawn = {
        step.kind
        for seed in range(400)
        for step in draw_scenario(SeededDraw(seed)).steps
        if isinstance(step, Change)
    }
    assert drawn == set(CHANGES)


@pytest.mark.parametrize("kind", CHANGES)
def test_changes_are_allowed_and_undone(kind: str) -> None:
    before = torch.nn.Conv2d.forward
    hands = Hands(net=build(PROGRAM))
    with hands.undo:
        apply_change(kind, hands)
        assert hands.net(torch.ones(1, 2, 4, 4, dtype=torch.float64)).shape == (1, 3, 8, 8)
    assert torch.nn.Conv2d.forward is before
    assert not torch.nn.modules.module._global_forward_hooks


def test_an_honest_fusion_has_no_difference() -> None:
    scenario = make_scenario(make_call(), Change(kind="sgd", which=0), make_call(height=7, loss="twice"))
    assert compare(PROGRAM, scenario) == Outcome(difference=None, fused=1, calls=2)


def test_a_wrong_answer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    original = resizing.resize_conv2d

    def resize(*args: Any, **kwargs: Any) -> Tensor:
        return original(*args, **kwargs) * (1 + 1e-6)

    monkeypatch.setattr(resizing, "resize_conv2d", resize)
    found = compare(PROGRAM, make_scenario(make_call())).difference
    assert found is not None
    assert found.startswith("step 0: output: off by")


def test_a_wrong_gradient_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    original = resizing.resize_conv2d

    def resize(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return original(x.detach(), *args, **kwargs)

    monkeypatch.setattr(resizing, "resize_conv2d", resize)
    # a map that is kept gets its gradient, and the sources theirs from it
    program = replace(
        PROGRAM,
        source=PROGRAM.source.replace("self.kept = self.up(x)", "x = self.up(x)").replace("self.kept)", "x)"),
    )
    found = compare(program, make_scenario(make_call())).difference
    assert found is not None
    assert found.startswith("step 0: input gradient:")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda y: y.float(), "output: (1, 3, 8, 10) torch.float32 instead of (1, 3, 8, 10) torch.float64"),
        (lambda y: y[..., :-1], "output: (1, 3, 8, 9) torch.float64 instead of"),
        (lambda y: y * float("nan"), "output: off by nan"),
        (lambda y: 1 // 0, "the fused network raises ZeroDivisionError"),
    ],
)
def test_other_answers_are_found(monkeypatch: pytest.MonkeyPatch, answer: Any, expected: str) -> None:
    original = resizing.resize_conv2d
    monkeypatch.setattr(resizing, "resize_conv2d", lambda *args, **kwargs: answer(original(*args, **kwargs)))
    found = compare(PROGRAM, make_scenario(make_call(gradients="no_grad"))).difference
    assert found is not None
    assert found.startswith(f"step 0: {expected}")


@pytest.mark.slow
def test_a_process_that_dies_is_a_difference_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "_work", die_at_two)
    found = {trial.seed: trial.outcome.difference for trial in trials.try_all(range(5), 2)}
    assert found == {0: None, 1: None, 2: "the process died", 3: None, 4: None}


def die_at_two(seeds: range, answers: Any) -> None:
    for seed in seeds:
        answers.send(seed)
        if seed == 2:
            os._exit(3)
        answers.send(trials.Trial(seed=seed, outcome=Outcome(difference=None, fused=1, calls=1)))


def test_the_command_counts_and_shows(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = [Outcome(difference=None, fused=1, calls=3), Outcome(difference="step 0: x", fused=0, calls=1)]
    made = [trials.Trial(seed=seed, outcome=outcome) for seed, outcome in enumerate(outcomes)]
    monkeypatch.setattr("bench.fusion_fuzz.__main__.try_all", lambda seeds, jobs: iter(made))
    assert main(["--networks", "2"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("seed 1: step 0: x\n")
    assert trials.describe(1) in out
    assert "2 networks, 1 of them fused, 4 calls that answered, 1 differences" in out


@pytest.mark.process
def test_it_runs_as_a_module() -> None:
    words = [sys.executable, "-m", "bench.fusion_fuzz", "--networks", "4", "--jobs", "2"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert "4 networks" in done.stdout, done.stderr
