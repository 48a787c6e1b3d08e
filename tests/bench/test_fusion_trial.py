"""The trial fuses, compares, times interleaved and prints, with networks of our own in the place of others'."""

import re
import runpy
import sys

import pytest
import torch
from torch import nn

from bench import fusion_trial as trial
from bench.fusion_networks import TrialNetwork
from bench.fusion_trial import Trial, format_trials, main, try_network
from deconvbench.errors import FusionError, UnsupportedError
from deconvbench.measure.latency import LatencyPolicy
from deconvbench.networks.fusion.report import FuseReport
from tests.networks.fusion.networks import Up, VaeDecoder

QUICK = LatencyPolicy(time_cap_s=0.02, min_time_s=0.01, warmup_s=0.01, min_block_s=1e-3)


def refuse() -> nn.Module:
    raise UnsupportedError("the package elsewhere cannot be imported: pip install elsewhere")


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put small networks in the place of the others."""
    found = {
        "vae": TrialNetwork(build=VaeDecoder, shape=(1, 4, 3, 3), is_small=True),
        "plain": TrialNetwork(build=lambda: nn.Conv2d(1, 1, 1), shape=(1, 1, 2, 2)),
        "missing": TrialNetwork(build=refuse, shape=(1,)),
    }
    monkeypatch.setattr(trial, "NETWORKS", found)


def test_a_network_is_fused_compared_and_timed() -> None:
    random = torch.get_rng_state()
    found = try_network(TrialNetwork(build=VaeDecoder, shape=(1, 4, 3, 3), is_small=True), QUICK)
    assert len(found.report.changed) == 2
    assert found.report.max_relative_error is not None
    assert found.report.max_relative_error <= 1e-5
    assert found.report.max_relative_gradient_error is not None
    assert set(found.samples_s) == {"plain", "fused", "frozen"}
    assert len({len(samples) for samples in found.samples_s.values()}) == 1
    assert torch.equal(torch.get_rng_state(), random)


def test_what_is_timed_is_what_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, str]] = []

    def take_rounds(steps: dict[str, object], baseline: str, policy: LatencyPolicy) -> object:
        models = {name: getattr(step, "func", None) for name, step in steps.items()}
        seen.append({name: repr(model).partition("(")[0] for name, model in models.items()})
        seen.append({name: str("weight_cache" in vars(model)) for name, model in models.items()})
        raise ArithmeticError(torch.is_grad_enabled())

    monkeypatch.setattr(trial, "take_rounds", take_rounds)
    with pytest.raises(ArithmeticError, match="False"):
        try_network(TrialNetwork(build=Up, shape=(1, 4, 3, 3)), QUICK)
    assert seen[0] == {"plain": "Up", "fused": "FusedUp", "frozen": "FusedUp"}
    assert seen[1] == {"plain": "False", "fused": "False", "frozen": "True"}


def test_a_wrong_network_ends_the_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise FusionError("the outputs differ")

    monkeypatch.setattr(trial, "fuse", refuse)
    monkeypatch.setattr(trial, "NETWORKS", {"wrong": TrialNetwork(build=Up, shape=(1, 4, 3, 3))})
    assert main(["wrong"]) == 1


def test_the_table() -> None:
    report = FuseReport(model=nn.Identity(), max_relative_error=1.5e-6)
    times: dict[str, tuple[float, ...]] = {
        "plain": (2.0, 2.0, 2.2),
        "fused": (1.0, 1.0, 1.1),
        "frozen": (0.5, 0.5, 0.55),
    }
    assert format_trials({"net": Trial(report=report, samples_s=times)}).splitlines() == [
        "| network | changed | left | output off by | gradients off by | as it was | fused | frozen too |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| net | 0 | 0 | 1.5e-06 | – | 2 s | 2.00 (2.00 to 2.00) | 4.00 (4.00 to 4.00) |",
    ]


def test_the_command_prints_reports_and_the_table(
    networks: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    assert main(["plain", "vae", "--threads", "7", "--seconds", "0.02"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert threads == [7]
    assert lines[0] == "plain: 0 changed, 0 left alone"
    assert any(line.startswith("  changed  up_blocks.0") for line in lines)
    assert any(line.startswith("7 thread(s)") for line in lines)
    assert re.fullmatch(r"\| vae \| 2 \| 0 \| .* \([0-9.]+ to [0-9.]+\) \|", lines[-1])


def test_a_missing_package_is_one_line(networks: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["missing"]) == 1
    assert capsys.readouterr().err == (
        "deconvbench: the package elsewhere cannot be imported: pip install elsewhere\n"
    )


def test_an_unknown_network_is_one_line(networks: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["vae", "nothing"]) == 2
    assert capsys.readouterr().err == "deconvbench: NAME: nothing is not one of vae, plain, missing\n"


def test_it_is_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["trial", "nothing"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(trial.__file__, run_name="__main__")
    assert caught.value.code == 2
