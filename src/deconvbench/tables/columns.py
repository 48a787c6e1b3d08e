"""What the columns of a run's frames mean, as a frame."""

import pandas as pd

from deconvbench.errors import UsageError, quote, suggest
from deconvbench.records.schema import COLUMNS, RUN_COLUMN


def describe_columns(table: object = "table") -> pd.DataFrame:
    """Say what each column of a frame is.

    Parameters
    ----------
    table : str
        ``table`` (what `deconvbench.load` returns), ``summary``, ``quality``, ``quality_summary`` or ``speedups``.

    Returns
    -------
    DataFrame
        One row per column, in order, that of a run's name first: ``name``, ``title`` (a few plain words), ``unit``
        (empty for texts, flags and counts), ``dtype`` and ``meaning`` (one sentence).

    Raises
    ------
    UsageError
        If there is no such frame; the message lists them.
    """
    if not isinstance(table, str) or table not in COLUMNS:
        raise UsageError(f"table: {quote(table)} is not one of {', '.join(COLUMNS)}{suggest(table, COLUMNS)}")
    columns = COLUMNS[table]
    if table in {"table", "summary"}:
        columns = (RUN_COLUMN, *columns)
    fields = ("name", "title", "unit", "dtype", "meaning")
    return pd.DataFrame({field: [getattr(column, field) for column in columns] for field in fields}, dtype="str")
