"""What ``deconvbench train`` does between the options and the experiments: choose the runs, report to the user.

All its output goes to standard error.
"""

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from deconvbench.arguments import check_whole
from deconvbench.errors import SurroundingsError, UsageError, find_exit_code
from deconvbench.progress import print_interruption, show_steps
from deconvbench.records.training_tasks import get_task
from deconvbench.records.variants import STANDARD
from deconvbench.studies.training.rescoring import Choice
from deconvbench.studies.training.rescoring_workflow import score_experiments
from deconvbench.studies.training.settings import (
    ARTICLE_SETTINGS,
    DEFAULT_SEEDS,
    MOST_SEEDS,
    NORMS,
    RECIPES,
    TASKS,
    TrainingSettings,
    check_choice,
    choose_layers,
    choose_tuned_settings,
)
from deconvbench.studies.training.variants import VARIANTS
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


def choose_kept(
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
) -> Choice:
    """Turn what a user asked for into a choice of the runs that a folder has, to be scored again.

    Parameters
    ----------
    layers, all_upsamplers, tasks, norms, seeds, is_article, recipe, variants, numbers
        As `list_runs`; what is not asked for chooses all.

    Returns
    -------
    Choice

    Raises
    ------
    UsageError
        If something in it is not allowed, or would change how a run is trained.
    """
    for name, value in {"article": is_article or None, **(numbers or {})}.items():
        if value is not None and name != "device":
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option}: not with --score-again, which scores a run as it was trained")
    lists = {
        "task": (_split(tasks), TASKS),
        "norm": (_split(norms), NORMS),
        "recipe": ((recipe,) if recipe else (), RECIPES),
        "variant": (_split(variants), tuple(VARIANTS)),
    }
    for name, (given, allowed) in lists.items():
        for word in given:
            check_choice(name, word, allowed)
    words = list(layers)
    return Choice(
        layers=choose_layers(words) if words and not all_upsamplers else (),
        tasks=lists["task"][0],
        norms=lists["norm"][0],
        recipes=lists["recipe"][0],
        variants=lists["variant"][0],
        seeds=None if seeds is None else check_whole("--seeds", seeds, 1, MOST_SEEDS),
    )


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
    score_again: bool = False,
    **choice: Any,
) -> int:
    """Train the requested runs, or score them again, with progress on standard error.

    Parameters
    ----------
    words : sequence of str
        What the user typed after the program's name; shown as the command to continue with.
    images_folder, jobs, out, force
        As `run_experiments`.
    is_article : bool
        Also print beforehand how long it will take.
    score_again : bool
        Train nothing: score what is in the folder again, as `score_experiments`; where nothing is chosen, all.
    **choice
        As `list_runs`.

    Returns
    -------
    int
        0; 1 where every run failed or cannot be scored again, 128 and the number of the signal where one
        interrupted it.

    Raises
    ------
    UsageError
        If an option is not allowed.
    SurroundingsError
        If the folder cannot be written; the message tells how to continue.
    """
    if jobs is not None:
        check_whole("--jobs", jobs, 1)
    kept = choose_kept(is_article=is_article, **choice) if score_again else None
    runs = list_runs(is_article=is_article, **choice) if kept is None else []
    again, done = ["deconvbench", *words], "scored" if score_again else "trained"
    try:
        if is_article:
            each = estimate_seconds(runs[0], images_folder, out)
            basis = f"on {runs[0].device}, by the first few steps and without the scoring"
            print_text(f"{len(runs)} trainings of about {format_duration(each)} each {basis}", sys.stderr)
        with show_steps(sys.stderr) as observer:
            if kept is not None:
                device = (choice.get("numbers") or {}).get("device")
                outcome = score_experiments(
                    out, kept, device=device, images_folder=images_folder, jobs=jobs, observer=observer
                )
            else:
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
        print_interruption(done, again)
        return find_exit_code(error)
    except SurroundingsError as error:
        raise SurroundingsError(f"{error}. What was {done} is kept. Continue with: {shlex.join(again)}") from error
    print_text(outcome.describe(), sys.stderr)
    is_nothing_done = not outcome.trained and not outcome.kept
    return 1 if is_nothing_done and (outcome.failures or outcome.left) else 0
