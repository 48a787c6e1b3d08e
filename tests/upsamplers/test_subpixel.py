"""Sub-pixel convolution: the equal transposed convolution, what ICNR promises and does not, what a blur keeps."""

import math
import re
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.errors import UsageError
from deconvbench.measure.artifacts import image_rejection_db, impulse_response, phase_gains, phase_ripple
from deconvbench.upsamplers import get_upsampler
from deconvbench.upsamplers.conv_resize import ConvNearest
from deconvbench.upsamplers.subpixel import Subpixel, SubpixelConv2d, SubpixelIcnr, SubpixelIcnrBlur
from tests.upsamplers.phases import compute_ripple, measure_phase_gains

over_scales = pytest.mark.parametrize("scale_factor", [2, 3, 4], ids="s{}".format)
over_kernels = pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 5], ids="k{}".format)


def interleave_phases(weight: Tensor, s: int) -> Tensor:
    """Interleave the phases' kernels (C_out·s², C_in, k, k) into one for transposed convolution, s·k wide."""
    kernel_size = weight.shape[-1]
    out_channels, in_channels = weight.shape[0] // s**2, weight.shape[1]
    wide = weight.new_zeros(in_channels, out_channels, s * kernel_size, s * kernel_size)
    for i in range(s):
        for j in range(s):
            phase = weight[i * s + j :: s**2]
            wide[:, :, i::s, j::s] = phase.flip(2, 3).transpose(0, 1)
    return wide


@over_scales
@over_kernels
@pytest.mark.parametrize("size", [(1, 1), (3, 4)], ids=["1x1", "3x4"])
def test_equals_a_transposed_convolution_of_s_times_the_kernel(
    kernel_size: int, scale_factor: int, size: tuple[int, int]
) -> None:
    layer, s = Subpixel(2, 3, kernel_size, scale_factor).double(), scale_factor
    assert layer.conv.bias is not None
    torch.nn.init.zeros_(layer.conv.bias)  # it has one value a phase, which no transposed convolution has
    x = torch.randn(2, 2, *size, dtype=torch.float64)
    full = functional.conv_transpose2d(x, interleave_phases(layer.conv.weight, s), stride=s)
    first = s * (kernel_size // 2)
    expected = full[:, :, first : first + s * size[0], first : first + s * size[1]]
    torch.testing.assert_close(layer(x), expected, rtol=1e-10, atol=1e-10)


@over_scales
def test_plain_initialisation_ripples(scale_factor: int) -> None:
    torch.manual_seed(0)
    gains = [measure_phase_gains(Subpixel(16, 16, 3, scale_factor), 16, scale_factor) for _ in range(4)]
    assert compute_ripple(torch.cat(gains, dim=2)) == pytest.approx(1 - 1 / scale_factor**2, abs=0.03)


@over_scales
@over_kernels
def test_icnr_starts_as_convolution_and_nearest(kernel_size: int, scale_factor: int) -> None:
    layer = SubpixelIcnr(2, 3, kernel_size, scale_factor).double()
    baseline = ConvNearest(2, 3, kernel_size, scale_factor).double()
    baseline.load_state_dict({name: value[:: scale_factor**2] for name, value in layer.state_dict().items()})
    x = torch.randn(2, 2, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(layer(x), baseline(x), rtol=1e-10, atol=1e-10)


def test_icnr_draws_the_channels_independently_as_torch_would() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weight = SubpixelIcnr(16, 64, 3, 2).conv.weight.detach()
    kernels = weight[::4].flatten(1)
    assert torch.unique(kernels, dim=0).shape == kernels.shape
    # uniform within ±1/√fan_in
    bound = (16 * 9) ** -0.5
    assert kernels.abs().max().item() <= bound
    assert kernels.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)


@over_scales
def test_icnr_ripples_once_trained(scale_factor: int) -> None:
    torch.manual_seed(0)
    layer = SubpixelIcnr(2, 2, 3, scale_factor)
    assert compute_ripple(measure_phase_gains(layer, 2, scale_factor)) == pytest.approx(0, abs=1e-20)
    layer = layer.float()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    for _ in range(10):
        target = torch.rand(2, 2, 6 * scale_factor, 6 * scale_factor)
        optimizer.zero_grad()
        torch.autograd.backward(functional.mse_loss(layer(torch.rand(2, 2, 6, 6)), target))
        optimizer.step()
    assert compute_ripple(measure_phase_gains(layer, 2, scale_factor)) > 1e-6


def average_windows(x: Tensor, s: int) -> Tensor:
    """Average the s×s pixels that end at each pixel, one after another; outside lies the nearest pixel inside."""
    y = torch.zeros_like(x)
    for m in range(x.shape[2]):
        for n in range(x.shape[3]):
            for t in range(s):
                for u in range(s):
                    y[:, :, m, n] += x[:, :, max(m - t, 0), max(n - u, 0)] / s**2
    return y


def draw_weights(layer: Subpixel, seed: int) -> None:
    """Draw every weight anew, so that no two phases are alike."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(generator=generator)


@pytest.mark.parametrize("scale_factor", [1, 2, 3, 4], ids="s{}".format)
@pytest.mark.parametrize("kernel_size", [1, 3, 4], ids="k{}".format)
@pytest.mark.parametrize("size", [(1, 1), (3, 4)], ids=["1x1", "3x4"])
def test_blur_averages_the_shuffled_map(kernel_size: int, scale_factor: int, size: tuple[int, int]) -> None:
    layer = SubpixelIcnrBlur(2, 3, kernel_size, scale_factor).double()
    draw_weights(layer, 0)
    plain = Subpixel(2, 3, kernel_size, scale_factor).double()
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(2, 2, *size, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), average_windows(plain(x), scale_factor), rtol=1e-10, atol=1e-10)


@given(
    kernel_size=st.integers(1, 5),
    scale_factor=st.integers(2, 4),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None, max_examples=25)
def test_blur_gives_every_phase_the_mean_of_their_gains(
    kernel_size: int, scale_factor: int, channels: tuple[int, int], seed: int
) -> None:
    layer = SubpixelIcnrBlur(*channels, kernel_size, scale_factor).double()
    draw_weights(layer, seed)
    plain = Subpixel(*channels, kernel_size, scale_factor).double()
    plain.load_state_dict(layer.state_dict())
    found, gains = (
        phase_gains(impulse_response(each, channels[0], scale_factor), scale_factor) for each in (layer, plain)
    )
    torch.testing.assert_close(found, gains.mean((-2, -1), keepdim=True).expand_as(gains), rtol=0, atol=1e-10)


@over_scales
@over_kernels
def test_blur_never_ripples(kernel_size: int, scale_factor: int) -> None:
    layer = SubpixelIcnrBlur(4, 4, kernel_size, scale_factor)
    assert phase_ripple(impulse_response(layer, 4, scale_factor), scale_factor) == pytest.approx(0, abs=1e-20)
    draw_weights(layer, 0)
    assert phase_ripple(impulse_response(layer, 4, scale_factor), scale_factor) == pytest.approx(0, abs=1e-20)
    plain = Subpixel(4, 4, kernel_size, scale_factor)
    plain.load_state_dict(layer.state_dict())
    assert phase_ripple(impulse_response(plain, 4, scale_factor), scale_factor) > 0.5


def train(layer: Subpixel, scale_factor: int) -> Subpixel:
    """Take 100 steps towards noise: nothing in it asks for a checkerboard, nor against one."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(4, 4, 6, 6, generator=generator)
    target = torch.rand(4, 4, 6 * scale_factor, 6 * scale_factor, generator=generator)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.01)
    for _ in range(100):
        optimizer.zero_grad()
        torch.autograd.backward(functional.mse_loss(layer(x), target))
        optimizer.step()
    return layer


@over_scales
def test_a_hundred_steps_undo_icnr_but_not_the_blur(scale_factor: int) -> None:
    def measure_ripple(layer: Subpixel) -> float:
        return phase_ripple(impulse_response(layer, 4, scale_factor), scale_factor)

    with torch.random.fork_rng():
        torch.manual_seed(0)
        icnr, blurred = (kind(4, 4, 3, scale_factor) for kind in (SubpixelIcnr, SubpixelIcnrBlur))
    for layer in (icnr, blurred):
        before = layer.conv.weight.detach().clone()
        assert measure_ripple(layer) == pytest.approx(0, abs=1e-20)
        train(layer, scale_factor)
        assert not torch.allclose(layer.conv.weight, before, atol=0.05)
    assert measure_ripple(icnr) > 0.05
    assert measure_ripple(blurred) == pytest.approx(0, abs=1e-20)


def test_blur_squares_what_nearest_leaves_of_images() -> None:
    # at the start the shuffle is a nearest-neighbour resize; the window is the same box once more
    taps = impulse_response(SubpixelIcnrBlur(2, 3, 3, 2), 2, 2)
    assert image_rejection_db(taps, 2) == pytest.approx(40 * math.log10(math.tan(math.pi * 0.05)), abs=0.01)


def test_macs_of_the_blur_are_a_window_for_every_value() -> None:
    macs = get_upsampler("subpixel_icnr_blur").macs
    assert macs is not None
    # 25 taps, 8·54 channels, 15 input pixels; windows of 9, 6 channels, 135 output pixels
    assert macs(8, 6, 5, 3, 5, 3) == 25 * 432 * 15 + 9 * 6 * 135


@pytest.mark.parametrize("padding_mode", ["zeros", "reflect", "replicate", "circular"])
@over_scales
def test_layer_is_torchs_convolution_and_shuffle(scale_factor: int, padding_mode: Any) -> None:
    layer = SubpixelConv2d(2, 3, 3, scale_factor, padding_mode=padding_mode).double()
    channels = 3 * scale_factor**2
    conv = nn.Conv2d(2, channels, 3, padding=1, padding_mode=padding_mode)
    plain = nn.Sequential(conv, nn.PixelShuffle(scale_factor)).double()
    plain.load_state_dict({f"0.{name}": value for name, value in layer.state_dict().items()})
    x = torch.randn(2, 2, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(layer(x), plain(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("padding_mode", ["zeros", "replicate", "circular"])
def test_even_kernels_pad_as_asked(padding_mode: Any) -> None:
    layer = SubpixelConv2d(1, 1, 4, 2, bias=False, padding_mode=padding_mode).double()
    x = torch.randn(1, 1, 5, 4, dtype=torch.float64)
    mode = "constant" if padding_mode == "zeros" else padding_mode
    padded = functional.pad(x, (1, 2, 1, 2), mode=mode)
    expected = functional.pixel_shuffle(functional.conv2d(padded, layer.weight), 2)
    torch.testing.assert_close(layer(x), expected, rtol=1e-10, atol=1e-10)


def test_layer_and_grid_are_one() -> None:
    x = torch.randn(1, 2, 3, 4)
    for kind, is_blurred in ((SubpixelIcnr, False), (SubpixelIcnrBlur, True)):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            of_grid = kind(2, 3, 3, 2)
            torch.manual_seed(0)
            layer = SubpixelConv2d(2, 3, 3, 2, icnr=True, blur=is_blurred)
        assert list(of_grid.state_dict()) == ["conv.weight", "conv.bias"]
        assert torch.equal(layer(x), of_grid(x))


def test_drawn_anew_it_starts_with_equal_phases_again() -> None:
    layer = SubpixelConv2d(2, 3, 3, 2, icnr=True, device="meta").to_empty(device="cpu")
    layer.reset_parameters()
    assert torch.equal(layer.weight, layer.weight[::4].repeat_interleave(4, 0))
    plain = SubpixelConv2d(2, 3, 3, 2)
    plain.reset_parameters()
    assert not torch.equal(plain.weight, plain.weight[::4].repeat_interleave(4, 0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale_factor": 0}, "scale_factor: 0 is not a whole number of at least 1"),
        ({"kernel_size": 2.5}, "kernel_size: 2.5 is not a whole number"),
        ({"groups": 2}, "groups: 2 does not divide both in_channels 2 and out_channels 3"),
        ({"padding_mode": "same"}, "padding_mode: 'same' is not one of zeros, reflect, replicate, circular"),
    ],
    ids=["scale", "kernel", "groups", "padding"],
)
def test_what_is_not_allowed_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        SubpixelConv2d(2, 3, **options)


def test_it_says_what_it_is() -> None:
    assert repr(SubpixelConv2d(2, 3)) == "SubpixelConv2d(2, 3, kernel_size=3, scale_factor=2)"
    layer = SubpixelConv2d(2, 4, 5, 3, True, True, bias=False, groups=2, padding_mode="reflect")
    assert repr(layer) == (
        "SubpixelConv2d(2, 4, kernel_size=5, scale_factor=3, icnr=True, blur=True, groups=2, bias=False,"
        " padding_mode=reflect)"
    )
