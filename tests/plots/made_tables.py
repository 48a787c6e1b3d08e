"""Tables made by hand that look like those of a run, for figures and reports alike."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from deconvbench.analysis.results import RunResults, derive_results
from deconvbench.records.case import Case
from deconvbench.records.schema import QUALITY_DTYPES, SUMMARY_DTYPES, TABLE_DTYPES
from deconvbench.tables.files import Tables

LAYERS: tuple[tuple[str, int | None], ...] = (
    ("transposed", 2),
    ("transposed", 3),
    ("transposed", 4),
    ("transposed", 5),
    ("transposed_smoothed", 3),
    ("zero_insert", 3),
    ("nearest_conv", 3),
    ("bilinear_conv", 3),
    ("bicubic_conv", 3),
    ("conv_nearest", 3),
    ("subpixel", 3),
    ("subpixel_icnr", 3),
)
# every upsampler that the package has or will have
ALL_LAYERS: tuple[tuple[str, int | None], ...] = (
    *LAYERS,
    ("subpixel_icnr_blur", 3),
    ("conv_bilinear", 3),
    ("nearest_conv_fast", 3),
    ("bilinear_additive", 3),
    ("transposed_fir", 3),
    ("sinc_conv", 3),
    ("transposed_bilinear_init", 4),
    ("equal_gain_transposed", 3),
    ("separable_transposed", 3),
    ("max_unpool_conv", 3),
    ("carafe", None),
    ("dysample", None),
)
SIZES = (16, 32, 64, 128)
STEPS = ("forward", "train")
# relative cost, phase ripple, noise gain, image rejection, checkerboard: about what is measured
_TRAITS: dict[str, tuple[float, float | None, float | None, float | None, float]] = {
    "transposed": (1.0, 0.75, 0.48, -0.1, 0.67),
    "transposed_smoothed": (9.0, 0.76, 0.054, -0.2, 0.68),
    "zero_insert": (3.6, 0.75, 0.48, -0.1, 0.67),
    "nearest_conv": (2.9, 3e-32, 0.036, -16.0, -0.01),
    "bilinear_conv": (3.4, 5e-31, 0.012, -48.0, -0.002),
    "bicubic_conv": (5.2, 8e-31, 0.012, -32.3, 0.003),
    "conv_nearest": (1.6, 0.0, 0.0, -16.0, -0.01),
    "subpixel": (3.0, 0.75, 0.017, -0.1, 0.69),
    "subpixel_icnr": (3.1, 2e-33, 0.0, -16.0, -0.011),
    "subpixel_icnr_blur": (3.3, 2e-33, 0.48, -32.0, -0.007),
    "conv_bilinear": (1.7, 1e-32, 0.0, -48.0, -0.002),
    "nearest_conv_fast": (2.0, 3e-32, 0.036, -16.0, -0.01),
    "bilinear_additive": (1.5, 4e-32, 0.016, -48.0, -0.002),
    "transposed_fir": (1.8, 9e-33, 0.012, -48.0, -0.002),
    "sinc_conv": (4.4, 2e-32, 0.012, -68.0, -0.0002),
    "transposed_bilinear_init": (1.1, 1e-31, 0.0, -48.0, -0.002),
    "equal_gain_transposed": (1.2, 3e-32, 0.65, -11.0, 0.002),
    "separable_transposed": (0.8, 0.73, 0.48, -0.5, 0.57),
    "max_unpool_conv": (2.8, None, None, None, 0.01),
    "carafe": (6.0, None, None, None, 0.021),
    "dysample": (2.4, None, None, None, -0.002),
}
_OTHER_TRAITS = (2.0, 0.3, 0.1, -10.0, 0.1)
_ENVIRONMENT = {"machine_id": "0123456789ab", "torch_version": "2.13.0", "code_version": "0.1.0"}


def make_row(case: Case, status: str = "ok", message: str = "", *, noisy: bool = False) -> dict[str, Any]:
    """One case as a row of the summary, with numbers that depend on nothing but the case."""
    row: dict[str, Any] = {"case_id": case.case_id}
    row |= {name: getattr(case, name) for name in Case.__dataclass_fields__}
    row |= {"samples": 30, "stop_reason": "precision", "launch_bound": None, "replicates": 3, "seed": 7}
    row |= {"status": status, "message": message, "noisy": noisy, "noise_reason": "load 3.1" if noisy else ""}
    row |= _ENVIRONMENT
    if status != "ok":
        return row
    price = _TRAITS.get(case.upsampler, _OTHER_TRAITS)[0]
    kernel, scale = case.kernel_size or 1, case.scale_factor
    pixels = case.height * case.width * scale**2
    train = case.step == "train"
    latency = 2e-5 + 4e-9 * price * pixels * kernel**2 / 9 * case.in_channels * case.out_channels / 64
    latency *= 3.1 if train else 1.0
    output = 4 * case.batch * case.out_channels * pixels
    parameters = 4 * (kernel**2 * case.in_channels * case.out_channels + case.out_channels)
    workspace = round(0.6 * price * output)
    gradients = parameters + output // 4 if train else 0
    row |= {
        "latency_s": latency,
        "latency_ci_low_s": latency * (0.8 if noisy else 0.985),
        "latency_ci_high_s": latency * (1.3 if noisy else 1.012),
        "latency_floor_s": latency * 0.99,
        "input_bytes": 4 * case.batch * case.in_channels * case.height * case.width,
        "output_bytes": output,
        "parameter_bytes": parameters,
        "workspace_bytes": workspace,
        "peak_memory_bytes": output + workspace + gradients,
        "macs": pixels * kernel**2 * case.in_channels * case.out_channels // scale**2,
        **make_artifacts(case.upsampler, case.kernel_size, scale),
        "numerical_error": 1.3e-7,
    }
    return row


def make_artifacts(upsampler: str, kernel_size: int | None, scale: int) -> dict[str, float | None]:
    """The artifact metrics of a layer."""
    _, ripple, noise, rejection, checkerboard = _TRAITS.get(upsampler, _OTHER_TRAITS)
    even = (kernel_size or 1) % scale == 0
    transposed = upsampler == "transposed"
    # a layer without a phase ripple is not linear: of these, one has holes and the others keep a flat field
    flat = math.sqrt(ripple) if ripple is not None else 0.05 if upsampler == "max_unpool_conv" else 1e-16
    return {
        "overlap_cv": (0.0 if even else 0.4843) if transposed else None,
        "phase_ripple": ripple,
        "noise_gain_cv": 0.024 if even and transposed else noise,
        "image_rejection_db": rejection,
        "border_error": 0.1 + 0.03 * (kernel_size or 1),
        "flat_field_ripple": flat,
        "checkerboard": checkerboard,
    }


def make_layer_quality(
    layers: tuple[tuple[str, int | None], ...] = ALL_LAYERS, scale: int = 2, seeds: int = 8, spread: float = 0.1
) -> pd.DataFrame:
    """A quality table whose means over seeds are those of the summary; seeds go `spread` to either side."""
    rows = []
    for upsampler, kernel in layers:
        artifacts = make_artifacts(upsampler, kernel, scale)
        for seed, share in enumerate(np.linspace(-spread, spread, seeds)):
            row = {name: None if value is None else value * (1 + share) for name, value in artifacts.items()}
            row |= {"upsampler": upsampler, "kernel_size": kernel, "scale_factor": scale}
            rows.append({**row, "seed": seed, "channels": 16, "status": "ok", "message": ""})
    return make_frame(rows, QUALITY_DTYPES)


def add_trained(quality: pd.DataFrame, seeds: int = 3) -> pd.DataFrame:
    """The quality table of layers trained with the first seeds: those that are clean before are clean after."""
    rows = []
    for row in quality.to_dict("records"):
        price, *_, checkerboard = _TRAITS.get(row["upsampler"], _OTHER_TRAITS)
        if row["seed"] < seeds:
            row["trained_checkerboard_levels"] = 9 * checkerboard + 0.1 * row["seed"] - 0.1
            row["trained_psnr_db"] = 24 + 0.3 * price - 2 * checkerboard + 0.1 * row["seed"]
            row["trained_ssim"] = 0.7 + 0.02 * price - 0.1 * checkerboard + 0.004 * row["seed"]
            row["steps"] = 500
        rows.append({str(name): value for name, value in row.items()})
    return make_frame(rows, QUALITY_DTYPES)


def make_summary(
    layers: tuple[tuple[str, int | None], ...] = LAYERS,
    sizes: tuple[int, ...] = SIZES,
    steps: tuple[str, ...] = STEPS,
    **settings: Any,
) -> pd.DataFrame:
    """A summary of 12 layers, 4 sizes, 2 steps; some cases failed, some are noisy."""
    rows = []
    for step in steps:
        for upsampler, kernel in layers:
            for size in sizes:
                case = Case(
                    **{"scale_factor": 2, "in_channels": 64, "out_channels": 32, **settings},
                    upsampler=upsampler,
                    kernel_size=kernel,
                    height=size,
                    width=size,
                    step=step,
                )
                rows.append(make_row(case, **_mishap(case)))
    return make_frame(rows, SUMMARY_DTYPES)


def make_frame(rows: list[dict[str, Any]], dtypes: Mapping[str, str]) -> pd.DataFrame:
    """Give rows the columns and dtypes of a run's tables; what a row lacks is null."""
    return pd.DataFrame(
        {name: pd.Series([row.get(name) for row in rows], dtype=dtype) for name, dtype in dtypes.items()}
    )


def _mishap(case: Case) -> dict[str, Any]:
    where = (case.upsampler, case.height, case.step)
    if where == ("transposed_smoothed", 128, "train"):
        return {"status": "oom", "message": "tried to allocate 3.2 GiB <big> & failed"}
    if where == ("zero_insert", 128, "train"):
        return {"status": "timeout", "message": "no answer after 300 s"}
    if (case.kernel_size or case.scale_factor) < case.scale_factor:
        return {"status": "unsupported", "message": "kernel smaller than the scale"}
    return {"noisy": where in {("subpixel", 32, "forward"), ("bicubic_conv", 64, "forward")}}


def make_quality(
    upsamplers: tuple[str, ...] = ("transposed", "nearest_conv"),
    kernels: tuple[int, ...] = (2, 3, 4, 5, 6),
    scales: tuple[int, ...] = (2, 3, 4),
    seeds: int = 2,
) -> pd.DataFrame:
    """A quality table of kernels by strides; a transposed kernel below its stride is unsupported."""
    rng = np.random.default_rng(5)
    rows = []
    for upsampler in upsamplers:
        for kernel in kernels:
            for scale in scales:
                transposed = upsampler == "transposed"
                remainder = kernel % scale
                spread = math.sqrt((1 + remainder * (scale - remainder) / kernel**2) ** 2 - 1)
                fits = not transposed or kernel >= scale
                for seed in range(seeds):
                    row: dict[str, Any] = {
                        "upsampler": upsampler, "kernel_size": kernel, "scale_factor": scale, "seed": seed,
                        "channels": 16, "status": "ok" if fits else "unsupported",
                        "message": "" if fits else f"kernel {kernel} is smaller than scale {scale}",
                    }  # fmt: skip
                    if fits:
                        row |= {
                            "overlap_cv": spread if transposed else None,
                            "phase_ripple": 1 - 1 / scale**2 + rng.normal(0, 0.01) if transposed else 1e-32,
                            "noise_gain_cv": (spread if transposed else 0.0) + abs(rng.normal(0.02, 0.005)),
                            "image_rejection_db": -3.0 if transposed else -16.0,
                            "border_error": 0.1 + 0.03 * kernel,
                            "flat_field_ripple": 0.85 if transposed else 1e-16,
                            "checkerboard": (0.4 if transposed else 0.0) + rng.normal(0, 0.01),
                        }
                    rows.append(row)
    return make_frame(rows, QUALITY_DTYPES)


def make_table(summary: pd.DataFrame, replicates: int = 3) -> pd.DataFrame:
    """The table that a summary pools: one row per case and replicate."""
    parts = [
        summary.drop(columns="replicates").assign(
            replicate=replicate,
            process_index=0,
            order=range(len(summary)),
            started_at="2026-03-01T12:00:00.000+00:00",
            ended_at="2026-03-01T12:00:01.000+00:00",
            attempt=pd.array([1] * len(summary), "Int64"),
        )
        for replicate in range(replicates)
    ]
    return pd.concat(parts, ignore_index=True)[list(TABLE_DTYPES)]


def make_tables(summary: pd.DataFrame | None = None, quality: pd.DataFrame | None = None) -> Tables:
    """The tables of a run without interleaved timing."""
    summary = make_summary() if summary is None else summary
    quality = make_quality() if quality is None else quality
    return Tables(table=make_table(summary), summary=summary, quality=quality)


def make_run_results(
    summary: pd.DataFrame | None = None,
    quality: pd.DataFrame | None = None,
    speedups: pd.DataFrame | None = None,
) -> RunResults:
    """All that is known of a run; without interleaved timing where none is given."""
    tables = make_tables(summary, quality)
    return derive_results(tables if speedups is None else replace(tables, speedups=speedups))


def make_empty_results() -> RunResults:
    """What is known of a run that was killed before its first record: columns and no rows."""
    return make_run_results(make_summary().iloc[:0], make_quality().iloc[:0])
