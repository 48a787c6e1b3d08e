"""What torch's own convolutions hold at their peak, counted in values, by the library that computes them.

Measured on the CPU with torch 2.13: the resident memory of one call in a process of its own, in several hundred
layers and sizes (``bench/memory_search.py``). Pure arithmetic; knows no tensors.
"""

from dataclasses import dataclass
from enum import Enum


class Library(Enum):
    """Who computes a convolution, and so what is held meanwhile."""

    # float32, and bfloat16 without groups, on the CPU: re-orders what has the channels first
    ONEDNN = "onednn"
    # other types on the CPU: torch's own, which lays out the patches of an image as a matrix
    PATCHES = "patches"
    # not measured: assumed to hold no more than it is given and gives
    OTHER = "other"


# copies of the patches of float16, whose products torch computes in float32
_PATCH_COPIES = 3
# of a kernel that is made in half precision: in float32 and rounded
_KERNELS_MADE = 3
# with several threads oneDNN holds up to a sixth more while it computes where kernels are most of it
_SHARED = 1.19


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What the memory of a form depends on.

    Parameters
    ----------
    pixels, image_pixels : int
        Of the input: of all images, and of each.
    in_channels, out_channels, kernel_size, scale_factor, groups : int
        Of the layer.
    is_channels_last : bool
        Memory format of the input.
    is_float32 : bool
        Whether kernels are made in the type of the input.
    library : Library
        Who computes.
    """

    pixels: int
    image_pixels: int
    in_channels: int
    out_channels: int
    kernel_size: int
    scale_factor: int
    groups: int = 1
    is_channels_last: bool
    is_float32: bool = True
    library: Library = Library.ONEDNN

    @property
    def inputs(self) -> int:
        """Values of the input."""
        return self.pixels * self.in_channels

    @property
    def upsampled(self) -> int:
        """Values of the upsampled input."""
        return self.scale_factor**2 * self.inputs

    @property
    def outputs(self) -> int:
        """Values of the output."""
        return self.scale_factor**2 * self.pixels * self.out_channels

    def count_weights(self, size: int) -> int:
        """Values of kernels of a size."""
        return size**2 * self.in_channels * self.out_channels // self.groups


def count_plain(sizes: Sizes) -> int:
    """Count what the plain form holds at its peak, at least.

    Parameters
    ----------
    sizes : Sizes
        Of the layer and input.
    """
    held = sizes.upsampled + sizes.outputs
    if sizes.kernel_size == 1:
        # a matrix product: often nothing is re-ordered, and pixels are their own patches
        return held
    if sizes.library is Library.PATCHES:
        taps = sizes.kernel_size**2 * sizes.scale_factor**2
        return held + taps * sizes.image_pixels * sizes.in_channels // sizes.groups
    weights = sizes.count_weights(sizes.kernel_size)
    if sizes.is_channels_last:
        return held + weights
    # input and output are re-ordered one after the other
    reordered = sizes.outputs if sizes.library is Library.ONEDNN else 0
    return held + max(sizes.upsampled + weights, reordered)


def count_transposed(
    sizes: Sizes, *, is_prepared: bool, is_training: bool = False, is_shared: bool = False
) -> int:
    """Count what the transposed form holds at its peak, at most.

    Parameters
    ----------
    sizes : Sizes
        Of the layer and input.
    is_prepared : bool
        The transformed kernel is at hand; otherwise it is held too, beside the library's re-ordered one.
    is_training : bool
        A gradient will be asked for. Then both forms hold most in their backward passes, as many outputs each.
    is_shared : bool
        Several threads compute.
    """
    size = sizes.kernel_size + sizes.scale_factor - 1
    kernels = sizes.count_weights(size)
    made = 0 if is_prepared else kernels * (1 if sizes.is_float32 else _KERNELS_MADE)
    detours = not sizes.is_channels_last and goes_with_channels_last(sizes.in_channels, sizes.out_channels)
    # one that was kept for the channels first is copied then
    computing = sizes.outputs + sizes.inputs + kernels + max(made, kernels if detours else 0)
    if is_shared:
        computing = int(_SHARED * computing)
    if sizes.library is Library.PATCHES:
        patches = size**2 * sizes.image_pixels * sizes.out_channels // sizes.groups
        return computing + patches * _PATCH_COPIES
    if sizes.library is Library.OTHER or is_training:
        return computing
    return max(computing, _count_outputs(sizes) * sizes.outputs + made)


def _count_outputs(sizes: Sizes) -> int:
    """Count the outputs held at once: with groups they are re-ordered, with the channels first twice."""
    if sizes.is_channels_last:
        return 1 if sizes.groups == 1 else 2
    return 2 if goes_with_channels_last(sizes.in_channels, sizes.out_channels) else 3


def goes_with_channels_last(in_channels: int, out_channels: int) -> bool:
    """Say whether the transposed form takes an input with the channels first as if they were last.

    With the channels first oneDNN holds three outputs in a transposed convolution, and two in a convolution,
    beside the upsampled input. So where there are more output than input channels the transposed form would hold
    up to 1.5 times what the plain form does. Re-ordering input and output outside of it takes two outputs, and as
    long.

    Parameters
    ----------
    in_channels, out_channels : int
        Of the layer.
    """
    return out_channels > in_channels


def count_deconvolution(inputs: int, outputs: int, weights: int, *, is_channels_last: bool) -> int:
    """Count what oneDNN's transposed convolution holds at its peak, its output included and its input not.

    Parameters
    ----------
    inputs, outputs, weights : int
        Values of each.
    is_channels_last : bool
        Memory format of input and output.
    """
    if is_channels_last:
        return outputs + weights
    return max(3 * outputs, outputs + inputs + weights)


def count_deconvolution_backward(inputs: int, outputs: int, weights: int, *, is_channels_last: bool) -> int:
    """Count what oneDNN holds going back through it, beside the input, the output and all gradients.

    Parameters
    ----------
    inputs, outputs, weights, is_channels_last
        As for `count_deconvolution`.
    """
    # all are re-ordered for the gradient to the input, then for that to the weight
    return 2 * weights if is_channels_last else max(inputs + outputs, weights)
