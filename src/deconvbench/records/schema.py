"""The columns of the frames that a run becomes, in order, with the dtype, unit and meaning of each.

Whole numbers that can be missing are ``Int64``, flags that can be missing ``boolean``; other numbers are
``float64`` with NaN, texts ``str``. Scripts depend on these names. Names only: no pandas.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from deconvbench.records.case import CASE_FIELDS
from deconvbench.records.metrics import METRICS
from deconvbench.records.training_tasks import TRAINING_TASKS

# what does not depend on the device; each is best when low
ARTIFACT_COLUMNS = tuple(name for name, metric in METRICS.items() if metric.group == "artifact")
# measured for each case beside its cost, not for each layer
NUMERICAL_COLUMNS = tuple(name for name, metric in METRICS.items() if metric.group == "numerical")
# of what a trained network makes of images
TRAINED_COLUMNS = tuple(name for name, metric in METRICS.items() if metric.group == "trained")
# of what a case takes over what its baseline took in the same rounds
RATIO_COLUMNS = ("ratio", "ratio_low", "ratio_high")
# not in tables of versions before them; their values are null there
LATER_COLUMNS = (
    *(name for name, metric in METRICS.items() if metric.is_later),
    "conditions",
    "baseline_id",
    "ratio",
    "kernel",
    "ended_at",
    "attempt",
)
LAYER_COLUMNS = ("upsampler", "kernel_size", "scale_factor")


@dataclass(frozen=True, slots=True)
class Column:
    """What is known of a column of a frame, whatever its values.

    Parameters
    ----------
    name, dtype : str
        As in the frame.
    title : str
        In a few plain words.
    unit : str
        Such as ``s``, ``bytes``, ``pixels`` or ``ratio``; empty for texts, flags and counts.
    meaning : str
        One sentence.
    """

    name: str
    dtype: str
    title: str
    unit: str
    meaning: str


def _declare_metrics(names: Iterable[str]) -> tuple[Column, ...]:
    metrics = (METRICS[name] for name in names)
    return tuple(Column(m.name, "float64", m.title, m.unit, m.meaning) for m in metrics)


def _declare_intervals(names: Iterable[str]) -> dict[str, tuple[Column, Column]]:
    """Declare the ends of each metric's 95 % interval over seeds, by the metric's name."""
    ends = {}
    for name in names:
        metric = METRICS[name]
        low, high = name_interval(name)
        ends[name] = (
            Column(
                low,
                "float64",
                f"{metric.title}, 95 % from",
                metric.unit,
                f"lower end of the interval of {name} over seeds",
            ),
            Column(
                high,
                "float64",
                f"{metric.title}, 95 % to",
                metric.unit,
                f"upper end of the interval of {name} over seeds",
            ),
        )
    return ends


def name_interval(metric: str) -> tuple[str, str]:
    """Name the columns that hold the ends of a metric's 95 % interval over seeds.

    Parameters
    ----------
    metric : str
        Name of the metric's column.

    Returns
    -------
    low, high : str
    """
    return f"{metric}_ci_low", f"{metric}_ci_high"


def _list_dtypes(*columns: Column) -> Mapping[str, str]:
    return {column.name: column.dtype for column in columns}


_CASE_ID = Column(
    "case_id", "str", "case", "", "stable name of the case: its layer, sizes, and what is not as by default"
)
_CASE = (
    Column("upsampler", "str", "upsampler", "", "name of the upsampler in the registry"),
    Column(
        "kernel_size", "Int64", "kernel size", "pixels", "side of the kernel; null for an upsampler without one"
    ),
    Column("scale_factor", "int64", "scale", "", "scale s: a map of (H, W) becomes (sH, sW)"),
    Column("in_channels", "int64", "input channels", "", "channels of the input"),
    Column("out_channels", "int64", "output channels", "", "channels of the output"),
    Column("height", "int64", "input height", "pixels", "rows of the input"),
    Column("width", "int64", "input width", "pixels", "columns of the input"),
    Column("batch", "int64", "batch", "", "images at a time"),
    Column("dtype", "str", "dtype", "", "floating-point type of input and weights"),
    Column("memory_format", "str", "memory format", "", "layout of the tensors: contiguous or channels_last"),
    Column("step", "str", "step", "", "what is run: forward, or train (forward and backward)"),
    Column("device", "str", "device", "", "where it is run, as torch names it"),
    Column("threads", "int64", "threads", "", "threads of an operation on the CPU"),
    Column("execution", "str", "execution", "", "how it is run: eager, compile or cudagraph"),
)
assert tuple(column.name for column in _CASE) == CASE_FIELDS
_LAYER = tuple(column for column in _CASE if column.name in LAYER_COLUMNS)
_SEED = Column("seed", "int64", "seed", "", "of the order of the cases, and of weights and inputs")
_STATUS = (
    Column("status", "str", "status", "", "ok, or how it failed: oom, crashed, timeout, unsupported, error"),
    Column("message", "str", "message", "", "what happened where the status is not ok; empty otherwise"),
)
_PEAK_MEMORY = Column(
    "peak_memory_bytes", "Int64", "peak memory", "bytes", "peak of the step above what was there before it"
)
_MACS = Column("macs", "Int64", "MACs", "", "multiply-accumulates of a forward pass")
_LATENCY = Column("latency_s", "float64", "latency", "s", "median time of a call over the samples of a replicate")
_BASELINE = Column(
    "baseline_id", "str", "baseline", "", "case that it was timed together with, which may be itself"
)
_MEASURED = (
    _LATENCY,
    Column("latency_ci_low_s", "float64", "latency, 95 % from", "s", "lower end of the interval of the median"),
    Column("latency_ci_high_s", "float64", "latency, 95 % to", "s", "upper end of the interval of the median"),
    Column("latency_floor_s", "float64", "latency floor", "s", "the fastest sample"),
    _BASELINE,
    Column(
        "ratio",
        "float64",
        "ratio to the baseline",
        "ratio",
        "time of a call over the baseline's in the same rounds",
    ),
    Column("samples", "Int64", "samples", "", "how many were timed"),
    Column(
        "stop_reason", "str", "stop reason", "", "why timing ended: precision, noise_floor, time_cap or sample_cap"
    ),
    Column(
        "host_latency_s",
        "float64",
        "host latency",
        "s",
        "median time that the host needs to launch the step; accelerators only",
    ),
    Column(
        "launch_bound",
        "boolean",
        "launch-bound",
        "",
        "whether the host is slower than the device; accelerators only",
    ),
    _PEAK_MEMORY,
    Column(
        "peak_reserved_bytes",
        "Int64",
        "peak reserved memory",
        "bytes",
        "peak that the accelerator's allocator held",
    ),
    Column("input_bytes", "Int64", "input size", "bytes", "size of the input"),
    Column("output_bytes", "Int64", "output size", "bytes", "size of the output"),
    Column("parameter_bytes", "Int64", "parameter size", "bytes", "size of the layer's parameters"),
    Column(
        "workspace_bytes",
        "Int64",
        "hidden workspace",
        "bytes",
        "peak memory besides the output and, for train, the gradients",
    ),
    _MACS,
    Column(
        "kernel", "str", "kernel of the library", "", "the primitives or kernels that the step spends its time in"
    ),
    *_declare_metrics(ARTIFACT_COLUMNS),
    *_declare_metrics(NUMERICAL_COLUMNS),
    Column("machine_id", "str", "machine", "", "fingerprint of the machine"),
    Column("torch_version", "str", "torch version", "", "version of torch"),
    Column(
        "code_version", "str", "code version", "", "version of this package, with the commit where that is known"
    ),
    Column("conditions", "str", "conditions", "", "policy of memory and cores under which it was timed"),
)
MEASURED_DTYPES = _list_dtypes(*_MEASURED)
BYTE_COLUMNS = ("peak_memory_bytes", "peak_reserved_bytes", "input_bytes", "output_bytes", "parameter_bytes")
_TABLE = (
    _CASE_ID,
    *_CASE,
    Column("replicate", "int64", "replicate", "", "which pass over the cases, from 0; each is a fresh process"),
    Column(
        "process_index",
        "int64",
        "process",
        "",
        "0, and one more for each time the replicate went on in a new process",
    ),
    _SEED,
    Column("order", "int64", "order", "", "position of the case in the replicate's order, from 0"),
    Column("started_at", "str", "started at", "", "UTC time, ISO 8601"),
    Column("ended_at", "str", "ended at", "", "UTC time, ISO 8601"),
    Column(
        "attempt", "Int64", "attempt", "", "2 where the worker of the first was lost, on a cluster; otherwise 1"
    ),
    *_STATUS,
    Column("noisy", "bool", "noisy", "", "whether something disturbed the measurement"),
    Column("noise_reason", "str", "noise reason", "", "what disturbed it"),
    *_MEASURED,
)
_ONE_REPLICATE = ("replicate", "process_index", "order", "started_at", "ended_at", "attempt")
_SUMMARY = (
    *(column for column in _TABLE if column.name not in _ONE_REPLICATE),
    Column(
        "ratio_low",
        "float64",
        "ratio, 95 % from",
        "ratio",
        "lower end of the interval of the ratio over replicates",
    ),
    Column(
        "ratio_high",
        "float64",
        "ratio, 95 % to",
        "ratio",
        "upper end of the interval of the ratio over replicates",
    ),
    Column("replicates", "int64", "replicates", "", "how many were pooled; machines, where there are several"),
)
_STEPS = Column("steps", "Int64", "training steps", "", "steps of the training whose quality is shown")
_CHANNELS = Column(
    "channels", "Int64", "channels", "", "input and output channels that the artifacts were measured with"
)
_QUALITY = (
    *_LAYER,
    _SEED,
    # null for a seed that only training has
    _CHANNELS,
    *_STATUS,
    *_declare_metrics(ARTIFACT_COLUMNS),
    *_declare_metrics(TRAINED_COLUMNS),
    _STEPS,
)
# what is averaged over seeds, with an interval each
SEEDED_COLUMNS = (*ARTIFACT_COLUMNS, *TRAINED_COLUMNS)
_ENDS = _declare_intervals(SEEDED_COLUMNS)
_QUALITY_SUMMARY = (
    *_LAYER,
    _CHANNELS,
    Column("seeds", "int64", "seeds", "", "how many are ok"),
    *_STATUS,
    *(column for metric in _declare_metrics(SEEDED_COLUMNS) for column in (metric, *_ENDS[metric.name])),
    _STEPS,
)
# of interleaved timings: a row per setting, layer and whether it was frozen; the baseline has one too
_SPEEDUPS = (
    _CASE_ID,
    *_CASE,
    _BASELINE,
    Column("is_twin", "bool", "equivalent", "", "whether it computes the same function of the same weights"),
    Column("is_frozen", "bool", "cached weights", "", "whether transformed weights were kept between calls"),
    *_STATUS,
    Column("speedup", "float64", "speed-up", "ratio", "time of the baseline over its own, round by round"),
    Column(
        "speedup_ci_low", "float64", "speed-up, 95 % from", "ratio", "lower end of its interval over replicates"
    ),
    Column(
        "speedup_ci_high", "float64", "speed-up, 95 % to", "ratio", "upper end of its interval over replicates"
    ),
    _LATENCY,
    _PEAK_MEMORY,
    Column("memory_ratio", "float64", "memory ratio", "ratio", "peak memory over the baseline's"),
    _MACS,
    Column(
        "ceiling_share",
        "float64",
        "share of GEMM throughput",
        "ratio",
        "over the rate of a large matrix product in the same rounds",
    ),
    Column("implementation", "str", "implementation", "", "what a layer that chooses its implementation chose"),
    Column("rounds", "int64", "rounds", "", "how many were timed"),
    Column("replicates", "int64", "replicates", "", "how many were pooled"),
)
# in front of the tables of several runs
RUN_COLUMN = Column("run", "str", "run", "", "name of the run folder")
COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "table": _TABLE,
    "summary": _SUMMARY,
    "quality": _QUALITY,
    "quality_summary": _QUALITY_SUMMARY,
    "speedups": _SPEEDUPS,
}
"""What each column of each frame says; the dtypes below are theirs."""
TABLE_DTYPES = _list_dtypes(*_TABLE)
SUMMARY_DTYPES = _list_dtypes(*_SUMMARY)
QUALITY_DTYPES = _list_dtypes(*_QUALITY)
QUALITY_SUMMARY_DTYPES = _list_dtypes(*_QUALITY_SUMMARY)
SPEEDUP_DTYPES = _list_dtypes(*_SPEEDUPS)
_LAYER_DTYPES = _list_dtypes(*_LAYER)
# of training experiments: what names one training run
RUN_KEYS: Mapping[str, str] = {
    "task": "str",
    **_LAYER_DTYPES,
    "norm": "str",
    "recipe": "str",
    "variant": "str",
    "seed": "int64",
}
# not in results of versions before them, which had these alone
EARLIER_RUN_KEYS: Mapping[str, str] = {"recipe": "plain", "variant": "standard"}
# of the last upsampler, and of the one before
EFFECTIVE_RIPPLES = ("effective_ripple_scale1", "effective_ripple_scale2")
# what one task alone has, null for the others
TASK_SCORES = tuple(name for task in TRAINING_TASKS.values() for name in task.scores)
# what is scored on test images along training; levels are 8-bit levels
SCORE_COLUMNS = (
    "psnr_db",
    "ssim",
    "checkerboard_levels",
    "checkerboard_scale1_levels",
    "checkerboard_scale2_levels",
    "detection_levels",
    "flat_field_ripple_levels",
    *EFFECTIVE_RIPPLES,
    *TASK_SCORES,
)
# not in results of versions before them; their values are null there
LATER_SCORE_COLUMNS = (*EFFECTIVE_RIPPLES, *TASK_SCORES)
# what is scored once, at the end of a training run
FINAL_COLUMNS = (
    "target_checkerboard_levels",
    "output_checkerboard_levels",
    "colour_distance_correlation",
    "grid_colour_correlation",
    "border_residual_levels",
    "interior_residual_levels",
)
# as `LATER_SCORE_COLUMNS`
LATER_FINAL_COLUMNS = ("grid_colour_correlation",)
CURVE_DTYPES: Mapping[str, str] = {
    **RUN_KEYS,
    "step": "int64",
    "loss": "float64",
    **dict.fromkeys(SCORE_COLUMNS, "float64"),
    "seconds": "float64",
}
TRAINED_DTYPES: Mapping[str, str] = {
    **RUN_KEYS,
    "steps": "int64",
    "loss": "float64",
    **dict.fromkeys(SCORE_COLUMNS, "float64"),
    **dict.fromkeys(FINAL_COLUMNS, "float64"),
    "parameters": "int64",
    "width": "int64",
    "residual_blocks": "int64",
    "crop_size": "int64",
    "batch": "int64",
    "learning_rate": "float64",
    "device": "str",
    "autocast": "bool",
    "torch_version": "str",
    "code_version": "str",
}
IMAGE_DTYPES: Mapping[str, str] = {
    **RUN_KEYS,
    "step": "int64",
    "image": "str",
    "psnr_db": "float64",
    "ssim": "float64",
    "checkerboard_levels": "float64",
    "crop": "str",
}
