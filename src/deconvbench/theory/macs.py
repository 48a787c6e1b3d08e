"""Exact multiply-accumulate counts of the two operators that upsamplers are built from.

Counts one image, without bias, as ``torch.utils.flop_counter`` does (which counts 2 per MAC). An upsampler's
own formula adds these up; what else it computes it must count itself. Integers only.
"""

from deconvbench.theory._checks import check_groups, check_int


def conv_macs(
    in_channels: int,
    out_channels: int,
    kernel_size: int | tuple[int, int],
    out_height: int,
    out_width: int,
    *,
    groups: int = 1,
) -> int:
    """Multiply-accumulates of a convolution: every output pixel gathers k² taps from every channel of its group.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels C_in and C_out.
    kernel_size : int or (int, int)
        Kernel size, or its height and width.
    out_height, out_width : int
        Size of the *output* in pixels; taps on padding count, as torch counts them.
    groups : int
        Divides both numbers of channels.

    Returns
    -------
    int
        MACs for one image.

    Raises
    ------
    UsageError
        If an argument is below 1 or `groups` does not divide the channels.

    Examples
    --------
    >>> conv_macs(64, 32, 3, 128, 128)
    301989888
    """
    return _count(
        in_channels, out_channels, kernel_size, {"out_height": out_height, "out_width": out_width}, groups
    )


def transposed_conv_macs(
    in_channels: int,
    out_channels: int,
    kernel_size: int | tuple[int, int],
    in_height: int,
    in_width: int,
    *,
    groups: int = 1,
) -> int:
    """Multiply-accumulates of a transposed convolution: every input pixel is scattered to k² places.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels C_in and C_out.
    kernel_size : int or (int, int)
        Kernel size, or its height and width.
    in_height, in_width : int
        Size of the *input* in pixels, whatever the stride; what the padding crops counts, as torch counts it.
    groups : int
        Divides both numbers of channels.

    Returns
    -------
    int
        MACs for one image.

    Raises
    ------
    UsageError
        If an argument is below 1 or `groups` does not divide the channels.

    Examples
    --------
    >>> transposed_conv_macs(64, 32, 4, 64, 64)
    134217728
    """
    return _count(in_channels, out_channels, kernel_size, {"in_height": in_height, "in_width": in_width}, groups)


def _count(
    in_channels: int, out_channels: int, kernel_size: int | tuple[int, int], pixels: dict[str, int], groups: int
) -> int:
    rows, columns = kernel_size if isinstance(kernel_size, tuple) else (kernel_size, kernel_size)
    counts = {"in_channels": in_channels, "out_channels": out_channels, **pixels}
    for name, value in [*counts.items(), ("kernel_size", rows), ("kernel_size", columns)]:
        check_int(name, value, 1)
    check_groups(in_channels, groups, "in_channels")
    check_groups(out_channels, groups, "out_channels")
    total = in_channels * (out_channels // groups) * rows * columns
    for value in pixels.values():
        total *= value
    return total
