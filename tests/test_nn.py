"""The layers for use outside of the grid: reachable by one attribute, and nothing heavy before that."""

import copy
import pickle
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

import deconvbench
from deconvbench.upsamplers import list_upsamplers
from deconvbench.upsamplers.fast import ResizeConv2d as FastResizeConv2d
from deconvbench.upsamplers.subpixel import SubpixelIcnr


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_package_offers_it_without_another_import() -> None:
    answer = run_python(
        "import sys, deconvbench\n"
        "assert 'nn' in dir(deconvbench)\n"
        "assert 'torch' not in sys.modules, 'too early'\n"
        "layer = deconvbench.nn.ResizeConv2d(2, 3)\n"
        "assert sys.modules['deconvbench.nn'] is deconvbench.nn\n"
        "assert 'deconvbench.measure' not in sys.modules, 'more than the layers'"
    )
    assert answer.returncode == 0, answer.stderr


LAYERS = [name for name in deconvbench.nn.__all__ if name != "build_native"]
# arguments that double the size, by name
DOUBLING: dict[str, dict[str, Any]] = {
    **{name: {"scale_factor": 2} for name in LAYERS},
    "ConvTranspose2d": {"stride": 2, "padding": 1, "output_padding": 1},
    "EqualGainConvTranspose2d": {"stride": 2, "padding": 1, "output_padding": 1},
    "FilteredConvTranspose2d": {"stride": 2, "padding": 1, "output_padding": 1},
}
# with torch's own arguments, and `weight` and `bias` as keys
OF_TORCH = [
    *("ConvTranspose2d", "EqualGainConvTranspose2d", "FilteredConvTranspose2d"),
    *("ResizeConv2d", "SubpixelConv2d"),
]
over_layers = pytest.mark.parametrize("name", LAYERS)
over_layers_of_torch = pytest.mark.parametrize("name", OF_TORCH)


def build(name: str, in_channels: int = 2, **options: Any) -> nn.Module:
    layer: nn.Module = getattr(deconvbench.nn, name)(in_channels, 4, kernel_size=3, **DOUBLING[name], **options)
    return layer


@over_layers
def test_every_layer_upsamples(name: str) -> None:
    with torch.no_grad():
        assert build(name)(torch.zeros(1, 2, 5, 4)).shape == (1, 4, 10, 8)


# torch's own is in the grid in place of the last
@pytest.mark.parametrize("name", [name for name in LAYERS if name != "ConvTranspose2d"])
def test_every_layer_is_that_of_the_grid(name: str) -> None:
    layer = getattr(deconvbench.nn, name)
    factories = [spec.factory for spec in list_upsamplers().values()]
    bases = {base for factory in factories if isinstance(factory, type) for base in factory.__mro__}
    inside = {type(part) for part in SubpixelIcnr(2, 3, 3, 2).modules()}
    assert layer in bases | inside or issubclass(layer, FastResizeConv2d)


@over_layers_of_torch
def test_keys_are_weight_and_bias(name: str) -> None:
    assert list(build(name).state_dict()) == ["weight", "bias"]
    layer = build(name, bias=False)
    assert list(layer.state_dict()) == ["weight"]
    assert layer.bias is None


@over_layers_of_torch
def test_copies_and_pickles_compute_the_same(name: str) -> None:
    layer = build(name)
    x = torch.randn(1, 2, 5, 4)
    with torch.no_grad():
        expected = layer(x)
        assert torch.equal(copy.deepcopy(layer)(x), expected)
        assert torch.equal(pickle.loads(pickle.dumps(layer))(x), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
@over_layers_of_torch
def test_other_types_by_argument_and_by_conversion(name: str, dtype: torch.dtype) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        wide = build(name).double()
        x = torch.randn(2, 2, 5, 4, dtype=torch.float64)
    made = build(name, dtype=dtype)
    made.load_state_dict(wide.state_dict())
    converted = copy.deepcopy(wide).to(dtype)
    expected = wide(x)
    precision = 8 * torch.finfo(dtype).eps
    for layer in (made, converted):
        assert {tensor.dtype for tensor in layer.parameters()} == {dtype}
        y = layer(x.to(dtype))
        assert y.dtype == dtype
        torch.testing.assert_close(y.double(), expected, rtol=precision, atol=precision)


@over_layers_of_torch
def test_autocast_computes_in_half_precision(name: str) -> None:
    layer, x = build(name), torch.randn(2, 2, 5, 4)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), layer(x), rtol=0.05, atol=0.05)


@over_layers_of_torch
def test_channels_last_gives_the_same_numbers_in_the_same_layout(name: str) -> None:
    layer = build(name, in_channels=4)
    x = torch.randn(2, 4, 6, 5)
    expected = layer(x)
    last = copy.deepcopy(layer)
    last.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # an overload torch leaves out
    y = last(x.contiguous(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)


@over_layers_of_torch
def test_an_image_without_a_batch(name: str) -> None:
    layer, x = build(name), torch.randn(2, 5, 4)
    torch.testing.assert_close(layer(x), layer(x[None])[0], rtol=1e-6, atol=1e-6)


@over_layers_of_torch
def test_built_without_memory_and_filled_later(name: str) -> None:
    layer = build(name)
    empty = build(name, device="meta")
    assert {tensor.device.type for tensor in (*empty.parameters(), *empty.buffers())} <= {"meta"}
    filled = empty.to_empty(device="cpu")
    filled.load_state_dict(layer.state_dict())
    x = torch.randn(1, 2, 5, 4)
    assert torch.equal(filled(x), layer(x))


@over_layers_of_torch
def test_groups_are_layers_beside_each_other(name: str) -> None:
    layer = build(name, groups=2).double()
    x = torch.randn(2, 2, 5, 4, dtype=torch.float64)
    parts = []
    for index in range(2):
        part = getattr(deconvbench.nn, name)(1, 2, kernel_size=3, **DOUBLING[name]).double()
        part.load_state_dict({key: value.chunk(2)[index] for key, value in layer.state_dict().items()})
        parts.append(part(x[:, index : index + 1]))
    torch.testing.assert_close(layer(x), torch.cat(parts, 1), rtol=1e-10, atol=1e-10)


@over_layers_of_torch
def test_training_changes_the_parameters(name: str) -> None:
    layer = build(name)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    before = copy.deepcopy(layer.state_dict())
    torch.autograd.backward(layer(torch.randn(1, 2, 5, 4)).square().mean())
    optimizer.step()
    assert all(not torch.equal(before[key], value) for key, value in layer.state_dict().items())


@pytest.mark.compile
@over_layers_of_torch
def test_compiled_computes_the_same(name: str) -> None:
    layer, x = build(name), torch.randn(1, 2, 5, 4)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), layer(x), rtol=1e-5, atol=1e-5)
