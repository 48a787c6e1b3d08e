"""Convolution then resize: blocks of one value, no ripple."""

import pytest
import torch
from torch.nn import functional

from deconvbench.upsamplers.conv_resize import ConvNearest
from tests.upsamplers.phases import compute_ripple, measure_phase_gains

over_scales = pytest.mark.parametrize("scale_factor", [1, 2, 3, 4], ids="s{}".format)


@over_scales
@pytest.mark.parametrize("kernel_size", [1, 3, 4], ids="k{}".format)
def test_repeats_the_pixels_of_the_convolution(kernel_size: int, scale_factor: int) -> None:
    layer, s = ConvNearest(2, 3, kernel_size, scale_factor).double(), scale_factor
    x = torch.randn(2, 2, 3, 5, dtype=torch.float64)
    before, after = (kernel_size - 1) // 2, kernel_size // 2
    padded = functional.pad(x, (before, after, before, after))
    small = functional.conv2d(padded, layer.conv.weight, layer.conv.bias)
    expected = small.repeat_interleave(s, dim=2).repeat_interleave(s, dim=3)
    torch.testing.assert_close(layer(x), expected, rtol=1e-10, atol=1e-10)


@over_scales
def test_phase_sums_are_equal(scale_factor: int) -> None:
    gains = measure_phase_gains(ConvNearest(3, 4, 3, scale_factor), 3, scale_factor)
    assert compute_ripple(gains) == pytest.approx(0, abs=1e-20)
