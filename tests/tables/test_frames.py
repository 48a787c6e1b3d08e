from io import BytesIO
from typing import Any

import pandas as pd
import pytest

from deconvbench.errors import UsageError
from deconvbench.tables.frames import encode_parquet, list_rows, make_frame

DTYPES = {"name": "str", "count": "Int64", "share": "float64"}


def test_rows_become_a_frame_and_rows_again() -> None:
    rows: list[dict[str, Any]] = [
        {"name": "a", "count": 3, "share": 0.5},
        {"name": "b", "share": None, "unasked": 1},
    ]
    frame = make_frame(rows, DTYPES)
    assert frame.dtypes.astype(str).to_dict() == DTYPES
    assert list_rows(frame, "frame", DTYPES) == [rows[0], {"name": "b", "count": None, "share": None}]


def test_no_rows_are_a_frame_with_columns() -> None:
    frame = make_frame([], DTYPES)
    assert (len(frame), list(frame)) == (0, list(DTYPES))


def test_missing_columns_are_named() -> None:
    with pytest.raises(UsageError, match="^mine: lacks the columns count, share$"):
        list_rows(pd.DataFrame({"name": ["a"]}), "mine", DTYPES)


def test_parquet_gives_the_frame_back() -> None:
    frame = make_frame([{"name": "a", "count": None, "share": 0.5}], DTYPES)
    pd.testing.assert_frame_equal(pd.read_parquet(BytesIO(encode_parquet(frame))), frame)
