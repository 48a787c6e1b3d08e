"""A child that measures nothing, for what everything around a measurement costs; imports no torch."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from deconvbench.records.record import Latency, Record
from deconvbench.runner.messages import Breakdown
from deconvbench.runner.worker import R, WorkerOptions

VERSIONS = {"code_version": "1", "torch_version": "2", "python_version": "3"}
_LATENCY = Latency(samples_s=(1e-3,) * 10, calls_per_sample=1, first_call_s=1e-3, stop_reason="precision")


class NoopWorker:
    """Fills jobs in with ten samples of a millisecond.

    Parameters
    ----------
    options : WorkerOptions
        Taken as a real worker takes them.
    """

    alive = True
    environment: ClassVar[dict[str, Any]] = {**VERSIONS, "machine_id": "m", "cpu": "none", "cores": 1}

    def __init__(self, options: WorkerOptions) -> None:
        self.options = options

    def measure(self, job: R, timeout_s: float) -> R:  # noqa: ARG002 -- as the real one
        """Return the job filled in."""
        return replace(job, status="ok", message="")

    def measure_together(
        self,
        jobs: Sequence[Record],
        timeout_s: float,  # noqa: ARG002 -- as the real one
    ) -> list[Record] | Breakdown:
        """Return the jobs filled in."""
        return [replace(job, status="ok", message="", latency=_LATENCY) for job in jobs]

    def kill(self) -> None:
        """End nothing."""
