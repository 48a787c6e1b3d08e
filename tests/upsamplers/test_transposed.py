"""Transposed convolution: the definition, the matrix Cᵀ, and what its phases do at random weights."""

import itertools
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.errors import UnsupportedError
from deconvbench.upsamplers import build_upsampler
from deconvbench.upsamplers.transposed import Transposed, TransposedSmoothed, find_objection
from tests.upsamplers.phases import compute_ripple, measure_phase_gains

LAYERS = [(k, s) for k in range(2, 9) for s in range(1, 5) if find_objection(k, s) is None]
over_layers = pytest.mark.parametrize(
    ("kernel_size", "scale_factor"), LAYERS, ids=[f"k{k}-s{s}" for k, s in LAYERS]
)


def stamp_kernels(x: Tensor, layer: Transposed) -> Tensor:
    """Stamp the kernel onto the output once for each input pixel: the definition, pixel by pixel."""
    s, p, k = layer.stride[0], int(layer.padding[0]), layer.kernel_size[0]
    batch, _, height, width = x.shape
    assert layer.bias is not None
    y = layer.bias.detach()[None, :, None, None].repeat(batch, 1, s * height, s * width)
    for n, m, t, u in itertools.product(range(height), range(width), range(k), range(k)):
        row, column = s * n + t - p, s * m + u - p
        if 0 <= row < s * height and 0 <= column < s * width:
            y[:, :, row, column] += x[:, :, n, m] @ layer.weight.detach()[:, :, t, u]
    return y


def build_convolution_matrix(layer: Transposed, height: int, width: int) -> Tensor:
    """Build C of the convolution of stride s from (C_out, sH, sW) to (C_in, H, W) out of unit images."""
    s = layer.stride[0]
    pixels = layer.out_channels * s * height * s * width
    images = torch.eye(pixels, dtype=torch.float64).reshape(pixels, layer.out_channels, s * height, s * width)
    maps = functional.conv2d(images, layer.weight.detach(), stride=s, padding=int(layer.padding[0]))
    assert maps.shape[1:] == (layer.in_channels, height, width)
    return maps.reshape(pixels, -1).T


@given(
    layer=st.sampled_from(LAYERS),
    height=st.integers(1, 4),
    width=st.integers(1, 4),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=25)
def test_transposed_follows_its_definition(layer: tuple[int, int], height: int, width: int, seed: int) -> None:
    module = Transposed(2, 3, *layer).double()
    x = torch.randn(2, 2, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(module(x).detach(), stamp_kernels(x, module), rtol=1e-10, atol=1e-10)


@over_layers
def test_transposed_is_the_transpose_of_a_convolution(kernel_size: int, scale_factor: int) -> None:
    layer = Transposed(2, 3, kernel_size, scale_factor).double()
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    matrix = build_convolution_matrix(layer, 3, 2)
    x = torch.randn(1, 2, 3, 2, dtype=torch.float64)
    torch.testing.assert_close(layer(x).detach().flatten(), matrix.T @ x.flatten(), rtol=1e-10, atol=1e-10)


@over_layers
def test_transposed_is_the_gradient_of_a_convolution(kernel_size: int, scale_factor: int) -> None:
    layer = Transposed(2, 3, kernel_size, scale_factor).double()
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    image = torch.zeros(1, 3, 3 * scale_factor, 2 * scale_factor, dtype=torch.float64, requires_grad=True)
    result = functional.conv2d(image, layer.weight, stride=scale_factor, padding=int(layer.padding[0]))
    x = torch.randn_like(result)
    (gradient,) = torch.autograd.grad(result, image, x)
    torch.testing.assert_close(layer(x), gradient, rtol=1e-10, atol=1e-10)


def test_the_transpose_restores_the_shape_and_not_the_image() -> None:
    layer = Transposed(1, 1, 3, 2).double()
    matrix = build_convolution_matrix(layer, 3, 3)
    product = matrix.T @ matrix
    assert product.shape == (36, 36)
    assert int(torch.linalg.matrix_rank(product)) <= 9


@pytest.mark.parametrize("name", ["transposed", "transposed_smoothed", "zero_insert"])
@pytest.mark.parametrize(
    ("kernel_size", "scale_factor", "reason"),
    [
        (2, 3, "needs kernel_size >= scale_factor to cover every output pixel: 2 < 3"),
        (1, 4, "needs kernel_size >= scale_factor to cover every output pixel: 1 < 4"),
        (4, 1, "with scale_factor 1 needs an odd kernel_size to keep the size: 4 is even"),
    ],
    ids=["k2-s3", "k1-s4", "k4-s1"],
)
def test_objections_say_why(name: str, kernel_size: int, scale_factor: int, reason: str) -> None:
    with pytest.raises(UnsupportedError, match=re.escape(f"transposed convolution {reason}")):
        build_upsampler(name, 1, 1, kernel_size, scale_factor)


@pytest.mark.parametrize("kernel_size", [3, 4, 5, 6], ids="k{}".format)
@pytest.mark.parametrize("scale_factor", [2, 3], ids="s{}".format)
def test_random_weights_ripple_whatever_the_kernel(kernel_size: int, scale_factor: int) -> None:
    torch.manual_seed(0)
    gains = [
        measure_phase_gains(Transposed(16, 16, kernel_size, scale_factor), 16, scale_factor) for _ in range(4)
    ]
    # zero-mean weights: the phases are independent, so the variance misses only that of their mean
    assert compute_ripple(torch.cat(gains, dim=2)) == pytest.approx(1 - 1 / scale_factor**2, abs=0.03)


@pytest.mark.parametrize("kernel_size", [3, 4], ids="k{}".format)
@pytest.mark.parametrize("scale_factor", [2, 3], ids="s{}".format)
def test_smoothing_layer_does_not_remove_the_ripple(kernel_size: int, scale_factor: int) -> None:
    torch.manual_seed(0)
    gains = [
        measure_phase_gains(TransposedSmoothed(8, 8, kernel_size, scale_factor), 8, scale_factor) for _ in range(2)
    ]
    assert compute_ripple(torch.cat(gains, dim=2)) > 0.5


def test_smoothing_layer_of_a_box_can_remove_the_ripple() -> None:
    # so the layer could; that it does not at random weights is not a matter of architecture
    layer = TransposedSmoothed(2, 2, 3, 2)
    nn.init.zeros_(layer.smooth.weight)
    with torch.no_grad():
        layer.smooth.weight[(0, 1), (0, 1), 3:5, 3:5] = 1.0
    assert compute_ripple(measure_phase_gains(layer, 2, 2)) == pytest.approx(0, abs=1e-12)


def test_smoothing_layer_of_a_unit_kernel_changes_nothing() -> None:
    layer = TransposedSmoothed(2, 2, 3, 2).double()
    nn.init.zeros_(layer.smooth.weight)
    assert layer.smooth.bias is not None
    nn.init.zeros_(layer.smooth.bias)
    with torch.no_grad():
        layer.smooth.weight[(0, 1), (0, 1), 4, 4] = 1.0
    x = torch.randn(1, 2, 4, 3, dtype=torch.float64)
    torch.testing.assert_close(layer(x), layer.upsample(x), rtol=1e-10, atol=1e-10)
