"""Phase ripple: the slow definition, what is known exactly, and what random weights tend to."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from deconvbench.measure.artifacts import impulse_response, phase_gains, phase_ripple
from tests.measure.artifacts.local_layers import (
    Blur,
    Fir1331,
    conv_resize,
    equalise_phases,
    resize_conv,
    seed_weights,
    subpixel,
    transposed,
)
from tests.measure.artifacts.strategies import draw_taps

# power of 1e-16 of rounding in the amplitude, with room for sums of hundreds
ROUNDING = 1e-27


def _reference(taps: Tensor, s: int) -> float:
    varying = total = 0.0
    for o in range(taps.shape[0]):
        for i in range(taps.shape[1]):
            gains = [float(taps[o, i, a::s, b::s].sum()) for a in range(s) for b in range(s)]
            mean = sum(gains) / s**2
            varying += sum((g - mean) ** 2 for g in gains) / s**2
            total += sum(g**2 for g in gains) / s**2
    return varying / total


def _pool_ripple(build: Callable[[], nn.Module], in_channels: int, s: int, seeds: int = 12) -> float:
    """Ripple over independent seeds, each with its own taps."""
    taps = [impulse_response(seed_weights(build(), seed), in_channels, s) for seed in range(seeds)]
    return phase_ripple(torch.stack(taps), s)


@settings(deadline=None, max_examples=40)
@given(draw_taps())
def test_matches_the_slow_definition_and_stays_in_range(drawn: tuple[Tensor, int]) -> None:
    taps, s = drawn
    ripple = phase_ripple(taps, s)
    assert ripple == pytest.approx(_reference(taps, s), rel=1e-9, abs=1e-12)
    assert 0 <= ripple <= 1


@settings(deadline=None, max_examples=30)
@given(draw_taps(), st.floats(0.01, 100), st.booleans())
def test_gain_and_order_of_channels_do_not_matter(drawn: tuple[Tensor, int], gain: float, negative: bool) -> None:
    taps, s = drawn
    changed = taps.flip(0, 1) * (-gain if negative else gain)
    assert phase_ripple(changed, s) == pytest.approx(phase_ripple(taps, s), rel=1e-9, abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(draw_taps(), st.integers(0, 3), st.integers(0, 3))
def test_order_of_phases_does_not_matter(drawn: tuple[Tensor, int], down: int, right: int) -> None:
    taps, s = drawn
    assert phase_ripple(taps.roll((down, right), (-2, -1)), s) == pytest.approx(phase_ripple(taps, s), abs=1e-12)


def test_seeds_are_summed_before_the_division() -> None:
    loud, quiet = torch.tensor([[10.0, 0], [0, 0]]), torch.tensor([[1.0, 1], [1, 1]])
    taps = torch.stack([loud, quiet]).double()[:, None, None]
    assert phase_ripple(taps, 2) == pytest.approx((25 - 6.25) / (25 + 1))


def test_no_gain_at_all_is_nan() -> None:
    assert math.isnan(phase_ripple(torch.zeros(1, 1, 4, 4), 2))


@pytest.mark.parametrize(
    ("k", "s"), [(2, 2), (3, 2), (4, 2), (5, 2), (3, 3), (4, 3), (6, 3), (4, 4), (6, 4), (8, 4)], ids=str
)
def test_random_weights_ripple_whatever_the_kernel(k: int, s: int) -> None:
    assert _pool_ripple(lambda: transposed((16, 16), k, s), 16, s) == pytest.approx(1 - 1 / s**2, abs=0.015)


@pytest.mark.parametrize("s", [2, 3, 4])
@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda s: resize_conv((4, 3), 3, s), id="nearest_conv"),
        pytest.param(lambda s: resize_conv((4, 3), 3, s, "bilinear"), id="bilinear_conv"),
        pytest.param(lambda s: resize_conv((4, 3), 5, s, "bicubic"), id="bicubic_conv"),
        pytest.param(lambda s: conv_resize((4, 3), 3, s), id="conv_nearest"),
        pytest.param(lambda s: conv_resize((4, 3), 3, s, "bilinear"), id="conv_bilinear"),
        pytest.param(lambda s: equalise_phases(subpixel((4, 3), 3, s), s), id="subpixel_icnr"),
        pytest.param(lambda s: nn.Sequential(subpixel((4, 3), 3, s), Blur(s)), id="subpixel_blur"),
        pytest.param(
            lambda s: nn.Sequential(equalise_phases(subpixel((4, 3), 3, s), s), Blur(s)), id="subpixel_icnr_blur"
        ),
    ],
)
def test_clean_layers_do_not_ripple(build: Callable[[int], nn.Module], s: int) -> None:
    assert phase_ripple(impulse_response(build(s), 4, s), s) < ROUNDING


def test_icnr_holds_at_initialisation_only() -> None:
    layer = equalise_phases(subpixel((4, 3), 3, 2), 2)
    with torch.no_grad():
        layer.get_parameter("0.weight")[0] += 0.1
    assert phase_ripple(impulse_response(layer, 4, 2), 2) > 1e-3


@pytest.mark.parametrize("s", [2, 3, 4])
def test_fir_after_transposed_cleans_scale_two_only(s: int) -> None:
    layer = nn.Sequential(transposed((4, 3), s + 1, s), Fir1331())
    ripple = phase_ripple(impulse_response(layer, 4, s), s)
    assert (ripple < ROUNDING) == (s == 2)


@pytest.mark.parametrize(
    ("k", "summed", "separate"), [pytest.param(3, 0.195, 0.392, id="k3"), pytest.param(4, 0.0046, 0.211, id="k4")]
)
def test_weights_with_a_mean_show_overlap_too(k: int, summed: float, separate: float) -> None:
    """[C²m²Var(n) + (1−1/s²)Cσ²n̄] / [C²m²E(n²) + Cσ²n̄]; n taps per phase, C inputs all equal."""
    channels, mean, deviation, s = 64, 0.1, 1 / 8, 2
    counts = torch.tensor([1.0, 2, 2, 4]) if k == 3 else torch.full((4,), 4.0)
    taps = torch.stack(
        [
            impulse_response(
                seed_weights(transposed((channels, 64), k, s), seed, mean=mean, deviation=deviation), channels, s
            )
            for seed in range(4)
        ]
    )

    def predict(inputs: int) -> float:
        noise = inputs * deviation**2 * counts.mean()
        constant = (inputs * mean) ** 2 * counts
        uneven = constant @ counts / 4 - constant.sum() / 4 * counts.mean()
        return float((uneven + (1 - 1 / s**2) * noise) / (constant @ counts / 4 + noise))

    assert predict(channels) == pytest.approx(summed, rel=0.02)
    assert predict(1) == pytest.approx(separate, rel=0.01)
    assert phase_ripple(taps, s) == pytest.approx(predict(1), rel=0.03)
    # all inputs equal: the layer acts as one with a single input, whose taps are the sums
    assert phase_ripple(taps.sum(2, keepdim=True), s) == pytest.approx(predict(channels), rel=0.1)
    torch.testing.assert_close(
        phase_gains(taps.sum(2, keepdim=True), s), phase_gains(taps, s).sum(2, keepdim=True)
    )
