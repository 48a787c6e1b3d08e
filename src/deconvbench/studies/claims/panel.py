"""The runs of one trained network: seeds × images, and the estimates that claims make of them.

A checkerboard's amplitude is the signed root of an excess power, so powers are averaged and the root taken last.
All estimates of a panel share their resamples, which pairs them by seed and by image.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from deconvbench.records.schema import EFFECTIVE_RIPPLES, name_interval
from deconvbench.resampling import Resampled, resample_mean, root_signed, square_signed
from deconvbench.studies.claims.claim import Evidence

Row = Mapping[str, Any]

# 8-bit levels: differences between checkerboards that are smaller are less than half the smallest step between two
# greys. It is not a limit of detection: where an image is not flat, less than it survives rounding
HALF_LEVEL = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A training run that has ended.

    Parameters
    ----------
    row : mapping
        `TRAINED_DTYPES`; None where something is missing.
    curve : sequence of mapping
        `CURVE_DTYPES`, in order of steps.
    images : mapping of int to mapping of str to mapping
        By step and test image: `IMAGE_DTYPES`.
    """

    row: Row
    curve: Sequence[Row] = ()
    images: Mapping[int, Mapping[str, Row]] = field(default_factory=dict)

    @property
    def scored_images(self) -> frozenset[str]:
        """Test images on which the network was scored at its end; none in results that do not list them."""
        return frozenset(self.images.get(self.row["steps"], {}))

    def find_scores(self, step: int | None = None) -> Row | None:
        """Find what the network scored: at the end, or where it was logged at a step; None where it was not."""
        if step in (None, self.row["steps"]):
            return self.row
        return next((logged for logged in self.curve if logged["step"] == step), None)

    def find_effective_ripple(self) -> float | None:
        """Find the largest effective ripple of the network's upsamplers; None where none was measured."""
        known = [self.row[name] for name in EFFECTIVE_RIPPLES if self.row[name] is not None]
        return max(known, default=None)

    def find_floor(self, step: int | None = None) -> float | None:
        """Find the level that a checkerboard has to exceed to count as there.

        Parameters
        ----------
        step : int, optional
            Where it was logged; the end of the run by default.

        Returns
        -------
        float or None
            In 8-bit levels, the larger of what could be mistaken for it (the detection level) and what the targets
            have themselves. None where the network gave no finite output.
        """
        scores = self.find_scores(step)
        detection: float | None = None if scores is None else scores["detection_levels"]
        target: float | None = self.row["target_checkerboard_levels"]
        return None if detection is None or target is None else max(detection, target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Networks that were trained alike, seed by seed, for every layer that a claim compares.

    Parameters
    ----------
    seeds : sequence of tuple of Ended
        For each seed the run of each layer, in the claim's order.
    confidence : float
        Level of the intervals, between 0 and 1, which decides how many resamples are drawn.
    drawn : set of int
        Of the numbers that were laid out, on how many images each rests beside the seeds; 0 for seeds alone.
    """

    seeds: Sequence[tuple[Ended, ...]]
    confidence: float = 0.95
    drawn: set[int] = field(default_factory=set, compare=False, repr=False)

    @property
    def images(self) -> tuple[str, ...]:
        """Test images on which every run was scored at its end; none in results that do not list them."""
        names = [run.scored_images for seed in self.seeds for run in seed]
        return tuple(sorted(frozenset.intersection(*names))) if names else ()

    def _tabulate(self, place: int, column: str, step: int | None) -> list[list[float]] | None:
        """Values of each seed and image, or of each seed alone; None where one is missing or not finite."""
        moments = [
            (run, run.row["steps"] if step is None else step) for run in (seed[place] for seed in self.seeds)
        ]
        table = [
            [run.images[moment][name][column] for name in self.images if name in run.images.get(moment, {})]
            for run, moment in moments
        ]
        if not self.images or any(len(values) != len(self.images) for values in table):
            # not every run was scored image by image then
            scores = [run.find_scores(moment) for run, moment in moments]
            table = [[None if found is None else found[column]] for found in scores]
        is_known = all(value is not None and math.isfinite(value) for values in table for value in values)
        return table if is_known else None

    def find_levels(self, place: int = 0, step: int | None = None) -> Resampled | None:
        """Estimate the checkerboard of a layer in 8-bit levels, signed.

        Parameters
        ----------
        place : int
            Of the layer.
        step : int, optional
            Where it was logged; the end of the runs by default.

        Returns
        -------
        Resampled or None
            None where a seed has no such number.
        """
        table = self._tabulate(place, "checkerboard_levels", step)
        return None if table is None else self._resample(square_signed(table)).apply(root_signed)

    def find_part(self, place: int, column: str) -> Resampled | None:
        """Estimate a part of the checkerboard that is known for each seed: a column of amplitudes in levels.

        Parameters
        ----------
        place : int
            Of the layer.
        column : str
            Such as ``checkerboard_scale2_levels``.
        """
        found = self.estimate_mean(_square(seed[place].row[column]) for seed in self.seeds)
        return None if found is None else found.apply(root_signed)

    def find_column(self, place: int, column: str) -> Resampled | None:
        """Estimate the mean over seeds of a column of the results, of the networks of a layer."""
        return self.estimate_mean(seed[place].row[column] for seed in self.seeds)

    def find_psnr(self, place: int = 0) -> Resampled | None:
        """Estimate the mean PSNR of a layer's networks over the test images, in dB; see `find_levels`."""
        table = self._tabulate(place, "psnr_db", None)
        return None if table is None else self._resample(table)

    def estimate_mean(self, values: Iterable[float | None]) -> Resampled | None:
        """Estimate the mean of what is known for each seed as a whole; images are not drawn.

        Parameters
        ----------
        values : iterable of float or None
            One a seed, in order.

        Returns
        -------
        Resampled or None
            None where one is missing or not finite.
        """
        listed = list(values)
        known = [float(value) for value in listed if value is not None and math.isfinite(value)]
        return self._resample(known) if known and len(known) == len(listed) else None

    def _resample(self, values: ArrayLike) -> Resampled:
        return resample_mean(values, self.confidence)

    def find_floor(self, place: int = 0, step: int | None = None) -> Resampled | None:
        """Estimate the level that a layer's checkerboard has to exceed (`Ended.find_floor`)."""
        return self.estimate_mean(seed[place].find_floor(step) for seed in self.seeds)

    def find_excess(self, place: int = 0, step: int | None = None) -> Resampled | None:
        """Estimate how far a layer's checkerboard stands out of its floor: above 0 it is there."""
        return subtract(self.find_levels(place, step), self.find_floor(place, step))

    def put_presence(self, name: str, place: int = 0, step: int | None = None) -> Evidence:
        """Lay out a checkerboard with what decides whether it is there.

        Parameters
        ----------
        name : str
            Of the layer.
        place, step
            As for `find_levels`.

        Returns
        -------
        dict
            ``<name>_checkerboard_levels``, ``<name>_excess_levels`` with their intervals, ``<name>_floor_levels``.
        """
        floor = self.find_floor(place, step)
        return {
            **self.put(f"{name}_checkerboard_levels", self.find_levels(place, step)),
            **self.put(f"{name}_excess_levels", self.find_excess(place, step)),
            **({} if floor is None else {f"{name}_floor_levels": floor.value}),
        }

    def put(self, name: str, found: Resampled | None, confidence: float | None = None) -> dict[str, float | None]:
        """Lay out an estimate with its interval as evidence.

        Parameters
        ----------
        name : str
            What the number is, with its unit.
        found : Resampled or None
            The estimate.
        confidence : float, optional
            Level of the interval, at most that of the panel, which is the default.

        Returns
        -------
        dict
            Under the name, and under ``<name>_ci_low`` and ``<name>_ci_high``, None where seeds are too few for an
            interval; empty where there is no estimate.
        """
        if found is None or not math.isfinite(found.value):
            return {}
        self.drawn.add(found.images)
        ends = found.find_interval(self.confidence if confidence is None else confidence)
        known = (None if math.isnan(end) else end for end in ends)
        return {name: found.value, **dict(zip(name_interval(name), known, strict=True))}


def subtract(first: Resampled | None, other: Resampled | None) -> Resampled | None:
    """Subtract estimates of one panel; None where one is missing.

    Parameters
    ----------
    first, other : Resampled or None
        Any.
    """
    return None if first is None or other is None else first - other


def divide(over: Resampled | None, under: Resampled | None) -> Resampled | None:
    """Divide estimates of one panel; None where one is missing, or the lower one may be 0 or below.

    Parameters
    ----------
    over, under : Resampled or None
        Any.
    """
    if over is None or under is None or under.value <= 0 or not bool(np.all(under.draws > 0)):
        return None
    return over / under


def _square(value: float | None) -> float | None:
    return None if value is None else value * abs(value)
