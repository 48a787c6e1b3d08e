"""What the cases of one group cost: prepared together, timed in rounds, and each given its memory pass.

A group is what a reader compares: cases that differ in the layer alone. Each gets a status of its own; what one
raises ends its own measurement and no other's. A case by itself is a group of one. Does not know processes: what
takes the whole process with it is for the caller to find out.
"""

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from deconvbench.measure.accelerator import TorchAccelerator
from deconvbench.measure.blocks import pause_collector, spare_collector
from deconvbench.measure.conditions import hold_conditions, list_cores
from deconvbench.measure.kernels import name_kernels
from deconvbench.measure.latency import LatencyPolicy
from deconvbench.measure.layers import count_macs
from deconvbench.measure.memory import measure_accelerator_memory, measure_cpu_memory
from deconvbench.measure.noise import BlockWatch, explain_noise, read_noise_state
from deconvbench.measure.rounds import Report, Rounds, divide_rounds, take_rounds, time_first_call
from deconvbench.measure.step import PreparedStep, prepare_step
from deconvbench.records.record import Latency, Record

# what an exception means: status and message
Judge = Callable[[BaseException], tuple[str, str]]
# names what is not as it was in this process and changes what others measure
Look = Callable[[], tuple[str, ...]]

# torch compiles a function anew for each layer that runs through it, and gives up, silently, after eight
_RECOMPILATIONS_PER_CASE = 8


class DisturbanceError(Exception):
    """A layer has changed the conditions of those beside it, so that they cannot be measured together.

    Parameters
    ----------
    case_id : str
        The case whose layer it was.
    changed : sequence of str
        What it changed.
    """

    def __init__(self, case_id: str, changed: Sequence[str]) -> None:
        super().__init__(f"changed {', '.join(changed)}")
        self.case_id = case_id


@dataclass(slots=True)
class _Member:
    """One case of the group while it is measured; sound until something fails."""

    record: Record
    step: PreparedStep | None = None
    is_sound: bool = True
    first_call_s: float = 0.0

    @property
    def case_id(self) -> str:
        return self.record.case.case_id

    @contextlib.contextmanager
    def guard(self, judge: Judge) -> Iterator[None]:
        """Let what is raised become the status of this case, and count the time as its own."""
        started = time.monotonic()
        try:
            yield
        except BaseException as error:  # noqa: BLE001 -- one layer's failure is no other's
            self.fail(error, judge)
        self.spend(time.monotonic() - started)

    def fail(self, error: BaseException, judge: Judge) -> None:
        status, message = judge(error)
        self.step, self.is_sound = None, False
        self.record = replace(self.record, status=status, message=message)

    def spend(self, seconds: float) -> None:
        self.record = replace(self.record, total_s=self.record.total_s + seconds)


def measure_group(
    jobs: Sequence[Record],
    policy: LatencyPolicy,
    *,
    judge: Judge,
    look: Look = lambda: (),
    report: Report = lambda _: None,
    conditions: str = "system",
    measures_memory: bool = True,
) -> list[Record]:
    """Measure the cases of one group.

    All steps are prepared and called once, then timed in interleaved rounds (`take_rounds`), and at last each has
    its memory pass.

    Parameters
    ----------
    jobs : sequence of Record
        Not filled in yet; at least one, of one replicate and one `baseline_id`, and their cases differ in
        upsampler and kernel alone. Where the baseline is not among them, there are no ratios.
    policy : LatencyPolicy
        How long to measure; its seconds are for each case.
    judge : callable
        Turns what a case raises into its status and message.
    look : callable
        Asked after the first call of each of several cases, whether that changed the conditions of the others.
    report : callable
        Receives the id of the case that is about to do something for the first time, and an empty text before each
        part of a round.
    conditions : str
        The policy under which the rounds are taken, one of `POLICIES`; first calls may start processes, and memory
        passes are not timed.
    measures_memory : bool
        False leaves the memory pass out; it is made in replicate 0 alone.

    Returns
    -------
    list of Record
        In the order of the jobs, each with the status it earned.

    Raises
    ------
    DisturbanceError
        If `look` names something.
    """
    group = _Group(jobs, policy, judge, report, conditions)
    with _allow_recompilation(jobs):
        group.prepare(look)
        group.time()
        # memory and kernels are the same each time, so one replicate suffices
        if measures_memory and jobs[0].replicate == 0:
            group.measure_memory()
    return group.finish()


@contextlib.contextmanager
def _allow_recompilation(jobs: Sequence[Record]) -> Iterator[None]:
    """Let torch compile as many layers as there are, where they are compiled."""
    if jobs[0].case.execution != "compile" or len(jobs) == 1:
        yield
        return
    import torch._dynamo.config as settings  # noqa: PLC0415 -- takes a second, and few cases need it

    name = "recompile_limit" if hasattr(settings, "recompile_limit") else "cache_size_limit"
    limit = max(getattr(settings, name), _RECOMPILATIONS_PER_CASE * len(jobs))
    with settings.patch({name: limit}):
        yield


class _Group:
    """The cases of a group while they are measured."""

    def __init__(
        self,
        jobs: Sequence[Record],
        policy: LatencyPolicy,
        judge: Judge,
        report: Report,
        conditions: str,
    ) -> None:
        self._members = [_Member(job) for job in jobs]
        self._case = jobs[0].case
        self._baseline_id = jobs[0].baseline_id
        self._seed = jobs[0].seed + jobs[0].replicate
        self._policy = policy
        self._judge = judge
        self._report = report
        self._conditions = conditions
        self._accelerator: TorchAccelerator | None = None

    def prepare(self, look: Look) -> None:
        """Build and call every step once, in a random order."""
        torch.set_num_threads(self._case.threads)
        with pause_collector():
            usual = {*look()} if len(self._members) > 1 else set()
            for member in random.Random(self._seed).sample(self._members, len(self._members)):
                self._report(member.case_id)
                with member.guard(self._judge):
                    self._call_once(member)
                if len(self._members) > 1 and (changed := [name for name in look() if name not in usual]):
                    raise DisturbanceError(member.case_id, changed)

    def _call_once(self, member: _Member) -> None:
        case = member.record.case
        member.step = prepare_step(case, member.record.seed)
        member.record = replace(member.record, macs=count_macs(case))
        if case.device != "cpu" and self._accelerator is None:
            self._accelerator = TorchAccelerator(case.device)
        member.first_call_s = time_first_call(member.step.run, self._accelerator)

    def time(self) -> None:
        """Time in rounds what is left of the group."""
        sound = {member.case_id: member for member in self._members if member.step is not None}
        if not sound:
            return
        steps: dict[str, Callable[[], object]] = {
            name: member.step.run for name, member in sound.items() if member.step is not None
        }
        cores = len(list_cores()) or os.cpu_count() or 1
        # compiled code may be compiled once more, by processes that are not to be held to one core
        pins = (self._case.device, self._case.execution) == ("cpu", "eager")
        started = time.monotonic()
        try:
            with (
                hold_conditions(self._conditions, self._case.threads, pins=pins) as conditions,
                BlockWatch(self._case.threads, block_s=self._policy.min_block_s) as watch,
            ):
                before = read_noise_state()
                rounds = take_rounds(
                    steps,
                    self._baseline_id,
                    self._policy,
                    accelerator=self._accelerator,
                    seed=self._seed,
                    allowance=len(steps),
                    watch=watch,
                    on_failure=lambda name, error: sound[name].fail(error, self._judge),
                    report=self._report,
                )
                after = read_noise_state()
        # a device tells later that something failed, and not what
        except Exception as error:
            if len(sound) > 1:
                raise
            next(iter(sound.values())).fail(error, self._judge)
            return
        finally:
            spent_s = time.monotonic() - started
            for member in sound.values():
                member.spend(spent_s / len(sound))
        for name in rounds.timings:
            filled = _fill_in(sound[name].record, sound[name].first_call_s, rounds)
            assert filled.latency is not None
            # where there are ratios, they are what has to be trusted
            has_ratios = filled.ratios and name != self._baseline_id
            judged = replace(filled.latency, samples_s=filled.ratios) if has_ratios else filled.latency
            reason = explain_noise(before, after, spent_s, judged, cores, conditions.pinned_cores)
            sound[name].record = replace(
                filled,
                latency_pass_s=spent_s / len(sound),
                noisy=bool(reason),
                noise_reason=reason,
                conditions=conditions,
            )

    def measure_memory(self) -> None:
        """Measure the memory of every step that was timed, one after another."""
        with spare_collector():
            for member in self._members:
                if not member.is_sound:
                    continue
                self._report(member.case_id)
                started = time.monotonic()
                with member.guard(self._judge):
                    step = self._isolate(member)
                    if self._accelerator is None:
                        memory = measure_cpu_memory(step)
                    else:
                        memory = measure_accelerator_memory(step, self._accelerator)
                    member.record = replace(member.record, memory=memory, kernel=name_kernels(step))
                member.record = replace(member.record, memory_pass_s=time.monotonic() - started)

    def _isolate(self, member: _Member) -> PreparedStep:
        """Return a step beside which nothing is held that a memory pass would count."""
        if self._accelerator is None:
            assert member.step is not None
            return member.step
        # what a device's allocator holds counts
        for other in self._members:
            other.step = None
        return prepare_step(member.record.case, member.record.seed)

    def finish(self) -> list[Record]:
        """Return the records, with those that nothing was wrong with `ok`."""
        return [
            replace(member.record, status="ok", message="") if member.is_sound else member.record
            for member in self._members
        ]


def _fill_in(record: Record, first_call_s: float, rounds: Rounds) -> Record:
    """Fill in what the rounds gave of one case."""
    case_id, baseline_id = record.case.case_id, record.baseline_id
    timing = rounds.timings[case_id]
    latency = Latency(
        samples_s=timing.samples_s,
        calls_per_sample=timing.calls_per_sample,
        first_call_s=first_call_s,
        stop_reason=rounds.stop_reason,
        host_latency_s=timing.host_latency_s,
        launch_bound=timing.launch_bound,
        repeated=timing.repeated,
    )
    # in this direction: what a case takes over what the baseline takes
    is_compared = baseline_id in rounds.timings
    ratios = divide_rounds(rounds.samples_s, case_id, baseline_id) if is_compared else ()
    return replace(record, latency=latency, ratios=tuple(ratios))
