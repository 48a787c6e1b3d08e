"""Bilinear initialisation: interpolation at the start, and what training makes of it."""

import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from deconvbench.errors import UnsupportedError
from deconvbench.measure.artifacts import image_rejection_db, impulse_response, phase_gains, phase_ripple
from deconvbench.theory import bilinear_kernel
from deconvbench.upsamplers import build_upsampler
from deconvbench.upsamplers.transposed_bilinear import TransposedBilinearInit, build_tent, find_tent_objection

LAYERS = [(k, s) for k in range(1, 10) for s in range(1, 5) if find_tent_objection(k, s) is None]
MATCHED = [(k, s) for k, s in LAYERS if (k - s) % 2 == 0]


def over(layers: list[tuple[int, int]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("kernel_size", "scale_factor"), layers, ids=[f"k{k}-s{s}" for k, s in layers])


def build_interpolation(kernel_size: int, scale_factor: int) -> TransposedBilinearInit:
    """One channel that is mixed with a factor of one, and no bias."""
    layer = TransposedBilinearInit(1, 1, kernel_size, scale_factor).double()
    with torch.no_grad():
        layer.weight.copy_(build_tent(kernel_size, scale_factor))
        assert layer.bias is not None
        layer.bias.zero_()
    return layer


def test_kernels_that_hold_the_tent_are_those_of_at_least_twice_the_scale_less_one() -> None:
    at_scale = {s: [k for k, other in LAYERS if other == s] for s in range(1, 5)}
    assert at_scale == {1: [1, 3, 5, 7, 9], 2: [3, 4, 5, 6, 7, 8, 9], 3: [5, 6, 7, 8, 9], 4: [7, 8, 9]}


@over(LAYERS)
def test_tent_is_whole_and_its_phases_sum_to_one(kernel_size: int, scale_factor: int) -> None:
    tent = build_tent(kernel_size, scale_factor)
    for i in range(scale_factor):
        for j in range(scale_factor):
            assert float(tent[i::scale_factor, j::scale_factor].sum()) == pytest.approx(1, abs=1e-14)
    assert torch.equal(tent, tent.flip(0, 1))
    assert torch.equal(tent, tent.T)


@pytest.mark.parametrize("scale_factor", [1, 2, 3, 4], ids="s{}".format)
def test_smallest_tent_of_the_scales_parity_is_the_half_pixel_kernel(scale_factor: int) -> None:
    axis = bilinear_kernel(scale_factor)
    np.testing.assert_allclose(build_tent(axis.size, scale_factor).numpy(), np.outer(axis, axis), atol=1e-15)


@over(LAYERS)
def test_starts_without_ripple(kernel_size: int, scale_factor: int) -> None:
    torch.manual_seed(0)
    # in float64 from the start: the tents of a float32 kernel at s = 3 sum to one within 1e-7 only
    layer = TransposedBilinearInit(4, 3, kernel_size, scale_factor).double()
    layer.reset_parameters()
    taps = impulse_response(layer, 4, scale_factor)
    assert phase_ripple(taps, scale_factor) == pytest.approx(0, abs=1e-25)
    assert float(phase_gains(taps, scale_factor).abs().max()) > 0


@pytest.mark.parametrize(("kernel_size", "scale_factor"), [(4, 2), (5, 3)], ids=["k4-s2", "k5-s3"])
def test_starts_without_ripple_to_the_rounding_of_single_precision(kernel_size: int, scale_factor: int) -> None:
    taps = impulse_response(TransposedBilinearInit(4, 3, kernel_size, scale_factor), 4, scale_factor)
    assert phase_ripple(taps, scale_factor) < 1e-13


@pytest.mark.parametrize(
    ("kernel_size", "scale_factor"), [(4, 2), (5, 2), (5, 3)], ids=["k4-s2", "k5-s2", "k5-s3"]
)
def test_training_brings_the_ripple(kernel_size: int, scale_factor: int) -> None:
    torch.manual_seed(0)
    layer = TransposedBilinearInit(2, 2, kernel_size, scale_factor)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    for _ in range(10):
        target = torch.rand(2, 2, 6 * scale_factor, 6 * scale_factor)
        optimizer.zero_grad()
        torch.autograd.backward(functional.mse_loss(layer(torch.rand(2, 2, 6, 6)), target))
        optimizer.step()
    assert phase_ripple(impulse_response(layer, 2, scale_factor), scale_factor) > 1e-6


@over(MATCHED)
def test_is_bilinear_interpolation_inside_where_kernel_and_scale_have_one_parity(
    kernel_size: int, scale_factor: int
) -> None:
    layer, s = build_interpolation(kernel_size, scale_factor), scale_factor
    x = torch.randn(2, 1, 5, 6, dtype=torch.float64)
    expected = functional.interpolate(x, scale_factor=s, mode="bilinear", align_corners=False)
    inside = (..., slice(s, -s), slice(s, -s))
    torch.testing.assert_close(layer(x).detach()[inside], expected[inside], rtol=1e-10, atol=1e-10)
    if s > 1:
        # zeros beyond the border, where interpolation repeats the outermost pixel
        assert not torch.allclose(layer(x)[..., 0, :], expected[..., 0, :])


@pytest.mark.parametrize("kernel_size", [3, 5], ids="k{}".format)
def test_is_shifted_by_half_a_pixel_where_the_parities_differ(kernel_size: int) -> None:
    layer = build_interpolation(kernel_size, 2)
    ramp = torch.arange(8.0, dtype=torch.float64).expand(1, 1, 8, 8)
    expected = functional.interpolate(ramp, scale_factor=2, mode="bilinear", align_corners=False)
    inside = (..., slice(4, -4), slice(4, -4))
    # a quarter of an input pixel: half an output pixel
    torch.testing.assert_close(layer(ramp).detach()[inside], expected[inside] + 0.25, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("kernel_size", "scale_factor", "expected"),
    [(4, 2, -48.02), (5, 3, -33.47), (8, 4, -37.64)],
    ids=["s2", "s3", "s4"],
)
def test_rejects_images_as_bilinear_interpolation_does(
    kernel_size: int, scale_factor: int, expected: float
) -> None:
    layer = TransposedBilinearInit(3, 2, kernel_size, scale_factor)
    assert image_rejection_db(impulse_response(layer, 3, scale_factor), scale_factor) == pytest.approx(
        expected, abs=0.01
    )


def test_channels_are_mixed_as_a_1x1_convolution_would() -> None:
    torch.manual_seed(0)
    layer = TransposedBilinearInit(64, 48, 3, 2)
    mix = layer.weight.detach()[:, :, 1, 1]
    assert torch.equal(layer.weight.detach(), mix[:, :, None, None] * build_tent(3, 2).float())
    # uniform within ±1/√fan_in, the fan-in of a 1×1 convolution
    bound = 64**-0.5
    assert mix.abs().max().item() <= bound
    assert mix.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert torch.unique(mix).numel() > 0.9 * mix.numel()


def test_bias_is_drawn_as_torch_draws_it() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        layer = TransposedBilinearInit(2, 3, 4, 2)
        torch.manual_seed(3)
        plain = nn.ConvTranspose2d(2, 3, 4, stride=2)
    assert layer.bias is not None
    assert plain.bias is not None
    assert torch.equal(layer.bias, plain.bias)


@pytest.mark.parametrize(
    ("kernel_size", "scale_factor", "reason"),
    [
        (2, 2, "bilinear initialisation needs kernel_size >= 2·scale_factor - 1 to hold the whole tent: 2 < 3"),
        (6, 4, "bilinear initialisation needs kernel_size >= 2·scale_factor - 1 to hold the whole tent: 6 < 7"),
        (2, 3, "to cover every output pixel: 2 < 3"),
        (2, 1, "with scale_factor 1 needs an odd kernel_size to keep the size: 2 is even"),
    ],
    ids=["k2-s2", "k6-s4", "k2-s3", "k2-s1"],
)
def test_objections_say_why(kernel_size: int, scale_factor: int, reason: str) -> None:
    with pytest.raises(UnsupportedError, match=re.escape(reason)):
        build_upsampler("transposed_bilinear_init", 1, 1, kernel_size, scale_factor)
