"""Connecting to a Dask scheduler: which there may be, who may listen, and whether it notices lost workers.

TLS and its certificates are Dask's own settings (``distributed.comm.tls``), which apply as they are. `distributed`
is imported only where a cluster is asked for.
"""

import contextlib
import ipaddress
import logging
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from deconvbench.errors import SurroundingsError, UsageError, quote
from deconvbench.runner.limits import check_count, limit_threads
from deconvbench.units import format_duration

if TYPE_CHECKING:
    from distributed import Client

OPTION = "--scheduler"
# a slot of a device, among the resources of a worker
SLOT_PREFIX = "deconvbench-"
# that of a worker that is partitioned is lost only after this long
LONGEST_TTL_S = 60.0
MOST_FAILURES = 1
_CONNECT_S = 15
_LOCAL = "local:"
# of a number of workers that is too large whatever follows, and that Python still converts
_WORKERS = re.compile(r"[+-]?[0-9]{1,18}")
_SETTINGS = (
    "start it with DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL=30s and DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=1"
)


def check_address(address: str, *, insecure: bool = False) -> None:
    """Refuse what is not a scheduler's address, or one where others could listen.

    Parameters
    ----------
    address : str
        ``local:N``, ``tcp://HOST:PORT`` or ``tls://HOST:PORT``.
    insecure : bool
        Accept a connection without TLS to another machine.

    Raises
    ------
    UsageError
        Naming what is allowed.
    """
    if address.startswith(_LOCAL):
        _parse_workers(address)
        return
    try:
        parts = urlsplit(address)
        is_complete = parts.scheme in ("tcp", "tls") and bool(parts.hostname) and parts.port is not None
    except ValueError:  # a port that is no number
        is_complete = False
    if not is_complete:
        raise UsageError(
            f"{OPTION}: {quote(address)} is not local:N, tcp://HOST:PORT or tls://HOST:PORT, such as"
            " tcp://127.0.0.1:8786"
        )
    if not insecure and not is_private(address):
        raise UsageError(
            f"{OPTION}: {address} is another machine without TLS, so others could send code to its workers; use"
            " tls:// with Dask's TLS settings, or pass --insecure in a network that you trust"
        )


def _parse_workers(address: str) -> int:
    """Parse the number of workers of ``local:N``."""
    text = address.removeprefix(_LOCAL)
    if _WORKERS.fullmatch(text) is None:
        raise UsageError(
            f"{OPTION}: {quote(address)}: N, the number of workers, is a whole number from 1 to {limit_threads()}"
        )
    check_count(f"{OPTION}: local:N", int(text))
    return int(text)


def is_private(address: str) -> bool:
    """Say whether others can neither read nor join what is said at an address: TLS, or this machine alone.

    Parameters
    ----------
    address : str
        As Dask writes them.
    """
    parts = urlsplit(address)
    if parts.scheme != "tcp":
        return parts.scheme in ("tls", "inproc")
    host = parts.hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_scheduler(ttl_s: float | None, allowed_failures: int) -> str:
    """Check whether a scheduler notices soon that a worker is lost, and sends its work out again at most once.

    Parameters
    ----------
    ttl_s : float or None
        Seconds after which a worker that says nothing is lost; None never.
    allowed_failures : int
        How many workers a task may take with it before it is given up.

    Returns
    -------
    str
        A warning of one line, or nothing.

    Raises
    ------
    UsageError
        If a worker that hangs would never be noticed.
    """
    if ttl_s is None:
        raise UsageError(
            f"{OPTION}: its worker-ttl is off, so a worker that hangs would be waited for without end; {_SETTINGS}"
        )
    problems = []
    if ttl_s > LONGEST_TTL_S:
        problems.append(
            f"a worker that hangs or is cut off is noticed after {format_duration(ttl_s)} (worker-ttl)"
        )
    if allowed_failures > MOST_FAILURES:
        problems.append(f"the scheduler hands on what a lost worker did up to {allowed_failures} times")
    return f"{OPTION}: {'; '.join(problems)}; {_SETTINGS}" if problems else ""


@contextlib.contextmanager
def connect(
    address: str,
    *,
    insecure: bool = False,
    warn: Callable[[str], None],
    announce: Callable[[str], None] = lambda _: None,
) -> Iterator["Client"]:
    """Connect to a scheduler, or start one with workers on this machine, while the block lasts.

    Parameters
    ----------
    address : str
        As `check_address` accepts it.
    insecure : bool
        As for `check_address`.
    warn : callable
        Receives what the user should know, a line each.
    announce : callable
        Receives what is waited for, before the wait.

    Yields
    ------
    Client
        Of `distributed`.

    Raises
    ------
    UsageError
        If `distributed` is not installed, the address is not one, certificates for TLS are missing or cannot be
        read, or the scheduler does not notice lost workers.
    SurroundingsError
        If it cannot be reached.
    """
    check_address(address, insecure=insecure)
    try:
        import distributed
    except ImportError as error:
        raise UsageError(
            f"{OPTION}: needs the extra cluster; install it with: pip install 'deconvbench[cluster]'"
        ) from error
    with contextlib.ExitStack() as stack:
        stack.enter_context(_quieten())
        if address.startswith(_LOCAL):
            workers = _parse_workers(address)
            announce(f"{OPTION}: starting {workers} worker{'s' * (workers != 1)} on this machine")
            address = stack.enter_context(_start_local(workers))
        else:
            _check_certificates(address)
            announce(f"{OPTION}: connecting to {address}, for up to {_CONNECT_S:g} s")
        try:
            client = distributed.Client(address, timeout=_CONNECT_S, set_as_default=False, name="deconvbench")
        except (OSError, TimeoutError, RuntimeError, TypeError, ValueError) as error:
            # the last three: certificates that are not what they should be
            reason = " ".join(str(error).split()) or "no answer"
            raise SurroundingsError(f"{OPTION}: cannot connect to {address}: {reason}") from error
        stack.callback(_close, client)
        settings = client.run_on_scheduler(
            # a lambda travels as it is: the scheduler need not have this package
            lambda dask_scheduler: (dask_scheduler.worker_ttl, dask_scheduler.allowed_failures)
        )
        if warning := check_scheduler(*settings):
            warn(warning)
        yield client


def _check_certificates(address: str) -> None:
    """Refuse TLS without certificates: a client that fails for them waits half a minute before it ends."""
    if urlsplit(address).scheme != "tls":
        return
    import distributed

    try:
        context = distributed.Security().get_connection_args("client").get("ssl_context")
    except (OSError, TypeError, ValueError) as error:  # a file that is missing, or is no certificate
        reason = " ".join(str(error).split())
        raise UsageError(f"{OPTION}: {address}: Dask's TLS settings of the client: {reason}") from error
    if context is None:
        raise UsageError(
            f"{OPTION}: {address} needs Dask's TLS settings (distributed.comm.tls):"
            " DASK_DISTRIBUTED__COMM__TLS__ with CA_FILE, CLIENT__CERT and CLIENT__KEY"
        )


def _close(client: "Client") -> None:
    with contextlib.suppress(OSError, TimeoutError, RuntimeError):  # a scheduler that is gone
        client.close(timeout=5)


@contextlib.contextmanager
def _quieten() -> Iterator[None]:
    """Keep Dask's own log off standard error: what matters is raised, in one line."""
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "distributed"]
    loggers = [logging.getLogger(name) for name in ("distributed", *names)]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _start_local(workers: int) -> Iterator[str]:
    """Start a scheduler and workers on loopback, each with a slot of every device of this machine."""
    import dask
    from distributed import LocalCluster

    from deconvbench.measure.accelerator import list_devices

    settings = {
        "distributed.scheduler.worker-ttl": "30s",
        "distributed.scheduler.allowed-failures": MOST_FAILURES,
        # it would look at the worker's threads a hundred times a second
        "distributed.worker.profile.enabled": False,
    }
    slots = {f"{SLOT_PREFIX}{device}": 1 for device in list_devices()}
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            resources=slots,
            silence_logs=logging.CRITICAL,
        ) as cluster,
    ):
        yield cluster.scheduler_address
