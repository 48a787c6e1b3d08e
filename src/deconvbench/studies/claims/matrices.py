"""Claims 1 to 3: convolution and transposed convolution as matrices, and as upsampling followed by a convolution.

Each identity is tried with random weights on a grid of kernels, strides and paddings, the definitions of `theory`
against what torch computes. Exact statements: the limit is rounding.
"""

from collections.abc import Iterator
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from deconvbench import theory
from deconvbench.studies.claims.claim import Context, Evidence, Finding, Verdict
from deconvbench.studies.claims.judging import Part, conclude, list_effects, needs, read_number, write_number

# relative; float64 leaves 1e-14 after sums of some hundred products
EXACT = 1e-10
# the article's kernels and strides and those around them; stride 1 is that of its Figure 2
KERNEL_SIZES = range(2, 9)
STRIDES = range(1, 5)
_FIGURE_2 = {"kernel_size": 3, "size": 4}
_RUN = "run: deconvbench claims"

Floats = NDArray[np.float64]


def _list_geometries() -> Iterator[tuple[int, int, int, int]]:
    """Kernel, stride, padding, and a side that the stride does not divide for every kernel."""
    for kernel_size in KERNEL_SIZES:
        for stride in STRIDES:
            for padding in range(kernel_size):
                yield kernel_size, stride, padding, max(1, kernel_size - 2 * padding) + stride + 1


def _compare(found: Floats, wanted: Floats) -> float:
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def _as_maps(values: Floats, side: int) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).reshape(1, 1, side, side)


def measure_transpose(context: Context) -> Evidence:
    """Compare C·x and Cᵀ·y with torch's convolution, its gradient and its transposed convolution.

    Parameters
    ----------
    context : Context
        Not read.

    Returns
    -------
    dict
        Largest relative differences over `combinations` of (k, s, p), and the size of C in the article's Figure 2.
    """
    del context
    rng = np.random.default_rng(1)
    errors: dict[str, list[float]] = {"convolution": [], "backward": [], "transposed": []}
    for kernel_size, stride, padding, side in _list_geometries():
        kernel = rng.standard_normal((kernel_size, kernel_size))
        matrix = theory.conv_matrix(kernel, (side, side), stride=stride, padding=padding)
        small = theory.conv_output_size(side, kernel_size, stride=stride, padding=padding)
        x, y = rng.standard_normal(side**2), rng.standard_normal(small**2)
        weight, maps = torch.from_numpy(kernel)[None, None], _as_maps(x, side).requires_grad_()
        with torch.enable_grad():
            answered = functional.conv2d(maps, weight, stride=stride, padding=padding)
            (gradient,) = torch.autograd.grad(answered, maps, _as_maps(y, small))
        rest = side - theory.transposed_conv_output_size(small, kernel_size, stride=stride, padding=padding)
        transposed = functional.conv_transpose2d(
            _as_maps(y, small), weight, stride=stride, padding=padding, output_padding=rest
        )
        errors["convolution"].append(_compare(matrix @ x, answered.detach().numpy().ravel()))
        errors["backward"].append(_compare(matrix.T @ y, gradient.numpy().ravel()))
        errors["transposed"].append(_compare(matrix.T @ y, transposed.numpy().ravel()))
    side = _FIGURE_2["size"]
    rows, columns = theory.conv_matrix(np.ones((_FIGURE_2["kernel_size"],) * 2), (side, side)).shape
    return {
        "combinations": len(errors["convolution"]),
        **{f"{name}_largest_relative_error": max(values) for name, values in errors.items()},
        "figure_2_rows": rows,
        "figure_2_columns": columns,
    }


_TRANSPOSE_NAMES = tuple(f"{name}_largest_relative_error" for name in ("convolution", "backward", "transposed"))


@needs((*_TRANSPOSE_NAMES, "combinations", "figure_2_rows", "figure_2_columns"), _RUN)
def judge_transpose(evidence: Evidence) -> Finding:
    """Ask whether C, its use in the backward pass and the transposed convolution are all exact.

    Parameters
    ----------
    evidence : mapping
        From `measure_transpose`.
    """
    exact = [read_number(evidence, name) <= EXACT for name in _TRANSPOSE_NAMES]
    what = ("the convolution by C", "its backward pass by Cᵀ", "the transposed convolution by Cᵀ")
    right = [text for text, is_exact in zip(what, exact, strict=True) if is_exact]
    largest = write_number(max(read_number(evidence, name) for name in _TRANSPOSE_NAMES))
    size = "×".join(f"{read_number(evidence, f'figure_2_{name}'):.0f}" for name in ("rows", "columns"))
    sentence = (
        f"In {read_number(evidence, 'combinations'):.0f} combinations of kernel, stride and padding these are "
        f"exact: {', '.join(right) or 'none'} (largest relative difference from torch: {largest}); in Figure 2 C "
        f"is {size}."
    )
    return conclude(
        list(zip(what, exact, strict=True)),
        sentence,
        effects=list_effects(
            evidence, {name: (f"error of {text}", "") for name, text in zip(_TRANSPOSE_NAMES, what, strict=True)}
        ),
        size=_describe_size(evidence),
    )


def _describe_size(evidence: Evidence) -> str:
    return f"{read_number(evidence, 'combinations'):.0f} combinations, float64"


def measure_reversal(context: Context) -> Evidence:
    """Transpose Cᵀ again, and send random inputs through C and back through Cᵀ, to see what is lost of each.

    Parameters
    ----------
    context : Context
        Not read.

    Returns
    -------
    dict
        Over `combinations` of (k, s, p): how often transposing a second time, as torch does for the gradient of a
        transposed convolution, gives C again, and the largest relative error of that; how often the shape comes
        back; the relative error of the input that comes back, at the gain that suits it best; how often that is
        none. For the article's Figure 2 the rank of
        C, and the distance of CᵀC from I (Frobenius, relative, at the best gain).
    """
    del context
    rng = np.random.default_rng(2)
    errors, again, shapes = [], [], 0
    for kernel_size, stride, padding, side in _list_geometries():
        kernel = rng.standard_normal((kernel_size, kernel_size))
        matrix = theory.conv_matrix(kernel, (side, side), stride=stride, padding=padding)
        small = theory.conv_output_size(side, kernel_size, stride=stride, padding=padding)
        x = rng.standard_normal(side**2)
        rest = side - theory.transposed_conv_output_size(small, kernel_size, stride=stride, padding=padding)
        back = theory.transposed_convolve(
            (matrix @ x).reshape(1, 1, small, small),
            kernel[None, None],
            stride=stride,
            padding=padding,
            output_padding=rest,
        )
        shapes += back.shape == (1, 1, side, side)
        errors.append(_find_distance(back.ravel(), x))
        again.append(_compare(_transpose_twice(kernel, x, small, stride, padding, rest), matrix @ x))
    side = _FIGURE_2["size"]
    kernel = rng.standard_normal((_FIGURE_2["kernel_size"],) * 2)
    matrix = theory.conv_matrix(kernel, (side, side))
    return {
        "combinations": len(errors),
        "matrices_restored": sum(error <= EXACT for error in again),
        "matrix_largest_relative_error": max(again),
        "shapes_restored": shapes,
        "inputs_restored": sum(error <= EXACT for error in errors),
        "least_relative_error": min(errors),
        "median_relative_error": median(errors),
        "figure_2_rank": int(np.linalg.matrix_rank(matrix)),
        "figure_2_unknowns": side**2,
        "figure_2_distance_from_identity": _find_distance((matrix.T @ matrix).ravel(), np.eye(side**2).ravel()),
    }


def _transpose_twice(kernel: Floats, x: Floats, small: int, stride: int, padding: int, rest: int) -> Floats:
    """Multiply by the transposed of what torch's transposed convolution multiplies by."""
    maps = torch.zeros(1, 1, small, small, dtype=torch.float64, requires_grad=True)
    weight = torch.from_numpy(kernel)[None, None]
    with torch.enable_grad():
        grown = functional.conv_transpose2d(maps, weight, stride=stride, padding=padding, output_padding=rest)
        (gradient,) = torch.autograd.grad(grown, maps, _as_maps(x, grown.shape[-1]))
    return gradient.numpy().ravel()


def _find_distance(found: Floats, wanted: Floats) -> float:
    """Relative distance at the gain that makes it least."""
    gain = float(found @ wanted) / float(found @ found)
    return float(np.linalg.norm(gain * found - wanted) / np.linalg.norm(wanted))


@needs(
    (
        "combinations",
        "matrices_restored",
        "shapes_restored",
        "inputs_restored",
        "least_relative_error",
        "median_relative_error",
        "figure_2_rank",
        "figure_2_unknowns",
        "figure_2_distance_from_identity",
    ),
    _RUN,
)
def judge_reversal(evidence: Evidence) -> Finding:
    """Ask the two things that the article says: of the matrix, and in the caption of what it was multiplied by.

    Transposing the matrix is reversible where transposing twice gives C again, whatever it is; the convolution is
    undone where the input itself comes back.

    Parameters
    ----------
    evidence : mapping
        From `measure_reversal`.
    """
    restored, total = read_number(evidence, "inputs_restored"), read_number(evidence, "combinations")
    twice = read_number(evidence, "matrices_restored")
    shapes = read_number(evidence, "shapes_restored")
    least, middle, away = (
        f"{read_number(evidence, name):.0%}"
        for name in ("least_relative_error", "median_relative_error", "figure_2_distance_from_identity")
    )
    rank, unknowns = (f"{read_number(evidence, f'figure_2_{name}'):.0f}" for name in ("rank", "unknowns"))
    sentence = (
        f"Transposing the matrix {'is' if twice == total else 'is not'} reversible: twice gives C again in "
        f"{twice:.0f} of {total:.0f} combinations; it {'undoes' if restored == total else 'does not undo'} "
        f"the convolution: the shape comes back in {shapes:.0f}, the input in {restored:.0f}, and after C and Cᵀ "
        f"it is off by {least} at least (median {middle}); in Figure 2 C has rank {rank} for {unknowns} unknowns, "
        f"and CᵀC is {away} away from I."
    )
    undoes: Part = Verdict.PARTLY if 0 < restored < total else restored == total
    return conclude(
        [("transposing the matrix is reversible", twice == total), ("it undoes the convolution", undoes)],
        sentence,
        effects=list_effects(
            evidence,
            {
                "matrix_largest_relative_error": ("error of transposing twice", ""),
                "least_relative_error": ("least error of the input", ""),
            },
        ),
        size=_describe_size(evidence),
    )


def measure_equivalence(context: Context) -> Evidence:
    """Write transposed convolutions as upsampling followed by a convolution, with zeros and with repeated pixels.

    Parameters
    ----------
    context : Context
        Not read.

    Returns
    -------
    dict
        Zero insertion: largest relative difference from torch over `combinations` of kernel, stride, padding and
        output padding, with any weights. Nearest neighbours: what is left of a kernel, relative, after the best
        fit by a convolution behind them, for random kernels (least) and for those that the box of s ones divides
        (largest); and how far nearest neighbours with a convolution are from the transposed convolution that they
        are (largest).
    """
    del context
    rng = np.random.default_rng(3)
    zero = list(_compare_zero_insertion(rng))
    pairs = [(kernel_size, s) for s in STRIDES if s > 1 for kernel_size in KERNEL_SIZES if kernel_size >= s]
    random: list[float] = []
    divisible: list[float] = []
    for kernel_size, stride in pairs:
        box = _make_box_matrix(kernel_size, stride)
        fit = box @ np.linalg.pinv(box)
        for kernels, rests in (
            (rng.standard_normal((kernel_size, kernel_size)), random),
            (box @ rng.standard_normal((box.shape[1],) * 2) @ box.T, divisible),
        ):
            rests.append(float(np.linalg.norm(kernels - fit @ kernels @ fit.T) / np.linalg.norm(kernels)))
    return {
        "combinations": len(zero),
        "zero_insertion_largest_relative_error": max(zero),
        "nearest_random_kernels_least_residual": min(random),
        "nearest_divisible_kernels_largest_residual": max(divisible),
        "nearest_as_transposed_largest_relative_error": max(_compare_nearest(rng)),
    }


def _compare_zero_insertion(rng: np.random.Generator) -> Iterator[float]:
    side, in_channels, out_channels = 5, 2, 3
    for kernel_size, stride, padding, _ in _list_geometries():
        for output_padding in range(stride):
            if (side - 1) * stride - 2 * padding + kernel_size + output_padding < 1:
                continue
            weight = rng.standard_normal((in_channels, out_channels, kernel_size, kernel_size))
            x = rng.standard_normal((1, in_channels, side, side))
            transposed = functional.conv_transpose2d(
                torch.from_numpy(x),
                torch.from_numpy(weight),
                stride=stride,
                padding=padding,
                output_padding=output_padding,
            )
            margin = kernel_size - 1 - padding
            spread = theory.zero_insert(x, stride, output_padding)
            upsampled = theory.pad_or_crop(spread, (margin, margin), (margin, margin))
            direct = torch.from_numpy(theory.flip_kernel(weight))
            yield _compare(functional.conv2d(torch.from_numpy(upsampled), direct).numpy(), transposed.numpy())


def _make_box_matrix(kernel_size: int, stride: int) -> Floats:
    """Matrix that convolves a quotient of k − s + 1 taps with the box of s ones, along one axis."""
    columns = kernel_size - stride + 1
    offset = np.subtract.outer(np.arange(kernel_size), np.arange(columns))
    return ((offset >= 0) & (offset < stride)).astype(np.float64)


def _compare_nearest(rng: np.random.Generator) -> Iterator[float]:
    for stride in STRIDES:
        for kernel_size in KERNEL_SIZES:
            if kernel_size % 2 == 0:
                continue
            weight, x = rng.standard_normal((3, 2, kernel_size, kernel_size)), rng.standard_normal((1, 2, 5, 5))
            large = torch.from_numpy(x).repeat_interleave(stride, -1).repeat_interleave(stride, -2)
            padding = (kernel_size - 1) // 2
            resized = functional.conv2d(large, torch.from_numpy(weight), padding=padding)
            kernel = torch.from_numpy(theory.nearest_conv_kernel(weight, stride))
            found = functional.conv_transpose2d(torch.from_numpy(x), kernel, stride=stride, padding=padding)
            yield _compare(found.numpy(), resized.numpy())


@needs(
    (
        "combinations",
        "zero_insertion_largest_relative_error",
        "nearest_random_kernels_least_residual",
        "nearest_divisible_kernels_largest_residual",
        "nearest_as_transposed_largest_relative_error",
    ),
    _RUN,
)
def judge_equivalence(evidence: Evidence) -> Finding:
    """Ask whether some upsampling serves every kernel, and whether the one that is recommended is one of them.

    The claim says "upsampling in some way": zeros in between are one, and decide whether it holds at all. That
    nearest neighbours, which the article recommends as its equivalent, serve some kernels only takes nothing away
    from it; if they did not even serve those, or were not a transposed convolution, the claim would hold in part.

    Parameters
    ----------
    evidence : mapping
        From `measure_equivalence`.
    """
    zero = read_number(evidence, "zero_insertion_largest_relative_error")
    left = read_number(evidence, "nearest_random_kernels_least_residual")
    divisible = read_number(evidence, "nearest_divisible_kernels_largest_residual")
    reverse = read_number(evidence, "nearest_as_transposed_largest_relative_error")
    nearest = f"nearest neighbours leave at least {left:.0%} of a random kernel"
    if left <= EXACT:
        nearest = "nearest neighbours serve any kernel too"
    elif divisible <= EXACT:
        nearest += f" and nothing ({write_number(divisible)}) of one that the box of s ones divides"
    way = "is" if reverse <= EXACT else "is not"
    sentence = (
        f"Zeros between the inputs and a convolution give every transposed convolution to {write_number(zero)} in "
        f"{read_number(evidence, 'combinations'):.0f} combinations, any weights; {nearest}; the other way round, "
        f"a nearest resize-convolution {way} always a transposed convolution (to {write_number(reverse)})."
    )
    return conclude(
        [
            ("zeros between the inputs serve every kernel", zero <= EXACT),
            ("nearest neighbours serve kernels that a box divides", divisible <= EXACT and reverse <= EXACT),
        ],
        sentence,
        effects=list_effects(
            evidence,
            {
                "zero_insertion_largest_relative_error": ("error with zeros", ""),
                "nearest_random_kernels_least_residual": ("least share that nearest leaves", ""),
            },
        ),
        size=_describe_size(evidence),
    )
