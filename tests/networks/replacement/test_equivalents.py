"""Every layer that is read equals the transposed convolution that it is read as, in float64 to 1e-10."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from deconvbench.networks.replacement.equivalents import BILINEAR_BORDER, read_equivalent, to_array
from deconvbench.networks.replacement.finding import find_layers
from deconvbench.networks.replacement.kernels import Equivalent
from deconvbench.networks.replacement.specification import Specification
from deconvbench.networks.replacement.tree import ModuleTree
from tests.networks.replacement.layers import (
    compute,
    draw_input,
    resize_layers,
    subpixel_layers,
    transposed_layers,
    wrap,
)

# torch's remark on the price of such a padding
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")


def read(layer: nn.Module, source: str) -> Equivalent:
    model = layer if isinstance(layer, nn.Sequential) else wrap(layer)
    found, left = find_layers(ModuleTree(model), Specification(source=source, target="subpixel"))
    assert not left
    return read_equivalent(found[0])


def has_output(layer: nn.Module, size: tuple[int, int]) -> bool:
    try:
        return bool(min(layer(draw_input(size)).shape[2:]) > 0)
    except RuntimeError:
        return False


@given(layer=transposed_layers(), size=st.tuples(st.integers(1, 5), st.integers(1, 5)))
@settings(deadline=None, max_examples=80)
def test_transposed_convolutions(layer: nn.Module, size: tuple[int, int]) -> None:
    assume(has_output(layer, size))
    x = draw_input(size)
    torch.testing.assert_close(compute(read(layer, "transposed"), x), layer(x), rtol=1e-10, atol=1e-10)


@given(layer=subpixel_layers(), size=st.tuples(st.integers(1, 9), st.integers(1, 9)))
@settings(deadline=None, max_examples=80)
def test_subpixel_convolutions(layer: nn.Module, size: tuple[int, int]) -> None:
    assume(has_output(layer, size))
    x = draw_input(size)
    torch.testing.assert_close(compute(read(layer, "subpixel"), x), layer(x), rtol=1e-10, atol=1e-10)


@given(layer=resize_layers(("nearest", "nearest-exact")), size=st.tuples(st.integers(1, 9), st.integers(1, 9)))
@settings(deadline=None, max_examples=80)
def test_nearest_resize_convolutions(layer: nn.Module, size: tuple[int, int]) -> None:
    assume(has_output(layer, size))
    x = draw_input(size)
    torch.testing.assert_close(compute(read(layer, "nearest_conv"), x), layer(x), rtol=1e-10, atol=1e-10)


@given(layer=resize_layers(("bilinear",)))
@settings(deadline=None, max_examples=40)
def test_bilinear_resize_convolutions_away_from_the_border(layer: nn.Module) -> None:
    # what is zero near the border is the same whether zeros or the outermost pixel come after it
    x = torch.nn.functional.pad(draw_input((5, 6)), (2, 2, 2, 2))
    equivalent = read(layer, "bilinear_conv")
    torch.testing.assert_close(compute(equivalent, x), layer(x), rtol=1e-10, atol=1e-10)
    assert equivalent.border == BILINEAR_BORDER


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
def test_arrays_are_copies_in_double_precision(dtype: torch.dtype) -> None:
    weight = nn.Parameter(torch.tensor([0.5, 3.0], dtype=dtype))
    array = to_array(weight)
    array[0] = 7
    assert array.dtype == "float64"
    assert weight.tolist() == [0.5, 3.0]
