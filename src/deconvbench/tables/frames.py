"""Rows of plain values as data frames with fixed columns, and back."""

from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any

import pandas as pd

from deconvbench.errors import UsageError


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
        If it lacks one.
    """
    missing = [column for column in wanted if column not in frame]
    if missing:
        raise UsageError(f"{name}: lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}")
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
