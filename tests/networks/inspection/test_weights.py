"""Phase gains of weights, and weights of equal gains, against what layers do."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deconvbench.measure.artifacts import image_rejection_db, impulse_response, phase_ripple
from deconvbench.measure.artifacts.effective_ripple import effective_ripple
from deconvbench.networks.frames import FrameStack
from deconvbench.networks.inspection.running import Runner
from deconvbench.networks.inspection.weights import (
    count_overlap,
    level_phases,
    measure_rejection,
    read_gains,
    take_ripple_share,
)
from deconvbench.theory import overlap_cv
from tests.networks.inspection.networks import Shuffle
from tests.networks.inspection.tracing_helpers import trace_sites

LAYERS = {
    "k3 s2": nn.ConvTranspose2d(4, 3, 3, 2, 1, 1),
    "k4 s2 in groups": nn.ConvTranspose2d(4, 6, 4, 2, 1, groups=2),
    "k5 s3": nn.ConvTranspose2d(4, 3, 5, 3),
    "dilated": nn.ConvTranspose2d(4, 3, 4, 2, dilation=3),
    "1-D": nn.ConvTranspose1d(4, 3, 5, 2),
    "3-D": nn.ConvTranspose3d(4, 3, 3, 2),
    "of two strides": nn.ConvTranspose2d(4, 3, (4, 3), (2, 3)),
    "sub-pixel": nn.Sequential(nn.Conv2d(4, 12, 3), nn.PixelShuffle(2)),
    "sub-pixel in groups": nn.Sequential(nn.Conv2d(4, 24, 3, groups=2), nn.PixelShuffle(2)),
    "of another order": nn.Sequential(nn.Conv2d(4, 12, 3), Shuffle("ijc")),
}


def run_constant(layer: nn.Module, colour: Tensor, dims: int) -> Tensor:
    """Middle of the answer (O, ...) to a constant input, whole periods of 6 pixels."""
    x = colour.reshape(1, -1, *(1 for _ in range(dims))).expand(
        1, -1, *(24 if dims < 3 else 16 for _ in range(dims))
    )
    with torch.no_grad():
        y: Tensor = layer(x)[0]
    for axis in range(1, 1 + dims):
        y = y.narrow(axis, 12, 6)
    return y


@pytest.mark.parametrize("name", LAYERS)
def test_gains_are_what_a_constant_input_becomes(name: str) -> None:
    layer = LAYERS[name].double()
    dims = {"1-D": 1, "3-D": 3}.get(name, 2)
    colour = torch.rand(4, dtype=torch.float64)
    (traced,) = trace_sites(layer, torch.rand(1, 4, *(16 for _ in range(dims)), dtype=torch.float64))
    gains = read_gains(traced.upsampling)
    assert gains is not None
    expected = gains.respond(colour)
    found = run_constant(layer, colour, dims).flatten(1)
    if gains.offsets is None:
        bias: Any = layer.bias
        found = found - bias.detach()[:, None]
    for row, values in zip(expected, found, strict=True):
        torch.testing.assert_close(values.unique().sort()[0].mean(), values.unique().mean())
        near = (row[:, None] - values[None]).abs()
        # every pixel is some phase, and every phase is some pixel
        assert float(near.amin(0).max()) < 1e-12
        assert float(near.amin(1).max()) < 1e-12


@pytest.mark.parametrize("name", LAYERS)
def test_equal_gains_keep_constants_constant_and_write_to_nothing(name: str) -> None:
    layer = LAYERS[name].double()
    dims = {"1-D": 1, "3-D": 3}.get(name, 2)
    x = torch.rand(1, 4, *(16 for _ in range(dims)), dtype=torch.float64)
    before = {key: (value.clone(), value._version) for key, value in layer.state_dict(keep_vars=True).items()}
    sites = trace_sites(layer, x)
    colour = torch.rand(4, dtype=torch.float64)
    flat = colour.reshape(1, -1, *(1 for _ in range(dims))).expand_as(x)
    stack = FrameStack()
    with stack.follow(layer):
        runner = Runner(layer, stack)
        (plain,), (equal,) = runner.run(flat), runner.run(flat, runner.equalise(sites))
    for axis in range(2, 2 + dims):
        plain, equal = plain.narrow(axis, 12, 6), equal.narrow(axis, 12, 6)
    axes = tuple(range(2, 2 + dims))
    assert float(plain.std(axes).max()) > 1e-3
    assert float((equal.amax(axes) - equal.amin(axes)).max()) < 1e-12
    torch.testing.assert_close(equal.mean(axes), plain.mean(axes))
    for key, (value, version) in before.items():
        now = layer.state_dict(keep_vars=True)[key]
        assert torch.equal(now, value)
        assert now._version == version


@pytest.mark.parametrize("name", ["k3 s2", "k5 s3", "sub-pixel", "of another order"])
def test_ripples_are_those_of_the_metrics(name: str) -> None:
    layer = LAYERS[name]
    same = nn.ConvTranspose2d(4, 3, 5, 3, 1) if name == "k5 s3" else layer
    if name == "k5 s3":
        same.load_state_dict(layer.state_dict())
    if name in {"sub-pixel", "of another order"}:
        first: Any = layer[0]  # type: ignore[index] # a Sequential
        padded = nn.Conv2d(4, 12, 3, padding=1, bias=False)
        padded.weight = first.weight
        same = nn.Sequential(padded, layer[1])  # type: ignore[index] # a Sequential
    scale = 3 if name == "k5 s3" else 2
    taps = impulse_response(same, 4, scale)
    (traced,) = trace_sites(same, torch.rand(1, 4, 9, 9, dtype=next(same.parameters()).dtype))
    gains = read_gains(traced.upsampling)
    assert gains is not None
    mean = torch.rand(4, dtype=torch.float64)
    assert take_ripple_share(gains.values) == pytest.approx(phase_ripple(taps, scale), rel=1e-6)
    answer = gains.respond(mean) if gains.offsets is None else gains.respond(mean) - gains.offsets
    assert take_ripple_share(answer) == pytest.approx(effective_ripple(taps, scale, mean), rel=1e-6)
    rejection = measure_rejection(traced)
    assert rejection is not None
    assert rejection == pytest.approx(image_rejection_db(taps, scale), abs=1e-6)


@pytest.mark.parametrize(
    ("mode", "scale", "expected"),
    [("nearest", 2, -16.0), ("nearest", 3, -15.26), ("bilinear", 2, -48.0), ("bilinear", 3, -33.47)],
)
def test_image_rejection_of_a_resize_is_that_of_the_books(mode: str, scale: int, expected: float) -> None:
    (traced,) = trace_sites(nn.Upsample(scale_factor=scale, mode=mode), torch.rand(1, 3, 8, 8))
    assert measure_rejection(traced) == pytest.approx(expected, abs=0.05)
    assert read_gains(traced.upsampling) is None


@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2), (4, 2), (5, 3), (1, 2)])
def test_overlap_is_that_of_the_theory(size: int, stride: int) -> None:
    (traced,) = trace_sites(nn.ConvTranspose2d(3, 3, size, stride), torch.rand(1, 3, 8, 8))
    assert count_overlap(traced) == pytest.approx(overlap_cv(size, stride))


def test_a_kernel_smaller_than_its_stride_has_equal_gains_too() -> None:
    layer = nn.ConvTranspose2d(3, 3, 1, 2, output_padding=1)
    x = torch.ones(1, 3, 8, 8)
    sites = trace_sites(layer, x)
    stack = FrameStack()
    with stack.follow(layer):
        runner = Runner(layer, stack)
        (equal,) = runner.run(x, runner.equalise(sites))
    assert float(equal[..., 2:-2, 2:-2].std((2, 3)).max()) < 1e-6


def test_levelled_phases_have_the_mean_of_all_and_keep_the_rest() -> None:
    y = torch.rand(2, 3, 9, 8, dtype=torch.float64)
    level = level_phases(y, (2, 2), 2)
    mean = y.mean((2, 3))
    for i in range(2):
        for j in range(2):
            part, own = level[..., i::2, j::2], y[..., i::2, j::2]
            torch.testing.assert_close(part.mean((2, 3)), mean)
            torch.testing.assert_close(
                part - part.mean((2, 3), keepdim=True), own - own.mean((2, 3), keepdim=True)
            )


def test_a_share_of_nothing_is_not_a_number() -> None:
    assert math.isnan(take_ripple_share(torch.zeros(3, 4)))
