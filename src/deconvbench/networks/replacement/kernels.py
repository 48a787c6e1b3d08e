"""What a layer computes, as the transposed convolution that it equals, and how near another kind of layer comes.

Every linear upsampler by s that treats all pixels alike is y[m] = Σ_n x[n]·T[m − s·n − start] + bias along each
axis, with zeros for x outside of the image. The kernels that a kind of layer can have are those of the form
A·θ·Bᵀ, where A and B are matrices for rows and columns, and θ has its weights in another order: least squares
are exact by their pseudo-inverses. Arrays only, in float64; knows no modules.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Equivalent:
    """The transposed convolution that a layer equals.

    Parameters
    ----------
    taps : ndarray, shape (C_in, C_out/groups, K, K)
        Its kernel T.
    bias : ndarray, shape (C_out, s, s), or None
        Added to each phase of the output: pixel m has phase m mod s.
    stride : (int, int)
        Scale s along rows and columns.
    start : (int, int)
        Output pixel on which the first tap of input pixel 0 falls; −p for a padding of p.
    excess : (int, int)
        Output pixels beyond s·H, s·W; negative: fewer.
    groups : int
        Groups of channels.
    border : str
        What is otherwise near the border, in words; empty where nothing is.
    """

    taps: FloatArray
    bias: FloatArray | None
    stride: tuple[int, int]
    start: tuple[int, int]
    excess: tuple[int, int]
    groups: int
    border: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Axis:
    """The kernels that a kind of layer can have along one axis: those of the form ``matrix @ weights``.

    Parameters
    ----------
    matrix : ndarray, shape (K, n)
        Of full column rank.
    start : int
        As in `Equivalent`.
    """

    matrix: FloatArray
    start: int

    @property
    def stop(self) -> int:
        """Behind the last tap."""
        return self.start + len(self.matrix)


def convolution_matrix(filter_taps: Sequence[float] | FloatArray, size: int) -> FloatArray:
    """Make the matrix of the full convolution with a filter.

    Parameters
    ----------
    filter_taps : sequence of float, length n
        The filter.
    size : int
        Length of what is filtered.

    Returns
    -------
    ndarray, shape (size + n − 1, size)
    """
    matrix = np.zeros((size + len(filter_taps) - 1, size))
    for column in range(size):
        matrix[column : column + len(filter_taps), column] = filter_taps
    return matrix


def dilation_matrix(size: int, dilation: int) -> FloatArray:
    """Make the matrix that puts zeros between the taps, (dilation·(size−1) + 1, size)."""
    matrix = np.zeros((dilation * (size - 1) + 1, size))
    matrix[::dilation] = np.eye(size)
    return matrix


def fit(
    equivalent: Equivalent, axes: tuple[Axis, Axis], project: Callable[[FloatArray], FloatArray] | None = None
) -> tuple[FloatArray, float]:
    """Find the weights of another layer that come nearest to a kernel.

    Parameters
    ----------
    equivalent : Equivalent
        Its `taps` are to be approximated.
    axes : (Axis, Axis)
        Rows and columns of the other layer.
    project : callable, optional
        Orthogonal projection of the weights onto those that the layer can have, if not all; then the matrices'
        columns are to be orthonormal.

    Returns
    -------
    weights : ndarray, shape (C_in, C_out/groups, m, n)
        The least-squares solution.
    relative_error : float
        Norm of what is missing over that of the kernel: for white noise in, and away from the border, the root
        mean square of the output's error over that of the output.
    """
    wanted, (rows, columns) = _align(equivalent, axes)
    # (m, K) @ (C_in, C_out/g, K, K) @ (K, n)
    weights = np.linalg.pinv(rows) @ wanted @ np.linalg.pinv(columns).T
    if project is not None:
        weights = project(weights)
    missing = np.linalg.norm(rows @ weights @ columns.T - wanted)
    whole = np.linalg.norm(wanted)
    return weights, float(missing / whole) if whole else float(missing)


def _align(equivalent: Equivalent, axes: tuple[Axis, Axis]) -> tuple[FloatArray, list[FloatArray]]:
    """Fill kernel and matrices up with zeros, so that both begin and end at the same output pixel."""
    pads, matrices = [], []
    for axis, start, size in zip(axes, equivalent.start, equivalent.taps.shape[2:], strict=True):
        first, last = min(axis.start, start), max(axis.stop, start + size)
        pads.append((start - first, last - start - size))
        matrices.append(np.pad(axis.matrix, ((axis.start - first, last - axis.stop), (0, 0))))
    return np.pad(equivalent.taps, ((0, 0), (0, 0), *pads)), matrices


def fit_bias(bias: FloatArray | None, *, has_phases: bool) -> tuple[FloatArray | None, float]:
    """Find the bias of another layer.

    Parameters
    ----------
    bias : ndarray, shape (C_out, s, s), or None
        As in `Equivalent`.
    has_phases : bool
        Whether the other layer has one for each phase; otherwise they are averaged.

    Returns
    -------
    bias : ndarray, shape (C_out, s, s), or None
        Of the other layer, repeated where its phases are alike.
    relative_error : float
        Norm of the difference over that of `bias`.
    """
    if bias is None or has_phases:
        return bias, 0.0
    # a sum of equal numbers divided by how many there are is not always that number
    alike = (bias == bias[:, :1, :1]).all((1, 2), keepdims=True)
    means = np.where(alike, bias[:, :1, :1], bias.mean((1, 2), keepdims=True))
    found = np.broadcast_to(means, bias.shape)
    whole = np.linalg.norm(bias)
    return found, float(np.linalg.norm(found - bias) / whole) if whole else 0.0
