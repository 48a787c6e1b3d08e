"""MAC counts against torch's flop counter."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from deconvbench.errors import UsageError
from deconvbench.theory import conv_macs, transposed_conv_macs

CHANNELS = [(3, 5, 1), (4, 8, 1), (4, 8, 4), (6, 6, 6), (1, 1, 1)]


def _count_with_torch(layer: torch.nn.Module, x: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        layer(x)
    return int(counter.get_total_flops()) // 2


@pytest.mark.parametrize("stride", [1, 2, 3], ids="s{}".format)
@pytest.mark.parametrize("kernel_size", [1, 3, 4, (1, 5)], ids="k{}".format)
@pytest.mark.parametrize(("c_in", "c_out", "groups"), CHANNELS, ids=str)
def test_convolution_counts_as_torch_does(
    c_in: int, c_out: int, groups: int, kernel_size: int | tuple[int, int], stride: int
) -> None:
    layer = torch.nn.Conv2d(c_in, c_out, kernel_size, stride=stride, padding=2, groups=groups, device="meta")
    x = torch.empty(1, c_in, 7, 9, device="meta")
    height, width = layer(x).shape[2:]
    assert conv_macs(c_in, c_out, kernel_size, height, width, groups=groups) == _count_with_torch(layer, x)


@pytest.mark.parametrize("stride", [1, 2, 3], ids="s{}".format)
@pytest.mark.parametrize("kernel_size", [1, 3, 4, (1, 5)], ids="k{}".format)
@pytest.mark.parametrize(("c_in", "c_out", "groups"), CHANNELS, ids=str)
def test_transposed_convolution_counts_as_torch_does(
    c_in: int, c_out: int, groups: int, kernel_size: int | tuple[int, int], stride: int
) -> None:
    layer = torch.nn.ConvTranspose2d(c_in, c_out, kernel_size, stride=stride, groups=groups, device="meta")
    x = torch.empty(1, c_in, 7, 9, device="meta")
    assert transposed_conv_macs(c_in, c_out, kernel_size, 7, 9, groups=groups) == _count_with_torch(layer, x)


def test_macs_by_hand() -> None:
    assert conv_macs(2, 3, 3, 4, 5) == 2 * 3 * 9 * 20
    assert transposed_conv_macs(2, 3, (1, 4), 4, 5) == 2 * 3 * 4 * 20


@pytest.mark.parametrize("scale_factor", [2, 3, 4], ids="s{}".format)
def test_resize_convolution_costs_the_scale_squared_more(scale_factor: int) -> None:
    resized = conv_macs(8, 4, 3, scale_factor * 6, scale_factor * 5)
    assert resized == scale_factor**2 * transposed_conv_macs(8, 4, 3, 6, 5)


@pytest.mark.parametrize("position", range(5))
def test_values_below_one_are_named(position: int) -> None:
    arguments = [4, 4, 3, 8, 8]
    arguments[position] = 0
    for function, rows in ((conv_macs, "out_height"), (transposed_conv_macs, "in_height")):
        names = ["in_channels", "out_channels", "kernel_size", rows, rows.replace("height", "width")]
        with pytest.raises(UsageError, match=f"^{names[position]}: 0 is not a whole number"):
            function(*arguments)


def test_groups_divide_both_channels() -> None:
    with pytest.raises(UsageError, match="groups: 3 does not divide in_channels, 4"):
        conv_macs(4, 6, 3, 8, 8, groups=3)
    with pytest.raises(UsageError, match="groups: 4 does not divide out_channels, 6"):
        transposed_conv_macs(4, 6, 3, 8, 8, groups=4)
