"""What training experiments found, made small enough to ship: ``python -m bench.ship_trained FOLDER...``.

Reads folders of ``deconvbench train`` and writes, in a checkout of this project,

- ``src/deconvbench/tables/trained_results``: their tables, with six significant digits and without what nothing
  reads, and where they come from, without paths of the machine;
- ``src/deconvbench/report/assets/crops``: the few pictures that a report shows beside its answer;
- ``results/reference/experiments``: the results again, and the article's figures, each drawn from the first folder
  that has its pictures.

What an earlier call wrote there and this one does not is removed. The same folders give the same bytes (figures:
with the same version of the plotting library). Judges no claims and renews no page; ``nox -s ship_trained`` does.
"""

import argparse
import csv
import io
import json
import sys
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from deconvbench.analysis.selection import EmptyFigureError
from deconvbench.errors import DeconvbenchError, RunFolderError
from deconvbench.plots.article import draw_article_figures
from deconvbench.plots.article.crops import find_strongest, list_crops, pick_last, pick_layer
from deconvbench.plots.gallery import encode_figures
from deconvbench.records.layers import NamedLayer
from deconvbench.records.schema import CURVE_DTYPES, IMAGE_DTYPES, RUN_KEYS, TRAINED_DTYPES
from deconvbench.system.texts import escape_controls, guard_formula
from deconvbench.system.writing import write_files
from deconvbench.tables.frames import list_rows
from deconvbench.tables.trained import Trained, read_trained
from deconvbench.tables.trained_files import (
    CURVES_CSV_NAME,
    EXPERIMENT_NAME,
    IMAGES_CSV_NAME,
    NOT_NEEDED,
    RESULTS_CSV_NAME,
)
from deconvbench.tables.trained_networks import find_network, keep_network
from deconvbench.units import format_bytes

TABLES = Path("src/deconvbench/tables/trained_results")
CROPS = Path("src/deconvbench/report/assets/crops")
REFERENCE = Path("results/reference/experiments")
# in front what chooses the picture
CROP_LAYERS: tuple[NamedLayer, ...] = (
    ("transposed", 4),
    ("nearest_conv", 3),
    ("bilinear_conv", 3),
    ("subpixel_icnr", 3),
    ("equal_gain_transposed", 3),
)
_CREDITS: Mapping[str, str] = {
    "astronaut": "NASA, public domain; scikit-image",
    "chelsea": "Stéfan van der Walt, CC0; scikit-image",
    "coffee": "Rachel Michetti, CC0; scikit-image",
}
_DIGITS = 6
# options whose values are folders of the machine
_FOLDER_OPTIONS = ("--out", "--images")
_HEAD = ("schema_version", "kind", "created_at", "finished_at", "seconds", "images")
_ENVIRONMENT = (
    "machine_id", "cpu", "cpu_capability", "cores", "memory_bytes", "platform", "python_version", "torch_version",
    "torch_threads", "code_version", "packages",
)  # fmt: skip
_CALL = ("started_at", "finished_at", "seconds", "trained", "torch_version", "code_version", "python_version")


def read_all(folders: Sequence[Path]) -> Trained:
    """Read several folders as one.

    Parameters
    ----------
    folders : sequence of Path
        As `read_trained`; of a training run that several have, the last counts.

    Returns
    -------
    Trained
        Of training runs that have ended, in the order of what names them; the folder is the first one.

    Raises
    ------
    RunFolderError
        If one cannot be read, or no training run has ended.
    """
    parts = [read_trained(folder) for folder in folders]
    keys = list(RUN_KEYS)
    results = _sort(pd.concat([part.results for part in parts]), keys)
    if results.empty:
        raise RunFolderError(f"results: no training run has ended in {', '.join(map(str, folders))}")
    curves = _sort(pd.concat([part.curves for part in parts]), [*keys, "step"])
    images = _sort(pd.concat([part.images for part in parts]), [*keys, "step", "image"])
    first = parts[0]
    calls = [call for part in parts for call in part.info.get("calls") or ()]
    info = {**first.info, "calls": sorted(calls, key=lambda call: str(call.get("started_at")))}
    info["seconds"] = sum(float(part.info.get("seconds") or 0) for part in parts)
    info["finished_at"] = max((str(part.info.get("finished_at") or "") for part in parts), default="") or None
    return Trained(results=results, curves=curves, images=images, info=info, folder=first.folder)


def _sort(frame: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    unique = frame.drop_duplicates(keys, keep="last")
    return unique.sort_values(keys, kind="stable", na_position="first", ignore_index=True)


def encode_tables(trained: Trained) -> dict[str, bytes]:
    """Write the files of results that ship.

    Parameters
    ----------
    trained : Trained
        From `read_all`.

    Returns
    -------
    dict of str to bytes
        By name; without `NOT_NEEDED`, numbers with six significant digits.
    """
    return {
        RESULTS_CSV_NAME: _encode(trained.results, RESULTS_CSV_NAME, TRAINED_DTYPES),
        CURVES_CSV_NAME: _encode(trained.curves, CURVES_CSV_NAME, CURVE_DTYPES),
        IMAGES_CSV_NAME: _encode(trained.images, IMAGES_CSV_NAME, IMAGE_DTYPES),
        EXPERIMENT_NAME: (json.dumps(clean_info(trained.info), indent=1, ensure_ascii=False) + "\n").encode(),
    }


def _encode(frame: pd.DataFrame, name: str, dtypes: Mapping[str, str]) -> bytes:
    columns = [column for column in dtypes if column not in NOT_NEEDED.get(name, ())]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_write(row[column]) for column in columns] for row in list_rows(frame, name, dtypes))
    return text.getvalue().encode()


def _write(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.{_DIGITS}g}"
    return guard_formula(escape_controls(value)) if isinstance(value, str) else value


def clean_info(info: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of a description what tells how the results came about, wherever that was.

    Parameters
    ----------
    info : mapping
        ``experiment.json``, as it is read.

    Returns
    -------
    dict
        Without folders of the machine, what ran beside, and what failed.
    """
    environment = info.get("environment") or {}
    kept = {name: info[name] for name in _HEAD if name in info}
    calls = [
        {
            "command": clean_command(call.get("command") or ()),
            **{name: call[name] for name in _CALL if name in call},
        }
        for call in info.get("calls") or ()
    ]
    return {
        **kept,
        "command": clean_command(info.get("command") or ()),
        "environment": {name: environment[name] for name in _ENVIRONMENT if name in environment},
        "calls": calls,
    }


def clean_command(words: Iterable[str]) -> list[str]:
    """Take folders out of a command.

    Parameters
    ----------
    words : iterable of str
        As the shell splits them.
    """
    kept: list[str] = []
    waiting = iter(map(str, words))
    for word in waiting:
        name = word.partition("=")[0]
        if name not in _FOLDER_OPTIONS:
            kept.append(Path(word).name if Path(word).is_absolute() else word)
        elif word == name:
            next(waiting, None)
    return kept


def pick_crops(trained: Trained) -> dict[str, bytes]:
    """Pick the pictures that a report shows beside its answer.

    Parameters
    ----------
    trained : Trained
        Of the first folder, with crops of `CROP_LAYERS`, of which the first must be there and chooses the picture.

    Returns
    -------
    dict of str to bytes
        ``original.png``, a picture for each layer, and ``crops.json`` with their numbers.

    Raises
    ------
    EmptyFigureError
        If there is no crop.
    OSError
        If a picture is missing.
    """
    assert trained.folder is not None
    rows = pick_last(list_crops(trained))
    image = find_strongest(pick_layer(rows, CROP_LAYERS[0]))
    rows = rows[rows["image"] == image]
    network = find_network(rows)
    assert network is not None
    files = {"original.png": (trained.folder / "crops" / "originals" / f"{network.task}-{image}.png").read_bytes()}
    entries = []
    for upsampler, kernel in CROP_LAYERS:
        try:
            row = pick_layer(rows, (upsampler, kernel)).iloc[0]
        except EmptyFigureError:
            continue  # its nearest relative is shown
        name = f"{upsampler}-k{kernel}.png"
        files[name] = (trained.folder / str(row["crop"])).read_bytes()
        entries.append(
            {
                "upsampler": upsampler, "kernel_size": kernel, "scale_factor": int(row["scale_factor"]),
                "file": name,
                "checkerboard_levels": float(f"{row['checkerboard_levels']:.{_DIGITS}g}"),
                "psnr_db": float(f"{row['psnr_db']:.{_DIGITS}g}"),
            }
        )  # fmt: skip
    photograph = image.partition("-")[0]
    credit = f" ({_CREDITS[photograph]})" if photograph in _CREDITS else ""
    width = int(keep_network(trained.results, network)["width"].max())
    note = (
        f"Parts of {photograph}{credit}, from networks for {network.title} after "
        f"{int(rows['step'].iloc[0]):,} training steps, {width} channels wide."
    )
    facts = {"image": photograph, "note": note, "crops": entries}
    return {**files, "crops.json": (json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode()}


def ship(folders: Sequence[Path], root: Path) -> list[str]:
    """Write everything.

    Parameters
    ----------
    folders : sequence of Path
        See `read_all`.
    root : Path
        Of the checkout.

    Returns
    -------
    list of str
        A line for each folder that was written, with its size.
    """
    trained = read_all(folders)
    tables = encode_tables(trained)
    # with the pictures of one folder at a time, and the curves of all
    pictured = [replace(trained, images=read_trained(folder).images, folder=folder) for folder in folders]
    drawn: dict[str, Figure] = {}
    for each in pictured:
        drawn = {**draw_article_figures(each), **drawn}
    figures = encode_figures(drawn)
    reference = {name: tables[name] for name in (RESULTS_CSV_NAME, EXPERIMENT_NAME)}
    reference |= {f"figures/{name}.png": picture for name, picture in figures.items()}
    crops = pick_crops(pictured[0])
    return [
        _replace(root / TABLES, tables, ("*.csv", "*.json")),
        _replace(root / CROPS, crops, ("*.png", "*.json")),
        _replace(root / REFERENCE, reference, ("*.csv", "figures/*.png", "crops/*/*.png")),
    ]


def _replace(folder: Path, files: Mapping[str, bytes], own: Iterable[str]) -> str:
    """Write files, and remove what an earlier call left of the same kinds."""
    folder.mkdir(parents=True, exist_ok=True)
    write_files(folder, files)
    for pattern in own:
        for path in folder.glob(pattern):
            if path.relative_to(folder).as_posix() not in files:
                path.unlink()
    sizes = [len(content) for content in files.values()]
    packed = sum(len(zlib.compress(content, 9)) for content in files.values())
    return f"{folder}: {len(files)} files, {format_bytes(sum(sizes))} ({format_bytes(packed)} compressed)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Ship the results of folders; exit code 2 where they cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m bench.ship_trained", description=__doc__.splitlines()[0])
    parser.add_argument("folders", metavar="FOLDER", nargs="+", type=Path, help="of deconvbench train")
    parser.add_argument("--root", type=Path, default=Path(), help="checkout to write into [default: this one]")
    chosen = parser.parse_args(arguments)
    try:
        lines = ship(chosen.folders, chosen.root)
    except (DeconvbenchError, EmptyFigureError, OSError) as error:
        print(f"ship_trained: {error}", file=sys.stderr)
        return 2
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
