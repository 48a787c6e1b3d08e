"""The parent's end of a child process that trains.

Starts it, hands it one training run after another, and turns its end, however it came, into a status.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deconvbench.errors import SurroundingsError, explain_os_error
from deconvbench.studies.training.settings import TrainingSettings

_LOG_NAME = "training.log"


class TrainingProcess:
    """A child process that trains, one thread each on a CPU.

    Parameters
    ----------
    options : dict
        What `child.serve` reads first, but for the parent's id.
    root : Path
        The experiments folder; what layers print goes into a log there.

    Raises
    ------
    SurroundingsError
        If it cannot be started.
    """

    def __init__(self, options: dict[str, Any], root: Path) -> None:
        paths = os.pathsep.join(path for path in sys.path if path)
        self._log_path = root / _LOG_NAME
        try:
            log = self._log_path.open("ab")
        except OSError as error:
            raise SurroundingsError(f"cannot write to {self._log_path}: {explain_os_error(error)}") from error
        with log:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "deconvbench.studies.training.process_main"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
                    # Ctrl-C must reach the parent alone, which then ends the children
                    start_new_session=True,
                )
            except OSError as error:
                raise SurroundingsError(f"no training process: {explain_os_error(error)}") from error
        self._buffer = b""
        self._send({**options, "root": str(root), "parent": os.getpid()})

    def fileno(self) -> int:
        """Descriptor that can be read when the child has something to say, or has ended."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def train(self, settings: TrainingSettings) -> None:
        """Hand a training run over.

        Parameters
        ----------
        settings : TrainingSettings
            What to train.
        """
        self._send(asdict(settings))

    def read(self) -> list[dict[str, Any]] | None:
        """Read what the child has said since; blocks unless its descriptor can be read.

        Returns
        -------
        list of dict or None
            Its answers, in order, perhaps none yet; None once it has ended.
        """
        chunk = os.read(self.fileno(), 1 << 16)
        if not chunk:
            return None
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        return [json.loads(line) for line in lines]

    def explain_end(self) -> str:
        """Say in one line how the child ended."""
        code = self._process.wait()
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        return (
            f"the training process was {how}" if code < 0 else f"the training process {how}; see {self._log_path}"
        )

    def kill(self) -> None:
        """End it at once; its run continues from its checkpoint."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nothing is left (macOS: but zombies)
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):  # a last flush to a child that is gone
                    stream.close()

    def _send(self, content: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died before it read this; its end tells why
            self._process.stdin.write(json.dumps(content).encode() + b"\n")
            self._process.stdin.flush()
