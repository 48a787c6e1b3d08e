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
    speedup = take_speedup(make_grid(kernel_size=[3, 5]))
    assert [i.partition("-")[0] for i in speedup.list_equivalents(make_case(kernel_size=5))] == [
        "nearest_conv_fast"
    ]


def test_each_kernel_of_the_baseline_is_a_setting_of_its_own() -> None:
    grid = make_grid(kernel_size=[3, 5], axes={"scale_factor": [2, 3]})
    settings = grid.list_settings()
    sizes = [(setting.kernel_size, setting.scale_factor) for setting in settings]
    assert sizes == [(3, 2), (3, 3), (5, 2), (5, 3)]
    found = [take_speedup(grid).list_equivalents(setting) for setting in settings]
    assert [[name.partition("-c")[0] for name in names] for names in found] == [
        ["nearest_conv_fast-k3-s2", "nearest_conv_tiled-k3-s2"],
        ["nearest_conv_fast-k3-s3"],
        ["nearest_conv_fast-k5-s2"],
        ["nearest_conv_fast-k5-s3"],
    ]
    # a transposed convolution with gaps is none
    rivals = [take_speedup(grid).list_alternatives(setting) for setting in settings]
    assert [len(names) for names in rivals] == [2, 2, 2, 2]
    scales = make_grid(axes={"scale_factor": 4})
    (setting,) = scales.list_settings()
    assert [name.partition("-c")[0] for name in take_speedup(scales).list_alternatives(setting)] == [
        "transposed-k4-s4"
    ]


def test_a_baseline_without_a_kernel_has_equivalents_of_the_tables_kernels() -> None:
    grid = make_grid(baseline="dysample", twins=["nearest_conv"], kernel_size=[3, 5])
    (setting,) = grid.list_settings()
    assert setting.kernel_size is None
    found = take_speedup(grid).list_equivalents(setting)
    assert [name.partition("-c")[0] for name in found] == ["nearest_conv-k3-s2", "nearest_conv-k5-s2"]


def test_the_baseline_is_not_its_own_alternative_and_kernels_do_not_multiply_what_has_none() -> None:
    rivals = {"upsampler": ["nearest_conv", "dysample"], "kernel_size": [3, 4]}
    found = take_speedup(make_grid(rivals=rivals)).list_alternatives(make_case())
    assert found == ("nearest_conv-k4-s2-c4x2-8x8", "dysample-s2-c4x2-8x8")


def test_the_preset_has_kernels_scales_formats_threads_and_steps() -> None:
    grid = load_preset("fast")
    settings = grid.list_settings()
    shapes: dict[tuple[int | None, int], set[tuple[int, int]]] = {}
    for setting in settings:
        assert setting.in_channels == 2 * setting.out_channels
        shapes.setdefault((setting.kernel_size, setting.scale_factor), set()).add(
            (setting.in_channels, setting.height)
        )
    few = {(64, 24), (256, 12)}
    assert shapes == {
        (3, 2): {(64, 16), (64, 64), (128, 32), (256, 16), (512, 16)},
        (3, 3): few,
        (3, 4): few,
        (5, 2): few,
    }
    # two formats, steps and numbers of threads
    assert len(settings) == (5 + 3 * 2) * 2 * 2 * 2
    speedup = take_speedup(grid)
    assert speedup.weights == ("live", "frozen")
    for setting in settings:
        is_usual = (setting.kernel_size, setting.scale_factor) == (3, 2)
        assert len(speedup.list_equivalents(setting)) == 4 + is_usual
        # kernels 3 and 4 where they cover the output, and the faster ones where there are any
        assert len(speedup.list_alternatives(setting)) == {2: 4, 3: 2, 4: 1}[setting.scale_factor]


def test_round_trip_through_plain_data() -> None:
    grid = make_grid(constraints=["height == 8"])
    assert Grid.from_record(grid.to_dict()) == grid
    several = make_grid(kernel_size=[3, 5])
    assert Grid.from_record(several.to_dict()) == several
    # runs of before had one kernel, or none
    for before, kernels in ((3, (3,)), (None, ())):
        record = grid.to_dict()
        record["speedup"]["kernel_size"] = before
        assert take_speedup(Grid.from_record(record)).kernel_size == kernels
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
        ({**SPEEDUP, "kernel_size": [3, 3]}, "kernel_size: 3 is given twice"),
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
