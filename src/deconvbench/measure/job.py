"""Filling in jobs: which measure answers which kind of record.

Each measure yields the job filled in a little more, so that what was measured before a failure is kept. The
caller decides what a failure means; nothing is caught here.
"""

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from deconvbench.errors import UsageError
from deconvbench.measure.accelerator import TorchAccelerator
from deconvbench.measure.conditions import hold_conditions
from deconvbench.measure.latency import LatencyPolicy, measure_accelerator_latency, measure_cpu_latency
from deconvbench.measure.memory import measure_accelerator_memory, measure_cpu_memory
from deconvbench.measure.noise import BlockWatch, explain_noise, read_noise_state
from deconvbench.measure.numerics import measure_numerics
from deconvbench.measure.quality import measure_quality
from deconvbench.measure.slowing import slow_down
from deconvbench.measure.speedup import measure_speedup
from deconvbench.measure.step import prepare_step
from deconvbench.records.case import Case
from deconvbench.records.record import AnyRecord, NumericsRecord, QualityRecord, Record, SpeedupRecord
from deconvbench.upsamplers import build_upsampler, get_upsampler


def count_macs(case: Case) -> int:
    """Count the multiply-accumulates of one forward pass over the whole batch.

    Parameters
    ----------
    case : Case
        What is run.

    Returns
    -------
    int
        By the upsampler's own formula, or, where it declares none, half of what torch's flop counter sees.

    Raises
    ------
    UsageError
        If the upsampler's own formula gives anything but a whole number.
    """
    spec = get_upsampler(case.upsampler)
    shape = (case.in_channels, case.out_channels, case.kernel_size, case.scale_factor)
    if spec.macs is not None:
        macs: object = spec.macs(*shape, case.height, case.width)
        if not isinstance(macs, int) or macs < 0:
            raise UsageError(f"upsampler {case.upsampler!r}: macs gave {macs!r}, not a whole number of at least 0")
        return case.batch * macs
    layer = build_upsampler(case.upsampler, *shape).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        layer(torch.zeros(case.input_shape))
    return int(counter.get_total_flops()) // 2


class Measuring:
    """Measures jobs of every kind in this process.

    Parameters
    ----------
    environment : mapping
        From which the ids of machine and software are taken.
    policy : mapping
        Fields of `LatencyPolicy` that differ from its defaults.
    slowdown : float
        Share by which steps on the CPU are made slower.
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
        slowdown: float = 0.0,
        measures_memory: bool = True,
        conditions: str = "system",
    ) -> None:
        self._slowdown = slowdown
        self._measures_memory = measures_memory
        self._conditions = conditions
        self._identity = {key: environment[key] for key in ("machine_id", "torch_version", "code_version")}
        self._policy = LatencyPolicy(**policy)

    def measure(self, job: AnyRecord) -> Iterator[AnyRecord]:
        """Fill one job in.

        Parameters
        ----------
        job : record
            Of any kind; what it says of itself is kept.

        Yields
        ------
        record
            The job with more and more of its results; the last one has status `ok` or `unsupported`.
        """
        if isinstance(job, Record):
            yield from self._measure_case(job)
        elif isinstance(job, QualityRecord):
            yield measure_quality(job.upsampler, job.kernel_size, job.scale_factor, job.seed, job.channels)
        elif isinstance(job, SpeedupRecord):
            filled = replace(job, **self._identity)
            yield filled
            torch.set_num_threads(job.case.threads)
            yield from measure_speedup(filled, self._policy, measures_memory=self._measures_memory)
        else:
            assert isinstance(job, NumericsRecord)
            yield measure_numerics(
                job.upsampler,
                job.kernel_size,
                job.scale_factor,
                job.in_channels,
                job.out_channels,
                job.dtype,
                job.device,
            )

    def _measure_case(self, job: Record) -> Iterator[Record]:
        case = job.case
        filled = replace(job, **self._identity)
        yield filled
        torch.set_num_threads(case.threads)
        step = prepare_step(case, job.seed)
        filled = replace(filled, macs=count_macs(case))
        yield filled
        accelerator = None if case.device == "cpu" else TorchAccelerator(case.device)

        cores = len(os.sched_getaffinity(0))
        pins = (case.device, case.execution) == ("cpu", "eager")
        with hold_conditions(self._conditions, case.threads, pins=pins) as conditions:
            before, started = read_noise_state(), time.monotonic()
            if accelerator is None:
                timed_step = slow_down(step.run, self._slowdown) if self._slowdown else step.run
                with BlockWatch(case.threads, block_s=self._policy.min_block_s) as watch:
                    latency = measure_cpu_latency(timed_step, self._policy, watch=watch)
            else:
                latency = measure_accelerator_latency(step.run, accelerator, self._policy)
            after, timed = read_noise_state(), time.monotonic()
        reason = explain_noise(before, after, timed - started, latency, cores, conditions.pinned_cores)
        filled = replace(
            filled,
            latency=latency,
            latency_pass_s=timed - started,
            noisy=bool(reason),
            noise_reason=reason,
            conditions=conditions,
        )
        yield filled if self._measures_memory else replace(filled, status="ok", message="")
        if not self._measures_memory:
            return

        started = time.monotonic()
        memory = measure_cpu_memory(step) if accelerator is None else measure_accelerator_memory(step, accelerator)
        yield replace(filled, memory=memory, memory_pass_s=time.monotonic() - started, status="ok", message="")
