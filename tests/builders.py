"""Small records, grids and plans for tests."""

from typing import Any

from deconvbench.grid.grid import Grid
from deconvbench.records.case import Case
from deconvbench.records.record import Record
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


def make_grid(*, axes: dict[str, Any] | None = None, **settings: Any) -> Grid:
    """Build a grid of one upsampler at three sizes, two replicates, one quality seed."""
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


def make_speedup_grid(**settings: Any) -> Grid:
    """Build a grid of one case, and of two layers with interleaved timing at two sizes, forward and train."""
    speedup = {
        "baseline": "nearest_conv",
        "kernel_size": 3,
        "twins": ["nearest_conv_transposed"],
        "rivals": {"upsampler": "transposed", "kernel_size": 3},
        "axes": {"height": [4, 6], "step": ["forward", "train"]},
    }
    return make_grid(axes={"height": [4]}, speedup=speedup, **settings)


def make_plan(grid: Grid | None = None, **changes: Any) -> Plan:
    chosen = grid or make_grid()
    settings = tuple(chosen.list_settings())
    return Plan(**{"grid": chosen, "cases": tuple(chosen.expand()), "seed": 7, "settings": settings, **changes})
