"""The taps read off a layer, against its weights and against the layer itself."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.errors import UsageError
from deconvbench.measure.artifacts import (
    effective_ripple,
    image_rejection_db,
    impulse_response,
    noise_gain_cv,
    overlap_cv,
    phase_gains,
    phase_ripple,
)
from tests.measure.artifacts.local_layers import (
    ZeroInsertion,
    conv_resize,
    resize,
    resize_conv,
    seed_weights,
    subpixel,
    transposed,
)


def _reference(layer: nn.Module, in_channels: int, s: int, reach: int) -> Tensor:
    """One impulse after the other on a map with room to spare."""
    twin = copy.deepcopy(layer).double().eval()
    side = 2 * reach + 9
    middle = side // 2
    columns = []
    for channel in range(in_channels):
        x = torch.zeros(1, in_channels, side, side, dtype=torch.float64)
        zero = twin(x)
        x[0, channel, middle, middle] = 1
        kept = slice(s * (middle - reach), s * (middle + reach + 1))
        columns.append((twin(x) - zero)[0, :, kept, kept].detach())
    return torch.stack(columns, 1)


LAYERS = {
    "transposed-k3-s2": (transposed((3, 2), 3, 2), 2, 1),
    "transposed-k8-s4": (transposed((3, 2), 8, 4), 4, 1),
    "transposed-k7-s1": (transposed((3, 2), 7, 1), 1, 3),
    "nearest_conv-k3-s3": (resize_conv((3, 2), 3, 3), 3, 1),
    "reflect_conv-k3-s2": (resize_conv((3, 2), 3, 2, padding_mode="reflect"), 2, 1),
    "circular_conv-k5-s2": (resize_conv((3, 2), 5, 2, padding_mode="circular"), 2, 1),
    "bicubic_conv-k3-s2": (resize_conv((3, 2), 3, 2, "bicubic"), 2, 2),
    "conv_nearest-k7-s2": (conv_resize((3, 2), 7, 2), 2, 3),
    "subpixel-k1-s3": (subpixel((3, 2), 1, 3), 3, 0),
    "dilated-k3-s2": (nn.Sequential(nn.Conv2d(3, 2, 3, padding=4, dilation=4), resize("nearest", 2)), 2, 4),
    "wide-k15-s2": (conv_resize((3, 2), 15, 2), 2, 7),
    "reflected_map-k7-s2": (
        nn.Sequential(nn.Conv2d(3, 2, 7, padding=3, padding_mode="reflect"), resize("nearest", 2)),
        2,
        3,
    ),
    "batch_norm": (nn.Sequential(resize("nearest", 2), nn.BatchNorm2d(3)), 2, 0),
    "no_parameters-s2": (resize("bilinear", 2), 2, 1),
}


@pytest.mark.parametrize("name", LAYERS)
def test_taps_match_single_impulses(name: str) -> None:
    layer, s, reach = LAYERS[name]
    taps = impulse_response(layer, 3, s)
    assert taps.dtype == torch.float64
    assert taps.shape[-1] == s * (2 * reach + 1)
    torch.testing.assert_close(taps, _reference(layer, 3, s, reach), rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=20)
@given(s=st.integers(1, 4), extra=st.integers(0, 5), inputs=st.integers(1, 3), outputs=st.integers(1, 3))
def test_taps_are_the_kernel_in_its_place(s: int, extra: int, inputs: int, outputs: int) -> None:
    k = s + extra + (extra % 2 if s == 1 else 0)  # scale 1 keeps the size with odd kernels only
    layer = transposed((inputs, outputs), k, s)
    taps = impulse_response(layer, inputs, s)
    weight = layer.get_parameter("weight").detach().double().transpose(0, 1)
    before = (taps.shape[-1] - s) // 2 - (k - s + 1) // 2
    after = taps.shape[-1] - before - k
    torch.testing.assert_close(taps, functional.pad(weight, (before, after, before, after)), rtol=0, atol=1e-12)


class _Crop(nn.Module):
    """Cuts pixels off an output, or puts zeros around it, at the top, bottom, left and right."""

    def __init__(self, layer: nn.Module, cut: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.layer = layer
        self.cut = cut

    def forward(self, x: Tensor) -> Tensor:
        top, bottom, left, right = self.cut
        return functional.pad(self.layer(x), (-left, -right, -top, -bottom))


def _stamp(taps: Tensor, s: int, blocks: tuple[int, int], pixel: int, side: tuple[int, int]) -> Tensor:
    """Where the convention puts the response to an impulse at one pixel: output (O, I, *side)."""
    reach = taps.shape[-1] // s // 2
    output = torch.zeros(*taps.shape[:2], *side, dtype=taps.dtype)
    for a in range(taps.shape[-1]):
        for b in range(taps.shape[-1]):
            row, column = s * (pixel + blocks[0]) + a - s * reach, s * (pixel + blocks[1]) + b - s * reach
            if 0 <= row < side[0] and 0 <= column < side[1]:
                output[..., row, column] = taps[..., a, b]
    return output


CROPS = {
    "default padding k3": (nn.ConvTranspose2d(3, 2, 3, 2), 2),
    "default padding k4": (nn.ConvTranspose2d(3, 2, 4, 2), 2),
    "default padding k9 s4": (nn.ConvTranspose2d(3, 2, 9, 4), 4),
    "crop by padding 3": (nn.ConvTranspose2d(3, 2, 4, 2, padding=3), 2),
    "crop by padding 7": (nn.ConvTranspose2d(3, 2, 8, 4, padding=7), 4),
    "valid before": (nn.Sequential(nn.Conv2d(3, 2, 3), resize("nearest", 2)), 2),
    "valid behind": (nn.Sequential(resize("nearest", 2), nn.Conv2d(3, 2, 3)), 2),
    "valid k9": (nn.Sequential(nn.Conv2d(3, 2, 9), resize("nearest", 2)), 2),
    "valid k13": (nn.Sequential(nn.Conv2d(3, 2, 13), resize("nearest", 2)), 2),
    "scale 1": (nn.Conv2d(3, 2, 5), 1),
    "oblong": (nn.ConvTranspose2d(3, 2, (3, 6), 2, padding=(0, 4)), 2),
    "top alone": (_Crop(transposed((3, 2), 4, 2), (5, 0, 0, 0)), 2),
    "bottom right": (_Crop(transposed((3, 2), 4, 2), (0, 3, 0, 5)), 2),
    "moved": (_Crop(transposed((3, 2), 4, 2), (3, -3, -1, 1)), 2),
    "wide rim of zeros": (_Crop(transposed((3, 2), 3, 3), (-9, -9, -8, -4)), 3),
}


@pytest.mark.parametrize("name", CROPS)
def test_layers_that_crop_or_pad_have_taps_where_the_convention_says(name: str) -> None:
    layer, s = CROPS[name]
    taps = impulse_response(layer, 3, s)
    twin = copy.deepcopy(layer).double().eval()
    side, pixel = 31, 15
    zero = torch.zeros(1, 3, side, side, dtype=torch.float64)
    answers = []
    for channel in range(3):
        x = zero.clone()
        x[0, channel, pixel, pixel] = 1
        answers.append((twin(x) - twin(zero))[0].detach())
    expected = torch.stack(answers, 1)
    sides = (expected.shape[-2], expected.shape[-1])
    blocks = tuple(round((found - s * side) / (2 * s)) for found in sides)
    found = _stamp(taps, s, (blocks[0], blocks[1]), pixel, sides)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cut", [(3, 3, 3, 3), (1, 0, 0, 2), (-2, 5, 4, -1), (0, 0, 7, 7)], ids=str)
def test_metrics_do_not_depend_on_where_the_output_begins(cut: tuple[int, int, int, int]) -> None:
    whole = seed_weights(transposed((3, 2), 5, 2), 4)
    layer = _Crop(whole, cut)
    taps, cropped = impulse_response(whole, 3, 2), impulse_response(layer, 3, 2)
    for metric in (phase_ripple, noise_gain_cv, image_rejection_db):
        assert metric(cropped, 2) == pytest.approx(metric(taps, 2), rel=1e-9)
    means = [0.2, 0.5, 1.0]
    assert effective_ripple(cropped, 2, means) == pytest.approx(effective_ripple(taps, 2, means), rel=1e-9)
    assert overlap_cv(layer, 3, 2) == pytest.approx(overlap_cv(whole, 3, 2), rel=1e-9)
    # rotated by what was cut off at the top and on the left
    rotated = phase_gains(taps, 2).roll((-cut[0], -cut[2]), (-2, -1))
    torch.testing.assert_close(phase_gains(cropped, 2), rotated, rtol=0, atol=1e-12)


def test_a_published_upscalers_crop_is_the_layer_without_it() -> None:
    """k4 s2 with padding=3, as one of the published upscalers has four times."""
    cropped, exact = nn.ConvTranspose2d(4, 4, 4, 2, padding=3), nn.ConvTranspose2d(4, 4, 4, 2, padding=1)
    exact.load_state_dict(seed_weights(cropped, 0).state_dict())
    assert phase_ripple(impulse_response(cropped, 4, 2), 2) == pytest.approx(
        phase_ripple(impulse_response(exact, 4, 2), 2), rel=1e-12
    )


def test_layer_and_random_state_are_untouched() -> None:
    layer = resize_conv((2, 2), 3, 2).train()
    before = copy.deepcopy(layer.state_dict())
    state = torch.get_rng_state()
    taps = impulse_response(layer, 2, 2)
    assert not taps.requires_grad
    assert layer.training
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())
    assert {p.dtype for p in layer.parameters()} == {torch.float32}


def test_dropout_and_bias_do_not_enter() -> None:
    layer = nn.Sequential(nn.Dropout(), nn.ConvTranspose2d(1, 1, 2, stride=2))
    with torch.no_grad():
        layer.get_parameter("1.bias").fill_(1e4)
        layer.get_parameter("1.weight").fill_(1)
    torch.testing.assert_close(impulse_response(layer.train(), 1, 2), torch.ones(1, 1, 2, 2, dtype=torch.float64))


def test_layer_that_returns_zeros_has_one_empty_block() -> None:
    layer = transposed((2, 3), 4, 2)
    nn.init.zeros_(layer.get_parameter("weight"))
    assert torch.equal(impulse_response(layer, 2, 2), torch.zeros(3, 2, 2, 2, dtype=torch.float64))


def test_zero_insertion_is_one_tap() -> None:
    expected = torch.zeros(2, 2, 3, 3, dtype=torch.float64)
    expected[0, 0, 0, 0] = expected[1, 1, 0, 0] = 1
    assert torch.equal(impulse_response(ZeroInsertion(3), 2, 3), expected)


class _Square(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(x, scale_factor=2) ** 2


class _Position(nn.Module):
    """Linear, but each pixel has a weight of its own."""

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.arange(x.shape[-1], dtype=x.dtype)
        return functional.interpolate(x * weight, scale_factor=2)


class _FarTap(nn.Module):
    """A second tap so far away that small maps end before it."""

    def __init__(self, distance: int) -> None:
        super().__init__()
        self.distance = distance

    def forward(self, x: Tensor) -> Tensor:
        far = functional.pad(x, (self.distance, 0, 0, 0))[..., : x.shape[-1]]
        return functional.interpolate(x + far, scale_factor=2)


@pytest.mark.parametrize(
    "layer",
    [
        pytest.param(_Square(), id="nonlinear"),
        pytest.param(_Position(), id="not_shift_equivariant"),
        pytest.param(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), id="align_corners"),
        pytest.param(nn.Sequential(resize("nearest", 2), nn.Softmax2d()), id="softmax"),
    ],
)
def test_layer_that_taps_cannot_explain_is_an_error(layer: nn.Module) -> None:
    with pytest.raises(UsageError, match="not linear and shift-equivariant, or reaches further"):
        impulse_response(layer, 2, 2)


def test_reach_beyond_the_limit_is_an_error() -> None:
    layer = conv_resize((1, 1), 15, 2)
    with pytest.raises(UsageError, match="within 13 input pixels"):
        impulse_response(layer, 1, 2, max_size=13)
    assert impulse_response(layer, 1, 2, max_size=21).shape[-1] == 2 * 15


@pytest.mark.parametrize("distance", [5, 6])
def test_the_map_grows_for_a_tap_beyond_a_gap(distance: int) -> None:
    assert impulse_response(_FarTap(distance), 1, 2).shape[-1] == 2 * (2 * distance + 1)


def test_noise_shows_a_tap_that_cancels_in_the_probe() -> None:
    """Impulses of all channels at once can cancel: then the reach is seen too small, and the noise tells."""

    class Cancelling(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            near = functional.interpolate(x[:, :1], scale_factor=2)
            height = torch.randn(2, 11, 11, dtype=x.dtype, generator=torch.Generator().manual_seed(0))[:, 5, 5]
            far = functional.pad(x[:, :1] / height[0] - x[:, 1:] / height[1], (2, 0, 0, 0))[..., :-2]
            return near + functional.interpolate(far, scale_factor=2)

    taps = impulse_response(Cancelling(), 2, 2)
    assert taps.shape == (1, 2, 10, 10)


def test_wrong_size_is_an_error() -> None:
    message = "outputs of 22×22 for 11×11 and 24×24 for 12×12; scale_factor 3 asks for sides that grow by 3"
    with pytest.raises(UsageError, match=message):
        impulse_response(resize("nearest", 2), 1, 3)


def test_a_layer_that_no_map_suits_is_named() -> None:
    with pytest.raises(UsageError, match="Kernel size can't be greater"):
        impulse_response(nn.Conv2d(1, 1, 50), 1, 1)


@pytest.mark.cuda
def test_taps_are_read_where_the_layer_lives() -> None:
    layer = seed_weights(resize_conv((3, 2), 3, 2), 0)
    expected = impulse_response(layer, 3, 2)
    found = impulse_response(layer.cuda(), 3, 2)
    assert found.is_cuda
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["nearest-k3-s2", "transposed"])
def test_the_default_device_makes_no_difference(name: str) -> None:
    layer = nn.ConvTranspose2d(2, 3, 4, 2, 1) if name == "transposed" else resize_conv((2, 3), 3, 2)
    expected = impulse_response(layer, 2, 2)
    with torch.device("meta"):
        found = impulse_response(layer, 2, 2)
    assert torch.equal(found, expected)
