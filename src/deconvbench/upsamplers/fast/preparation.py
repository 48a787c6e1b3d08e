"""Transformed weights: what each form makes of that of the convolution, and what all forms know of the layer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.upsamplers.fast.choice import NATIVE
from deconvbench.upsamplers.fast.cuda.form import TRITON_IMPLEMENTATIONS, prepare_triton
from deconvbench.upsamplers.fast.dtypes import widen
from deconvbench.upsamplers.fast.minimal import prepare_minimal
from deconvbench.upsamplers.fast.native.form import find_native, prepare_native, take_library
from deconvbench.upsamplers.fast.native.plans import Plan
from deconvbench.upsamplers.fast.tiled import prepare_tiled
from deconvbench.upsamplers.fast.weights import (
    count_padding,
    phase_matrix,
    transform_kernels,
    transposed_matrix,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """What a resize-convolution is, apart from its weights.

    Parameters
    ----------
    kernel_size : int
        Kernel size k; where it is even, one pixel more is padded after the last than before the first.
    scale_factor : int
        Scale s, at least 2.
    groups : int
        Groups of the convolution.
    padding_mode : str
        ``zeros``, ``reflect`` or ``replicate``, of the upsampled tensor.
    """

    kernel_size: int
    scale_factor: int
    groups: int
    padding_mode: str

    @property
    def padding(self) -> int:
        """Upsampled pixels of padding before the first."""
        return (self.kernel_size - 1) // 2

    @property
    def padding_after(self) -> int:
        """Upsampled pixels of padding after the last."""
        return self.kernel_size // 2

    @property
    def reach(self) -> int:
        """Input pixels that the padding reaches."""
        return count_padding(self.kernel_size, self.scale_factor)

    @property
    def pads_zeros(self) -> bool:
        """Whether beyond the border there are zeros."""
        return self.padding_mode == "zeros"

    def find_native(self, x: Tensor | None, weight: Tensor) -> Plan | None:
        """Find how the compiled form computes the layer, if it is there and has it.

        Parameters
        ----------
        x : Tensor, shape (N, C_in, H, W), or None
            The input; None: any that it takes.
        weight : Tensor, shape (C_out, C_in/groups, k, k)
            Of the convolution.
        """
        return find_native(x, weight, scale_factor=self.scale_factor, padding=self.padding, groups=self.groups)


def prepare(implementation: str, weight: Tensor, geometry: Geometry, dtype: torch.dtype) -> Tensor:
    """Transform the weight of the convolution into that of a form.

    Parameters
    ----------
    implementation : str
        ``plain``, ``transposed``, ``subpixel``, ``minimal``, ``tiled``, ``tiled (native)``, or one of Triton's.
    weight : Tensor, shape (C_out, C_in/groups, k, k)
        Differentiable, but for the compiled ones. In half precision the sums are taken in float32, and rounded.
    geometry : Geometry
        Of the layer.
    dtype : torch.dtype
        Of the result: that of the input.

    Returns
    -------
    Tensor
        In the layout that `run` takes.
    """
    if implementation == "plain":
        return weight.to(dtype)
    if implementation == NATIVE:
        plan = geometry.find_native(None, weight)
        assert plan is not None  # otherwise it is not asked for
        return prepare_native(take_library(), plan, weight, geometry.groups)
    if implementation in TRITON_IMPLEMENTATIONS:
        return prepare_triton(implementation, weight, dtype)
    return _PREPARATIONS[implementation](widen(weight), geometry).to(dtype)


def pad_input(x: Tensor, geometry: Geometry) -> tuple[Tensor, int]:
    """Pad the input as the upsampled tensor would be, for a transposed convolution.

    Parameters
    ----------
    x : Tensor, shape (N, C_in, H, W)
        Input.
    geometry : Geometry
        Of the layer.

    Returns
    -------
    padded : Tensor, shape (N, C_in, H + 2r, W + 2r)
        The input itself where zeros are beyond its border.
    crop : int
        Pixels that the transposed convolution is to crop on each side; after the last one less for an even kernel,
        which is its output padding.
    """
    # its kernel is flipped, and so is what comes before and after
    crop = geometry.padding_after
    if geometry.pads_zeros or not geometry.reach:
        return x, crop
    padded = functional.pad(x, (geometry.reach,) * 4, mode="replicate")
    return padded, crop + geometry.scale_factor * geometry.reach


def _prepare_transposed(weight: Tensor, geometry: Geometry) -> Tensor:
    """(C_out, C_in/g, k, k) to (C_in, C_out/g, k+s−1, k+s−1)."""
    matrix = transposed_matrix(geometry.kernel_size, geometry.scale_factor)
    return swap_channels(transform_kernels(weight, matrix), geometry.groups)


def swap_channels(kernels: Tensor, groups: int) -> Tensor:
    """Swap output and input channels, group by group; without a copy where there is one group.

    Parameters
    ----------
    kernels : Tensor, shape (C_out, C_in/g, …)
        Or the other way round.
    groups : int
        Number g of groups.

    Returns
    -------
    Tensor, shape (C_in, C_out/g, …)
    """
    if groups == 1:
        return kernels.transpose(0, 1)
    # batched gradients have rules for these views
    parts = kernels.reshape(groups, -1, *kernels.shape[1:]).transpose(1, 2)
    return parts.reshape(-1, *parts.shape[2:])


def _prepare_subpixel(weight: Tensor, geometry: Geometry) -> Tensor:
    """(C_out, C_in/g, k, k) to (C_out·s², C_in/g, 2r+1, 2r+1)."""
    scale, size = geometry.scale_factor, 2 * geometry.reach + 1
    kernels = transform_kernels(weight, phase_matrix(geometry.kernel_size, scale))
    phases = kernels.view(*weight.shape[:2], scale, size, scale, size).permute(0, 2, 4, 1, 3, 5)
    return phases.reshape(-1, weight.shape[1], size, size)


_PREPARATIONS: Mapping[str, Callable[[Tensor, Geometry], Tensor]] = {
    "transposed": _prepare_transposed,
    "subpixel": _prepare_subpixel,
    "minimal": lambda weight, geometry: prepare_minimal(weight, geometry.scale_factor),
    "tiled": lambda weight, _: prepare_tiled(weight),
}
