"""Axes to cases: counted first, then enumerated."""

import itertools
from typing import Any

import pytest

from deconvbench.errors import GridError
from deconvbench.grid.expansion import expand_axes
from deconvbench.grid.grid import load_preset

AXES: dict[str, tuple[Any, ...]] = {
    "upsampler": ("transposed", "carafe"),
    "kernel_size": (2, 3, 4),
    "scale_factor": (2,),
    "in_channels": (4,),
    "height": (8,),
}


@pytest.mark.parametrize(
    "many",
    [
        {"height": 10**6, "width": 10**6},
        {"height": 100, "width": 100, "batch": 100, "threads": 100, "in_channels": 10**4},
    ],
    ids=["long axes", "many axes"],
)
@pytest.mark.parametrize("constraints", [[], ["height == 1", "width == 1"]], ids=["free", "constrained"])
def test_billions_of_combinations_are_refused_without_looking_at_one(
    monkeypatch: pytest.MonkeyPatch, many: dict[str, int], constraints: list[str]
) -> None:
    monkeypatch.setattr(itertools, "product", lambda *_: pytest.fail("enumerated"))
    axes = {**AXES, **{name: range(1, count + 1) for name, count in many.items()}}
    with pytest.raises(
        GridError, match=r"^f: axes: their values have [\d,]{17,} combinations, before constraints"
    ):
        expand_axes(axes, constraints, "f")  # type: ignore[arg-type] # a range is as good as a tuple here


def test_a_condition_over_the_kernel_keeps_a_layer_without_one() -> None:
    cases = expand_axes(AXES, ["kernel_size % scale_factor == 0"], "f")
    assert [case.layer_name for case in cases] == ["transposed k2 s2", "transposed k4 s2", "carafe s2"]


def test_a_condition_that_fails_at_a_case_names_the_file() -> None:
    with pytest.raises(
        GridError, match=r"^f: constraints: 'height % \(kernel_size - 2\) == 0' cannot be evaluated"
    ):
        expand_axes(AXES, ["height % (kernel_size - 2) == 0"], "f")


def test_what_an_option_brought_in_is_blamed_on_it() -> None:
    grid = load_preset("smoke")
    with pytest.raises(GridError, match=r"^--set upsampler: 'nosuch' is unknown"):
        grid.override(["upsampler=nosuch"])
    with pytest.raises(GridError, match=r"^--device: 'gpu' is not cpu"):
        grid.choose_devices("cpu,gpu")
    changed = grid.override(["kernel_size=7", "upsampler=subpixel_icnr"])
    with pytest.raises(
        GridError, match=r"^smoke.toml with --set kernel_size=7 --set upsampler=.*: no case is left"
    ):
        changed.expand()
