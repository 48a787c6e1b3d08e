"""What training experiments found: their tables and crops, read back as frames.

Training (`deconvbench.experiments`) writes plain files; tables, figures, claims and the report read them here. The
results of a longer run ship with the package, so that trained quality can be shown without training anything.
Reads only, and needs no torch.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pandas as pd

from deconvbench.columns import (
    CURVE_DTYPES,
    IMAGE_DTYPES,
    LAYER_COLUMNS,
    TRAINED_DTYPES,
)
from deconvbench.errors import RunFolderError, explain_os_error
from deconvbench.frames import make_frame

RESULTS_CSV_NAME, CURVES_CSV_NAME, IMAGES_CSV_NAME = "results.csv", "curves.csv", "images.csv"
EXPERIMENT_NAME = "experiment.json"
DEFAULT_FOLDER = Path("results/experiments")
_SHIPPED_FOLDER = "trained_results"
# the article's task: what a layer's trained quality means where no task is named
MAIN_TASK = "reconstruction"
# in a table of qualities: what each is called in the results
_QUALITIES = {
    "trained_checkerboard_levels": "checkerboard_levels",
    "trained_psnr_db": "psnr_db",
    "trained_ssim": "ssim",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """Results of training experiments.

    Parameters
    ----------
    results : DataFrame
        One row per training run, at its end: `columns.TRAINED_DTYPES`.
    curves : DataFrame
        One row per training run and logged step: `columns.CURVE_DTYPES`.
    images : DataFrame
        One row per training run, moment and test image: `columns.IMAGE_DTYPES`; empty for results that ship with
        the package.
    info : mapping
        Provenance: command, machine, times.
    folder : Path or None
        Where the crops lie, relative to which `images` names them; None for results that ship with the package.
    """

    results: pd.DataFrame = field(default_factory=lambda: make_frame([], TRAINED_DTYPES))
    curves: pd.DataFrame = field(default_factory=lambda: make_frame([], CURVE_DTYPES))
    images: pd.DataFrame = field(default_factory=lambda: make_frame([], IMAGE_DTYPES))
    info: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no training run has ended."""
        return self.results.empty


def read_trained(folder: str | Path) -> Trained:
    """Read the folder of training experiments.

    Parameters
    ----------
    folder : str or Path
        As ``deconvbench train --out`` wrote it, finished or not.

    Returns
    -------
    Trained
        With empty frames for files that are not there yet.

    Raises
    ------
    RunFolderError
        If there is no such folder, it holds no results at all, or a file of them cannot be read.
    """
    path = Path(folder)
    names = (RESULTS_CSV_NAME, CURVES_CSV_NAME, EXPERIMENT_NAME)
    if not any((path / name).exists() for name in names):
        problem = "holds no results of deconvbench train" if path.is_dir() else "is no folder"
        raise RunFolderError(f"results: {str(path)!r} {problem}")
    return Trained(
        results=_read_frame(path / RESULTS_CSV_NAME, TRAINED_DTYPES),
        curves=_read_frame(path / CURVES_CSV_NAME, CURVE_DTYPES),
        images=_read_frame(path / IMAGES_CSV_NAME, IMAGE_DTYPES),
        info=_read_info(path / EXPERIMENT_NAME),
        folder=path,
    )


def load_shipped() -> Trained:
    """Read the results that ship with the package.

    Returns
    -------
    Trained
        Without images; empty where the package was built without results.
    """
    source = files("deconvbench").joinpath(_SHIPPED_FOLDER)
    if not source.is_dir():
        return Trained()
    with as_file(source) as folder:
        found = read_trained(folder)
    return Trained(results=found.results, curves=found.curves, info=found.info)


def find_trained(folder: str | Path | None = None) -> Trained:
    """Find results of training experiments: those asked for, one's own, or those that ship with the package.

    Parameters
    ----------
    folder : str or Path, optional
        As for `read_trained`; by default ``results/experiments`` where a training run has ended there.

    Returns
    -------
    Trained

    Raises
    ------
    RunFolderError
        As `read_trained`.
    """
    if folder is not None:
        return read_trained(folder)
    if (DEFAULT_FOLDER / RESULTS_CSV_NAME).exists():
        own = read_trained(DEFAULT_FOLDER)
        if not own.is_empty:
            return own
    return load_shipped()


def list_qualities(trained: Trained, task: str = MAIN_TASK, norm: str = "instance") -> pd.DataFrame:
    """Lay trained quality out as the quality table has it.

    Parameters
    ----------
    trained : Trained
        Any.
    task : str
        Which training task counts.
    norm : str
        Which norm of the network counts.

    Returns
    -------
    DataFrame
        One row per layer and seed: `columns.LAYER_COLUMNS`, ``seed``, `columns.TRAINED_COLUMNS` and ``steps``.
    """
    rows = trained.results
    rows = rows[(rows["task"] == task) & (rows["norm"] == norm)]
    kept = rows[[*LAYER_COLUMNS, "seed", *_QUALITIES.values(), "steps"]]
    return kept.rename(columns={name: quality for quality, name in _QUALITIES.items()}).reset_index(drop=True)


def _read_frame(path: Path, dtypes: Mapping[str, str]) -> pd.DataFrame:
    if not path.exists():
        return make_frame([], dtypes)
    try:
        frame = pd.read_csv(path, keep_default_na=True, na_values=[""])
    # what pandas raises for files that are no CSV are ValueErrors
    except (OSError, ValueError) as error:
        reason = explain_os_error(error) if isinstance(error, OSError) else str(error)
        raise RunFolderError(f"results: cannot read {str(path)!r}: {reason}") from error
    lacking = [name for name in dtypes if name not in frame]
    if lacking:
        raise RunFolderError(f"results: {str(path)!r} lacks the column {lacking[0]}")
    rows = frame[list(dtypes)].astype(object).where(frame[list(dtypes)].notna(), None)
    try:
        return make_frame([{str(k): v for k, v in row.items()} for row in rows.to_dict("records")], dtypes)
    except (TypeError, ValueError) as error:
        raise RunFolderError(f"results: {str(path)!r} holds a value of the wrong kind: {error}") from error


def _read_info(path: Path) -> Mapping[str, Any]:
    if not path.exists():
        return {}
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = explain_os_error(error) if isinstance(error, OSError) else "it is not JSON"
        raise RunFolderError(f"results: cannot read {str(path)!r}: {reason}") from error
    if not isinstance(info, dict):
        raise RunFolderError(f"results: {str(path)!r} is no object of JSON")
    return info
