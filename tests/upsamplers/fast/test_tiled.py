"""The tiled form against its description, product by product, and how many products that takes."""

import itertools

import numpy as np
import numpy.typing as npt
import pytest
import torch

from deconvbench.upsamplers.fast.tiled import KERNEL_SIZE, MACS_PER_TILE, SCALE_FACTOR, prepare_tiled
from tests.upsamplers.fast.plain_form import Layer, draw, filled_memory, over_layouts

LAYER = Layer(form="tiled")
SIZES = [(1, 1), (1, 2), (2, 1), (2, 2), (3, 4), (4, 3), (5, 5)]
# the products a, b, e, f, g: weights of the taps, weights of x₋₁, x₀, x₁, x₂, and weights in y₀, y₁, y₂, y₃
PRODUCTS = {
    "a": ((1, 0, 0), (1, 0, -1, 0), (1, 0, 0, 0)),
    "b": ((0.5, 0.5, 0.5), (0, 1, 1, 0), (1, 1, 1, 1)),
    "e": ((0, 0, 1), (0, -1, 0, 1), (0, 0, 0, 1)),
    "f": ((-0.5, 0.5, 0.5), (0, -1, 1, 0), (-1, 0, 1, 0)),
    "g": ((0.5, 0.5, -0.5), (0, -1, 1, 0), (0, -1, 0, 1)),
}


def run_reference(x: npt.NDArray[np.float64], weight: npt.NDArray[np.float64]) -> tuple[object, int]:
    """Upsample one channel tile by tile, with zeros beyond the border, as the description says; count products."""
    height, width = x.shape
    rows, columns = -(-height // 2), -(-width // 2)
    padded = np.pad(x, ((1, 2 * rows - height + 1), (1, 2 * columns - width + 1)))
    y = np.zeros((4 * rows, 4 * columns))
    count = 0
    for row, column in itertools.product(range(rows), range(columns)):
        pixels = padded[2 * row : 2 * row + 4, 2 * column : 2 * column + 4]
        for along_rows, along_columns in itertools.product(PRODUCTS.values(), PRODUCTS.values()):
            taps_i, pixels_i, places_i = map(np.array, along_rows)
            taps_j, pixels_j, places_j = map(np.array, along_columns)
            product = (taps_i @ weight @ taps_j) * (pixels_i @ pixels @ pixels_j)
            count += 1
            y[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += product * np.outer(places_i, places_j)
    return y[: 2 * height, : 2 * width], count


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_description_is_right_and_counts_25_products_a_tile(height: int, width: int) -> None:
    x, conv = draw(1, 1, height, width), LAYER.make_conv(1, 1)
    assert conv.bias is not None
    with torch.no_grad():
        conv.bias.zero_()
        expected = LAYER.run_plain(conv, x)[0, 0].numpy()
        found, count = run_reference(x[0, 0].numpy(), conv.weight[0, 0].numpy())
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=1e-12)
    assert count == MACS_PER_TILE * -(-height // 2) * -(-width // 2)


def test_it_takes_fewer_products_than_a_transposed_convolution_of_the_same_kernel() -> None:
    assert (KERNEL_SIZE, SCALE_FACTOR) == (3, 2)
    assert MACS_PER_TILE == 25
    assert MACS_PER_TILE / 16 == 1.5625 < KERNEL_SIZE**2 / SCALE_FACTOR**2


def test_weights_are_products_by_columns_and_rows() -> None:
    weight = draw(2, 3, 3, 3)
    matrix = torch.tensor([taps for taps, _, _ in PRODUCTS.values()], dtype=torch.float64)
    expected = torch.einsum("it,jr,octr->jioc", matrix, matrix, weight)
    torch.testing.assert_close(prepare_tiled(weight), expected, rtol=1e-12, atol=1e-12)


@over_layouts
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_what_is_thrown_away_does_not_matter(height: int, width: int, layout: torch.memory_format) -> None:
    conv, x = LAYER.make_conv(2, 3), draw(2, 2, height, width).contiguous(memory_format=layout)
    with torch.no_grad():
        expected = LAYER.run_plain(conv, x)
        with filled_memory():
            found = LAYER.run_form(conv, x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
