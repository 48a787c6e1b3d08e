"""Overlap: how unevenly a layer visits its output pixels, whatever its weights are."""

import copy
import math

import torch
from torch import Tensor, nn

from deconvbench.arguments import check_kind, check_whole
from deconvbench.measure.artifacts.impulse import impulse_response
from deconvbench.measure.artifacts.phases import phase_gains


class _EqualChannels(nn.Module):
    """Feeds one map to every input channel of a layer whose parameters are all one."""

    def __init__(self, layer: nn.Module, in_channels: int) -> None:
        super().__init__()
        self.layer = copy.deepcopy(layer)
        self.in_channels = in_channels
        with torch.no_grad():
            for parameter in self.layer.parameters():
                parameter.fill_(1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x.expand(-1, self.in_channels, -1, -1))
        return y


def overlap_cv(layer: nn.Module, in_channels: int, scale_factor: int) -> float:
    """Unevenness over the phases of how often an output pixel is visited.

    All parameters are set to one (biases cancel, see `impulse_response`; fixed filters stay what they are) and
    all inputs are one: an output pixel then counts the kernel positions that reach it. Coefficient of variation of
    these counts over the s×s phases. Every channel counts the same, so the number of channels does not matter.

    Unit: none (population standard deviation over mean). Range: 0 and up. Best: 0, even overlap.
    Sees: the pattern of the article's Figures 4 and 6. A transposed convolution has 0 exactly where the stride
    divides the kernel, otherwise √((1+c²)² − 1) with c = √(r(s−r))/k and r = k mod s.
    Takes a whole stack (an ``nn.Sequential`` of linear layers), with the product of their scales: uneven overlap
    multiplies, and k3 s2 once, twice and three times has .4843, .5386 and .5725.
    Blind to: the weights. A layer with even overlap can still ripple (`phase_ripple`).

    Parameters
    ----------
    layer : nn.Module
        Linear but for its bias, and shift-equivariant; it is not changed.
    in_channels : int
        Its input channels.
    scale_factor : int
        Its scale s; of a stack, the product.

    Returns
    -------
    float
        NaN where the counts are zero.

    Raises
    ------
    UsageError
        As `impulse_response` does.

    References
    ----------
    Odena, Dumoulin, Olah, "Deconvolution and checkerboard artifacts", Distill 2016.
    The article's Figures 4 (k=3, s=2) and 6 (k=4, s=2).
    """
    check_kind("layer", layer, nn.Module, "a module")
    in_channels = check_whole("in_channels", in_channels, 1)
    taps = impulse_response(_EqualChannels(layer, in_channels), 1, scale_factor)
    counts = phase_gains(taps, scale_factor).sum((0, 1))
    mean = float(counts.mean())
    return float(counts.std(correction=0)) / mean if mean else math.nan
