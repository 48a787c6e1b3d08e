"""What was measured, as plain data that survives on disk.

Five kinds of record go into a journal: `Record` (what one case cost in one replicate), `SpeedupRecord` (layers of
one setting with interleaved timing), `QualityRecord` (artifact metrics of one upsampler with one seed),
`NumericsRecord` (rounding error of one upsampler) and, in comparisons of commits, `PairRecord`. Each has a `key`
that says which measurement it is, so that a resumed run knows what is left. A line of the journal is one record as
strict JSON. No torch, no pandas: both halves of the package read these.
"""

import codecs
import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, TypedDict

from deconvbench.errors import RunFolderError
from deconvbench.records.case import Case
from deconvbench.records.conditions import Conditions
from deconvbench.records.decoding import DecodingError, build, parse_json, show_value
from deconvbench.records.finishing import finish_record
from deconvbench.records.pairs import PairRecord

# History of the schema:
# 1: records, quality and numerics lines, each with its own schema_version.
#    Metrics are names with numbers, so one more needs no new version: flat_field_ripple and checkerboard came
#    after the first runs, whose lines lack them and are read as None; a version without such a metric ignores
#    it. Lines of kind speedup came later too: only runs that ask for speed-ups hold them, all others stay as they
#    were, and a version that knows no such kind names the line instead of misreading it. Conditions and ratios
#    came later still, with defaults; so did the end of a measurement and the attempt
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Timing of one step in one process.

    Parameters
    ----------
    samples_s : tuple of float
        Seconds per call, one for each sample, in the order taken; no outlier is removed.
    calls_per_sample : int
        Calls in the block behind one (1 on an accelerator).
    first_call_s : float
        Seconds of the very first call, which pays for allocation and set-up.
    stop_reason : str
        ``precision``, ``noise_floor``, ``time_cap`` or ``sample_cap``.
    host_latency_s : float or None
        Median seconds that the host needs to launch the step (accelerators only).
    launch_bound : bool or None
        True where the host is slower than the device (accelerators only).
    repeated : tuple of (int, str)
        Index of each sample that was disturbed and taken again, with the reason; its repeat follows.
    """

    samples_s: tuple[float, ...]
    calls_per_sample: int
    first_call_s: float
    stop_reason: str
    host_latency_s: float | None = None
    launch_bound: bool | None = None
    repeated: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Memory of one step, in bytes.

    Parameters
    ----------
    peak_memory_bytes : int or None
        Peak above the baseline before the step; None where the platform cannot tell.
    peak_reserved_bytes : int or None
        Peak that the accelerator's allocator held (accelerators only).
    input_bytes, output_bytes, parameter_bytes, gradient_bytes : int
        Sizes of what the step reads and leaves; gradients are 0 for `forward`.
    """

    peak_memory_bytes: int | None
    peak_reserved_bytes: int | None
    input_bytes: int
    output_bytes: int
    parameter_bytes: int
    gradient_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One case measured in one replicate, with its status and where it was measured.

    Parameters
    ----------
    case : Case
        What was measured.
    replicate : int
        Which pass over the cases, from 0.
    process_index : int
        0, and one more for each time the replicate went on in a new process.
    seed : int
        Seed of the order and of the weights and inputs.
    order : int
        Position of the case in the replicate's order, from 0.
    started_at, ended_at : str
        UTC time, ISO 8601, of what was measured together with it; the latter is empty in records of versions
        before it was recorded.
    status : str
        One of `STATUSES`.
    message : str
        Empty when `ok`; otherwise what happened, in one line, as all texts of a record are (`texts.tidy_line`).
    noisy, noise_reason : bool, str
        Whether something disturbed the measurement, and what.
    macs : int or None
        Multiply-accumulates of a forward pass.
    latency_pass_s, memory_pass_s, total_s : float
        Wall time of the case: timing, memory, everything; what was spent on several at once is divided.
    baseline_id : str
        Case that it is compared with, which may be itself; empty for none.
    ratios : tuple of float
        Its seconds per call over the baseline's, one for each round; empty where it was timed without.
    conditions : Conditions or None
        What held while it was timed; None in records of versions before they were recorded.
    kernel : str
        The primitives or kernels that the step spends its time in (`deconvbench.measure.kernels`); empty where
        they were not found, and in replicates but the first, which have the same.
    attempt : int
        2 where it was measured again because a worker of a cluster was lost the first time; otherwise 1.
    """

    KIND: ClassVar[str] = "record"

    case: Case
    replicate: int
    process_index: int
    seed: int
    order: int
    started_at: str
    status: str
    message: str = ""
    noisy: bool = False
    noise_reason: str = ""
    latency: Latency | None = None
    memory: Memory | None = None
    macs: int | None = None
    latency_pass_s: float = 0.0
    memory_pass_s: float = 0.0
    total_s: float = 0.0
    machine_id: str = ""
    torch_version: str = ""
    code_version: str = ""
    baseline_id: str = ""
    ratios: tuple[float, ...] = ()
    conditions: Conditions | None = None
    kernel: str = ""
    ended_at: str = ""
    attempt: int = 1

    def __post_init__(self) -> None:
        finish_record(self)

    @property
    def key(self) -> tuple[Any, ...]:
        """Which measurement this is: kind, case and replicate."""
        return (self.KIND, self.case.case_id, self.replicate)


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityRecord:
    """Artifact metrics of one upsampler at initialisation, with one seed.

    Parameters
    ----------
    upsampler, kernel_size, scale_factor
        The layer; `kernel_size` is None where it has none.
    seed : int
        Seed of the weights.
    channels : int
        Input and output channels that the metrics were taken with.
    metrics : dict of str to float or None
        METRIC names to values; None where a metric does not apply.
    """

    KIND: ClassVar[str] = "quality"

    upsampler: str
    kernel_size: int | None
    scale_factor: int
    seed: int
    channels: int
    status: str
    message: str = ""
    metrics: dict[str, float | None] = field(default_factory=dict)
    total_s: float = 0.0
    attempt: int = 1

    def __post_init__(self) -> None:
        finish_record(self)

    @property
    def key(self) -> tuple[Any, ...]:
        """Which measurement this is: kind, layer and seed."""
        return (self.KIND, self.upsampler, self.kernel_size, self.scale_factor, self.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class NumericsRecord:
    """Relative error of a layer against float64, on a small map.

    The error depends on the length of the reductions, not on the size of the map, so it is measured once per
    layer, channels, dtype and device and joined to every case.
    """

    KIND: ClassVar[str] = "numerics"

    upsampler: str
    kernel_size: int | None
    scale_factor: int
    in_channels: int
    out_channels: int
    dtype: str
    device: str
    status: str
    message: str = ""
    numerical_error: float | None = None
    total_s: float = 0.0
    attempt: int = 1

    def __post_init__(self) -> None:
        finish_record(self)

    @property
    def key(self) -> tuple[Any, ...]:
        """Which measurement this is: kind, layer, channels, dtype and device."""
        return (
            self.KIND,
            self.upsampler,
            self.kernel_size,
            self.scale_factor,
            self.in_channels,
            self.out_channels,
            self.dtype,
            self.device,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedupRecord:
    """Interleaved timing of the layers of one setting in one process, so that drift affects all of them alike.

    Parameters
    ----------
    case : Case
        The baseline in that setting; all others differ from it in upsampler and kernel only.
    twins : tuple of str
        Case ids of layers that compute the same function: they got the baseline's weights, and their outputs were
        found to agree.
    rivals : tuple of str
        Case ids of layers that compute another.
    is_frozen : bool
        True where layers that can keep their transformed weight (those with a ``cache_weight``) kept it.
    replicate : int
        Which pass, from 0.
    seed : int
        Of weights, inputs and the orders within the rounds.
    samples_s : dict of str to tuple of float
        By case id, the baseline's included: seconds per call, one for each round, in the order of the rounds.
    stop_reason : str
        As in `Latency`.
    ceiling_flops_per_s : tuple of float
        Of one large matrix product of the same dtype, one for each round.
    macs : dict of str to int
        By case id: multiply-accumulates of one forward pass as torch's flop counter sees them; empty for `train`.
    peak_memory_bytes : dict of str to int or None
        By case id: as in `Memory`; empty but for replicate 0, as heaps do not vary.
    implementations : dict of str to str
        By case id: what a layer that chooses its implementation by itself chose here.
    measuring_s, total_s : float
        Wall time spent in rounds and memory passes, and on everything.
    """

    KIND: ClassVar[str] = "speedup"

    case: Case
    twins: tuple[str, ...]
    rivals: tuple[str, ...]
    is_frozen: bool
    replicate: int
    seed: int
    status: str
    message: str = ""
    samples_s: dict[str, tuple[float, ...]] = field(default_factory=dict)
    stop_reason: str = ""
    ceiling_flops_per_s: tuple[float, ...] = ()
    macs: dict[str, int] = field(default_factory=dict)
    peak_memory_bytes: dict[str, int | None] = field(default_factory=dict)
    implementations: dict[str, str] = field(default_factory=dict)
    measuring_s: float = 0.0
    total_s: float = 0.0
    machine_id: str = ""
    torch_version: str = ""
    code_version: str = ""
    attempt: int = 1

    def __post_init__(self) -> None:
        finish_record(self)

    @property
    def key(self) -> tuple[Any, ...]:
        """Which measurement this is: kind, baseline's case, whether frozen, and replicate."""
        return (self.KIND, self.case.case_id, self.is_frozen, self.replicate)


AnyRecord = Record | QualityRecord | NumericsRecord | SpeedupRecord | PairRecord
_KINDS: dict[str, type[AnyRecord]] = {
    kind.KIND: kind for kind in (Record, QualityRecord, NumericsRecord, SpeedupRecord, PairRecord)
}


class _Header(TypedDict):
    """What every line of a journal begins with."""

    schema_version: int
    kind: str


_HEADER_FIELDS = tuple(_Header.__annotations__)


def encode_record(record: AnyRecord) -> str:
    """Write a record as one line of strict JSON, without the line's end.

    Raises
    ------
    ValueError
        If a number is not finite (JSON has no word for it).
    """
    line = {"schema_version": SCHEMA_VERSION, "kind": record.KIND, **asdict(record)}
    return json.dumps(line, allow_nan=False, separators=(",", ":"))


def decode_record(line: str, where: str) -> AnyRecord:
    """Read one line of a journal.

    Parameters
    ----------
    line : str
        One JSON object.
    where : str
        File and line, for the message.

    Raises
    ------
    RunFolderError
        If the line is not a record, or of a newer schema than this version reads.
    """
    try:
        data = parse_json(line)
        is_object = isinstance(data, dict)
        header = build(_Header, {n: data[n] for n in _HEADER_FIELDS if n in data} if is_object else data)
    except DecodingError as error:
        raise RunFolderError(f"{where}: not a record of deconvbench: {error}: {line[:60]!r}") from error
    version, kind = header["schema_version"], header["kind"]
    if version > SCHEMA_VERSION:
        raise RunFolderError(f"{where}: written with schema {version}; this version reads up to {SCHEMA_VERSION}")
    if kind not in _KINDS:
        known = ", ".join(_KINDS)
        raise RunFolderError(
            f"{where}: not a record of deconvbench: kind: {show_value(kind)} is not one of {known}"
        )
    try:
        return build(_KINDS[kind], {name: value for name, value in data.items() if name not in header})
    except DecodingError as error:
        raise RunFolderError(f"{where}: not a record of deconvbench: {error}") from error


def decode_journal(content: bytes, where: str) -> list[AnyRecord]:
    """Read the bytes of a journal, forgiving a torn last line.

    A process killed while it wrote leaves a last line without its end; that line is dropped, it was never
    finished. Anything else that cannot be read is an error.

    Parameters
    ----------
    content : bytes
        The whole file.
    where : str
        The file's name, for messages.

    Raises
    ------
    RunFolderError
        If a finished line is not a record.
    """
    # only a line feed ends a line: other programs write the line separators of Unicode as they are
    *lines, _ = content.removeprefix(codecs.BOM_UTF8).split(b"\n")
    return [
        decode_record(line.decode("utf-8", errors="replace"), f"{where}:{number}")
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]


RECORD_FIELDS = tuple(f.name for f in fields(Record))
