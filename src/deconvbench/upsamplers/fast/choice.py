"""Which form is fastest where: the rule of ``implementation="auto"``."""

from dataclasses import dataclass

IMPLEMENTATIONS = ("auto", "plain", "transposed", "subpixel", "minimal", "tiled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What the speed of a form depends on.

    Parameters
    ----------
    kernel_size, scale_factor, groups : int
        Of the layer.
    in_channels, out_channels : int
        Of the layer.
    batch, height, width : int
        Of the input.
    is_float32, is_cpu : bool
        What the measurements behind the rule were made with.
    is_traced : bool
        A compiler is tracing.
    threads : int
        Threads of one operation.
    is_channels_last : bool
        Memory format of the input.
    is_prepared : bool
        The transformed weight is at hand.
    """

    kernel_size: int
    scale_factor: int
    groups: int
    in_channels: int
    out_channels: int
    batch: int
    height: int
    width: int
    is_float32: bool
    is_cpu: bool
    is_traced: bool
    threads: int
    is_channels_last: bool
    is_prepared: bool


def choose_implementation(load: Workload) -> str:
    """Name the form to use."""
    if load.is_cpu and load.is_float32 and load.groups == 1 and (load.kernel_size, load.scale_factor) == (3, 2):
        return "tiled" if load.in_channels >= 64 and load.height * load.width >= 256 else "transposed"
    return "transposed"
