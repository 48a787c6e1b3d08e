"""The setting that a question is about: what was asked for, completed by what a run has.

A run is measured in many settings; layers are alternatives to each other within one. Says what there is where
something was asked for that was not measured, and which choices were made for the reader.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from deconvbench.analysis.selection import SIZE_FIELDS, choose_size
from deconvbench.errors import UsageError
from deconvbench.records.case import CASE_DEFAULTS, CASE_FIELDS, check_field

# everything but the layer itself and the size of its input, in the order in which a reader narrows down
FIELDS = (
    "device",
    "step",
    "scale_factor",
    "in_channels",
    "out_channels",
    *(field for field in CASE_DEFAULTS if field not in {"device", "step"}),
)
# what a reader may be free to choose for the same work
FREE_FIELDS = ("device", "dtype", "memory_format", "threads", "execution")
_MOST_NAMED = 8

Size = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting of a run, at one size.

    Parameters
    ----------
    fields : mapping
        Each of `FIELDS`.
    size : (int, int)
        Height and width of the input; it need not be one that was measured.
    others : mapping of str to tuple
        What else was measured, by the field (``size`` among them) that was not asked for.
    """

    fields: Mapping[str, Any]
    size: Size
    others: Mapping[str, tuple[Any, ...]]


def resolve_setting(summary: pd.DataFrame, asked: Mapping[str, Any], size: Size | None = None) -> Setting:
    """Complete what was asked for by what a run has: the defaults of a case, else what was measured most.

    Parameters
    ----------
    summary : DataFrame
        One row per case, not empty.
    asked : mapping
        Values of some of `FIELDS`.
    size : (int, int), optional
        Height and width; by default the largest at which as many layers were measured as at any other.

    Raises
    ------
    UsageError
        If a value is not allowed, or was not measured together with those before it; the message lists what was.
    """
    for name, value in {**asked, **dict(zip(SIZE_FIELDS, size or (), strict=False))}.items():
        check_field(name, value)
        if name in asked and name not in FIELDS:
            raise UsageError(f"{name}: is not part of a setting, which is {', '.join(FIELDS)}")
    rows = summary
    values: dict[str, Any] = {}
    others: dict[str, tuple[Any, ...]] = {}
    # what was asked for narrows down first, whatever the order of the rest
    for field in sorted(FIELDS, key=lambda name: name not in asked):
        found = _list_values(rows, field)
        if field == "in_channels" and "out_channels" in asked and field in asked:
            _check_channels(rows, asked, values)
        if field in asked:
            value = asked[field]
            if value not in found:
                raise UsageError(
                    f"{field}: {value!r} was not measured{_describe(asked, values)}; measured"
                    f" {'is' if len(found) == 1 else 'are'} {', '.join(map(str, found[:_MOST_NAMED]))}"
                )
        else:
            value = CASE_DEFAULTS[field] if CASE_DEFAULTS.get(field) in found else found[0]
            if len(found) > 1:
                others[field] = tuple(other for other in found if other != value)
        rows, values[field] = rows[rows[field] == value], value
    if size is None:
        timed = rows[(rows["status"] == "ok") & rows["latency_s"].notna()]
        size = choose_size(timed if len(timed) else rows)
        if rest := [other for other in list_sizes(rows) if other != size]:
            others["size"] = tuple(rest)
    return Setting(fields={name: values[name] for name in FIELDS}, size=size, others=others)


def _list_values(rows: pd.DataFrame, field: str) -> list[Any]:
    """List what a field has, the most frequent first, of equals the smallest."""
    counts = rows[field].value_counts()
    plain = [(value.item() if hasattr(value, "item") else value, int(count)) for value, count in counts.items()]
    return [value for value, _ in sorted(plain, key=lambda pair: (-pair[1], pair[0]))]


def _check_channels(rows: pd.DataFrame, asked: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Refuse a pair of channels that was not measured, as the one thing that was asked for."""
    pairs = zip(rows["in_channels"], rows["out_channels"], strict=True)
    found = [pair for pair, _ in Counter((int(a), int(b)) for a, b in pairs).most_common()]
    wanted = (asked["in_channels"], asked["out_channels"])
    if wanted not in found:
        named = ", ".join(f"{a}x{b}" for a, b in found[:_MOST_NAMED])
        raise UsageError(
            f"channels: {wanted[0]}x{wanted[1]} was not measured{_describe(asked, values)}; measured"
            f" {'is' if len(found) == 1 else 'are'} {named}"
        )


def _describe(asked: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    before = ", ".join(f"{name_field(name)} {value}" for name, value in values.items() if name in asked)
    return f" with {before}" if before else ""


def name_field(field: str) -> str:
    """Name a field of a setting as whoever asks does.

    Parameters
    ----------
    field : str
        One of `FIELDS`, or ``size``.
    """
    words = {"scale_factor": "scale", "in_channels": "channels in", "out_channels": "channels out"}
    return words.get(field, field.replace("_", " "))


def select_rows(summary: pd.DataFrame, values: Mapping[str, Any]) -> pd.DataFrame:
    """Keep the cases of one setting, of every layer and size.

    Parameters
    ----------
    summary : DataFrame
        One row per case.
    values : mapping
        By field of a case.
    """
    is_kept = np.ones(len(summary), dtype=np.bool_)
    for field, value in values.items():
        is_kept &= (summary[field] == value).to_numpy(dtype=np.bool_)
    return summary[is_kept]


def list_sizes(rows: pd.DataFrame) -> list[Size]:
    """List the sizes of the input, the smallest first.

    Parameters
    ----------
    rows : DataFrame
        With height and width.
    """
    pairs = {(int(h), int(w)) for h, w in zip(rows["height"], rows["width"], strict=True)}
    return sorted(pairs, key=lambda size: (size[0] * size[1], size))


def format_size(size: Size) -> str:
    """Write a size as a reader does: ``64×64``.

    Parameters
    ----------
    size : (int, int)
        Height and width.
    """
    return f"{size[0]}×{size[1]}"


assert {*FIELDS, "upsampler", "kernel_size", *SIZE_FIELDS} == {*CASE_FIELDS}
