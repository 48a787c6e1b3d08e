"""The cases of a group, on tiny layers: who gets which status, and what is compared with what."""

import gc
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deconvbench.measure import group as group_module
from deconvbench.measure.group import DisturbanceError, measure_group
from deconvbench.measure.latency import LatencyPolicy
from deconvbench.measure.step import PreparedStep
from deconvbench.records.record import Latency, Record, decode_record, encode_record
from deconvbench.runner.worker_main import classify_failure
from deconvbench.upsamplers import register_upsampler, registry
from tests.builders import make_case, make_record

POLICY = LatencyPolicy(time_cap_s=0.0, min_time_s=0.0, warmup_s=0.0, min_block_s=1e-4)


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))


@pytest.fixture(autouse=True)
def _no_real_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collection of everything that pytest holds takes longer than a whole group."""
    monkeypatch.setattr(gc, "collect", lambda: 0)


class Counting(nn.Module):
    """Calls back in each forward pass."""

    def __init__(self, scale_factor: int, act: Callable[[int], object]) -> None:
        super().__init__()
        self.scale_factor, self.act, self.calls = scale_factor, act, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.act(self.calls)
        y = nn.functional.interpolate(x, scale_factor=self.scale_factor)
        return y[:, :2]


def register(name: str, act: Callable[[int], object] = lambda _: None) -> None:
    @register_upsampler(name, macs=lambda *_: 1)
    def build(in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> nn.Module:
        return Counting(scale_factor, act)


def make_jobs(*names: str, baseline: str = "", **changes: Any) -> list[Record]:
    cases = {name: make_case(upsampler=name, **changes) for name in names}
    baseline_id = make_case(upsampler=baseline or names[0], **changes).case_id
    return [
        make_record(case=case, status="error", message="not measured", baseline_id=baseline_id, seed=3)
        for case in cases.values()
    ]


def measure(jobs: list[Record], **settings: Any) -> list[Record]:
    return measure_group(jobs, POLICY, judge=classify_failure, **settings)


def list_counted(latency: Latency) -> list[float]:
    """The samples that were not taken again."""
    repeated = {index for index, _ in latency.repeated}
    return [sample for index, sample in enumerate(latency.samples_s) if index not in repeated]


@pytest.mark.parametrize("step", ["forward", "train"])
def test_a_group_is_filled_in(step: str) -> None:
    jobs = make_jobs("transposed", "nearest_conv", "subpixel", step=step)
    found = measure(jobs)
    assert [record.key for record in found] == [job.key for job in jobs]
    for record in found:
        assert (record.status, record.message) == ("ok", "")
        assert record.latency is not None
        assert record.memory is not None
        assert record.memory.output_bytes == 4 * 2 * 16 * 16
        assert record.macs
        assert record.conditions is not None
        assert len(record.ratios) == POLICY.min_samples
        assert len(record.latency.samples_s) == POLICY.min_samples + len(record.latency.repeated)
        assert decode_record(encode_record(record), "here") == record
    baseline, other, _ = found
    assert set(baseline.ratios) == {1.0}
    assert baseline.latency is not None
    assert other.latency is not None
    pairs = zip(list_counted(other.latency), list_counted(baseline.latency), strict=True)
    assert list(other.ratios) == [ours / theirs for ours, theirs in pairs]


def test_a_case_alone_is_a_group_of_one() -> None:
    (record,) = measure(make_jobs("nearest_conv"))
    assert record.status == "ok"
    assert set(record.ratios) == {1.0}


def test_without_the_baseline_there_are_no_ratios() -> None:
    found = measure(make_jobs("nearest_conv", "subpixel", baseline="transposed"))
    assert [(record.status, record.ratios) for record in found] == [("ok", ()), ("ok", ())]


def test_time_is_divided_among_the_cases() -> None:
    started = time.monotonic()
    found = measure(make_jobs("transposed", "nearest_conv", "subpixel"))
    spent_s = time.monotonic() - started
    assert sum(record.total_s for record in found) <= spent_s
    assert len({record.latency_pass_s for record in found}) == 1
    for record in found:
        assert 0 < record.latency_pass_s + record.memory_pass_s <= record.total_s


def fail_at(call: int, error: BaseException) -> Callable[[int], None]:
    def act(number: int) -> None:
        if number == call:
            raise error

    return act


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("no"), "error"),
        (MemoryError(), "oom"),
        (SystemExit(3), "crashed"),
        (KeyboardInterrupt(), "crashed"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("call", [1, 2, 5], ids=["first call", "warm-up", "rounds"])
def test_what_one_case_raises_is_its_own_affair(call: int, error: BaseException, status: str) -> None:
    register("faulty", fail_at(call, error))
    found = measure(make_jobs("transposed", "faulty", "subpixel"))
    assert [record.status for record in found] == ["ok", status, "ok"]
    assert found[1].latency is None
    assert found[1].ratios == ()
    assert found[2].ratios
    assert found[2].memory is not None


def test_what_fails_in_the_memory_pass_keeps_its_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(step: object) -> None:
        raise MemoryError

    monkeypatch.setattr(group_module, "measure_cpu_memory", refuse)
    for record in measure(make_jobs("transposed", "subpixel")):
        assert (record.status, record.memory) == ("oom", None)
        assert record.latency is not None
        assert record.ratios


def test_a_baseline_that_fails_leaves_the_others_without_ratios() -> None:
    register("faulty", fail_at(1, ValueError("no")))
    found = measure(make_jobs("faulty", "transposed", "subpixel"))
    assert [record.status for record in found] == ["error", "ok", "ok"]
    assert [record.ratios for record in found] == [(), (), ()]


def test_what_cannot_be_built_is_unsupported_beside_what_can() -> None:
    jobs = make_jobs("nearest_conv", "transposed", kernel_size=1)
    assert [record.status for record in measure(jobs)] == ["ok", "unsupported"]


def test_a_layer_that_changes_what_others_are_measured_with_is_named() -> None:
    changed: list[str] = ["was so before"]
    register("disturbing", lambda number: changed.append("the default dtype") if number == 1 else None)
    jobs = make_jobs("transposed", "disturbing", "subpixel")
    with pytest.raises(DisturbanceError, match="changed the default dtype") as caught:
        measure(jobs, look=lambda: tuple(changed))
    assert caught.value.case_id == jobs[1].case.case_id
    # alone it disturbs nothing
    (record,) = measure(jobs[1:2], look=lambda: tuple(changed))
    assert record.status == "ok"


def test_each_case_is_reported_before_it_does_something_for_the_first_time() -> None:
    said: list[str] = []
    jobs = make_jobs("transposed", "subpixel")
    ids = sorted(job.case.case_id for job in jobs)
    measure(jobs, report=said.append)
    assert sorted(said[:2]) == sorted(said[2:4]) == sorted(said[-2:]) == ids
    assert set(said[4:-2]) == {""}


def test_a_case_whose_ratios_are_steady_is_not_noisy_because_all_drift(monkeypatch: pytest.MonkeyPatch) -> None:
    def judge(before: object, after: object, duration_s: float, latency: Any, *_: object) -> str:
        return ",".join(f"{sample:.9f}" for sample in latency.samples_s)

    monkeypatch.setattr(group_module, "explain_noise", judge)
    baseline, other = measure(make_jobs("transposed", "subpixel"))
    assert baseline.latency is not None
    assert baseline.noise_reason == judge(None, None, 0, baseline.latency)[: len(baseline.noise_reason)]
    assert other.noise_reason.startswith(f"{other.ratios[0]:.9f}")


def test_torch_may_compile_as_many_layers_as_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch._dynamo.config as settings

    limits: list[int] = []
    names = [f"layer{number}" for number in range(3)]
    for name in names:
        register(name, lambda _: limits.append(settings.recompile_limit))
    monkeypatch.setattr(torch, "compile", lambda layer, dynamic: layer)
    before = settings.recompile_limit
    measure(make_jobs(*names, execution="compile"), measures_memory=False)
    assert set(limits) == {max(before, 24)}
    assert settings.recompile_limit == before


@pytest.mark.cuda
def test_a_group_on_a_device() -> None:
    found = measure(make_jobs("transposed", "nearest_conv", "subpixel", device="cuda"))
    for record in found:
        assert record.status == "ok"
        assert record.ratios
        assert record.latency is not None
        assert record.latency.host_latency_s is not None
        assert record.memory is not None
        assert record.memory.peak_reserved_bytes


def test_kernels_are_named_in_the_first_replicate_behind_all_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def name(step: PreparedStep) -> str:
        asked.append(step.case.case_id)
        return "convolution ref"

    monkeypatch.setattr(group_module, "name_kernels", name)
    jobs = make_jobs("transposed", "nearest_conv")
    assert [record.kernel for record in measure(jobs)] == ["convolution ref"] * 2
    assert asked == [job.case.case_id for job in jobs]
    assert [record.kernel for record in measure([replace(job, replicate=1) for job in jobs])] == ["", ""]
    assert len(asked) == 2
