"""Transposed and sub-pixel convolution turned into one another: the same numbers and gradients."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.errors import UsageError
from deconvbench.networks.fusion.conversion import (
    convert_subpixel,
    convert_transposed,
    explain_transposed,
)
from deconvbench.upsamplers.fast.deconvolution.shape import read_shape


def measure_error(expected: Tensor, found: Tensor) -> float:
    assert found.shape == expected.shape
    return float(((found - expected).abs().max() / expected.abs().max()).detach())


def convert(conv: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    return convert_transposed(x, conv.weight, conv.bias, read_shape(conv))


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_every_transposed_convolution_is_a_subpixel_convolution(data: st.DataObject) -> None:
    scale = data.draw(st.integers(1, 5), "scale")
    size = data.draw(st.integers(scale, 9), "kernel_size")
    padding = data.draw(st.integers(0, size - 1), "padding")
    output_padding = data.draw(st.integers(0, scale - 1), "output_padding")
    height, width = (
        data.draw(st.integers(1 + 2 * padding // scale, 6 + 2 * padding), name) for name in ("h", "w")
    )
    conv = nn.ConvTranspose2d(
        *(3, 2, size),
        stride=scale,
        padding=padding,
        output_padding=output_padding,
        bias=data.draw(st.booleans(), "bias"),
        dtype=torch.float64,
    )
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    assert measure_error(conv(x), convert(conv, x)) <= 1e-12


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_every_subpixel_convolution_is_a_transposed_convolution(data: st.DataObject) -> None:
    scale, size = data.draw(st.integers(1, 4), "scale"), data.draw(st.integers(1, 5), "kernel_size")
    padding = data.draw(st.integers(0, size - 1), "padding")
    height, width = (data.draw(st.integers(size, size + 4), name) for name in ("h", "w"))
    has_bias = data.draw(st.booleans(), "bias")
    conv = nn.Conv2d(3, 2 * scale**2, size, padding=padding, bias=has_bias, dtype=torch.float64)
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    expected = functional.pixel_shuffle(conv(x), scale)
    assert measure_error(expected, convert_subpixel(conv, x, scale)) <= 1e-12


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_padding_by_name(padding: str) -> None:
    conv = nn.Conv2d(3, 8, 3, padding=padding, dtype=torch.float64)
    x = torch.randn(1, 3, 4, 5, dtype=torch.float64)
    expected = functional.pixel_shuffle(conv(x), 2)
    assert measure_error(expected, convert_subpixel(conv, x, 2)) <= 1e-12


def test_gradients_flow_through() -> None:
    conv = nn.ConvTranspose2d(3, 2, 9, stride=4, padding=4, output_padding=3, dtype=torch.float64)
    x = torch.randn(1, 3, 3, 4, dtype=torch.float64, requires_grad=True)
    gradients = [
        torch.autograd.grad(y.square().sum(), [x, *conv.parameters()]) for y in (conv(x), convert(conv, x))
    ]
    for expected, found in zip(*gradients, strict=True):
        assert measure_error(expected, found) <= 1e-12


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"groups": 2}, "groups 2 and dilation"),
        ({"dilation": 2}, "dilation (2, 2)"),
        ({"kernel_size": (6, 5)}, "kernel_size (6, 5) is not square"),
        ({"stride": (3, 4)}, "stride (3, 4) is not square"),
        ({"padding": (0, 1)}, "padding (0, 1) is not square"),
        ({"output_padding": (0, 1)}, "output_padding (0, 1) is not square"),
        ({"kernel_size": 2}, "kernel_size 2 is smaller than stride 3"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value.replace(" ", "_"),
)
def test_other_transposed_convolutions_are_refused(options: dict[str, Any], reason: str) -> None:
    conv = nn.ConvTranspose2d(4, 2, **{"kernel_size": 6, "stride": 3, **options})
    assert reason in str(explain_transposed(read_shape(conv)))
    with pytest.raises(UsageError) as caught:
        convert(conv, torch.zeros(1, 4, 3, 3))
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("conv", "scale_factor"),
    [
        (nn.Conv2d(4, 4, 3, stride=2), 2),
        (nn.Conv2d(4, 4, 3, groups=2), 2),
        (nn.Conv2d(4, 4, (3, 5)), 2),
        (nn.Conv2d(4, 4, 3, padding=3), 2),
        (nn.Conv2d(4, 4, 2, padding="same"), 2),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), 2),
        (nn.Conv2d(4, 4, 3), 3),
    ],
    ids=["stride", "groups", "kernel", "padding", "same", "mode", "channels"],
)
def test_other_subpixel_convolutions_are_refused(conv: nn.Conv2d, scale_factor: int) -> None:
    with pytest.raises(UsageError, match="is not a square convolution of stride 1, zero padding"):
        convert_subpixel(conv, torch.zeros(1, 4, 9, 9), scale_factor)


@pytest.mark.parametrize(
    ("out_channels", "stride", "is_faster"), [(3, 4, True), (1, 3, True), (4, 4, False), (3, 2, False)]
)
def test_only_the_measured_range_is_faster(out_channels: int, stride: int, is_faster: bool) -> None:
    conv = nn.ConvTranspose2d(8, out_channels, 4, stride)
    assert (explain_transposed(read_shape(conv)) is None) is is_faster


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_the_size_of_the_output_is_torch_s(data: st.DataObject) -> None:
    def draw(name: str, least: int, most: int) -> tuple[int, int]:
        one = st.integers(least, most)
        return data.draw(st.tuples(one, one), name)

    conv = nn.ConvTranspose2d(
        *(1, 1, draw("kernel_size", 1, 5)),
        stride=draw("stride", 1, 4),
        padding=draw("padding", 0, 2),
        dilation=draw("dilation", 1, 3),
        device="meta",
    )
    size = draw("size", 4, 9)
    x = torch.zeros(1, 1, *size, device="meta")
    found = read_shape(conv).measure_output(size)
    try:
        expected = conv(x).shape[2:]
    except RuntimeError:  # torch has no output of such a size
        assert min(found) < 1
    else:
        assert found == list(expected)
