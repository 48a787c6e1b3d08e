"""The numbers of the validation as rows of texts, for the page and for a terminal alike."""

from collections.abc import Sequence

import pandas as pd

from deconvbench.studies.validation.calibration import Row, summarise_calibration
from deconvbench.studies.validation.checks import Check, list_rows
from deconvbench.studies.validation.flat_fields import summarise_flat_fields
from deconvbench.studies.validation.lookalikes import summarise_lookalikes
from deconvbench.studies.validation.rates import MULTIPLES, summarise_rates
from deconvbench.studies.validation.scores import summarise_scores
from deconvbench.studies.validation.separation import SEPARATORS, summarise_separation
from deconvbench.system.texts import escape_markdown

# rows of one width, the head first
Table = list[tuple[str, ...]]
_KINDS = {"1/f": "1/f images", "discs": "random discs"}
SCORE_NAMES = {
    "cba": "checkerboard score",
    "phase_means": "phase means",
    "spectrum": "azimuthal spectrum",
    "spectrum_rings": "its grid rings",
    "spectrum_population": "against other images",
    "psnr": "PSNR, as RMS error",
}


def tabulate_checks(checks: Sequence[Check]) -> Table:
    """Write every line that must hold, and how it came out.

    Parameters
    ----------
    checks : sequence of Check
        From `check_study`.
    """
    rows = [
        (
            check.line,
            check.required,
            check.measured,
            "yes" if check.is_met else "**no**",
            escape_markdown(check.where),
        )
        for check in checks
    ]
    return [("line", "required", "worst measured", "met", "where"), *rows]


def tabulate_rates(rates: pd.DataFrame) -> Table:
    """Write false alarms and detections, a row for each kind of image and period.

    Parameters
    ----------
    rates : DataFrame
        From `measure_rates`.
    """
    groups: dict[tuple[str, int], dict[int, Row]] = {}
    for row in list_rows(summarise_rates(rates)):
        groups.setdefault((row["kind"], row["period"]), {})[row["multiple"]] = row
    rows = []
    kinds = list(dict.fromkeys(kind for kind, _ in groups))
    for (kind, period), found in sorted(groups.items(), key=lambda group: kinds.index(group[0][0])):
        clean = found[0]
        rows.append(
            (
                _KINDS.get(kind, kind),
                str(period),
                str(clean["images"]),
                f"{clean['detection_level']:.4f}",
                _write_count(clean["found"], clean["images"]),
                f"{clean['noise_level']:.4f}",
                _write_count(clean["found_by_noise_level"], clean["images"]),
                *(_write_count(found[multiple]["found"], found[multiple]["images"]) for multiple in MULTIPLES[1:]),
            )
        )
    head = (
        *("images", "P", "number", "detection level, σ", "false alarms", "noise level, σ", "false alarms by it"),
        *(f"found at {multiple} level{'s' if multiple > 1 else ''}" for multiple in MULTIPLES[1:]),
    )
    return [head, *rows]


def _write_count(count: int, total: int) -> str:
    return f"{100 * count / total:.1f} %"


def tabulate_separation(separation: pd.DataFrame) -> Table:
    """Write areas under the curve, a row for each period, pattern and amplitude.

    Parameters
    ----------
    separation : DataFrame
        From `measure_separation`.
    """
    rows = []
    for row in list_rows(summarise_separation(separation)):
        areas = (f"{row[name]:.2f}" for name in SEPARATORS)
        rows.append((str(row["period"]), row["pattern"], f"{row['planted']:g} σ", *areas))
    return [("P", "pattern", "planted", *SEPARATORS.values()), *rows]


def tabulate_lookalikes(lookalikes: pd.DataFrame) -> Table:
    """Write pictures that are read as grids, a row for each kind and period.

    Parameters
    ----------
    lookalikes : DataFrame
        From `read_lookalikes` and `read_pages`.
    """
    rows = [
        (
            row["picture"], str(row["period"]), f"{row['found']} of {row['images']}", f"{row['middle']:+.1f}",
            f"{row['most']:+.1f}", f"{row['amplitude']:+.3f}",
            f"{row['blocks_found']} of {row['blocks_read']}" if row["blocks_read"] else "–",
        )
        for row in list_rows(summarise_lookalikes(lookalikes))
    ]  # fmt: skip
    head = (
        *("picture", "P", "above the level", "median, in levels", "largest, in levels", "median amplitude, σ"),
        "block edges found",
    )
    return [head, *rows]


def tabulate_flat_fields(flat_fields: pd.DataFrame) -> Table:
    """Write shares of energy off zero frequency, a row for each layer.

    Parameters
    ----------
    flat_fields : DataFrame
        From `measure_flat_fields`.
    """
    rows = [
        (
            f"`{row['upsampler']}`, k = {row['kernel_size']}",
            *(f"{100 * row[name]:.1f} %" for name in ("whole", "middle", "checkerboard")),
        )
        for row in list_rows(summarise_flat_fields(flat_fields))
    ]
    return [("layer, s = 2", "off zero, whole output", "off zero, middle", "checkerboard score, squared"), *rows]


def tabulate_calibration(calibration: pd.DataFrame) -> Table:
    """Write errors of the pooled readings, a row for each content and period.

    Parameters
    ----------
    calibration : DataFrame
        From `calibrate`.
    """
    amplitudes = sorted(calibration["planted"].unique())
    cells: dict[tuple[str, int], list[Row]] = {}
    for row in list_rows(summarise_calibration(calibration, "content")):
        cells.setdefault((row["content"], row["period"]), []).append(row)
    rows = [
        (escape_markdown(content), str(period), f"{found[0]['detection_level']:.4f}", *map(_write_error, found))
        for (content, period), found in cells.items()
    ]
    return [("content", "period", "detection level, σ", *(f"{a:g} σ" for a in amplitudes)), *rows]


def _write_error(row: Row) -> str:
    planted = row["planted"]
    if planted == 0:
        return f"{row['pooled']:+.4f} σ"
    if row["pooled"] <= row["detection_level"]:
        return "< level"
    pooled, low, high = (100 * (row[name] / planted - 1) for name in ("pooled", "low", "high"))
    return f"{pooled:+.1f} [{low:+.0f}, {high:+.0f}]"


def tabulate_scores(alternatives: pd.DataFrame) -> Table:
    """Write readings of every score, a row for each change.

    Parameters
    ----------
    alternatives : DataFrame
        From `add_readings`.
    """
    cells: dict[str, dict[str, str]] = {}
    for row in list_rows(summarise_scores(alternatives)):
        text = f"{100 * row['reading']:.0f} [{100 * row['low']:.0f}, {100 * row['high']:.0f}]"
        cells.setdefault(row["change"], {})[row["score"]] = text
    rows = [
        (change.replace("_", " "), *(found[score] for score in SCORE_NAMES)) for change, found in cells.items()
    ]
    return [("change", *SCORE_NAMES.values()), *rows]
