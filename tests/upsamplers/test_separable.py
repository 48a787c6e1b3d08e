"""Separable transposed convolution: the full one that it equals, what it saves and that it ripples alike."""

import re

import pytest
import torch
from torch import nn

from deconvbench.errors import UnsupportedError
from deconvbench.measure.artifacts import impulse_response, noise_gain_cv, phase_ripple
from deconvbench.upsamplers import build_upsampler, get_upsampler
from deconvbench.upsamplers.separable import SeparableTransposed
from deconvbench.upsamplers.transposed import Transposed, find_objection

LAYERS = [(k, s) for k in range(1, 7) for s in range(1, 5) if find_objection(k, s) is None]


def count_parameters(layer: nn.Module) -> int:
    return sum(parameter.numel() for parameter in layer.parameters())


@pytest.mark.parametrize(("kernel_size", "scale_factor"), LAYERS, ids=[f"k{k}-s{s}" for k, s in LAYERS])
def test_equals_a_transposed_convolution_whose_kernels_are_products(kernel_size: int, scale_factor: int) -> None:
    layer = SeparableTransposed(2, 3, kernel_size, scale_factor).double()
    full = Transposed(2, 3, kernel_size, scale_factor).double()
    with torch.no_grad():
        # (C_in, 1, k, k) times (C_in, C_out, 1, 1)
        full.weight.copy_(layer.upsample.weight * layer.mix.weight.transpose(0, 1))
        assert full.bias is not None
        assert layer.mix.bias is not None
        full.bias.copy_(layer.mix.bias)
    x = torch.randn(2, 2, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(layer(x), full(x), rtol=1e-10, atol=1e-10)


def test_has_a_kernel_for_each_input_channel_and_one_bias_for_each_output_channel() -> None:
    layer = SeparableTransposed(8, 4, 5, 2)
    assert count_parameters(layer) == 8 * 5**2 + 8 * 4 + 4
    assert count_parameters(Transposed(8, 4, 5, 2)) == 8 * 4 * 5**2 + 4


def test_macs_per_output_pixel_are_as_stated() -> None:
    macs = get_upsampler("separable_transposed").macs
    assert macs is not None
    assert macs(8, 4, 6, 2, 10, 6) / (20 * 12) / (8 * 4) == 6**2 / (2**2 * 4) + 1


@pytest.mark.parametrize("kernel_size", [4, 6], ids="k{}".format)
@pytest.mark.parametrize("scale_factor", [2, 3], ids="s{}".format)
def test_random_weights_ripple_as_those_of_a_transposed_convolution(kernel_size: int, scale_factor: int) -> None:
    torch.manual_seed(0)
    # only the input channels are independent draws here, so it takes more of them
    layer = SeparableTransposed(128, 4, kernel_size, scale_factor)
    ripple = phase_ripple(impulse_response(layer, 128, scale_factor), scale_factor)
    assert ripple == pytest.approx(1 - 1 / scale_factor**2, abs=0.08)


def test_uneven_overlap_shows_in_noise_and_even_overlap_does_not() -> None:
    torch.manual_seed(0)
    gains = {k: noise_gain_cv(impulse_response(SeparableTransposed(128, 4, k, 2), 128, 2), 2) for k in (3, 4)}
    assert gains[3] == pytest.approx(0.4843, abs=0.08)
    assert gains[4] < 0.1


@pytest.mark.parametrize(("kernel_size", "scale_factor", "reason"), [(2, 3, "2 < 3"), (4, 1, "4 is even")])
def test_objections_are_those_of_a_transposed_convolution(
    kernel_size: int, scale_factor: int, reason: str
) -> None:
    with pytest.raises(UnsupportedError, match=re.escape(reason)):
        build_upsampler("separable_transposed", 1, 1, kernel_size, scale_factor)
