"""Kernels of the fast forms: what becomes of a k×k kernel before the first pixel is touched.

Each form is described along one axis by a matrix that maps the k taps of the convolution to what the form
multiplies with; in two dimensions the same matrix acts along both axes. One small matrix product serves all of
them, and its gradient is autograd's. Nothing here looks at an image.
"""

import itertools

import torch
from torch import Tensor

Matrix = tuple[tuple[float, ...], ...]


def transposed_matrix(kernel_size: int, scale_factor: int) -> Matrix:
    """Taps of the convolution to taps of the equal transposed convolution, along one axis.

    Nearest-neighbour upsampling repeats every pixel s times, so tap t of the convolution reaches the output at
    the s places that its flip, k−1−t, is spread to: K = box_s ∗ flip(w), of size k + s − 1.

    Parameters
    ----------
    kernel_size, scale_factor : int
        Kernel size k, scale s.

    Returns
    -------
    tuple of tuple of float, shape (k + s − 1, k)

    References
    ----------
    Colbert, Pino, Sen, Najafi, "An energy-efficient edge computing paradigm for convolution-based image
    upsampling", IEEE Access 9, 2021 ("weight convolution").
    """
    return tuple(
        tuple(float(0 <= row - (kernel_size - 1 - tap) < scale_factor) for tap in range(kernel_size))
        for row in range(kernel_size + scale_factor - 1)
    )


def phase_matrix(kernel_size: int, scale_factor: int) -> Matrix:
    """Taps of the convolution to the taps of all phases of the equal sub-pixel convolution, along one axis.

    Output pixel s·n + φ reads the upsampled pixels s·n + φ + t − ⌊(k−1)/2⌋, so tap t acts on the input pixel
    n + ⌊(φ + t − ⌊(k−1)/2⌋)/s⌋: taps that fall on one input pixel are summed.

    Parameters
    ----------
    kernel_size, scale_factor : int
        Kernel size k, scale s.

    Returns
    -------
    tuple of tuple of float, shape (s·(2r + 1), k), r = ⌈(k−1)/(2s)⌉
        Row φ·(2r + 1) + j: input pixel n − r + j for phase φ.
    """
    padding = (kernel_size - 1) // 2
    reach = count_padding(kernel_size, scale_factor)
    return tuple(
        tuple(float((phase + tap - padding) // scale_factor == pixel - reach) for tap in range(kernel_size))
        for phase in range(scale_factor)
        for pixel in range(2 * reach + 1)
    )


def count_padding(kernel_size: int, scale_factor: int) -> int:
    """Input pixels that the padding of ⌊k/2⌋ upsampled pixels reaches: ⌈(k−1)/(2s)⌉, also where k is even.

    Parameters
    ----------
    kernel_size, scale_factor : int
        Kernel size k, scale s.
    """
    return -(-(kernel_size - 1) // (2 * scale_factor))


def transform_kernels(weight: Tensor, matrix: Matrix) -> Tensor:
    """Apply a matrix along both axes of every kernel.

    Parameters
    ----------
    weight : Tensor, shape (C_out, C_in, k, k)
        Weight of a convolution.
    matrix : tuple of tuple of float, shape (m, k)
        As from this module and its neighbours.

    Returns
    -------
    Tensor, shape (C_out, C_in, m, m)
        Differentiable.
    """
    size = len(matrix)
    kernels = _flatten_kernels(weight) @ _square_matrix(matrix, weight).t()
    return kernels.view(*weight.shape[:2], size, size)


def transform_taps(weight: Tensor, matrix: Matrix) -> Tensor:
    """Apply a matrix along the one axis of every kernel.

    Parameters
    ----------
    weight : Tensor, shape (C_out, C_in, k)
        Weight of a convolution of signals.
    matrix : tuple of tuple of float, shape (m, k)
        As from this module.

    Returns
    -------
    Tensor, shape (C_out, C_in, m)
        Differentiable.
    """
    return weight @ _make_matrix(matrix, weight.dtype, weight.device).t()


def stack_products(weight: Tensor, matrix: Matrix, *, columns_first: bool = False) -> Tensor:
    """Apply a matrix along both axes of every kernel, and lay the results out as one channel matrix each.

    Parameters
    ----------
    weight : Tensor, shape (C_out, C_in, k, k)
        Weight of a convolution.
    matrix : tuple of tuple of float, shape (m, k)
        As from this module and its neighbours.
    columns_first : bool
        Order of the first two axes of the result.

    Returns
    -------
    Tensor, shape (m, m, C_out, C_in)
        Differentiable.
    """
    size = len(matrix)
    square = _square_matrix(matrix, weight)
    if columns_first:
        square = square.view(size, size, -1).transpose(0, 1).reshape(size * size, -1)
    # one product of a small and a long matrix, and no copy: sums of shifted copies take several times as long
    return (square @ _flatten_kernels(weight).t()).view(size, size, *weight.shape[:2])


def _flatten_kernels(weight: Tensor) -> Tensor:
    return weight.reshape(weight.shape[0] * weight.shape[1], -1)


def _square_matrix(matrix: Matrix, like: Tensor) -> Tensor:
    """Make the matrix that acts along both axes at once, (m·m, k·k)."""
    along_axis = _make_matrix(matrix, like.dtype, like.device)
    return torch.kron(along_axis, along_axis)


def _make_matrix(matrix: Matrix, dtype: torch.dtype, device: torch.device) -> Tensor:
    if device.type == "cpu":
        return torch.tensor(matrix, dtype=dtype, device=device)
    # filled where it is needed: a copy would wait for the device, and a CUDA graph cannot capture that
    filled = torch.zeros(len(matrix), len(matrix[0]), dtype=dtype, device=device)
    for row, values in zip(filled, matrix, strict=True):
        start = 0
        for value, run in itertools.groupby(values):
            stop = start + len(tuple(run))
            if value:
                row[start:stop].fill_(value)
            start = stop
    return filled
