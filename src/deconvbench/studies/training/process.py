"""The parent's end of a child process that trains.

Starts it, hands it one training run after another, and turns its end, however it came, into a status.
"""

import json
import secrets
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deconvbench.errors import SurroundingsError, explain_os_error
from deconvbench.runner.child_process import ChannelError, ChildProcess
from deconvbench.studies.training.settings import TrainingSettings

_LOG_NAME = "training.log"


class TrainingProcess:
    """A child process that trains, one thread each on a CPU.

    Parameters
    ----------
    options : dict
        What `process_main.serve` reads first, but for the folder and a token.
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
        self._token = secrets.token_hex(8)
        self._objection = ""
        self._send({**options, "root": str(root), "token": self._token})

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
            Its answers, in order, perhaps none yet; None once it has ended, or was ended because it said something
            that is not an answer.
        """
        try:
            lines = self._child.receive_some()
            return None if lines is None else [self._decode(line) for line in lines]
        except ChannelError as error:
            self._objection = f"the training process {error}"
            self._child.kill()
            return None

    def _decode(self, line: str) -> dict[str, Any]:
        """Read an answer; whatever layers write to the channel has no token."""
        token, _, content = line.partition(" ")
        if token != self._token:
            raise ChannelError("sent something that is not an answer")
        answer: dict[str, Any] = json.loads(content)
        return answer

    def explain_end(self) -> tuple[str, str]:
        """Say how the child ended: a status and one line."""
        if self._objection:
            return "crashed", self._objection
        status, message = self._child.explain_end()
        return status, f"{message}; see {self._log_path}"

    def kill(self) -> None:
        """End it at once; its run continues from its checkpoint."""
        self._child.kill()

    def _send(self, content: dict[str, Any]) -> None:
        self._child.send(json.dumps(content))
