"""Layers that the compiled form has, torch's own of the same parameters, and how far one is from the other."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deconvbench.nn import ConvTranspose2d

LAYOUTS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
over_layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
# every kernel that is filtered, with every padding of the output
LAYERS: dict[str, dict[str, Any]] = {
    "k3": {"kernel_size": 3, "stride": 2, "padding": 1},
    "k3-op1": {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1},
    "k4": {"kernel_size": 4, "stride": 2, "padding": 1},
    "k5": {"kernel_size": 5, "stride": 2, "padding": 2},
    "k5-op01": {"kernel_size": 5, "stride": 2, "padding": 2, "output_padding": (0, 1)},
    "k6": {"kernel_size": 6, "stride": 2, "padding": 2},
    "k4-nobias": {"kernel_size": 4, "stride": 2, "padding": 1, "bias": False},
    "k4-groups": {"kernel_size": 4, "stride": 2, "padding": 1, "groups": 2},
}
over_layers = pytest.mark.parametrize("options", LAYERS.values(), ids=LAYERS)
# largest rounding errors, in units of the largest value
EXACT = 3e-6


def make_layer(
    in_channels: int = 8, out_channels: int = 6, implementation: str = "minimal", **options: Any
) -> ConvTranspose2d:
    """Make a layer, kernel 4 unless something else is said."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        given = options or LAYERS["k4"]
        return ConvTranspose2d(in_channels, out_channels, **given, implementation=implementation)


def make_torch_s(layer: ConvTranspose2d) -> nn.ConvTranspose2d:
    """Make torch's own of a layer, in double precision."""
    found = nn.ConvTranspose2d(
        *(layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding),  # type: ignore[arg-type] # pairs
        *(layer.output_padding, layer.groups, layer.bias is not None, layer.dilation),  # type: ignore[arg-type] # as above
    ).double()
    found.load_state_dict(copy.deepcopy(layer.state_dict()))
    return found


def draw(*shape: int, seed: int = 1) -> Tensor:
    """Draw values of float32."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def measure_error(found: Tensor, expected: Tensor) -> float:
    """Measure the largest difference, in units of the largest value."""
    assert found.shape == expected.shape
    difference = (found.detach().double() - expected.detach()).abs().max()
    return float(difference / expected.detach().abs().max())
