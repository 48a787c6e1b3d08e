"""Flat-field ripple: certificates of zero, analytic values, and what a normalisation of the image does to it."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.errors import UsageError
from deconvbench.measure.artifacts import flat_field_ripple
from tests.measure.artifacts.local_layers import resize, resize_conv, seed_weights, subpixel, transposed

CHANNELS = 4
# sums of some hundred products in float64
ROUNDING = 1e-14


def _stack(build: Callable[[tuple[int, int]], nn.Module], norm: type[nn.Module] | None = None) -> nn.Module:
    """Two upsamplers with pointwise nonlinearities, from 3 channels to 2."""
    layers: list[nn.Module] = []
    for channels in ((3, CHANNELS), (CHANNELS, CHANNELS)):
        layers += [build(channels), *([norm(CHANNELS)] if norm else []), nn.GELU()]
    network = nn.Sequential(*layers, nn.Conv2d(CHANNELS, 2, 3, padding=1), nn.Sigmoid())
    return seed_weights(network, 0, deviation=0.5)


def _draw_colours(count: int, channels: int = 1, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(count, channels, dtype=torch.float64, generator=generator) - 1


def _single(kernel: Tensor, bias: float = 0.0) -> nn.Module:
    """Transposed convolution of one channel without overlap."""
    layer = nn.ConvTranspose2d(1, 1, len(kernel), len(kernel))
    with torch.no_grad():
        layer.weight.copy_(kernel)
        nn.init.constant_(layer.get_parameter("bias"), bias)
    return layer


class SplitNoise(nn.Module):
    """A network whose answer differs from run to run and from pixel to pixel."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(x, scale_factor=2) + torch.rand(x.shape[-1] * 2)


@pytest.mark.parametrize("two_tone", [False, True], ids=["plain", "two_tone"])
@pytest.mark.parametrize("norm", [None, nn.BatchNorm2d, nn.InstanceNorm2d], ids=["no_norm", "batch", "instance"])
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_resize_convolution_is_certified(mode: str, norm: type[nn.Module] | None, two_tone: bool) -> None:
    network = _stack(lambda channels: resize_conv(channels, 3, 2, mode), norm)
    assert flat_field_ripple(network, 3, 4, two_tone=two_tone) < ROUNDING


def test_nearest_is_exactly_zero() -> None:
    network = nn.Sequential(resize("nearest", 2), nn.Tanh(), resize("nearest", 3), nn.GELU())
    assert flat_field_ripple(network, 2, 6) == 0
    assert flat_field_ripple(network, 2, 6, two_tone=True) == 0


@pytest.mark.parametrize("two_tone", [False, True], ids=["plain", "two_tone"])
@pytest.mark.parametrize("norm", [None, nn.BatchNorm2d, nn.InstanceNorm2d], ids=["no_norm", "batch", "instance"])
@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda channels: transposed(channels, 3, 2), id="transposed-k3"),
        pytest.param(lambda channels: transposed(channels, 4, 2), id="transposed-k4"),
        pytest.param(lambda channels: subpixel(channels, 3, 2), id="subpixel"),
    ],
)
def test_others_ripple(
    build: Callable[[tuple[int, int]], nn.Module], norm: type[nn.Module] | None, two_tone: bool
) -> None:
    assert flat_field_ripple(_stack(build, norm), 3, 4, two_tone=two_tone) > 1e-2


@pytest.mark.parametrize("s", [2, 3, 4])
def test_value_of_a_known_kernel(s: int) -> None:
    kernel = torch.randn(s, s, dtype=torch.float64, generator=torch.Generator().manual_seed(s))
    expected = float(_draw_colours(8).square().mean().sqrt() * kernel.std(correction=0))
    # a constant cannot be told from the mean of the phases
    assert flat_field_ripple(_single(kernel, bias=5.0), 1, s) == pytest.approx(expected, rel=1e-6)
    # colours in -1..1: their RMS is √⅓
    many = flat_field_ripple(_single(kernel), 1, s, size=8, colours=4096)
    assert many == pytest.approx(math.sqrt(1 / 3) * float(kernel.std(correction=0)), rel=0.03)


def test_matches_the_slow_definition() -> None:
    network = _stack(lambda channels: transposed(channels, 3, 2)).double()
    squares = []
    for colour in _draw_colours(5, 3, seed=7):
        x = colour[None, :, None, None].expand(1, 3, 20, 20)
        with torch.no_grad():
            y = network(x)[0]
        for channel in y:
            means = [float(channel[24 + i : 56 : 4, 24 + j : 56 : 4].mean()) for i in range(4) for j in range(4)]
            squares += [(mean - sum(means) / 16) ** 2 for mean in means]
    found = flat_field_ripple(network, 3, 4, size=20, colours=5, generator=torch.Generator().manual_seed(7))
    assert found == pytest.approx(math.sqrt(sum(squares) / len(squares)), rel=1e-9)


def test_two_tones_are_two_flat_fields() -> None:
    kernel = torch.tensor([[1.0, 2], [3, 5]], dtype=torch.float64)
    layer = nn.Sequential(_single(kernel), nn.LeakyReLU(0.1))
    generator = torch.Generator().manual_seed(3)
    colours = 2 * torch.rand(8, 1, 1, 2, dtype=torch.float64, generator=generator) - 1
    answers = functional.leaky_relu(colours.flatten()[:, None] * kernel.flatten(), 0.1)
    expected = float(answers.var(-1, correction=0).mean().sqrt())
    found = flat_field_ripple(layer, 1, 2, two_tone=True, generator=torch.Generator().manual_seed(3))
    assert found == pytest.approx(expected, rel=1e-9)


def test_longer_period_sees_the_same_ripple_and_a_wrong_one_is_told() -> None:
    layer = seed_weights(transposed((2, 2), 4, 2), 1)
    right = flat_field_ripple(layer, 2, 2)
    assert flat_field_ripple(layer, 2, 4) == pytest.approx(right, rel=1e-9)
    assert right.is_periodic
    assert right.periodicity_error < ROUNDING
    for period in (1, 3):
        wrong = flat_field_ripple(layer, 2, period)
        assert not wrong.is_periodic
        assert wrong.periodicity_error > 0.3
        assert "of the output does not repeat" in str(wrong)
    # all of the ripple is what does not repeat
    output = layer.double()(torch.full((1, 2, 32, 32), 0.5, dtype=torch.float64))[..., 16:48, 16:48].detach()
    blocks = output[..., :2, :2]
    share = float(blocks.var((-2, -1), correction=0).mean() / output.square().mean()) ** 0.5
    single = Answer(lambda x: output.expand(len(x), -1, -1, -1))
    assert flat_field_ripple(single, 2, 1, colours=1).periodicity_error == pytest.approx(share, rel=1e-9)


def test_encoder_and_decoder_need_not_upsample() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.ReLU()
    )
    clean = nn.Sequential(network, resize_conv((4, 4), 3, 2), nn.ReLU(), resize_conv((4, 1), 3, 2))
    rippling = nn.Sequential(network, transposed((4, 4), 4, 2), nn.ReLU(), transposed((4, 1), 4, 2))
    assert flat_field_ripple(seed_weights(clean, 0), 1, 4, size=96) < 1e-12
    assert flat_field_ripple(seed_weights(rippling, 0), 1, 4, size=96) > 0.1


def test_valid_convolutions_crop_the_output() -> None:
    network = seed_weights(nn.Sequential(nn.Conv2d(2, 2, 3), resize("nearest", 2), nn.Conv2d(2, 2, 5)), 0)
    for two_tone in (False, True):
        assert flat_field_ripple(network, 2, 2, two_tone=two_tone) < 1e-12


class ContentAware(nn.Module):
    """Weighs the neighbours of a pixel for each output pixel, by weights computed from the input."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Conv2d(2, 4 * 9, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        weights = functional.pixel_shuffle(self.weights(x), 2).softmax(1)
        around = functional.unfold(functional.pad(x, (1,) * 4, mode="replicate"), 3)
        around = functional.interpolate(around.reshape(batch, channels * 9, height, width), scale_factor=2)
        return (around.reshape(batch, channels, 9, 2 * height, 2 * width) * weights[:, None]).sum(2)


def test_single_content_aware_layer() -> None:
    assert flat_field_ripple(seed_weights(ContentAware(), 0), 2, 2) < ROUNDING


def test_instance_norm_before_the_layer_hides_its_ripple() -> None:
    network = seed_weights(nn.Sequential(nn.InstanceNorm2d(3), transposed((3, 3), 4, 2)), 0)
    assert flat_field_ripple(network, 3, 2, two_tone=False) < 1e-9
    halves = flat_field_ripple(network, 3, 2, two_tone=True)
    assert halves > 0.5
    # found out without being told
    alone = flat_field_ripple(network, 3, 2)
    assert (float(alone), alone.two_tone) == (float(halves), True)


def test_instance_norm_behind_the_layer_blows_ripple_up() -> None:
    kernel = torch.tensor([[1.0, 1.0], [1.0, 1.01]], dtype=torch.float64)
    norm = nn.InstanceNorm2d(1, eps=1e-12)
    plain = flat_field_ripple(nn.Sequential(_single(kernel), norm), 1, 2, two_tone=False)
    contrast = flat_field_ripple(nn.Sequential(_single(kernel), norm), 1, 2, two_tone=True)
    assert plain == pytest.approx(1, rel=1e-3)
    # a hundredth at one of four phases, of a contrast of one
    assert contrast < 0.1


def test_a_slow_wave_does_not_show_what_two_tones_do() -> None:
    # the ripple has the sign of the wave, so its phase means over whole waves vanish
    layer = seed_weights(nn.Sequential(nn.InstanceNorm2d(1), nn.ConvTranspose2d(1, 1, 2, 2)), 0).double()
    wave = torch.cos(2 * math.pi * torch.arange(32, dtype=torch.float64) / 16).expand(1, 1, 32, 32)
    with torch.no_grad():
        y = layer(wave)[0, 0]
    means = torch.stack([y[i::2, j::2].mean() for i in (0, 1) for j in (0, 1)])
    assert float(means.std()) < 1e-12
    assert flat_field_ripple(layer, 1, 2, two_tone=True) > 0.1


def test_margin_must_clear_what_padding_reaches() -> None:
    layer = seed_weights(resize_conv((2, 2), 9, 2), 0)
    near = flat_field_ripple(layer, 2, 2, margin=2)
    assert not near.is_periodic
    assert near.size == 128  # nor does a larger one help
    clear = flat_field_ripple(layer, 2, 2, margin=4)
    assert clear < 1e-12
    assert (clear.is_periodic, clear.size) == (True, 32)


def test_nothing_else_is_touched() -> None:
    network = nn.Sequential(transposed((2, 2), 4, 2), nn.BatchNorm2d(2), nn.Dropout(0.5)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    first = flat_field_ripple(network, 2, 2)
    assert torch.equal(torch.get_rng_state(), state)
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert flat_field_ripple(network, 2, 2) == first
    source = torch.Generator().manual_seed(0)
    assert flat_field_ripple(network, 2, 2, generator=source) == first
    assert flat_field_ripple(network, 2, 2, generator=source) != first


class Answer(nn.Module):
    """Answers what it is told to, made from the input."""

    def __init__(self, make: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.make = make

    def forward(self, x: Tensor) -> object:
        return self.make(x)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        pytest.param(Answer(lambda x: (x, x)), r"network: an output of type tuple is not a tensor", id="tuple"),
        pytest.param(
            Answer(lambda x: x[0]), r"of shape \(2, 32, 32\) is not a tensor of shape \(8, C, H, W\)", id="3d"
        ),
        pytest.param(Answer(lambda x: x[:1]), r"network: an output of shape \(1, 2, 32, 32\)", id="one-image"),
        pytest.param(Answer(lambda x: x / 0), "network: its output in float64 is not finite", id="infinite"),
        pytest.param(
            Answer(lambda x: x[..., :6, :6]), "margin: 1 of 6 pixels on each side leave less", id="small"
        ),
    ],
)
def test_output_that_cannot_be_measured_is_an_error(network: nn.Module, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        flat_field_ripple(network, 2, 4)


@pytest.mark.parametrize("argument", ["in_channels", "period", "size", "margin", "colours"])
def test_numbers_out_of_range_are_errors(argument: str) -> None:
    arguments: dict[str, Any] = {"in_channels": 2, "period": 2, argument: -1}
    with pytest.raises(UsageError, match=f"{argument}: -1 is not a whole number"):
        flat_field_ripple(resize("nearest", 2), **arguments)
