import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from deconvbench.errors import SurroundingsError
from deconvbench.progress import PartDone
from deconvbench.studies.training.scheduler import Failure, TrainingJob, TrainingOutcome, TrainingPool
from deconvbench.studies.training.settings import TrainingSettings
from tests.tiny_training import TINY

Answers = list[dict[str, Any]]
OK = {"status": "ok", "message": ""}


def make_task(seed: int, done: int = 0) -> TrainingJob:
    return TrainingJob(settings=replace(TINY, seed=seed), done=done)


def tell_steps(settings: TrainingSettings) -> Answers:
    return [{"step": 6, "text": ""}, {"step": 12, "text": "loss 1"}, OK]


class ScriptedChild:
    """Answers each run with a script, a chunk a read; None ends it."""

    def __init__(self, script: Callable[[TrainingSettings], Answers | None]) -> None:
        self.script = script
        self.reading, self.writing = os.pipe()
        self.asked: list[int] = []
        self.chunks: list[Answers | None] = []
        self.killed = 0

    def fileno(self) -> int:
        return self.reading

    def train(self, settings: TrainingSettings) -> None:
        self.asked.append(settings.seed)
        answers = self.script(settings)
        self.chunks += [None] if answers is None else [answers[:1], answers[1:]]
        os.write(self.writing, b"." * (1 if answers is None else 2))

    def read(self) -> Answers | None:
        os.read(self.reading, 1)
        return self.chunks.pop(0)

    def explain_end(self) -> tuple[str, str]:
        return "crashed", "killed by SIGSEGV"

    def kill(self) -> None:
        self.killed += 1
        if self.killed == 1:
            os.close(self.reading)
            os.close(self.writing)


class Watched:
    """A pool of scripted workers, and all that it reported."""

    def __init__(
        self,
        tasks: list[TrainingJob],
        script: Callable[[TrainingSettings], Answers | None],
        jobs: int = 1,
        kind: type[ScriptedChild] = ScriptedChild,
    ) -> None:
        self.children: list[ScriptedChild] = []
        self.steps: list[PartDone] = []
        self.outcome = TrainingOutcome()
        self.finished = 0

        def start() -> ScriptedChild:
            self.children.append(kind(script))
            return self.children[-1]

        def finish() -> None:
            self.finished += 1

        self.pool = TrainingPool(
            tasks, start, jobs, outcome=self.outcome, observer=self.steps.append, finish=finish
        )


def test_one_child_trains_all_in_order() -> None:
    watched = Watched([make_task(0), make_task(1, done=4)], tell_steps)
    watched.pool.run()
    (child,) = watched.children
    assert child.asked == [0, 1]
    assert child.killed == 1
    assert (watched.outcome.trained, watched.outcome.failures, watched.finished) == (2, [], 2)
    assert [(step.done, step.total) for step in watched.steps] == [
        (6, 20),
        (12, 20),
        (12, 20),
        (14, 20),
        (20, 20),
        (20, 20),
    ]
    assert watched.steps[0].title == f"{TINY.run_id} step 6"
    assert watched.steps[1].title == f"{TINY.run_id} step 12  loss 1"
    assert not any(step.note for step in watched.steps)


def test_as_many_children_as_jobs_and_no_more_than_runs() -> None:
    watched = Watched([make_task(seed) for seed in range(5)], tell_steps, jobs=2)
    watched.pool.run()
    assert len(watched.children) == 2
    assert sorted(seed for child in watched.children for seed in child.asked) == [0, 1, 2, 3, 4]
    few = Watched([make_task(0)], tell_steps, jobs=8)
    few.pool.run()
    assert len(few.children) == 1


def test_nothing_to_train_starts_no_process() -> None:
    watched = Watched([], tell_steps)
    watched.pool.run()
    assert watched.children == []
    assert watched.outcome.describe() == "nothing to train"


@pytest.mark.parametrize("kind", ["status", "death"])
def test_a_failure_is_told_and_the_others_go_on(kind: str) -> None:
    def fail_first(settings: TrainingSettings) -> Answers | None:
        if settings.seed:
            return tell_steps(settings)
        return [{"step": 6, "text": ""}, {"status": "oom", "message": "too large"}] if kind == "status" else None

    watched = Watched([make_task(0), make_task(1)], fail_first)
    watched.pool.run()
    status, message = ("oom", "too large") if kind == "status" else ("crashed", "killed by SIGSEGV")
    failure = Failure(run_id=TINY.run_id, status=status, message=message)
    assert watched.outcome.failures == [failure]
    assert watched.outcome.trained == 1
    assert [step.note for step in watched.steps if step.note] == [f"{TINY.run_id}: {status}: {message}"]
    last = watched.steps[-1]
    assert last.done == last.total == (18 if kind == "status" else 12)
    assert len(watched.children) == (1 if kind == "status" else 2)
    assert all(child.killed for child in watched.children)
    assert watched.outcome.describe() == f"1 trained, 1 failed\n{failure}"


class MortalChild(ScriptedChild):
    """Ends after the first run, whether or not it has another by then."""

    def train(self, settings: TrainingSettings) -> None:
        super().train(settings)
        if settings.seed == 0:
            self.chunks.append(None)
            os.write(self.writing, b".")


def test_a_child_that_dies_after_a_run_is_replaced() -> None:
    watched = Watched([make_task(seed) for seed in range(4)], tell_steps, kind=MortalChild)
    watched.pool.run()
    assert watched.outcome.trained + len(watched.outcome.failures) == 4
    assert watched.outcome.trained >= 3
    assert len(watched.children) == 2
    assert all(child.killed == 1 for child in watched.children)


def test_a_child_that_dies_idle_is_forgotten() -> None:
    watched = Watched([make_task(0), make_task(1)], tell_steps, 2, kind=MortalChild)
    watched.pool.run()
    assert watched.outcome.trained == 2
    assert [child.killed for child in watched.children] == [1, 1]


def test_what_stops_all_ends_all() -> None:
    watched = Watched(
        [make_task(seed) for seed in range(3)],
        lambda _: [{"step": 1, "text": ""}, {"stop": "the disk is full"}],
        2,
    )
    with pytest.raises(SurroundingsError, match="the disk is full"):
        watched.pool.run()
    assert [child.killed for child in watched.children] == [1, 1]


def test_an_interrupt_leaves_no_child() -> None:
    def interrupt(settings: TrainingSettings) -> Answers:
        if settings.seed == 1:
            raise KeyboardInterrupt
        return tell_steps(settings)

    watched = Watched([make_task(0), make_task(1)], interrupt, 2)
    with pytest.raises(KeyboardInterrupt):
        watched.pool.run()
    assert [child.killed for child in watched.children] == [1, 1]


def test_what_became_of_a_call_is_told_in_a_line() -> None:
    assert TrainingOutcome(trained=3, kept=2).describe() == "3 trained, 2 finished before"


def test_skipped_images_are_counted_and_some_named() -> None:
    skipped = [f"{name}.png: broken" for name in "abcd"]
    assert (
        TrainingOutcome(trained=1, skipped=skipped[:1]).describe()
        == "1 trained\nimages skipped: 1 (a.png: broken)"
    )
    told = TrainingOutcome(trained=1, skipped=skipped).describe()
    assert told == "1 trained\nimages skipped: 4 (a.png: broken; b.png: broken; c.png: broken; ...)"


def test_what_was_scored_again_is_told_with_each_run_that_was_left() -> None:
    outcome = TrainingOutcome(is_scoring=True, trained=2, kept=1, left=["one: no weights are kept", "two: x"])
    assert outcome.describe() == "2 scored again, 1 scored before, 2 left\none: no weights are kept\ntwo: x"
