"""Resize-convolution: no ripple, the equal transposed convolution, and how well it rejects images."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.upsamplers.resize_conv import BicubicConv, BilinearConv, NearestConv
from tests.upsamplers.phases import compute_ripple, measure_phase_gains

ResizeConv = NearestConv | BilinearConv | BicubicConv
over_kinds = pytest.mark.parametrize(
    "kind", [NearestConv, BilinearConv, BicubicConv], ids=["nearest", "bilinear", "bicubic"]
)
over_scales = pytest.mark.parametrize("scale_factor", [2, 3, 4], ids="s{}".format)
over_kernels = pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 5, 6], ids="k{}".format)


def make_identity(layer: ResizeConv) -> None:
    """Make the convolution copy its input, so that the resize alone remains."""
    nn.init.dirac_(layer.conv.weight)
    assert layer.conv.bias is not None
    nn.init.zeros_(layer.conv.bias)


def interpolate_bilinear(x: Tensor, s: int) -> Tensor:
    """Interpolate along the last axis with half-pixel centres, value by value."""
    size = x.shape[-1]
    columns = []
    for m in range(s * size):
        u = (m + 0.5) / s - 0.5
        left = math.floor(u)
        first, second = x[..., max(left, 0)], x[..., min(left + 1, size - 1)]
        columns.append((1 - (u - left)) * first + (u - left) * second)
    return torch.stack(columns, dim=-1)


@over_kinds
@over_scales
@over_kernels
def test_phase_sums_are_equal(kind: type[ResizeConv], kernel_size: int, scale_factor: int) -> None:
    gains = measure_phase_gains(kind(3, 4, kernel_size, scale_factor), 3, scale_factor)
    assert compute_ripple(gains) == pytest.approx(0, abs=1e-20)


@over_kinds
def test_training_cannot_bring_the_ripple_back(kind: type[ResizeConv]) -> None:
    torch.manual_seed(0)
    layer = kind(2, 2, 3, 2)
    before = measure_phase_gains(layer, 2, 2)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        x, target = torch.rand(4, 2, 8, 8).double(), torch.rand(4, 2, 16, 16).double()
        torch.autograd.backward(functional.mse_loss(layer(x), target))
        optimizer.step()
    after = measure_phase_gains(layer, 2, 2)
    assert not torch.allclose(after, before, atol=1e-4)
    assert compute_ripple(after) == pytest.approx(0, abs=1e-20)


@over_scales
@over_kernels
@pytest.mark.parametrize("size", [(1, 1), (3, 4)], ids=["1x1", "3x4"])
def test_nearest_conv_equals_a_transposed_convolution(
    kernel_size: int, scale_factor: int, size: tuple[int, int]
) -> None:
    layer, s = NearestConv(2, 3, kernel_size, scale_factor).double(), scale_factor
    x = torch.randn(2, 2, *size, dtype=torch.float64)
    flipped = layer.conv.weight.flip(2, 3)
    # full convolution of each kernel with a box of s×s ones
    kernels = flipped.reshape(-1, 1, kernel_size, kernel_size)
    wide = functional.conv2d(kernels, torch.ones(1, 1, s, s, dtype=torch.float64), padding=s - 1)
    side = kernel_size + s - 1
    weight = wide.reshape(3, 2, side, side).transpose(0, 1)
    full = functional.conv_transpose2d(x, weight, layer.conv.bias, stride=s)
    first = kernel_size // 2
    expected = full[:, :, first : first + s * size[0], first : first + s * size[1]]
    torch.testing.assert_close(layer(x), expected, rtol=1e-10, atol=1e-10)


@over_scales
@pytest.mark.parametrize("size", [(1, 1), (3, 4)], ids=["1x1", "3x4"])
def test_bilinear_takes_half_pixel_centres(scale_factor: int, size: tuple[int, int]) -> None:
    layer = BilinearConv(2, 2, 3, scale_factor).double()
    make_identity(layer)
    x = torch.randn(1, 2, *size, dtype=torch.float64)
    rows = interpolate_bilinear(x.transpose(2, 3), scale_factor).transpose(2, 3)
    torch.testing.assert_close(layer(x).detach(), interpolate_bilinear(rows, scale_factor), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("kind", "scale_factor", "expected_db"),
    [
        (NearestConv, 2, 20 * math.log10(math.tan(math.pi * 0.05))),
        (NearestConv, 3, -15.26),
        (NearestConv, 4, -15.03),
        (BilinearConv, 2, 60 * math.log10(math.tan(math.pi * 0.05))),
        (BilinearConv, 3, -33.47),
        (BilinearConv, 4, -37.64),
        (BicubicConv, 2, -32.28),
    ],
    ids=["nearest-s2", "nearest-s3", "nearest-s4", "bilinear-s2", "bilinear-s3", "bilinear-s4", "bicubic-s2"],
)
def test_image_rejection_of_the_resize_alone(
    kind: type[ResizeConv], scale_factor: int, expected_db: float
) -> None:
    layer = kind(1, 1, 3, scale_factor).double()
    make_identity(layer)
    # a wave of 0.1 cycle per input pixel; its images lie one input sampling rate apart
    size, margin = 40, 10
    wave = np.exp(2j * np.pi * 0.1 * np.arange(size))
    with torch.no_grad():
        real, imaginary = (
            layer(torch.from_numpy(part).expand(1, 1, size, size)).numpy()[0, 0, size * scale_factor // 2]
            for part in (wave.real.copy(), wave.imag.copy())
        )
    row = (real + 1j * imaginary)[margin * scale_factor : -margin * scale_factor]
    power = np.abs(np.fft.fft(row)) ** 2
    kept = size - 2 * margin
    signal, *images = power[round(0.1 * kept) :: kept]
    assert 10 * math.log10(sum(images) / signal) == pytest.approx(expected_db, abs=0.01)
