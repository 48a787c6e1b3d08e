"""Measuring the cases of a group together, and what to do when that goes wrong.

Nothing that one layer does may cost another its measurement. So a group that takes its process with it, hangs, or
in which a layer changes what the others are measured with, is measured again without the culprit; where that is
not known, case by case, each with the baseline. Starts no process and writes nothing: it asks for jobs to be
measured.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from deconvbench.measure.capacity import count_host_bytes, explain_size, read_host_bytes
from deconvbench.records.case import Case, name_group
from deconvbench.records.record import AnyRecord, Record
from deconvbench.runner.messages import Breakdown

# Has jobs measured together, in a process that is fit for it.
Ask = Callable[[Sequence[Record]], list[Record] | Breakdown]

# What the maps of a group may take together of the memory that there is. That is a bound from below for what a
# layer needs while it runs; at rest, as all but one are, it keeps less.
_MEMORY_SHARE = 0.25


def split_groups(jobs: Sequence[AnyRecord]) -> Iterator[list[AnyRecord]]:
    """Split jobs into those that are measured together.

    Parameters
    ----------
    jobs : sequence of record
        In the order in which they are to be measured; the cases of a group are neighbours.

    Yields
    ------
    list of record
        Cases of one group, as many as memory holds at once, or one job of another kind.
    """
    for _, members in groupby(enumerate(jobs), lambda entry: _name_part(*entry)):
        part: list[AnyRecord] = []
        held = 0
        for _, job in members:
            needed = _count_bytes(job)
            if part and held + needed > _MEMORY_SHARE * read_host_bytes():
                yield part
                part, held = [], 0
            part.append(job)
            held += needed
        yield part


def _name_part(number: int, job: AnyRecord) -> tuple[object, ...]:
    return (job.baseline_id, name_group(job.case)) if isinstance(job, Record) else (number,)


def _count_bytes(job: AnyRecord) -> int:
    # what cannot fit is not tried
    is_tried = isinstance(job, Record) and explain_size(job.case) is None
    return count_host_bytes(job.case) if is_tried and isinstance(job, Record) else 0


def measure_group(jobs: Sequence[Record], ask: Ask) -> list[Record]:
    """Measure the cases of a group, each with the status that it earned.

    Parameters
    ----------
    jobs : sequence of Record
        Not filled in yet, of one group and with one `baseline_id`. Where the baseline is not among them it is
        measured along, and left out of what is returned.
    ask : callable
        Has jobs measured together.

    Returns
    -------
    list of Record
        In the order of the jobs.
    """
    records = _measure_together([*_make_companion(jobs), *jobs], ask)
    return [records[job.case.case_id] for job in jobs]


def _make_companion(jobs: Sequence[Record]) -> list[Record]:
    """Make the baseline's job where it is not among the jobs, or none where there is no baseline."""
    baseline_id = jobs[0].baseline_id
    if not baseline_id or any(job.case.case_id == baseline_id for job in jobs):
        return []
    return [replace(jobs[0], case=Case.from_id(baseline_id))]


def _measure_together(jobs: Sequence[Record], ask: Ask) -> dict[str, Record]:
    """Measure jobs together, or in smaller groups where that is not possible; return the records by case."""
    found = ask(jobs)
    if isinstance(found, Breakdown):
        return _fall_back(jobs, found, ask)
    return {
        job.case.case_id: _measure_alone(job, ask) if len(jobs) > 1 and _is_doubtful(record) else record
        for job, record in zip(jobs, found, strict=True)
    }


def _is_doubtful(record: Record) -> bool:
    """Say whether a case ran out of memory that it may have alone."""
    return record.status == "oom" and explain_size(record.case) is None


def _measure_alone(job: Record, ask: Ask) -> Record:
    found = ask([job])
    return _make_failure(job, found) if isinstance(found, Breakdown) else found[0]


def _make_failure(job: Record, breakdown: Breakdown) -> Record:
    return replace(
        job,
        status=breakdown.status,
        message=breakdown.message,
        total_s=breakdown.total_s,
        process_index=breakdown.process_index,
        started_at=breakdown.started_at,
        ended_at=breakdown.ended_at,
    )


def _fall_back(jobs: Sequence[Record], breakdown: Breakdown, ask: Ask) -> dict[str, Record]:
    """Measure what could not be measured together: without the culprit, or one by one where that is not known."""
    if len(jobs) == 1:
        return {jobs[0].case.case_id: _make_failure(jobs[0], breakdown)}
    suspect = next((job for job in jobs if job.case.case_id == breakdown.suspect), None)
    # several that ran out of memory together need not do so alone, or in pairs
    if suspect is None or breakdown.status == "oom":
        return _measure_one_by_one(jobs, ask)
    # a case that hung would take its whole time again
    record = _make_failure(suspect, breakdown) if breakdown.status == "timeout" else _measure_alone(suspect, ask)
    # alone, a layer may disturb nothing but itself
    if record.status == "ok" and breakdown.status != "error":
        return _measure_one_by_one(jobs, ask)
    rest = [job for job in jobs if job is not suspect]
    return {suspect.case.case_id: record, **_measure_together(rest, ask)}


def _measure_one_by_one(jobs: Sequence[Record], ask: Ask) -> dict[str, Record]:
    """Measure the baseline alone, then each other case with it, where that went well: so that there are ratios."""
    records: dict[str, Record] = {}
    baseline = next((job for job in jobs if job.case.case_id == job.baseline_id), None)
    if baseline is not None:
        records[baseline.baseline_id] = _measure_alone(baseline, ask)
    for job in jobs:
        if job is not baseline:
            is_sound = baseline is not None and records[baseline.baseline_id].status == "ok"
            records[job.case.case_id] = _measure_in_pair(job, baseline if is_sound else None, ask)
    return records


def _measure_in_pair(job: Record, baseline: Record | None, ask: Ask) -> Record:
    """Measure a case with a baseline that is known to be sound: what goes wrong is the case's fault."""
    if baseline is None:
        return _measure_alone(job, ask)
    found = ask([baseline, job])
    if not isinstance(found, Breakdown):
        return _measure_alone(job, ask) if _is_doubtful(found[1]) else found[1]
    if found.status in ("crashed", "timeout") and found.suspect != baseline.case.case_id:
        return _make_failure(job, found)
    return _measure_alone(job, ask)
