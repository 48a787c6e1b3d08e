"""Training runs side by side: which worker trains what, how far they are, and how each ended.

A run that fails is a status; only what would stop every run ends them all.
"""

import selectors
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from deconvbench.errors import SurroundingsError
from deconvbench.progress import PartDone, PartObserver
from deconvbench.studies.training.settings import TrainingSettings

_MOST_SKIPPED = 3  # named on the terminal; experiment.json names all


class TrainingWorker(Protocol):
    """What the pool needs of a worker; `TrainingProcess` is the real one."""

    def fileno(self) -> int:
        """Descriptor that can be read when it has something to say, or has ended."""

    def train(self, settings: TrainingSettings) -> None:
        """Begin a training run."""

    def read(self) -> list[dict[str, Any]] | None:
        """Say what came since, None at its end: ``step, text``, ``status, message, is_spent``, or ``stop``."""

    def explain_end(self) -> tuple[str, str]:
        """Say how it ended: a status and one line."""

    def kill(self) -> None:
        """End it at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A training run that came to no result, or to none that can be used.

    Parameters
    ----------
    run_id : str
        Which.
    status : str
        ``diverged``, ``unsupported``, ``oom``, ``crashed`` or ``error``.
    message : str
        One line.
    """

    run_id: str
    status: str
    message: str

    def __str__(self) -> str:
        return f"{self.run_id}: {self.status}: {self.message}"


@dataclass(slots=True, kw_only=True)
class TrainingOutcome:
    """What became of the training runs of a call.

    Parameters
    ----------
    trained : int
        Those that came to their end in this call, or were scored again in it.
    kept : int
        Those that were finished, or scored by this version, before.
    failures : list of Failure
        The others.
    skipped : sequence of str
        "NAME: reason" for each file of the images that is not used.
    left : list of str
        "RUN: reason" for each run that cannot be scored again.
    is_scoring : bool
        Whether runs were scored again, and not trained.
    """

    trained: int = 0
    kept: int = 0
    failures: list[Failure] = field(default_factory=list)
    skipped: Sequence[str] = ()
    left: list[str] = field(default_factory=list)
    is_scoring: bool = False

    def describe(self) -> str:
        """Say in a line, one more for each run that failed or was left and one for skipped images, how it went."""
        done, before = ("scored again", "scored before") if self.is_scoring else ("trained", "finished before")
        counts = {done: self.trained, before: self.kept, "failed": len(self.failures), "left": len(self.left)}
        counted = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
        lines = [counted or "nothing to train", *map(str, self.failures), *self.left]
        if self.skipped:
            shown = "; ".join(self.skipped[:_MOST_SKIPPED])
            rest = "; ..." if len(self.skipped) > _MOST_SKIPPED else ""
            lines.append(f"images skipped: {len(self.skipped)} ({shown}{rest})")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """A training run that is not finished.

    Parameters
    ----------
    settings : TrainingSettings
        What to train.
    done : int
        Steps that its checkpoint has.
    """

    settings: TrainingSettings
    done: int


class TrainingPool:
    """A pool of workers that train, and what each one trains.

    Parameters
    ----------
    tasks : sequence of TrainingJob
        In the order in which they are begun.
    start : callable
        Starts a worker.
    jobs : int
        Workers at a time.
    outcome : TrainingOutcome
        Receives each end.
    observer : callable
        Receives each step and end, with a note for a failure.
    finish : callable
        Called after each run that came to its end, whichever.
    """

    def __init__(
        self,
        tasks: Sequence[TrainingJob],
        start: Callable[[], TrainingWorker],
        jobs: int,
        *,
        outcome: TrainingOutcome,
        observer: PartObserver,
        finish: Callable[[], None],
    ) -> None:
        self._waiting = deque(tasks)
        self._start = start
        self._jobs = jobs
        self._outcome = outcome
        self._observer = observer
        self._finish = finish
        self._total = sum(task.settings.steps - task.done for task in tasks)
        self._done = 0
        self._selector = selectors.DefaultSelector()
        self._idle: list[TrainingWorker] = []
        self._busy: dict[TrainingWorker, TrainingJob] = {}

    def run(self) -> None:
        """Train until nothing is left; whatever happens, no worker is left.

        Raises
        ------
        SurroundingsError
            If a worker cannot be started, or says that nothing can be trained any more.
        """
        with self._selector:
            try:
                while self._waiting or self._busy:
                    self._hand_out()
                    for key, _ in self._selector.select():
                        self._listen(cast("TrainingWorker", key.fileobj))
            finally:
                for worker in (*self._busy, *self._idle):
                    worker.kill()

    def _hand_out(self) -> None:
        while self._waiting and len(self._busy) < self._jobs:
            if not self._idle:
                worker = self._start()
                self._selector.register(worker, selectors.EVENT_READ)
                self._idle.append(worker)
            worker = self._idle.pop()
            task = self._busy[worker] = self._waiting.popleft()
            worker.train(task.settings)

    def _listen(self, worker: TrainingWorker) -> None:
        answers = worker.read()
        if answers is None:
            self._selector.unregister(worker)
            if worker in self._busy:
                self._end(worker, *worker.explain_end())
            self._retire(worker)
            return
        for answer in answers:
            if "stop" in answer:
                raise SurroundingsError(answer["stop"])
            if "step" in answer:
                self._advance(worker, answer["step"], answer["text"])
            else:
                self._end(worker, answer["status"], answer["message"])
                if answer.get("is_spent"):
                    self._selector.unregister(worker)
                    self._retire(worker)

    def _retire(self, worker: TrainingWorker) -> None:
        worker.kill()
        self._idle = [other for other in self._idle if other is not worker]

    def _advance(self, worker: TrainingWorker, step: int, text: str) -> None:
        task = self._busy[worker]
        self._done += step - task.done
        self._busy[worker] = TrainingJob(settings=task.settings, done=step)
        self._tell(f"{task.settings.run_id} step {step}  {text}".rstrip())

    def _end(self, worker: TrainingWorker, status: str, message: str) -> None:
        task = self._busy.pop(worker)
        self._idle.append(worker)
        # the steps that a failure leaves undone are not waited for
        self._total -= task.settings.steps - task.done
        note = ""
        if status == "ok":
            self._outcome.trained += 1
        else:
            failure = Failure(run_id=task.settings.run_id, status=status, message=message)
            self._outcome.failures.append(failure)
            note = str(failure)
        self._finish()
        self._tell(f"{task.settings.run_id} {status}", note)

    def _tell(self, title: str, note: str = "") -> None:
        self._observer(PartDone(done=self._done, total=self._total, title=title, note=note))
