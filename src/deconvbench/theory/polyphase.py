"""Other forms of a transposed convolution, phase by phase, and the resize-convolutions that it contains.

An output pixel of phase φ = (row mod s, column mod s) only ever sees the taps of its own phase, so a transposed
convolution is s² small convolutions interleaved. Kernels only, in float64: what runs fast with them is built
elsewhere.
"""

import numpy as np
import numpy.typing as npt

from deconvbench.errors import UsageError
from deconvbench.theory._checks import FloatArray, check_array, check_int
from deconvbench.theory.matrices import flip_kernel, pad_or_crop, zero_insert


def phase_kernels(weight: npt.ArrayLike, stride: int) -> FloatArray:
    """Split the kernel of a transposed convolution into those of its s×s phases.

    Parameters
    ----------
    weight : array_like, shape (..., kh, kw)
        Kernel of a transposed convolution; leading axes are kept.
    stride : int
        Stride s.

    Returns
    -------
    ndarray, shape (s, s, ..., ⌈kh/s⌉, ⌈kw/s⌉), float64
        Entry [i, j, ..., m, n] is tap (i + s·m, j + s·n), or 0 past the kernel's end. Phases are those of the
        uncropped output.

    Raises
    ------
    UsageError
        If the stride is below 1 or the kernel is empty.
    """
    kernel = check_array("weight", weight, "... kh kw")
    check_int("stride", stride, 1)
    *leading, rows, columns = kernel.shape
    filled = pad_or_crop(kernel, (0, -rows % stride), (0, -columns % stride))
    split = filled.reshape(*leading, -(-rows // stride), stride, -(-columns // stride), stride)
    return np.ascontiguousarray(np.moveaxis(split, (-3, -1), (0, 1)))


def subpixel_kernel(weight: npt.ArrayLike, stride: int, *, dilation: int = 1, groups: int = 1) -> FloatArray:
    """Rearrange a transposed convolution's kernel into that of a convolution followed by `pixel_shuffle`.

    The convolution takes a zero padding of K - 1 (K = ⌈(d(k-1)+1)/s⌉ per axis) and gives, shuffled, the uncropped
    transposed convolution with zeros at its end; the output starts at pixel `padding` of it and is extended
    with zeros where `output_padding` exceeds the end (`pad_or_crop` does both).

    Parameters
    ----------
    weight : array_like, shape (C_in, C_out/groups, kh, kw)
        Kernel of the transposed convolution.
    stride, dilation, groups : int
        Those of the transposed convolution; the convolution has stride 1, dilation 1 and the same groups.

    Returns
    -------
    ndarray, shape (C_out·s², C_in/groups, Kh, Kw), float64
        Kernel of the convolution, channels in the order of ``torch.nn.PixelShuffle``.

    Raises
    ------
    UsageError
        If an argument is out of range or the shape does not fit.

    References
    ----------
    Shi et al., Is the deconvolution layer the same as a convolutional layer?, 1609.07009.
    """
    check_int("dilation", dilation, 1)
    kernel = check_array("weight", weight, "C_in C_out/groups kh kw")
    phases = phase_kernels(zero_insert(kernel, dilation), stride)
    flipped = np.stack([[flip_kernel(phase, groups) for phase in row] for row in phases])
    by_channel = np.moveaxis(flipped, 2, 0)
    return np.ascontiguousarray(by_channel.reshape(-1, *flipped.shape[3:]))


def pixel_shuffle(x: npt.ArrayLike, scale_factor: int) -> FloatArray:
    """Interleave groups of s² channels into one channel of s times the height and width.

    Parameters
    ----------
    x : array_like, shape (N, C·s², H, W)
        Channel ``c·s² + i·s + j`` goes to phase (i, j) of channel c.
    scale_factor : int
        Scale s.

    Returns
    -------
    ndarray, shape (N, C, s·H, s·W), float64
        As ``torch.nn.PixelShuffle``.

    Raises
    ------
    UsageError
        If s² does not divide the channels.

    References
    ----------
    Shi et al., 1609.05158.
    """
    maps = check_array("x", x, "N C·s² H W")
    check_int("scale_factor", scale_factor, 1)
    batch, channels, height, width = maps.shape
    if channels % scale_factor**2:
        raise UsageError(f"x: {channels} channels are not a multiple of scale_factor² = {scale_factor**2}")
    split = maps.reshape(batch, -1, scale_factor, scale_factor, height, width)
    return split.transpose(0, 1, 4, 2, 5, 3).reshape(batch, -1, scale_factor * height, scale_factor * width)


def box_kernel(scale_factor: int) -> FloatArray:
    """Give the kernel whose transposed convolution of stride s repeats every pixel s times.

    Parameters
    ----------
    scale_factor : int
        Scale s.

    Returns
    -------
    ndarray, shape (s,), float64
        Ones, for one axis.

    Raises
    ------
    UsageError
        If the scale is below 1.
    """
    check_int("scale_factor", scale_factor, 1)
    return np.ones(scale_factor)


def nearest_conv_kernel(weight: npt.ArrayLike, scale_factor: int, *, groups: int = 1) -> FloatArray:
    """Kernel of the one transposed convolution that equals nearest ×s followed by a convolution.

    Its stride is s. Without padding, its output cropped as `nearest_conv_crop` says is exactly the resize-
    convolution with zero padding, borders included; for odd k that is a padding of (k-1)/2.

    Parameters
    ----------
    weight : array_like, shape (C_out, C_in/groups, kh, kw)
        Kernel of the convolution.
    scale_factor : int
        Scale s.
    groups : int
        Groups of the convolution.

    Returns
    -------
    ndarray, shape (C_in, C_out/groups, kh+s-1, kw+s-1), float64
        The flipped kernel, convolved in full with `box_kernel` along both axes.

    Raises
    ------
    UsageError
        If an argument is out of range or the shape does not fit.

    References
    ----------
    Odena et al. 2016 for resize-convolution; Colbert et al., IEEE Access 9, 2021 ("weight convolution").
    """
    flipped = flip_kernel(weight, groups)
    box = box_kernel(scale_factor)
    *channels, rows, columns = flipped.shape
    kernel = np.zeros((*channels, rows + box.size - 1, columns + box.size - 1))
    for (a, b), gain in np.ndenumerate(np.multiply.outer(box, box)):
        kernel[..., a : a + rows, b : b + columns] += gain * flipped
    return kernel


def nearest_conv_crop(kernel_size: int) -> tuple[int, int]:
    """Pixels to take off an uncropped `nearest_conv_kernel` output, to keep exactly s times the input size.

    This is a resize-convolution that pads its upsampled map with (k-1)//2 zeros before and k//2 after.

    Parameters
    ----------
    kernel_size : int
        Size k of the *convolution's* kernel.

    Returns
    -------
    before, after : int
        k//2 and (k-1)//2; equal, and so a plain padding, for odd k.

    Raises
    ------
    UsageError
        If the kernel size is below 1.
    """
    check_int("kernel_size", kernel_size, 1)
    return kernel_size // 2, (kernel_size - 1) // 2


def bilinear_kernel(scale_factor: int) -> FloatArray:
    """Tent of half-pixel bilinear upsampling, for one axis.

    Bilinear ×s (``align_corners=False``) is a replicate padding of 1, then the transposed convolution with
    this tent along each axis, stride s, padding `bilinear_padding`.

    Parameters
    ----------
    scale_factor : int
        Scale s.

    Returns
    -------
    ndarray, shape (K,), K = 2s for even s, 2s-1 for odd s, float64
        ``1 - |t - (K-1)/2|/s``; every phase sums to 1.

    Raises
    ------
    UsageError
        If the scale is below 1.

    References
    ----------
    Long et al., Fully convolutional networks, 1411.4038 (its initialisation, with the half-pixel grid).

    Examples
    --------
    >>> bilinear_kernel(2).tolist()
    [0.25, 0.75, 0.75, 0.25]
    """
    check_int("scale_factor", scale_factor, 1)
    size = 2 * scale_factor - scale_factor % 2
    distance: FloatArray = np.abs(np.arange(size) - (size - 1) / 2)
    return 1 - distance / scale_factor


def bilinear_padding(scale_factor: int) -> int:
    """Give the padding of the transposed convolution with `bilinear_kernel`, behind a replicate padding of 1.

    Parameters
    ----------
    scale_factor : int
        Scale s.

    Returns
    -------
    int
        ``(K-s)/2 + s``: half of the tent's excess, and the s pixels of the replicated border.

    Raises
    ------
    UsageError
        If the scale is below 1.
    """
    return (bilinear_kernel(scale_factor).size - scale_factor) // 2 + scale_factor


def phase_gains(kernel: npt.ArrayLike, stride: int) -> FloatArray:
    """Sum of the taps of each phase along one axis: what a constant input becomes there.

    Parameters
    ----------
    kernel : array_like, shape (..., k)
        Kernel of a one-dimensional transposed convolution; leading axes are kept. (In two dimensions: the sums
        of `phase_kernels`.)
    stride : int
        Stride s.

    Returns
    -------
    ndarray, shape (..., s), float64
        Gain of each phase of the uncropped output; equal gains turn a constant into a constant.

    Raises
    ------
    UsageError
        If the stride is below 1 or the kernel is empty.
    """
    taps = check_array("kernel", kernel, "... k")
    check_int("stride", stride, 1)
    gains = np.zeros((*taps.shape[:-1], stride))
    for tap in range(taps.shape[-1]):
        gains[..., tap % stride] += taps[..., tap]
    return gains


def divide_by_box(kernel: npt.ArrayLike, scale_factor: int) -> tuple[FloatArray, FloatArray]:
    """Divide a one-dimensional kernel, as a polynomial, by `box_kernel`.

    The remainder is the gain of each phase less that of the last one. So a kernel is divisible exactly where
    its phase gains are equal, and then its layer is nearest ×s with a convolution by the flipped quotient.
    In two dimensions this holds one way only: equal gains do not make a kernel divisible.

    Parameters
    ----------
    kernel : array_like, shape (..., k)
        Kernel of a one-dimensional transposed convolution of stride s; leading axes are kept.
    scale_factor : int
        Scale s.

    Returns
    -------
    quotient : ndarray, shape (..., max(0, k-s+1)), float64
        With ``kernel = box ∗ quotient + remainder``.
    remainder : ndarray, shape (..., s-1), float64
        Zero where the kernel is divisible.

    Raises
    ------
    UsageError
        If the scale is below 1 or the kernel is empty.
    """
    taps = check_array("kernel", kernel, "... k")
    check_int("scale_factor", scale_factor, 1)
    *leading, size = taps.shape
    rest = np.zeros((*leading, max(size, scale_factor - 1)))
    rest[..., :size] = taps
    quotient = np.zeros((*leading, max(0, size - scale_factor + 1)))
    for power in reversed(range(quotient.shape[-1])):
        quotient[..., power] = rest[..., power + scale_factor - 1]
        rest[..., power : power + scale_factor] -= quotient[..., power, np.newaxis]
    return quotient, rest[..., : scale_factor - 1]
