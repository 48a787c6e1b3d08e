"""The tables of an experiments folder, as CSV, from what its training runs left behind.

Only runs that came to an end have rows; the columns are those of `columns`. Written whole after each run, so that
an interrupted experiment can be read too. Standard library only, no pandas.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from deconvbench.records.documents import TrainingResult
from deconvbench.records.schema import CURVE_DTYPES, EARLIER_RUN_KEYS, IMAGE_DTYPES, RUN_KEYS, TRAINED_DTYPES
from deconvbench.studies.training.checkpoints import RESULT_NAME, Row, read_json, read_log
from deconvbench.system.texts import escape_controls, guard_formula
from deconvbench.system.writing import write_files


def _walk(root: Path) -> Iterator[tuple[Path, Row]]:
    """Yield the folder and the result of every training run that came to an end, in the order of names."""
    for path in sorted((root / "runs").glob(f"*/{RESULT_NAME}")):
        result = read_json(path, TrainingResult)
        if result is not None:
            yield path.parent, result


def write_experiment_tables(root: Path) -> None:
    """Write ``curves.csv``, ``results.csv`` and ``images.csv``.

    Parameters
    ----------
    root : Path
        The experiments folder.

    Raises
    ------
    RunFolderError
        If a file of a training run cannot be read.
    SurroundingsError
        If they cannot be written.
    """
    curves: list[Row] = []
    images: list[Row] = []
    results: list[Row] = []
    for folder, ended in _walk(root):
        result = {**EARLIER_RUN_KEYS, **ended}
        keys = {name: result[name] for name in RUN_KEYS}
        results.append(result)
        # a run that is being made longer has rows beyond its result
        for row in read_log(folder):
            if row["step"] <= result["steps"]:
                curves.append({**keys, **row})
                if row["step"] in (0, 1, result["steps"]):
                    images += [{**keys, "step": row["step"], **image} for image in row.get("images", ())]
    tables = {
        "curves.csv": _encode(CURVE_DTYPES, curves),
        "results.csv": _encode(TRAINED_DTYPES, results),
        "images.csv": _encode(IMAGE_DTYPES, images),
    }
    write_files(root, tables)


def _encode(columns: Mapping[str, str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval=None, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _write_cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue().encode()


def _write_cell(value: Any) -> Any:
    return guard_formula(escape_controls(value)) if isinstance(value, str) else value
