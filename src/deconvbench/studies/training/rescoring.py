"""Training runs that have ended, scored again from the weights that they kept.

A later version scores what an earlier one did not, or otherwise; training again would take hours. Only the result,
the last row of the log and the tables change: nothing is trained, and no weight, picture or record is touched.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from deconvbench.errors import DeconvbenchError, RunFolderError
from deconvbench.records.documents import TrainingResult
from deconvbench.records.layers import NamedLayer
from deconvbench.records.schema import FINAL_COLUMNS, SCORE_COLUMNS
from deconvbench.studies.training.checkpoints import (
    CHECKPOINT_NAME,
    RESULT_NAME,
    SETTINGS_NAME,
    Row,
    load_checkpoint,
    read_json,
    read_log,
    write_json,
    write_rows,
)
from deconvbench.studies.training.images import ImageSet
from deconvbench.studies.training.settings import TrainingSettings
from deconvbench.studies.training.training import TrainingRun, tame
from deconvbench.upsamplers import get_upsampler


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which runs of a folder to score; what is empty or None chooses all.

    Parameters
    ----------
    layers : collection of (str, int or None)
        Upsamplers with their kernels.
    tasks, norms, recipes, variants : collection of str
        As in `TrainingSettings`.
    seeds : int or None
        Seeds below it.
    """

    layers: Collection[NamedLayer] = ()
    tasks: Collection[str] = ()
    norms: Collection[str] = ()
    recipes: Collection[str] = ()
    variants: Collection[str] = ()
    seeds: int | None = None

    def has(self, settings: TrainingSettings) -> bool:
        """Whether a run is among them."""
        pairs: tuple[tuple[object, Collection[object]], ...] = (
            ((settings.upsampler, settings.kernel_size), self.layers),
            (settings.task, self.tasks),
            (settings.norm, self.norms),
            (settings.recipe, self.recipes),
            (settings.variant, self.variants),
        )
        is_seed = self.seeds is None or settings.seed < self.seeds
        return is_seed and all(value in chosen for value, chosen in pairs if chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRun:
    """A training run in a folder, with what decides whether it can be scored again.

    Parameters
    ----------
    settings : TrainingSettings
        What was trained; its steps are those of the result where there is one.
    images : str or None
        Fingerprint of the images that it was trained on.
    result : mapping or None
        Its result; None where it has not ended.
    has_weights : bool
        Whether its weights are kept.
    """

    settings: TrainingSettings
    images: str | None
    result: Row | None
    has_weights: bool

    def find_obstacle(self, fingerprint: str) -> str:
        """Say why it cannot be scored again on images of this fingerprint; empty where it can."""
        if self.result is None:
            return "not finished"
        if self.result["status"] != "ok":
            return f"no result: {self.result['status']}"
        if not self.has_weights:
            return "no weights are kept"
        if self.images != fingerprint:
            return "trained on other images; --images names them"
        try:
            get_upsampler(self.settings.upsampler)
        except DeconvbenchError as error:
            return str(error)
        return ""

    def is_scored_by(self, code_version: str) -> bool:
        """Whether its result has every column, all scored by this version of the code."""
        result = self.result or {}
        has_all = all(name in result for name in (*SCORE_COLUMNS, *FINAL_COLUMNS))
        return has_all and result.get("scored_by", result.get("code_version")) == code_version


def list_kept(root: Path, choice: Choice) -> list[KeptRun]:
    """List the training runs of an experiments folder.

    Parameters
    ----------
    root : Path
        The folder.
    choice : Choice
        Which.

    Returns
    -------
    list of KeptRun
        In the order of their names.

    Raises
    ------
    RunFolderError
        If a file of a run cannot be read.
    """
    found = []
    for path in sorted((root / "runs").glob(f"*/{SETTINGS_NAME}")):
        stored = read_json(path) or {}
        settings = _read_settings(path, stored)
        if not choice.has(settings):
            continue
        result = read_json(path.parent / RESULT_NAME, TrainingResult)
        found.append(
            KeptRun(
                settings=settings if result is None else replace(settings, steps=max(result["steps"], 1)),
                images=stored.get("images"),
                result=result,
                has_weights=(path.parent / CHECKPOINT_NAME).exists(),
            )
        )
    return found


def _read_settings(path: Path, stored: dict[str, Any]) -> TrainingSettings:
    names = {field.name for field in fields(TrainingSettings)}
    try:
        settings = TrainingSettings(**{name: value for name, value in stored.items() if name in names})
    except (DeconvbenchError, TypeError) as error:
        raise RunFolderError(f"{path} does not hold the settings of a training run: {error}") from error
    if settings.run_id != path.parent.name:
        raise RunFolderError(f"{path} holds the settings of another run: {settings.run_id}")
    return settings


def score_again(settings: TrainingSettings, images: ImageSet, root: Path, code_version: str = "") -> Row:
    """Score a run that has ended from its weights, and write what it scores.

    Parameters
    ----------
    settings : TrainingSettings
        What was trained; the device may be another one.
    images : ImageSet
        What it was trained and scored on.
    root : Path
        The experiments folder.
    code_version : str
        What the result says scored it (``scored_by``).

    Returns
    -------
    dict
        The result, as it is in ``result.json`` now.

    Raises
    ------
    RunFolderError
        If the weights are not those of the result, or a file cannot be read.
    SurroundingsError
        If something cannot be written; a call made again starts this run over.
    """
    run = TrainingRun(settings, images, root)
    state = load_checkpoint(run.folder, settings.device)
    result = read_json(run.folder / RESULT_NAME, TrainingResult)
    if state is None or result is None or state["step"] != result["steps"]:
        at = "missing" if state is None else f"of step {state['step']}"
        of = "missing" if result is None else f"of step {result['steps']}"
        raise RunFolderError(f"{settings.run_id}: its weights are {at}, its result is {of}")
    run.network.load_state_dict(state["network"])
    scores = run.score()
    row = tame({name: scores.row[name] for name in SCORE_COLUMNS})
    images_scored = [tame(image) for image in scores.images]
    # the result last: until it is there, the run counts as one to score again
    write_rows(
        run.folder,
        [
            _replace_scores(old, row, images_scored) if old["step"] == result["steps"] else old
            for old in read_log(run.folder)
        ],
    )
    result |= row
    result |= run.score_finally(scores)
    result["scored_by"] = code_version
    write_json(run.folder / RESULT_NAME, result)
    return result


def _replace_scores(old: Row, row: Row, images: Iterable[Row]) -> Row:
    """Put new scores into a row of the log; pictures stay where they are."""
    crops = {image.get("image"): image.get("crop") for image in old.get("images", ())}
    return {**old, **row, "images": [{**image, "crop": crops.get(image["image"])} for image in images]}
