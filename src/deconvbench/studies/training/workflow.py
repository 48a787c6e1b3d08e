"""The experiments from start to end: choose, train in parallel, tabulate.

Each training run is a job for a child process; whatever happens to it becomes its status, and the others go on.
The state of a run lies in its folder, so that a repeated call continues where the last one stopped.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from deconvbench.errors import UsageError
from deconvbench.measure.accelerator import check_device, describe_accelerator
from deconvbench.progress import PartObserver
from deconvbench.records.documents import ExperimentInfo, TrainingResult
from deconvbench.records.record import SCHEMA_VERSION
from deconvbench.records.run_folder import hold_folder
from deconvbench.runner.environment import collect_environment
from deconvbench.runner.limits import check_count, check_threads
from deconvbench.studies.training.checkpoints import (
    RESULT_NAME,
    SETTINGS_NAME,
    load_checkpoint,
    read_json,
    write_json,
)
from deconvbench.studies.training.held_out import hold_out
from deconvbench.studies.training.images import ImageSet, draw_batch, load_images
from deconvbench.studies.training.output import write_experiment_tables
from deconvbench.studies.training.pictures import write_originals
from deconvbench.studies.training.process import TrainingProcess
from deconvbench.studies.training.scheduler import Failure, TrainingJob, TrainingOutcome, TrainingPool
from deconvbench.studies.training.settings import TrainingSettings
from deconvbench.studies.training.training import THREADS, TrainingRun, write_settings
from deconvbench.system.paths import check_contents, check_path, make_absolute, make_folder
from deconvbench.upsamplers import list_sources
from deconvbench.upsamplers.sources import identify_sources

EXPERIMENT_NAME = "experiment.json"
# what marks a folder as one of experiments
_OWN_NAMES = (EXPERIMENT_NAME, f"runs/*/{SETTINGS_NAME}")
_ENVIRONMENT_KEYS = ("machine_id", "cpu", "torch_version", "code_version", "python_version")


def run_experiments(
    runs: Sequence[TrainingSettings],
    root: Path,
    *,
    images_folder: Path | None = None,
    jobs: int | None = None,
    command: Sequence[str] = (),
    force: bool = False,
    observer: PartObserver = lambda _: None,
) -> TrainingOutcome:
    """Train networks, side by side, and write the tables.

    Parameters
    ----------
    runs : sequence of TrainingSettings
        In the order in which they are begun; of one device.
    root : Path
        The experiments folder; made where it is missing.
    images_folder : Path or None
        Photographs of one's own; None takes those of scikit-image.
    jobs : int or None
        Training runs at a time, at most 4 for each core; None: as many as there are cores, and one on an
        accelerator.
    command : sequence of str
        What the user typed, for the record.
    force : bool
        Take a folder that holds files of others too.
    observer : callable
        Receives each step of each run.

    Returns
    -------
    TrainingOutcome

    Raises
    ------
    UsageError
        If the device is absent, there are more jobs than the machine may be asked for, the images do not do, a run
        in the folder has other settings, or the folder holds files of others and `force` is false.
    SurroundingsError
        If the folder cannot be written, or another call is at it; what was trained is kept.
    """
    check_contents(check_path(root, "--out"), _OWN_NAMES, force=force)
    root = make_absolute(root)  # wherever a layer moves this process or its children to
    for device in dict.fromkeys(settings.device for settings in runs):
        check_device(device)
    check_threads(())
    if jobs is not None:
        check_count("--jobs", jobs)
    smallest = min((settings.crop_size for settings in runs), default=1)
    images = load_images(images_folder, smallest=smallest)
    for settings in runs:
        # reports too large crops before all else
        draw_batch(images, 1, settings.crop_size, settings.seed, 0)
    make_folder(root, "--out")
    with hold_folder(root):
        outcome = TrainingOutcome(skipped=images.skipped)
        tasks = [task for settings in runs if (task := _look_up(settings, images, root, outcome)) is not None]
        for task in tasks:
            write_settings(task.settings, images, root)
        for settings in {task.settings.task: task.settings for task in tasks}.values():
            write_originals(settings, hold_out(images, settings), root)
        record = _open_record(root, images, command)
        started = time.monotonic()
        options = list_options(runs, images_folder, smallest, record["environment"]["code_version"])
        pool = TrainingPool(
            tasks,
            lambda: TrainingProcess(options, root),
            jobs or count_jobs(runs),
            outcome=outcome,
            observer=observer,
            finish=lambda: write_experiment_tables(root),
        )
        try:
            pool.run()
        finally:
            _close_record(root, record, outcome, time.monotonic() - started)
        write_experiment_tables(root)
    return outcome


def list_options(
    runs: Sequence[TrainingSettings], images_folder: Path | None, smallest: int, code_version: str
) -> dict[str, Any]:
    """List what a training process has to know, whichever run it is given.

    Parameters
    ----------
    runs : sequence of TrainingSettings
        All of them.
    images_folder : Path or None
        As `run_experiments`.
    smallest : int
        As `load_images`.
    code_version : str
        What trains or scores.

    Returns
    -------
    dict
        What `process_main.serve` reads first, but for folder and token.
    """
    sources = list_sources(settings.upsampler for settings in runs)
    return {
        "images": None if images_folder is None else str(images_folder.resolve()),
        "smallest": smallest,
        "sources": sources,
        "digests": identify_sources(sources),
        "code_version": code_version,
    }


def count_jobs(runs: Sequence[TrainingSettings]) -> int:
    """Count the processes to have by default: one a core, and one alone on an accelerator.

    Parameters
    ----------
    runs : sequence of TrainingSettings
        All of them.
    """
    if any(settings.device != "cpu" for settings in runs):
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _look_up(
    settings: TrainingSettings, images: ImageSet, root: Path, outcome: TrainingOutcome
) -> TrainingJob | None:
    """Compare a run with what its folder holds: None where it is finished; refuse what cannot be gone on with."""
    folder = root / "runs" / settings.run_id
    stored = read_json(folder / SETTINGS_NAME)
    result = read_json(folder / RESULT_NAME, TrainingResult)
    state = load_checkpoint(folder, "cpu")
    if stored is None or (result is None and state is None):
        return TrainingJob(settings=settings, done=0)  # nothing of it would be lost
    difference = settings.name_difference(stored)
    if difference is None and stored.get("images") != images.fingerprint:
        difference = f"images had the fingerprint {stored.get('images')}, now {images.fingerprint}"
    if difference is not None:
        raise UsageError(
            f"{settings.run_id} is in {root} with other settings: {difference}; --out names another folder"
        )
    if result is not None and result["status"] != "ok":
        message = f"{result.get('message', '')} (as before)"
        outcome.failures.append(Failure(run_id=settings.run_id, status=result["status"], message=message))
        return None
    if result is not None and result["steps"] >= settings.steps:
        outcome.kept += 1
        return None
    done = 0 if state is None else int(state["step"])
    if done > settings.steps:
        raise UsageError(
            f"--steps: {settings.steps} is below the {done} that {settings.run_id} has made in {root}"
        )
    return TrainingJob(settings=settings, done=done)


def _open_record(root: Path, images: ImageSet, command: Sequence[str]) -> dict[str, Any]:
    """Begin, or go on with, the description of the folder; each call has an entry of its own."""
    environment = {**collect_environment(), "accelerator": describe_accelerator(), "torch_threads": THREADS}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    record: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "kind": "experiment",
        "created_at": now,
        "seconds": 0.0,
        "calls": [],
        **(read_json(root / EXPERIMENT_NAME, ExperimentInfo) or {}),
    }
    call = {
        "command": list(command),
        "started_at": now,
        "finished_at": None,
        "seconds": None,
        "trained": 0,
        "failed": [],
        **{key: environment[key] for key in _ENVIRONMENT_KEYS},
    }
    record |= {
        "command": list(command),
        "finished_at": None,
        "environment": environment,
        "images": {
            "source": images.source,
            "train": [image.name for image in images.train],
            "test": [image.name for image in images.test],
            "skipped": list(images.skipped),
            "fingerprint": images.fingerprint,
        },
        "calls": [*record["calls"], call],
    }
    write_json(root / EXPERIMENT_NAME, record)
    return record


def _close_record(root: Path, record: dict[str, Any], outcome: TrainingOutcome, seconds: float) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    failed = [asdict(failure) for failure in outcome.failures]
    ending = {"finished_at": now, "seconds": seconds, "trained": outcome.trained, "failed": failed}
    calls = [*record["calls"][:-1], {**record["calls"][-1], **ending}]
    total = record["seconds"] + seconds
    write_json(root / EXPERIMENT_NAME, {**record, "finished_at": now, "seconds": total, "calls": calls})


def estimate_seconds(settings: TrainingSettings, images_folder: Path | None, root: Path, steps: int = 3) -> float:
    """Estimate how long a training run takes, by taking a few of its steps; nothing is written.

    Parameters
    ----------
    settings : TrainingSettings
        What would be trained.
    images_folder : Path or None
        As `run_experiments`.
    root : Path
        As `run_experiments`.
    steps : int
        Steps to time, after one that is not timed.

    Returns
    -------
    float
        Seconds of all steps with one thread, without the scoring between them.
    """
    check_device(settings.device)
    run = TrainingRun(settings, load_images(images_folder, smallest=settings.crop_size), root)
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        return run.time_steps(steps) * settings.steps
    finally:
        torch.set_num_threads(before)
