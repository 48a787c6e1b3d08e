"""Noise gain: the slow definition, the overlap that it tends to, and what leaves the noise even."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from deconvbench.measure.artifacts import impulse_response, noise_gain_cv, overlap_cv
from tests.measure.artifacts.local_layers import (
    ZeroInsertion,
    conv_resize,
    resize_conv,
    seed_weights,
    transposed,
)
from tests.measure.artifacts.strategies import draw_taps


def _reference(taps: Tensor, s: int) -> float:
    power = [float(taps[..., a::s, b::s].square().sum()) for a in range(s) for b in range(s)]
    mean = sum(power) / s**2
    return math.sqrt(sum((v - mean) ** 2 for v in power) / s**2) / mean


@settings(deadline=None, max_examples=40)
@given(draw_taps())
def test_matches_the_slow_definition_and_stays_in_range(drawn: tuple[Tensor, int]) -> None:
    taps, s = drawn
    cv = noise_gain_cv(taps, s)
    assert cv == pytest.approx(_reference(taps, s), rel=1e-9, abs=1e-12)
    assert 0 <= cv <= math.sqrt(s**2 - 1) + 1e-12


@settings(deadline=None, max_examples=30)
@given(draw_taps(), st.floats(0.01, 100))
def test_gain_and_order_of_channels_do_not_matter(drawn: tuple[Tensor, int], gain: float) -> None:
    taps, s = drawn
    assert noise_gain_cv(-gain * taps.flip(0, 1), s) == pytest.approx(noise_gain_cv(taps, s), rel=1e-9, abs=1e-12)


def test_it_is_the_variance_of_filtered_noise() -> None:
    layer = seed_weights(transposed((4, 4), 3, 2), 0).double()
    x = torch.randn(8, 4, 66, 66, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        y = (layer(x) - layer(0 * x))[:, :, 2:-2, 2:-2]
    power = torch.stack([y[..., a::2, b::2].square().mean((0, 2, 3)).sum() for a in range(2) for b in range(2)])
    expected = float(power.std(correction=0) / power.mean())
    assert noise_gain_cv(impulse_response(layer, 4, 2), 2) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(("k", "s"), [(3, 2), (5, 2), (4, 3), (5, 4), (4, 2)], ids=str)
def test_random_weights_tend_to_the_overlap(k: int, s: int) -> None:
    layer = seed_weights(transposed((64, 64), k, s), 0)
    assert noise_gain_cv(impulse_response(layer, 64, s), s) == pytest.approx(overlap_cv(layer, 64, s), abs=0.01)


def test_k3s2_at_64_channels() -> None:
    taps = [impulse_response(seed_weights(transposed((64, 64), 3, 2), seed), 64, 2) for seed in range(8)]
    assert noise_gain_cv(torch.stack(taps), 2) == pytest.approx(0.484, abs=0.01)


def test_resize_convolution_tends_to_zero() -> None:
    few, many = (
        torch.stack([impulse_response(seed_weights(resize_conv((c, c), 3, 2), seed), c, 2) for seed in range(4)])
        for c in (1, 48)
    )
    assert noise_gain_cv(many, 2) < 0.015
    assert noise_gain_cv(few, 2) > noise_gain_cv(many, 2)


def test_conv_nearest_is_even() -> None:
    assert noise_gain_cv(impulse_response(conv_resize((2, 2), 3, 3), 2, 3), 3) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("s", [2, 3, 4])
def test_zero_insertion_is_the_upper_end(s: int) -> None:
    assert noise_gain_cv(impulse_response(ZeroInsertion(s), 1, s), s) == pytest.approx(math.sqrt(s**2 - 1))


def test_no_taps_is_nan() -> None:
    assert math.isnan(noise_gain_cv(torch.zeros(1, 1, 4, 4), 2))
