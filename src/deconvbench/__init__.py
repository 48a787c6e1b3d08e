"""What does it cost to upsample without checkerboard artifacts, on your device, at your map sizes.

A benchmark and test-matrix harness for learned upsampling layers in PyTorch, and its metrics of checkerboards for
images, networks and layers of one's own. The names below are imported when they are first used, so that
``import deconvbench`` needs neither torch nor pandas.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deconvbench import nn as nn
    from deconvbench.analysis.comparison import compare
    from deconvbench.analysis.tradeoff import join_tradeoff
    from deconvbench.grid.grid import Grid
    from deconvbench.measure.artifacts import (
        block_edge,
        border_error,
        checkerboard,
        effective_ripple,
        find_period,
        flat_field_ripple,
        gradient_overlap_cv,
        image_rejection_db,
        impulse_response,
        measure_mean_inputs,
        noise_gain_cv,
        overlap_cv,
        phase_ripple,
        ripple_amplitude,
    )
    from deconvbench.measure.layer_metrics import measure_layer
    from deconvbench.networks.fusion import fuse
    from deconvbench.networks.inspection import audit
    from deconvbench.networks.replacement import replace
    from deconvbench.records.case import Case
    from deconvbench.tables.columns import describe_columns
    from deconvbench.tables.files import load
    from deconvbench.upsamplers import build_upsampler, list_upsamplers, register_upsampler
    from deconvbench.workflows.history import history
    from deconvbench.workflows.picture_scores import score
    from deconvbench.workflows.recommendation import recommend
    from deconvbench.workflows.run import run

__version__ = "0.1.0"

_HOMES = {
    "Case": "records.case",
    "Grid": "grid.grid",
    "audit": "networks.inspection",
    "block_edge": "measure.artifacts",
    "border_error": "measure.artifacts",
    "build_upsampler": "upsamplers",
    "checkerboard": "measure.artifacts",
    "compare": "analysis.comparison",
    "describe_columns": "tables.columns",
    "effective_ripple": "measure.artifacts",
    "find_period": "measure.artifacts",
    "flat_field_ripple": "measure.artifacts",
    "fuse": "networks.fusion",
    "gradient_overlap_cv": "measure.artifacts",
    "history": "workflows.history",
    "image_rejection_db": "measure.artifacts",
    "impulse_response": "measure.artifacts",
    "join_tradeoff": "analysis.tradeoff",
    "list_upsamplers": "upsamplers",
    "load": "tables.files",
    "measure_layer": "measure.layer_metrics",
    "measure_mean_inputs": "measure.artifacts",
    "noise_gain_cv": "measure.artifacts",
    "overlap_cv": "measure.artifacts",
    "phase_ripple": "measure.artifacts",
    "recommend": "workflows.recommendation",
    "register_upsampler": "upsamplers",
    "replace": "networks.replacement",
    "ripple_amplitude": "measure.artifacts",
    "run": "workflows.run",
    "score": "workflows.picture_scores",
}

__all__ = [
    "Case",
    "Grid",
    "__version__",
    "audit",
    "block_edge",
    "border_error",
    "build_upsampler",
    "checkerboard",
    "compare",
    "describe_columns",
    "effective_ripple",
    "find_period",
    "flat_field_ripple",
    "fuse",
    "gradient_overlap_cv",
    "history",
    "image_rejection_db",
    "impulse_response",
    "join_tradeoff",
    "list_upsamplers",
    "load",
    "measure_layer",
    "measure_mean_inputs",
    "noise_gain_cv",
    "overlap_cv",
    "phase_ripple",
    "recommend",
    "register_upsampler",
    "replace",
    "ripple_amplitude",
    "run",
    "score",
]


def __getattr__(name: str) -> Any:
    if name == "nn":
        # a module, not a name in one; to import it makes it an attribute
        return importlib.import_module(f"{__name__}.nn")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, "nn"})
