"""Speed-ups: layers that are said to be equal, and others, timed together in rounds (`rounds`).

Layers that are said to be equal get the same weights and have to give the same numbers before anything is timed: a
wrong layer is an error, never a fast one. Pools nothing; a setting without the CPU is `unsupported`.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from deconvbench.errors import UnsupportedError, UsageError
from deconvbench.measure.blocks import Clock, spare_collector
from deconvbench.measure.latency import LatencyPolicy
from deconvbench.measure.memory import measure_cpu_memory
from deconvbench.measure.outputs import find_gradients
from deconvbench.measure.rounds import take_rounds
from deconvbench.measure.step import PreparedStep, draw_input, prepare_step
from deconvbench.records.case import Case
from deconvbench.records.pairs import OUTPUT_TOLERANCES
from deconvbench.records.record import SpeedupRecord

# The fewest whose 95 % interval of the median leaves three out on each side; a policy's least samples do, which
# leave out one, where so many would take many times as long as was allowed.
MIN_ROUNDS = 15
OVERTIME = 10.0
# Side of the square matrix product that is taken for the ceiling: large enough to reach it, and no larger. Rather
# a yardstick than a bound: oneDNN's convolution was seen 12 % above it.
_CEILING_SIDE = 768
_CEILING = "matrix product"


def measure_speedup(
    job: SpeedupRecord,
    policy: LatencyPolicy,
    *,
    measures_memory: bool = True,
    clock: Clock = time.perf_counter_ns,
) -> Iterator[SpeedupRecord]:
    """Fill in how much faster the layers of one setting are than its baseline.

    Parameters
    ----------
    job : SpeedupRecord
        Says which layers, and whether they are frozen. The caller has set the number of threads.
    policy : LatencyPolicy
        See `take_rounds`.
    measures_memory : bool
        False leaves the memory pass out, which replicates but the first have none of.
    clock : callable
        Nanoseconds.

    Yields
    ------
    SpeedupRecord
        With more and more of its results; the last has status `ok`.

    Raises
    ------
    UnsupportedError
        If the setting is not eager on the CPU, a layer cannot be had there, or a frozen layer is to be trained.
    UsageError
        If an equivalent does not give what the baseline gives.
    """
    case = job.case
    if (case.device, case.execution) != ("cpu", "eager"):
        raise UnsupportedError(
            f"speed-ups are timed on the cpu and eager only, not {case.device} and {case.execution}"
        )
    if job.is_frozen and case.step == "train":
        raise UnsupportedError("a frozen layer keeps its weight, so it cannot be trained")
    layers, steps = _prepare(job)
    _check_equivalents(job, layers, steps)
    filled = replace(
        job,
        macs={} if case.step == "train" else {name: _count_macs(layers[name], job) for name in layers},
        implementations=_ask_choices(layers, job),
    )
    yield filled

    started = time.monotonic()
    runs: dict[str, Callable[[], object]] = {name: step.run for name, step in steps.items()}
    rounds = take_rounds(
        {**runs, _CEILING: _prepare_ceiling(case)},
        case.case_id,
        policy,
        seed=job.seed + job.replicate,
        least=MIN_ROUNDS,
        overtime=OVERTIME,
        unjudged={_CEILING},
        clock=clock,
    )
    samples_s = dict(rounds.samples_s)
    ceiling = tuple(2 * _CEILING_SIDE**3 / sample for sample in samples_s.pop(_CEILING))
    filled = replace(
        filled,
        samples_s=samples_s,
        stop_reason=rounds.stop_reason,
        ceiling_flops_per_s=ceiling,
        measuring_s=time.monotonic() - started,
    )
    # a peak of the heap is the same each time, and takes as long as several rounds
    if measures_memory and job.replicate == 0:
        yield filled
        with spare_collector():
            peaks = {name: measure_cpu_memory(step).peak_memory_bytes for name, step in steps.items()}
        filled = replace(filled, peak_memory_bytes=peaks, measuring_s=time.monotonic() - started)
    yield replace(filled, status="ok", message="")


def _prepare(job: SpeedupRecord) -> tuple[dict[str, nn.Module], dict[str, PreparedStep]]:
    """Build all layers on the same input, equivalents with the baseline's weights, cached where asked to."""
    layers: dict[str, nn.Module] = {}
    steps: dict[str, PreparedStep] = {}
    for case_id in (job.case.case_id, *job.twins, *job.rivals):

        def adjust(layer: nn.Module, name: str = case_id) -> None:
            if name in job.twins:
                _copy_weights(layers[job.case.case_id], layer, name)
            # layers of earlier commits have the name before
            cache_weight = getattr(layer, "cache_weight", None) or getattr(layer, "freeze", None)
            if job.is_frozen and cache_weight is not None:
                cache_weight()
            layers[name] = layer

        steps[case_id] = prepare_step(Case.from_id(case_id), job.seed, adjust)
    return layers, steps


def _copy_weights(source: nn.Module, target: nn.Module, name: str) -> None:
    given, own = list(source.parameters()), list(target.parameters())
    if [p.shape for p in given] != [p.shape for p in own]:
        shapes = [", ".join(str(tuple(p.shape)) for p in parameters) or "none" for parameters in (own, given)]
        raise UsageError(f"{name} has parameters of shapes {shapes[0]}; those of the baseline are {shapes[1]}")
    with torch.no_grad():
        for parameter, values in zip(own, given, strict=True):
            parameter.copy_(values)


def _check_equivalents(
    job: SpeedupRecord, layers: Mapping[str, nn.Module], steps: Mapping[str, PreparedStep]
) -> None:
    """Run every step once, which checks its output by itself, and compare those that should be equal."""
    outputs = {name: step.run() for name, step in steps.items()}
    expected = [outputs[job.case.case_id]]
    is_training = job.case.step == "train"
    expected += find_gradients(layers[job.case.case_id], job.case, job.seed)[1:] if is_training else []
    for name in job.twins:
        found = [outputs[name], *(find_gradients(layers[name], job.case, job.seed)[1:] if is_training else [])]
        for what, theirs, ours in zip(("output", "gradient of the input"), found, expected, strict=False):
            _check_equal(theirs, ours, what, name, job.case)
        for theirs, ours in zip(found[2:], expected[2:], strict=True):
            _check_equal(theirs, ours, "gradient of a parameter", name, job.case)


def _check_equal(found: Tensor, expected: Tensor, what: str, name: str, case: Case) -> None:
    theirs, ours = found.detach().double(), expected.detach().double()
    deviation = float((theirs - ours).abs().max() / ours.abs().max())
    tolerance = OUTPUT_TOLERANCES[case.dtype]
    if not deviation <= tolerance:
        raise UsageError(
            f"{name} is not equivalent to {case.case_id}: its {what} differs by {deviation:.1e} of the largest"
            f" value, more than {tolerance:.0e}"
        )


def _ask_choices(layers: Mapping[str, Any], job: SpeedupRecord) -> dict[str, str]:
    """Ask layers that choose among implementations what they choose here, where their name does not tell."""
    x = draw_input(job.case, job.seed)
    choosing = {name: layer for name, layer in layers.items() if hasattr(layer, "implementation")}
    chosen = {name: layer.choose(x, is_prepared=job.is_frozen) for name, layer in choosing.items()}
    return {name: chosen[name] for name, layer in choosing.items() if layer.implementation != chosen[name]}


def _count_macs(layer: nn.Module, job: SpeedupRecord) -> int:
    x = draw_input(job.case, job.seed)
    # what a frozen layer makes in its first call, it has in the second
    for _ in range(2):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            layer(x)
    return int(counter.get_total_flops()) // 2


def _prepare_ceiling(case: Case) -> Callable[[], object]:
    """Prepare the step that says how many operations a second this machine gives a matrix product."""
    dtype: torch.dtype = getattr(torch, case.dtype)
    # the values do not matter, but zeros or denormals might
    a = torch.linspace(-1, 1, _CEILING_SIDE**2, device="cpu").view(_CEILING_SIDE, _CEILING_SIDE).to(dtype)
    out = torch.empty_like(a)
    return lambda: torch.mm(a, a, out=out)
