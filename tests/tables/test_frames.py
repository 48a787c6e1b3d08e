import math
from collections.abc import Iterable
from io import BytesIO
from typing import Any

import pandas as pd
import pytest

from deconvbench.errors import UsageError
from deconvbench.system.texts import escape_controls, guard_formula
from deconvbench.tables import frames
from deconvbench.tables.frames import encode_csv, encode_parquet, list_rows, make_frame

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


FLOATS = [0.1, -0.0, 0.0, 1e-05, 0.0001, 1e15, 1e16, 123456789.0, 5e-324, 1.7976931348623157e308, math.inf, 1 / 3]
TEXTS = ["plain", "a,b", 'say "so"', "", "tab\there", "=sum", "-3", "two\nlines", "é", " x ", "'=a", "#"]


def make_mixed() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "share": [*FLOATS, math.nan],
            "te,xt": pd.Series([*TEXTS, None], dtype="str"),
            "count": pd.Series([*range(11), -(2**63), None], dtype="Int64"),
            "place": range(13),
            "is_set": pd.Series([True, False, *[True] * 10, None], dtype="boolean"),
            "is_on": [True, False] * 6 + [True],
            "any": pd.Series([1, True, 1.0, None, "x", *["y"] * 8], dtype="object"),
            "empty": pd.Series([None] * 13, dtype="str"),
        }
    )


@pytest.mark.parametrize("float_format", [None, "%.6g"])
def test_csv_is_as_pandas_writes_it_but_for_texts_that_a_spreadsheet_would_run(float_format: str | None) -> None:
    frame = make_mixed()
    guarded = [guard_formula(escape_controls(text)) for text in TEXTS]
    expected = frame.assign(**{"te,xt": pd.Series([*guarded, None], dtype="str")})
    assert encode_csv(frame, float_format) == expected.to_csv(index=False, float_format=float_format).encode()
    assert encode_csv(frame[:0]) == frame[:0].to_csv(index=False).encode()


def test_each_different_value_is_written_as_csv_once(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Any] = []
    encode = frames._encode_cells

    def note(values: Iterable[Any]) -> list[str]:
        written.append(list(values))
        return encode(written[-1])

    monkeypatch.setattr(frames, "_encode_cells", note)
    frame = pd.DataFrame({"name": pd.Series(["a", "b"] * 500, dtype="str"), "share": [0.0, -0.0, 0.5, 0.5] * 250})
    assert encode_csv(frame).splitlines()[1:5] == [b"a,0.0", b"b,-0.0", b"a,0.5", b"b,0.5"]
    assert written == [["a", "b", None], [0.0, -0.0, 0.5, None], ["name", "share"]]
