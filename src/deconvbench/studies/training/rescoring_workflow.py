"""All training runs of a folder scored again, side by side, and the tables written anew."""

from dataclasses import replace
from pathlib import Path

from deconvbench.errors import UsageError, explain_os_error, quote
from deconvbench.measure.accelerator import check_device
from deconvbench.progress import PartObserver
from deconvbench.records.run_folder import hold_folder
from deconvbench.runner.environment import identify_code
from deconvbench.runner.limits import check_count, check_threads
from deconvbench.studies.training.checkpoints import SETTINGS_NAME
from deconvbench.studies.training.images import load_images
from deconvbench.studies.training.output import write_experiment_tables
from deconvbench.studies.training.process import TrainingProcess
from deconvbench.studies.training.rescoring import Choice, list_kept
from deconvbench.studies.training.scheduler import TrainingJob, TrainingOutcome, TrainingPool
from deconvbench.studies.training.workflow import count_jobs, list_options
from deconvbench.system.paths import check_path, explain_no_folder, make_absolute


def score_experiments(
    root: Path,
    choice: Choice,
    *,
    device: str | None = None,
    images_folder: Path | None = None,
    jobs: int | None = None,
    observer: PartObserver = lambda _: None,
) -> TrainingOutcome:
    """Score the training runs of a folder again, from the weights that they kept, and write its tables.

    Runs whose result has every column, scored by this version of the code, are kept as they are, so a call that
    was interrupted continues. ``experiment.json`` still says how the folder was trained.

    Parameters
    ----------
    root : Path
        The experiments folder.
    choice : Choice
        Which runs.
    device : str or None
        Where to run the networks; None: where each was trained.
    images_folder, jobs, observer
        As `run_experiments`; the observer receives each run.

    Returns
    -------
    TrainingOutcome
        Runs that cannot be scored again are named in `left`.

    Raises
    ------
    UsageError
        If the folder has no run that is asked for, a device is absent, or there are more jobs than the machine may
        be asked for.
    RunFolderError
        If a file of a run cannot be read.
    SurroundingsError
        If the folder cannot be written, or another call is at it.
    """
    root = make_absolute(check_path(root, "--out"))
    check_threads(())
    if jobs is not None:
        check_count("--jobs", jobs)
    try:
        problem = explain_no_folder(root)
    except OSError as error:
        problem = f"cannot be read: {explain_os_error(error)}"
    if problem:
        raise UsageError(
            f"--out: {quote(str(root))} {problem}; --score-again needs the output folder of an earlier train"
        )
    if not (kept := list_kept(root, choice)):
        raise UsageError(f"--score-again: {_explain_none(root)}")
    # by which images of a folder are used
    smallest = min(run.settings.crop_size for run in kept)
    images = load_images(images_folder, smallest=smallest)
    code_version = identify_code()
    outcome = TrainingOutcome(is_scoring=True, skipped=images.skipped)
    work = []
    for run in kept:
        if obstacle := run.find_obstacle(images.fingerprint):
            outcome.left.append(f"{run.settings.run_id}: {obstacle}")
        elif run.is_scored_by(code_version):
            outcome.kept += 1
        else:
            work.append(replace(run.settings, device=device or run.settings.device))
    for name in dict.fromkeys(settings.device for settings in work):
        check_device(name)
    with hold_folder(root):
        options = list_options(work, images_folder, smallest, code_version)
        pool = TrainingPool(
            # each of them one step, whatever it took to train it
            [TrainingJob(settings=settings, done=settings.steps - 1) for settings in work],
            lambda: TrainingProcess({**options, "is_scoring": True}, root),
            jobs or count_jobs(work),
            outcome=outcome,
            observer=observer,
            finish=lambda: write_experiment_tables(root),
        )
        pool.run()
        write_experiment_tables(root)
    return outcome


def _explain_none(root: Path) -> str:
    """Say why none of a folder's training runs is to be scored."""
    names = sorted(path.parent.name for path in (root / "runs").glob(f"*/{SETTINGS_NAME}"))
    if not names:
        return f"{root} holds no training runs; name the output folder of an earlier train with --out"
    return f"{root} holds no training run that is asked for; it has {len(names)}, such as {names[0]}"
