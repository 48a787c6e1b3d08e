"""Which layers the compiled form has: what describes one to the library, and how it is asked for.

The list itself stands in ``plans.h``; here nothing is known of it but how to read it.
"""

import functools
from dataclasses import dataclass

import torch

from deconvbench.upsamplers.fast.native.library import Library


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A layer that the library has.

    Parameters
    ----------
    index : int
        Of the library's list.
    kernel_size, scale_factor : int
        Kernel size k and scale s, of both axes.
    padding : int
        Upsampled pixels before the first, or what a transposed convolution takes off its output.
    is_resize : bool
        Nearest-neighbour upsampling and convolution; otherwise a transposed convolution of stride s.
    products : int
        Multiplications of a pair of channels for a tile of 2×2 input pixels.
    """

    index: int
    kernel_size: int
    scale_factor: int
    padding: int
    is_resize: bool
    products: int

    def get_channels(self, shape: torch.Size) -> tuple[int, int]:
        """Read the channels of a weight.

        Parameters
        ----------
        shape : torch.Size
            Of the weight: output channels first for resizing, input channels first otherwise.

        Returns
        -------
        out_channels, in_channels : int
        """
        return (shape[0], shape[1]) if self.is_resize else (shape[1], shape[0])


@functools.cache
def list_plans(library: Library) -> tuple[Plan, ...]:
    """List all layers that a library has.

    Parameters
    ----------
    library : Library
        From `find_library`.
    """
    plans = []
    for index in range(library.plan_count):
        kernel_size, scale_factor, padding, is_resize, products = library.describe_plan(index)
        plans.append(
            Plan(
                index=index,
                kernel_size=kernel_size,
                scale_factor=scale_factor,
                padding=padding,
                is_resize=bool(is_resize),
                products=products,
            )
        )
    return tuple(plans)


@functools.cache
def find_plan(
    library: Library, *, kernel_size: int, scale_factor: int, padding: int, is_resize: bool
) -> Plan | None:
    """Find the plan of a layer.

    Parameters
    ----------
    library : Library
        From `find_library`.
    kernel_size, scale_factor, padding, is_resize
        As for `Plan`.

    Returns
    -------
    Plan or None
        None where the library has no such layer.
    """
    wanted = (kernel_size, scale_factor, padding, is_resize)
    for plan in list_plans(library):
        if (plan.kernel_size, plan.scale_factor, plan.padding, plan.is_resize) == wanted:
            return plan
    return None
