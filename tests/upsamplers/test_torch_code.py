"""The code that is shown for a layer builds that layer: every registration's is executed and compared."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from deconvbench import nn as ours
from deconvbench.records.case import Case
from deconvbench.upsamplers import build_upsampler, list_upsamplers, load_upsampler, register_upsampler, registry
from deconvbench.upsamplers.torch_code import write_call, write_torch_code
from tests.builders import make_case

CHANNELS = (4, 3)
CASES = [
    make_case(upsampler=spec.name, kernel_size=kernel, scale_factor=scale, in_channels=4, out_channels=3)
    for spec in list_upsamplers().values()
    for kernel in ((3, 4) if spec.has_kernel else (None,))
    for scale in (2, 3)
    if spec.unsupported_reason(kernel, scale) is None
]
# these say what they are with torch's own modules
PLAIN = {
    "transposed",
    "transposed_smoothed",
    "nearest_conv",
    "bilinear_conv",
    "bicubic_conv",
    "conv_nearest",
    "conv_bilinear",
    "subpixel",
    "subpixel_icnr",
    "separable_transposed",
}


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was compiled: nothing is, since that takes a compiler and seconds."""
    found: list[str] = []
    monkeypatch.setattr(ours, "build_native", lambda: found.append("native"))
    return found


def execute(case: Case) -> nn.Module:
    names: dict[str, Any] = {}
    exec(write_torch_code(case), names)  # as a reader does
    layer = names["layer"]
    assert isinstance(layer, nn.Module)
    return layer


@pytest.mark.parametrize("case", [pytest.param(case, id=case.case_id) for case in CASES])
def test_what_is_shown_builds_the_layer(case: Case, calls: list[str]) -> None:
    shown = execute(case)
    layer = build_upsampler(case.upsampler, *CHANNELS, case.kernel_size, case.scale_factor)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x = torch.randn(2, 4, 5, 6)
    with torch.no_grad():
        assert shown(x).shape == layer(x).shape
        theirs, its = list(layer.parameters()), list(shown.parameters())
        assert [p.shape for p in its] == [p.shape for p in theirs]
        for mine, other in zip(its, theirs, strict=True):
            mine.copy_(other)
        torch.testing.assert_close(shown(x), layer(x))
    assert calls == (["native"] if case.upsampler == "nearest_conv_native" else [])


@pytest.mark.parametrize("name", sorted(PLAIN))
def test_plain_layers_need_no_package_but_torch(name: str) -> None:
    assert "deconvbench" not in write_torch_code(make_case(upsampler=name))


def test_icnr_starts_with_equal_phases() -> None:
    conv = execute(make_case(upsampler="subpixel_icnr", in_channels=4, out_channels=3))[0]  # type: ignore[index]
    phases = conv.weight.detach().unflatten(0, (3, 4))
    assert torch.equal(phases, phases[:, :1].expand_as(phases))
    assert not torch.equal(phases[0], phases[1])


def test_it_is_placed_where_it_was_measured() -> None:
    case = make_case(device="cuda:1", dtype="bfloat16", memory_format="channels_last", execution="compile")
    *_, before, move, compiled = write_torch_code(case).splitlines()
    assert before == "import torch"
    assert move == 'layer = layer.to(device="cuda:1", dtype=torch.bfloat16, memory_format=torch.channels_last)'
    assert compiled == "layer = torch.compile(layer)"
    layer = execute(make_case(dtype="float64", memory_format="channels_last"))
    assert {p.dtype for p in layer.parameters()} == {torch.float64}


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An importable module with an upsampler of somebody else's."""
    name = "their_layers"
    (tmp_path / f"{name}.py").write_text(
        "from torch import nn\n\n\ndef build(in_channels, out_channels, kernel_size, scale_factor):\n"
        "    return nn.ConvTranspose2d(in_channels, out_channels, scale_factor, stride=scale_factor)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


def test_a_layer_of_others_is_imported_from_where_it_is(module: str) -> None:
    # what loads it registers it, as the run did
    case = make_case(upsampler=load_upsampler(f"{module}:build"))
    assert write_torch_code(case).startswith(f"from {module} import build\n")
    assert execute(case)(torch.zeros(1, 4, 5, 6)).shape == (1, 2, 10, 12)


def test_a_layer_that_no_module_has_is_built_by_name() -> None:
    @register_upsampler("test_code_local")
    def build(in_channels: int, out_channels: int, kernel_size: Any, scale_factor: int) -> nn.Module:
        return nn.Conv2d(in_channels, out_channels, 1)

    case = make_case(upsampler="test_code_local")
    assert 'build_upsampler("test_code_local", 4, 2, 3, 2)' in write_torch_code(case)
    assert isinstance(execute(case), nn.Conv2d)
    unknown = write_torch_code(make_case(upsampler="of_another_machine"))
    assert unknown.startswith("# of_another_machine is not registered here")


def test_a_registration_brings_its_own_code() -> None:
    @register_upsampler("test_code_own", code=lambda i, o, k, s: f"layer = 'mine {i} {o} {k} {s}'")
    def build(in_channels: int, out_channels: int, kernel_size: Any, scale_factor: int) -> nn.Module:
        return nn.Conv2d(in_channels, out_channels, 1)

    assert write_torch_code(make_case(upsampler="test_code_own")) == "layer = 'mine 4 2 3 2'"


@pytest.mark.parametrize("case", [pytest.param(case, id=case.case_id) for case in CASES])
def test_lines_fit_a_terminal(case: Case) -> None:
    wide = Case(**{**{n: getattr(case, n) for n in Case.__dataclass_fields__}, "in_channels": 2048})
    assert max(map(len, write_torch_code(wide).splitlines())) <= 78


def test_a_call_that_is_long_goes_over_lines() -> None:
    assert write_call("f", 1, mode="a", none=None) == 'f(1, mode="a")'
    assert write_call("f" * 60, 100000, 200000).splitlines() == [f"{'f' * 60}(", "    100000, 200000", ")"]
