"""Rows of plain values as data frames with fixed columns, and back."""

from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any

import pandas as pd

from deconvbench.errors import UsageError, quote


def make_frame(rows: Sequence[Mapping[str, Any]], dtypes: Mapping[str, str]) -> pd.DataFrame:
    """Lay rows out as a frame.

    Parameters
    ----------
    rows : sequence of mapping
        What a row lacks, or holds as None, is null.
    dtypes : mapping of str to str
        The columns, in order, with the dtype of each.

    Returns
    -------
    DataFrame
    """
    return pd.DataFrame(
        {name: pd.Series([row.get(name) for row in rows], dtype=dtype) for name, dtype in dtypes.items()}
    )


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
    known = frame.astype(object).where(frame.notna(), None)
    return [{str(column): value for column, value in row.items()} for row in known.to_dict("records")]


def encode_parquet(frame: pd.DataFrame) -> bytes:
    """Write a frame as Parquet.

    Parameters
    ----------
    frame : DataFrame
        Any.
    """
    buffer = BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()
