"""Overlap of the backward pass: the checkerboard that strided convolutions and pooling put into gradients."""

import math

import torch
from torch import Tensor, nn

from deconvbench.arguments import check_kind, check_whole
from deconvbench.errors import UsageError
from deconvbench.measure.artifacts.periodic import find_device, is_periodic, split_interior
from deconvbench.measure.layers import copy_layer, explain_failures

# a gradient that differs by more than this share from image to image depends on the input
_SAME = 1e-12


def gradient_phase_means(
    layer: nn.Module,
    in_channels: int,
    period: int,
    *,
    size: int | None = None,
    margin: int | None = None,
    images: int = 16,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Gradient that reaches the input pixels of each phase, if every output pixel sends back a one.

    All parameters are set to one (fixed filters stay what they are) and all output pixels have a gradient of one,
    so an input pixel counts the output pixels and channels that it takes part in. Which pixel a max-pooling takes
    depends on the input: normal noise is fed in, and the mean over images taken.

    Parameters
    ----------
    layer : nn.Module
        Maps (N, in_channels, size, size) to maps of any size; it is copied, evaluated in float64 and evaluation
        mode, and not changed.
    in_channels : int
        Its input channels.
    period : int
        Period P in input pixels: its stride, or the product of strides.
    size : int or None
        Side of the input in pixels; None: 32 periods.
    margin : int or None
        Pixels to leave out on each side, at least as many as padding and kernel reach in; None: a quarter.
    images : int
        How many inputs of noise to average over, at least two.
    generator : torch.Generator or None
        Source of the noise, on the CPU; None: a new one with seed 0.

    Returns
    -------
    Tensor, shape (P, P), float64
        Mean over the input channels and all interior pixels of the phase, counted from the input's first pixel.
        For a convolution C_out/groups times `theory.gradient_counts`, rotated by its padding.

    Raises
    ------
    UsageError
        If a number is out of range, the output is not a tensor that depends on the input, or the gradient of a
        layer whose gradient does not depend on the input does not repeat with the period.

    References
    ----------
    Odena, Dumoulin, Olah, "Deconvolution and checkerboard artifacts", Distill 2016 (its section on
    artifacts in gradients).
    """
    check_kind("layer", layer, nn.Module, "a module")
    if generator is not None:
        check_kind("generator", generator, torch.Generator, "a torch.Generator")
    in_channels, images = check_whole("in_channels", in_channels, 1), check_whole("images", images, 2)
    period = check_whole("period", period, 1)
    side = 32 * period if size is None else check_whole("size", size, 1)
    margin = None if margin is None else check_whole("margin", margin, 0)
    source = torch.Generator().manual_seed(0) if generator is None else generator
    probe = copy_layer(layer, torch.float64)
    with torch.no_grad():
        for parameter in probe.parameters():
            parameter.fill_(1)
    with explain_failures(f"size: {images} inputs of {in_channels}×{side}×{side} cannot be made"):
        shape = (images, in_channels, side, side)
        noise = torch.randn(shape, dtype=torch.float64, device="cpu", generator=source).to(find_device(probe))
    gradient = _send_back_ones(probe, noise)
    blocks = split_interior(gradient, period, margin)
    change = (gradient - gradient[:1]).abs().max()
    if bool(change <= _SAME * gradient.abs().max()) and not is_periodic(blocks):
        raise UsageError(
            f"layer: its gradient does not repeat with period {period} away from borders; the period is wrong, or"
            " padding and kernel reach further in than margin: increase size or margin"
        )
    return blocks.mean((0, 1, 2, 3))


def gradient_overlap_cv(
    layer: nn.Module,
    in_channels: int,
    period: int,
    *,
    size: int | None = None,
    margin: int | None = None,
    images: int = 16,
    generator: torch.Generator | None = None,
) -> float:
    """Unevenness over the phases of how often an input pixel is visited by the backward pass.

    Coefficient of variation of the `gradient_phase_means` over the P×P phases.

    Unit: none (population standard deviation over mean). Range: 0 to √(P² − 1). Best: 0, every pixel learns alike.
    Sees: the checkerboard in gradients of strided convolutions and average pooling, and so in images optimised
    through them: a convolution has the `overlap_cv` of the transposed convolution of its kernel and stride.
    Blind to: the weights, and how irregular a single gradient is. Max-pooling sends all of it to one pixel a
    window, but to each phase alike on average: it reads 0 to within the noise of the images.

    Parameters
    ----------
    layer, in_channels, period, size, margin, images, generator
        As in `gradient_phase_means`.

    Returns
    -------
    float
        NaN where no gradient arrives.

    Raises
    ------
    UsageError
        As `gradient_phase_means` does.

    References
    ----------
    Odena, Dumoulin, Olah, "Deconvolution and checkerboard artifacts", Distill 2016 (its section on
    artifacts in gradients).
    """
    means = gradient_phase_means(
        layer, in_channels, period, size=size, margin=margin, images=images, generator=generator
    )
    mean = float(means.mean())
    return float(means.std(correction=0)) / mean if mean else math.nan


def _send_back_ones(layer: nn.Module, x: Tensor) -> Tensor:
    """Gradient of the sum of the layer's output to x."""
    with torch.enable_grad():
        x = x.requires_grad_()
        with explain_failures(
            f"layer: fails for inputs of {x.shape[1]} channels and {x.shape[2]}×{x.shape[3]} pixels"
        ):
            y: object = layer(x)
        if not isinstance(y, Tensor):
            raise UsageError(f"layer: returned a {type(y).__name__}, not a tensor")
        if not y.requires_grad or y.is_complex():
            raise UsageError("layer: its output does not depend on its input, or is not of real numbers")
        with explain_failures("layer: no gradient comes through it"):
            (gradient,) = torch.autograd.grad(y.sum(), x, materialize_grads=True)
    if not bool(gradient.isfinite().all()):
        raise UsageError("layer: its gradient is not finite")
    return gradient
