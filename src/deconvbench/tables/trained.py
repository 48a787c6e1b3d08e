"""What training experiments found: their tables and crops, read back as frames.

Training (`deconvbench.studies.training`) writes plain files; tables, figures, claims and the report read them
here. The results of a longer run ship with the package, so that trained quality can be shown without training
anything. Decides which training run represents a layer, and says where it comes from.
"""

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pandas as pd

from deconvbench.errors import RunFolderError
from deconvbench.records.layers import FAST_ORIGINAL, FAST_UPSAMPLERS
from deconvbench.records.run_folder import list_hardware
from deconvbench.records.schema import (
    CURVE_DTYPES,
    IMAGE_DTYPES,
    LAYER_COLUMNS,
    QUALITY_DTYPES,
    RUN_KEYS,
    TRAINED_COLUMNS,
    TRAINED_DTYPES,
)
from deconvbench.system.paths import check_path
from deconvbench.tables.frames import list_rows, make_frame
from deconvbench.tables.trained_files import (
    CURVES_CSV_NAME,
    EXPERIMENT_NAME,
    IMAGES_CSV_NAME,
    RESULTS_CSV_NAME,
    read_info,
    read_rows,
)
from deconvbench.tables.trained_networks import Network, find_network, keep_network

DEFAULT_FOLDER = Path("results/experiments")
_SHIPPED_FOLDER = "trained_results"
# a network that was trained for less has hardly begun, which is said wherever its numbers are shown
FEWEST_STEPS = 500
# in a table of qualities: what each is called in the results
_QUALITIES = {
    "trained_checkerboard_levels": "checkerboard_levels",
    "trained_psnr_db": "psnr_db",
    "trained_ssim": "ssim",
}
_ONLY_TRAINED = "the artifacts of this seed were not measured"

_Layer = tuple[Any, ...]


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
        One row per training run, moment and test image: `columns.IMAGE_DTYPES`; those of results that ship with
        the package name no crops.
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
    path = check_path(folder, "results")
    names = (RESULTS_CSV_NAME, CURVES_CSV_NAME, EXPERIMENT_NAME)
    if not path.is_dir() or not any((path / name).exists() for name in names):
        problem = "holds no results of deconvbench train" if path.is_dir() else "is not a folder"
        raise RunFolderError(f"results: {str(path)!r} {problem}")
    return Trained(
        results=read_rows(path / RESULTS_CSV_NAME, TRAINED_DTYPES),
        curves=read_rows(path / CURVES_CSV_NAME, CURVE_DTYPES),
        images=read_rows(path / IMAGES_CSV_NAME, IMAGE_DTYPES),
        info=read_info(path / EXPERIMENT_NAME),
        folder=path,
    )


def load_shipped() -> Trained:
    """Read the results that ship with the package.

    Returns
    -------
    Trained
        Without crops; empty where the package was built without results.
    """
    source = files("deconvbench.tables").joinpath(_SHIPPED_FOLDER)
    if not source.is_dir():
        return Trained()
    with as_file(source) as folder:
        found = read_trained(folder)
    return replace(found, folder=None)


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


def list_qualities(trained: Trained, network: Network | None = None) -> pd.DataFrame:
    """Lay trained quality out as the quality table has it.

    Parameters
    ----------
    trained : Trained
        Any.
    network : Network or None
        Which counts; None: the one that stands for the article's task (`find_network`).

    Returns
    -------
    DataFrame
        One row per layer and seed: `columns.LAYER_COLUMNS`, ``seed``, `columns.TRAINED_COLUMNS` and ``steps``. Of
        two rows of one training run the later counts; what is not finite (training diverged) is null.
    """
    rows = _select(trained, network)[[*LAYER_COLUMNS, "seed", *_QUALITIES.values(), "steps"]]
    rows = rows.rename(columns={name: quality for quality, name in _QUALITIES.items()}).reset_index(drop=True)
    for name in TRAINED_COLUMNS:
        rows[name] = rows[name].where(rows[name].abs() < math.inf)
    return rows


def find_target_level(trained: Trained, network: Network | None = None) -> float | None:
    """Find the checkerboard that the target images themselves have, in 8-bit levels, signed.

    Parameters
    ----------
    trained, network
        As for `list_qualities`.

    Returns
    -------
    float or None
        Mean over the training runs, which differ only where their images do; None where none tells.
    """
    levels = _select(trained, network)["target_checkerboard_levels"].dropna()
    return float(levels.mean()) if len(levels) else None


def fill_qualities(
    quality: pd.DataFrame, table: pd.DataFrame, trained: Trained | None, network: Network | None = None
) -> pd.DataFrame:
    """Put what is known of each layer after training beside its artifacts, seed by seed.

    The exact fast forms of nearest_conv (`columns.FAST_UPSAMPLERS`) compute the same function of the same weights
    and are not trained by themselves: each has the values of nearest_conv with its kernel and scale, unless it was
    trained after all.

    Parameters
    ----------
    quality : DataFrame
        A quality table: `columns.QUALITY_DTYPES`.
    table : DataFrame
        Of the same run: its layers belong to it too, whether or not their artifacts were measured.
    trained, network
        As for `list_qualities`; without any results nothing is filled in.

    Returns
    -------
    DataFrame
        The quality table with `columns.TRAINED_COLUMNS` and ``steps`` filled in (what stood there before is
        replaced), and with a row for each seed that only training has, whose artifacts and channels are null.
        Layers that were trained but do not belong to the run are left out. Where nothing was trained, the quality
        table as it is.
    """
    found: dict[_Layer, dict[int, dict[str, Any]]] = {}
    for row in [] if trained is None else list_rows(list_qualities(trained, network), "results", LAYER_COLUMNS):
        values = {name: row[name] for name in (*TRAINED_COLUMNS, "steps")}
        found.setdefault(_get_layer(row), {})[row["seed"]] = values
    if not found:
        return quality
    nothing = dict.fromkeys((*TRAINED_COLUMNS, "steps"))
    # rows that an earlier call added have no channels
    measured = [row for row in list_rows(quality, "quality", QUALITY_DTYPES) if row["channels"] is not None]
    rows = {(_get_layer(row), row["seed"]): {**row, **nothing} for row in measured}
    others = list_rows(table[list(LAYER_COLUMNS)].drop_duplicates(), "table", LAYER_COLUMNS)
    for layer in dict.fromkeys(map(_get_layer, [*measured, *others])):
        for seed, values in (found.get(layer) or found.get(_find_original(layer)) or {}).items():
            alone = {**dict(zip(LAYER_COLUMNS, layer, strict=True)), "seed": seed, "status": "ok"}
            alone["message"] = _ONLY_TRAINED
            rows[layer, seed] = {**rows.get((layer, seed), alone), **values}
    filled = make_frame(list(rows.values()), QUALITY_DTYPES)
    return filled.sort_values([*LAYER_COLUMNS, "seed"], kind="stable", na_position="first", ignore_index=True)


def _get_layer(row: Mapping[str, Any]) -> _Layer:
    return tuple(row[name] for name in LAYER_COLUMNS)


def _find_original(layer: _Layer) -> _Layer:
    return (FAST_ORIGINAL, *layer[1:]) if layer[0] in FAST_UPSAMPLERS else layer


def _select(trained: Trained, network: Network | None) -> pd.DataFrame:
    rows = trained.results
    return keep_network(rows, network or find_network(rows)).drop_duplicates(list(RUN_KEYS), keep="last")


def describe_trained(trained: Trained, network: Network | None = None) -> str:
    """Say in one sentence where trained quality comes from.

    Parameters
    ----------
    trained, network
        As for `list_qualities`.

    Returns
    -------
    str
        Task, layers, seeds, steps, network, machine, date, and the folder or the package; a warning where a run
        had fewer than `FEWEST_STEPS`. Empty where nothing was trained.
    """
    shown = network or find_network(trained.results)
    rows = _select(trained, shown)
    if shown is None or rows.empty:
        return ""
    seeds = rows.groupby(list(LAYER_COLUMNS), dropna=False).size()
    parts = [
        f"{_count(len(seeds), 'layer')} with {_write_range(seeds, 'seed')} each",
        f"{_write_range(rows['steps'], 'step')} of batch {_write_range(rows['batch'])} on crops of "
        f"{_write_range(rows['crop_size'])} pixels",
        f"networks of width {_write_range(rows['width'])}",
        _describe_machine(trained.info, rows),
    ]
    source = "shipped with the package" if trained.folder is None else f"read from {trained.folder}"
    command, calls = trained.info.get("command"), trained.info.get("calls") or []
    if len(calls) > 1:
        source += f" ({len(calls)} calls of deconvbench train)"
    elif isinstance(command, list) and command:
        source += f" ({shlex.join(map(str, command))})"
    sentence = f"After training ({shown.title}): {', '.join(filter(None, parts))}; {source}"
    if (fewest := int(rows["steps"].min())) < FEWEST_STEPS:
        sentence += f"; {_count(fewest, 'step')} are few, so take the numbers as a hint"
    return sentence + "."


def _describe_machine(info: Mapping[str, Any], rows: pd.DataFrame) -> str:
    environment = info.get("environment")
    hardware = list_hardware(environment if isinstance(environment, dict) else {})
    torch, devices = (", ".join(rows[name].dropna().unique()) for name in ("torch_version", "device"))
    when = str(info.get("finished_at") or info.get("created_at") or "")[:10]
    where = (f"torch {torch} " if torch else "") + f"on {devices}"
    where += f" of {', '.join(hardware)}" if hardware else ""
    return where + (f", {when}" if when else "")


def _write_range(values: "pd.Series[Any]", noun: str = "") -> str:
    low, high = int(values.min()), int(values.max())
    text = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    return text + (f" {noun}{'' if high == 1 else 's'}" if noun else "")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
