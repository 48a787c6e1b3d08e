"""The child's end of an audit, ``python -m deconvbench.networks.inspection.audit_main``: runs a target, once.

The request comes as one line. Back go lines that say what is done next, and a last one with what was found, or
with the reason why nothing was; each begins with a word that the parent chose. What the target prints goes to
standard error. The parent (`workflows.auditing`) ends this process as soon as it has the answer, or none in time.
"""

import contextlib
import faulthandler
import importlib
import json
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import nn

from deconvbench.errors import DeconvbenchError, UsageError, describe_failure, quote
from deconvbench.measure.accelerator import check_device
from deconvbench.networks.inspection.audit import audit
from deconvbench.networks.inspection.examples import find_inputs, make_example, make_images, run_once
from deconvbench.networks.inspection.preparation import name_dtype
from deconvbench.networks.inspection.state_dicts import load_weights
from deconvbench.networks.inspection.targets import load_target
from deconvbench.records.audit_request import AuditRequest
from deconvbench.records.decoding import build
from deconvbench.runner.child_process import open_channel
from deconvbench.runner.worker_main import classify_failure

_MOST_TRACE_CHARACTERS = 100_000


def serve(source: TextIO, answer: Callable[[str], None]) -> None:
    """Be the child: read the request, make the audit, answer.

    Parameters
    ----------
    source : text stream
        One line: ``token`` and ``request``.
    answer : callable
        Sends one line to the parent.
    """
    order = json.loads(source.readline())
    token = order["token"]

    def say(text: str) -> None:
        answer(f"{token} {json.dumps({'progress': text})}")

    try:
        request = build(AuditRequest, order["request"])
        limit_memory(request.max_memory_bytes)
        content = carry_out(request, say)
    except BaseException as error:  # noqa: BLE001 -- the boundary that keeps what a target does from ending the command
        content = explain(error)
    answer(f"{token} {json.dumps(content, allow_nan=False)}")


def explain(error: BaseException) -> dict[str, Any]:
    """Say what went wrong: ``error`` is one line, ``status`` as of `classify_failure`, ``trace`` all there is."""
    try:
        status, message = next(
            (found for cause in _list_causes(error) if (found := classify_failure(cause))[0] == "oom"),
            classify_failure(error),
        )
        trace = "".join(traceback.format_exception(error))
    except Exception:  # noqa: BLE001 -- an exception of the target's whose text raises
        status, message, trace = "error", type(error).__name__, ""
    return {"error": message, "status": status, "trace": trace[-_MOST_TRACE_CHARACTERS:]}


def _list_causes(error: BaseException) -> list[BaseException]:
    """List an error and what it was made of."""
    found = [error]
    while (cause := found[-1].__cause__) is not None and cause not in found:
        found.append(cause)
    return found


def limit_memory(most_bytes: int) -> None:
    """Have what is allocated beyond that fail in this process, and in all that it starts (Linux).

    Parameters
    ----------
    most_bytes : int
        Beyond what is allocated already.
    """
    with contextlib.suppress(ImportError, OSError, ValueError, StopIteration):
        resource = importlib.import_module("resource")  # Windows has none
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        held = next(int(line.split()[1]) for line in lines if line.startswith("VmData:"))
        limit = min(1024 * held + most_bytes, 2**62)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def carry_out(request: AuditRequest, say: Callable[[str], None]) -> dict[str, Any]:
    """Load a target and audit it.

    Parameters
    ----------
    request : AuditRequest
        What is asked for.
    say : callable
        Is told what is done next.

    Returns
    -------
    dict
        ``audit`` as `Audit.to_dict` gives it, ``inputs`` in words, ``is_guessed`` and ``notes``.

    Raises
    ------
    UsageError
        If the target cannot be audited so.
    """
    if request.folder:
        os.chdir(request.folder)
    if request.threads is not None:
        torch.set_num_threads(request.threads)
    check_device(request.device)
    say("loading the network")
    model = load_target(request.target)
    notes = load_weights(model, request.state_dict) if request.state_dict else []
    device = torch.device(request.device)
    model = _move(model, device, request.dtype)
    dtype: torch.dtype = getattr(torch, request.dtype or name_dtype(model))
    inputs = request.inputs or find_inputs(model, dtype, device, say)
    example = make_example(inputs, dtype, device)
    say("running the network once")
    words = [str(one) for one in inputs]
    try:
        outputs = run_once(model, example)
    except DeconvbenchError:
        raise
    except Exception as error:
        raise UsageError(
            f"the network does not run with {', '.join(words)}: {describe_failure(error)};"
            " --input gives other inputs"
        ) from error
    if not outputs:
        raise UsageError("the network gives no tensor")
    found = audit(
        model,
        example,
        images=make_images(example, request.images) if request.images else None,
        output_range=request.output_range,
        measure_fuse=request.measure_fuse,
        ignore=request.ignore,
        evidence=request.evidence,
        progress=say,
    )
    return {
        "audit": found.to_dict(),
        "inputs": words,
        "is_guessed": not request.inputs,
        "notes": notes,
    }


def _move(model: nn.Module, device: torch.device, dtype: str) -> nn.Module:
    """Bring a network to a device and a dtype."""
    try:
        return model.to(device, getattr(torch, dtype)) if dtype else model.to(device)
    except Exception as error:
        place = f"{device}{f' as {dtype}' * bool(dtype)}"
        raise UsageError(f"the network cannot be brought to {quote(place)}: {describe_failure(error)}") from error


def main() -> None:
    """Serve the parent on standard input and output; whatever the target prints goes to standard error."""
    faulthandler.enable()
    source, answer = open_channel()
    serve(source, answer)
    # the answer is there; what the target left behind (threads, what runs at exit) must not delay the end
    os._exit(0)


if __name__ == "__main__":
    main()
