"""What the JSON files besides the journal hold: types for `decoding.build`, which ignores what later versions add.

Only what this package itself reads is named. No torch, no pandas.
"""

from typing import Any, Required, TypedDict


class Versioned(TypedDict, total=False):
    """What documents of this package have, whichever version wrote them."""

    schema_version: int


class MergedRun(TypedDict, total=False):
    """One of the runs that a merged run was made of: what is kept of its ``run.json``, and what became of it."""

    # the same for every copy of the run, however far it had got
    id: Required[str]
    name: Required[str]
    # pairs of its own number and the number in the merged run
    replicates: Required[list[tuple[int, int]]]
    records: int
    machine_ids: list[str]
    created_at: str | None
    finished_at: str | None
    seed: int | None
    grid: dict[str, Any] | None
    baseline: str | None
    conditions: str | None
    command: list[str] | str | None
    environment: dict[str, Any] | None


class RunInfo(TypedDict, total=False):
    """``run.json``: how a run came about. Every key but the first may be missing: so it is in files of others."""

    schema_version: Required[int]
    created_at: str | None
    finished_at: str | None
    measuring_share: float | None
    resumed: list[dict[str, Any]] | None
    grid: dict[str, Any] | None
    case_ids: list[str]
    setting_ids: list[str]
    seed: int | None
    upsamplers: list[str]
    command: list[str] | str | None
    precision: float | None
    keyword: str
    baseline: str | None
    conditions: str | None
    environment: dict[str, Any] | None
    # of merged runs alone
    merged: list[MergedRun]
    cluster: dict[str, Any] | None


class ExperimentInfo(TypedDict, total=False):
    """``experiment.json``: how training experiments came about."""

    schema_version: int
    created_at: str | None
    finished_at: str | None
    seconds: float
    calls: list[dict[str, Any]]


class TrainingResult(TypedDict, total=False):
    """``result.json``: how one training run ended."""

    status: Required[str]
    message: str
    steps: Required[int]
    task: Required[str]
    upsampler: Required[str]
    kernel_size: Required[int | None]
    scale_factor: Required[int]
    norm: Required[str]
    recipe: str
    variant: str
    seed: Required[int]
    code_version: str
    scored_by: str


class TrainingRow(TypedDict, total=False):
    """One line of ``log.jsonl``: what was scored at one step of a training run."""

    step: Required[int]
    images: list[dict[str, Any]]


class BenchmarkInfo(TypedDict, total=False):
    """``extra_info`` of one benchmark: what ``pytest bench`` says of one case; metrics stand beside it."""

    case_id: Required[str]
    status: Required[str]
    replicate_latency_s: Required[list[float]]
    replicate_floor_s: list[float]
    machine_id: str | None
    torch_version: str | None
    baseline_id: str | None
    replicate_ratio: list[float]
    conditions: str | None


class Benchmark(TypedDict, total=False):
    """One benchmark as pytest-benchmark saves it."""

    extra_info: Required[BenchmarkInfo]


class CommitInfo(TypedDict, total=False):
    """The commit that pytest-benchmark found."""

    id: str | None
    time: str | None
    dirty: bool | None


class SavedBenchmarks(TypedDict, total=False):
    """A file that pytest-benchmark saved."""

    machine_info: Required[dict[str, Any]]
    commit_info: CommitInfo | None
    datetime: str | None
    benchmarks: Required[list[Benchmark]]
