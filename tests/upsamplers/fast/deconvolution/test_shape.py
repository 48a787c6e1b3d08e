"""What a transposed convolution is: read from a layer, measured, and computed as torch does."""

from typing import Any

import pytest
import torch
from torch import nn

from deconvbench.upsamplers.fast.deconvolution.shape import read_shape, run_plain

LAYERS: dict[str, dict[str, Any]] = {
    "k4": {"kernel_size": 4, "stride": 2, "padding": 1},
    "oblong": {"kernel_size": (3, 5), "stride": (2, 3), "padding": (0, 2), "output_padding": (1, 0), "groups": 2},
    "dilated": {"kernel_size": 3, "stride": 2, "dilation": 2, "bias": False},
}


@pytest.mark.parametrize("options", LAYERS.values(), ids=LAYERS)
def test_the_shape_is_the_layer_s(options: dict[str, Any]) -> None:
    conv, x = nn.ConvTranspose2d(4, 6, **options), torch.randn(2, 4, 5, 7)
    shape = read_shape(conv)
    y = conv(x)
    assert shape.out_channels == 6
    assert shape.measure_output((5, 7)) == list(y.shape[2:])
    assert torch.equal(run_plain(x, conv.weight, conv.bias, shape), y)


def test_another_output_padding_is_another_shape() -> None:
    shape = read_shape(nn.ConvTranspose2d(4, 6, 3, 2, 1))
    assert shape.pad_output([1, 0]).measure_output((5, 7)) == [10, 13]
    assert shape.pad_output([0, 0]) == shape
