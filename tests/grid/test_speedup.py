from typing import Any

import pytest

from deconvbench.errors import GridError
from deconvbench.grid.grid import Grid, load_preset
from deconvbench.grid.speedup import SpeedupGrid
from tests.builders import make_case

AXES: dict[str, Any] = {
    "upsampler": ["subpixel"],
    "kernel_size": [5],
    "scale_factor": [2],
    "in_channels": [4],
    "height": [8],
}
SPEEDUP: dict[str, Any] = {
    "baseline": "nearest_conv",
    "kernel_size": 3,
    "twins": ["nearest_conv_fast", "nearest_conv_tiled"],
    "rivals": {"upsampler": "transposed", "kernel_size": [3, 4]},
}


def make_grid(axes: dict[str, Any] | None = None, constraints: list[str] | None = None, **speedup: Any) -> Grid:
    table = {name: value for name, value in {**SPEEDUP, **speedup}.items() if value is not None}
    data = {"axes": {**AXES, **(axes or {})}, "constraints": constraints or [], "speedup": table}
    return Grid.from_dict(data, "mine.toml")


def take_speedup(grid: Grid) -> SpeedupGrid:
    assert grid.speedup is not None
    return grid.speedup


def test_settings_are_cases_of_the_baseline() -> None:
    grid = Grid.from_dict(
        {
            "axes": {**AXES, "height": [8, 16]},
            "speedup": {**SPEEDUP, "axes": {"threads": [1, 2], "in_channels": 6}},
        },
        "mine.toml",
    )
    assert [setting.case_id for setting in grid.list_settings()] == [
        "nearest_conv-k3-s2-c6x6-8x8",
        "nearest_conv-k3-s2-c6x6-8x8-t2",
        "nearest_conv-k3-s2-c6x6-16x16",
        "nearest_conv-k3-s2-c6x6-16x16-t2",
    ]
    assert [case.upsampler for case in grid.expand()] == ["subpixel"] * 2


def test_own_constraints_take_the_place_of_the_grids() -> None:
    data = {"axes": {**AXES, "height": [8, 16]}, "constraints": ["height == 8"]}
    heights = {}
    for name, own in {
        "theirs": {},
        "own": {"constraints": ["height == 16"]},
        "none": {"constraints": ["height > 99"]},
    }.items():
        grid = Grid.from_dict({**data, "speedup": {**SPEEDUP, **own}}, "mine.toml")
        heights[name] = [setting.height for setting in grid.list_settings()]
    assert heights == {"theirs": [8], "own": [16], "none": []}


def test_a_grid_without_the_table_has_no_settings() -> None:
    assert Grid.from_dict({"axes": AXES}, "mine.toml").list_settings() == []


def test_equivalents_have_the_baselines_kernel_and_alternatives_their_own() -> None:
    speedup = take_speedup(make_grid())
    setting = make_case(threads=2)
    assert speedup.list_equivalents(setting) == (
        "nearest_conv_fast-k3-s2-c4x2-8x8-t2",
        "nearest_conv_tiled-k3-s2-c4x2-8x8-t2",
    )
    assert speedup.list_alternatives(setting) == ("transposed-k3-s2-c4x2-8x8-t2", "transposed-k4-s2-c4x2-8x8-t2")
    assert speedup.list_upsamplers() == ("nearest_conv", *speedup.twins, "transposed")


def test_layers_that_cannot_have_kernel_or_scale_are_left_out() -> None:
    speedup = take_speedup(make_grid(kernel_size=5))
    assert [i.partition("-")[0] for i in speedup.list_equivalents(make_case(kernel_size=5))] == [
        "nearest_conv_fast"
    ]


def test_the_baseline_is_not_its_own_alternative_and_kernels_do_not_multiply_what_has_none() -> None:
    rivals = {"upsampler": ["nearest_conv", "dysample"], "kernel_size": [3, 4]}
    found = take_speedup(make_grid(rivals=rivals)).list_alternatives(make_case())
    assert found == ("nearest_conv-k4-s2-c4x2-8x8", "dysample-s2-c4x2-8x8")


def test_the_preset_has_seven_shapes_in_both_formats_live_and_frozen() -> None:
    grid = load_preset("fast")
    settings = grid.list_settings()
    shapes = {(setting.in_channels, setting.out_channels, setting.height) for setting in settings}
    assert shapes == {
        (c, c // 2, h) for c, h in ((64, 16), (64, 64), (128, 32), (256, 16), (256, 32), (512, 16), (512, 32))
    }
    assert len(settings) == 7 * 2 * 2 * 2
    assert take_speedup(grid).weights == ("live", "frozen")
    assert len(take_speedup(grid).list_equivalents(settings[0])) == 5


def test_round_trip_through_plain_data() -> None:
    grid = make_grid(constraints=["height == 8"])
    assert Grid.from_record(grid.to_dict()) == grid
    without = {name: value for name, value in grid.to_dict().items() if name != "speedup"}
    assert Grid.from_record(without).speedup is None


def test_set_replaces_the_tables_axes_too() -> None:
    data = {"axes": AXES, "speedup": {**SPEEDUP, "axes": {"threads": [1, 2]}}}
    grid = Grid.from_dict(data, "mine.toml").override(["threads=4", "height=32"])
    assert [(setting.threads, setting.height) for setting in grid.list_settings()] == [(4, 32)]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (3, "3 is not a table"),
        ({**SPEEDUP, "rival": []}, r"rival: unknown key; the keys are baseline"),
        ({"twins": ["nearest_conv_fast"]}, "baseline: missing"),
        ({"baseline": 3, "twins": ["nearest_conv_fast"]}, "baseline: 3 is not text"),
        ({"baseline": "nearest_conv"}, "needs twins or rivals"),
        ({**SPEEDUP, "twins": ["Fast"]}, "twins.upsampler: 'Fast' is not a name"),
        ({**SPEEDUP, "rivals": {"kernel_size": 3}}, r"rivals\.upsampler: missing"),
        ({**SPEEDUP, "rivals": {"height": 3}}, r"rivals\.height: unknown axis"),
        ({**SPEEDUP, "kernel_size": [3, 5]}, r"kernel_size: \[3, 5\] is not one kernel size"),
        ({**SPEEDUP, "kernel_size": 0}, "kernel_size: 0 is not a whole number"),
        ({**SPEEDUP, "weights": ["cold"]}, r"weights: \['cold'\] is not a list of live and frozen"),
        ({**SPEEDUP, "weights": []}, r"weights: \[\] is not"),
        ({**SPEEDUP, "axes": {"hight": 3}}, r"axes\.hight: unknown axis"),
        ({**SPEEDUP, "axes": {"kernel_size": 3}}, r"axes\.kernel_size: comes from baseline"),
        ({**SPEEDUP, "constraints": ["hight > 1"]}, "constraints: .*'hight'"),
    ],
)
def test_bad_tables_name_file_and_key(table: Any, message: str) -> None:
    with pytest.raises(GridError, match=rf"^mine\.toml: speedup[.:] ?{message}"):
        Grid.from_dict({"axes": AXES, "speedup": table}, "mine.toml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"baseline": "nearest"}, r"baseline: 'nearest' is unknown"),
        ({"twins": ["fast"]}, r"twins: 'fast' is unknown"),
        ({"rivals": {"upsampler": "deconv"}}, r"rivals\.upsampler: 'deconv' is unknown"),
        ({"kernel_size": None}, r"kernel_size: missing; nearest_conv has a kernel"),
        ({"rivals": {"upsampler": "transposed"}}, r"rivals\.kernel_size: missing; transposed has a kernel"),
    ],
    ids=["baseline", "twin", "rival", "kernel", "kernel of a rival"],
)
def test_upsamplers_are_checked_when_settings_are_listed(changes: dict[str, Any], message: str) -> None:
    grid = make_grid(**changes)
    with pytest.raises(GridError, match=rf"^mine\.toml: speedup\.{message}"):
        grid.list_settings()
