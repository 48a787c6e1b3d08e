"""The layers that can be put in: what kernels each can have, and how it is built.

Sizes are those of the old layer: a new one that gives more is cropped, one that would give
less is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from deconvbench.networks.replacement.equivalents import BILINEAR_BORDER
from deconvbench.networks.replacement.finding import Found, read_kernel_size
from deconvbench.networks.replacement.kernels import (
    Axis,
    Equivalent,
    FloatArray,
    convolution_matrix,
    dilation_matrix,
)
from deconvbench.theory import bilinear_kernel, box_kernel, flip_kernel, subpixel_kernel
from deconvbench.upsamplers.equal_gain import EqualGainConvTranspose2d, GainProjection, find_missing_phase
from deconvbench.upsamplers.resize_modes import ResizeConv2d
from deconvbench.upsamplers.subpixel import SubpixelConv2d
from deconvbench.upsamplers.transposed_filtered import FILTER_TAPS, FilteredConvTranspose2d

_TRANSPOSED: dict[str, type[nn.ConvTranspose2d]] = {
    "transposed": nn.ConvTranspose2d,
    "equal_gain_transposed": EqualGainConvTranspose2d,
    "transposed_fir": FilteredConvTranspose2d,
}
_MODES = {"nearest_conv": "nearest", "bilinear_conv": "bilinear"}
_BLUR_BORDER = "the blur repeats the outermost pixel above and to the left"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """A new layer, before it is built.

    Parameters
    ----------
    axes : (Axis, Axis)
        The kernels that it can have.
    project : callable or None
        Which of their weights it can have, if not all.
    has_phases : bool
        Whether each phase has a bias of its own.
    arrange : callable
        From these weights, (C_in, C_out/g, m, n), to those of the layer.
    make : callable
        Builds the layer, given ``bias``, ``device`` and ``dtype``.
    crop : ((int, int), (int, int))
        Rows above and below, and columns left and right, of its output that are too many.
    border : str
        As in `Equivalent`.
    """

    axes: tuple[Axis, Axis]
    project: Callable[[FloatArray], FloatArray] | None = None
    has_phases: bool = False
    arrange: Callable[[FloatArray], FloatArray]
    make: Callable[..., nn.Module]
    crop: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    border: str = ""


def plan_layer(name: str, found: Found, equivalent: Equivalent, kernel_size: int | None) -> Plan | str:
    """Plan a new layer.

    Parameters
    ----------
    name : str
        One of `specification.TARGETS`.
    found : Found
        What it replaces.
    equivalent : Equivalent
        What that computes.
    kernel_size : int or None
        Of the new layer; None: the smallest that holds the old one, a resize-convolution's own.

    Returns
    -------
    Plan or str
        Why there is no such layer, in words.
    """
    if name in _TRANSPOSED:
        return _plan_transposed(name, found, equivalent, kernel_size)
    if equivalent.stride[0] != equivalent.stride[1]:
        return f"its scale {equivalent.stride} differs between the axes, which {name} has not"
    if max(equivalent.excess) > 0:
        scale, extra = equivalent.stride[0], max(equivalent.excess)
        return f"its output has {scale}·H + {extra} pixels, more than the {scale}·H that {name} makes"
    if name in _MODES:
        return _plan_resize(name, found, equivalent, kernel_size)
    return _plan_subpixel(name, equivalent, kernel_size)


def _plan_resize(name: str, found: Found, equivalent: Equivalent, kernel_size: int | None) -> Plan:
    scale = equivalent.stride[0]

    def measure_reach(start: int, size: int) -> int:
        return max(-start, start + size - scale)

    crop = _find_crop(equivalent, measure_reach, 1)
    size = kernel_size or _read_own_kernel(found)
    if size is None:
        reach = _find_reach(equivalent, measure_reach, crop)
        size = 2 * max(reach, 0 if found.name in _MODES else 1) + 1
    filter_taps = box_kernel(scale) if name == "nearest_conv" else bilinear_kernel(scale)
    matrix = convolution_matrix(filter_taps, size)
    in_channels, out_channels = _count_channels(equivalent)

    def make(**options: Any) -> nn.Module:
        return ResizeConv2d(
            *(in_channels, out_channels, size, scale, _MODES[name]), groups=equivalent.groups, **options
        )

    return Plan(
        axes=_make_axes(matrix, -((size - 1) // 2) - (len(filter_taps) - scale) // 2, crop),
        arrange=lambda weights: flip_kernel(weights, equivalent.groups),
        make=make,
        crop=crop,
        border="" if name == "nearest_conv" else BILINEAR_BORDER,
    )


def _read_own_kernel(found: Found) -> int | None:
    """Read the kernel behind bilinear upsampling, which reaches further than nearest with the same kernel."""
    sizes = set(read_kernel_size(found.module))
    is_dilated = getattr(found.module, "dilation", (1, 1)) != (1, 1)
    if found.name != "bilinear_conv" or len(sizes) > 1 or max(sizes) % 2 == 0 or is_dilated:
        return None
    return max(sizes)


def _plan_subpixel(name: str, equivalent: Equivalent, kernel_size: int | None) -> Plan:
    scale = equivalent.stride[0]

    def measure_reach(start: int, size: int) -> int:
        return max(-(start // scale), -(-(start + size) // scale) - 1)

    # whole blocks, so that phases stay phases
    crop = _find_crop(equivalent, measure_reach, scale)
    size = kernel_size or 2 * max(_find_reach(equivalent, measure_reach, crop), 0) + 1
    matrix: FloatArray = np.eye(scale * size)
    is_icnr, is_blurred = name != "subpixel", name == "subpixel_icnr_blur"
    if is_blurred:
        matrix = convolution_matrix(box_kernel(scale) / scale, scale * size)
    elif is_icnr:
        # all phases alike
        matrix = np.repeat(np.eye(size), scale, axis=0)
    in_channels, out_channels = _count_channels(equivalent)

    def arrange(weights: FloatArray) -> FloatArray:
        if is_icnr and not is_blurred:
            weights = np.repeat(np.repeat(weights, scale, 2), scale, 3)
        return subpixel_kernel(weights, scale, groups=equivalent.groups)

    def make(**options: Any) -> nn.Module:
        return SubpixelConv2d(
            *(in_channels, out_channels, size, scale, is_icnr, is_blurred), groups=equivalent.groups, **options
        )

    return Plan(
        axes=_make_axes(matrix, -scale * (size // 2), crop),
        has_phases=not is_icnr,
        arrange=arrange,
        make=make,
        crop=crop,
        border=_BLUR_BORDER if is_blurred else "",
    )


def _plan_transposed(name: str, found: Found, equivalent: Equivalent, kernel_size: int | None) -> Plan | str:
    stride = equivalent.stride
    if name == "transposed_fir" and stride != (2, 2):
        return f"its filter {list(FILTER_TAPS)} evens out a stride of 2 only, not {stride}"
    old = found.module
    if isinstance(old, nn.ConvTranspose2d) and kernel_size is None:
        sizes, dilation = (old.kernel_size[0], old.kernel_size[1]), (old.dilation[0], old.dilation[1])
    else:
        rows, columns = equivalent.taps.shape[2:]
        sizes, dilation = (kernel_size or rows, kernel_size or columns), (1, 1)
    # of an output that is s·H + excess, by the formula of the size
    missing = [
        distance * (size - 1) + 1 - step - excess
        for distance, size, step, excess in zip(dilation, sizes, stride, equivalent.excess, strict=True)
    ]
    padding = (
        [-(-number // 2) for number in missing]
        if kernel_size is not None
        else [-start for start in equivalent.start]
    )
    output_padding = [2 * crop - number for crop, number in zip(padding, missing, strict=True)]
    if min(padding) < 0:
        return f"a transposed convolution of kernel {sizes} gives fewer pixels than it, whatever its padding"
    if any(
        not 0 <= extra < max(step, distance)
        for extra, step, distance in zip(output_padding, stride, dilation, strict=True)
    ):
        return f"a transposed convolution of kernel {sizes} and padding {padding} cannot give as many pixels as it"
    reason = find_missing_phase(sizes, stride, dilation)
    if reason is not None and name == "equal_gain_transposed":
        return reason
    axes = [
        _make_transposed_axis(name, size, distance, crop)
        for size, distance, crop in zip(sizes, dilation, padding, strict=True)
    ]
    in_channels, out_channels = _count_channels(equivalent)

    def make(**options: Any) -> nn.Module:
        return _TRANSPOSED[name](
            *(in_channels, out_channels, sizes, stride),
            padding=(padding[0], padding[1]),
            output_padding=(output_padding[0], output_padding[1]),
            groups=equivalent.groups,
            dilation=dilation,
            **options,
        )

    def project(weights: FloatArray) -> FloatArray:
        projected: FloatArray = GainProjection(sizes, stride, dtype=torch.float64)(
            torch.from_numpy(weights)
        ).numpy()
        return projected

    return Plan(
        axes=(axes[0], axes[1]),
        project=project if name == "equal_gain_transposed" else None,
        arrange=np.asarray,
        make=make,
    )


def _make_transposed_axis(name: str, size: int, dilation: int, padding: int) -> Axis:
    matrix, start = dilation_matrix(size, dilation), -padding
    if name == "transposed_fir":
        # a stride of 2; what is put in front of the filter reaches 2 pixels back, and the filter 3
        filter_taps = 2 * np.array(FILTER_TAPS) / sum(FILTER_TAPS)
        matrix, start = convolution_matrix(filter_taps, len(matrix)) @ matrix, start - 1
    return Axis(matrix=matrix, start=start)


def _count_channels(equivalent: Equivalent) -> tuple[int, int]:
    in_channels, out_channels, *_ = equivalent.taps.shape
    return in_channels, out_channels * equivalent.groups


def _find_crop(
    equivalent: Equivalent, measure_reach: Callable[[int, int], int], step: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Share what is too many between both ends, so that the smallest kernel serves; before in whole steps."""
    rows, columns = (
        min(
            ((before, -excess - before) for before in range(0, 1 - excess, step)),
            key=lambda crop, start=start, size=size: measure_reach(start + crop[0], size),  # type: ignore[misc]
        )
        for start, size, excess in zip(equivalent.start, equivalent.taps.shape[2:], equivalent.excess, strict=True)
    )
    return rows, columns


def _find_reach(
    equivalent: Equivalent, measure_reach: Callable[[int, int], int], crop: tuple[tuple[int, int], tuple[int, int]]
) -> int:
    """Measure how far a kernel has to reach on both axes, behind what is cropped."""
    return max(
        measure_reach(start + before, size)
        for start, size, (before, _) in zip(equivalent.start, equivalent.taps.shape[2:], crop, strict=True)
    )


def _make_axes(matrix: FloatArray, start: int, crop: tuple[tuple[int, int], tuple[int, int]]) -> tuple[Axis, Axis]:
    (top, _), (left, _) = crop
    return Axis(matrix=matrix, start=start - top), Axis(matrix=matrix, start=start - left)
