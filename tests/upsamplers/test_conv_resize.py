"""Convolution then resize: blocks of one value or none, no ripple, and the images of the resize alone."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.measure.artifacts import image_rejection_db, impulse_response, phase_ripple
from deconvbench.upsamplers import get_upsampler
from deconvbench.upsamplers.conv_resize import ConvBilinear, ConvNearest
from deconvbench.upsamplers.resize_conv import BilinearConv
from tests.upsamplers.phases import compute_ripple, measure_phase_gains

over_scales = pytest.mark.parametrize("scale_factor", [1, 2, 3, 4], ids="s{}".format)
over_kinds = pytest.mark.parametrize("kind", [ConvNearest, ConvBilinear], ids=["nearest", "bilinear"])


def build_bilinear_matrix(size: int, s: int) -> Tensor:
    """Build the matrix (s·size, size) of half-pixel bilinear interpolation along one axis, weight by weight."""
    matrix = torch.zeros(s * size, size, dtype=torch.float64)
    for m in range(s * size):
        u = (m + 0.5) / s - 0.5
        left = math.floor(u)
        matrix[m, max(left, 0)] += 1 - (u - left)
        matrix[m, min(left + 1, size - 1)] += u - left
    return matrix


@over_scales
@pytest.mark.parametrize("kernel_size", [1, 3, 4], ids="k{}".format)
def test_repeats_the_pixels_of_the_convolution(kernel_size: int, scale_factor: int) -> None:
    layer, s = ConvNearest(2, 3, kernel_size, scale_factor).double(), scale_factor
    x = torch.randn(2, 2, 3, 5, dtype=torch.float64)
    before, after = (kernel_size - 1) // 2, kernel_size // 2
    padded = functional.pad(x, (before, after, before, after))
    small = functional.conv2d(padded, layer.conv.weight, layer.conv.bias)
    expected = small.repeat_interleave(s, dim=2).repeat_interleave(s, dim=3)
    torch.testing.assert_close(layer(x), expected, rtol=1e-10, atol=1e-10)


@over_scales
@pytest.mark.parametrize("kernel_size", [1, 3, 4], ids="k{}".format)
def test_interpolates_between_the_pixels_of_the_convolution(kernel_size: int, scale_factor: int) -> None:
    layer = ConvBilinear(2, 3, kernel_size, scale_factor).double()
    x = torch.randn(2, 2, 3, 5, dtype=torch.float64)
    before, after = (kernel_size - 1) // 2, kernel_size // 2
    small = functional.conv2d(
        functional.pad(x, (before, after, before, after)), layer.conv.weight, layer.conv.bias
    )
    rows, columns = (build_bilinear_matrix(size, scale_factor) for size in (3, 5))
    torch.testing.assert_close(layer(x), rows @ small @ columns.T, rtol=1e-10, atol=1e-10)


@over_scales
@pytest.mark.parametrize("size", [(1, 1), (3, 4)], ids=["1x1", "3x4"])
def test_pointwise_convolution_and_bilinear_resize_commute(scale_factor: int, size: tuple[int, int]) -> None:
    layer = ConvBilinear(2, 3, 1, scale_factor).double()
    other = BilinearConv(2, 3, 1, scale_factor).double()
    other.load_state_dict(layer.state_dict())
    x = torch.randn(2, 2, *size, dtype=torch.float64)
    torch.testing.assert_close(layer(x), other(x), rtol=1e-10, atol=1e-10)


@over_kinds
@over_scales
def test_phase_sums_are_equal(kind: type[ConvNearest | ConvBilinear], scale_factor: int) -> None:
    layer = kind(3, 4, 3, scale_factor)
    assert phase_ripple(impulse_response(layer, 3, scale_factor), scale_factor) == pytest.approx(0, abs=1e-20)
    assert compute_ripple(measure_phase_gains(layer, 3, scale_factor)) == pytest.approx(0, abs=1e-20)


@pytest.mark.parametrize("kernel_size", [1, 3, 4], ids="k{}".format)
@pytest.mark.parametrize(
    ("kind", "scale_factor", "expected_db"),
    [
        (ConvNearest, 2, 20 * math.log10(math.tan(math.pi * 0.05))),
        (ConvNearest, 3, -15.26),
        (ConvNearest, 4, -15.03),
        (ConvBilinear, 2, 60 * math.log10(math.tan(math.pi * 0.05))),
        (ConvBilinear, 3, -33.47),
        (ConvBilinear, 4, -37.64),
    ],
    ids=["nearest-s2", "nearest-s3", "nearest-s4", "bilinear-s2", "bilinear-s3", "bilinear-s4"],
)
def test_no_convolution_before_the_resize_changes_the_images(
    kind: type[ConvNearest | ConvBilinear], kernel_size: int, scale_factor: int, expected_db: float
) -> None:
    taps = impulse_response(kind(2, 3, kernel_size, scale_factor), 2, scale_factor)
    assert image_rejection_db(taps, scale_factor) == pytest.approx(expected_db, abs=0.01)


@pytest.mark.parametrize(
    ("name", "expected"),
    # 9 taps, 8·6 channels, 15 input pixels; 4 taps, 6 channels, 60 output pixels
    [("conv_nearest", 9 * 48 * 15), ("conv_bilinear", 9 * 48 * 15 + 4 * 6 * 60)],
)
def test_macs_are_those_of_the_low_resolution(name: str, expected: int) -> None:
    macs = get_upsampler(name).macs
    assert macs is not None
    assert macs(8, 6, 3, 2, 5, 3) == expected
