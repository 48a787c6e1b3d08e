"""Records of a small run, and a run folder with their journal."""

import os
from pathlib import Path
from typing import Any

from deconvbench.records.record import (
    AnyRecord,
    Latency,
    Memory,
    NumericsRecord,
    QualityRecord,
    encode_record,
)
from deconvbench.records.run_folder import JOURNAL_NAME
from tests.builders import make_case, make_record

DESIGN_COLUMNS = [
    "case_id", "upsampler", "kernel_size", "scale_factor", "in_channels", "out_channels", "height", "width",
    "batch", "dtype", "memory_format", "step", "device", "threads", "execution", "replicate", "process_index",
    "seed", "order", "started_at", "ended_at", "attempt", "status", "message", "noisy", "noise_reason",
    "latency_s",
    "latency_ci_low_s", "latency_ci_high_s", "latency_floor_s", "baseline_id", "ratio", "samples", "stop_reason",
    "host_latency_s", "launch_bound", "peak_memory_bytes", "peak_reserved_bytes", "input_bytes", "output_bytes",
    "parameter_bytes",
    "workspace_bytes", "macs", "kernel", "overlap_cv", "phase_ripple", "noise_gain_cv", "image_rejection_db",
    "border_error", "flat_field_ripple", "checkerboard", "numerical_error", "machine_id", "torch_version",
    "code_version",
    "conditions",
]  # fmt: skip  # fmt: skip


def make_latency(*samples_s: float, **changes: Any) -> Latency:
    values: dict[str, Any] = {"calls_per_sample": 1, "first_call_s": 1.0, "stop_reason": "precision"}
    return Latency(samples_s=samples_s or (2.0, 1.0, 3.0), **{**values, **changes})


def make_memory(**changes: Any) -> Memory:
    values: dict[str, Any] = {
        "peak_memory_bytes": 1000,
        "peak_reserved_bytes": None,
        "input_bytes": 100,
        "output_bytes": 400,
        "parameter_bytes": 50,
        "gradient_bytes": 0,
    }
    return Memory(**{**values, **changes})


def make_quality(**changes: Any) -> QualityRecord:
    values: dict[str, Any] = {
        "upsampler": "nearest_conv",
        "kernel_size": 3,
        "scale_factor": 2,
        "seed": 0,
        "channels": 16,
        "status": "ok",
        "metrics": {"phase_ripple": 0.5, "noise_gain_cv": 0.25, "overlap_cv": None},
    }
    return QualityRecord(**{**values, **changes})


def make_numerics(**changes: Any) -> NumericsRecord:
    values: dict[str, Any] = {
        "upsampler": "nearest_conv",
        "kernel_size": 3,
        "scale_factor": 2,
        "in_channels": 4,
        "out_channels": 2,
        "dtype": "float32",
        "device": "cpu",
        "status": "ok",
        "numerical_error": 1e-7,
    }
    return NumericsRecord(**{**values, **changes})


def make_run(replicates: int = 3) -> list[AnyRecord]:
    """Two layers, one without a kernel, one that failed once; everything that a run has."""
    records: list[AnyRecord] = [make_quality(seed=0), make_quality(seed=1, metrics={"phase_ripple": 0.7})]
    records += [make_quality(upsampler="bilinear", kernel_size=None), make_numerics()]
    for replicate in range(replicates):
        for case in (make_case(), make_case(upsampler="bilinear", kernel_size=None)):
            latency = make_latency(*(1.0 + 0.01 * replicate + 0.001 * i for i in range(12)))
            records.append(
                make_record(case=case, replicate=replicate, latency=latency, memory=make_memory(), macs=123)
            )
    records.append(make_record(case=make_case(height=99), status="oom", message="tried, and\nfailed, «badly»"))
    return records


def write_run(folder: Path, records: list[AnyRecord] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [encode_record(record) + "\n" for record in (make_run() if records is None else records)]
    (folder / JOURNAL_NAME).write_text("".join(lines), encoding="utf-8")
    return folder


def set_age(path: Path, age_s: int) -> None:
    """Let a file be that much older than one written on a fixed day."""
    moment = 1_700_000_000 - age_s
    os.utime(path, (moment, moment))


def make_ripples(*ripples: float | None, **changes: Any) -> list[AnyRecord]:
    """One layer with a seed for each ripple; None is a seed that failed."""
    return [
        make_quality(seed=seed, status="error", message="broken weights", metrics={}, **changes)
        if ripple is None
        else make_quality(
            seed=seed, metrics={"phase_ripple": ripple, "checkerboard": ripple, "overlap_cv": 0.25}, **changes
        )
        for seed, ripple in enumerate(ripples)
    ]
