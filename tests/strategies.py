"""Cases and records as they could come from any grid and machine, drawn by hypothesis."""

from hypothesis import strategies as st

from deconvbench.records.case import DTYPES, EXECUTIONS, MEMORY_FORMATS, NAME_PATTERN, STEPS, Case
from deconvbench.records.conditions import POLICIES, Conditions
from deconvbench.records.finishing import STATUSES
from deconvbench.records.pairs import PAIRS, PairRecord
from deconvbench.records.record import (
    AnyRecord,
    Latency,
    Memory,
    NumericsRecord,
    QualityRecord,
    Record,
    SpeedupRecord,
)
from deconvbench.records.schema import ARTIFACT_COLUMNS

counts = st.integers(1, 9999)
kernels = st.none() | st.integers(1, 64)
names = st.from_regex(NAME_PATTERN, fullmatch=True)
devices = st.sampled_from(["cpu", "cuda", "cuda:1", "mps", "xpu:12"])
seconds = st.floats(0, 1e6)
sizes_bytes = st.integers(0, 2**60)
statuses = st.sampled_from(STATUSES)
# a message may hold anything that an exception says, line ends included
messages = st.text(max_size=40)

cases = st.builds(
    Case,
    upsampler=names,
    kernel_size=kernels,
    scale_factor=st.integers(1, 16),
    in_channels=counts,
    out_channels=counts,
    height=counts,
    width=counts,
    batch=counts,
    dtype=st.sampled_from(DTYPES),
    memory_format=st.sampled_from(MEMORY_FORMATS),
    step=st.sampled_from(STEPS),
    device=devices,
    threads=st.integers(1, 256),
    execution=st.sampled_from(EXECUTIONS),
)

conditions = st.builds(
    Conditions,
    policy=st.sampled_from(POLICIES),
    allocator=st.text(max_size=20),
    huge_pages=st.sampled_from(["", "never", "madvise", "malloc", "always"]),
    pinned_cores=st.lists(st.integers(0, 4095), max_size=3).map(tuple),
    priority=st.none() | st.integers(-20, 19),
)

latencies = st.builds(
    Latency,
    samples_s=st.lists(seconds, max_size=8).map(tuple),
    calls_per_sample=counts,
    first_call_s=seconds,
    stop_reason=st.sampled_from(["precision", "noise_floor", "time_cap", "sample_cap"]),
    host_latency_s=st.none() | seconds,
    launch_bound=st.none() | st.booleans(),
    repeated=st.lists(st.tuples(st.integers(0, 7), messages), max_size=2).map(tuple),
)

memories = st.builds(
    Memory,
    peak_memory_bytes=st.none() | sizes_bytes,
    peak_reserved_bytes=st.none() | sizes_bytes,
    input_bytes=sizes_bytes,
    output_bytes=sizes_bytes,
    parameter_bytes=sizes_bytes,
    gradient_bytes=sizes_bytes,
)

case_records = st.builds(
    Record,
    case=cases,
    replicate=st.integers(0, 9),
    process_index=st.integers(0, 3),
    seed=st.integers(0, 2**31),
    order=st.integers(0, 999),
    started_at=st.just("2026-01-01T00:00:00+00:00"),
    status=statuses,
    message=messages,
    noisy=st.booleans(),
    noise_reason=messages,
    latency=st.none() | latencies,
    memory=st.none() | memories,
    macs=st.none() | st.integers(0, 10**15),
    total_s=seconds,
    machine_id=messages,
    conditions=st.none() | conditions,
)

quality_records = st.builds(
    QualityRecord,
    upsampler=names,
    kernel_size=kernels,
    scale_factor=st.integers(1, 16),
    seed=st.integers(0, 99),
    channels=counts,
    status=statuses,
    message=messages,
    metrics=st.dictionaries(
        st.sampled_from(ARTIFACT_COLUMNS),
        st.none() | st.floats(-1e3, 1e3),
    ),
)

numerics_records = st.builds(
    NumericsRecord,
    upsampler=names,
    kernel_size=kernels,
    scale_factor=st.integers(1, 16),
    in_channels=counts,
    out_channels=counts,
    dtype=st.sampled_from(DTYPES),
    device=devices,
    status=statuses,
    message=messages,
    numerical_error=st.none() | st.floats(0, 1),
)

case_ids = cases.map(lambda case: case.case_id)
above_zero = st.floats(1e-9, 1e3)


@st.composite
def speedup_records(draw: st.DrawFn) -> SpeedupRecord:
    """Interleaved timings: of all as many samples, as rounds have it."""
    case = draw(cases)
    rounds = draw(st.integers(1, 4))
    names = draw(st.lists(case_ids.filter(lambda name: name != case.case_id), max_size=3, unique=True))
    cut = draw(st.integers(0, len(names)))
    samples = st.lists(above_zero, min_size=rounds, max_size=rounds).map(tuple)
    measured = [case.case_id, *names] if draw(st.booleans()) else []
    return SpeedupRecord(
        case=case,
        twins=tuple(names[:cut]),
        rivals=tuple(names[cut:]),
        is_frozen=draw(st.booleans()),
        replicate=draw(st.integers(0, 9)),
        seed=draw(st.integers(0, 2**31)),
        status=draw(statuses),
        message=draw(messages),
        samples_s={name: draw(samples) for name in measured},
        stop_reason=draw(st.sampled_from(["", "precision", "time_cap", "sample_cap"])),
        ceiling_flops_per_s=draw(st.lists(st.floats(1e6, 1e15), min_size=rounds, max_size=rounds).map(tuple)),
        macs={name: draw(st.integers(0, 10**15)) for name in measured},
        peak_memory_bytes={name: draw(st.none() | sizes_bytes) for name in measured},
        implementations=draw(st.dictionaries(case_ids, st.sampled_from(["plain", "tiled"]), max_size=1)),
        total_s=draw(seconds),
    )


@st.composite
def pair_records(draw: st.DrawFn) -> PairRecord:
    """A case that two processes timed, with any number of rounds."""
    rounds = draw(st.integers(0, 3))
    samples = st.lists(seconds, min_size=rounds, max_size=rounds).map(tuple)
    return PairRecord(
        case=draw(cases),
        replicate=draw(st.integers(0, 9)),
        pair=draw(st.sampled_from(PAIRS)),
        seed=draw(st.integers(0, 2**31)),
        status=draw(statuses),
        message=draw(messages),
        failed_side=draw(st.sampled_from(["", "base", "head", "both"])),
        base_samples_s=draw(samples),
        head_samples_s=draw(samples),
        calls_per_sample=draw(counts),
        output_difference=draw(st.none() | st.floats(0, 2)),
        conditions=draw(st.none() | conditions),
        total_s=draw(seconds),
    )


records: st.SearchStrategy[AnyRecord] = (
    case_records | quality_records | numerics_records | speedup_records() | pair_records()
)
