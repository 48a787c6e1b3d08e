"""Effective ripple: the slow definition, what is known exactly, and networks whose inputs cancel."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from deconvbench.errors import UsageError
from deconvbench.measure.artifacts import (
    CLEAN_EFFECTIVE_RIPPLE,
    checkerboard,
    effective_ripple,
    flat_field_ripple,
    impulse_response,
    measure_mean_inputs,
    phase_gains,
    phase_ripple,
    ripple_amplitude,
)
from tests.measure.artifacts.local_layers import seed_weights, transposed
from tests.measure.artifacts.strategies import draw_taps

LEVELS = 255


def _reference(taps: Tensor, s: int, means: list[float]) -> tuple[float, list[float]]:
    """Ripple and amplitudes, number by number."""
    varying = total = 0.0
    amplitudes = []
    for o in range(taps.shape[0]):
        answers = [
            sum(float(taps[o, i, a::s, b::s].sum()) * mean for i, mean in enumerate(means))
            for a in range(s)
            for b in range(s)
        ]
        mean = sum(answers) / s**2
        variance = sum((answer - mean) ** 2 for answer in answers) / s**2
        amplitudes.append(math.sqrt(variance))
        varying += variance
        total += sum(answer**2 for answer in answers) / s**2
    return varying / total, amplitudes


@settings(deadline=None, max_examples=40)
@given(draw_taps(), st.integers(0, 2**31))
def test_matches_the_slow_definition_and_stays_in_range(drawn: tuple[Tensor, int], seed: int) -> None:
    taps, s = drawn
    means = (1 + torch.rand(taps.shape[1], generator=torch.Generator().manual_seed(seed)).double()).tolist()
    ripple, amplitudes = _reference(taps, s, means)
    found = effective_ripple(taps, s, means)
    assert found == pytest.approx(ripple, rel=1e-7, abs=1e-9)
    assert 0 <= found <= 1
    assert ripple_amplitude(taps, s, means).tolist() == pytest.approx(amplitudes, rel=1e-9, abs=1e-12)
    # gains are taps that have been summed
    assert effective_ripple(phase_gains(taps, s), s, np.array(means)) == pytest.approx(found, rel=1e-9, abs=1e-12)
    rotated = taps.roll((1, 2), (-2, -1))
    assert effective_ripple(rotated, s, torch.tensor(means)) == pytest.approx(found, rel=1e-5, abs=1e-9)


def test_one_input_has_its_phase_ripple() -> None:
    taps = torch.randn(3, 1, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert effective_ripple(taps, 2, [0.3]) == pytest.approx(phase_ripple(taps, 2))


@pytest.mark.parametrize(("k", "expected", "scatter"), [(3, 0.195, 0.03), (4, 0.0046, 0.12)], ids=["k3", "k4"])
def test_weights_with_a_mean_show_overlap(k: int, expected: float, scatter: float) -> None:
    """[C²m²Var(n) + (1−1/s²)Cσ²n̄] / [C²m²E(n²) + Cσ²n̄] at C = 64, m = .1, σ = 1/8, all inputs one."""
    taps = torch.stack(
        [
            impulse_response(seed_weights(transposed((64, 64), k, 2), seed, mean=0.1, deviation=1 / 8), 64, 2)
            for seed in range(3)
        ]
    )
    assert effective_ripple(taps, 2, torch.ones(64)) == pytest.approx(expected, rel=scatter)
    # pair by pair it is another number, .392 and .211
    assert phase_ripple(taps, 2) > 0.2


def test_uses_and_images_are_summed_before_the_division() -> None:
    taps = torch.zeros(1, 2, 2, 2, dtype=torch.float64)
    taps[0, 0] = torch.tensor([[10.0, 0], [0, 0]])
    taps[0, 1] = 1
    means = torch.eye(2)
    assert effective_ripple(taps, 2, means) == pytest.approx((25 - 6.25) / (25 + 1))
    assert ripple_amplitude(taps, 2, means).tolist() == [[pytest.approx(math.sqrt(18.75))], [0]]
    assert effective_ripple(taps.float().half(), 2, means) == pytest.approx((25 - 6.25) / (25 + 1))


def test_nothing_at_all_is_nan_and_amplitude_zero() -> None:
    taps = torch.randn(2, 3, 4, 4)
    assert math.isnan(effective_ripple(taps, 2, torch.zeros(3)))
    assert ripple_amplitude(taps, 2, torch.zeros(3)).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("taps", "mean", "message"),
    [
        pytest.param(torch.ones(1, 3, 4, 4), [1.0, 2.0], r"mean_input: shape \(2,\) does not hold .* 3", id="few"),
        pytest.param(torch.ones(1, 3, 4, 4), 1.0, r"mean_input: shape \(\) does not hold", id="number"),
        pytest.param(torch.ones(1, 3, 4, 4), "abc", "mean_input: 'abc' is not an array of numbers", id="text"),
        pytest.param(torch.ones(5, 1, 3, 4, 4), torch.ones(2, 3), r"leading axes of shape \(2, 3\)", id="axes"),
        pytest.param(torch.ones(4, 4), [1.0], r"taps: shape \(4, 4\) is not \(..., O, I, T, T\)", id="2d"),
        pytest.param([1.0], [1.0], "taps: .* is not a tensor", id="list"),
    ],
)
def test_what_does_not_go_together_is_an_error(taps: Any, mean: Any, message: str) -> None:
    for function in (effective_ripple, ripple_amplitude):
        with pytest.raises(UsageError, match=message):
            function(taps, 2, mean)


def _cancel(layer: nn.ConvTranspose2d, s: int, features: Tensor) -> None:
    """Change the weights so that ripples add up to nothing for all features (n, I), and little else.

    Features lie close to a few directions of the I; only these are taken out of what the phases differ by. Only
    the last s×s taps are changed, which reach each phase once.
    """
    with torch.no_grad():
        gains = phase_gains(impulse_response(layer, layer.in_channels, s), s)
        ripple = gains - gains.mean((-2, -1), keepdim=True)
        directions = torch.linalg.svd(features, full_matrices=False)[2][: layer.in_channels // 2]
        change = torch.einsum("oiyx,di,dj->joyx", ripple, directions, directions)
        # tap t of an unpadded layer reaches phase t mod s
        layer.weight[:, :, -s:, -s:] -= change.to(layer.weight.dtype)


class _Upscaler(nn.Module):
    """Features of images, then a deconvolution without padding to three colours."""

    def __init__(self, seed: int, channels: int = 16) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1, padding_mode="replicate"), nn.Sigmoid())
        self.up = nn.ConvTranspose2d(channels, 3, 4, stride=2)
        seed_weights(self, seed, deviation=0.1)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.up(self.features(x))
        return y


def _draw_images(number: int = 4, side: int = 64) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(number, 3, 5, 5, dtype=torch.float64, generator=generator)
    return nn.functional.interpolate(coarse, (side, side), mode="bilinear", align_corners=True)


def _read_features(network: _Upscaler, images: Tensor) -> Tensor:
    with torch.no_grad():
        features: Tensor = network.features(images).transpose(0, 1).flatten(1).T
    return features


@pytest.mark.parametrize("seed", range(5))
def test_a_network_whose_inputs_cancel_is_clean_though_its_pairs_ripple(seed: int) -> None:
    network, images = _Upscaler(seed), _draw_images()
    means = measure_mean_inputs(network, ["up"], images)["up"]
    assert effective_ripple(impulse_response(network.up, 16, 2), 2, means) > 0.01
    _cancel(network.up, 2, _read_features(network, images))
    taps = impulse_response(network.up, 16, 2)
    assert phase_ripple(taps, 2) > 0.3
    assert effective_ripple(taps, 2, means) < CLEAN_EFFECTIVE_RIPPLE
    by_image = measure_mean_inputs(network, ["up"], images, per_image=True)["up"]
    assert effective_ripple(taps, 2, by_image) < CLEAN_EFFECTIVE_RIPPLE
    # and clean it is
    assert LEVELS * flat_field_ripple(network, 3, 2, colour_range=(0, 1)) < 0.1
    with torch.no_grad():
        assert checkerboard(LEVELS * network(images), 2).amplitude < 0.5


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_ripple_of_two_levels_is_found(seed: int) -> None:
    network, images = _Upscaler(seed), _draw_images()
    means = measure_mean_inputs(network, ["up"], images)["up"]
    _cancel(network.up, 2, _read_features(network, images))
    board = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    with torch.no_grad():
        network.up.weight[0, :, -2:, -2:] += 2 / LEVELS / means[0, 0] * board
        outputs = network(images)
        level = float((outputs.mean((0, 2, 3)) - network.up.get_parameter("bias")).square().mean())
    taps = impulse_response(network.up, 16, 2)
    assert (LEVELS * ripple_amplitude(taps, 2, means)).flatten().tolist() == pytest.approx([2.0] * 3, rel=0.05)
    found = effective_ripple(taps, 2, means)
    assert found == pytest.approx((2 / LEVELS) ** 2 / level, rel=0.15)
    assert found > 10 * CLEAN_EFFECTIVE_RIPPLE
    # two levels on the mean input are about two on any, where the features change little
    assert LEVELS * flat_field_ripple(network, 3, 2, colour_range=(0, 1)) == pytest.approx(2, rel=0.2)
    assert LEVELS * checkerboard(outputs, 2).amplitude == pytest.approx(2, rel=0.1)


def test_what_cancels_on_the_mean_alone_shows_image_by_image() -> None:
    taps = torch.zeros(1, 2, 2, 2, dtype=torch.float64)
    taps[0, 0] = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    taps[0, 1] = 1 - taps[0, 0]
    means = torch.tensor([[0.2, 0.8], [0.8, 0.2]])
    assert effective_ripple(taps, 2, means.mean(0)) == 0
    assert effective_ripple(taps, 2, means) == pytest.approx(0.36 / (0.36 + (0.8**2 + 0.2**2) / 2))


@pytest.mark.slow
def test_a_trained_network_is_clean_though_its_pairs_ripple() -> None:
    """Training makes ripples cancel over the inputs and leaves most of the pairs as they were drawn."""
    network, images = _Upscaler(0, channels=32), _draw_images(4, 32)
    targets = nn.functional.interpolate(images, scale_factor=2, mode="bilinear")
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(200):
        # away from the rim, where fewer taps overlap
        loss = (network(images)[..., 4:-4, 4:-4] - targets[..., 3:-3, 3:-3]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    taps = impulse_response(network.up, 32, 2)
    means = measure_mean_inputs(network, ["up"], images)["up"]
    assert phase_ripple(taps, 2) > 0.3
    assert effective_ripple(taps, 2, means) < CLEAN_EFFECTIVE_RIPPLE
