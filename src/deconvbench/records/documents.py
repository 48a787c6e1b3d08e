"""What the JSON files besides the journal hold: types for `decoding.build`, which ignores what later versions add.

Only what this package itself reads is named. No torch, no pandas.
"""

from typing import Any, Required, TypedDict


class Versioned(TypedDict, total=False):
    """What documents of this package have, whichever version wrote them."""

    schema_version: int


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
    seed: Required[int]


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


class SavedBenchmarks(TypedDict, total=False):
    """A file that pytest-benchmark saved."""

    machine_info: Required[dict[str, Any]]
    commit_info: CommitInfo | None
    benchmarks: Required[list[Benchmark]]
