"""A network's ripple in levels, with or without equal phase gains at some of its sites."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from deconvbench.errors import UsageError
from deconvbench.measure.artifacts.last_activation import CallWatch
from deconvbench.measure.artifacts.spectrum import CheckerboardResult, checkerboard
from deconvbench.networks.inspection.inputs import OutputRange
from deconvbench.networks.inspection.norms import Statistics
from deconvbench.networks.inspection.periodic import PeriodicPart, read_periodic
from deconvbench.networks.inspection.running import Runner
from deconvbench.networks.inspection.sites import TracedSite
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

    Attributes
    ----------
    views : Views
        As given.
    outputs : list of Tensor
        For each plain colour, in levels.
    befores : list of Tensor or None
        What the last activation was given for each, if that was asked for.
    """

    def __init__(self, runner: Runner, views: Views, output_range: OutputRange) -> None:
        self._runner = runner
        self.views = views
        self._unit = output_range.levels_per_unit
        self._norms: list[Statistics] = []
        self.outputs: list[Tensor] = []
        self.befores: list[Tensor | None] = []

    @property
    def is_finite(self) -> bool:
        """Whether all outputs for plain colours are."""
        return all(bool(one.isfinite().all()) for one in self.outputs)

    def measure_flat(self, ending: int | None = None, most_aperiodic: float = math.inf) -> list[PeriodicPart]:
        """Measure each plain colour, in levels.

        Parameters
        ----------
        ending : int or None
            Number of a saturating call whose input is kept (see `hidden`).
        most_aperiodic : float
            Of what does not repeat over what does.

        Returns
        -------
        list of PeriodicPart
            One a colour; none where the output is too small or not finite, or less of it repeats than asked for.
        """
        parts: list[PeriodicPart] = []
        for example in self.views.flat:
            recorder = self._runner.record()
            watches = [] if ending is None else [CallWatch(ending)]
            shown = self._runner.run(example, recorder, *watches)
            self._norms.append(recorder.statistics)
            self.befores += [watch.before for watch in watches]
            self.outputs.append(self.to_levels(pick(shown, self.views.output)))
            part = self._read(self.outputs[-1])
            if part is None or part.periodicity_error > most_aperiodic:
                return []
            parts.append(part)
        return parts

    def measure_equal(self, sites: Sequence[TracedSite], colour: int) -> PeriodicPart | None:
        """Measure one plain colour with equal gains at some sites, and norms as they were without."""
        replayer = self._runner.replay(self._norms[colour])
        shown = self._runner.run(self.views.flat[colour], replayer, self._runner.equalise(sites))
        return self._read(self.to_levels(pick(shown, self.views.output)))

    def _read(self, y: Tensor) -> PeriodicPart | None:
        if not bool(y.isfinite().all()):
            return None
        return read_periodic(y, self.views.period, y.ndim - 2, self.views.parts)

    def to_levels(self, output: Tensor) -> Tensor:
        """Convert an output to levels, float64, on the CPU."""
        return self._unit * output.double().cpu()

    def run_real(self, sites: Sequence[TracedSite], norms: Sequence[Statistics]) -> list[Tensor]:
        """Run the first few images with equal gains at some sites and norms as they were without, in levels."""
        shown = [
            self._runner.run(example, self._runner.replay(statistics), self._runner.equalise(sites))
            for example, statistics in zip(self.views.real, norms, strict=False)
        ]
        return [self.to_levels(pick(one, self.views.output)) for one in shown]

    def score(self, images: Sequence[Tensor]) -> CheckerboardResult | None:
        """Score images as large as the first, at the largest period that they have room for; None if for none."""
        period = self.views.period
        if not images or images[0].ndim != 4 or not all(bool(image.isfinite().all()) for image in images):
            return None
        for part in (period // one for one in range(1, period // 2 + 1) if period % one == 0):
            try:
                return checkerboard(torch.cat([one for one in images if one.shape == images[0].shape]), part)
            except UsageError:  # too large a period, or too small an image
                continue
        return None
