"""Output sizes of convolutions and transposed convolutions, one axis at a time.

The single place where these formulas are written, for sizes and for the padding of an exact upsampling. Integers
only: no arrays, no torch.
"""

from deconvbench.errors import UsageError
from deconvbench.theory._checks import check_int


def conv_output_size(size: int, kernel_size: int, *, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """Output size of a convolution along one axis.

    Parameters
    ----------
    size : int
        Input size in pixels.
    kernel_size, stride, padding, dilation : int
        As in ``torch.nn.Conv2d``.

    Returns
    -------
    int
        ``floor((size + 2p - d(k-1) - 1) / s) + 1``, at least 1.

    Raises
    ------
    UsageError
        If an argument is out of range, or the kernel does not fit into the padded input.

    References
    ----------
    Dumoulin & Visin, A guide to convolution arithmetic for deep learning, 1603.07285, relationships 6 and 15.

    Examples
    --------
    >>> conv_output_size(4, 3)
    2
    """
    _check_geometry(size, kernel_size, stride, padding, dilation)
    span = dilation * (kernel_size - 1) + 1
    if span > size + 2 * padding:
        raise UsageError(
            f"kernel_size: {kernel_size} with dilation {dilation} spans {span} pixels;"
            f" the padded input has only {size + 2 * padding}"
        )
    return (size + 2 * padding - span) // stride + 1


def transposed_conv_output_size(
    size: int, kernel_size: int, *, stride: int = 1, padding: int = 0, output_padding: int = 0, dilation: int = 1
) -> int:
    """Output size of a transposed convolution along one axis.

    Parameters
    ----------
    size : int
        Input size in pixels.
    kernel_size, stride, padding, output_padding, dilation : int
        As in ``torch.nn.ConvTranspose2d``; `output_padding` below stride or dilation.

    Returns
    -------
    int
        ``(size - 1)s - 2p + d(k-1) + output_padding + 1``, at least 1.

    Raises
    ------
    UsageError
        If an argument is out of range, or the padding crops everything away.

    References
    ----------
    Dumoulin & Visin, 1603.07285, relationship 14, with dilation as in PyTorch; the article's Figure 3.

    Examples
    --------
    >>> transposed_conv_output_size(2, 3), transposed_conv_output_size(2, 3, stride=2)
    (4, 5)
    """
    _check_geometry(size, kernel_size, stride, padding, dilation)
    check_int("output_padding", output_padding, 0)
    if output_padding >= max(stride, dilation):
        raise UsageError(f"output_padding: {output_padding} is not below stride {stride} or dilation {dilation}")
    out = (size - 1) * stride - 2 * padding + dilation * (kernel_size - 1) + output_padding + 1
    if out < 1:
        raise UsageError(f"padding: {padding} leaves an output of {out} pixels; at least 1 must remain")
    return out


def exact_padding(kernel_size: int, scale_factor: int) -> tuple[int, int]:
    """Find the padding that makes a transposed convolution upsample exactly by its stride.

    Parameters
    ----------
    kernel_size : int
        Kernel size k, at least `scale_factor`.
    scale_factor : int
        Stride s of the transposed convolution.

    Returns
    -------
    padding : int
        ``ceil((k-s)/2)``.
    output_padding : int
        ``2·padding - (k-s)``: 0 or 1.

    Raises
    ------
    UsageError
        If k < s, or if s = 1 and k is even: that needs an `output_padding` of 1, which must stay below the stride.

    Examples
    --------
    >>> exact_padding(3, 2), exact_padding(4, 2)
    ((1, 1), (1, 0))
    """
    check_int("kernel_size", kernel_size, 1)
    check_int("scale_factor", scale_factor, 1)
    excess = kernel_size - scale_factor
    if excess < 0:
        raise UsageError(
            f"kernel_size: {kernel_size} is below scale_factor {scale_factor} and leaves gaps in the output;"
            f" at least {scale_factor} is allowed"
        )
    padding = -(-excess // 2)
    output_padding = 2 * padding - excess
    if output_padding >= scale_factor:
        raise UsageError(f"kernel_size: {kernel_size} is even; at scale_factor 1 only odd kernels keep the size")
    return padding, output_padding


def _check_geometry(size: int, kernel_size: int, stride: int, padding: int, dilation: int) -> None:
    check_int("size", size, 1)
    check_int("kernel_size", kernel_size, 1)
    check_int("stride", stride, 1)
    check_int("padding", padding, 0)
    check_int("dilation", dilation, 1)
