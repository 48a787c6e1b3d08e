"""Small records, grids and plans for tests."""

import math
from typing import TYPE_CHECKING, Any

from deconvbench.records.case import Case
from deconvbench.records.pairs import PairRecord
from deconvbench.records.record import Record

if TYPE_CHECKING:  # tests of what needs no torch run where there is none
    from deconvbench.grid.grid import Grid
    from deconvbench.runner.plan import Plan


def make_case(**changes: Any) -> Case:
    values: dict[str, Any] = {
        "upsampler": "nearest_conv",
        "kernel_size": 3,
        "scale_factor": 2,
        "in_channels": 4,
        "out_channels": 2,
        "height": 8,
        "width": 8,
    }
    return Case(**{**values, **changes})


def make_record(**changes: Any) -> Record:
    values: dict[str, Any] = {
        "case": make_case(),
        "replicate": 0,
        "process_index": 0,
        "seed": 1,
        "order": 0,
        "started_at": "2026-01-01T00:00:00+00:00",
        "status": "ok",
    }
    return Record(**{**values, **changes})


def make_grid(*, axes: dict[str, Any] | None = None, **settings: Any) -> "Grid":
    """Build a grid of one upsampler at three sizes, two replicates, one quality seed."""
    from deconvbench.grid.grid import Grid

    full = {"upsampler": ["nearest_conv"], "kernel_size": [3], "scale_factor": [2], "in_channels": [4]}
    return Grid.from_dict(
        {
            "replicates": 2,
            "quality": {"seeds": 1},
            "axes": {**full, "height": [4, 8, 16], **(axes or {})},
            **settings,
        },
        "test.toml",
    )


def make_speedup_grid(**settings: Any) -> "Grid":
    """Build a grid of one case, and of two layers with interleaved timing at two sizes, forward and train."""
    speedup = {
        "baseline": "nearest_conv",
        "kernel_size": 3,
        "twins": ["nearest_conv_transposed"],
        "rivals": {"upsampler": "transposed", "kernel_size": 3},
        "axes": {"height": [4, 6], "step": ["forward", "train"]},
    }
    return make_grid(axes={"height": [4]}, speedup=speedup, **settings)


def make_plan(grid: "Grid | None" = None, **changes: Any) -> "Plan":
    from deconvbench.runner.plan import Plan

    chosen = grid or make_grid()
    settings = tuple(chosen.list_settings())
    return Plan(**{"grid": chosen, "cases": tuple(chosen.expand()), "seed": 7, "settings": settings, **changes})


def make_pair_record(*, log_ratio: float = 0.0, rounds: int = 3, **changes: Any) -> PairRecord:
    """Build a record in which HEAD takes exp(`log_ratio`) times as long in every round."""
    base = tuple(1e-3 * (index + 1) for index in range(rounds))
    values: dict[str, Any] = {
        "case": make_case(),
        "replicate": 0,
        "pair": "head",
        "seed": 1,
        "status": "ok",
        "base_samples_s": base,
        "head_samples_s": tuple(sample * math.exp(log_ratio) for sample in base),
        "calls_per_sample": 4,
        "output_difference": 0.0,
    }
    if changes.get("status", "ok") != "ok":
        values |= {"base_samples_s": (), "head_samples_s": (), "output_difference": None}
    return PairRecord(**{**values, **changes})
