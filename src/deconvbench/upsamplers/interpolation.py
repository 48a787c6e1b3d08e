"""What interpolation costs, by the formula that the tables use.

`torch.utils.flop_counter` counts convolutions and matrix products only; this is the part that it leaves out, so
that a count of ours is its half plus this. Integers in, integers out.
"""

# taps per output value of the direct two-dimensional form; nearest copies and multiplies nothing
MACS_PER_VALUE = {"nearest": 0, "bilinear": 4, "bicubic": 16}


def interpolation_macs(mode: str, channels: int, out_height: int, out_width: int) -> int:
    """Count the multiply-accumulates of one interpolated image.

    Parameters
    ----------
    mode : str
        ``nearest``, ``bilinear`` or ``bicubic``, as `nn.Upsample` names them.
    channels : int
        Channels of the image.
    out_height, out_width : int
        Size after interpolation, in pixels.

    Returns
    -------
    int
        Multiply-accumulates: the taps of the mode (0, 4, 16) times the values computed.

    References
    ----------
    Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 1981.
    """
    return MACS_PER_VALUE[mode] * channels * out_height * out_width
