"""Convolution and transposed convolution by definition: as a matrix, as a loop over taps, as zero insertion.

The yardstick for everything that computes the same faster: written to be read, in float64, one tap at a time.
Nothing here may be used where speed counts, and nothing may call torch. Kernels lie as PyTorch lays them out:
``(C_out, C_in/groups, kh, kw)`` for a convolution, ``(C_in, C_out/groups, kh, kw)`` for a transposed one.
"""

import numpy as np
import numpy.typing as npt

from deconvbench.errors import UsageError
from deconvbench.theory._checks import FloatArray, check_array, check_groups, check_int
from deconvbench.theory.sizes import conv_output_size, transposed_conv_output_size


def conv_matrix(
    weight: npt.ArrayLike, input_size: tuple[int, int], *, stride: int = 1, padding: int = 0, dilation: int = 1
) -> FloatArray:
    """Matrix C with ``y.ravel() = C @ x.ravel()`` for a convolution of one channel.

    Parameters
    ----------
    weight : array_like, shape (kh, kw)
        The kernel.
    input_size : (int, int)
        Height H and width W of the input.
    stride, padding, dilation : int
        As in ``torch.nn.Conv2d``.

    Returns
    -------
    ndarray, shape (H_out·W_out, H·W), float64
        One row for each kernel position, zero where the kernel does not reach. Its transpose is the transposed
        convolution, and the gradient of this convolution to its input.

    Raises
    ------
    UsageError
        If an argument is out of range or the kernel does not fit.

    References
    ----------
    The article's Figure 2: 4×4 input, 3×3 kernel, C is 4×16.
    """
    kernel = check_array("weight", weight, "kh kw")
    output_size = tuple(
        conv_output_size(size, k, stride=stride, padding=padding, dilation=dilation)
        for size, k in zip(input_size, kernel.shape, strict=True)
    )
    return _build_matrix(kernel, output_size, input_size, stride=stride, padding=padding, dilation=dilation)


def transposed_conv_matrix(
    weight: npt.ArrayLike,
    input_size: tuple[int, int],
    *,
    stride: int = 1,
    padding: int = 0,
    output_padding: int = 0,
    dilation: int = 1,
) -> FloatArray:
    """Matrix of a transposed convolution of one channel: the transpose of a convolution's matrix.

    Parameters
    ----------
    weight : array_like, shape (kh, kw)
        The kernel, the same one as the convolution's.
    input_size : (int, int)
        Height H and width W of the input.
    stride, padding, output_padding, dilation : int
        As in ``torch.nn.ConvTranspose2d``.

    Returns
    -------
    ndarray, shape (H_out·W_out, H·W), float64
        With `output_padding` below the stride it is the transpose of `conv_matrix` for an input of
        (H_out, W_out). It restores the shape only: CᵀC is not the identity.

    Raises
    ------
    UsageError
        If an argument is out of range or the padding crops everything away.

    References
    ----------
    The article's Figure 2, right.
    """
    kernel = check_array("weight", weight, "kh kw")
    output_size = tuple(
        transposed_conv_output_size(
            size, k, stride=stride, padding=padding, output_padding=output_padding, dilation=dilation
        )
        for size, k in zip(input_size, kernel.shape, strict=True)
    )
    return _build_matrix(kernel, input_size, output_size, stride=stride, padding=padding, dilation=dilation).T


def zero_insert(x: npt.ArrayLike, stride: int, output_padding: int = 0) -> FloatArray:
    """Put ``stride - 1`` zeros between the pixels, and `output_padding` more at bottom and right.

    Parameters
    ----------
    x : array_like, shape (..., H, W)
        Feature maps; or kernels, which this dilates.
    stride : int
        Distance of neighbouring input pixels in the output.
    output_padding : int
        Rows and columns of zeros appended.

    Returns
    -------
    ndarray, shape (..., (H-1)·stride + 1 + output_padding, (W-1)·stride + 1 + output_padding), float64
        The spread-out maps.

    Raises
    ------
    UsageError
        If an argument is out of range or `x` is empty.

    References
    ----------
    The article's Figure 3, right.
    """
    maps = check_array("x", x, "... H W")
    check_int("stride", stride, 1)
    check_int("output_padding", output_padding, 0)
    *leading, height, width = maps.shape
    inner = ((height - 1) * stride + 1, (width - 1) * stride + 1)
    spread = np.zeros((*leading, inner[0] + output_padding, inner[1] + output_padding))
    spread[..., : inner[0] : stride, : inner[1] : stride] = maps
    return spread


def pad_or_crop(x: npt.ArrayLike, rows: tuple[int, int], columns: tuple[int, int]) -> FloatArray:
    """Pad the last two axes with zeros, or crop them where the number is negative.

    Parameters
    ----------
    x : array_like, shape (..., H, W)
        Feature maps, thought of as surrounded by endless zeros.
    rows, columns : (int, int)
        Pixels to add before and after; negative: to take away. Cropping past the far end yields zeros.

    Returns
    -------
    ndarray, shape (..., H + sum(rows), W + sum(columns)), float64
        A new array.

    Raises
    ------
    UsageError
        If nothing would be left.
    """
    maps = check_array("x", x, "... H W")
    *leading, height, width = maps.shape
    shape = (height + sum(rows), width + sum(columns))
    if min(shape) < 1:
        raise UsageError(
            f"rows, columns: {rows}, {columns} leave {shape[0]}×{shape[1]} of {height}×{width} pixels"
        )
    result = np.zeros((*leading, *shape))
    kept = []
    for size, (before, after) in ((height, rows), (width, columns)):
        first = max(0, -before)
        # never before the first, so that a window beyond the map copies nothing
        kept.append((first, max(first, size + min(0, after)), before))
    (top, bottom, down), (left, right, across) = kept
    source = maps[..., top:bottom, left:right]
    result[..., top + down : bottom + down, left + across : right + across] = source
    return result


def flip_kernel(weight: npt.ArrayLike, groups: int = 1) -> FloatArray:
    """Turn a transposed convolution's kernel into the direct convolution's, or back.

    Both axes are flipped and the channel axes exchanged within each group; twice is the identity.

    Parameters
    ----------
    weight : array_like, shape (A, B/groups, kh, kw)
        Kernel of one of the two operators.
    groups : int
        Divides A.

    Returns
    -------
    ndarray, shape (B, A/groups, kh, kw), float64
        Kernel of the other operator.

    Raises
    ------
    UsageError
        If the shape does not fit or `groups` does not divide A.
    """
    kernel = check_array("weight", weight, "A B/groups kh kw")
    first, second, rows, columns = kernel.shape
    check_groups(first, groups, "the kernel's first axis")
    split = kernel.reshape(groups, first // groups, second, rows, columns).swapaxes(1, 2)
    return np.ascontiguousarray(split.reshape(groups * second, first // groups, rows, columns)[..., ::-1, ::-1])


def convolve(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> FloatArray:
    """Convolution as deep learning means it (a cross-correlation), gathered tap by tap.

    Parameters
    ----------
    x : array_like, shape (N, C_in, H, W)
        Input.
    weight : array_like, shape (C_out, C_in/groups, kh, kw)
        Kernel.
    stride, padding, dilation, groups : int
        As in ``torch.nn.functional.conv2d``; the padding is zeros.

    Returns
    -------
    ndarray, shape (N, C_out, H_out, W_out), float64
        ``y[n,o,i,j] = Σ w[o,c,a,b] · x[n, c, i·s + a·d - p, j·s + b·d - p]``.

    Raises
    ------
    UsageError
        If shapes do not fit together or an argument is out of range.
    """
    maps, kernel = check_array("x", x, "N C_in H W"), check_array("weight", weight, "C_out C_in/groups kh kw")
    batch, in_channels, *size = maps.shape
    out_channels, per_group, *kernel_size = kernel.shape
    check_groups(out_channels, groups, "the kernel's first axis")
    _check_channels(in_channels, groups * per_group)
    height, width = (
        conv_output_size(n, k, stride=stride, padding=padding, dilation=dilation)
        for n, k in zip(size, kernel_size, strict=True)
    )
    padded = pad_or_crop(maps, (padding, padding), (padding, padding))
    source = padded.reshape(batch, groups, per_group, *padded.shape[2:])
    taps = kernel.reshape(groups, out_channels // groups, per_group, *kernel_size)
    y = np.zeros((batch, groups, out_channels // groups, height, width))
    for a, b in np.ndindex(*kernel_size):
        seen = source[..., _stride_from(a * dilation, height, stride), _stride_from(b * dilation, width, stride)]
        y += np.einsum("ngchw,goc->ngohw", seen, taps[..., a, b])
    return y.reshape(batch, out_channels, height, width)


def transposed_convolve(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    *,
    stride: int = 1,
    padding: int = 0,
    output_padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> FloatArray:
    """Transposed convolution by its own definition: every input pixel is scattered tap by tap.

    Parameters
    ----------
    x : array_like, shape (N, C_in, H, W)
        Input.
    weight : array_like, shape (C_in, C_out/groups, kh, kw)
        Kernel.
    stride, padding, output_padding, dilation, groups : int
        As in ``torch.nn.functional.conv_transpose2d``.

    Returns
    -------
    ndarray, shape (N, C_out, H_out, W_out), float64
        Where ``w[c,o,a,b] · x[n,c,i,j]`` adds to row ``i·s + a·d - p``, column ``j·s + b·d - p``.

    Raises
    ------
    UsageError
        If shapes do not fit together or an argument is out of range.
    """
    maps, kernel = check_array("x", x, "N C_in H W"), check_array("weight", weight, "C_in C_out/groups kh kw")
    batch, in_channels, height, width = maps.shape
    first, per_group, *kernel_size = kernel.shape
    check_groups(first, groups, "the kernel's first axis")
    _check_channels(in_channels, first)
    rows, columns = (
        transposed_conv_output_size(
            n, k, stride=stride, padding=padding, output_padding=output_padding, dilation=dilation
        )
        for n, k in zip((height, width), kernel_size, strict=True)
    )
    source = maps.reshape(batch, groups, in_channels // groups, height, width)
    taps = kernel.reshape(groups, in_channels // groups, per_group, *kernel_size)
    y = np.zeros((batch, groups, per_group, rows + 2 * padding, columns + 2 * padding))
    for a, b in np.ndindex(*kernel_size):
        reached = (..., _stride_from(a * dilation, height, stride), _stride_from(b * dilation, width, stride))
        y[reached] += np.einsum("ngchw,gco->ngohw", source, taps[..., a, b])
    return pad_or_crop(
        y.reshape(batch, groups * per_group, *y.shape[3:]), (-padding, -padding), (-padding, -padding)
    )


def _stride_from(first: int, count: int, stride: int) -> slice:
    return slice(first, first + (count - 1) * stride + 1, stride)


def _check_channels(in_channels: int, expected: int) -> None:
    if in_channels != expected:
        raise UsageError(f"x: {in_channels} channels do not fit the kernel, which takes {expected}")


def _build_matrix(
    kernel: FloatArray,
    small: tuple[int, ...],
    large: tuple[int, ...],
    *,
    stride: int,
    padding: int,
    dilation: int,
) -> FloatArray:
    """Matrix from a map of size `large` to one of size `small`: entry (i, u) is the tap at u = i·s + a·d - p."""
    vertical, horizontal = (
        [
            np.equal.outer(np.arange(m) * stride + tap * dilation - padding, np.arange(n)).astype(np.float64)
            for tap in range(k)
        ]
        for m, n, k in zip(small, large, kernel.shape, strict=True)
    )
    matrix = np.zeros((small[0] * small[1], large[0] * large[1]))
    for (a, b), tap in np.ndenumerate(kernel):
        matrix += tap * np.kron(vertical[a], horizontal[b])
    return matrix
