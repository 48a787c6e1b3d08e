"""A folder of training experiments as ``deconvbench train`` writes it, made by hand; nothing is trained.

Pictures and frames are those of the article's figures; this writes them as files, and lets PSNR and SSIM differ
between layers.
"""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from deconvbench.records.schema import CURVE_DTYPES, IMAGE_DTYPES, TRAINED_DTYPES
from deconvbench.tables.frames import list_rows
from deconvbench.tables.trained import Trained, read_trained
from deconvbench.tables.trained_networks import MAIN_NETWORK, Network
from tests.plots.article.made_results import LAYERS, STEPS
from tests.plots.article.made_results import make_trained as make_frames

FILES = {"results": TRAINED_DTYPES, "curves": CURVE_DTYPES, "images": IMAGE_DTYPES}
LAST_STEP = STEPS[-1]
# of the test images themselves, in 8-bit levels
TARGET_LEVEL = -0.1
COMMAND = ["deconvbench", "train", "--seeds", "3"]
INFO: dict[str, Any] = {
    "schema_version": 1,
    "kind": "experiment",
    "command": COMMAND,
    "created_at": "2026-03-01T12:00:00+00:00",
    "finished_at": "2026-03-01T12:28:00+00:00",
    "seconds": 1680.0,
    "environment": {"machine_id": "0123456789ab", "cpu": "Fast CPU", "cores": 2, "torch_version": "2.13.0"},
    "images": {"train": ["astronaut"], "test": ["chelsea"], "source": "scikit-image"},
    "calls": [],
}
# PSNR in dB at no checkerboard: what an interpolation smooths away costs more than it cleans
_PEAKS = {
    "nearest_conv": 26.4,
    "bilinear_conv": 26.0,
    "subpixel": 26.9,
    "transposed_smoothed": 25.4,
    "carafe": 25.6,
}


def make_results(
    folder: Path,
    layers: Sequence[tuple[str, int | None]] = LAYERS,
    *,
    seeds: int = 3,
    images: Sequence[str] = (),
    tasks: Iterable[str] | None = None,
    networks: Sequence[Network] = (MAIN_NETWORK,),
) -> Path:
    """Write a folder; without images there are no crops, which takes less time. Tasks replace the networks'."""
    made = make_frames(folder, layers=layers, images=images, networks=networks, seeds=seeds)
    folder.mkdir(parents=True, exist_ok=True)
    for name, dtypes in FILES.items():
        frame = getattr(made, name)
        if tasks is not None:
            parts = [frame.assign(task=task) for task in tasks]
            frame = pd.concat(parts) if parts else frame.iloc[:0]
        rows = list_rows(frame, name, dtypes)
        write_rows(folder / f"{name}.csv", map(_finish, rows) if name == "results" else rows, dtypes)
    (folder / "experiment.json").write_text(json.dumps(INFO), encoding="utf-8")
    return folder


def make_trained(folder: Path, *arguments: Any, **settings: Any) -> Trained:
    """The results of `make_results`, as they are read."""
    return read_trained(make_results(folder, *arguments, **settings))


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> None:
    """Write a CSV file; what a row lacks, or holds as None, is an empty field."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns), extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def _finish(row: Mapping[str, Any]) -> dict[str, Any]:
    psnr_db = _PEAKS.get(row["upsampler"], 26.0) - 0.2 * max(row["checkerboard_levels"], 0) + 0.12 * row["seed"]
    return {**row, "psnr_db": psnr_db, "ssim": 0.9 - 0.02 * (27 - psnr_db)}
