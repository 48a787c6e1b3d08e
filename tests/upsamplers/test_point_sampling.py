"""DySample: the paper's equations in loops, flat fields, groups, and positions that no half precision spoils."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.upsamplers import get_upsampler
from deconvbench.upsamplers.point_sampling import DySample, choose_groups

over_scales = pytest.mark.parametrize("scale_factor", [1, 2, 3], ids="s{}".format)
over_sizes = pytest.mark.parametrize("size", [(1, 1), (2, 5), (7, 4)], ids=["1x1", "2x5", "7x4"])


def build(
    in_channels: int, out_channels: int, scale_factor: int, *, offset_std: float = 2.0, seed: int = 0
) -> DySample:
    """Build a layer whose offsets are large, a few input pixels, and not zero in the mean."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layer = DySample(in_channels, out_channels, None, scale_factor).double()
        for parameter in layer.offset.parameters():
            nn.init.normal_(parameter, std=offset_std)
    return layer


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def project_slowly(image: Any, convolution: nn.Conv2d) -> Any:
    """Convolve an image 1×1, one pixel at a time."""
    assert convolution.bias is not None
    weight, bias = convolution.weight.detach().numpy()[:, :, 0, 0], convolution.bias.detach().numpy()
    y = np.zeros((weight.shape[0], *image.shape[1:]))
    for row in range(image.shape[1]):
        for column in range(image.shape[2]):
            y[:, row, column] = weight @ image[:, row, column] + bias
    return y


def interpolate_slowly(plane: Any, down: float, right: float) -> float:
    """Read one bilinear sample at a position in pixels, moved to the nearest border if it lies outside."""
    height, width = plane.shape
    down, right = min(max(down, 0.0), height - 1.0), min(max(right, 0.0), width - 1.0)
    total = 0.0
    for row in range(height):
        for column in range(width):
            total += max(0.0, 1 - abs(down - row)) * max(0.0, 1 - abs(right - column)) * plane[row, column]
    return total


def upsample_slowly(layer: DySample, image: Any, groups: int, s: int) -> Any:
    """Compute one image's output value by value: a place of its own for each, then one bilinear sample."""
    projected, offsets = project_slowly(image, layer.project), 0.25 * project_slowly(image, layer.offset)
    channels, height, width = projected.shape
    y = np.zeros((channels, s * height, s * width))
    for channel in range(channels):
        group = channel // (channels // groups)
        for row in range(s * height):
            for column in range(s * width):
                source, phase = (row // s, column // s), (row % s) * s + column % s
                right = offsets[(group * s * s + phase, *source)]
                down = offsets[(groups * s * s + group * s * s + phase, *source)]
                # the paper's bilinear initialisation: the phases' centres, around that of the source
                right += (column % s - (s - 1) / 2) / s
                down += (row % s - (s - 1) / 2) / s
                y[channel, row, column] = interpolate_slowly(
                    projected[channel], source[0] + down, source[1] + right
                )
    return y


@over_scales
@over_sizes
@pytest.mark.parametrize(("out_channels", "groups"), [(3, 1), (2, 2), (8, 4)], ids=["g1", "g2", "g4"])
def test_equals_the_paper_in_loops(
    scale_factor: int, size: tuple[int, int], out_channels: int, groups: int
) -> None:
    layer, x = build(3, out_channels, scale_factor), draw(2, 3, *size)
    with torch.no_grad():
        found = layer(x)
    assert found.dtype == torch.float64
    expected = np.stack([upsample_slowly(layer, image, groups, scale_factor) for image in x.numpy()])
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-10, atol=1e-10)


@over_scales
def test_without_offsets_it_is_bilinear(scale_factor: int) -> None:
    layer, x = build(3, 4, scale_factor, offset_std=0), draw(2, 3, 5, 4)
    with torch.no_grad():
        expected = functional.interpolate(
            layer.project(x), scale_factor=float(scale_factor), mode="bilinear", align_corners=False
        )
        torch.testing.assert_close(layer(x), expected, rtol=1e-10, atol=1e-10)


def test_starts_close_to_bilinear() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = DySample(64, 32, None, 3)
    assert layer.offset.bias is not None
    assert not layer.offset.bias.any()
    assert layer.offset.weight.std().item() == pytest.approx(0.001, rel=0.02)


@pytest.mark.parametrize(("out_channels", "groups"), [(1, 1), (2, 2), (3, 1), (4, 4), (6, 2), (64, 4)])
def test_groups_divide_the_output_channels(out_channels: int, groups: int) -> None:
    assert choose_groups(out_channels) == groups
    assert DySample(1, out_channels, None, 2).offset.out_channels == 2 * groups * 4


@settings(deadline=None, max_examples=25)
@given(
    in_channels=st.integers(1, 5),
    out_channels=st.integers(1, 8),
    scale_factor=st.integers(1, 4),
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    offset_std=st.sampled_from([0.0, 0.01, 1.0, 1000.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_flat_field_stays_flat_everywhere(
    in_channels: int, out_channels: int, scale_factor: int, size: tuple[int, int], offset_std: float, seed: int
) -> None:
    layer = build(in_channels, out_channels, scale_factor, offset_std=offset_std, seed=seed)
    x = draw(1, in_channels, 1, 1, seed=seed).expand(-1, -1, *size)
    with torch.no_grad():
        y = layer(x)
        expected = layer.project(x[..., :1, :1]).expand_as(y)
        torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("channels", [3, 4], ids=["g1", "g4"])
def test_projecting_first_equals_projecting_afterwards_for_one_group_only(channels: int) -> None:
    layer, x = build(channels, channels, 2), draw(1, channels, 6, 5)
    sampler = build(channels, channels, 2)
    nn.init.dirac_(sampler.project.weight)
    assert sampler.project.bias is not None
    nn.init.zeros_(sampler.project.bias)
    with torch.no_grad():
        error = (layer(x) - layer.project(sampler(x))).abs().max().item()
    assert (error < 1e-12) == (math.gcd(4, channels) == 1)


@over_scales
def test_gradients_are_right_within_cells(scale_factor: int) -> None:
    layer = build(2, 4, scale_factor, offset_std=0.02)
    assert layer.offset.bias is not None
    # 0.1 pixel: far from the cell borders, where bilinear interpolation has kinks, for the phases of s = 1, 2, 3
    nn.init.constant_(layer.offset.bias, 0.4)
    parameters = dict(layer.named_parameters())

    def run(x: Tensor, *values: Tensor) -> Any:
        return torch.func.functional_call(layer, dict(zip(parameters, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(run, (draw(1, 2, 4, 3).requires_grad_(), *parameters.values()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_keeps_its_place_on_wide_maps(dtype: torch.dtype) -> None:
    x = draw(1, 2, 2, 2048).to(dtype)
    layer, exact = build(2, 2, 2, offset_std=0), build(2, 2, 2, offset_std=0)
    for module in (layer, exact):
        nn.init.dirac_(module.project.weight)
        assert module.project.bias is not None
        nn.init.zeros_(module.project.bias)
    with torch.no_grad():
        found, expected = layer.to(dtype)(x), exact(x.double())
    assert found.dtype == dtype
    # no more than the rounding of the output
    assert ((found - expected).abs() <= torch.finfo(dtype).eps * expected.abs() + 1e-3).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_trains_in_half_precision(dtype: torch.dtype) -> None:
    layer = build(3, 4, 2, offset_std=0.1).to(dtype)
    torch.autograd.backward(layer(draw(1, 3, 4, 5).to(dtype)).square().mean())
    for parameter in layer.parameters():
        assert parameter.grad is not None
        assert parameter.grad.dtype == dtype
        assert parameter.grad.isfinite().all()
        assert parameter.grad.any()


def test_macs_by_hand() -> None:
    macs = get_upsampler("dysample").macs
    assert macs is not None
    # 15 input pixels: 8·4 project, 8·(2 axes·4 groups·4 phases) offsets; 60 output pixels, 4 channels, 4 taps
    assert macs(8, 4, None, 2, 3, 5) == 15 * (32 + 256) + 60 * 4 * 4


@pytest.mark.parametrize(("c_out", "groups"), [(3, 1), (2, 2), (32, 4)], ids=["g1", "g2", "g4"])
def test_declared_macs_per_output_pixel_are_the_count(c_out: int, groups: int) -> None:
    c_in, s, height, width = 64, 4, 6, 7
    macs = get_upsampler("dysample").macs
    assert macs is not None
    # the registered `macs_formula`, in numbers
    share = 1 / s**2 + 2 * groups / c_out + 4 / c_in
    assert macs(c_in, c_out, None, s, height, width) == pytest.approx(share * c_in * c_out * s**2 * height * width)
