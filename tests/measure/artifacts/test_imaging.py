"""Image rejection: waves really fed through the layer, and the closed forms of the interpolators."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from deconvbench.measure.artifacts import FLOOR_DB, image_rejection_db, impulse_response
from tests.measure.artifacts.local_layers import (
    ZeroInsertion,
    conv_resize,
    resize,
    resize_conv,
    seed_weights,
    subpixel,
    transposed,
)
from tests.measure.artifacts.strategies import draw_taps


def _reference(layer: nn.Module, in_channels: int, s: int) -> float:
    """The definition: complex waves, the interior cropped to a multiple of 10·s, a discrete Fourier transform."""
    layer = layer.double()
    height, width, margin, periods = 20, 36, 8, 2
    wave = torch.exp(2j * math.pi * 0.1 * torch.arange(width))
    passed = rejected = 0.0
    with torch.no_grad():
        zero = layer(torch.zeros(1, in_channels, height, width, dtype=torch.float64))
        for channel in range(in_channels):
            parts = []
            for part in (wave.real, wave.imag):
                x = torch.zeros(1, in_channels, height, width, dtype=torch.float64)
                x[0, channel] = part
                parts.append((layer(x) - zero)[0].numpy())
            y = parts[0] + 1j * parts[1]
            rows = slice(margin * s, (height - margin) * s)
            y = y[:, rows, margin * s : (margin + 10 * periods) * s]
            spectrum = np.abs(np.fft.fft2(y)) ** 2
            # bin b is the frequency b / (10·s·periods), so (0.1 + m)/s lies in bin (1 + 10·m)·periods
            passed += spectrum[:, 0, periods].sum()
            rejected += sum(spectrum[:, 0, (1 + 10 * m) * periods].sum() for m in range(1, s))
    return 10 * math.log10(rejected / passed)


@pytest.mark.parametrize(
    ("build", "s"),
    [
        pytest.param(lambda: transposed((2, 3), 3, 2), 2, id="transposed-k3-s2"),
        pytest.param(lambda: transposed((2, 3), 5, 3), 3, id="transposed-k5-s3"),
        pytest.param(lambda: transposed((2, 3), 8, 4), 4, id="transposed-k8-s4"),
        pytest.param(lambda: resize_conv((2, 3), 3, 2), 2, id="nearest_conv-k3-s2"),
        pytest.param(lambda: resize_conv((2, 3), 5, 3, "bilinear"), 3, id="bilinear_conv-k5-s3"),
        pytest.param(lambda: conv_resize((2, 3), 3, 4), 4, id="conv_nearest-k3-s4"),
        pytest.param(lambda: subpixel((2, 3), 3, 3), 3, id="subpixel-k3-s3"),
    ],
)
def test_matches_waves_fed_through_the_layer(build: Callable[[], nn.Module], s: int) -> None:
    layer = seed_weights(build(), 5)
    assert image_rejection_db(impulse_response(layer, 2, s), s) == pytest.approx(_reference(layer, 2, s), abs=1e-6)


@pytest.mark.parametrize(
    ("mode", "s", "expected"),
    [
        pytest.param("nearest", 2, -16.01, id="nearest-s2"),
        pytest.param("nearest", 3, -15.26, id="nearest-s3"),
        pytest.param("nearest", 4, -15.03, id="nearest-s4"),
        pytest.param("bilinear", 2, -48.02, id="bilinear-s2"),
        pytest.param("bilinear", 3, -33.47, id="bilinear-s3"),
        pytest.param("bilinear", 4, -37.64, id="bilinear-s4"),
        pytest.param("bicubic", 2, -32.28, id="bicubic-s2"),
    ],
)
def test_interpolators(mode: str, s: int, expected: float) -> None:
    taps = impulse_response(resize(mode, s), 3, s)
    assert image_rejection_db(taps, s) == pytest.approx(expected, abs=0.01)


@settings(deadline=None, max_examples=20)
@given(st.floats(0.01, 0.49))
def test_closed_forms_at_scale_two_hold_at_every_frequency(frequency: float) -> None:
    nearest, bilinear = (impulse_response(resize(mode, 2), 1, 2) for mode in ("nearest", "bilinear"))
    tangent = 20 * math.log10(math.tan(math.pi * frequency / 2))
    assert image_rejection_db(nearest, 2, frequency) == pytest.approx(tangent, abs=1e-6)
    assert image_rejection_db(bilinear, 2, frequency) == pytest.approx(3 * tangent, abs=1e-6)


@pytest.mark.parametrize("s", [2, 3, 4, 5])
def test_zero_insertion_keeps_every_image(s: int) -> None:
    taps = impulse_response(ZeroInsertion(s), 1, s)
    assert image_rejection_db(taps, s) == pytest.approx(10 * math.log10(s - 1), abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(draw_taps(), st.floats(0.01, 100))
def test_gain_and_order_of_channels_do_not_matter(drawn: tuple[Tensor, int], gain: float) -> None:
    taps, s = drawn
    decibels = image_rejection_db(taps, s)
    assert FLOOR_DB <= decibels <= -FLOOR_DB
    assert image_rejection_db(-gain * taps.flip(0, 1), s) == pytest.approx(decibels, abs=1e-6)


def test_channels_and_seeds_are_summed_before_the_division() -> None:
    nearest, zeros = (impulse_response(layer, 1, 2) for layer in (resize("nearest", 2), ZeroInsertion(2)))
    taps = torch.stack([nearest, 10 * zeros])
    tangent = math.tan(math.pi * 0.05) ** 2
    # (power of wave, power of image) is 16·(1 − t, t) for nearest, in t = sin²(πf/2), and (100, 100) for the zeros
    share = tangent / (1 + tangent)
    expected = 10 * math.log10((16 * share + 100) / (16 * (1 - share) + 100))
    assert image_rejection_db(taps, 2) == pytest.approx(expected, abs=1e-9)


def test_only_waves_along_the_columns_are_seen() -> None:
    along = torch.ones(1, 1, 1, 2).double() * torch.tensor([[1.0], [0.0]])
    across = along.transpose(-1, -2)
    assert image_rejection_db(along, 2) == pytest.approx(-16.0, abs=0.01)
    assert image_rejection_db(across, 2) == pytest.approx(0, abs=1e-9)


def test_floor_ceiling_and_undefined() -> None:
    assert image_rejection_db(torch.ones(1, 1, 3, 3).double(), 1) == FLOOR_DB
    # at f = 0 two equal taps cancel the image, two opposite ones the wave; what rounding leaves is under the floor
    assert image_rejection_db(torch.ones(1, 1, 2, 2).double(), 2, 0.0) == FLOOR_DB
    opposite = torch.tensor([[1.0, -1.0], [1.0, -1.0]]).double()[None, None]
    assert image_rejection_db(opposite, 2, 0.0) == -FLOOR_DB
    assert math.isnan(image_rejection_db(torch.zeros(1, 1, 4, 4), 2))
