"""The pictures of an experiments folder: the test crops, and what networks make of them at some of their steps.

PNG files with 8 bits a colour, written whole. Where they lie is decided here and nowhere else.
"""

import io
from collections.abc import Collection
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from deconvbench.studies.training.held_out import HeldOut
from deconvbench.studies.training.settings import TrainingSettings
from deconvbench.studies.training.tasks import make_objective
from deconvbench.system.writing import write_whole

_FOLDER = "crops"
_PICTURED_SEED = 0  # its pictures stand for those of all seeds


def write_originals(settings: TrainingSettings, held_out: HeldOut, root: Path) -> None:
    """Write what is looked at beside what networks make of the test crops: the crops, or what should come out.

    Parameters
    ----------
    settings : TrainingSettings
        Whose task they are for.
    held_out : HeldOut
        With the crops.
    root : Path
        The experiments folder.

    Raises
    ------
    SurroundingsError
        If they cannot be written.
    """
    pictures = make_objective(settings).list_pictures(held_out.names, held_out)
    for name, picture in pictures.items():
        _write_picture(root / _FOLDER / "originals" / f"{settings.task}-{name}.png", picture)


def write_outputs(
    settings: TrainingSettings, step: int, names: Collection[str], outputs: Tensor, root: Path
) -> list[str | None]:
    """Write what a network made of the test crops.

    Parameters
    ----------
    settings : TrainingSettings
        Of its training run.
    step : int
        Steps done.
    names : collection of str
        Of the crops.
    outputs : Tensor, shape (N, 3, S, S)
        From 0 to 1; what is beyond is clipped.
    root : Path
        The experiments folder.

    Returns
    -------
    list of str or None
        The files, relative to the folder; None each where the run's seed is not the first, and nothing is written.

    Raises
    ------
    SurroundingsError
        If they cannot be written.
    """
    if settings.seed != _PICTURED_SEED:
        return [None] * len(names)
    paths = [f"{_FOLDER}/{settings.run_id}/{name}-step{step}.png" for name in names]
    for path, picture in zip(paths, outputs, strict=True):
        _write_picture(root / path, picture)
    return list(paths)


def keep_pictures(settings: TrainingSettings, steps: Collection[int], root: Path) -> None:
    """Delete the pictures of other steps: those of ends that a run once had, and has gone beyond.

    Parameters
    ----------
    settings : TrainingSettings
        Of the training run.
    steps : collection of int
        Whose pictures stay.
    root : Path
        The experiments folder.
    """
    kept = {f"step{step}" for step in steps}
    for path in (root / _FOLDER / settings.run_id).glob("*-step*.png"):
        if path.stem.rpartition("-")[2] not in kept:
            path.unlink()


def _write_picture(path: Path, picture: Tensor) -> None:
    levels = (picture.detach().clamp(0, 1) * 255).round().to("cpu", torch.uint8).permute(1, 2, 0).contiguous()
    content = io.BytesIO()
    Image.fromarray(levels.numpy()).save(content, format="PNG")
    write_whole(path, content.getvalue(), parents=True)
