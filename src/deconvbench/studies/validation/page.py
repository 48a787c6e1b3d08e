"""The validation as a page of Markdown: tables of numbers, each with what it was required to be."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from deconvbench.studies.validation.calibration import PERIODS, Row, pool_amplitudes, summarise_calibration
from deconvbench.studies.validation.checks import Check, list_rows
from deconvbench.studies.validation.scores import CHANGE_RMS, summarise_scores
from deconvbench.studies.validation.study import Study, StudySettings

_SCORE_NAMES = {
    "cba": "checkerboard score",
    "phase_means": "phase means",
    "spectrum": "azimuthal spectrum",
    "spectrum_rings": "its grid rings",
    "spectrum_population": "against other images",
    "psnr": "PSNR, as RMS error",
}
_INTRODUCTION = """\
# Validation of the checkerboard score

How well `deconvbench.measure.artifacts.checkerboard` reads a checkerboard of known amplitude, what it does not
mistake for one, and what other scores read on the same images. σ is the standard deviation of the content; every
image has σ = 1. "Pooled" is the average over images as the score averages over a batch, by signed squares.
"""
_SCORES = """\
## What other scores read on the same images

Each image is changed in one way at a time, each time by an RMS of {rms:g} σ, so that PSNR is the same for all.
A reading is in % of what the score itself reads, in the mean, on the plain checkerboard of period 2: mean over the
images, and in brackets the range of single images. A good score reads 100 in the first two rows, 0 elsewhere.

{table}

- *Phase means*: the standard deviation of the P×P phase means. Content leaks into it, and a sign that flips hides
  the checkerboard from it.
- *Azimuthal spectrum* (Durall, Keuper, Keuper, CVPR 2020, arXiv:2003.01826): the paper gives the whole profile to
  a classifier. As a score it is given its best chance here: the energy from .45 cycles per pixel on (all of a
  checkerboard of period 2, also when its sign flips) less that of the very image that was changed, with its sign.
  *Grid rings* counts only the rings that hold grid lines: it mistakes less and loses the checkerboard whose sign
  flips. *Against other images* is what the paper has: the mean profile of clean images in place of the clean image
  itself; there the content outweighs the change.
- *PSNR* (`skimage.metrics`, peak = range of the clean image) needs the clean image and reads every change alike.
"""
_LIMITS = """\
## Where it does not serve

- An amplitude below the detection level counts as none: print `< level`. Of {clean} images without any
  checkerboard, over all periods, {alarms} read above it. Large periods read content: at
  P = {period} an image without any checkerboard ("{content}") reads {most:.3f} σ.
- It is blind to artifacts that are not periodic, and to blocks: an image upsampled ×2 by repeating pixels reads
  {nearest:+.3f} σ.
- Without a target, texture within one bin of a grid line counts as checkerboard. With one, take the score of the
  residual.
"""


def write_page(
    study: Study, checks: Sequence[Check], settings: StudySettings, environment: Mapping[str, Any], command: str
) -> str:
    """Write the page.

    Parameters
    ----------
    study : Study
        What was measured.
    checks : sequence of Check
        What was judged.
    settings : StudySettings
        How much was measured.
    environment : mapping
        From `collect_environment`, and ``scikit_image_version``.
    command : str
        That makes it again.

    Returns
    -------
    str
        Markdown.
    """
    met = sum(check.is_met for check in checks)
    return "\n".join(
        [
            _INTRODUCTION,
            "![Every score on the same changes](scores.png)\n",
            f"## What it must meet: {met} of {len(checks)} lines met\n",
            _tabulate(
                ("line", "required", "worst measured", "met", "where"),
                [
                    (check.line, check.required, check.measured, "yes" if check.is_met else "**no**", check.where)
                    for check in checks
                ],
            ),
            "\n## Calibration\n",
            "![Planted against measured](calibration.png)\n",
            "Pooled error in % of what was planted, in brackets the range of single images; for 0 the pooled "
            "reading in σ.\n",
            _tabulate_calibration(study.calibration),
            "",
            _SCORES.format(rms=CHANGE_RMS, table=_tabulate_scores(study.alternatives)),
            _describe_limits(study),
            _describe_provenance(settings, environment, command),
        ]
    )


def _tabulate(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _tabulate_calibration(calibration: pd.DataFrame) -> str:
    amplitudes = sorted(calibration["planted"].unique())
    cells: dict[tuple[str, int], list[Row]] = {}
    for row in list_rows(summarise_calibration(calibration, "content")):
        cells.setdefault((row["content"], row["period"]), []).append(row)
    rows = [
        (content, str(period), f"{found[0]['detection_level']:.4f}", *map(_write_cell, found))
        for (content, period), found in cells.items()
    ]
    return _tabulate(("content", "period", "detection level, σ", *(f"{a:g} σ" for a in amplitudes)), rows)


def _write_cell(row: Row) -> str:
    planted = row["planted"]
    if planted == 0:
        return f"{row['pooled']:+.4f} σ"
    if row["pooled"] <= row["detection_level"]:
        return "< level"
    pooled, low, high = (100 * (row[name] / planted - 1) for name in ("pooled", "low", "high"))
    return f"{pooled:+.1f} [{low:+.0f}, {high:+.0f}]"


def _tabulate_scores(alternatives: pd.DataFrame) -> str:
    cells: dict[str, dict[str, str]] = {}
    for row in list_rows(summarise_scores(alternatives)):
        text = f"{100 * row['reading']:.0f} [{100 * row['low']:.0f}, {100 * row['high']:.0f}]"
        cells.setdefault(row["change"], {})[row["score"]] = text
    rows = [
        (change.replace("_", " "), *(found[score] for score in _SCORE_NAMES)) for change, found in cells.items()
    ]
    return _tabulate(("change", *_SCORE_NAMES.values()), rows)


def _describe_limits(study: Study) -> str:
    calibration, invariances = study.calibration, study.invariances
    # a photograph without a pattern is the same for every seed
    clean = calibration[calibration["planted"] == 0].drop_duplicates(["content", "period", "measured"])
    most = max(list_rows(clean[clean["period"] == PERIODS[-1]]), key=lambda row: float(row["measured"]))
    nearest = invariances.loc[invariances["property"] == "nearest", "measured"]
    return _LIMITS.format(
        clean=len(clean),
        alarms=int((clean["measured"] > clean["detection_level"]).sum()),
        period=PERIODS[-1],
        content=most["content"],
        most=most["measured"],
        nearest=pool_amplitudes(nearest),
    )


def _describe_provenance(settings: StudySettings, environment: Mapping[str, Any], command: str) -> str:
    packages = environment["packages"]
    facts = [
        f"Command: `{command}`",
        f"Seeds 0 to {settings.seeds - 1}; drawn images of {settings.size} × {settings.size} pixels",
        f"Photographs in the wheel of scikit-image: {', '.join(settings.photographs)}; whole for the calibration, "
        "squares cut out of them for the other scores",
        f"deconvbench {environment['code_version']}, Python {environment['python_version']}, "
        + ", ".join(f"{name} {packages[name]}" for name in ("torch", "numpy", "scipy", "pandas"))
        + f", scikit-image {environment['scikit_image_version']}",
        f"{environment['cpu']}, machine {environment['machine_id']}; `run.json` has the whole record",
        "`calibration.csv`, `invariances.csv`, `rivals.csv`: every single reading; `checks.csv`: the lines above",
    ]
    return "\n".join(["## How it was made", "", *(f"- {fact}" for fact in facts), ""])
