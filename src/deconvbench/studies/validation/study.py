"""The whole study as a list of jobs that become three tidy frames.

Everything is drawn from the seed of its row, so a row can be made again alone. What is good enough is
decided in `checks`.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from deconvbench.arguments import check_whole
from deconvbench.errors import UsageError
from deconvbench.progress import PartDone, PartObserver
from deconvbench.studies.validation.calibration import PERIODS, Row, calibrate
from deconvbench.studies.validation.flat_fields import measure_flat_fields
from deconvbench.studies.validation.images import CONTENTS, Image, draw_content, make_rng
from deconvbench.studies.validation.invariances import measure_invariances
from deconvbench.studies.validation.lookalikes import read_lookalikes, read_pages
from deconvbench.studies.validation.photographs import (
    LARGE_CROP_PX,
    PHOTOGRAPHS,
    PhotographSet,
    cut_middle,
    draw_crop,
    list_bundled,
    list_own,
    plan_crops,
    spread_places,
    to_grey,
)
from deconvbench.studies.validation.rates import LARGE_PERIOD, RATE_PERIODS, measure_rates
from deconvbench.studies.validation.scores import CleanImages, add_readings, compare_scores
from deconvbench.studies.validation.separation import measure_separation

PHOTOGRAPH_KIND = "photographs"
_MOST_SEEDS = 1000
_MIN_SIZE = 128  # below this the patches are too small for period 8
_CROPS_PER_SEED = 200 / 12
# drawn images of each kind, of the squares of photographs; large squares, of which few are at hand
_DRAWN_SHARE, _LARGE_SHARE = 0.25, 0.25
# of a photograph that a calibration curve is drawn on, in pixels
_MOST_PX = 512
# photographs that pictures are made of to be mistaken
_MOST_LOOKALIKES = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySettings:
    """How much is measured.

    Parameters
    ----------
    seeds : int
        Images of each drawn content, and patterns planted on each photograph.
    crops : int
        Squares of photographs for the rates and the separation; of each drawn content a quarter as many images.
    size : int
        Side of the drawn images, in pixels.
    photographs : tuple of str
        Which of the photographs in scikit-image's wheel calibration curves are drawn on, at least one.
    images : str or None
        A folder of photographs to use in place of scikit-image's.

    Raises
    ------
    UsageError
        If there is no seed, more than 1,000, no square or no photograph, or the images are too small for period 8.
    """

    seeds: int = 12
    crops: int = 200
    size: int = 256
    photographs: tuple[str, ...] = PHOTOGRAPHS
    images: str | None = None

    def __post_init__(self) -> None:
        check_whole("seeds", self.seeds, 1, _MOST_SEEDS)
        check_whole("crops", self.crops, 1)
        if not self.photographs:
            raise UsageError("photographs: is empty; at least one is needed")
        if self.size < _MIN_SIZE:
            raise UsageError(f"size: {self.size} is below {_MIN_SIZE}, too small for period {max(PERIODS)}")

    @classmethod
    def from_seeds(cls, seeds: int, images: str | None = None) -> "StudySettings":
        """Measure as much of everything as suits a number of seeds: 12 seeds make 200 squares of photographs.

        Parameters
        ----------
        seeds : int
            At least 1.
        images : str or None
            A folder of photographs to use in place of scikit-image's.
        """
        check_whole("seeds", seeds, 1, _MOST_SEEDS)
        return cls(seeds=seeds, crops=round(_CROPS_PER_SEED * seeds), images=images)


FRAMES = ("calibration", "invariances", "rivals", "rates", "separation", "lookalikes", "flat_fields")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A part of the study.

    Parameters
    ----------
    frame : str
        Where its rows belong: one of `FRAMES`.
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
    photographs : PhotographSet
        What the photographs were.
    calibration : DataFrame
        ``kind, content, period, planted, seed, measured, detection_level``.
    invariances : DataFrame
        ``property, case, content, period, planted, seed, measured``.
    alternatives : DataFrame
        ``kind, content, seed, change, has_checkerboard, score, value, unit, amplitude, reading``: `value` as the
        score gives it, `amplitude` in σ, `reading` as a share of the score's own mean on the plain checkerboard.
    rates : DataFrame
        From `measure_rates`.
    separation : DataFrame
        From `measure_separation`.
    lookalikes : DataFrame
        From `read_lookalikes` and `read_pages`.
    flat_fields : DataFrame
        From `measure_flat_fields`.
    """

    photographs: PhotographSet
    calibration: pd.DataFrame
    invariances: pd.DataFrame
    alternatives: pd.DataFrame
    rates: pd.DataFrame
    separation: pd.DataFrame
    lookalikes: pd.DataFrame
    flat_fields: pd.DataFrame


def run_study(
    settings: StudySettings, photographs: PhotographSet, observer: PartObserver = lambda _: None
) -> Study:
    """Measure everything.

    Parameters
    ----------
    settings : StudySettings
        How much.
    photographs : PhotographSet
        From `list_photographs`.
    observer : callable
        Receives each job done.

    Returns
    -------
    Study
    """
    rows: dict[str, list[Row]] = {name: [] for name in FRAMES}
    jobs = list(list_jobs(settings, photographs))
    for done, job in enumerate(jobs, start=1):
        rows[job.frame] += job.measure()
        observer(PartDone(done=done, total=len(jobs), title=job.title))
    frames = {name: pd.DataFrame(found) for name, found in rows.items()}
    alternatives = add_readings(frames.pop("rivals"))
    return Study(photographs=photographs, alternatives=alternatives, **frames)


def list_photographs(settings: StudySettings, observer: PartObserver = lambda _: None) -> PhotographSet:
    """List the photographs of the study, those of a folder after a look at every file.

    Parameters
    ----------
    settings : StudySettings
        Which.
    observer : callable
        Receives each file of a folder, with a note where it is left out.

    Returns
    -------
    PhotographSet

    Raises
    ------
    UsageError
        If there is no such folder or photograph, or no image in the folder that can be used.
    """
    if settings.images is None:
        return list_bundled(settings.photographs)
    return list_own(Path(settings.images), observer)


def list_jobs(settings: StudySettings, photographs: PhotographSet) -> Iterator[Job]:
    """List the parts of the study; nothing is drawn before a job is done.

    Parameters
    ----------
    settings : StudySettings
        How much is measured.
    photographs : PhotographSet
        From `list_photographs`.

    Yields
    ------
    Job
        In the order in which to do them.
    """
    seeds, size = range(settings.seeds), settings.size
    for content, seed in itertools.product(CONTENTS, seeds):
        measure = partial(calibrate, content, content, seed, partial(draw_content, content, seed, size))
        yield Job(frame="calibration", title=f"calibration on {content}, seed {seed}", measure=measure)
    for name, seed in itertools.product(photographs.whole, seeds):
        measure = partial(calibrate, PHOTOGRAPH_KIND, name, seed, partial(_read_middle, photographs, name))
        yield Job(frame="calibration", title=f"calibration on {name}, seed {seed}", measure=measure)
    for seed in seeds:
        measure = partial(measure_invariances, seed, size)
        yield Job(frame="invariances", title=f"invariances, seed {seed}", measure=measure)
    for content in CONTENTS:
        measure = partial(compare_scores, content, partial(_draw_contents, content, seeds, size))
        yield Job(frame="rivals", title=f"scores on {content}", measure=measure)
    measure = partial(compare_scores, PHOTOGRAPH_KIND, partial(_draw_crops, settings, photographs))
    yield Job(frame="rivals", title=f"scores on {PHOTOGRAPH_KIND}", measure=measure)
    yield from _list_rates(settings, photographs)
    for plan in plan_crops(photographs.photographs, settings.crops):
        measure = partial(measure_separation, plan.scale, plan.cut)
        title = f"separation on {plan.photograph.name}, {plan.scale} scale"
        yield Job(frame="separation", title=title, measure=measure)
    for place in spread_places(len(photographs.photographs), _MOST_LOOKALIKES):
        photograph = photographs.photographs[place]
        measure = partial(read_lookalikes, photograph)
        yield Job(frame="lookalikes", title=f"pictures made of {photograph.name}", measure=measure)
    yield Job(frame="lookalikes", title="pages of text", measure=read_pages)
    for seed in seeds:
        measure = partial(measure_flat_fields, seed)
        yield Job(frame="flat_fields", title=f"flat fields, seed {seed}", measure=measure)


def _list_rates(settings: StudySettings, photographs: PhotographSet) -> Iterator[Job]:
    """List the rates on photographs and drawn images, for the periods of all images and for that of large ones."""
    for is_large, periods in ((False, RATE_PERIODS), (True, (LARGE_PERIOD,))):
        crops = round(settings.crops * (_LARGE_SHARE if is_large else 1))
        about = f"rates at period {LARGE_PERIOD}" if is_large else "rates"
        for plan in plan_crops(photographs.photographs, crops, large=is_large):
            measure = partial(measure_rates, PHOTOGRAPH_KIND, plan.scale, plan.cut, periods)
            title = f"{about} on {plan.photograph.name}, {plan.scale} scale"
            yield Job(frame="rates", title=title, measure=measure)
        size = LARGE_CROP_PX if is_large else settings.size
        for content, seed in itertools.product(CONTENTS, range(max(1, round(crops * _DRAWN_SHARE)))):
            draw = partial(_draw_contents, content, [seed], size)
            measure = partial(measure_rates, content, "drawn", draw, periods)
            yield Job(frame="rates", title=f"{about} on {content}, seed {seed}", measure=measure)


def _read_middle(photographs: PhotographSet, name: str) -> Image:
    return cut_middle(to_grey(photographs.find(name).read()), _MOST_PX)


def _draw_contents(content: str, seeds: Iterable[int], size: int) -> CleanImages:
    return {(content, seed): draw_content(content, seed, size) for seed in seeds}


def _draw_crops(settings: StudySettings, photographs: PhotographSet) -> CleanImages:
    """Cut as many squares as there are seeds, out of one photograph after another."""
    names = zip(range(settings.seeds), itertools.cycle(photographs.whole), strict=False)
    return {
        (name, seed): draw_crop(make_rng(seed, name), to_grey(photographs.find(name).read()), settings.size)
        for seed, name in names
    }
