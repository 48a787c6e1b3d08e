"""The table of the trial, from its rows or from its file; the documentation has it too. Needs no torch."""

from collections.abc import Mapping, Sequence
from typing import Any

from deconvbench.units import format_bytes


def format_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows as a table in Markdown: how many times faster, with an interval of 95 % for the median.

    Parameters
    ----------
    rows : sequence of mapping
        As `list_rows` makes them, or as read from the file; those of one network together.
    """
    counts = list(dict.fromkeys(int(row["threads"]) for row in rows))
    speedups = [f"speed-up, {count} thread{'s' * (count > 1)}" for count in counts]
    titles = ("network", "fused", "share", *speedups, "peak memory", "output error")
    lines = [titles, ("---",) * len(titles)]
    for name in dict.fromkeys(row["network"] for row in rows):
        own = [row for row in rows if row["network"] == name]
        first, by_count = own[0], {int(row["threads"]): row for row in own}
        total = int(first["fused"]) + int(first["left"])
        cells = [first["title"], f"{first['fused']} of {total}", f"{100 * float(first['share']):.0f} %"]
        cells += [_format_speedup(by_count[count]) if count in by_count else "–" for count in counts]
        peaks = [first[f"peak_memory_bytes_{when}"] for when in ("before", "after")]
        is_measured = all(peak not in {None, ""} for peak in peaks)
        cells.append(" → ".join(format_bytes(float(peak)) for peak in peaks) if is_measured else "–")
        cells.append(_format_errors(first))
        lines.append(tuple(cells))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _format_speedup(row: Mapping[str, Any]) -> str:
    middle, low, high = (float(row[name]) for name in ("speedup", "speedup_low", "speedup_high"))
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def _format_errors(row: Mapping[str, Any]) -> str:
    found = [row[f"max_relative_{name}"] for name in ("error", "gradient_error")]
    output, gradient = ("–" if error in {None, ""} else f"{float(error):.1e}" for error in found)
    return output if gradient == "–" else f"{output}; of gradients, in float64, {gradient}"
