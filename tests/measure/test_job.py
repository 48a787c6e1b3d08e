from collections.abc import Iterator

import pytest

from deconvbench.measure.job import Measuring
from deconvbench.records.record import AnyRecord, NumericsRecord, QualityRecord
from deconvbench.runner.worker_main import classify_failure
from tests.builders import make_record

ENVIRONMENT = {"machine_id": "m", "torch_version": "2", "code_version": "1"}


@pytest.fixture
def measuring() -> Measuring:
    return Measuring(environment=ENVIRONMENT, policy={"time_cap_s": 0.01})


def finish(steps: Iterator[AnyRecord]) -> AnyRecord:
    return list(steps)[-1]


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


def test_a_case_says_where_it_was_measured_and_keeps_what_it_said_of_itself(measuring: Measuring) -> None:
    job = make_record(status="error", message="not measured", replicate=3, order=5)
    (done,) = measuring.measure_together([job], judge=classify_failure)
    assert (done.status, done.message, done.replicate, done.order) == ("ok", "", 3, 5)
    assert (done.machine_id, done.torch_version, done.code_version) == ("m", "2", "1")
    assert done.conditions is not None
