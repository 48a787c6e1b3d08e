"""The registry: what it accepts, what it refuses, and that it says why."""

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from deconvbench.errors import UnsupportedError, UsageError
from deconvbench.upsamplers import (
    UpsamplerSpec,
    build_upsampler,
    get_upsampler,
    list_upsamplers,
    load_upsampler,
    register_upsampler,
    registry,
)

FAMILIES = {
    "transposed",
    "transposed_smoothed",
    "zero_insert",
    "nearest_conv",
    "bilinear_conv",
    "bicubic_conv",
    "conv_nearest",
    "subpixel",
    "subpixel_icnr",
}


def build_resize(in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> nn.Module:
    return nn.Sequential(
        nn.Upsample(scale_factor=scale_factor),
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2),
    )


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let each test register what it likes into a copy, and look for entry points anew."""
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    registry._load_entry_points.cache_clear()
    yield
    registry._load_entry_points.cache_clear()


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the name of an importable module of somebody else's upsamplers."""
    name = "somebodys_upsamplers"
    (tmp_path / f"{name}.py").write_text(
        "from torch import nn\n"
        "from deconvbench.upsamplers import register_upsampler\n"
        "def Plain(in_channels, out_channels, kernel_size, scale_factor):\n"
        "    return nn.ConvTranspose2d(in_channels, out_channels, scale_factor, stride=scale_factor)\n"
        "@register_upsampler('their_name', linear=True)\n"
        "def decorated(in_channels, out_channels, kernel_size, scale_factor):\n"
        "    return Plain(in_channels, out_channels, kernel_size, scale_factor)\n"
        "class Holder:\n"
        "    nested = staticmethod(lambda *shape: Plain(*shape))\n"
        "number = 7\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


def offer_entry_points(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    """Make the installed packages offer these entry points and no others."""
    group = registry.ENTRY_POINT_GROUP
    offered = EntryPoints(EntryPoint(name, value, group) for name, value in values.items())
    monkeypatch.setattr(registry, "entry_points", offered.select)


def test_the_families_are_registered() -> None:
    assert set(list_upsamplers()) >= FAMILIES


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_family_says_what_it_is(name: str) -> None:
    spec = get_upsampler(name)
    assert spec.name == name
    assert spec.summary
    assert spec.reference
    assert spec.macs is not None


def test_decorator_returns_what_it_decorates() -> None:
    assert register_upsampler("mine")(build_resize) is build_resize
    assert get_upsampler("mine").factory is build_resize


def test_declarations_are_kept() -> None:
    declared: dict[str, Any] = {
        "summary": "what it does",
        "reference": "a paper",
        "linear": True,
        "shift_equivariant": True,
        "has_kernel": False,
        "objection": lambda *_: None,
        "macs": lambda *_: 1,
    }
    register_upsampler("mine", **declared)(build_resize)
    assert get_upsampler("mine") == UpsamplerSpec(name="mine", factory=build_resize, **declared)


def test_nothing_is_assumed_of_an_undeclared_upsampler() -> None:
    register_upsampler("mine")(build_resize)
    spec = get_upsampler("mine")
    assert not spec.linear
    assert not spec.shift_equivariant
    assert spec.has_kernel
    assert spec.unsupported_reason(2, 3) is None


@pytest.mark.parametrize("name", ["Upper", "1st", "with-dash", "", "with space"])
def test_ill_formed_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is not a name in lower case"):
        register_upsampler(name)


def test_duplicate_name_is_refused_and_the_first_stays() -> None:
    first = get_upsampler("transposed")
    with pytest.raises(UsageError, match=r"'transposed' is already registered by .*Transposed"):
        register_upsampler("transposed")(build_resize)
    assert get_upsampler("transposed") is first


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(
        UsageError, match=r"'transpozed' is unknown; known are bicubic_conv, bilinear_conv, .*zero"
    ):
        get_upsampler("transpozed")


def test_listing_returns_a_copy() -> None:
    list_upsamplers().clear()
    assert set(list_upsamplers()) >= FAMILIES


def test_building_gives_the_layer() -> None:
    register_upsampler("mine")(build_resize)
    layer = build_upsampler("mine", 2, 3, 3, 4)
    assert layer(torch.zeros(1, 2, 5, 6)).shape == (1, 3, 20, 24)


def test_building_refuses_what_the_upsampler_objects_to() -> None:
    def object_to_even(kernel_size: int, scale_factor: int) -> str | None:
        return None if kernel_size % 2 else f"no even kernels at scale {scale_factor}"

    register_upsampler("mine", objection=object_to_even)(build_resize)
    assert isinstance(build_upsampler("mine", 1, 1, 3, 2), nn.Module)
    with pytest.raises(UnsupportedError, match=r"^no even kernels at scale 2$"):
        build_upsampler("mine", 1, 1, 4, 2)


def test_building_refuses_what_is_no_module() -> None:
    def build_text(*shape: object) -> Any:
        return str(shape)

    register_upsampler("mine")(build_text)
    with pytest.raises(UsageError, match=r"'mine' built a str, not an nn\.Module"):
        build_upsampler("mine", 1, 1, 3, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1, 3, 2), "in_channels: 0 is not a whole number"),
        ((1, -1, 3, 2), "out_channels: -1 is not a whole number"),
        ((1, 1, 0, 2), "kernel_size: 0 is not a whole number"),
        ((1, 1, 3, 0), "scale_factor: 0 is not a whole number"),
        ((1, 1, 3, 2.0), r"scale_factor: 2\.0 is not a whole number"),
        ((1, 1, None, 2), "kernel_size: None: transposed has a kernel"),
    ],
    ids=["in_channels", "out_channels", "kernel_size", "scale_factor", "fraction", "no_kernel"],
)
def test_building_names_a_number_that_no_upsampler_accepts(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build_upsampler("transposed", *arguments)


def test_an_upsampler_without_a_kernel_takes_none() -> None:
    def build_shuffle(in_channels: int, out_channels: int, kernel_size: None, scale_factor: int) -> nn.Module:
        assert in_channels == out_channels
        assert kernel_size is None
        return nn.Upsample(scale_factor=scale_factor)

    register_upsampler("mine", has_kernel=False)(build_shuffle)
    assert isinstance(build_upsampler("mine", 1, 1, None, 2), nn.Module)
    with pytest.raises(UsageError, match="kernel_size: 3: mine has no kernel: give None"):
        build_upsampler("mine", 1, 1, 3, 2)


def test_loading_registers_a_plain_factory_by_its_name(plugin: str) -> None:
    assert load_upsampler(f"{plugin}:Plain") == "plain"
    spec = get_upsampler("plain")
    assert not spec.linear
    assert isinstance(build_upsampler("plain", 1, 1, 3, 2), nn.ConvTranspose2d)


def test_loading_keeps_the_name_that_a_decorator_gave(plugin: str) -> None:
    assert load_upsampler(f"{plugin}:decorated") == "their_name"
    assert get_upsampler("their_name").linear
    assert "decorated" not in list_upsamplers()


def test_loading_follows_a_dotted_attribute(plugin: str) -> None:
    assert load_upsampler(f"{plugin}:Holder.nested") == "nested"


def test_loading_twice_is_the_same_upsampler(plugin: str) -> None:
    assert load_upsampler(f"{plugin}:Plain") == load_upsampler(f"{plugin}:Plain")


@pytest.mark.parametrize(
    "path", ["", ":", "module", "module:", ":factory", "a:b:c", "a b:c", ".module:f", "a..b:f", "a:f..g", "a.:f"]
)
def test_loading_refuses_a_malformed_path(path: str) -> None:
    with pytest.raises(UsageError, match=r"is not of the form pkg\.mod:factory"):
        load_upsampler(path)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("missing_package_of_nobody:factory", "cannot import 'missing_package_of_nobody'"),
        ("{plugin}.missing:factory", "cannot import 'somebodys_upsamplers.missing'"),
        ("{plugin}:missing", "'somebodys_upsamplers' has no 'missing'"),
        ("{plugin}:Holder.missing", r"'somebodys_upsamplers' has no 'Holder\.missing'"),
        ("{plugin}:number", "'number' is int, not a function or class"),
    ],
    ids=["module", "submodule", "attribute", "nested_attribute", "not_callable"],
)
def test_loading_says_what_is_missing(plugin: str, target: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_upsampler(target.format(plugin=plugin))


def test_loading_a_name_that_is_taken_is_refused(plugin: str) -> None:
    register_upsampler("plain")(build_resize)
    with pytest.raises(UsageError, match="'plain' is already registered"):
        load_upsampler(f"{plugin}:Plain")


def test_entry_points_are_registered_by_their_name(plugin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    offer_entry_points(monkeypatch, from_afar=f"{plugin}:Plain", whatever=f"{plugin}:decorated")
    assert set(list_upsamplers()) >= FAMILIES | {"from_afar", "their_name"}
    # its own decorator named it already
    assert "whatever" not in list_upsamplers()


def test_entry_points_are_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    groups: list[str] = []

    def find(group: str) -> EntryPoints:
        groups.append(group)
        return EntryPoints()

    monkeypatch.setattr(registry, "entry_points", find)
    list_upsamplers()
    list_upsamplers()
    assert groups == ["deconvbench.upsamplers"]


@pytest.mark.parametrize("value", ["missing_package_of_nobody:f", "{plugin}:missing"], ids=["module", "attribute"])
def test_an_entry_point_that_cannot_be_loaded_is_named(
    plugin: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = value.format(plugin=plugin)
    offer_entry_points(monkeypatch, broken=target)
    with pytest.raises(UsageError, match=f"entry point deconvbench.upsamplers: cannot load '{target}'"):
        list_upsamplers()


def test_an_entry_point_that_is_no_factory_is_named(plugin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    offer_entry_points(monkeypatch, wrong=f"{plugin}:number")
    with pytest.raises(UsageError, match="'wrong' is int, not a function or class"):
        list_upsamplers()
