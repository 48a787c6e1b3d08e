"""A network's ripple in levels, with or without equal phase gains at some of its sites."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from deconvbench.errors import UsageError
from deconvbench.measure.artifacts.spectrum import CheckerboardResult, checkerboard
from deconvbench.networks.inspection.inputs import OutputRange
from deconvbench.networks.inspection.norms import Statistics
from deconvbench.networks.inspection.periodic import PeriodicPart, read_periodic
from deconvbench.networks.inspection.running import Runner
from deconvbench.networks.inspection.sites import TracedSite
from deconvbench.networks.inspection.tracing import Watcher
from deconvbench.networks.inspection.views import Views, pick


class Meter:
    """Measures a network's ripple, with or without equal gains at some of its sites.

    Parameters
    ----------
    runner : Runner
        Runs it.
    views : Views
        What it is shown.
    output_range : OutputRange
        For levels.
    """

    def __init__(self, runner: Runner, views: Views, output_range: OutputRange) -> None:
        self._runner = runner
        self._views = views
        self._unit = output_range.levels_per_unit
        self._norms: list[Statistics] = []

    def measure_flat(self) -> list[PeriodicPart]:
        """Measure each plain colour, in levels; none where the output is too small or not finite."""
        recorders = [self._runner.record() for _ in self._views.flat]
        pairs = zip(self._views.flat, recorders, strict=True)
        found = [self._measure_colour(example, recorder) for example, recorder in pairs]
        self._norms = [recorder.statistics for recorder in recorders]
        parts = [part for part in found if part is not None]
        return parts if len(parts) == len(found) else []

    def measure_equal(self, sites: Sequence[TracedSite], colour: int) -> PeriodicPart | None:
        """Measure one plain colour with equal gains at some sites, and norms as they were without."""
        replayer = self._runner.replay(self._norms[colour])
        return self._measure_colour(self._views.flat[colour], replayer, self._runner.equalise(sites))

    def _measure_colour(self, example: Any, *watchers: Watcher) -> PeriodicPart | None:
        y = self.to_levels(pick(self._runner.run(example, *watchers), self._views.output))
        if not bool(y.isfinite().all()):
            return None
        return read_periodic(y, self._views.period, y.ndim - 2, self._views.parts)

    def to_levels(self, output: Tensor) -> Tensor:
        """Convert an output to levels, float64, on the CPU."""
        return self._unit * output.double().cpu()

    def run_real(self, sites: Sequence[TracedSite], norms: Sequence[Statistics]) -> list[Tensor]:
        """Run the first few images with equal gains at some sites and norms as they were without, in levels."""
        shown = [
            self._runner.run(example, self._runner.replay(statistics), self._runner.equalise(sites))
            for example, statistics in zip(self._views.real, norms, strict=False)
        ]
        return [self.to_levels(pick(one, self._views.output)) for one in shown]

    def score(self, images: Sequence[Tensor]) -> CheckerboardResult | None:
        """Score images as large as the first, at the largest period that they have room for; None if for none."""
        period = self._views.period
        if not images or images[0].ndim != 4 or not all(bool(image.isfinite().all()) for image in images):
            return None
        for part in (period // one for one in range(1, period // 2 + 1) if period % one == 0):
            try:
                return checkerboard(torch.cat([one for one in images if one.shape == images[0].shape]), part)
            except UsageError:  # too large a period, or too small an image
                continue
        return None
