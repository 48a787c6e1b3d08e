"""Flat-field ripple: what a whole network makes of a plain colour.

Needs nothing but the network: no data, no reference, no knowledge of its layers. Zero certifies that, with these
weights, flat areas stay flat. One layer is a small network, so non-linear upsamplers, which have no impulse
response, are measured the same way. What is not shift-equivariant (max-unpooling with stored indices, noise added
inside) does not repeat and is refused, not averaged over.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.arguments import check_kind, check_whole
from deconvbench.errors import UsageError
from deconvbench.measure.artifacts.periodic import find_device, is_periodic, split_interior
from deconvbench.measure.layers import copy_layer


def flat_field_ripple(
    network: nn.Module,
    in_channels: int,
    period: int,
    *,
    size: int = 32,
    margin: int | None = None,
    colours: int = 8,
    two_tone: bool = False,
    generator: torch.Generator | None = None,
) -> float:
    """Checkerboard that a network draws on a plain colour.

    Colours, uniform in −1..1 for each channel, fill whole inputs. In the middle of the output, which must then
    repeat with the period, the mean of each of the P×P phases is taken: RMS of these about their mean, over the
    phases, the output channels and the colours.

    Unit: that of the output. Range: 0 and up. Best: 0, a plain colour stays plain. Nearest resize-convolution
    through pointwise nonlinearities has exactly 0 with any weights (bilinear: 0 to rounding).
    Sees: the checkerboard in flat areas, of networks and single layers (period = their scale), linear or not.
    Blind to: artifacts that appear only at edges and textures, and to borders.
    Degenerate under InstanceNorm (and GroupNorm, or LayerNorm over pixels): it subtracts a plain colour, or blows
    up the little that is left of it. Use `two_tone` there: the two halves of an input get colours of their own, so
    there is a contrast to normalise, and each half is still plain away from its edges. (A slow wave would not do:
    its ripple changes sign with it and averages out.)

    Parameters
    ----------
    network : nn.Module
        Maps (N, in_channels, size, size) to (N, C', H', W'); it is copied, evaluated in float64 and evaluation
        mode, and not changed.
    in_channels : int
        Its input channels.
    period : int
        Period P in output pixels: the product of the scales of all upsamplers in the network.
    size : int
        Side of the input in pixels.
    margin : int or None
        Output pixels to leave out on each side (of each half, if there are two), at least as many as padding
        reaches in; None: a quarter of the side. One that is too small is found out: the rest does not repeat.
    colours : int
        How many colours to average over.
    two_tone : bool
        Give each half of the input, left and right, a colour of its own.
    generator : torch.Generator or None
        Source of the colours, on the CPU; None: a new one with seed 0.

    Returns
    -------
    float
        RMS over phases, channels and colours.

    Raises
    ------
    UsageError
        If a number is out of range, the output is not a finite tensor of that shape or too small, or its interior
        does not repeat.

    References
    ----------
    Odena, Dumoulin, Olah, "Deconvolution and checkerboard artifacts", Distill 2016 (flat areas as the worst case).
    Sugawara, Shiota, Kiya, "Super-resolution using convolutional neural networks without any checkerboard
    artifacts", arXiv:1806.02658 (a constant input must give a constant output).
    """
    in_channels, period = check_whole("in_channels", in_channels, 1), check_whole("period", period, 1)
    size, colours = check_whole("size", size, 1), check_whole("colours", colours, 1)
    margin = None if margin is None else check_whole("margin", margin, 0)
    check_kind("network", network, nn.Module, "a module")
    if generator is not None:
        check_kind("generator", generator, torch.Generator, "a torch.Generator")
    source = torch.Generator().manual_seed(0) if generator is None else generator
    probe = copy_layer(network, torch.float64)
    parts = 2 if two_tone else 1
    drawn = 2 * torch.rand(colours, in_channels, 1, parts, dtype=torch.float64, device="cpu", generator=source) - 1
    # nearest: as many columns of each colour as there are
    x = functional.interpolate(drawn, (size, size)).to(find_device(probe))
    power = 0.0
    for part in _run_network(probe, x).tensor_split(parts, -1):
        blocks = split_interior(part, period, margin)
        if not is_periodic(blocks):
            raise UsageError(
                f"network: its output for a plain colour does not repeat with period {period} away from borders;"
                " the period is wrong, or padding reaches further in than margin: increase size or margin"
            )
        # differences first: means of equal numbers differ by rounding
        phases = (blocks - blocks[:, :, :1, :1, :1, :1]).mean((2, 3))
        power += float(phases.var((-2, -1), correction=0).mean()) / parts
    return math.sqrt(power)


def _run_network(network: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        y: object = network(x)
    if not isinstance(y, Tensor) or y.ndim != 4 or len(y) != len(x):
        found = f"shape {tuple(y.shape)}" if isinstance(y, Tensor) else f"type {type(y).__name__}"
        raise UsageError(f"network: an output of {found} is not a tensor of shape ({len(x)}, C, H, W)")
    if not bool(y.isfinite().all()):
        raise UsageError("network: its output in float64 is not finite")
    return y
