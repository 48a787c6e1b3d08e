"""Figure 2."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deconvbench.plots.article.conv_matrices import describe_gram, draw_figure_2, tag_weights
from deconvbench.theory import conv_matrix, convolve, transposed_conv_matrix, transposed_convolve
from tests.plots.article.conftest import list_cells, list_outlines

Legible = Callable[[Figure], list[tuple[str, Any]]]


@pytest.fixture(scope="module")
def figure() -> Figure:
    return draw_figure_2()


SUBSCRIPTS = "₀₁₂₃₄₅₆₇₈₉"


def find_axes(figure: Figure, shape: tuple[int, int]) -> list[Axes]:
    """Axes with so many rows and columns of cells, in the order of drawing."""
    return [axes for axes in figure.axes if (round(axes.get_ylim()[0]), round(axes.get_xlim()[1])) == shape]


def read_matrix(axes: Axes, shape: tuple[int, int], weights: np.ndarray) -> np.ndarray:
    """Put the weights where their names were drawn."""
    values = []
    for text in [text.get_text() for text in axes.texts]:
        digits = [SUBSCRIPTS.index(letter) for letter in text[1:]]
        values.append(weights[digits[0], digits[1]] if text.startswith("w") else float(text))
    return np.array(values).reshape(shape)


def test_what_is_drawn_is_the_convolution_and_its_transpose(figure: Figure, assert_legible: Legible) -> None:
    assert_legible(figure)
    weights = np.random.default_rng(3).normal(size=(3, 3))
    (direct,), (transposed,) = find_axes(figure, (4, 16)), find_axes(figure, (16, 4))
    matrix, back = read_matrix(direct, (4, 16), weights), read_matrix(transposed, (16, 4), weights)
    np.testing.assert_array_equal(matrix, back.T)
    x, y = np.random.default_rng(4).normal(size=(4, 4)), np.random.default_rng(5).normal(size=(2, 2))
    np.testing.assert_allclose(matrix @ x.ravel(), convolve(x[None, None], weights[None, None]).ravel())
    np.testing.assert_allclose(back @ y.ravel(), transposed_convolve(y[None, None], weights[None, None]).ravel())


def test_rows_and_columns_are_named(figure: Figure) -> None:
    (direct,), (transposed,) = find_axes(figure, (4, 16)), find_axes(figure, (16, 4))
    names = [label.get_text() for label in direct.get_xticklabels()]
    assert names == [label.get_text() for label in transposed.get_yticklabels()]
    assert (names[0], names[15]) == ("x₀", "x₁₅")
    assert [label.get_text() for label in direct.get_yticklabels()] == ["y₀", "y₁", "y₂", "y₃"]


def test_a_colour_is_a_weight(figure: Figure) -> None:
    kernel = find_axes(figure, (3, 3))[0]
    colours = dict(zip([text.get_text() for text in kernel.texts], list_cells(kernel, (3, 3)), strict=True))
    assert len(set(colours.values())) == 9
    for shape in ((4, 16), (16, 4)):
        (axes,) = find_axes(figure, shape)
        cells = list_cells(axes, shape)
        for text, colour in zip([text.get_text() for text in axes.texts], cells, strict=True):
            assert colour == colours[text] if text != "0" else colour not in colours.values()


def test_the_first_position_is_outlined_throughout(figure: Figure) -> None:
    outlines = {shape: list_outlines(find_axes(figure, shape)[0]) for shape in ((4, 4), (2, 2), (4, 16), (16, 4))}
    assert outlines == {
        (4, 4): [(0, 0, 3, 3)],
        (2, 2): [(0, 0, 1, 1)],
        (4, 16): [(0, 0, 16, 1)],
        (16, 4): [(0, 0, 1, 16)],
    }


def test_the_product_is_not_the_identity(figure: Figure, assert_legible: Legible) -> None:
    gram, identity = find_axes(figure, (16, 16))
    ones = conv_matrix(np.ones((3, 3)), (4, 4))
    product = ones.T @ ones
    for axes, matrix in ((gram, product), (identity, np.eye(16))):
        (mesh,) = axes.collections
        np.testing.assert_array_equal(np.asarray(mesh.get_array()).reshape(16, 16), matrix)
        assert mesh.get_clim() == (0, product.max())
        assert axes.get_xlabel() == "input cell x₀ to x₁₅"
    key = [text.get_text() for text in find_axes(figure, (1, 4))[0].texts]
    assert key == [f"{value:.0f}" for value in np.unique(product)]
    assert any("CᵀC is not I (rank 4 of 16, random weights)" in text for text, _ in assert_legible(figure))


def test_the_rank_is_computed() -> None:
    assert {describe_gram(seed) for seed in range(5)} == {"rank 4 of 16"}
    np.testing.assert_array_equal(
        transposed_conv_matrix(tag_weights(), (2, 2)), conv_matrix(tag_weights(), (4, 4)).T
    )
    assert len(np.unique(tag_weights())) == 9
    assert tag_weights().all()
