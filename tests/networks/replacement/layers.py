"""Layers to be replaced, of all kinds and shapes, and the obvious way to compute what they equal."""

import math
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.networks.replacement.kernels import Equivalent
from deconvbench.upsamplers.resize_modes import ResizeConv2d
from deconvbench.upsamplers.subpixel import SubpixelConv2d


@st.composite
def transposed_layers(draw: st.DrawFn, *, is_square: bool = False) -> nn.Module:
    """Any transposed convolution in two axes that upsamples."""

    def pair(values: st.SearchStrategy[int]) -> tuple[int, int]:
        first = draw(values)
        return (first, first) if is_square else (first, draw(values))

    stride = pair(st.integers(2, 3))
    dilation = pair(st.sampled_from([1, 1, 2]))
    kernel_size = pair(st.integers(1, 5))
    options: dict[str, Any] = {
        "stride": stride,
        "padding": pair(st.integers(0, 2)),
        "output_padding": pair(st.integers(0, 1)),
        "groups": draw(st.sampled_from([1, 2])),
        "bias": draw(st.booleans()),
        "dilation": dilation,
    }
    return nn.ConvTranspose2d(2, 4, kernel_size, **options, dtype=torch.float64)


@st.composite
def convolutions(draw: st.DrawFn, out_channels: int) -> nn.Conv2d:
    """Any convolution of stride 1 with zero padding."""
    kernel_size = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    padding: Any = draw(
        st.sampled_from(["valid", "same"]) | st.tuples(*(st.integers(0, size - 1) for size in kernel_size))
    )
    return nn.Conv2d(
        *(2, out_channels, kernel_size),
        padding=padding,
        groups=draw(st.sampled_from([1, 2])),
        bias=draw(st.booleans()),
        dilation=draw(st.tuples(st.sampled_from([1, 1, 2]), st.sampled_from([1, 1, 2]))),
        dtype=torch.float64,
    )


@st.composite
def subpixel_layers(draw: st.DrawFn) -> nn.Module:
    """Convolution and PixelShuffle, as two modules or as one."""
    scale = draw(st.integers(2, 3))
    if draw(st.booleans()):
        layer: nn.Module = SubpixelConv2d(2, 2, draw(st.integers(1, 4)), scale, groups=2, dtype=torch.float64)
        return layer
    return nn.Sequential(draw(convolutions(2 * scale**2)), nn.PixelShuffle(scale))


@st.composite
def resize_layers(draw: st.DrawFn, modes: tuple[str, ...] = ("nearest", "nearest-exact", "bilinear")) -> nn.Module:
    """Upsampling and convolution, as two modules or as one."""
    mode = draw(st.sampled_from(modes))
    if draw(st.booleans()):
        kernel_size, scale_factor = draw(st.sampled_from([1, 3, 5])), draw(st.integers(2, 3))
        return ResizeConv2d(2, 2, kernel_size, scale_factor, mode, groups=2, dtype=torch.float64)
    scale = draw(st.sampled_from([(2, 2), (3, 3), (4, 4), (2, 3), (1, 2)]))
    return nn.Sequential(nn.Upsample(scale_factor=scale, mode=mode), draw(convolutions(2)))


def wrap(layer: nn.Module) -> nn.Sequential:
    """Put a layer into a model."""
    return nn.Sequential(layer)


def draw_input(size: tuple[int, int] = (7, 6), *, seed: int = 0) -> Tensor:
    """Draw an image of two channels."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 2, *size, dtype=torch.float64, generator=generator)


def compute(equivalent: Equivalent, x: Tensor) -> Tensor:
    """Compute y[m] = Σ_n x[n]·T[m − s·n − start] + bias on a canvas with room on all sides."""
    room = 64
    whole = functional.conv_transpose2d(
        x, torch.from_numpy(equivalent.taps.copy()), stride=equivalent.stride, groups=equivalent.groups
    )
    whole = functional.pad(whole, (room,) * 4)
    scales, firsts, extras = equivalent.stride, equivalent.start, equivalent.excess
    height, width = (n * s + extra for n, s, extra in zip(x.shape[2:], scales, extras, strict=True))
    top, left = (room - first for first in firsts)
    y = whole[:, :, top : top + height, left : left + width]
    if equivalent.bias is not None:
        phases = torch.from_numpy(equivalent.bias.copy())
        tiles = [math.ceil(length / step) for length, step in zip(y.shape[2:], phases.shape[1:], strict=True)]
        y = y + phases.repeat(1, *tiles)[:, : y.shape[2], : y.shape[3]]
    return y
