import io
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace

import pytest
import torch

from deconvbench.errors import UnsupportedError
from deconvbench.measure import group as measuring
from deconvbench.records.record import Latency, Record, decode_record, encode_record
from deconvbench.runner import worker_main as worker_module
from deconvbench.runner.worker import WorkerOptions
from deconvbench.runner.worker_main import classify_failure, fill
from tests.builders import make_case, make_record


@pytest.mark.parametrize("slowdown", [0.0, 0.25])
def test_the_slowdown_reaches_the_step_that_is_timed(monkeypatch: pytest.MonkeyPatch, slowdown: float) -> None:
    shares = []

    def note(step: Callable[[], object], share: float) -> Callable[[], object]:
        shares.append(share)
        return step

    monkeypatch.setattr(measuring, "slow_down", note)
    chosen = WorkerOptions(slowdown=slowdown, policy=(("time_cap_s", 0.01),), measures_memory=False)
    greeting = json.dumps({**asdict(chosen), "token": "t"})
    answers: list[str] = []
    lines = f"{greeting}\n{encode_record(make_record(status='error', case=make_case(upsampler='nearest_conv')))}\n"
    worker_module.serve(io.StringIO(lines), answers.append)
    token, state, record = answers[-1].split(" ", 2)
    assert (token, state, decode_record(record, "answer").status) == ("t", "ready", "ok")
    assert shares == ([slowdown] if slowdown else [])


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
