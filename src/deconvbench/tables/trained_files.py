"""The files of training experiments, read value by value into frames: whole, earlier, torn or foreign ones.

Knows what earlier versions lacked, and what results that are kept small leave out.
"""

import csv
import io
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from deconvbench.errors import RunFolderError, explain_os_error
from deconvbench.records.decoding import DecodingError, build, parse_json
from deconvbench.records.documents import ExperimentInfo, Versioned
from deconvbench.records.record import SCHEMA_VERSION
from deconvbench.records.schema import EARLIER_RUN_KEYS, LATER_FINAL_COLUMNS, LATER_SCORE_COLUMNS
from deconvbench.system.reading import decode_text, read_file
from deconvbench.system.texts import strip_guard
from deconvbench.tables.frames import make_frame

RESULTS_CSV_NAME, CURVES_CSV_NAME, IMAGES_CSV_NAME = "results.csv", "curves.csv", "images.csv"
EXPERIMENT_NAME = "experiment.json"
# columns that nothing here reads: results that are kept small do without them, and they are null then
NOT_NEEDED: Mapping[str, Collection[str]] = {
    CURVES_CSV_NAME: ("loss", "ssim", "seconds"),
    IMAGES_CSV_NAME: ("ssim", "crop"),
}
_FLAGS = {"True": True, "False": False}


def read_rows(path: Path, dtypes: Mapping[str, str]) -> pd.DataFrame:
    """Read a CSV file value by value: a name may look like a number, or like none.

    Parameters
    ----------
    path : Path
        The file; where there is none, the frame is empty.
    dtypes : mapping
        Columns of the frame: `columns.TRAINED_DTYPES`, for example. Those of later versions (`EARLIER_RUN_KEYS`,
        `LATER_SCORE_COLUMNS`) and those that nothing needs may be missing in the file, and what the file has
        beyond is passed over.

    Raises
    ------
    RunFolderError
        If it cannot be read, lacks a column, or holds something else than a column may; the line is named.
    """
    if not path.exists():
        return make_frame([], dtypes)
    try:
        text = decode_text(read_file(path))
    except (OSError, ValueError) as error:
        reason = explain_os_error(error) if isinstance(error, OSError) else str(error)
        raise RunFolderError(f"results: cannot read {str(path)!r}: {reason}") from error
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        headings = reader.fieldnames or ()
        # what earlier versions did not score is null, and what they did not have as a choice is what they did
        later = {*LATER_SCORE_COLUMNS, *LATER_FINAL_COLUMNS, *EARLIER_RUN_KEYS, *NOT_NEEDED.get(path.name, ())}
        known = {name: dtype for name, dtype in dtypes.items() if name in headings or name not in later}
        missing = next((name for name in known if name not in headings), None)
        if missing is not None:
            raise RunFolderError(f"results: {str(path)!r} lacks the column {missing}")
        rows = [
            {**EARLIER_RUN_KEYS, **{name: _parse(row, name, dtype) for name, dtype in known.items()}}
            for row in reader
        ]
    except (csv.Error, ValueError) as error:
        raise RunFolderError(f"results: {str(path)!r}, line {reader.line_num}: {error}") from error
    return make_frame(rows, dtypes)


def _parse(row: Mapping[str | None, str | None], name: str, dtype: str) -> Any:
    text = row[name]
    # what is beyond the headings
    if text is None or None in row:
        raise ValueError("not as many values as headings")
    if dtype == "str":
        return strip_guard(text) or None
    if dtype == "bool":
        if text not in _FLAGS:
            raise ValueError(f"{name} is {text!r}, neither True nor False")
        return _FLAGS[text]
    try:
        number = float(text) if text else math.nan
    except ValueError as error:
        raise ValueError(f"{name} is {text!r}, no number") from error
    if dtype == "float64" or (dtype == "Int64" and math.isnan(number)):
        return None if math.isnan(number) else number
    if not number.is_integer():
        raise ValueError(f"{name} is {text!r}, no whole number")
    return int(number)


def read_info(path: Path) -> Mapping[str, Any]:
    """Read the description of training experiments.

    Parameters
    ----------
    path : Path
        The file; where there is none, nothing is known.

    Raises
    ------
    RunFolderError
        If it cannot be read, or is of a later version.
    """
    if not path.exists():
        return {}
    try:
        document = parse_json(read_file(path))
        version = build(Versioned, document).get("schema_version", SCHEMA_VERSION)
        info = dict(build(ExperimentInfo, document)) if version <= SCHEMA_VERSION else None
    except OSError as error:
        raise RunFolderError(f"results: cannot read {str(path)!r}: {explain_os_error(error)}") from error
    except DecodingError as error:
        raise RunFolderError(f"results: {str(path)!r} is not a description of experiments: {error}") from error
    if info is None:
        raise RunFolderError(
            f"results: {str(path)!r} has schema {version}; this version reads up to {SCHEMA_VERSION}"
        )
    return info
