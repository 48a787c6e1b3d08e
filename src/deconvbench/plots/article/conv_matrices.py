"""The article's Figure 2: a convolution written as a matrix C, and the transposed convolution as Cᵀ.

Every cell is read off the matrices that `deconvbench.theory` builds; nothing is drawn by hand, so the figure shows
what the tests check.
"""

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from deconvbench.plots.article.pixel_layout import LINE, MARGIN, fold, make_sheet, place_axes, write, write_heading
from deconvbench.plots.heatmap import draw_cells, make_shades
from deconvbench.plots.style import FONT_PT, INK, MUTED, figure_style
from deconvbench.theory import conv_matrix, conv_output_size, transposed_conv_matrix

INPUT_SIZE, KERNEL_SIZE = 4, 3
# a hue for each row of the kernel (Okabe and Ito's blue, vermilion and green), darker from left to right
_WEIGHT_COLOURS = (
    "#a9d3ec", "#4d9fd3", "#005f99",
    "#f8cdaa", "#e8935a", "#b84f00",
    "#a8e0cc", "#45b894", "#00714f",
)  # fmt: skip
_ZERO_COLOUR, _CELL_COLOUR = "#f1f1f1", "#dcdcdc"
_CELL = 54
_SMALL_CELL = 17
_DIGITS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")

Floats = npt.NDArray[np.float64]


def tag_weights() -> Floats:
    """Give each weight of the kernel a number, so that matrices made of them tell which weight stands where.

    Returns
    -------
    ndarray, shape (3, 3), float64
        1 to 9; in the matrices a 0 is not a weight.
    """
    return np.arange(1.0, KERNEL_SIZE**2 + 1).reshape(KERNEL_SIZE, KERNEL_SIZE)


def describe_gram(seed: int = 0) -> str:
    """Say in numbers that CᵀC is not the identity, for random weights.

    Parameters
    ----------
    seed : int
        Of the weights, normal with deviation 1.
    """
    weights = np.random.default_rng(seed).standard_normal((KERNEL_SIZE, KERNEL_SIZE))
    matrix = conv_matrix(weights, (INPUT_SIZE, INPUT_SIZE))
    cells = matrix.shape[1]
    return f"rank {np.linalg.matrix_rank(matrix.T @ matrix)} of {cells}"


def draw_figure_2() -> Figure:
    """Draw the convolution of a 4×4 input with a 3×3 kernel, its matrix C, Cᵀ, and CᵀC.

    Returns
    -------
    Figure

    References
    ----------
    The article's Figure 2; Dumoulin & Visin, 1603.07285, section 4.1.
    """
    tags = tag_weights()
    out_size = conv_output_size(INPUT_SIZE, KERNEL_SIZE)
    matrix = conv_matrix(tags, (INPUT_SIZE, INPUT_SIZE))
    transposed = transposed_conv_matrix(tags, (out_size, out_size))
    cells = matrix.shape[1]
    inputs, outputs = _name("x", cells), _name("y", matrix.shape[0])
    text, top = fold(
        f"Outlined: the kernel's first position, which gives {outputs[0]}: the first row of C, the first column "
        f"of Cᵀ. Cᵀ·y has the shape of x, but CᵀC is not I ({describe_gram()}, random weights): only the shape "
        "comes back, not x."
    )
    # the names of columns stand between a matrix and its title
    left, top = MARGIN + 44, top + LINE
    with figure_style():
        figure = make_sheet(top + cells * _CELL + MARGIN + LINE)
        write_heading(figure, "Figure 2: a convolution is a matrix C; the transposed convolution is Cᵀ", text)
        kernel_left = left + (INPUT_SIZE + 1) * _CELL
        out_left = kernel_left + (KERNEL_SIZE + 1) * _CELL
        _draw_map(figure, left, top, np.reshape(inputs, (INPUT_SIZE, -1)), "input x (4×4 cells)", KERNEL_SIZE)
        axes = _add_titled(figure, kernel_left, top, tags.shape, _CELL, "kernel w (3×3)")
        _draw_weights(axes, tags)
        _draw_map(figure, out_left, top, np.reshape(outputs, (out_size, -1)), "output y (2×2)", 1)
        for x, sign in ((kernel_left, "∗"), (out_left, "=")):
            write(
                figure, x - _CELL / 2, top + 1.5 * _CELL, sign, ha="center", va="center", fontsize=14,
            )  # fmt: skip
        middle = top + 11 * _CELL // 2
        axes = _add_titled(figure, left, middle, matrix.shape, _CELL, f"C ({_measure(matrix)}): y = C·x", LINE)
        _draw_weights(axes, matrix)
        _label(axes, outputs, inputs)
        _outline(axes, 1, cells)
        axes = _add_titled(
            figure, left + cells * _CELL + 108, top, transposed.shape, _CELL,
            f"Cᵀ ({_measure(transposed)}): Cᵀ·y", LINE,
        )  # fmt: skip
        _draw_weights(axes, transposed)
        _label(axes, inputs, outputs)
        _outline(axes, cells, 1)
        low = top + cells * _CELL - cells * _SMALL_CELL
        _draw_gram(figure, left, low)
    return figure


def _draw_gram(figure: Figure, left: int, top: int) -> None:
    """Draw CᵀC for weights that are all 1, with the identity beside it."""
    ones = conv_matrix(np.ones((KERNEL_SIZE, KERNEL_SIZE)), (INPUT_SIZE, INPUT_SIZE))
    gram = ones.T @ ones
    shades = make_shades(0, float(gram.max()))
    wide = len(gram) * _SMALL_CELL
    for place, (matrix, title) in enumerate(((gram, "CᵀC, all weights 1"), (np.eye(len(gram)), "I"))):
        axes = _add_titled(figure, left + place * (wide + _CELL), top, matrix.shape, _SMALL_CELL, title)
        # one mesh in place of cells without texts, of which there would be 512
        axes.pcolormesh(matrix, cmap=shades.cmap, vmin=0, vmax=gram.max(), edgecolors="white", linewidth=0.4)
        axes.set_ylim(len(matrix), 0)
        axes.spines[:].set_visible(False)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel("input cell x₀ to x₁₅", labelpad=3)
        if not place:
            axes.set_ylabel("input cell x₀ to x₁₅", labelpad=3)
    values = np.unique(gram)
    axes = _add_titled(figure, left + 2 * (wide + _CELL), top, (1, len(values)), _CELL, "value of an entry")
    draw_cells(axes, values[np.newaxis], np.array([[f"{value:.0f}" for value in values]]), shades)
    axes.set_xticks([])
    axes.set_yticks([])


def _measure(matrix: Floats) -> str:
    return f"{matrix.shape[0]}×{matrix.shape[1]}"


def _name(letter: str, count: int) -> list[str]:
    return [letter + str(index).translate(_DIGITS) for index in range(count)]


def _add_titled(
    figure: Figure, left: int, top: int, shape: tuple[int, ...], cell: int, title: str, above: int = 0
) -> Axes:
    """Add axes for a grid of cells, with a title above it and room for the names of its columns."""
    write(figure, left, top - LINE - above - 4, title, weight="bold")
    return place_axes(figure, left, top, shape[1] * cell, shape[0] * cell)


def _draw_map(figure: Figure, left: int, top: int, names: npt.NDArray[np.str_], title: str, marked: int) -> None:
    axes = _add_titled(figure, left, top, names.shape, _CELL, title)
    shades = ScalarMappable(cmap=ListedColormap([_CELL_COLOUR]))
    draw_cells(axes, np.zeros(names.shape), names, shades, font_pt=FONT_PT - 0.5)
    axes.set_xticks([])
    axes.set_yticks([])
    _outline(axes, marked, marked)


def _draw_weights(axes: Axes, tags: Floats) -> None:
    """Draw a matrix of tagged weights: each in its colour, with its name."""
    colours = ListedColormap([_ZERO_COLOUR, *_WEIGHT_COLOURS])
    shades = ScalarMappable(norm=BoundaryNorm(np.arange(-0.5, colours.N), colours.N), cmap=colours)
    texts = np.empty(tags.shape, dtype=object)
    for place, tag in np.ndenumerate(tags):
        texts[place] = "0" if tag == 0 else _name_weight(int(tag) - 1)
    draw_cells(axes, tags, texts, shades, font_pt=FONT_PT - 0.5)
    for text in axes.texts:
        if text.get_text() == "0":
            text.set_color(MUTED)
    axes.set_xticks([])
    axes.set_yticks([])


def _name_weight(index: int) -> str:
    row, column = divmod(index, KERNEL_SIZE)
    return "w" + f"{row}{column}".translate(_DIGITS)


def _label(axes: Axes, rows: list[str], columns: list[str]) -> None:
    axes.set_xticks(np.arange(len(columns)) + 0.5, labels=columns)
    axes.set_yticks(np.arange(len(rows)) + 0.5, labels=rows)
    axes.tick_params(length=0, pad=3, top=True, labeltop=True, bottom=False, labelbottom=False)


def _outline(axes: Axes, rows: int, columns: int) -> None:
    axes.add_patch(
        Rectangle((0, 0), columns, rows, fill=False, edgecolor=INK, linewidth=2, clip_on=False, zorder=4)
    )
