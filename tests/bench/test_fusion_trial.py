"""The trial fuses, compares, times interleaved and prints, with networks of our own in the place of others'."""

import csv
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bench import fusion_trial as trial
from bench.fusion_networks import TrialNetwork
from bench.fusion_table import format_table
from bench.fusion_trial import COLUMNS, FILE, Trial, list_rows, main, make_step, try_network
from deconvbench.errors import FusionError, UnsupportedError
from deconvbench.measure.latency import LatencyPolicy
from deconvbench.networks.fusion.report import Change, FuseReport, Left
from tests.networks.fusion.networks import Up, VaeDecoder

QUICK = LatencyPolicy(time_cap_s=0.02, min_time_s=0.01, warmup_s=0.01, min_block_s=1e-3)
VAE = TrialNetwork(build=VaeDecoder, shape=(1, 4, 3, 3), is_small=True, title="a VAE")


def refuse() -> nn.Module:
    raise UnsupportedError("the package elsewhere cannot be imported: pip install elsewhere")


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put small networks in the place of the others."""
    found = {
        "vae": VAE,
        "plain": TrialNetwork(build=lambda: nn.Conv2d(1, 1, 1), shape=(1, 1, 2, 2)),
        "missing": TrialNetwork(build=refuse, shape=(1,)),
    }
    monkeypatch.setattr(trial, "_EVERY", found)
    monkeypatch.setattr(trial, "TABLE", found)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note what numbers of threads are set, and set none."""
    seen: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", seen.append)
    return seen


def test_a_network_is_fused_compared_and_timed(threads: list[int]) -> None:
    random = torch.get_rng_state()
    found = try_network(VAE, QUICK, [1, 2])
    assert threads == [1, 1, 2]
    assert len(found.report.changed) == 2
    assert found.report.max_relative_error is not None
    assert found.report.max_relative_error <= 1e-5
    assert found.report.max_relative_gradient_error is not None
    assert [set(samples) for samples in found.samples_s.values()] == [{"plain", "fused"}] * 2
    assert all(len(samples["plain"]) == len(samples["fused"]) for samples in found.samples_s.values())
    assert 0 < found.share < 1
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("is_trained", [False, True], ids=["forward", "training"])
def test_what_is_timed_is_what_it_is_called(is_trained: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, bool]] = []

    def note(model: nn.Module, inputs: Any, *, is_trained: bool) -> Any:
        assert model.training == is_trained
        return lambda: seen.append((type(model).__name__, "FusedUp" in repr(model)))

    def take_rounds(steps: dict[str, Any], baseline: str, policy: LatencyPolicy) -> None:
        for name in (baseline, "fused"):
            steps[name]()
        raise ArithmeticError

    monkeypatch.setattr(trial, "make_step", note)
    monkeypatch.setattr(trial, "take_rounds", take_rounds)
    with pytest.raises(ArithmeticError):
        try_network(TrialNetwork(build=Up, shape=(1, 4, 3, 3), is_trained=is_trained), QUICK, [1])
    assert [is_fused for _, is_fused in seen] == [False, True]


def test_a_call_records_no_gradient_and_a_training_step_changes_the_weights() -> None:
    model, x = nn.Conv2d(1, 1, 1), torch.ones(1, 1, 2, 2)
    before = model.weight.detach().clone()
    y = make_step(model, (x,), is_trained=False)()
    assert isinstance(y, torch.Tensor)
    assert not y.requires_grad
    make_step(model, (x,), is_trained=True)()
    assert model.weight.grad is not None
    assert not torch.equal(model.weight, before)
    assert torch.allclose(model.weight, before, atol=1e-5)


def test_a_wrong_network_ends_the_trial(networks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise FusionError("the outputs differ")

    monkeypatch.setattr(trial, "fuse", refuse)
    assert main(["vae"]) == 1


REPORT = FuseReport(
    model=nn.Identity(),
    changed=(Change(path="up", was="one", now="other"),),
    left=(Left(path="", what="a", reason="b"),),
    max_relative_error=1.5e-6,
)
TIMES: dict[str, tuple[float, ...]] = {"plain": (2.0, 2.0, 2.2), "fused": (1.0, 1.0, 1.1)}
FOUND = Trial(
    report=REPORT,
    samples_s={1: TIMES, 2: TIMES},
    share=0.625,
    peak_memory_bytes_before=2**21,
    peak_memory_bytes_after=2**20,
)


def test_a_row_for_each_number_of_threads() -> None:
    rows = list_rows("net", VAE, FOUND)
    assert [set(row) for row in rows] == [set(COLUMNS)] * 2
    assert [row["threads"] for row in rows] == [1, 2]
    first = rows[0]
    assert (first["network"], first["title"], first["step"], first["shape"]) == (
        "net",
        "a VAE",
        "forward",
        "1x4x3x3",
    )
    assert (first["fused"], first["left"], first["rounds"], first["speedup"], first["plain_s"]) == (
        1,
        1,
        3,
        2.0,
        2.0,
    )
    unnamed = TrialNetwork(build=VaeDecoder, shape=(1,), is_trained=True)
    assert [(row["title"], row["step"]) for row in list_rows("net", unnamed, FOUND)] == [("net", "train")] * 2


def test_the_command_prints_reports_and_the_table_and_writes_the_file(
    networks: None, threads: list[int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "new"
    assert main(["plain", "vae", "--threads", "7", "--seconds", "0.02", "--out", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert threads == [7, 7] * 2
    assert lines[0] == "plain: 0 changed, 0 left alone"
    assert any(line.startswith("  changed  up_blocks.0") for line in lines)
    assert re.fullmatch(r"\| a VAE \| 2 of 2 \| \d+ % \| [0-9.]+ \([0-9.]+ to [0-9.]+\) \| .* \|", lines[-1])
    with (folder / FILE).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["network"], row["title"], row["threads"]) for row in rows] == [
        ("plain", "plain", "7"),
        ("vae", "a VAE", "7"),
    ]
    assert format_table(rows).splitlines()[-1] == lines[-1]


def test_a_missing_package_is_one_line_and_no_end_of_the_others(
    networks: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--markdown", "--threads", "1", "--seconds", "0.02"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ("missing: left out: the package elsewhere cannot be imported: pip install elsewhere\n")
    assert [line.split(" | ")[0] for line in captured.out.splitlines()[2:]] == ["| a VAE", "| plain"]
    assert main(["missing"]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vae", "nothing"], "NAME: nothing is not one of vae, plain, missing"),
        (["vae", "--threads", "0"], "--threads: 0 is not a number of at least 1"),
    ],
)
def test_a_wrong_argument_is_one_line(
    arguments: list[str], message: str, networks: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err == f"deconvbench: {message}\n"


def test_it_is_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["trial", "nothing"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(trial.__file__, run_name="__main__")
    assert caught.value.code == 2
