"""The parent's end of a child process that trains.

Starts it, hands it one training run after another, and turns its end, however it came, into a status.
"""

import json
import os
import signal
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deconvbench.errors import SurroundingsError, explain_os_error
from deconvbench.runner.child_process import ChildProcess
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
        self._log_path = root / _LOG_NAME
        try:
            self._child = ChildProcess(
                "deconvbench.studies.training.process_main",
                environment={"OMP_NUM_THREADS": "1"},
                log=self._log_path,
            )
        except OSError as error:
            raise SurroundingsError(f"no training process: {explain_os_error(error)}") from error
        self._send({**options, "root": str(root), "parent": os.getpid()})

    def fileno(self) -> int:
        """Descriptor that can be read when the child has something to say, or has ended."""
        return self._child.fileno()

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
        lines = self._child.receive_some()
        return None if lines is None else [json.loads(line) for line in lines]

    def explain_end(self) -> str:
        """Say in one line how the child ended."""
        code = self._child.wait()
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        return (
            f"the training process was {how}" if code < 0 else f"the training process {how}; see {self._log_path}"
        )

    def kill(self) -> None:
        """End it at once; its run continues from its checkpoint."""
        self._child.kill()

    def _send(self, content: dict[str, Any]) -> None:
        self._child.send(json.dumps(content))
