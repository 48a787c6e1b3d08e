"""The minimal form against its description, product by product, and how many products that takes."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
import torch

from deconvbench.upsamplers.fast.minimal import prepare_minimal, product_matrix
from tests.upsamplers.fast.plain_form import Layer, draw, filled_memory, over, over_layouts

SIZES = [(k, s) for k in (1, 3, 5, 7, 9) for s in (2, 3, 4, 5)]
LAYERS = [Layer(form="minimal", kernel_size=k, scale_factor=s) for k, s in SIZES]


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """One product along an axis: its weights, whether it is with a difference, its phase (None: all)."""

    taps: tuple[float, ...]
    tap: int | None
    phase: int | None


def list_products(kernel_size: int, scale_factor: int) -> list[Product]:
    """List S, −(w₀ + … + w_t) for t < l and w_t + … + w_{k−1} for t > l."""
    l = (kernel_size - 1) // 2  # noqa: E741 -- its name in the description
    products = [Product(taps=(1.0,) * kernel_size, tap=None, phase=None)]
    for t in range(kernel_size):
        before, after = [float(i <= t) for i in range(kernel_size)], [float(i >= t) for i in range(kernel_size)]
        if t < l:
            products.append(Product(taps=tuple(-v for v in before), tap=t, phase=(l - 1 - t) % scale_factor))
        if t > l:
            products.append(Product(taps=tuple(after), tap=t, phase=(l - t) % scale_factor))
    return products


def find_shift(product: Product, kernel_size: int, scale_factor: int) -> int:
    assert product.tap is not None
    assert product.phase is not None
    l = (kernel_size - 1) // 2  # noqa: E741
    step = product.phase + product.tap - l
    return math.floor((step + 1 if product.tap < l else step) / scale_factor)


def run_reference(x: npt.NDArray[np.float64], weight: npt.NDArray[np.float64], s: int) -> tuple[object, int]:
    """Upsample one channel as the description says, with zeros beyond the border; and count the products."""
    k = len(weight)
    height, width = x.shape
    products = list_products(k, s)
    y = np.zeros((s * height, s * width))
    count = 0

    def pixel(row: int, column: int) -> float:
        return float(x[row, column]) if 0 <= row < height and 0 <= column < width else 0.0

    def value(row_product: Product, column_product: Product, row: int, column: int) -> float:
        rows = [(row, 1)] if row_product.tap is None else [(row, 1), (row - 1, -1)]
        columns = [(column, 1)] if column_product.tap is None else [(column, 1), (column - 1, -1)]
        return sum(a * b * pixel(i, j) for i, a in rows for j, b in columns)

    for n, m in itertools.product(range(height), range(width)):
        for row_product, column_product in itertools.product(products, products):
            row = n if row_product.tap is None else n + find_shift(row_product, k, s)
            column = m if column_product.tap is None else m + find_shift(column_product, k, s)
            tap = np.array(row_product.taps) @ weight @ np.array(column_product.taps)
            product = tap * value(row_product, column_product, row, column)
            count += 1
            for i in range(s) if row_product.phase is None else (row_product.phase,):
                for j in range(s) if column_product.phase is None else (column_product.phase,):
                    y[s * n + i, s * m + j] += product
    return y, count


@pytest.mark.parametrize("scale_factor", [2, 3, 4])
def test_products_of_kernel_3(scale_factor: int) -> None:
    assert product_matrix(3, scale_factor) == ((1, 1, 1), (-1, 0, 0), (0, 0, 1))


@pytest.mark.parametrize(
    ("kernel_size", "expected"),
    [
        (1, [[1]]),
        (5, [[1, 1, 1, 1, 1], [-1, 0, 0, 0, 0], [-1, -1, 0, 0, 0], [0, 0, 0, 1, 1], [0, 0, 0, 0, 1]]),
    ],
    ids=["k1", "k5"],
)
def test_products_of_other_kernels(kernel_size: int, expected: list[list[int]]) -> None:
    np.testing.assert_array_equal(product_matrix(kernel_size, 2), expected)


@over(LAYERS)
def test_the_description_is_right_and_counts_k_squared_products(layer: Layer) -> None:
    x, conv = draw(1, 1, 3, 4), layer.make_conv(1, 1)
    assert conv.bias is not None
    with torch.no_grad():
        conv.bias.zero_()
        expected = layer.run_plain(conv, x)[0, 0].numpy()
        found, count = run_reference(x[0, 0].numpy(), conv.weight[0, 0].numpy(), layer.scale_factor)
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=1e-12)
    assert count == layer.kernel_size**2 * x.numel()


@over(LAYERS)
def test_weights_are_products_by_rows_and_columns(layer: Layer) -> None:
    weight = draw(2, 3, layer.kernel_size, layer.kernel_size)
    matrix = torch.tensor([p.taps for p in list_products(layer.kernel_size, layer.scale_factor)]).double()
    expected = torch.einsum("it,jr,octr->ijoc", matrix, matrix, weight)
    found = prepare_minimal(weight, layer.scale_factor)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@over_layouts
@over(LAYERS)
def test_what_is_thrown_away_does_not_matter(layer: Layer, layout: torch.memory_format) -> None:
    conv, x = layer.make_conv(2, 3), draw(2, 2, 3, 4).contiguous(memory_format=layout)
    with torch.no_grad():
        expected = layer.run_plain(conv, x)
        with filled_memory():
            found = layer.run_form(conv, x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
