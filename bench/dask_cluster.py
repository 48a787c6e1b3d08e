"""A scheduler and workers on loopback, started as a user starts them on the hosts of a cluster."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

# a lost worker is noticed soon, and what it did is sent out again once at most
SETTINGS = {
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "5s",
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
}
_START_S = 120.0


@contextlib.contextmanager
def start_cluster(
    folder: Path,
    workers: int,
    *,
    slot: str = "deconvbench-cpu=1",
    settings: Mapping[str, str] = SETTINGS,
    has_nannies: bool = True,
    protocol: str = "tcp",
) -> Iterator[str]:
    """Start a scheduler and workers while the block lasts.

    Parameters
    ----------
    folder : Path
        For their logs and files.
    workers : int
        How many; each is a process of one thread.
    slot : str
        Their resource.
    settings : mapping of str to str
        Variables by which Dask is configured.
    has_nannies : bool
        Whether a worker that dies, or that the scheduler misses, is replaced.
    protocol : str
        ``tcp``, or ``tls`` with certificates in the settings.

    Yields
    ------
    str
        The scheduler's address.
    """
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, *sys.path]))
    environment = {**os.environ, **settings, "PYTHONPATH": path}
    file = folder / "scheduler.json"
    common = ["--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file)]
    slots = ["--nthreads", "1", "--nworkers", "1", "--resources", slot, "--local-directory", str(folder)]
    if not has_nannies:
        slots.append("--no-nanny")
    commands = [
        ["scheduler", "--port", "0", "--protocol", protocol, *common],
        *[["worker", *common, *slots]] * workers,
    ]
    with contextlib.ExitStack() as stack:
        for number, (name, *words) in enumerate(commands):
            log = stack.enter_context((folder / f"{number}-{name}.log").open("wb"))
            process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{name}", *words],
                env=environment,
                stdout=log,
                stderr=log,
            )
            stack.callback(_end, process)
        yield _read_address(file)


def _read_address(file: Path) -> str:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError):  # not there yet, or half written
            return str(json.loads(file.read_text(encoding="utf-8"))["address"])
        time.sleep(0.05)
    raise TimeoutError(f"no scheduler: {file}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.send_signal(signal.SIGCONT)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
