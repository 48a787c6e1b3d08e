from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from deconvbench.errors import UnsupportedError
from deconvbench.records.record import Latency, Record
from deconvbench.runner.worker_main import classify_failure, fill
from tests.builders import make_record


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UnsupportedError("k < s"), ("unsupported", "k < s")),
        (MemoryError(), ("oom", "MemoryError")),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried"),
            ("oom", "OutOfMemoryError: CUDA out of memory. Tried"),
        ),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), ("oom", None)),
        (RuntimeError("std::bad_alloc"), ("oom", None)),
        (RuntimeError("shapes differ"), ("error", "RuntimeError: shapes differ")),
        (SystemExit(3), ("crashed", "SystemExit: 3")),
        (KeyboardInterrupt(), ("crashed", "KeyboardInterrupt")),
        (ValueError("out of memory is only a word here"), ("error", None)),
    ],
    ids=["unsupported", "python", "cuda", "cpu", "c++", "error", "exit", "interrupt", "only a word"],
)
def test_classification(error: BaseException, expected: tuple[str, str | None]) -> None:
    status, message = classify_failure(error)
    assert status == expected[0]
    if expected[1] is not None:
        assert message == expected[1]


def test_what_was_measured_before_a_failure_is_kept() -> None:
    latency = Latency(samples_s=(1.0,), calls_per_sample=1, first_call_s=1.0, stop_reason="sample_cap")

    def measure(job: Record) -> Iterator[Record]:
        yield replace(job, latency=latency)
        raise MemoryError

    record = fill(make_record(status="error"), measure)
    assert (record.status, record.latency) == ("oom", latency)
