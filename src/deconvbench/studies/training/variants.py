"""Variants of a training task's network: one thing is changed, to see what it does.

Names and meanings; `networks` and `first_weights` make them true.
"""

from collections.abc import Mapping
from dataclasses import dataclass

STANDARD = "standard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What is different from the network that a task usually has.

    Parameters
    ----------
    meaning : str
        For help and tables.
    tasks : tuple of str
        Tasks that have it.
    last_kernel_size : int or None
        Kernel of the last convolution, of stride 1; None: what the task's network has.
    upsampler_gain : float
        Factor of the upsamplers' first weights; other than 1 with the tuned recipe alone.
    has_switches : bool
        Whether the encoder pools, and the upsamplers unpool to where its maxima were.
    upsamplers : tuple of str
        Upsamplers that have it; none: all.
    """

    meaning: str
    tasks: tuple[str, ...] = ("reconstruction", "super-resolution")
    last_kernel_size: int | None = None
    upsampler_gain: float = 1.0
    has_switches: bool = False
    upsamplers: tuple[str, ...] = ()


VARIANTS: Mapping[str, Variant] = {
    STANDARD: Variant(meaning="the task's own network"),
    "last-1": Variant(meaning="the last layer is a 1×1 convolution", last_kernel_size=1),
    "last-3": Variant(meaning="the last layer is a 3×3 convolution", last_kernel_size=3),
    "last-9": Variant(
        meaning="the last layer is a 9×9 convolution", tasks=("super-resolution",), last_kernel_size=9
    ),
    "gain-0.5": Variant(meaning="the upsamplers' first weights are half as large", upsampler_gain=0.5),
    "gain-2": Variant(meaning="the upsamplers' first weights are twice as large", upsampler_gain=2.0),
    "encoder-switches": Variant(
        meaning="max pooling in the encoder, and unpooling to where its maxima were",
        tasks=("reconstruction",),
        has_switches=True,
        upsamplers=("max_unpool_conv",),
    ),
}
