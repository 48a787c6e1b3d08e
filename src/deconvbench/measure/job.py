"""Filling in jobs: which measure answers which kind of record."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from deconvbench.measure.group import Judge, Look, measure_group
from deconvbench.measure.latency import LatencyPolicy
from deconvbench.measure.numerics import measure_numerics
from deconvbench.measure.quality import measure_quality
from deconvbench.measure.rounds import Report
from deconvbench.measure.speedup import measure_speedup
from deconvbench.records.record import AnyRecord, NumericsRecord, QualityRecord, Record, SpeedupRecord


class Measuring:
    """Measures jobs of every kind in this process.

    Parameters
    ----------
    environment : mapping
        From which the ids of machine and software are taken.
    policy : mapping
        Fields of `LatencyPolicy` that differ from its defaults.
    measures_memory : bool
        False leaves the memory pass out.
    conditions : str
        The policy under which cases are timed, one of `POLICIES`.
    """

    def __init__(
        self,
        *,
        environment: Mapping[str, Any],
        policy: Mapping[str, Any],
        measures_memory: bool = True,
        conditions: str = "system",
    ) -> None:
        self._conditions = conditions
        self._measures_memory = measures_memory
        self._identity = {key: environment[key] for key in ("machine_id", "torch_version", "code_version")}
        self._policy = LatencyPolicy(**policy)

    def measure_together(
        self,
        jobs: Sequence[Record],
        *,
        judge: Judge,
        look: Look = lambda: (),
        report: Report = lambda _: None,
    ) -> list[Record]:
        """Fill in the cases of one group, whose timing is interleaved; see `measure_group`.

        Parameters
        ----------
        jobs : sequence of Record
            What they say of themselves is kept.
        judge, look, report : callable
            As for `measure_group`.

        Returns
        -------
        list of Record
            In the order of the jobs.

        Raises
        ------
        DisturbanceError
            As `measure_group`.
        """
        return measure_group(
            [replace(job, **self._identity) for job in jobs],
            self._policy,
            judge=judge,
            look=look,
            report=report,
            conditions=self._conditions,
            measures_memory=self._measures_memory,
        )

    def measure(self, job: AnyRecord) -> Iterator[AnyRecord]:
        """Fill in one job that is not a case.

        The caller decides what a failure means; nothing is caught here.

        Parameters
        ----------
        job : record
            What it says of itself is kept.

        Yields
        ------
        record
            The job with more and more of its results, so that what was measured before a failure is kept; the last
            one has status `ok` or `unsupported`.
        """
        if isinstance(job, QualityRecord):
            yield measure_quality(job.upsampler, job.kernel_size, job.scale_factor, job.seed, job.channels)
        elif isinstance(job, SpeedupRecord):
            filled = replace(job, **self._identity)
            yield filled
            torch.set_num_threads(job.case.threads)
            yield from measure_speedup(filled, self._policy, measures_memory=self._measures_memory)
        else:
            assert isinstance(job, NumericsRecord), job.KIND
            yield measure_numerics(
                job.upsampler,
                job.kernel_size,
                job.scale_factor,
                job.in_channels,
                job.out_channels,
                job.dtype,
                job.device,
            )
