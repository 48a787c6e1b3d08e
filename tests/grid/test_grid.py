from pathlib import Path
from typing import Any

import pytest

from deconvbench.errors import GridError, UsageError
from deconvbench.grid.grid import PRESETS, Grid, load_grid, load_preset, select_cases
from deconvbench.upsamplers import list_upsamplers

AXES: dict[str, Any] = {
    "upsampler": ["nearest_conv"],
    "kernel_size": [3],
    "scale_factor": [2],
    "in_channels": [4],
    "height": [8],
}


def make_grid(**axes: Any) -> Grid:
    return Grid.from_dict({"axes": {**AXES, **axes}}, "mine.toml")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_expand(name: str) -> None:
    grid = load_preset(name)
    cases = grid.expand()
    assert grid.name == name
    assert grid.description
    assert len({case.case_id for case in cases}) == len(cases) > 0


def test_quick_has_every_upsampler_at_three_sizes_and_one_training_step_of_each() -> None:
    cases = load_preset("quick").expand()
    # the other fast forms are the preset fast's
    shown = {"nearest_conv_fast", "nearest_conv_native"}
    others = {name for name in list_upsamplers() if "nearest_conv_" in name or name == "transposed_fast"}
    known = {*list_upsamplers()} - (others - shown)
    assert {case.upsampler for case in cases} == known
    layers = {case.layer_name for case in cases}
    # transposed has three kernels
    assert len(layers) == len(known) + 2 == 24
    assert {"transposed k2 s2", "transposed k3 s2", "transposed k4 s2", "nearest_conv_native k3 s2"} <= layers
    for layer in layers:
        found = sorted((case.step, case.height) for case in cases if case.layer_name == layer)
        assert found == [("forward", 16), ("forward", 64), ("forward", 128), ("train", 64)]


def test_article_covers_kernels_by_strides() -> None:
    found = {(case.kernel_size, case.scale_factor) for case in load_preset("article").expand()}
    assert found == {(k, s) for k in range(2, 7) for s in range(2, 5)}


def test_defaults_of_missing_axes() -> None:
    (case,) = make_grid().expand()
    assert (case.width, case.out_channels, case.step, case.threads) == (8, 4, "forward", 1)


def test_width_and_out_channels_as_axes() -> None:
    cases = make_grid(width=[4, 16], out_channels=[2]).expand()
    assert [(case.height, case.width, case.out_channels) for case in cases] == [(8, 4, 2), (8, 16, 2)]


def test_constraints_exclude() -> None:
    grid = Grid.from_dict(
        {"axes": {**AXES, "height": [8, 16], "in_channels": [4, 8]}, "constraints": ["height == 2 * in_channels"]},
        "mine.toml",
    )
    assert [(case.height, case.in_channels) for case in grid.expand()] == [(8, 4), (16, 8)]


def test_override_replaces_an_axis() -> None:
    grid = make_grid().override(["height=32,64", "step=train", "upsampler=subpixel"])
    assert [case.case_id for case in grid.expand()] == [
        "subpixel-k3-s2-c4x4-32x32-train",
        "subpixel-k3-s2-c4x4-64x64-train",
    ]


def test_layers_are_those_of_the_cases_and_of_the_quality_axes() -> None:
    quality = {"upsampler": ["transposed"], "kernel_size": [3, 4], "scale_factor": [2], "seeds": 3}
    grid = Grid.from_dict({"axes": AXES, "quality": quality}, "mine.toml")
    assert grid.quality_seeds == 3
    assert grid.list_layers(grid.expand()) == [("nearest_conv", 3, 2), ("transposed", 3, 2), ("transposed", 4, 2)]


@pytest.mark.parametrize(
    ("keyword", "expected"),
    [
        ("nearest", []),
        ("transposed or 8x8", [("transposed", 3, 2), ("transposed", 4, 2)]),
        ("k4", [("transposed", 4, 2)]),
        ("", [("transposed", 3, 2), ("transposed", 4, 2)]),
    ],
)
def test_a_keyword_filters_the_layers_of_the_quality_axes(keyword: str, expected: list[Any]) -> None:
    quality = {"upsampler": ["transposed"], "kernel_size": [3, 4], "scale_factor": [2]}
    grid = Grid.from_dict({"axes": AXES, "quality": quality}, "mine.toml")
    # those of the cases were chosen with the cases
    assert grid.list_layers(grid.expand(), keyword) == [("nearest_conv", 3, 2), *expected]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("kernel_size=4,5", [("transposed", 4, 2), ("transposed", 4, 3)]),
        ("scale_factor=3", [("transposed", 3, 3), ("transposed", 4, 3)]),
        ("upsampler=nearest_conv", []),
        ("height=4", [("transposed", k, s) for k in (3, 4) for s in (2, 3)]),
    ],
)
def test_an_override_leaves_fewer_layers_of_the_quality_axes(setting: str, expected: list[Any]) -> None:
    quality = {"upsampler": ["transposed"], "kernel_size": [3, 4], "scale_factor": [2, 3]}
    grid = Grid.from_dict({"axes": AXES, "quality": quality}, "mine.toml").override([setting])
    assert grid.list_layers([]) == expected


def test_round_trip_through_plain_data() -> None:
    grid = load_preset("quick")
    assert Grid.from_record(grid.to_dict()) == grid


def test_select_keeps_what_matches() -> None:
    cases = make_grid(height=[8, 16]).expand()
    assert [case.height for case in select_cases(cases, "16x16")] == [16]
    assert select_cases(cases, "") == cases
    with pytest.raises(UsageError, match="'32x32' matches none of the 2 cases"):
        select_cases(cases, "32x32")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"axis": {}}, "axis: unknown key"),
        ({"axes": 3}, "axes: 3 is not a table"),
        ({"axes": {}}, r"axes\.upsampler: missing"),
        ({"axes": {**AXES, "hight": [3]}}, r"axes\.hight: unknown axis"),
        ({"axes": {**AXES, "height": []}}, r"axes\.height: an axis needs at least one value"),
        ({"axes": {**AXES, "height": [0]}}, r"axes\.height: 0 is not a whole number"),
        ({"axes": {**AXES, "height": [True]}}, r"axes\.height: True is not a whole number"),
        ({"axes": {**AXES, "height": [8, 8]}}, r"axes\.height: 8 is given twice"),
        ({"axes": {**AXES, "dtype": ["int8"]}}, r"axes\.dtype: 'int8' is not one of float32"),
        ({"axes": {**AXES, "device": ["gpu"]}}, r"axes\.device: 'gpu' is not cpu"),
        ({"axes": AXES, "constraints": "x"}, "constraints: 'x' is not a list"),
        ({"axes": AXES, "constraints": ["hight > 2"]}, "constraints: .*'hight'"),
        ({"axes": AXES, "replicates": 0}, "replicates: 0 is not a whole number"),
        ({"axes": AXES, "timeout_s": -1}, "timeout_s: -1 is not a number of seconds"),
        ({"axes": AXES, "time_cap_s": "long"}, "time_cap_s: 'long' is not a number"),
        ({"axes": AXES, "name": 3}, "name: 3 is not text"),
        ({"axes": AXES, "quality": {"kernel_size": [3]}}, "quality: needs all of"),
        ({"axes": AXES, "quality": {"seeds": 0}}, r"quality\.seeds: 0 is not"),
    ],
)
def test_bad_grids_name_file_and_key(data: dict[str, Any], message: str) -> None:
    with pytest.raises(GridError, match=rf"^mine\.toml: {message}"):
        Grid.from_dict(data, "mine.toml")


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"upsampler": ["nearest_cnv"]}, r"axes\.upsampler: 'nearest_cnv' is unknown; known are .*nearest_conv"),
        ({"kernel_size": None}, r"axes\.kernel_size: missing; nearest_conv has a kernel"),
    ],
)
def test_grids_that_cannot_expand(axes: dict[str, Any], message: str) -> None:
    data = {name: values for name, values in {**AXES, **axes}.items() if values is not None}
    with pytest.raises(GridError, match=message):
        Grid.from_dict({"axes": data}, "mine.toml").expand()


def test_unknown_upsampler_of_the_quality_axes() -> None:
    quality = {"upsampler": ["deconv"], "kernel_size": [3], "scale_factor": [2]}
    grid = Grid.from_dict({"axes": AXES, "quality": quality}, "mine.toml")
    with pytest.raises(GridError, match=r"quality\.upsampler: 'deconv' is unknown"):
        grid.list_layers(grid.expand())


def test_empty_product() -> None:
    grid = Grid.from_dict({"axes": AXES, "constraints": ["height > 100"]}, "mine.toml")
    with pytest.raises(GridError, match="no case is left"):
        grid.expand()


@pytest.mark.parametrize("setting", ["height", "height=", "=3"])
def test_malformed_settings(setting: str) -> None:
    with pytest.raises(UsageError, match="--set"):
        make_grid().override([setting])


def test_settings_are_checked_like_axes() -> None:
    with pytest.raises(UsageError, match=r"--set height: -3 is not a whole number"):
        make_grid().override(["height=-3"])
    with pytest.raises(UsageError, match=r"--set height: 'x' is not a whole number"):
        make_grid().override(["height=x"])


def test_load_grid(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        "[axes]\nupsampler=['subpixel']\nkernel_size=[3]\nscale_factor=[2]\nin_channels=[4]\nheight=[8]\n"
    )
    assert load_grid(path).name == "mine"
    path.write_text("[axes")
    with pytest.raises(GridError, match=r"mine\.toml: not TOML"):
        load_grid(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(GridError, match="it is UTF-16; save it as UTF-8"):
        load_grid(path)
    with pytest.raises(GridError, match="No such file"):
        load_grid(tmp_path / "other.toml")


def test_unknown_preset() -> None:
    with pytest.raises(UsageError, match="'quik' is not one of smoke, quick, article, full"):
        load_preset("quik")


GRID_TEXT = """[axes]
upsampler = ["nearest_conv"]
kernel_size = [3]
scale_factor = [2]
in_channels = [8]
height = [8]
"""


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + GRID_TEXT.encode(),
        GRID_TEXT.replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + GRID_TEXT.replace("\n", "\r\n").encode(),
    ],
    ids=["mark", "crlf", "both"],
)
def test_a_grid_saved_by_an_editor_of_windows_is_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "g.toml").write_bytes(content)
    assert [case.case_id for case in load_grid(tmp_path / "g.toml").expand()] == ["nearest_conv-k3-s2-c8x8-8x8"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (GRID_TEXT.encode("utf-16"), "it is UTF-16; save it as UTF-8"),
        (GRID_TEXT.encode("utf-32"), "it is UTF-32; save it as UTF-8"),
        (b"name = 'caf\xe9'", "it is not UTF-8: line 1 has the byte 0xe9"),
    ],
    ids=["utf-16", "utf-32", "latin-1"],
)
def test_a_grid_of_another_encoding_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "g.toml").write_bytes(content)
    with pytest.raises(GridError, match=f"cannot read '.*g.toml': {reason}"):
        load_grid(tmp_path / "g.toml")
