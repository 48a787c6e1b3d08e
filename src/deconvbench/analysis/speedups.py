"""What follows from interleaved timings: geometric means over shapes, and whether a choice was the best."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from deconvbench.errors import UsageError
from deconvbench.records.case import CASE_FIELDS, Case, format_layer
from deconvbench.records.schema import LAYER_COLUMNS, SPEEDUP_DTYPES
from deconvbench.tables.frames import list_rows, make_frame
from deconvbench.tables.speedups import SHAPE_FIELDS

# what must be equal for speed-ups to be of one kind, beside the kernel of the baseline
SETTING_FIELDS = (
    *(name for name in CASE_FIELDS if name not in {*LAYER_COLUMNS, *SHAPE_FIELDS}),
    "scale_factor",
    "is_frozen",
)
# which no column of the rows has
BASELINE_KERNEL = "baseline_kernel_size"
# a layer may take this many times the memory of the baseline
MEMORY_LIMIT = 1.1
# a choice this near to the best is as good as any: less than what two runs differ by
CHOICE_MARGIN = 0.02
MEAN_DTYPES: Mapping[str, str] = {
    **{name: SPEEDUP_DTYPES[name] for name in ("upsampler", "kernel_size", *SETTING_FIELDS, "is_twin")},
    BASELINE_KERNEL: SPEEDUP_DTYPES["kernel_size"],
    "layer": "str",
    "shapes": "int64",
    "speedup": "float64",
    "speedup_ci_low": "float64",
    "speedup_ci_high": "float64",
    "least_speedup": "float64",
    "ceiling_share": "float64",
    "most_memory_ratio": "float64",
}
CHOICE_DTYPES: Mapping[str, str] = {
    **{name: SPEEDUP_DTYPES[name] for name in (*SHAPE_FIELDS, *SETTING_FIELDS)},
    BASELINE_KERNEL: SPEEDUP_DTYPES["kernel_size"],
    "layer": "str",
    "implementation": "str",
    "speedup": "float64",
    "best_layer": "str",
    "best_speedup": "float64",
    "share_of_best": "float64",
    "is_within_noise": "bool",
    "memory_ratio": "float64",
    "takes_too_much_memory": "bool",
}

_Row = Mapping[str, Any]


def average_speedups(speedups: pd.DataFrame) -> pd.DataFrame:
    """Take geometric means over the shapes of each setting.

    Parameters
    ----------
    speedups : DataFrame
        From `build_speedups`.

    Returns
    -------
    DataFrame
        Columns and dtypes of `MEAN_DTYPES`: one row per setting, kernel of the baseline and layer, the baseline
        left out. Only shapes at which every layer of the setting that was measured anywhere was measured count.
        The interval adds those of the shapes as independent ones.
    """
    rows = []
    for members in _group(_list_measured(speedups), _name_setting):
        by_shape = _group(members, _name_shape)
        layers = {(row["upsampler"], row["kernel_size"]) for row in members}
        whole = [
            shape for shape in by_shape if {(row["upsampler"], row["kernel_size"]) for row in shape} == layers
        ]
        alike = _group([row for shape in whole for row in shape], lambda r: (r["upsampler"], r["kernel_size"]))
        rows += [_average_layer(shapes) for shapes in alike if shapes[0]["case_id"] != shapes[0]["baseline_id"]]
    return make_frame(rows, MEAN_DTYPES)


def _average_layer(shapes: Sequence[_Row]) -> dict[str, Any]:
    logs = [math.log(row["speedup"]) for row in shapes]
    halves = [_find_half_width(row) for row in shapes]
    mean, half = sum(logs) / len(logs), math.hypot(*halves) / len(halves)
    shares = [row["ceiling_share"] for row in shapes if row["ceiling_share"] is not None]
    memory = [row["memory_ratio"] for row in shapes if row["memory_ratio"] is not None]
    return {
        **{name: shapes[0][name] for name in MEAN_DTYPES if name in shapes[0]},
        "layer": _name_layer(shapes[0]),
        "shapes": len(shapes),
        "speedup": math.exp(mean),
        "speedup_ci_low": math.exp(mean - half),
        "speedup_ci_high": math.exp(mean + half),
        "least_speedup": min(row["speedup"] for row in shapes),
        "ceiling_share": math.exp(sum(map(math.log, shares)) / len(shares)) if shares else None,
        "most_memory_ratio": max(memory, default=None),
    }


def compare_choices(speedups: pd.DataFrame) -> pd.DataFrame:
    """Compare each layer that chooses its implementation with the best fixed one, shape by shape.

    Parameters
    ----------
    speedups : DataFrame
        From `build_speedups`.

    Returns
    -------
    DataFrame
        Columns and dtypes of `CHOICE_DTYPES`: one row per setting, kernel and shape. The baseline is one of the
        fixed forms. A choice is within noise of the best if it is at most 2 % slower, or if the intervals allow
        that the two are equal.
    """
    rows = []
    for members in _group(_list_measured(speedups), lambda row: (*_name_shape(row), *_name_setting(row))):
        fixed = [
            row
            for row in members
            if row["implementation"] is None and (row["is_twin"] or row["case_id"] == row["baseline_id"])
        ]
        # an alternative may choose among forms of its own
        choosing = [row for row in members if row["implementation"] is not None and row["is_twin"]]
        rows += [_compare_choice(row, fixed) for row in choosing if fixed]
    return make_frame(rows, CHOICE_DTYPES)


def _compare_choice(row: _Row, fixed: Sequence[_Row]) -> dict[str, Any]:
    best = max(fixed, key=lambda other: other["speedup"])
    share = row["speedup"] / best["speedup"]
    reach = math.hypot(_find_half_width(row), _find_half_width(best))
    memory = row["memory_ratio"]
    return {
        **{name: row[name] for name in CHOICE_DTYPES if name in row},
        "layer": _name_layer(row),
        "best_layer": _name_layer(best),
        "best_speedup": best["speedup"],
        "share_of_best": share,
        "is_within_noise": share >= 1 - CHOICE_MARGIN or (not math.isnan(reach) and -math.log(share) <= reach),
        "takes_too_much_memory": memory is not None and memory > MEMORY_LIMIT,
    }


def _list_measured(speedups: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {**row, BASELINE_KERNEL: _read_kernel(row["baseline_id"])}
        for row in list_rows(speedups, "speedups", SPEEDUP_DTYPES)
        if row["speedup"] is not None
    ]


def _group(rows: Iterable[_Row], key: Callable[[_Row], Any]) -> list[list[_Row]]:
    groups: dict[Any, list[_Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return list(groups.values())


def _read_kernel(baseline_id: str) -> int | None:
    """Read the kernel out of a case id; other programs may have written one that is none."""
    try:
        return Case.from_id(baseline_id).kernel_size
    except UsageError:
        return None


def _name_setting(row: _Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in (*SETTING_FIELDS, BASELINE_KERNEL))


def _name_shape(row: _Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in SHAPE_FIELDS)


def _name_layer(row: _Row) -> str:
    return format_layer(row["upsampler"], row["kernel_size"], row["scale_factor"])


def _find_half_width(row: _Row) -> float:
    """Find half the width of an interval of logarithms; NaN where there is none."""
    low, high = row["speedup_ci_low"], row["speedup_ci_high"]
    return math.nan if low is None or high is None else math.log(high / low) / 2
