"""Phase gains of a site's actual weights, and weights whose gains are equal.

For any number of axes, groups and dilations, in float64. A transposed convolution's are read off its kernel, those
of a sub-pixel convolution off the layer before the shuffle, biases included. A resize has equal gains by
construction. Runs no model.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from deconvbench.measure.artifacts.imaging import image_rejection_db
from deconvbench.networks.inspection.sites import TRANSPOSED_CONVOLUTION, TracedSite, read_scale
from deconvbench.networks.inspection.tracing import TRANSPOSED, Upsampling
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


def read_gains(upsampling: Upsampling) -> PhaseGains | None:
    """Read the phase gains of a site.

    Parameters
    ----------
    upsampling : Upsampling
        As it was executed.

    Returns
    -------
    PhaseGains or None
        None where no weights decide about them: resizes, unpooling, shuffles with no layer directly before.
    """
    layer = upsampling.weighted
    if layer is None:
        return None
    weight = layer.weight.detach().double().cpu()
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
    offsets = None if layer.bias is None else layer.bias.detach().double().cpu()[channels]
    return PhaseGains(sums[channels].transpose(1, 2)[None], offsets)


def find_channels(upsampling: Upsampling) -> Tensor | None:
    """Channels (O, S) of the layer before a shuffle that become the phases of each output channel."""
    layer, layout = upsampling.weighted, upsampling.layout
    if layer is None:
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


def equalise(upsampling: Upsampling, arguments: dict[str, Any]) -> dict[str, Any] | None:
    """Change the weights of a call so that all phases have the mean gain.

    The difference is spread evenly over the taps of a phase.

    Parameters
    ----------
    upsampling : Upsampling
        The site.
    arguments : dict
        Of the call of its layer, with a weight as it is now.

    Returns
    -------
    dict or None
        The same with another weight and bias; None where some phase has no taps.
    """
    weight: Tensor = arguments["weight"].detach().double()
    bias: Tensor | None = arguments.get("bias")
    if upsampling.place.name in TRANSPOSED:
        phases = _find_phases(upsampling)
        counts = _count_taps(phases)
        if bool((counts == 0).any()):
            return None
        gains = _sum_phases(weight, phases)
        axes = tuple(range(-len(phases), 0))
        excess = (gains - gains.mean(axes, keepdim=True)) / counts.to(weight)
        mesh = torch.meshgrid(*(phase for phase, _ in phases), indexing="ij")
        return {**arguments, "weight": (weight - _pick(excess, mesh)).to(arguments["weight"].dtype)}
    channels = find_channels(upsampling)
    if channels is None:
        return None
    taps = weight.shape[2:].numel()
    gains = (weight.flatten(2).sum(-1) if weight.ndim > 2 else weight)[channels]
    excess = torch.zeros_like(weight.flatten(2).sum(-1) if weight.ndim > 2 else weight)
    excess[channels] = (gains - gains.mean(1, keepdim=True)) / taps
    equal = weight - excess.reshape(*excess.shape, *(1 for _ in weight.shape[2:]))
    changed = {**arguments, "weight": equal.to(arguments["weight"].dtype)}
    if bias is not None:
        offsets = bias.detach().clone()
        offsets[channels] = offsets[channels].mean(1, keepdim=True).expand(channels.shape).contiguous()
        changed["bias"] = offsets
    return changed


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
        taps = torch.nn.functional.pad(weight, (0, side - columns, 0, side - rows))
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
    profile = torch.nn.functional.pad(profile, (0, -len(profile) % scale))
    return image_rejection_db(torch.outer(profile, profile)[None, None], scale)


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


def _pick(values: Tensor, mesh: Sequence[Tensor]) -> Tensor:
    """Take a value (..., s, s) for each tap, by its phases."""
    index: Any = (..., *mesh)
    picked: Tensor = values[index]
    return picked


def _count_taps(phases: Sequence[tuple[Tensor, int]]) -> Tensor:
    """Count the taps of each phase: (s, s)."""
    ones = torch.ones([len(phase) for phase, _ in phases], dtype=torch.float64)
    return _sum_phases(ones, phases)
