"""The validation from start to end: measure, judge, draw, and only then write.

Nothing is written before everything is measured, and then all files together.
"""

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from deconvbench.errors import RunFolderError
from deconvbench.plots.calibration_curve import draw_calibration
from deconvbench.plots.detection_rates import draw_rates
from deconvbench.plots.gallery import encode_figures
from deconvbench.plots.validation_figure import PICTURE_DOTS, Pictures, draw_scores
from deconvbench.progress import PartObserver
from deconvbench.records.run_folder import JOURNAL_NAME, RUN_NAME, encode_run_info
from deconvbench.report.aligned_table import align_table
from deconvbench.runner.environment import collect_environment
from deconvbench.studies.validation.calibration import summarise_calibration
from deconvbench.studies.validation.checks import RATE_LIMITS, Check, check_study
from deconvbench.studies.validation.distortions import make_changes
from deconvbench.studies.validation.images import make_rng, normalise
from deconvbench.studies.validation.page import write_page
from deconvbench.studies.validation.photographs import list_bundled, to_grey
from deconvbench.studies.validation.rates import summarise_rates
from deconvbench.studies.validation.scores import CHANGE_RMS, summarise_scores
from deconvbench.studies.validation.study import Study, StudySettings, list_photographs, run_study
from deconvbench.studies.validation.tables import tabulate_rates
from deconvbench.system.paths import check_contents, check_path, make_absolute, make_folder
from deconvbench.system.writing import write_files
from deconvbench.tables.frames import encode_csv

PAGE_NAME = "README.md"
# what marks a folder as one of a validation
CHECKS_NAME = "checks.csv"
# a face with sky and coat beside it: rows and columns of the photograph `camera`
_PIECE = (slice(60, 316), slice(120, 376))
# within the piece: what is shown of the image, and a closer look with a border of regions in its middle
_SEEN = (slice(40, 40 + PICTURE_DOTS), slice(80, 80 + PICTURE_DOTS))
_CLOSE_PX = PICTURE_DOTS // 4
_CLOSE = (slice(64 - _CLOSE_PX // 2, 64 + _CLOSE_PX // 2 + 1),) * 2
# these show only from close by
_FINE = ("checkerboard", "sign_flips", "noise", "texture")


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """What `validate` leaves.

    Parameters
    ----------
    page : Path
        The page, ``README.md``.
    summary : str
        Tables of rates and checks, for a terminal.
    """

    page: Path
    summary: str


def validate(
    out_dir: Path,
    *,
    seeds: int = 12,
    images: Path | None = None,
    settings: StudySettings | None = None,
    observer: PartObserver = lambda _: None,
    command: str | None = None,
    force: bool = False,
) -> Validation:
    """Measure how well the checkerboard score is calibrated and how it compares with others; write what was found.

    Parameters
    ----------
    out_dir : Path
        Made if it is missing. Gets ``calibration.csv, invariances.csv, rivals.csv, rates.csv, separation.csv,
        lookalikes.csv, flat_fields.csv, checks.csv, rates.png, calibration.png, scores.png, run.json`` and
        ``README.md``; files of these names are replaced, others left alone.
    seeds : int
        Images of each drawn content for the calibration, at least 1; everything else in proportion.
    images : Path, optional
        Folder of photographs to use in place of scikit-image's.
    settings : StudySettings, optional
        Other sizes or photographs; then `seeds` and `images` do not count.
    observer : callable
        Receives each part done; `progress.show_steps` makes one that writes to a stream.
    command : str, optional
        That the page names as what makes it again.
    force : bool
        Write into a folder that holds files of others too.

    Returns
    -------
    Validation
        Where the page is, and what it says in short.

    Raises
    ------
    UsageError
        If `seeds` is below 1, `images` is no folder or has no image that can be used, or `out_dir` is a file,
        holds a run, or holds files of others and `force` is false.
    SurroundingsError
        If the folder cannot be written, or scikit-image lacks a photograph.
    """
    settings = settings or StudySettings.from_seeds(seeds, None if images is None else str(images))
    # the folder first: a study for nothing would be a pity
    folder = make_absolute(check_path(out_dir, "--out"))
    check_contents(out_dir, [CHECKS_NAME], force=force)
    if (folder / JOURNAL_NAME).exists():
        raise RunFolderError(f"--out: {str(out_dir)!r} holds a run; name another folder")
    photographs = list_photographs(settings, observer)
    make_folder(out_dir, "--out")
    study = run_study(settings, photographs, observer)
    checks = check_study(study)
    heading = f"Every change has the same RMS, {CHANGE_RMS:g} σ; only the first two are checkerboards"
    pictures = encode_figures(
        {
            "rates": draw_rates(summarise_rates(study.rates), RATE_LIMITS),
            "calibration": draw_calibration(summarise_calibration(study.calibration)),
            "scores": draw_scores(summarise_scores(study.alternatives), make_pictures(), heading),
        }
    )
    environment = {**collect_environment(), "scikit_image_version": version("scikit-image")}
    command = command or _name_command(out_dir, settings)
    page = write_page(study, checks, settings, environment, command)
    frames = {
        "calibration.csv": study.calibration,
        "invariances.csv": study.invariances,
        "rivals.csv": study.alternatives,
        "rates.csv": study.rates,
        "separation.csv": study.separation,
        "lookalikes.csv": study.lookalikes,
        "flat_fields.csv": study.flat_fields,
        CHECKS_NAME: pd.DataFrame([asdict(check) for check in checks]),
    }
    info = {
        "kind": "validation",
        "command": command,
        "settings": asdict(settings),
        "photographs": [photograph.name for photograph in photographs.photographs],
        "left_out": list(photographs.left_out),
        "environment": environment,
    }
    files = {
        **{name: encode_csv(frame, float_format="%.6g") for name, frame in frames.items()},
        **{f"{name}.png": picture for name, picture in pictures.items()},
        RUN_NAME: encode_run_info(info),
        PAGE_NAME: page.encode(),
    }
    write_files(folder, files)
    return Validation(page=out_dir / PAGE_NAME, summary=format_summary(study, checks))


def _name_command(out_dir: Path, settings: StudySettings) -> str:
    words = ["deconvbench", "validate", "--out", str(out_dir), "--seeds", str(settings.seeds)]
    return shlex.join([*words, *(["--images", settings.images] if settings.images is not None else [])])


def format_summary(study: Study, checks: Sequence[Check]) -> str:
    """Lay the rates and the checks out for a terminal, as Markdown too.

    Parameters
    ----------
    study : Study
        What was measured.
    checks : sequence of Check
        What was judged.
    """
    rows = [
        ("line", "required", "worst measured", "met"),
        *((check.line, check.required, check.measured, "met" if check.is_met else "NOT MET") for check in checks),
    ]
    met = sum(check.is_met for check in checks)
    return "\n".join(
        [
            *align_table(tabulate_rates(study.rates)),
            "",
            *align_table(rows),
            "",
            f"{met} of {len(checks)} lines met.",
        ]
    )


def make_pictures() -> dict[str, Pictures]:
    """Change a piece of a photograph in every way, to be looked at beside the readings.

    Returns
    -------
    dict of str to Pictures
        By change.
    """
    clean = normalise(to_grey(list_bundled().find("camera").read())[_PIECE])
    changed = make_changes(clean, make_rng(0, "pictures"), CHANGE_RMS)
    return {
        name: Pictures(
            image=image[_SEEN], change=((image - clean) / CHANGE_RMS)[_CLOSE if name in _FINE else _SEEN]
        )
        for name, image in changed.items()
    }
