from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from torch import nn

from deconvbench.errors import UsageError
from deconvbench.measure import job as job_module
from deconvbench.measure.job import Measuring, count_macs
from deconvbench.measure.step import PreparedStep
from deconvbench.records.record import AnyRecord, NumericsRecord, QualityRecord, Record
from deconvbench.upsamplers import register_upsampler, registry
from tests.builders import make_case, make_record

ENVIRONMENT = {"machine_id": "m", "torch_version": "2", "code_version": "1"}


@pytest.fixture
def measuring() -> Measuring:
    return Measuring(environment=ENVIRONMENT, policy={"time_cap_s": 0.01})


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))


def finish(steps: Iterator[AnyRecord]) -> AnyRecord:
    return list(steps)[-1]


def test_a_case_is_filled_in_step_by_step(measuring: Measuring) -> None:
    job = make_record(status="error", message="not measured", replicate=3, order=5)
    steps = [step for step in measuring.measure(job) if isinstance(step, Record)]
    assert [step.status for step in steps] == ["error"] * (len(steps) - 1) + ["ok"]
    assert [step.latency is not None for step in steps] == sorted(step.latency is not None for step in steps)
    last = steps[-1]
    assert (last.replicate, last.order, last.message, last.machine_id) == (3, 5, "", "m")
    assert last.memory is not None
    assert last.memory.output_bytes == 4 * 2 * 16 * 16
    assert last.latency_pass_s > 0
    assert last.memory_pass_s > 0


def test_the_kernel_is_found_in_the_first_replicate_behind_all_passes(
    measuring: Measuring, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def name(step: PreparedStep) -> str:
        asked.append(step.case.case_id)
        return "convolution ref"

    monkeypatch.setattr(job_module, "name_kernels", name)
    steps = [s for s in measuring.measure(make_record(status="error", replicate=0)) if isinstance(s, Record)]
    assert [step.kernel for step in steps] == [""] * (len(steps) - 1) + ["convolution ref"]
    last = finish(measuring.measure(make_record(status="error", replicate=1)))
    assert isinstance(last, Record)
    assert (last.kernel, last.status) == ("", "ok")
    assert len(asked) == 1


def test_quality_and_numerics(measuring: Measuring) -> None:
    quality = QualityRecord(
        upsampler="nearest_conv", kernel_size=3, scale_factor=2, seed=4, channels=3, status="error"
    )
    done = finish(measuring.measure(quality))
    assert isinstance(done, QualityRecord)
    assert (done.status, done.seed, done.channels) == ("ok", 4, 3)
    assert done.metrics["phase_ripple"] == pytest.approx(0, abs=1e-20)
    numerics = NumericsRecord(
        upsampler="nearest_conv",
        kernel_size=3,
        scale_factor=2,
        in_channels=4,
        out_channels=2,
        dtype="bfloat16",
        device="cpu",
        status="error",
    )
    answer = finish(measuring.measure(numerics))
    assert isinstance(answer, NumericsRecord)
    assert answer.key == numerics.key
    assert answer.numerical_error is not None
    assert 1e-4 < answer.numerical_error < 1e-1


def test_macs_are_those_of_the_whole_batch() -> None:
    case = make_case(batch=3)
    assert count_macs(case) == 3 * count_macs(replace(case, batch=1)) == 3 * 16 * 16 * 9 * 4 * 2


@pytest.mark.usefixtures("own_registry")
def test_an_upsampler_without_a_formula_is_counted() -> None:
    @register_upsampler("uncounted")
    def build(in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> nn.Module:
        conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
        return nn.Sequential(nn.Upsample(scale_factor=scale_factor), conv)

    case = make_case(batch=2)
    assert count_macs(replace(case, upsampler="uncounted")) == count_macs(case)


@pytest.mark.usefixtures("own_registry")
@pytest.mark.parametrize("count", [1.5, -1, "12", None])
def test_a_formula_that_gives_no_whole_number_is_an_error(count: Any) -> None:
    register_upsampler("miscounted", macs=lambda *_: count)(nn.Identity)
    with pytest.raises(UsageError, match=f"'miscounted': macs gave {count!r}, not a whole number of at least 0"):
        count_macs(make_case(upsampler="miscounted"))
