"""Windowed-sinc resize: the filter, its exact phase sums, the slow definition, and the images that it leaves."""

import math

import numpy as np
import numpy.typing as npt
import pytest
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from deconvbench.measure.artifacts import image_rejection_db, impulse_response, phase_ripple
from deconvbench.upsamplers import get_upsampler
from deconvbench.upsamplers.resize_conv import BicubicConv, BilinearConv, NearestConv
from deconvbench.upsamplers.sinc_resize import (
    KAISER_BETA,
    STOP_BAND_DB,
    TAPS_PER_PHASE,
    SincConv,
    SincResize,
    count_taps,
    design_filter,
)

over_scales = pytest.mark.parametrize("scale_factor", [2, 3, 4], ids="s{}".format)
over_many_scales = pytest.mark.parametrize("scale_factor", [2, 3, 4, 5, 7, 8, 16], ids="s{}".format)
# the taps are rounded to 2⁻²⁴, six of them an axis
ROUNDING = 1e-6


def weigh(distance: float, beta: float) -> float:
    """Windowed sinc at a distance in input pixels; nothing beyond the window."""
    share = 2 * distance / TAPS_PER_PHASE
    return float(np.sinc(distance) * np.i0(beta * math.sqrt(1 - share**2))) if abs(share) < 1 else 0.0


def build_matrix(size: int, s: int, beta: float = KAISER_BETA) -> Tensor:
    """Build the matrix (s·size, size) of the resize along one axis: weights by distance, normalised by row."""
    matrix = torch.zeros(s * size, size, dtype=torch.float64)
    for m in range(s * size):
        u = (m + 0.5) / s - 0.5
        near = range(math.floor(u) - 4, math.floor(u) + 6)
        total = sum(weigh(u - n, beta) for n in near)
        for n in near:
            matrix[m, min(max(n, 0), size - 1)] += weigh(u - n, beta) / total
    return matrix


def measure_images(matrix: Tensor, s: int, frequency: float) -> float:
    """Images that one axis leaves of a wave, in dB, from the column of the matrix's middle pixel."""
    size = matrix.shape[1]
    column = matrix[:, size // 2]
    return image_rejection_db(torch.outer(column, column)[None, None], s, frequency)


def load_same_weights(layer: SincConv, kind: type[nn.Module], scale_factor: int) -> nn.Module:
    """Build another resize-convolution with this layer's own parameters."""
    other = kind(layer.conv.in_channels, layer.conv.out_channels, layer.conv.kernel_size[0], scale_factor)
    other.load_state_dict(layer.state_dict())
    return other


@over_many_scales
def test_filter_is_a_symmetric_kaiser_sinc(scale_factor: int) -> None:
    found = design_filter(scale_factor)
    assert found.shape == (count_taps(scale_factor),)
    assert torch.equal(found, found.flip(0))
    taps = np.arange(count_taps(scale_factor))
    expected = np.array([weigh((t - (len(taps) - 1) / 2) / scale_factor, KAISER_BETA) for t in taps])
    for phase in range(scale_factor):
        expected[phase::scale_factor] /= expected[phase::scale_factor].sum()
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=2e-7)


@over_many_scales
def test_window_is_as_long_as_the_half_pixel_grid_has_taps(scale_factor: int) -> None:
    reached = [abs(t - (count_taps(scale_factor) - 1) / 2) / scale_factor for t in (-1, 0)]
    assert reached[1] < TAPS_PER_PHASE / 2 <= reached[0]


def test_beta_is_that_of_the_stop_band() -> None:
    assert pytest.approx(scipy.signal.kaiser_beta(STOP_BAND_DB)) == KAISER_BETA


@over_many_scales
def test_phases_sum_to_exactly_one_in_single_precision_too(scale_factor: int) -> None:
    taps = design_filter(scale_factor)
    assert torch.equal(taps.float().double(), taps)
    for dtype in (torch.float32, torch.float64):
        sums = torch.stack([taps[phase::scale_factor].to(dtype).sum() for phase in range(scale_factor)])
        assert torch.equal(sums, torch.ones(scale_factor, dtype=dtype))


@pytest.mark.parametrize("scale_factor", [3, 5], ids="s{}".format)
def test_odd_scales_keep_the_pixels(scale_factor: int) -> None:
    x = torch.randn(1, 2, 4, 5, dtype=torch.float64)
    y = SincResize(2, scale_factor).double()(x)
    middle = scale_factor // 2
    torch.testing.assert_close(y[..., middle::scale_factor, middle::scale_factor], x, rtol=1e-12, atol=1e-12)


@over_scales
@pytest.mark.parametrize("size", [(1, 1), (1, 3), (2, 5), (9, 8)], ids=["1x1", "1x3", "2x5", "9x8"])
def test_follows_the_definition_to_the_border(scale_factor: int, size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    rows, columns = (build_matrix(side, scale_factor) for side in size)
    found = SincResize(3, scale_factor).double()(x)
    torch.testing.assert_close(found, rows @ x @ columns.T, rtol=0, atol=10 * ROUNDING)


def test_no_scale_no_filter() -> None:
    layer = SincConv(2, 3, 3, 1)
    x = torch.randn(2, 2, 4, 5)
    assert torch.equal(layer(x), layer.conv(x))
    assert list(layer.buffers()) == []


@given(
    scale_factor=st.integers(2, 6),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    level=st.floats(1e-3, 1e3),
)
@settings(deadline=None, max_examples=25)
def test_constants_stay_constant_to_the_border(scale_factor: int, height: int, width: int, level: float) -> None:
    x = torch.full((1, 2, height, width), level, dtype=torch.float64)
    # built in float32 and then converted, as a user would
    y = SincResize(2, scale_factor).double()(x)
    torch.testing.assert_close(y, torch.full_like(y, level), rtol=1e-14, atol=0)


@over_scales
@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 5], ids="k{}".format)
def test_phase_sums_are_equal(kernel_size: int, scale_factor: int) -> None:
    layer = SincConv(3, 4, kernel_size, scale_factor)
    assert phase_ripple(impulse_response(layer, 3, scale_factor), scale_factor) == pytest.approx(0, abs=1e-20)


@over_scales
@pytest.mark.parametrize("kernel_size", [1, 3, 4], ids="k{}".format)
def test_leaves_less_of_images_than_any_other_resize(kernel_size: int, scale_factor: int) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = SincConv(3, 4, kernel_size, scale_factor)
    found = image_rejection_db(impulse_response(layer, 3, scale_factor), scale_factor)
    others = {
        kind.__name__: image_rejection_db(
            impulse_response(load_same_weights(layer, kind, scale_factor), 3, scale_factor), scale_factor
        )
        for kind in (NearestConv, BilinearConv, BicubicConv)
    }
    assert found < min(others.values()) - 10, others


@pytest.mark.parametrize(
    ("scale_factor", "expected_db"), [(2, -67.75), (3, -62.07), (4, -58.73)], ids=["s2", "s3", "s4"]
)
def test_image_rejection_of_the_resize_alone(scale_factor: int, expected_db: float) -> None:
    taps = impulse_response(SincConv(2, 3, 1, scale_factor), 2, scale_factor)
    found = image_rejection_db(taps, scale_factor)
    assert found == pytest.approx(measure_images(build_matrix(9, scale_factor), scale_factor, 0.1), abs=0.05)
    assert found == pytest.approx(expected_db, abs=0.05)


@over_scales
def test_images_in_the_pass_band_stay_under_half_a_level_of_eight_bits(scale_factor: int) -> None:
    taps = impulse_response(SincConv(1, 1, 1, scale_factor), 1, scale_factor)
    half_a_level_db = 20 * math.log10(0.5 / 255)
    frequencies: npt.NDArray[np.float64] = np.linspace(0.01, 0.2, 20)
    assert max(image_rejection_db(taps, scale_factor, float(f)) for f in frequencies) < half_a_level_db


def test_the_usual_transition_of_stylegan3_would_lose_to_bilinear() -> None:
    # Kaiser's estimate for 12 taps at twice the rate; the width is in units of the output's Nyquist frequency
    beta = float(scipy.signal.kaiser_beta(scipy.signal.kaiser_atten(2 * TAPS_PER_PHASE, math.sqrt(2) - 1)))
    assert beta < KAISER_BETA
    bilinear_db = 60 * math.log10(math.tan(math.pi * 0.05))
    assert bilinear_db < measure_images(build_matrix(9, 2, beta), 2, 0.1) == pytest.approx(-44.7, abs=0.1)


def test_filter_is_no_part_of_a_checkpoint_and_follows_the_layer() -> None:
    layer = SincConv(2, 3, 3, 2)
    assert set(layer.state_dict()) == {"conv.weight", "conv.bias"}
    assert [buffer.requires_grad for buffer in layer.buffers()] == [False]
    for dtype in (torch.float64, torch.bfloat16, torch.float32):
        assert {buffer.dtype for buffer in layer.to(dtype).buffers()} == {dtype}


@pytest.mark.parametrize(
    ("scale_factor", "expected"),
    [
        # 9 taps, 8·6 channels, 60 pixels; 12 taps in 8 channels on 11×9 padded pixels, then on 11×6
        (2, 9 * 48 * 60 + 12 * 8 * (11 * 9 + 11 * 6)),
        (3, 9 * 48 * 135 + 17 * 8 * (11 * 9 + 11 * 9)),
        (1, 9 * 48 * 15),
    ],
    ids=["s2", "s3", "s1"],
)
def test_macs_include_the_padding(scale_factor: int, expected: int) -> None:
    macs = get_upsampler("sinc_conv").macs
    assert macs is not None
    assert macs(8, 6, 3, scale_factor, 5, 3) == expected


@over_scales
def test_macs_of_large_maps_tend_to_the_formula(scale_factor: int) -> None:
    macs = get_upsampler("sinc_conv").macs
    assert macs is not None
    side, channels = 10**6, 8
    per_pixel = macs(channels, channels, 3, scale_factor, side, side) / (channels * scale_factor * side) ** 2
    taps = count_taps(scale_factor) / scale_factor
    assert per_pixel == pytest.approx(9 + taps * (1 + 1 / scale_factor) / channels, rel=1e-5)
