"""CARAFE: the paper's equations in loops, flat fields, and the projection that may come first."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.upsamplers import get_upsampler
from deconvbench.upsamplers.reassembly import Carafe, reassemble

over_scales = pytest.mark.parametrize("scale_factor", [1, 2, 3], ids="s{}".format)
over_sizes = pytest.mark.parametrize("size", [(1, 1), (2, 5), (7, 4)], ids=["1x1", "2x5", "7x4"])
MARGIN = 2  # input pixels around a source that its 5×5 neighbourhood needs


def build(
    in_channels: int, out_channels: int, scale_factor: int, *, encoder_std: float = 0.2, seed: int = 0
) -> Carafe:
    """Build a layer whose kernels are far from the plain averages that it is initialised with."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layer = Carafe(in_channels, out_channels, None, scale_factor).double()
        for parameter in (layer.encode.weight, layer.encode.bias, layer.compress.bias):
            assert parameter is not None
            nn.init.normal_(parameter, std=encoder_std)
    return layer


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def read_weights(convolution: nn.Conv2d) -> tuple[Any, Any]:
    assert convolution.bias is not None
    return convolution.weight.detach().numpy(), convolution.bias.detach().numpy()


def convolve_pixel(image: Any, convolution: nn.Conv2d, row: int, column: int) -> Any:
    """Return all channels of one pixel of a convolution with zeros around the image."""
    weight, bias = read_weights(convolution)
    radius = weight.shape[-1] // 2
    value = bias.copy()
    for down in range(-radius, radius + 1):
        for right in range(-radius, radius + 1):
            if 0 <= row + down < image.shape[1] and 0 <= column + right < image.shape[2]:
                value += weight[:, :, down + radius, right + radius] @ image[:, row + down, column + right]
    return value


def upsample_slowly(layer: Carafe, image: Any, s: int) -> Any:
    """Compute one image's output pixel by pixel, at high resolution, as the paper writes it."""
    _, height, width = image.shape
    compressed = np.zeros((64, height, width))
    projected = np.zeros((layer.project.out_channels, height, width))
    for row in range(height):
        for column in range(width):
            compressed[:, row, column] = convolve_pixel(image, layer.compress, row, column)
            projected[:, row, column] = convolve_pixel(image, layer.project, row, column)
    y = np.zeros((projected.shape[0], s * height, s * width))
    for row in range(s * height):
        for column in range(s * width):
            source_row, source_column = row // s, column // s
            encoded = convolve_pixel(compressed, layer.encode, source_row, source_column)
            logits = [encoded[tap * s * s + (row % s) * s + column % s] for tap in range(25)]
            exponentials = [np.exp(logit - max(logits)) for logit in logits]
            for tap in range(25):
                r, c = source_row + tap // 5 - 2, source_column + tap % 5 - 2
                if 0 <= r < height and 0 <= c < width:
                    y[:, row, column] += exponentials[tap] / sum(exponentials) * projected[:, r, c]
    return y


@over_scales
@over_sizes
def test_equals_the_paper_in_loops(scale_factor: int, size: tuple[int, int]) -> None:
    layer, x = build(3, 2, scale_factor), draw(2, 3, *size)
    with torch.no_grad():
        found = layer(x)
    expected = np.stack([upsample_slowly(layer, image, scale_factor) for image in x.numpy()])
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-10, atol=1e-10)


@over_scales
def test_even_kernels_are_box_averages_of_the_nearest_source(scale_factor: int) -> None:
    layer, x = build(3, 2, scale_factor, encoder_std=0), draw(2, 3, 7, 6)
    with torch.no_grad():
        averages = functional.avg_pool2d(layer.project(x), 5, stride=1, padding=2)
        expected = functional.interpolate(averages, scale_factor=float(scale_factor), mode="nearest")
        torch.testing.assert_close(layer(x), expected, rtol=1e-10, atol=1e-10)


def test_starts_close_to_even_kernels() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = Carafe(32, 8, None, 2).double()
    x = draw(1, 32, 9, 8)
    with torch.no_grad():
        averages = functional.avg_pool2d(layer.project(x), 5, stride=1, padding=2)
        error = layer(x) - functional.interpolate(averages, scale_factor=2.0, mode="nearest")
    assert 0 < error.norm() < 0.1 * averages.norm()
    for convolution in (layer.compress, layer.encode):
        assert convolution.bias is not None
        assert not convolution.bias.any()
    assert layer.encode.weight.std().item() == pytest.approx(0.001, rel=0.02)
    # Xavier: uniform within ±√(6 / (fan_in + fan_out))
    bound = (6 / (32 + 64)) ** 0.5
    assert 0.99 * bound < layer.compress.weight.abs().max().item() <= bound


@settings(deadline=None, max_examples=25)
@given(
    in_channels=st.integers(1, 5),
    out_channels=st.integers(1, 5),
    scale_factor=st.integers(1, 4),
    size=st.tuples(st.integers(5, 7), st.integers(5, 7)),
    encoder_std=st.sampled_from([0.0, 0.01, 1.0, 100.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_flat_field_stays_flat_inside(
    in_channels: int, out_channels: int, scale_factor: int, size: tuple[int, int], encoder_std: float, seed: int
) -> None:
    layer = build(in_channels, out_channels, scale_factor, encoder_std=encoder_std, seed=seed)
    x = draw(1, in_channels, 1, 1, seed=seed).expand(-1, -1, *size)
    margin = scale_factor * MARGIN
    with torch.no_grad():
        inside = layer(x)[..., margin:-margin, margin:-margin]
        expected = layer.project(x[..., :1, :1]).expand_as(inside)
        torch.testing.assert_close(inside, expected, rtol=1e-12, atol=1e-12)


def test_flat_field_darkens_towards_the_border() -> None:
    layer = build(1, 1, 2, encoder_std=0)
    nn.init.ones_(layer.project.weight)
    assert layer.project.bias is not None
    nn.init.zeros_(layer.project.bias)
    with torch.no_grad():
        y = layer(torch.ones(1, 1, 6, 5, dtype=torch.float64))
    # the corner's source has 3×3 of its 5×5 pixels within the map, the next diagonal source 4×4, the third all
    assert torch.diagonal(y[0, 0])[:6].tolist() == pytest.approx([9 / 25] * 2 + [16 / 25] * 2 + [1] * 2)


@over_scales
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
def test_projecting_first_equals_projecting_afterwards(scale_factor: int, bias: bool) -> None:
    layer, x = build(4, 3, scale_factor), draw(2, 4, 8, 7)
    assert layer.project.bias is not None
    if not bias:
        nn.init.zeros_(layer.project.bias)
    with torch.no_grad():
        logits = layer.encode(layer.compress(x))
        kernels = logits.reshape(2, 25, scale_factor**2, 8, 7).softmax(1)
        error = layer(x) - layer.project(reassemble(x, kernels, scale_factor))
    margin = scale_factor * MARGIN
    assert error[..., margin:-margin, margin:-margin].abs().max().item() < 1e-12
    # at the borders the weights within the map sum to less than one, so the bias counts for less
    assert (error.abs().max().item() < 1e-12) != bias


@over_scales
def test_backward_is_right_for_kernels_and_features(scale_factor: int) -> None:
    features = draw(1, 2, 3, 2).requires_grad_()
    kernels = draw(1, 25, scale_factor**2, 3, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, w: reassemble(x, w, scale_factor), (features, kernels))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_trains_in_half_precision(dtype: torch.dtype) -> None:
    layer = build(3, 2, 2).to(dtype)
    torch.autograd.backward(layer(draw(1, 3, 4, 5).to(dtype)).square().mean())
    for parameter in layer.parameters():
        assert parameter.grad is not None
        assert parameter.grad.dtype == dtype
        assert parameter.grad.isfinite().all()
        assert parameter.grad.any()


def test_macs_by_hand() -> None:
    macs = get_upsampler("carafe").macs
    assert macs is not None
    # 15 input pixels: 8·4 project, 8·64 compress, 64·9·100 encode; 60 output pixels of 4 channels, 25 taps each
    assert macs(8, 4, None, 2, 3, 5) == 15 * (32 + 512 + 57600) + 60 * 4 * 25


def test_declared_macs_per_output_pixel_are_the_count() -> None:
    c_in, c_out, s, height, width = 64, 32, 4, 6, 7
    macs = get_upsampler("carafe").macs
    assert macs is not None
    # the registered `macs_formula`, in numbers
    share = 1 / s**2 + 64 / (s**2 * c_out) + 14400 / (c_in * c_out) + 25 / c_in
    assert macs(c_in, c_out, None, s, height, width) == pytest.approx(share * c_in * c_out * s**2 * height * width)
