"""Variants of a training task's network: one thing is changed, to see what it does.

What each changes; `networks` and `first_weights` make it true, and `records.variants` has the words for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from deconvbench.records.training_tasks import TRAINING_TASKS
from deconvbench.records.variants import STANDARD

__all__ = ["STANDARD", "VARIANTS", "Variant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What is different from the network that a task usually has.

    Parameters
    ----------
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

    tasks: tuple[str, ...] = ("reconstruction", "super-resolution")
    last_kernel_size: int | None = None
    upsampler_gain: float = 1.0
    has_switches: bool = False
    upsamplers: tuple[str, ...] = ()


VARIANTS: Mapping[str, Variant] = {
    STANDARD: Variant(tasks=tuple(TRAINING_TASKS)),
    "last-1": Variant(last_kernel_size=1),
    "last-3": Variant(last_kernel_size=3),
    "last-9": Variant(tasks=("super-resolution",), last_kernel_size=9),
    "gain-0.5": Variant(upsampler_gain=0.5),
    "gain-2": Variant(upsampler_gain=2.0),
    "encoder-switches": Variant(tasks=("reconstruction",), has_switches=True, upsamplers=("max_unpool_conv",)),
}
