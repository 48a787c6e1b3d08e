"""Flat-field ripple: certificates of zero, analytic values, and what a normalisation of the image does to it."""

import copy
import json
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.errors import UsageError
from deconvbench.measure.artifacts import FlatFieldResult, flat_field_ripple
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
    assert flat_field_ripple(network, 2, 6).amplitude == 0
    assert flat_field_ripple(network, 2, 6, two_tone=True).amplitude == 0


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


def _default_padding(channels: int = 3) -> nn.Module:
    return nn.Sequential(
        nn.ConvTranspose2d(channels, CHANNELS, 4, 2), nn.LeakyReLU(0.1), nn.ConvTranspose2d(CHANNELS, 2, 3, 2)
    )


def _cropping() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, CHANNELS, 5),
        nn.LeakyReLU(0.1),
        nn.ConvTranspose2d(CHANNELS, CHANNELS, 4, 2, padding=3),
        nn.LeakyReLU(0.1),
        nn.ConvTranspose2d(CHANNELS, 2, 4, 2, padding=3),
    )


class _ReferenceOutput(nn.Module):
    """The same layers without cropping or padding, on so large a map that no border is near."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.network(functional.pad(x, (40,) * 4, mode="replicate"))
        inside = 4 * 40 + 8
        return y[..., inside : inside + 64, inside : inside + 64]


@pytest.mark.parametrize("build", [_default_padding, _cropping], ids=["default padding", "crop"])
def test_networks_whose_output_is_not_a_multiple_get_a_number(build: Callable[[], nn.Module]) -> None:
    network = seed_weights(build(), 0, deviation=0.3)
    found = flat_field_ripple(network, 3, 4)
    assert found > 0.01
    assert found.is_periodic
    assert found.periodicity_error < ROUNDING
    assert found == pytest.approx(flat_field_ripple(_ReferenceOutput(network), 3, 4, size=32), rel=1e-9)


def test_a_network_that_needs_a_large_input_gets_one() -> None:
    network = seed_weights(nn.Sequential(nn.Conv2d(1, 1, 41), nn.ConvTranspose2d(1, 1, 4, 2, 1)), 0)
    found = flat_field_ripple(network, 1, 2, colours=2)
    assert (found.size, found.is_periodic) == (64, True)
    assert found > 0.1
    # padding reaches 20 pixels in: with 32 pixels there is no middle that repeats
    deep = seed_weights(nn.Sequential(nn.Conv2d(1, 1, 41, padding=20), nn.ConvTranspose2d(1, 1, 4, 2, 1)), 0)
    assert not flat_field_ripple(deep, 1, 2, size=32, colours=2).is_periodic
    assert flat_field_ripple(deep, 1, 2, colours=2).size == 128
    with pytest.raises(UsageError, match="Kernel size can't be greater"):
        flat_field_ripple(network, 1, 2, size=32)
    with pytest.raises(UsageError, match="Kernel size can't be greater"):
        flat_field_ripple(nn.Conv2d(1, 1, 300), 1, 2)


class _Wavy(nn.Module):
    """A planted board of ±.01, and something that does not repeat."""

    def __init__(self, share: float, kind: str) -> None:
        super().__init__()
        self.share, self.kind = share, kind

    def forward(self, x: Tensor) -> Tensor:
        y = functional.interpolate(x, scale_factor=2)
        side = y.shape[-1]
        board = torch.tensor([1.0, -1.0], dtype=x.dtype).repeat(side // 2)
        if self.kind == "slope":
            other = torch.linspace(-1, 1, side, dtype=x.dtype).expand(side, side)
        else:
            other = torch.randn(side, side, dtype=x.dtype, generator=torch.Generator().manual_seed(0))
        return 0.5 + 0 * y + 0.01 * board + self.share * other


@pytest.mark.parametrize("kind", ["slope", "noise"])
def test_what_does_not_repeat_is_told_and_the_ripple_measured_all_the_same(kind: str) -> None:
    clean = flat_field_ripple(_Wavy(0, kind), 1, 2)
    assert clean == pytest.approx(0.01)
    for share, is_periodic in ((5e-6, True), (1e-4, True), (0.01, False)):
        found = flat_field_ripple(_Wavy(share, kind), 1, 2)
        assert found.is_periodic == is_periodic
        assert share / 5 < found.periodicity_error < 4 * share
        assert found == pytest.approx(0.01, rel=0.05)
    loose = flat_field_ripple(_Wavy(0.01, kind), 1, 2, tolerance=0.1)
    assert loose.is_periodic
    assert loose.size == 32


@pytest.mark.parametrize(
    ("end", "name"),
    [
        pytest.param(nn.Sigmoid(), "sigmoid", id="sigmoid"),
        pytest.param(nn.Tanh(), "tanh", id="tanh"),
        pytest.param(nn.Hardtanh(0, 1, inplace=True), "hardtanh", id="clamp in place"),
    ],
)
def test_a_saturating_end_hides_ripple_that_is_read_before_it(end: nn.Module, name: str) -> None:
    layer = seed_weights(_default_padding(), 1, deviation=0.3)
    with torch.no_grad():
        layer.get_parameter("2.bias").fill_(30.0)  # far up, where all of them are flat
    alone = flat_field_ripple(layer, 3, 4)
    found = flat_field_ripple(nn.Sequential(layer, end), 3, 4)
    assert alone.activation is None
    assert alone.amplitude_before_activation is None
    assert found < 1e-9
    assert found.activation == name
    assert found.amplitude_before_activation == pytest.approx(float(alone), rel=1e-12)
    assert f"before the {name}" in str(found)
    # in a row, and with a scale behind it
    row = nn.Sequential(layer, end, Answer(lambda y: (255 * (y + 1) / 2).clamp(0, 255)))
    both = flat_field_ripple(row, 3, 4)
    assert both.activation == name
    assert both.amplitude_before_activation == pytest.approx(float(alone), rel=1e-12)


def test_activations_inside_are_not_taken_for_the_last() -> None:
    network = nn.Sequential(transposed((2, 2), 4, 2), nn.Sigmoid(), nn.Conv2d(2, 2, 3, padding=1))
    found = flat_field_ripple(seed_weights(network, 0), 2, 2)
    assert (found.activation, found.amplitude_before_activation) == (None, None)


@pytest.mark.parametrize("where", ["first", "inside", "functional", "none"])
def test_instance_norm_is_found_out(where: str) -> None:
    norm = {
        "functional": Answer(functional.instance_norm), "none": nn.Identity(),
    }.get(where, nn.InstanceNorm2d(3))  # fmt: skip
    network = (
        nn.Sequential(norm, transposed((3, 3), 4, 2))
        if where != "inside"
        else nn.Sequential(transposed((3, 3), 4, 2), norm)
    )
    seed_weights(network, 0)
    found = flat_field_ripple(network, 3, 2)
    assert found.two_tone == (where != "none")
    assert float(found) == float(flat_field_ripple(network, 3, 2, two_tone=where != "none"))
    # a margin is meant for one field
    assert not flat_field_ripple(network, 3, 2, margin=8).two_tone


def test_an_output_that_no_colour_changes_is_tried_with_two() -> None:
    by_hand = Answer(lambda x: (x - x.mean((2, 3), keepdim=True)) / (x.std((2, 3), keepdim=True) + 1e-5))
    network = seed_weights(nn.Sequential(by_hand, transposed((3, 3), 4, 2)), 0)
    found = flat_field_ripple(network, 3, 2)
    assert found.two_tone
    assert found > 0.5
    silent = flat_field_ripple(Answer(lambda x: 0 * functional.interpolate(x, scale_factor=2)), 3, 2)
    assert (float(silent), silent.periodicity_error, silent.is_periodic) == (0, 0, True)


class _DoubleConv(nn.Sequential):
    """Two valid convolutions, as the first U-Net had them."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3), nn.LeakyReLU(0.1),
            nn.Conv2d(out_channels, out_channels, 3), nn.LeakyReLU(0.1),
        )  # fmt: skip


class _ValidUNet(nn.Module):
    """Crops what it passes by: 32 pixels in, 4 out."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([_DoubleConv(3, 4), _DoubleConv(4, 4), _DoubleConv(4, 4)])
        self.up = nn.ModuleList([nn.ConvTranspose2d(4, 4, 2, 2), nn.ConvTranspose2d(4, 4, 2, 2)])
        self.joined = nn.ModuleList([_DoubleConv(8, 4), _DoubleConv(8, 4)])
        self.last = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        passed = []
        for number, level in enumerate(self.down):
            x = level(functional.max_pool2d(x, 2) if number else x)
            passed.append(x)
        for number, (up, joined) in enumerate(zip(self.up, self.joined, strict=True)):
            x = up(x)
            other = passed[-2 - number]
            cut = (other.shape[-1] - x.shape[-1]) // 2
            cropped = other[..., cut : cut + x.shape[-2], cut : cut + x.shape[-1]]
            x = joined(torch.cat([x, cropped], 1))
        y: Tensor = self.last(x).sigmoid()
        return y


def _dcgan() -> nn.Module:
    return nn.Sequential(
        nn.ConvTranspose2d(3, CHANNELS, 4, 1), nn.BatchNorm2d(CHANNELS), nn.ReLU(inplace=True),
        nn.ConvTranspose2d(CHANNELS, CHANNELS, 4, 2, 1), nn.BatchNorm2d(CHANNELS), nn.ReLU(inplace=True),
        nn.ConvTranspose2d(CHANNELS, 3, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip


def _style() -> nn.Module:
    """Instance norms, default padding, a crop and a clamp."""
    return nn.Sequential(
        nn.ReflectionPad2d(4), nn.Conv2d(3, CHANNELS, 9), nn.InstanceNorm2d(CHANNELS, affine=True), nn.ReLU(),
        nn.ConvTranspose2d(CHANNELS, CHANNELS, 3, 2), nn.InstanceNorm2d(CHANNELS, affine=True), nn.ReLU(),
        nn.ConvTranspose2d(CHANNELS, 3, 4, 2, padding=3), Answer(lambda y: (y / 2 + 0.5).clamp(0, 1)),
    )  # fmt: skip


def _equalise_gains(layer: nn.ConvTranspose2d) -> None:
    """Give every phase a gain of one between all channels."""
    s = layer.stride[0]
    with torch.no_grad():
        for i in range(s):
            for j in range(s):
                taps = layer.weight[..., i::s, j::s]
                taps += (1 - taps.sum((-2, -1), keepdim=True)) / taps[0, 0].numel()


@pytest.mark.parametrize(
    ("build", "activation", "two_tone"),
    [
        pytest.param(_ValidUNet, "sigmoid", False, id="valid U-Net"),
        pytest.param(_dcgan, "tanh", False, id="DCGAN"),
        pytest.param(_style, "clamp", True, id="style transfer"),
    ],
)
def test_networks_as_people_have_them_get_a_number(
    build: Callable[[], nn.Module], activation: str, two_tone: bool
) -> None:
    network = seed_weights(build(), 3, deviation=0.4)
    found = flat_field_ripple(network, 3, 4, colours=3)
    assert found.is_periodic
    assert found.periodicity_error < 1e-9
    assert (found.activation, found.two_tone) == (activation, two_tone)
    assert found > 1e-3
    assert found.amplitude_before_activation is not None
    assert found.amplitude_before_activation > 1e-3
    # with each upsampler cleaned the network is
    for module in network.double().modules():
        if isinstance(module, nn.ConvTranspose2d):
            _equalise_gains(module)
    clean = flat_field_ripple(network, 3, 4, colours=3)
    assert clean < 1e-9
    assert clean.amplitude_before_activation == pytest.approx(0, abs=1e-9)


def test_scales_and_colours_add_up() -> None:
    # a board of period 2 and one of period 4, of ±3 and ±1 times the colour
    rows, columns = torch.arange(4)[:, None], torch.arange(4)
    kernel = 3.0 * (1 - 2 * ((rows + columns) % 2)) + (1 - 2 * (columns // 2 % 2)) + 7
    layer = _single(kernel.double())
    found = flat_field_ripple(layer, 1, 4, colours=5)
    colour = float(_draw_colours(5).square().mean().sqrt())
    assert found.by_scale == {2: pytest.approx(3 * colour), 4: pytest.approx(colour)}
    assert float(found) ** 2 == pytest.approx(sum(value**2 for value in found.by_scale.values()))
    spread = math.sqrt(10)
    assert found.by_colour == pytest.approx((spread * _draw_colours(5).abs().flatten()).tolist())
    assert found.largest == max(found.by_colour)
    assert flat_field_ripple(layer, 1, 1).by_scale == {}


def test_colours_come_from_their_range() -> None:
    layer = _single(torch.tensor([[1.0, 3.0], [1.0, 3.0]], dtype=torch.float64))
    found = flat_field_ripple(layer, 1, 2, colour_range=(0, 1))
    assert found.by_colour == pytest.approx(((_draw_colours(8) + 1) / 2).flatten().tolist())


def test_other_precisions() -> None:
    class Single(nn.Module):
        """Insists on float32."""

        def forward(self, x: Tensor) -> Tensor:
            return functional.conv_transpose2d(x, torch.tensor([[[[1.0, 3.0], [1.0, 3.0]]]]), stride=2)

    found = flat_field_ripple(Single(), 1, 2, dtype=torch.float32)
    assert float(found) == pytest.approx(float(_draw_colours(8).square().mean().sqrt()), rel=1e-6)
    assert found.is_periodic


def test_the_result_is_a_number_that_knows_more() -> None:
    found = flat_field_ripple(_single(torch.tensor([[1.0, 3.0], [1.0, 3.0]])), 1, 2)
    assert isinstance(found, float)
    assert found == found.amplitude
    assert str(found) == f"{float(found):.3g} output units (period 2)"
    assert f"{found:.2f}" == f"{float(found):.2f}"
    assert json.loads(json.dumps(found)) == float(found)
    for twin in (copy.copy(found), copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert isinstance(twin, FlatFieldResult)
        assert (twin.amplitude, float(twin), twin.by_colour) == (found.amplitude, float(found), found.by_colour)


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
    near = flat_field_ripple(layer, 2, 2, margin=2, colours=2)
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"colour_range": (0, 0)}, r"colour_range: \(0, 0\) has its smallest value not below"),
        ({"colour_range": 1}, "colour_range: 1 is not a pair of numbers"),
        ({"colour_range": (0, math.inf)}, "colour_range: .* is not a pair of numbers"),
        ({"tolerance": -1}, "tolerance: -1 is not a share of 0 or above"),
        ({"tolerance": "much"}, "tolerance: 'much' is not a share"),
        ({"dtype": torch.int64}, "dtype: torch.int64 is not a floating-point type"),
        ({"dtype": "float64"}, "dtype: 'float64' is not a type of torch"),
    ],
)
def test_other_arguments_out_of_range_are_errors(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        flat_field_ripple(resize("nearest", 2), 2, 2, **arguments)


@pytest.mark.parametrize("argument", ["in_channels", "period", "size", "margin", "colours"])
def test_numbers_out_of_range_are_errors(argument: str) -> None:
    arguments: dict[str, Any] = {"in_channels": 2, "period": 2, argument: -1}
    with pytest.raises(UsageError, match=f"{argument}: -1 is not a whole number"):
        flat_field_ripple(resize("nearest", 2), **arguments)
