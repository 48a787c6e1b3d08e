"""What runs in a worker process of Dask; the measuring itself is `runner.remote`'s, in child processes.

A worker answers the scheduler while it waits for its child, so nothing here imports torch.
"""

import os
from typing import Any

from deconvbench.runner.batch_process import StartWorker
from deconvbench.runner.remote import Answer, Order, close_slots, describe_process, measure_order
from deconvbench.runner.worker import WorkerOptions


def clear_nanny_variables() -> None:
    """Take back the variables that Dask's nanny sets for its workers' own arithmetic.

    It trims malloc's memory eagerly, which makes layers slower, and gives libraries one thread. Those that were
    set to something else stay as they are: a user wanted them.
    """
    import dask

    given = dask.config.get("distributed.nanny.pre-spawn-environ", {})
    for name, value in given.items():
        if value is not None and os.environ.get(name) == str(value):
            del os.environ[name]


def probe_worker(device: str, options: WorkerOptions, start: StartWorker) -> dict[str, Any]:
    """Say which process this is, and what a child finds here; see `describe_process`.

    Parameters
    ----------
    device : str
        A device that it offers a slot of.
    options : WorkerOptions
        Those of the orders to come.
    start : callable
        Starts a child.

    Returns
    -------
    dict
        As `describe_process`, with ``distributed``, the version of Dask.
    """
    import distributed

    clear_nanny_variables()
    return {**describe_process(device, options, start), "distributed": distributed.__version__}


def run_order(order: Order, start: StartWorker) -> Answer | None:
    """Measure one group; see `measure_order`.

    Parameters
    ----------
    order : Order
        What, and for whom.
    start : callable
        Starts a child.
    """
    return measure_order(order, start)


def release_worker() -> None:
    """End the children that have nothing to do; see `close_slots`."""
    close_slots()
