"""The validation as a page of Markdown: tables of numbers, each with what it was required to be."""

from collections.abc import Mapping, Sequence
from typing import Any

from deconvbench.studies.validation.calibration import PERIODS, pool_amplitudes
from deconvbench.studies.validation.checks import Check, list_rows
from deconvbench.studies.validation.photographs import SCIKIT_IMAGE, PhotographSet
from deconvbench.studies.validation.rates import NOMINAL_RATE
from deconvbench.studies.validation.scores import CHANGE_RMS
from deconvbench.studies.validation.study import PHOTOGRAPH_KIND, Study, StudySettings
from deconvbench.studies.validation.tables import (
    Table,
    tabulate_calibration,
    tabulate_checks,
    tabulate_flat_fields,
    tabulate_lookalikes,
    tabulate_rates,
    tabulate_scores,
    tabulate_separation,
)
from deconvbench.system.texts import escape_markdown

_INTRODUCTION = """\
# Validation of the checkerboard score

How well `deconvbench.measure.artifacts.checkerboard` reads a checkerboard of known amplitude, what it does not
mistake for one, and what other scores read on the same images. σ is the standard deviation of the content; every
image has σ = 1. "Pooled" is the average over images as the score averages over a batch, by signed squares.
"""
_RATES = """\
## False alarms and detections

![False alarms and detections](rates.png)

A reading above the *detection level* counts as found; that level is set to hold on photographs. The *noise level*
is the scatter of the spectrum alone, which holds on noise that is drawn. Nominal for both is {nominal:.1f} % of
the images without a pattern. On each image random patterns of 1, 2 and 3 of its own detection levels are planted.
Squares of photographs are at their own scale and at half of it; levels are medians. At period 32 the images have
512 pixels a side, elsewhere 256 (192 at half scale).

{table}

Squares of one photograph overlap and are not independent: {alarms} of these readings above the detection level on
photographs without a pattern come from {contents} of {photographs} photographs. Where photographs were kept as
JPEG, a reading at period 8 may be their own blocks.
"""
_SEPARATION = """\
## Telling planted photographs from clean ones

The chance that a planted square reads higher than a clean one (area under the curve): .5 is a coin, 1 is perfect.
No score has a reference here. "Sign flips": the pattern has a random sign in each region of 64 × 64 pixels, as
that of a network has whose features change.

{table}

- *Phase means of the Laplacian*: high-pass first, then the deviation of the P×P phase means. It loses a pattern
  whose sign flips, and has no level that tells when to believe it.
- *Azimuthal spectrum*, *grid rings*: as below, but without a clean image to subtract.
- *NPR* (neighbouring pixel relationships; Tan et al., CVPR 2024, arXiv:2312.10461): the RMS of x − up(down(x)),
  nearest, factor 2. The paper trains a classifier on that residual; untrained it is the detail of the image.
"""
_LOOKALIKES = """\
## What else is read as a grid

Pictures that no learned upsampler has touched, made of the middle of each photograph or of text. A reading above
the level here is not a network's checkerboard, though where pixels do repeat (dithering by a matrix, blocks) there
is a grid to be read. "As it is" has the photographs themselves. The last column is what `block_edge` finds, which
looks for steps of random sign at the edges of blocks (from 4 pixels): it tells blocks from a checkerboard.

{table}
"""
_FLAT_FIELDS = """\
## Energy off zero frequency behind a flat field

A score of layers: the share of energy that is not at zero frequency where plain colours went in (random weights,
16 channels to 3). Of the whole output, as a plain spectrum is taken, it counts the border that zero padding
leaves, and does not tell resize-convolution from a faint checkerboard; of the middle alone it is the ripple. The
checkerboard score of the whole output, squared and as a share of its energy, is set beside it. It needs the
network, and says nothing of a picture.

{table}
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

- An amplitude below the detection level counts as none: print `< level`. Large periods read content: at
  P = {period} an image without any checkerboard ("{content}") reads {most:.3f} σ.
- It is blind to artifacts that are not periodic, and to most blocks: a drawn image upsampled ×2 by repeating
  pixels reads {nearest:+.3f} σ; photographs are in the table of what else is read as a grid.
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
            write_table(tabulate_checks(checks)),
            "",
            _describe_rates(study),
            _SEPARATION.format(table=write_table(tabulate_separation(study.separation))),
            _LOOKALIKES.format(table=write_table(tabulate_lookalikes(study.lookalikes))),
            "## Calibration\n",
            "![Planted against measured](calibration.png)\n",
            "Pooled error in % of what was planted, in brackets the range of single images; for 0 the pooled "
            "reading in σ.\n",
            write_table(tabulate_calibration(study.calibration)),
            "",
            _SCORES.format(rms=CHANGE_RMS, table=write_table(tabulate_scores(study.alternatives))),
            _FLAT_FIELDS.format(table=write_table(tabulate_flat_fields(study.flat_fields))),
            _describe_limits(study),
            _describe_provenance(study, settings, environment, command),
        ]
    )


def write_table(table: Table) -> str:
    """Write a table as Markdown.

    Parameters
    ----------
    table : list of tuple of str
        The head first.
    """
    head, *rows = table
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *rows))


def _describe_rates(study: Study) -> str:
    rates = study.rates
    clean = rates[(rates["multiple"] == 0) & (rates["kind"] == PHOTOGRAPH_KIND)]
    above = clean[clean["measured"] > clean["detection_level"]]
    return _RATES.format(
        nominal=100 * NOMINAL_RATE,
        table=write_table(tabulate_rates(rates)),
        alarms=len(above),
        contents=above["content"].nunique(),
        photographs=clean["content"].nunique(),
    )


def _describe_limits(study: Study) -> str:
    calibration, invariances = study.calibration, study.invariances
    clean = calibration[(calibration["planted"] == 0) & (calibration["period"] == PERIODS[-1])]
    most = max(list_rows(clean), key=lambda row: float(row["measured"]))
    nearest = invariances.loc[invariances["property"] == "nearest", "measured"]
    return _LIMITS.format(
        period=PERIODS[-1],
        content=most["content"],
        most=most["measured"],
        nearest=pool_amplitudes(nearest),
    )


def _describe_provenance(
    study: Study, settings: StudySettings, environment: Mapping[str, Any], command: str
) -> str:
    packages = environment["packages"]
    facts = [
        f"Command: `{command}`",
        f"Seeds 0 to {settings.seeds - 1}; drawn images of {settings.size} × {settings.size} pixels",
        _describe_photographs(study.photographs),
        f"{settings.crops} squares of photographs for the rates and the separation, a quarter as many drawn "
        "images of each content; a quarter of both at period 32",
        f"deconvbench {environment['code_version']}, Python {environment['python_version']}, "
        + ", ".join(f"{name} {packages[name]}" for name in ("torch", "numpy", "scipy", "pandas"))
        + f", scikit-image {environment['scikit_image_version']}",
        f"{environment['cpu']}, machine {environment['machine_id']}; `run.json` has the whole record",
        "`calibration.csv`, `invariances.csv`, `rivals.csv`, `rates.csv`, `separation.csv`, `lookalikes.csv`, "
        "`flat_fields.csv`: every single reading; `checks.csv`: the lines above",
    ]
    return "\n".join(["## How it was made", "", *(f"- {fact}" for fact in facts), ""])


def _describe_photographs(photographs: PhotographSet) -> str:
    names = [photograph.name for photograph in photographs.photographs]
    whole = ", ".join(map(escape_markdown, photographs.whole))
    if photographs.source == SCIKIT_IMAGE:
        return (
            f"Photographs in the wheel of scikit-image: {', '.join(names)}; {whole} for the calibration, and "
            "squares cut out of them for the other scores"
        )
    left_out = f", {len(photographs.left_out)} left out" if photographs.left_out else ""
    return (
        f"Photographs: {len(names)} images of {escape_markdown(photographs.source)}{left_out}; {whole} for the "
        "calibration (at most 512 × 512 pixels), and squares cut out of them for the other scores"
    )
