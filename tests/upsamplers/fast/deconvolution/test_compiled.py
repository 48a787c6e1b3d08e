"""Which transposed convolutions the compiled form has, and how much memory it may take for them."""

from typing import Any

import pytest
import torch

from deconvbench.upsamplers.fast.deconvolution.compiled import (
    fits_compiled,
    go_back_compiled,
    has_compiled,
    has_plan,
    is_supported,
)
from deconvbench.upsamplers.fast.deconvolution.shape import read_shape
from tests.upsamplers.fast.deconvolution.pairs import LAYERS, draw, make_layer

usually_compiled = pytest.mark.usefixtures("native")


@usually_compiled
@pytest.mark.parametrize("name", LAYERS)
def test_it_has_its_layers(name: str) -> None:
    layer = make_layer(**LAYERS[name])
    shape = read_shape(layer)
    assert is_supported(shape)
    assert has_compiled(draw(1, 8, 3, 3), layer.weight, shape)
    # of as much output as torch allows it is not
    assert is_supported(shape.pad_output((1, 1))) is (layer.kernel_size[0] in {3, 5})


@usually_compiled
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 4, "stride": 2},
        {"kernel_size": 7, "stride": 2, "padding": 3},
        {"kernel_size": 4, "stride": 4, "padding": 1},
        {"kernel_size": (4, 3), "stride": 2, "padding": 1},
        {"kernel_size": 4, "stride": (2, 1), "padding": 1},
        {"kernel_size": 4, "stride": 2, "padding": (1, 2)},
        {"kernel_size": 4, "stride": 2, "padding": 1, "dilation": 2},
    ],
    ids=str,
)
def test_others_it_has_not(options: dict[str, Any]) -> None:
    assert not is_supported(read_shape(make_layer(**options)))


@usually_compiled
def test_tensors_that_it_does_not_take() -> None:
    layer = make_layer()
    shape = read_shape(layer)
    for x in (draw(1, 8, 3, 3).double(), torch.empty(0, 8, 3, 3), torch.empty(1, 8, 3, 3, device="meta")):
        assert not has_compiled(x, layer.weight, shape)


def test_it_has_none_where_it_was_not_compiled() -> None:
    assert not has_plan((4, 4), (2, 2), (1, 1), (1, 1))


@usually_compiled
def test_it_may_take_what_torch_takes_to_reorder() -> None:
    # three outputs with the channels first, and the weight alone with the channels last
    first, last = draw(1, 16, 96, 96), draw(1, 16, 96, 96).contiguous(memory_format=torch.channels_last)
    layer = make_layer(16, 8)
    shape = read_shape(layer)
    assert fits_compiled(first, layer.weight, shape, is_prepared=False)
    assert not fits_compiled(last[..., :8, :8], layer.weight, shape, is_prepared=False)


@usually_compiled
def test_gradients_of_gradients_are_not_its_own() -> None:
    layer, x = make_layer(32, 16), draw(1, 32, 64, 64)
    shape, gradient = read_shape(layer), draw(1, 16, 128, 128)
    assert go_back_compiled(x, layer.weight, gradient, shape, (True, True)) is None
    with torch.no_grad():
        found = go_back_compiled(x, layer.weight, gradient, shape, (True, False))
    assert found is not None
    assert found[0] is not None
    assert found[0].shape == x.shape
    assert found[1] is None
