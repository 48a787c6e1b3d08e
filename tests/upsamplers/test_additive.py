"""Bilinear additive upsampling: the sums of consecutive channels, and the equal resize-convolution."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.measure.artifacts import image_rejection_db, impulse_response, phase_ripple
from deconvbench.upsamplers import get_upsampler
from deconvbench.upsamplers.additive import BilinearAdditive
from deconvbench.upsamplers.resize_conv import BilinearConv

over_scales = pytest.mark.parametrize("scale_factor", [1, 2, 3, 4], ids="s{}".format)
# fewer channels than a group, one group, whole groups, and a rest
over_channels = pytest.mark.parametrize("in_channels", [1, 3, 4, 8, 9, 11, 16, 18], ids="c{}".format)


def sum_channels(x: Tensor, size: int) -> Tensor:
    """Sum consecutive channels, one after another."""
    sums = torch.zeros(x.shape[0], math.ceil(x.shape[1] / size), *x.shape[2:], dtype=x.dtype)
    for channel in range(x.shape[1]):
        sums[:, channel // size] += x[:, channel]
    return sums


@over_scales
@over_channels
@pytest.mark.parametrize("kernel_size", [1, 3, 4], ids="k{}".format)
def test_equals_bilinear_conv_with_one_kernel_a_group(
    kernel_size: int, in_channels: int, scale_factor: int
) -> None:
    layer = BilinearAdditive(in_channels, 3, kernel_size, scale_factor).double()
    other = BilinearConv(in_channels, 3, kernel_size, scale_factor).double()
    weight = layer.conv.weight.detach().repeat_interleave(scale_factor**2, dim=1)[:, :in_channels]
    assert layer.conv.bias is not None
    other.load_state_dict({"conv.weight": weight, "conv.bias": layer.conv.bias})
    x = torch.randn(2, in_channels, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(layer(x), other(x), rtol=1e-10, atol=1e-10)


@over_scales
@over_channels
@pytest.mark.parametrize("size", [(1, 1), (3, 4)], ids=["1x1", "3x4"])
def test_summing_first_is_the_same_function(size: tuple[int, int], in_channels: int, scale_factor: int) -> None:
    layer = BilinearAdditive(in_channels, 3, 3, scale_factor).double()
    x = torch.randn(2, in_channels, *size, dtype=torch.float64)
    sums = sum_channels(x, scale_factor**2)
    upsampled = functional.interpolate(sums, scale_factor=scale_factor, mode="bilinear", align_corners=False)
    torch.testing.assert_close(layer(x), layer.conv(upsampled), rtol=1e-10, atol=1e-10)


@over_scales
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=["nchw", "nhwc"])
def test_the_sums_have_as_many_values_as_the_input(scale_factor: int, memory_format: torch.memory_format) -> None:
    channels = 2 * scale_factor**2
    layer = BilinearAdditive(channels, 3, 1, scale_factor)
    x = torch.randn(2, channels, 5, 3).to(memory_format=memory_format)
    shapes = []
    with layer.conv.register_forward_pre_hook(lambda _, inputs: shapes.append(inputs[0].shape)):
        layer(x)
    assert shapes == [(2, 2, 5 * scale_factor, 3 * scale_factor)]
    assert shapes[0].numel() == x.numel()


@over_scales
@pytest.mark.parametrize("kernel_size", [1, 3, 4], ids="k{}".format)
def test_phase_sums_are_equal(kernel_size: int, scale_factor: int) -> None:
    taps = impulse_response(BilinearAdditive(5, 3, kernel_size, scale_factor), 5, scale_factor)
    assert phase_ripple(taps, scale_factor) == pytest.approx(0, abs=1e-20)


@pytest.mark.parametrize(
    ("scale_factor", "expected_db"),
    [(2, 60 * math.log10(math.tan(math.pi * 0.05))), (3, -33.47), (4, -37.64)],
    ids=["s2", "s3", "s4"],
)
def test_rejects_images_as_bilinear_does(scale_factor: int, expected_db: float) -> None:
    taps = impulse_response(BilinearAdditive(5, 3, 1, scale_factor), 5, scale_factor)
    assert image_rejection_db(taps, scale_factor) == pytest.approx(expected_db, abs=0.01)


@pytest.mark.parametrize(
    ("in_channels", "scale_factor", "expected"),
    [
        # 4 taps for all 8 channels at 60 pixels; 9 taps for 2·6 channels there
        (8, 2, 4 * 8 * 60 + 9 * 12 * 60),
        # the ninth channel makes a third group of its own
        (9, 2, 4 * 9 * 60 + 9 * 18 * 60),
        (8, 3, 4 * 8 * 135 + 9 * 6 * 135),
    ],
    ids=["c8-s2", "c9-s2", "c8-s3"],
)
def test_macs_count_whole_and_broken_groups(in_channels: int, scale_factor: int, expected: int) -> None:
    macs = get_upsampler("bilinear_additive").macs
    assert macs is not None
    assert macs(in_channels, 6, 3, scale_factor, 5, 3) == expected
