"""Which form of a transposed convolution is fastest where: a rule learnt from measurements.

Knows shapes and the system, no tensors and no weights.
"""

from dataclasses import dataclass

DECONVOLUTIONS = ("auto", "plain", "minimal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the speed of the compiled form depends on.

    Parameters
    ----------
    kernel_size : int
        Of the layer; its stride is 2.
    in_channels, out_channels, groups : int
        Of the layer.
    batch, height, width : int
        Of the input.
    threads : int
        Threads of one operation.
    is_channels_last : bool
        Memory format of the output.
    is_prepared : bool
        The transformed weight is at hand.
    """

    kernel_size: int
    in_channels: int
    out_channels: int
    groups: int
    batch: int
    height: int
    width: int
    threads: int
    is_channels_last: bool
    is_prepared: bool


def prefers_minimal(load: Load) -> bool:
    """Say whether the compiled minimal form is faster than torch's own.

    Parameters
    ----------
    load : Load
        Layer, input and system.
    """
    pixels = load.batch * load.height * load.width
    return pixels * load.in_channels >= 4096


def prefers_minimal_backward(load: Load) -> bool:
    """Say whether the compiled backward pass is faster than torch's own.

    Parameters
    ----------
    load : Load
        Layer, input and system.
    """
    pixels = load.batch * load.height * load.width
    return pixels * load.in_channels >= 4096
