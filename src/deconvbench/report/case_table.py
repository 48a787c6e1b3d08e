"""The table of all cases as plain data for the page's script: what each cell shows, and what it sorts by.

Rows beyond what a browser handles well are left to the files beside the page.
"""

from typing import Any

import pandas as pd

from deconvbench.records.schema import LAYER_COLUMNS, TRAINED_COLUMNS
from deconvbench.report.tables import Cell, view_summary
from deconvbench.system.texts import tidy_line

MOST_ROWS = 5_000
# of a text in a cell; the rest is in the files
_LONGEST = 300
# what is shown at first; every other column can be switched on
_SHOWN = frozenset(
    {
        *("layer", "size", "channels", "step", "device", "dtype", "scale_factor", "latency_s", "ratio"),
        *("peak_memory_bytes", "phase_ripple", "trained_checkerboard_levels", "trained_psnr_db"),
    }
)


def describe_cases(summary: pd.DataFrame, quality: pd.DataFrame) -> dict[str, Any]:
    """Lay out the table.

    Parameters
    ----------
    summary : DataFrame
        One row per case, not empty.
    quality : DataFrame
        One row per layer, with what is known after training.

    Returns
    -------
    dict
        ``columns`` (key, heading, whether it is a number, whether it is shown at first), ``ids``, ``rows`` and
        ``leftOut``. A cell is its text, or a list of text, number or text to sort by and, where it is to stand
        out, ``noisy`` or ``failed``.
    """
    known = [name for name in TRAINED_COLUMNS if name in quality and name not in summary]
    keys = list(LAYER_COLUMNS)
    frame = summary
    if known and quality[known].notna().any(axis=None):
        frame = summary.merge(quality[[*keys, *known]], on=keys, how="left", validate="many_to_one")
    view = view_summary(frame, MOST_ROWS)
    failed = (summary["status"] != "ok").any()
    columns = [
        {
            "key": key,
            "heading": heading,
            "number": any(row[index].kind in {"number", "noisy"} for row in view.rows),
            "shown": key in _SHOWN or (key == "status" and bool(failed)),
        }
        for index, (key, heading) in enumerate(zip(view.keys, view.headings, strict=True))
    ]
    return {
        "columns": columns,
        "ids": list(frame["case_id"].head(MOST_ROWS)),
        "rows": [[_write_cell(cell) for cell in row] for row in view.rows],
        "leftOut": view.left_out,
    }


def _write_cell(cell: Cell) -> Any:
    text = tidy_line(cell.text, _LONGEST)
    stands_out = cell.kind in {"noisy", "failed"}
    if cell.sort == cell.text and not stands_out:
        return text
    return [text, tidy_line(cell.sort, _LONGEST), *([cell.kind] if stands_out else [])]
