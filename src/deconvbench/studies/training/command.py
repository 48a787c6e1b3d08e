"""What ``deconvbench train`` does between the options and the experiments: choose the runs, report to the user.

All its output goes to standard error.
"""

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from deconvbench.arguments import check_whole
from deconvbench.errors import SurroundingsError, find_exit_code
from deconvbench.progress import print_interruption, show_steps
from deconvbench.records.training_tasks import get_task
from deconvbench.studies.training.settings import (
    ARTICLE_SETTINGS,
    DEFAULT_SEEDS,
    MOST_SEEDS,
    TASKS,
    TrainingSettings,
    choose_layers,
    choose_tuned_settings,
)
from deconvbench.studies.training.variants import STANDARD
from deconvbench.studies.training.workflow import estimate_seconds, run_experiments
from deconvbench.system.texts import print_text
from deconvbench.units import format_duration


def list_runs(
    *,
    layers: Iterable[str] = (),
    all_upsamplers: bool = False,
    tasks: Iterable[str] = (),
    norms: Iterable[str] = (),
    seeds: int | None = None,
    is_article: bool = False,
    recipe: str | None = None,
    variants: Iterable[str] = (),
    numbers: Mapping[str, Any] | None = None,
) -> list[TrainingSettings]:
    """Turn what a user asked for into training runs.

    Parameters
    ----------
    layers : iterable of str
        As `choose_layers`.
    all_upsamplers : bool
        As `choose_layers`.
    tasks : iterable of str
        Tasks, or several with commas between; none: reconstruction.
    norms : iterable of str
        Norms, in the same way; none: the task's own for the recipe.
    seeds : int or None
        Training runs of each network; None: 3.
    is_article : bool
        Start from the article's sizes and steps, with the plain recipe.
    recipe : str or None
        Of `TrainingSettings`; None: ``tuned``, but for the article's setting.
    variants : iterable of str
        Variants of the network, in the same way as tasks; none: the standard one.
    numbers : mapping, optional
        Further fields of `TrainingSettings`; those that are None keep their defaults.

    Returns
    -------
    list of TrainingSettings
        All networks of the first seed come first, so that an interrupted experiment is balanced.

    Raises
    ------
    UsageError
        If something in it is not allowed; the message names it.
    """
    count = DEFAULT_SEEDS if seeds is None else check_whole("--seeds", seeds, 1, MOST_SEEDS)
    given = {name: value for name, value in (numbers or {}).items() if value is not None}
    chosen_recipe = recipe or ("plain" if is_article else "tuned")
    is_tuned = chosen_recipe == "tuned"

    def choose_fields(task: str) -> dict[str, Any]:
        return {
            **(choose_tuned_settings(task) if is_tuned else {"recipe": chosen_recipe}),
            **(ARTICLE_SETTINGS if is_article else {}),
            **given,
        }

    def choose_norm(task: str) -> str:
        facts = get_task(task)
        return facts.tuned_norm if is_tuned else facts.usual_norm

    chosen = choose_layers(layers, all_upsamplers=all_upsamplers)
    chosen_tasks, chosen_norms, chosen_variants = _split(tasks), _split(norms), _split(variants)
    return [
        TrainingSettings(
            task=task,
            upsampler=name,
            kernel_size=kernel_size,
            norm=norm,
            variant=variant,
            seed=seed,
            **choose_fields(task),
        )
        for seed in range(count)
        for task in chosen_tasks or TASKS[:1]
        for norm in chosen_norms or (choose_norm(task),)
        for variant in chosen_variants or (STANDARD,)
        for name, kernel_size in chosen
    ]


def _split(entries: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.strip() for entry in entries for word in entry.split(",")))


def train_from_words(
    words: Sequence[str],
    *,
    images_folder: Path | None,
    jobs: int | None,
    out: Path,
    is_article: bool = False,
    force: bool = False,
    **choice: Any,
) -> int:
    """Train the requested runs, with progress on standard error.

    Parameters
    ----------
    words : sequence of str
        What the user typed after the program's name; shown as the command to continue with.
    images_folder, jobs, out, force
        As `run_experiments`.
    is_article : bool
        Also print beforehand how long it will take.
    **choice
        As `list_runs`.

    Returns
    -------
    int
        0; 1 where every training failed, 128 and the number of the signal where one interrupted it.

    Raises
    ------
    UsageError
        If an option is not allowed.
    SurroundingsError
        If the folder cannot be written; the message tells how to continue.
    """
    if jobs is not None:
        check_whole("--jobs", jobs, 1)
    runs = list_runs(is_article=is_article, **choice)
    again = ["deconvbench", *words]
    try:
        if is_article:
            each = estimate_seconds(runs[0], images_folder, out)
            basis = f"on {runs[0].device}, by the first few steps and without the scoring"
            print_text(f"{len(runs)} trainings of about {format_duration(each)} each {basis}", sys.stderr)
        with show_steps(sys.stderr) as observer:
            outcome = run_experiments(
                runs,
                out,
                images_folder=images_folder,
                jobs=jobs,
                command=again,
                force=force,
                observer=observer,
            )
    except KeyboardInterrupt as error:
        print_interruption("trained", again)
        return find_exit_code(error)
    except SurroundingsError as error:
        raise SurroundingsError(
            f"{error}. What was trained is kept. Continue with: {shlex.join(again)}"
        ) from error
    print_text(outcome.describe(), sys.stderr)
    return 1 if outcome.failures and not outcome.trained and not outcome.kept else 0
