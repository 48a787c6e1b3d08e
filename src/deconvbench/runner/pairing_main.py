"""The child's end of one side of a pair, ``python -m deconvbench.runner.pairing_main``.

Holds the step of one case at a time and times a block of it whenever the parent (`pairing`) asks, so that two
such processes, of two commits, compute in turns. Between blocks it waits for the next line and computes nothing.
"""

import contextlib
import faulthandler
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from deconvbench.records.case import Case
from deconvbench.runner.child_process import open_channel
from deconvbench.runner.worker_main import classify_failure, greet

if TYPE_CHECKING:
    from deconvbench.measure.pairs import PairedStep


class Side:
    """What one side of a pair holds, and what it answers.

    Parameters
    ----------
    slowdowns : mapping of str to float
        By upsampler: share by which its calls are made slower.
    policy : str
        The conditions that were asked for.
    """

    def __init__(self, slowdowns: Mapping[str, float], policy: str = "system") -> None:
        self._slowdowns = slowdowns
        self._policy = policy
        self._step: PairedStep | None = None
        self._held = contextlib.ExitStack()

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Do what a request says; what it raises becomes ``status`` and ``message`` of the answer.

        Parameters
        ----------
        request : mapping
            ``do``: ``prepare``, ``write``, ``differ``, ``settle``, ``warm`` or ``time``, with what that needs.
        """
        try:
            return {"status": "ok", **self._do(request)}
        except BaseException as error:  # noqa: BLE001 -- the boundary that keeps one case's failure from ending the rest
            status, message = classify_failure(error)
            return {"status": status, "message": message}

    def _do(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if request["do"] == "prepare":
            return self._prepare(request)
        step = self._step
        assert step is not None, "nothing was prepared"
        match request["do"]:
            case "write":
                step.write_outputs(Path(request["path"]))
                return {}
            case "differ":
                return {"difference": step.find_difference(Path(request["path"]))}
            case "settle":
                return self._settle(request["cores"])
            case "warm":
                return {"calls": step.warm_up(request["warmup_s"], request["min_block_s"])}
            case "time":
                return dict(zip(("seconds", "disturbed"), step.time_block(request["calls"]), strict=True))
        raise AssertionError(f"do: {request['do']!r}")

    def _prepare(self, request: Mapping[str, Any]) -> dict[str, Any]:
        from deconvbench.measure.pairs import PairedStep

        case = Case.from_id(request["case"])
        self._step = PairedStep(case, request["seed"], slowdown=self._slowdowns.get(case.upsampler))
        self._held.callback(self._step.close)
        return {"digest": self._step.digest()}

    def _settle(self, cores: Collection[int]) -> dict[str, Any]:
        """Bind this thread to the cores that both sides share, until the case is dropped."""
        from deconvbench.measure.conditions import pin_to, read_conditions

        self._held.enter_context(pin_to(cores))
        return {"conditions": asdict(read_conditions(self._policy))}

    def drop(self) -> None:
        """Forget the case."""
        self._held.close()
        self._step = None


def serve(source: TextIO, answer: Callable[[str], None]) -> None:
    """Be the child: read requests from `source` until it ends, answer each with a line.

    Parameters
    ----------
    source : text stream
        First the options, then one request a line, as JSON.
    answer : callable
        Sends one line to the parent.
    """
    options = json.loads(source.readline())
    begun = greet(options, answer)
    if begun is None:
        return
    _, state = begun
    token = options["token"]
    side = Side(dict(options["slowdowns"]), options["conditions"])
    from deconvbench.measure.blocks import spare_collector

    # garbage is collected before each case; to look through all of torch for it would take as long as the rounds
    with spare_collector():
        for line in source:
            request = json.loads(line)
            if request["do"] == "drop":
                side.drop()
                found = {"status": "ok", "lasting": list(state.restore().lasting)}
            else:
                found = side.answer(request)
            answer(f"{token} {json.dumps(found)}")


def main() -> None:
    """Serve the parent on standard input and output; whatever layers print goes to standard error."""
    faulthandler.enable()
    serve(*open_channel())


if __name__ == "__main__":
    main()
