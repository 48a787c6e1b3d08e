"""The whole study as a list of jobs that become three tidy frames.

Everything is drawn from the seed of its row, so a row can be made again alone. What is good enough is
decided in `checks`.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pandas as pd

from deconvbench.arguments import check_whole
from deconvbench.errors import UsageError
from deconvbench.progress import PartDone, PartObserver
from deconvbench.studies.validation.calibration import PERIODS, Row, calibrate
from deconvbench.studies.validation.images import (
    CONTENTS,
    PHOTOGRAPHS,
    draw_content,
    draw_crop,
    load_photograph,
    make_rng,
)
from deconvbench.studies.validation.invariances import measure_invariances
from deconvbench.studies.validation.scores import CleanImages, add_readings, compare_scores

PHOTOGRAPH_KIND = "photographs"
_MOST_SEEDS = 1000
_MIN_SIZE = 128  # below this the patches are too small for period 8


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySettings:
    """How much is measured.

    Parameters
    ----------
    seeds : int
        Images of each drawn content, and patterns planted on each photograph.
    size : int
        Side of the drawn images, in pixels.
    photographs : tuple of str
        Which of the photographs in scikit-image's wheel, at least one.

    Raises
    ------
    UsageError
        If there is no seed, more than 1,000, or no photograph, or the images are too small for period 8.
    """

    seeds: int = 12
    size: int = 256
    photographs: tuple[str, ...] = PHOTOGRAPHS

    def __post_init__(self) -> None:
        check_whole("seeds", self.seeds, 1, _MOST_SEEDS)
        if not self.photographs:
            raise UsageError("photographs: is empty; at least one is needed")
        if self.size < _MIN_SIZE:
            raise UsageError(f"size: {self.size} is below {_MIN_SIZE}, too small for period {max(PERIODS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A part of the study.

    Parameters
    ----------
    frame : str
        ``calibration``, ``invariances`` or ``rivals``: where its rows belong.
    title : str
        What it looks at, for a person who waits.
    measure : callable
        Gives its rows.
    """

    frame: str
    title: str
    measure: Callable[[], list[Row]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """All that was measured, one row for each reading; amplitudes in units of the content's deviation σ.

    Parameters
    ----------
    calibration : DataFrame
        ``kind, content, period, planted, seed, measured, detection_level``.
    invariances : DataFrame
        ``property, case, content, period, planted, seed, measured``.
    alternatives : DataFrame
        ``kind, content, seed, change, has_checkerboard, score, value, unit, amplitude, reading``: `value` as the
        score gives it, `amplitude` in σ, `reading` as a share of the score's own mean on the plain checkerboard.
    """

    calibration: pd.DataFrame
    invariances: pd.DataFrame
    alternatives: pd.DataFrame


def run_study(settings: StudySettings, observer: PartObserver = lambda _: None) -> Study:
    """Measure everything.

    Parameters
    ----------
    settings : StudySettings
        How much.
    observer : callable
        Receives each job done.

    Returns
    -------
    Study
    """
    rows: dict[str, list[Row]] = {"calibration": [], "invariances": [], "rivals": []}
    jobs = list(list_jobs(settings))
    for done, job in enumerate(jobs, start=1):
        rows[job.frame] += job.measure()
        observer(PartDone(done=done, total=len(jobs), title=job.title))
    frames = {name: pd.DataFrame(found) for name, found in rows.items()}
    return Study(
        calibration=frames["calibration"],
        invariances=frames["invariances"],
        alternatives=add_readings(frames["rivals"]),
    )


def list_jobs(settings: StudySettings) -> Iterator[Job]:
    """List the parts of the study; nothing is drawn before a job is done.

    Parameters
    ----------
    settings : StudySettings
        How much is measured.

    Yields
    ------
    Job
        In the order in which to do them.
    """
    seeds, size = range(settings.seeds), settings.size
    for content, seed in itertools.product(CONTENTS, seeds):
        measure = partial(calibrate, content, content, seed, partial(draw_content, content, seed, size))
        yield Job(frame="calibration", title=f"calibration on {content}, seed {seed}", measure=measure)
    for name, seed in itertools.product(settings.photographs, seeds):
        measure = partial(calibrate, PHOTOGRAPH_KIND, name, seed, partial(load_photograph, name))
        yield Job(frame="calibration", title=f"calibration on {name}, seed {seed}", measure=measure)
    for seed in seeds:
        measure = partial(measure_invariances, seed, size)
        yield Job(frame="invariances", title=f"invariances, seed {seed}", measure=measure)
    for content in CONTENTS:
        measure = partial(compare_scores, content, partial(_draw_contents, content, settings))
        yield Job(frame="rivals", title=f"scores on {content}", measure=measure)
    measure = partial(compare_scores, PHOTOGRAPH_KIND, partial(_draw_crops, settings))
    yield Job(frame="rivals", title=f"scores on {PHOTOGRAPH_KIND}", measure=measure)


def _draw_contents(content: str, settings: StudySettings) -> CleanImages:
    return {(content, seed): draw_content(content, seed, settings.size) for seed in range(settings.seeds)}


def _draw_crops(settings: StudySettings) -> CleanImages:
    """Cut as many squares as there are seeds, out of one photograph after another."""
    names = zip(range(settings.seeds), itertools.cycle(settings.photographs), strict=False)
    return {
        (name, seed): draw_crop(make_rng(seed, name), load_photograph(name), settings.size) for seed, name in names
    }
