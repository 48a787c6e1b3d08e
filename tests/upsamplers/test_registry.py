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
from deconvbench.upsamplers.registry import list_broken_upsamplers, list_sources

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


BROKEN_MODULES = {
    "with_a_typo": "def build(:\n    pass\n",
    "without_import": "import torch\nlayer = nn.Conv2d\n",
    "that_is_a_script": "import sys\nsys.exit('usage: that_is_a_script FILE')\n",
    "that_asks_too_much": "import torch\ntorch.no_such_layer\n",
    "that_takes_a_name": (
        "from deconvbench.upsamplers import register_upsampler\n"
        "@register_upsampler('before')\ndef before(*shape): ...\n"
        "@register_upsampler('transposed')\ndef build(*shape): ...\n"
    ),
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
    monkeypatch.setattr(registry, "_BROKEN", {})
    registry._find_entry_points.cache_clear()
    yield
    registry._find_entry_points.cache_clear()


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the name of an importable module of third-party upsamplers, beside some that are broken."""
    name = "somebodys_upsamplers"
    for broken, text in BROKEN_MODULES.items():
        (tmp_path / f"{broken}.py").write_text(text)
    (tmp_path / f"{name}.py").write_text(
        "from torch import nn\n"
        "from deconvbench.upsamplers import list_upsamplers, register_upsampler\n"
        "KNOWN = list_upsamplers()\n"
        "def Plain(in_channels, out_channels, kernel_size, scale_factor):\n"
        "    return nn.ConvTranspose2d(in_channels, out_channels, scale_factor, stride=scale_factor)\n"
        "@register_upsampler('their_name', linear=True)\n"
        "def decorated(in_channels, out_channels, kernel_size, scale_factor):\n"
        "    return Plain(in_channels, out_channels, kernel_size, scale_factor)\n"
        "class Holder:\n"
        "    nested = staticmethod(lambda *shape: Plain(*shape))\n"
        "number = 7\n"
        "built = nn.Conv2d(1, 1, 1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    for module in (name, *BROKEN_MODULES):
        sys.modules.pop(module, None)


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


@pytest.mark.parametrize("name", sorted(list_upsamplers()))
def test_every_upsampler_makes_what_it_needs_where_its_input_is(name: str) -> None:
    size = 3 if get_upsampler(name).has_kernel else None
    layer, x = build_upsampler(name, 8, 4, size, 2).eval(), torch.ones(1, 8, 6, 5)
    with torch.no_grad():
        expected = layer(x)
        torch.set_default_dtype(torch.float64)
        try:
            with torch.device("meta"):
                found = layer(x)
            assert build_upsampler(name, 8, 4, size, 2)(x.double()).dtype == torch.float64
        finally:
            torch.set_default_dtype(torch.float32)
    assert torch.equal(found, expected)


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
    found = get_upsampler("mine")
    assert found == UpsamplerSpec(
        name="mine", factory=build_resize, module=__name__, package="", digest=found.digest, **declared
    )


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


@pytest.mark.parametrize("field", ["summary", "formula", "macs_formula", "reference"])
def test_a_description_that_is_no_text_is_refused(field: str) -> None:
    wrong: Any = {field: None}
    with pytest.raises(UsageError, match=f"'mine': {field} is None, not text"):
        register_upsampler("mine", **wrong)


def test_duplicate_name_is_refused_and_the_first_stays() -> None:
    first = get_upsampler("transposed")
    with pytest.raises(
        UsageError,
        match=r"'transposed' is already registered by deconvbench\.upsamplers\.transposed:Transposed; the",
    ):
        register_upsampler("transposed")(build_resize)
    assert get_upsampler("transposed") is first


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(
        UsageError,
        match=r"'transpozed' is unknown; known are bicubic_conv, .*zero_insert \(did you mean 'transposed'\?\)$",
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
        ("{plugin}:built", r"'built' is a Conv2d that is built already, .* from \(in_channels, out_channels, ker"),
        ("with_a_typo:build", r"'with_a_typo': SyntaxError: .*\(with_a_typo\.py, line 1\)"),
        ("without_import:build", r"NameError: name 'nn' is not defined \(without_import\.py:2\)"),
        ("that_is_a_script:build", r"SystemExit: usage: that_is_a_script FILE \(that_is_a_script\.py:2\)"),
        ("that_asks_too_much:build", r"cannot import 'that_asks_too_much': AttributeError: .*'no_such_layer'"),
        ("that_takes_a_name:build", r"'transposed' is already registered by .* \(that_takes_a_name\.py:4\)"),
    ],
    ids=["module", "submodule", "attribute", "nested", "not_callable", "built", *BROKEN_MODULES],
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
    assert (
        get_upsampler("their_name").package == get_upsampler("from_afar").package == "a package without metadata"
    )
    assert list_broken_upsamplers() == {}


def test_an_entry_point_names_its_upsampler_whoever_asks_first(
    plugin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer_entry_points(monkeypatch, from_afar=f"{plugin}:Plain")
    assert load_upsampler(f"{plugin}:Plain") == "from_afar"


def test_entry_points_are_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    groups: list[str] = []

    def find(group: str) -> EntryPoints:
        groups.append(group)
        return EntryPoints()

    monkeypatch.setattr(registry, "entry_points", find)
    list_upsamplers()
    list_upsamplers()
    assert groups == ["deconvbench.upsamplers"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("missing_package_of_nobody:f", "ModuleNotFoundError: No module named 'missing_package_of_nobody'"),
        ("{plugin}:missing", "AttributeError: module 'somebodys_upsamplers' has no attribute 'missing'"),
        ("{plugin}:number", "upsampler: 'theirs' is int, not a function or class"),
        ("without_import:build", "NameError: name 'nn' is not defined (without_import.py:2)"),
        ("that_is_a_script:build", "SystemExit: usage: that_is_a_script FILE (that_is_a_script.py:2)"),
    ],
    ids=["module", "attribute", "no_factory", "raises", "leaves"],
)
def test_an_entry_point_that_cannot_be_loaded_does_not_stop_the_others(
    plugin: str, value: str, reason: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    target = value.format(plugin=plugin)
    offer_entry_points(monkeypatch, theirs=target, from_afar=f"{plugin}:Plain")
    assert set(list_upsamplers()) == {*registry._REGISTRY} >= FAMILIES | {"from_afar"}
    assert get_upsampler("transposed").name == "transposed"
    said = f"entry point 'theirs' of a package without metadata ({target}) cannot be loaded: {reason}"
    assert list_broken_upsamplers() == {"theirs": said}
    # told once, in one line
    assert caplog.messages == [f"deconvbench: {said}"]
    with pytest.raises(UsageError) as caught:
        get_upsampler("theirs")
    assert str(caught.value) == f"upsampler: 'theirs' is broken: {said}"
    with pytest.raises(UsageError, match=r"'nobodys' is unknown; known are .*zero_insert; not loaded: theirs$"):
        get_upsampler("nobodys")


def test_the_package_of_an_entry_point_is_named(
    plugin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = tmp_path / "somebody-1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: somebody\nVersion: 1.2\n")
    lines = [f"[{registry.ENTRY_POINT_GROUP}]", f"good = {plugin}:Plain", "bad = without_import:build"]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    assert get_upsampler("good").package == "somebody 1.2"
    assert list_broken_upsamplers()["bad"].startswith(
        "entry point 'bad' of somebody 1.2 (without_import:build) cannot be loaded: NameError"
    )


def test_what_a_broken_package_registered_before_it_broke_stays(
    plugin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer_entry_points(monkeypatch, theirs="that_takes_a_name:build")
    assert get_upsampler("before").package
    assert set(list_broken_upsamplers()) == {"theirs"}


def test_a_package_may_ask_what_is_registered_while_it_is_loaded(
    plugin: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    offer_entry_points(monkeypatch, from_afar=f"{plugin}:Plain", later=f"{plugin}:Holder.nested")
    assert {"from_afar", "later"} <= set(list_upsamplers())
    assert set(sys.modules[plugin].KNOWN) >= FAMILIES
    assert caplog.messages == []


def test_another_process_finds_what_a_module_registered(plugin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    offer_entry_points(monkeypatch)
    name = load_upsampler(f"{plugin}:decorated")
    assert list_sources([name, "transposed", name]) == (f"{plugin}:decorated",)
    assert list_sources(["transposed"]) == ()
    assert load_upsampler(list_sources([name])[0]) == name


def test_another_process_needs_not_be_told_of_entry_points(plugin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    offer_entry_points(monkeypatch, whatever=f"{plugin}:decorated")
    assert list_sources(["their_name"]) == ()


def test_another_process_cannot_find_what_is_inside_a_function() -> None:
    register_upsampler("mine")(lambda *shape: nn.Identity())
    with pytest.raises(
        UsageError, match=r"'mine' is .*test_another_process_.*<lambda>, registered in .*; write it"
    ):
        list_sources(["mine"])
    with pytest.raises(UsageError, match="'nobodys' is unknown"):
        list_sources(["nobodys"])


@pytest.mark.parametrize(
    "factory",
    [
        lambda channels, scale: nn.Identity(),
        lambda in_channels, out_channels, *, kernel_size, scale_factor: nn.Identity(),
        lambda scale_factor, in_channels, out_channels, kernel_size: nn.Identity(),
    ],
    ids=["too_few", "by_keyword", "another_order"],
)
def test_building_says_what_a_factory_is_called_with(factory: Any) -> None:
    register_upsampler("mine")(factory)
    with pytest.raises(
        UsageError,
        match=r"'mine': .*<lambda> takes \(.*\), but is called with \(in_channels, out_channels, kernel_size, sc",
    ):
        build_upsampler("mine", 1, 1, 3, 2)


def test_what_a_factory_raises_stays_what_it_is() -> None:
    def refuse(in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> nn.Module:
        raise TypeError("its own")

    register_upsampler("mine")(refuse)
    with pytest.raises(TypeError, match=r"^its own$"):
        build_upsampler("mine", 1, 1, 3, 2)
