"""Results of training experiments made by hand, as frames; nothing is trained and no file written."""

from collections.abc import Iterable, Mapping
from typing import Any

from deconvbench.records.schema import CURVE_DTYPES, IMAGE_DTYPES, TRAINED_DTYPES
from deconvbench.tables.frames import make_frame
from deconvbench.tables.trained import Trained

Row = dict[str, Any]


def make_result(upsampler: str, kernel_size: int | None, seed: int = 0, **changes: Any) -> Row:
    """A training run that ended well, with no checkerboard to speak of."""
    values: Row = {
        "task": "reconstruction",
        "upsampler": upsampler,
        "kernel_size": kernel_size,
        "scale_factor": 2,
        "norm": "none",
        "recipe": "tuned",
        "variant": "standard",
        "seed": seed,
        "steps": 1000,
        "loss": 0.01,
        "psnr_db": 26.0 + 0.1 * seed,
        "ssim": 0.8,
        "checkerboard_levels": 0.1 + 0.01 * seed,
        "checkerboard_scale1_levels": 0.1,
        "checkerboard_scale2_levels": 0.05 + 0.01 * seed,
        "detection_levels": 0.2,
        "flat_field_ripple_levels": 0.0,
        "effective_ripple_scale1": 1e-6,
        "effective_ripple_scale2": 2e-6 * (1 + seed),
        "target_checkerboard_levels": -0.1,
        "output_checkerboard_levels": 0.1,
        "colour_distance_correlation": 0.3 + 0.01 * seed,
        "border_residual_levels": 12.0,
        "interior_residual_levels": 10.0,
        "parameters": 1000,
        "width": 16,
        "residual_blocks": 5,
        "crop_size": 128,
        "batch": 4,
        "learning_rate": 1e-3,
        "device": "cpu",
        "autocast": False,
        "torch_version": "2.13.0",
        "code_version": "0.1.0",
    }
    return {**values, **changes}


def make_curve(result: Mapping[str, Any], levels: Mapping[int, float | None], **changes: Any) -> list[Row]:
    """The rows of a run's curve: its checkerboard by step."""
    return [{**result, "step": step, "checkerboard_levels": level, **changes} for step, level in levels.items()]


def make_images(result: Mapping[str, Any], levels: Mapping[str, float], step: int | None = None) -> list[Row]:
    """A run's rows by test image: its checkerboard in each; PSNR differs by a tenth from one to the next."""
    return [
        {
            **result,
            "step": result["steps"] if step is None else step,
            "image": name,
            "psnr_db": result["psnr_db"] + 0.1 * place,
            "checkerboard_levels": level,
            "crop": None,
        }
        for place, (name, level) in enumerate(levels.items())
    ]


def make_trained(
    results: Iterable[Row], curves: Iterable[Row] = (), images: Iterable[Row] = (), **columns: str
) -> Trained:
    """Frames as they are read; `columns` are results of a later version, with their types."""
    return Trained(
        results=make_frame(list(results), {**TRAINED_DTYPES, **columns}),
        curves=make_frame(list(curves), CURVE_DTYPES),
        images=make_frame(list(images), IMAGE_DTYPES),
    )
