"""The columns of the frames that a run becomes, in order, with the dtype of each.

Whole numbers that can be missing are ``Int64``, flags that can be missing ``boolean``; other numbers are
``float64`` with NaN, texts ``str``. Scripts depend on these names. Names only: no pandas.
"""

from collections.abc import Mapping

from deconvbench.records.case import CASE_FIELDS
from deconvbench.records.metrics import METRICS

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
)
LAYER_COLUMNS = ("upsampler", "kernel_size", "scale_factor")
_TEXT_FIELDS = {"upsampler", "dtype", "memory_format", "step", "device", "execution"}
BYTE_COLUMNS = ("peak_memory_bytes", "peak_reserved_bytes", "input_bytes", "output_bytes", "parameter_bytes")

_CASE_DTYPES = {name: "str" if name in _TEXT_FIELDS else "int64" for name in CASE_FIELDS} | {
    "kernel_size": "Int64"
}
MEASURED_DTYPES = {
    "latency_s": "float64",
    "latency_ci_low_s": "float64",
    "latency_ci_high_s": "float64",
    "latency_floor_s": "float64",
    "baseline_id": "str",
    "ratio": "float64",
    "samples": "Int64",
    "stop_reason": "str",
    "host_latency_s": "float64",
    "launch_bound": "boolean",
    **dict.fromkeys(BYTE_COLUMNS, "Int64"),
    "workspace_bytes": "Int64",
    "macs": "Int64",
    "kernel": "str",
    **dict.fromkeys(ARTIFACT_COLUMNS, "float64"),
    **dict.fromkeys(NUMERICAL_COLUMNS, "float64"),
    "machine_id": "str",
    "torch_version": "str",
    "code_version": "str",
    "conditions": "str",
}
# the columns of each frame, in order, with the dtype of each
TABLE_DTYPES: Mapping[str, str] = {
    "case_id": "str",
    **_CASE_DTYPES,
    "replicate": "int64",
    "process_index": "int64",
    "seed": "int64",
    "order": "int64",
    "started_at": "str",
    "status": "str",
    "message": "str",
    "noisy": "bool",
    "noise_reason": "str",
    **MEASURED_DTYPES,
}
_ONE_REPLICATE = ("replicate", "process_index", "order", "started_at")
SUMMARY_DTYPES: Mapping[str, str] = {
    **{name: dtype for name, dtype in TABLE_DTYPES.items() if name not in _ONE_REPLICATE},
    "ratio_low": "float64",
    "ratio_high": "float64",
    "replicates": "int64",
}
QUALITY_DTYPES: Mapping[str, str] = {
    **{name: _CASE_DTYPES[name] for name in LAYER_COLUMNS},
    "seed": "int64",
    # null for a seed that only training has
    "channels": "Int64",
    "status": "str",
    "message": "str",
    **dict.fromkeys(ARTIFACT_COLUMNS, "float64"),
    **dict.fromkeys(TRAINED_COLUMNS, "float64"),
    "steps": "Int64",
}
# of training experiments: what names one training run
RUN_KEYS: Mapping[str, str] = {
    "task": "str",
    **{name: _CASE_DTYPES[name] for name in LAYER_COLUMNS},
    "norm": "str",
    "seed": "int64",
}
# what is scored on test images along training; levels are 8-bit levels
SCORE_COLUMNS = (
    "psnr_db",
    "ssim",
    "checkerboard_levels",
    "checkerboard_scale1_levels",
    "checkerboard_scale2_levels",
    "detection_levels",
    "flat_field_ripple_levels",
    "effective_ripple_scale1",
    "effective_ripple_scale2",
)
# not in results of versions before them; their values are null there
LATER_SCORE_COLUMNS = ("effective_ripple_scale1", "effective_ripple_scale2")
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
    "target_checkerboard_levels": "float64",
    "output_checkerboard_levels": "float64",
    "colour_distance_correlation": "float64",
    "border_residual_levels": "float64",
    "interior_residual_levels": "float64",
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
# what is averaged over seeds, with an interval each
SEEDED_COLUMNS = (*ARTIFACT_COLUMNS, *TRAINED_COLUMNS)


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


QUALITY_SUMMARY_DTYPES: Mapping[str, str] = {
    **{name: _CASE_DTYPES[name] for name in LAYER_COLUMNS},
    "channels": "Int64",
    "seeds": "int64",
    "status": "str",
    "message": "str",
    **{name: "float64" for metric in SEEDED_COLUMNS for name in (metric, *name_interval(metric))},
    "steps": "Int64",
}
# of interleaved timings: a row per setting, layer and whether it was frozen; the baseline has one too
SPEEDUP_DTYPES: Mapping[str, str] = {
    "case_id": "str",
    **_CASE_DTYPES,
    "baseline_id": "str",
    "is_twin": "bool",
    "is_frozen": "bool",
    "status": "str",
    "message": "str",
    "speedup": "float64",
    "speedup_ci_low": "float64",
    "speedup_ci_high": "float64",
    "latency_s": "float64",
    "peak_memory_bytes": "Int64",
    "memory_ratio": "float64",
    "macs": "Int64",
    "ceiling_share": "float64",
    "implementation": "str",
    "rounds": "int64",
    "replicates": "int64",
}
