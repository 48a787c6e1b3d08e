"""Phase gains of a site's actual weights, and what they do to a constant.

For any number of axes, groups and dilations, in float64. A transposed convolution's are read off its kernel, those
of a sub-pixel convolution off the layer before the shuffle, biases included. A resize has equal gains by
construction. Runs no model.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.measure.artifacts.imaging import image_rejection_db
from deconvbench.networks.inspection.sites import TracedSite, read_scale
from deconvbench.networks.inspection.tracing import TRANSPOSED, Upsampling
from deconvbench.records.sites import TRANSPOSED_CONVOLUTION
from deconvbench.theory.polyphase import bilinear_kernel, box_kernel


@dataclass(frozen=True, slots=True, eq=False)
class PhaseGains:
    """What each phase of a site makes of a constant input.

    Parameters
    ----------
    values : Tensor, shape (g, O/g, I/g, S), float64
        Gains of each group of channels.
    offsets : Tensor or None, shape (O, S), float64
        Biases, where each phase has its own.
    """

    values: Tensor
    offsets: Tensor | None = None

    def respond(self, mean_input: Tensor) -> Tensor:
        """Say what comes out of a constant input.

        Parameters
        ----------
        mean_input : Tensor, shape (..., I)
            Its channels.

        Returns
        -------
        Tensor, shape (..., O, S), float64
        """
        groups = self.values.shape[0]
        parts = mean_input.to(self.values).reshape(*mean_input.shape[:-1], groups, -1)
        answer = torch.einsum("goip,...gi->...gop", self.values, parts).flatten(-3, -2)
        return answer if self.offsets is None else answer + self.offsets


def take_ripple_share(gains: Tensor) -> float:
    """Share of power that differs between phases, the last axis: Σ variance over Σ mean square; NaN for zeros."""
    power = float(gains.square().mean(-1).sum())
    return float(gains.var(-1, correction=0).sum()) / power if power else math.nan


def read_gains(upsampling: Upsampling, arguments: Mapping[str, Any] | None = None) -> PhaseGains | None:
    """Read the phase gains of a site.

    Parameters
    ----------
    upsampling : Upsampling
        As it was executed.
    arguments : mapping or None
        Of another call of its layer; None: of the one that was seen.

    Returns
    -------
    PhaseGains or None
        None where no weights decide about them: resizes, unpooling, shuffles with no layer directly before.
    """
    layer = upsampling.weighted
    if layer is None:
        return None
    given = layer.arguments if arguments is None else arguments
    weight: Tensor = given["weight"].detach().double().cpu()
    bias: Tensor | None = given.get("bias")
    if upsampling.place.name in TRANSPOSED:
        phases = _find_phases(upsampling)
        taps = weight.reshape(layer.groups, -1, *weight.shape[1:])
        return PhaseGains(_sum_phases(taps, phases).flatten(3).transpose(1, 2))
    channels = find_channels(upsampling)
    if channels is None:
        return None
    sums = weight.flatten(2).sum(-1) if weight.ndim > 2 else weight
    if layer.groups > 1:
        rows = sums.reshape(layer.groups, -1, sums.shape[-1])
        spread = rows.new_zeros(*rows.shape[:2], layer.groups, rows.shape[2])
        for group, part in enumerate(rows):
            spread[group, :, group] = part
        sums = spread.flatten(2).flatten(0, 1)
    offsets = None if bias is None else bias.detach().double().cpu()[channels]
    return PhaseGains(sums[channels].transpose(1, 2)[None], offsets)


def find_channels(upsampling: Upsampling) -> Tensor | None:
    """Channels (O, S) of the layer before a shuffle that become the phases of each output channel."""
    layer, layout = upsampling.weighted, upsampling.layout
    if layer is None or upsampling.place.name in TRANSPOSED:
        return None
    # not what a reshape has made of them since
    is_own = layout is None or (layout.channel_axis == 1 if layer.weight.ndim > 2 else True)
    count = layer.weight.shape[0]
    channels = (
        torch.arange(count).reshape(-1, math.prod(int(one) for one in read_scale(upsampling)))
        if layout is None or layout.channels is None
        else layout.channels
    )
    return channels if is_own and channels.numel() == count else None


def count_overlap(traced: TracedSite) -> float:
    """Coefficient of variation, over the phases, of how many taps reach them; 0 for all but transposed ones."""
    if traced.site.kind != TRANSPOSED_CONVOLUTION:
        return 0.0
    counts = _count_taps(_find_phases(traced.upsampling))
    return float(counts.std(correction=0) / counts.mean())


def find_excess(upsampling: Upsampling, bound: Mapping[str, Any], y: Tensor) -> Tensor:
    """Find the part of a layer's answer that phase gains unlike their mean make of the local mean of its input.

    Without it all phases have one gain; edges, and ripple that comes in, pass as before.

    Parameters
    ----------
    upsampling : Upsampling
        The site.
    bound : mapping
        Arguments of the call of its layer.
    y : Tensor
        Its answer.

    Returns
    -------
    Tensor
        Of the shape of the answer.

    Raises
    ------
    ValueError
        If no weights decide about the gains.
    """
    gains = read_gains(upsampling, bound)
    if gains is None:
        raise ValueError(f"{upsampling.place}: has no phase gains")
    excess = (gains.values - gains.values.mean(-1, keepdim=True)).to(y)
    offsets = None if gains.offsets is None else (gains.offsets - gains.offsets.mean(-1, keepdim=True)).to(y)
    x: Tensor = bound["input"].to(y.dtype)
    channels = find_channels(upsampling)
    if bound["weight"].ndim == 2:
        assert channels is not None
        part = torch.einsum("oip,...i->...op", excess[0], x)
        found = torch.zeros_like(y)
        found[..., channels] = part if offsets is None else part + offsets
        return found
    dims = x.ndim - 2
    means = _smooth(x)
    parts = means.reshape(len(x), len(excess), -1, *means.shape[2:])
    part = torch.einsum("goip,ngi...->ngop...", excess, parts).flatten(1, 2)
    if offsets is not None:
        part = part + offsets.reshape(*offsets.shape, *(1 for _ in range(dims)))
    if upsampling.place.name in TRANSPOSED and upsampling.weighted is not None:
        scale = upsampling.weighted.read_sizes("stride", 1)
        start = upsampling.weighted.read_sizes("padding", 0)
        return _fit(_spread(part, scale), start, y.shape[2:])
    assert channels is not None
    flat = part.flatten(1, 2)
    lost = [(before - after) // 2 for before, after in zip(flat.shape[2:], y.shape[2:], strict=True)]
    found = torch.zeros_like(y)
    found[:, channels.flatten()] = _fit(flat, lost, y.shape[2:])
    return found


def level_phases(y: Tensor, scale: Sequence[int], first_axis: int) -> Tensor:
    """Give all phases of a map the mean over pixels that they have together.

    Parameters
    ----------
    y : Tensor
        The map.
    scale : sequence of int
        Along each spatial axis.
    first_axis : int
        The first of them; the others follow.

    Returns
    -------
    Tensor
        Changed copy.
    """
    axes = tuple(range(first_axis, first_axis + len(scale)))
    y = y.clone()
    mean = y.mean(axes, keepdim=True)
    for offsets in itertools.product(*(range(one) for one in scale)):
        where = [slice(None)] * y.ndim
        for axis, offset, step in zip(axes, offsets, scale, strict=True):
            where[axis] = slice(offset, None, step)
        part = y[tuple(where)]
        part += mean - part.mean(axes, keepdim=True)
    return y


def measure_rejection(traced: TracedSite) -> float | None:  # noqa: PLR0911 -- one return for each kind
    """Image rejection in dB, of the weights or of the resize alone; None but for two axes of one whole scale."""
    upsampling, site = traced.upsampling, traced.site
    if site.dims != 2 or len(set(site.scale)) != 1 or site.scale[0] != int(site.scale[0]):
        return None
    scale = int(site.scale[0])
    if site.kind == TRANSPOSED_CONVOLUTION and upsampling.weighted is not None:
        weight = upsampling.weighted.weight.detach().double().cpu()
        if set(site.dilation) != {1}:
            return None
        side = -(-max(site.kernel_size) // scale) * scale
        rows, columns = weight.shape[-2:]
        taps = functional.pad(weight, (0, side - columns, 0, side - rows))
        return image_rejection_db(taps, scale)
    channels = find_channels(upsampling)
    if channels is not None and upsampling.weighted is not None:
        weight = upsampling.weighted.weight.detach().double().cpu()
        weight = weight[..., None, None] if weight.ndim == 2 else weight
        if weight.shape[-1] != weight.shape[-2]:
            return None
        # an impulse reaches the block m pixels on through tap K − 1 − m
        blocks = weight.flip(-1, -2)[channels]
        blocks = blocks.reshape(len(blocks), scale, scale, *blocks.shape[2:])
        taps = torch.einsum("oijcmn->ocminj", blocks)
        side = weight.shape[-1] * scale
        return image_rejection_db(taps.reshape(*taps.shape[:2], side, side), scale)
    mode = upsampling.arguments.get("mode", "nearest")
    if upsampling.place.name == "interpolate" and upsampling.arguments.get("align_corners"):
        return None
    is_repeat = upsampling.layout is not None and upsampling.layout.channels is None
    if is_repeat or (upsampling.place.name == "interpolate" and mode in {"nearest", "nearest-exact"}):
        profile = torch.from_numpy(box_kernel(scale))
    elif upsampling.place.name == "interpolate" and mode == "bilinear":
        profile = torch.from_numpy(bilinear_kernel(scale))
    else:
        return None
    profile = functional.pad(profile, (0, -len(profile) % scale))
    return image_rejection_db(torch.outer(profile, profile)[None, None], scale)


def _smooth(x: Tensor) -> Tensor:
    """Mean over four pixels along each axis: of what alternates from pixel to pixel nothing is left."""
    dims = x.ndim - 2
    pool = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[dims - 1]
    around = functional.pad(x, (1, 2) * dims, mode="replicate")
    y: Tensor = pool(around, 4, stride=1)
    return y


def _spread(part: Tensor, scale: Sequence[int]) -> Tensor:
    """Put phases (N, O, S, ...) at their pixels (N, O, ...)."""
    dims = len(scale)
    blocks = part.reshape(*part.shape[:2], *scale, *part.shape[3:])
    order = [axis for one in range(dims) for axis in (2 + dims + one, 2 + one)]
    sides = [side * one for side, one in zip(part.shape[3:], scale, strict=True)]
    return blocks.permute(0, 1, *order).reshape(*part.shape[:2], *sides)


def _fit(y: Tensor, start: Sequence[int], sides: Sequence[int]) -> Tensor:
    """Cut a map from a pixel on, or from before its first; zeros where it ends."""
    amounts: list[int] = []
    for first, side, own in zip(start, sides, y.shape[2:], strict=True):
        amounts = [-first, side + first - own, *amounts]
    return functional.pad(y, amounts)


def _find_phases(upsampling: Upsampling) -> list[tuple[Tensor, int]]:
    """Phase of each tap along each axis of a transposed convolution, and how many phases there are."""
    layer = upsampling.weighted
    assert layer is not None
    strides, dilations = layer.read_sizes("stride", 1), layer.read_sizes("dilation", 1)
    sizes = layer.weight.shape[2:]
    return [
        (torch.arange(size) * dilation % stride, stride)
        for size, stride, dilation in zip(sizes, strides, dilations, strict=True)
    ]


def _sum_phases(taps: Tensor, phases: Sequence[tuple[Tensor, int]]) -> Tensor:
    """Sum the taps (..., k, k) of each phase: (..., s, s)."""
    for axis, (phase, scale) in enumerate(phases, start=-len(phases)):
        shape = list(taps.shape)
        shape[axis] = scale
        taps = taps.new_zeros(shape).index_add(axis, phase.to(taps.device), taps)
    return taps


def _count_taps(phases: Sequence[tuple[Tensor, int]]) -> Tensor:
    """Count the taps of each phase: (s, s)."""
    ones = torch.ones([len(phase) for phase, _ in phases], dtype=torch.float64)
    return _sum_phases(ones, phases)
