"""How often a transposed convolution visits each output pixel, and how uneven that is.

The article's explanation of the checkerboard, in whole numbers: all kernel weights and inputs are one, so an
output pixel counts the kernel positions that reach it. Geometry only: weights never enter here.
"""

import math
from collections.abc import Sequence

import numpy as np

from deconvbench.errors import UsageError
from deconvbench.theory._checks import IntArray, check_int


def visit_counts(kernel_size: int, stride: int, size: int) -> IntArray:
    """Visits of each output pixel along one axis, uncropped, borders included.

    Parameters
    ----------
    kernel_size, stride : int
        Kernel size k and stride s of the transposed convolution.
    size : int
        Input pixels along the axis.

    Returns
    -------
    ndarray, shape ((size - 1)·s + k,), int64
        Number of kernel positions that reach each output pixel.

    Raises
    ------
    UsageError
        If an argument is below 1.

    Examples
    --------
    >>> visit_counts(3, 2, 3).tolist()
    [1, 1, 2, 1, 2, 1, 1]
    """
    _check_layer(kernel_size, stride)
    check_int("size", size, 1)
    counts = np.zeros((size - 1) * stride + kernel_size, dtype=np.int64)
    for position in range(0, size * stride, stride):
        counts[position : position + kernel_size] += 1
    return counts


def overlap_map(kernel_size: int, stride: int, size: int) -> IntArray:
    """Visits of each output pixel in two dimensions, uncropped, borders included.

    Parameters
    ----------
    kernel_size, stride : int
        Kernel size k and stride s, the same for both axes.
    size : int
        Input pixels along each axis.

    Returns
    -------
    ndarray, shape (L, L), L = (size - 1)·s + k, int64
        Number of kernel positions that reach each output pixel.

    Raises
    ------
    UsageError
        If an argument is below 1.

    References
    ----------
    The article's Figures 4 (k=3, s=2) and 6 (k=4, s=2).
    """
    counts = visit_counts(kernel_size, stride, size)
    return np.multiply.outer(counts, counts)


def phase_counts(kernel_size: int, stride: int) -> IntArray:
    """Visits of an interior output pixel, for each of the s phases of one axis.

    Parameters
    ----------
    kernel_size, stride : int
        Kernel size k and stride s.

    Returns
    -------
    ndarray, shape (s,), int64
        Entry φ counts the taps t with t ≡ φ (mod s): ⌈(k-φ)/s⌉. Their sum is k. Phases are those of the
        uncropped output; cropping by the padding rotates them.

    Raises
    ------
    UsageError
        If an argument is below 1.

    Examples
    --------
    >>> phase_counts(3, 2).tolist(), phase_counts(4, 2).tolist()
    ([2, 1], [2, 2])
    """
    _check_layer(kernel_size, stride)
    return np.bincount(np.arange(kernel_size) % stride, minlength=stride).astype(np.int64)


def overlap_cv(kernel_size: int, stride: int, dims: int = 2) -> float:
    """Coefficient of variation of the visit counts over the phases, in closed form.

    With r = k mod s, one axis has CV₁ = √(r(s-r))/k; d axes have √((1+CV₁²)^d - 1).

    Parameters
    ----------
    kernel_size, stride : int
        Kernel size k and stride s, the same for all axes.
    dims : int
        Number of axes.

    Returns
    -------
    float
        At least 0; 0 (best) exactly where the stride divides the kernel size.

    Raises
    ------
    UsageError
        If an argument is below 1.

    References
    ----------
    Odena et al., Deconvolution and Checkerboard Artifacts, Distill 2016 (the rule k % s = 0).

    Examples
    --------
    >>> round(overlap_cv(3, 2), 4), overlap_cv(4, 2)
    (0.4843, 0.0)
    """
    _check_layer(kernel_size, stride)
    remainder = kernel_size % stride
    return _spread_over_axes(remainder * (stride - remainder) / kernel_size**2, dims)


def stacked_phase_counts(layers: Sequence[tuple[int, int]]) -> IntArray:
    """Visits of an interior output pixel behind several transposed convolutions, over one period of one axis.

    Parameters
    ----------
    layers : sequence of (kernel_size, stride)
        From input to output; at least one.

    Returns
    -------
    ndarray, shape (product of the strides,), int64
        Number of paths from the input to each phase of the uncropped output. Cropping in between rotates what
        follows, so compare up to rotation.

    Raises
    ------
    UsageError
        If there is no layer, a kernel or stride is below 1, or the counts may exceed 64 bits.

    Examples
    --------
    >>> stacked_phase_counts([(3, 2), (3, 2)]).tolist()
    [3, 2, 3, 1]
    """
    if not layers:
        raise UsageError("layers: an empty sequence has no overlap; at least one (kernel_size, stride) is needed")
    for kernel_size, stride in layers:
        _check_layer(kernel_size, stride)
    paths = math.prod(kernel_size for kernel_size, _ in layers)
    if paths > np.iinfo(np.int64).max:
        raise UsageError(
            f"layers: {len(layers)} layers have up to {paths:.3g} paths; at most 2^63 - 1 are counted"
        )
    counts = np.ones(1, dtype=np.int64)
    for kernel_size, stride in layers:
        spread = np.zeros(counts.size * stride, dtype=np.int64)
        spread[::stride] = counts
        # one period stands for the endless signal, so shifting past its end comes in at its start
        counts = np.zeros_like(spread)
        for tap in range(kernel_size):
            counts += np.roll(spread, tap)
    return counts


def stacked_overlap_cv(layers: Sequence[tuple[int, int]], dims: int = 2) -> float:
    """Coefficient of variation of the visit counts behind several transposed convolutions.

    Parameters
    ----------
    layers : sequence of (kernel_size, stride)
        From input to output; at least one.
    dims : int
        Number of axes, all with the same layers.

    Returns
    -------
    float
        At least 0, best 0.

    Raises
    ------
    UsageError
        As `stacked_phase_counts`; or if `dims` is below 1.

    Examples
    --------
    >>> [round(stacked_overlap_cv([(3, 2)] * depth), 4) for depth in (1, 2, 3)]
    [0.4843, 0.5386, 0.5725]
    """
    # Python's integers, so that even counts give exactly 0
    counts: list[int] = stacked_phase_counts(layers).tolist()
    total = sum(counts)
    excess = len(counts) * sum(count * count for count in counts) - total * total
    return _spread_over_axes(excess / total**2, dims)


def gradient_counts(kernel_size: int, stride: int) -> IntArray:
    """How many output pixels of a strided convolution pass their gradient to each input pixel.

    The backward pass of a strided convolution (or average pooling) to its input is a transposed convolution of
    the same kernel and stride, so gradients carry the same checkerboard; its CV is `overlap_cv`.

    Parameters
    ----------
    kernel_size, stride : int
        Kernel size k and stride s of the forward convolution, the same for both axes.

    Returns
    -------
    ndarray, shape (s, s), int64
        Count for each phase of an interior input pixel, counted from the first pixel of the padded input.

    Raises
    ------
    UsageError
        If an argument is below 1.

    Examples
    --------
    >>> gradient_counts(3, 2).tolist()
    [[4, 2], [2, 1]]
    """
    counts = phase_counts(kernel_size, stride)
    return np.multiply.outer(counts, counts)


def _check_layer(kernel_size: int, stride: int) -> None:
    check_int("kernel_size", kernel_size, 1)
    check_int("stride", stride, 1)


def _spread_over_axes(squared_cv: float, dims: int) -> float:
    """CV of an outer product of `dims` equal profiles; exact where the spread of one profile is tiny."""
    check_int("dims", dims, 1)
    return math.sqrt(math.expm1(dims * math.log1p(squared_cv)))
