"""Rows of plain values as data frames with fixed columns, and back."""

import csv
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api.types import is_numeric_dtype
from pyarrow import parquet

from deconvbench.errors import UsageError, quote
from deconvbench.system.texts import escape_controls, guard_formula, tidy_line
from deconvbench.units import to_float


def make_frame(rows: Sequence[Mapping[str, Any]], dtypes: Mapping[str, str]) -> pd.DataFrame:
    """Lay rows out as a frame.

    Parameters
    ----------
    rows : sequence of mapping
        What a row lacks, or holds as None, is null, and so is a float that is not finite. Texts become one line
        each (`texts.tidy_line`).
    dtypes : mapping of str to str
        The columns, in order, with the dtype of each.

    Returns
    -------
    DataFrame
        With these dtypes, but that a column of whole numbers is ``float64`` where one of them needs more than 64
        bits: near is better than lost.
    """
    return make_columns({name: [row.get(name) for row in rows] for name in dtypes}, dtypes)


def make_columns(columns: Mapping[str, Sequence[Any]], dtypes: Mapping[str, str]) -> pd.DataFrame:
    """Set columns side by side as a frame.

    Parameters
    ----------
    columns : mapping of str to sequence
        At least those of `dtypes`, all of one length, with None where a value is missing.
    dtypes : mapping of str to str
        The columns to take, in order, with the dtype of each.

    Returns
    -------
    DataFrame
        As `make_frame`.
    """
    return pd.DataFrame({name: _make_column(columns[name], dtype) for name, dtype in dtypes.items()})


def _make_column(values: Sequence[Any], dtype: str) -> "pd.Series[Any]":
    if dtype == "str":
        # of many values few are different, as a rule
        tidied = {value: _tidy(value) for value in {*values}}
        return pd.Series([tidied[value] for value in values], dtype=dtype)
    if dtype != "float64":
        try:
            return pd.Series(values, dtype=dtype)
        except OverflowError:
            largest = sys.float_info.max
            values = [v if v is None else min(max(to_float(v), -largest), largest) for v in values]
    try:
        numbers = np.asarray(values, dtype=np.float64)  # None becomes NaN
    except OverflowError:
        numbers = np.array([math.nan if value is None else to_float(value) for value in values], dtype=np.float64)
    return pd.Series(np.where(np.abs(numbers) < math.inf, numbers, math.nan), dtype="float64")


def _tidy(value: Any) -> Any:
    return tidy_line(value) if isinstance(value, str) else value


def tidy_texts(frame: pd.DataFrame) -> pd.DataFrame:
    """Make the texts of a frame that was read one line each, as `make_frame` does.

    Parameters
    ----------
    frame : DataFrame
        Any.
    """
    texts = [name for name in frame if frame[name].dtype in ("str", "object")]
    untidy = [name for name in texts if any(_tidy(value) != value for value in frame[name].dropna().unique())]
    return frame.assign(**{str(name): frame[name].map(_tidy).astype("str") for name in untidy})


def require_columns(
    frame: object, name: str, wanted: Iterable[str], numbers: Iterable[str] = (), hint: str = ""
) -> None:
    """Check that an argument is a frame with the columns that are needed.

    Parameters
    ----------
    frame : object
        What was given.
    name : str
        What the caller calls it, for the message.
    wanted : iterable of str
        Columns that it must have, each once.
    numbers : iterable of str
        Columns that it must have, with numbers or nulls alone.
    hint : str
        What to add to the message where one is missing.

    Raises
    ------
    UsageError
        If it is not a frame, lacks one, or one holds something else.
    """
    if not isinstance(frame, pd.DataFrame):
        raise UsageError(f"{name}: {quote(frame)} is not a DataFrame")
    counted = tuple(numbers)
    columns = list(dict.fromkeys((*wanted, *counted)))
    missing = [column for column in columns if column not in frame]
    if missing:
        raise UsageError(f"{name}: lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}{hint}")
    for column in columns:
        if isinstance(frame[column], pd.DataFrame):
            raise UsageError(f"{name}: has the column {column} more than once")
    for column in counted:
        try:
            frame[column].astype("Float64")
        except (TypeError, ValueError) as error:
            raise UsageError(f"{name}: the column {column} does not hold numbers") from error


def list_rows(frame: pd.DataFrame, name: str, wanted: Iterable[str]) -> list[dict[str, Any]]:
    """Take a frame apart into rows in which what is missing is None.

    Parameters
    ----------
    frame, name, wanted
        As for `list_columns`.

    Raises
    ------
    UsageError
        If it is not a frame, or lacks one.
    """
    columns = list_columns(frame, name, wanted)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def list_columns(frame: pd.DataFrame, name: str, wanted: Iterable[str]) -> dict[str, list[Any]]:
    """Take a frame apart into columns in which what is missing is None.

    Parameters
    ----------
    frame : DataFrame
        Any.
    name : str
        What the caller calls it, for the message.
    wanted : iterable of str
        Columns that it must have.

    Raises
    ------
    UsageError
        If it is not a frame, or lacks one.
    """
    require_columns(frame, name, wanted)
    return {str(column): _list_values(frame[column]) for column in frame}


def _list_values(column: "pd.Series[Any]") -> list[Any]:
    """List the values of a column as Python has them, None where there is none."""
    missing = column.isna().to_numpy(dtype=np.bool_)
    if not missing.any():
        return list(column.tolist())
    values = column.to_numpy(dtype=np.object_, copy=True)
    values[missing] = None
    return list(values.tolist())


def encode_csv(frame: pd.DataFrame, float_format: str | None = None) -> bytes:
    """Write a frame as CSV; no text begins as a formula of a spreadsheet does (`texts.guard_formula`).

    Parameters
    ----------
    frame : DataFrame
        Of two columns at least.
    float_format : str, optional
        Such as ``%.6g``; every digit by default.
    """
    columns = [_encode_column(frame[name], float_format) for name in frame]
    header = ",".join(_encode_cells([str(name) for name in frame]))
    return "\n".join([header, *map(",".join, zip(*columns, strict=True)), ""]).encode()


def _encode_column(column: "pd.Series[Any]", float_format: str | None) -> list[str]:
    """Encode each different value of a column once: of many few are different, as a rule."""
    is_float = isinstance(column.dtype, np.dtype) and column.dtype.kind == "f"
    if column.dtype == object:  # 1 and True are the same to what looks for different values
        return _encode_cells([_guard(value) for value in _list_values(column)])
    # 0.0 and -0.0 differ in their bits alone
    places, different = pd.factorize(column.to_numpy(np.float64).view(np.int64) if is_float else column)
    if is_float:
        different = different.view(np.float64)
    values = _list_values(pd.Series(different))
    if not is_numeric_dtype(column.dtype):
        values = [_guard(value) for value in values]
    if is_float and float_format is not None:
        values = [None if value is None else float_format % value for value in values]
    cells = _encode_cells([*values, None])  # the last is for what is missing, whose place is -1
    return [cells[place] for place in places.tolist()]


def _encode_cells(values: Sequence[Any]) -> list[str]:
    """Encode values as they are to stand between commas: a number or a missing value needs no quotation marks."""
    lines: list[str] = []
    # beside another an empty text is not quoted
    texts = ((value, None) for value in values if isinstance(value, str))
    csv.writer(_Sink(lines.append), lineterminator="\n").writerows(texts)
    quoted = (line.removesuffix(",\n") for line in lines)
    return [next(quoted) if isinstance(v, str) else "" if v is None else str(v) for v in values]


@dataclass(frozen=True, slots=True)
class _Sink:
    """What takes the lines of a writer of CSV one by one."""

    write: Callable[[str], None]


def _guard(value: Any) -> Any:
    return guard_formula(escape_controls(value)) if isinstance(value, str) else value


def encode_parquet(frame: pd.DataFrame, facts: Mapping[str, str] = MappingProxyType({})) -> bytes:
    """Write a frame as Parquet.

    Parameters
    ----------
    frame : DataFrame
        Any.
    facts : mapping of str to str
        Kept in the file beside the frame, for `decode_parquet`.
    """
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **facts})
    buffer = BytesIO()
    parquet.write_table(table, buffer)
    return buffer.getvalue()


def decode_parquet(content: bytes) -> tuple[pd.DataFrame, dict[str, str]]:
    """Read a frame that somebody may have damaged.

    Parameters
    ----------
    content : bytes
        Of a whole file.

    Returns
    -------
    frame : DataFrame
    facts : dict of str to str
        What `encode_parquet` kept beside it, among what others did.

    Raises
    ------
    ValueError
        If it cannot be read, whatever the reason.
    """
    try:
        table = parquet.read_table(BytesIO(content))
        metadata = table.schema.metadata or {}
        facts = {key.decode(errors="replace"): value.decode(errors="replace") for key, value in metadata.items()}
        return table.to_pandas(), facts
    # what pyarrow raises of damaged files, and pandas of columns that are not what the file says of them
    except (pa.ArrowException, OSError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"it is not Parquet of this package: {tidy_line(str(error), 200)}") from error
