"""The upsampling sites of a network, in the order in which they are executed.

A site is one upsampling in one place at one size; how often it is executed there is its `uses`. Transposed
convolutions of stride 1 are none. Gains and ripples are found in `weights`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from deconvbench.networks.inspection.tracing import TRANSPOSED, UNPOOLINGS, Upsampling, Weighted
from deconvbench.records.sites import (
    DEPTH_TO_SPACE,
    FOLD,
    MAX_UNPOOLING,
    RESIZE,
    RESIZE_CONVOLUTION,
    SUBPIXEL_CONVOLUTION,
    TRANSPOSED_CONVOLUTION,
    ConvolutionInfo,
    Site,
)
from deconvbench.theory import conv_macs, transposed_conv_macs


@dataclass(frozen=True, slots=True, eq=False)
class TracedSite:
    """A site, and what was seen of it: with tensors.

    Parameters
    ----------
    site : Site
        Plain data.
    upsampling : Upsampling
        Its first execution.
    """

    site: Site
    upsampling: Upsampling


def collect_sites(upsamplings: Sequence[Upsampling]) -> list[TracedSite]:
    """Make the sites of what was executed.

    Parameters
    ----------
    upsamplings : sequence of Upsampling
        From one run.

    Returns
    -------
    list of TracedSite
        In network order.
    """
    grouped: dict[object, list[Upsampling]] = {}
    for upsampling in upsamplings:
        if any(one > 1 for one in read_scale(upsampling)):
            grouped.setdefault((upsampling.place, upsampling.in_shape), []).append(upsampling)
    weights: dict[int, int] = {}
    for group in grouped.values():
        for upsampling in group:
            if upsampling.weighted is not None:
                key = id(upsampling.weighted.weight)
                weights[key] = weights.get(key, 0) + 1
    return [
        TracedSite(_make_site(number, group, weights), group[0])
        for number, group in enumerate(grouped.values(), start=1)
    ]


def read_scale(upsampling: Upsampling) -> tuple[float, ...]:
    """Output pixels for an input pixel, along each spatial axis: the stride of a transposed convolution."""
    if upsampling.layout is not None:
        return upsampling.layout.scale
    if upsampling.place.name in TRANSPOSED and upsampling.weighted is not None:
        return upsampling.weighted.read_sizes("stride", 1)
    if upsampling.place.name == "fold":
        stride = upsampling.arguments.get("stride", 1)
        return tuple(stride) if isinstance(stride, (tuple, list)) else (stride, stride)
    before, after = upsampling.in_shape[2:], upsampling.out_shape[2:]
    if upsampling.place.name == "pixel_shuffle":
        # any number of leading axes
        before, after = upsampling.in_shape[-2:], upsampling.out_shape[-2:]
    ratios = [large / small for small, large in zip(before, after, strict=True)]
    return tuple(round(one) if one == round(one) else one for one in ratios)


def find_channel_axis(upsampling: Upsampling) -> int:
    """Axis of the output's channels."""
    layout = upsampling.layout
    return len(upsampling.out_shape) - 1 if layout is not None and layout.is_channels_last else 1


def _choose_kind(upsampling: Upsampling) -> str:
    name, layout = upsampling.place.name, upsampling.layout
    if name in TRANSPOSED:
        return TRANSPOSED_CONVOLUTION
    if name in UNPOOLINGS:
        return MAX_UNPOOLING
    if name == "fold":
        return FOLD
    if name == "pixel_shuffle" or (layout is not None and layout.channels is not None):
        return DEPTH_TO_SPACE if upsampling.weighted is None else SUBPIXEL_CONVOLUTION
    return RESIZE if upsampling.after is None or upsampling.after.weight.ndim < 3 else RESIZE_CONVOLUTION


def _describe_operation(upsampling: Upsampling) -> str:
    name, arguments = upsampling.place.name, upsampling.arguments
    if name == "interpolate":
        mode = f"interpolate(mode={arguments.get('mode', 'nearest')}"
        return f"{mode}, align_corners=True)" if arguments.get("align_corners") else f"{mode})"
    if name == "onnx_resize":
        return f"Resize(mode={arguments['mode']}: {arguments['differences']})"
    if upsampling.layout is None:
        return name
    return "repeated values" if upsampling.layout.channels is None else "channels rearranged as pixels"


def count_macs(layer: Weighted | None) -> int:
    """Count the multiply-accumulates of a site's layer, whole batch."""
    if layer is None:
        return 0
    shape = layer.weight.shape
    if layer.weight.ndim == 2:
        return math.prod(layer.in_shape[:-1]) * shape[0] * shape[1]
    is_transposed = layer.place.name in TRANSPOSED
    sides = layer.in_shape[2:] if is_transposed else layer.out_shape[2:]
    channels = (layer.in_shape[1], layer.out_shape[1])
    count = transposed_conv_macs if is_transposed else conv_macs
    # one or three axes are two of the same number of pixels and taps
    kernel = (math.prod(shape[2:-1]), shape[-1])
    macs = count(*channels, kernel, math.prod(sides[:-1]), sides[-1], groups=layer.groups)
    return macs * layer.in_shape[0]


def _describe_layer(layer: Weighted) -> ConvolutionInfo:
    out_channels, in_channels = layer.weight.shape[:2]
    if layer.weight.ndim == 2:
        return ConvolutionInfo(
            path=layer.place.path,
            kernel_size=(),
            stride=(),
            padding=(),
            in_channels=in_channels,
            out_channels=out_channels,
        )
    return ConvolutionInfo(
        path=layer.place.path,
        kernel_size=tuple(layer.weight.shape[2:]),
        stride=layer.read_sizes("stride", 1),
        padding=layer.read_sizes("padding", 0),
        in_channels=layer.in_shape[1],
        out_channels=layer.out_shape[1],
    )


def _make_site(number: int, group: Sequence[Upsampling], weights: dict[int, int]) -> Site:
    upsampling = group[0]
    kind = _choose_kind(upsampling)
    layer = upsampling.after if kind == RESIZE_CONVOLUTION else upsampling.weighted
    scale = read_scale(upsampling)
    options: dict[str, object] = {}
    channels = upsampling.out_shape[find_channel_axis(upsampling)]
    in_channels = out_channels = channels
    if layer is not None and layer.weight.ndim > 2:
        options = {
            "kernel_size": tuple(layer.weight.shape[2:]),
            "stride": layer.read_sizes("stride", 1),
            "padding": layer.read_sizes("padding", 0),
            "dilation": layer.read_sizes("dilation", 1),
            "groups": layer.groups,
        }
        if kind == TRANSPOSED_CONVOLUTION:
            options["output_padding"] = layer.read_sizes("output_padding", 0)
        in_channels, out_channels = layer.in_shape[1], layer.out_shape[1]
    elif layer is not None:
        in_channels, out_channels = layer.in_shape[-1], layer.out_shape[-1]
    if kind == SUBPIXEL_CONVOLUTION:
        out_channels = channels
    described = None
    if layer is not None and kind != TRANSPOSED_CONVOLUTION:
        described = _describe_layer(layer)
    order = ""
    if kind in {SUBPIXEL_CONVOLUTION, DEPTH_TO_SPACE}:
        order = "c i j" if upsampling.layout is None else upsampling.layout.describe_order()
    own = upsampling.weighted
    return Site(
        number=number,
        path=upsampling.place.path,
        kind=kind,
        operation=_describe_operation(upsampling),
        dims=len(scale),
        scale=scale,
        in_shape=upsampling.in_shape,
        out_shape=upsampling.out_shape,
        in_channels=in_channels,
        out_channels=out_channels,
        macs=count_macs(layer),
        uses=len(group),
        is_shared=own is not None and weights[id(own.weight)] > 1,
        is_last=any(one.is_last for one in group),
        convolution=described,
        order=order,
        is_channels_last=find_channel_axis(upsampling) > 1,
        dtype=str(upsampling.dtype).removeprefix("torch."),
        **options,  # type: ignore[arg-type] # of the layer, by name
    )
