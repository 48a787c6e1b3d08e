"""Children of workers of a cluster to which something happens; imports no torch, as a worker's module must not."""

from typing import Any, ClassVar

from bench.noop_worker import NoopWorker
from deconvbench.runner.worker import WorkerError, WorkerOptions


class StrangeChild(NoopWorker):
    """A child of another version."""

    environment: ClassVar[dict[str, Any]] = {**NoopWorker.environment, "torch_version": "1.9"}


class MissingChild(NoopWorker):
    """A child that does not come up."""

    def __init__(self, options: WorkerOptions) -> None:
        raise WorkerError("the worker process did not start: no such interpreter")


class FailingChild(NoopWorker):
    """A child that fails in a way that nobody thought of."""

    def measure(self, job: Any, timeout_s: float) -> Any:
        raise ZeroDivisionError("never thought of")
