"""What interpolation costs, against the taps that torch's own interpolation has."""

import pytest
import torch
from torch.nn import functional

from deconvbench.upsamplers.interpolation import MACS_PER_VALUE, interpolation_macs


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("scale_factor", [2, 4], ids="s{}".format)
def test_taps_are_the_pixels_that_a_value_depends_on(mode: str, scale_factor: int) -> None:
    x = torch.zeros(1, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    y = functional.interpolate(x, scale_factor=scale_factor, mode=mode, align_corners=False)
    (gradient,) = torch.autograd.grad(y[0, 0, 4 * scale_factor, 4 * scale_factor], x)
    assert int(gradient.count_nonzero()) == MACS_PER_VALUE[mode]


@pytest.mark.parametrize(("mode", "expected"), [("nearest", 0), ("bilinear", 4 * 210), ("bicubic", 16 * 210)])
def test_macs_are_taps_times_values(mode: str, expected: int) -> None:
    assert interpolation_macs(mode, 5, 6, 7) == expected
