"""First weights that keep the variance of activations: a network without a norm trains with them from the start.

Layers are known by what they are; nothing here knows a network by name, but that upsamplers are listed by it.
"""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from deconvbench.studies.training.networks import SuperResolutionNetwork, TransformationNetwork

# of the picture that gains are measured with
_SIDE = 64
# how far a gain may be from twice what it was, for a weight twice as large
_CLOSE = 0.01


def draw_first_weights(
    network: "TransformationNetwork | SuperResolutionNetwork", seed: int, upsampler_gain: float = 1.0
) -> None:
    """Draw the first weights of a network again, in place.

    Convolutions that a ReLU follows keep the mean square of what comes in (He); the second convolution of a
    residual block, or the norm after it, begins at zero, so that a block begins as the identity (Zhang et al.;
    Goyal et al.); a last convolution keeps the variance. Upsamplers keep the weights that they drew, times a
    factor: with it the mean square of what they, and the ReLU behind them, make of the network's own features of a
    drawn picture is that of these features. Networks of one width and seed share the weights of all other layers.

    Parameters
    ----------
    network : TransformationNetwork or SuperResolutionNetwork
        As built.
    seed : int
        Of the weights.
    upsampler_gain : float
        By which the upsamplers' weights are multiplied in the end.

    References
    ----------
    He, Zhang, Ren, Sun, "Delving deep into rectifiers: surpassing human-level performance on ImageNet
    classification", arXiv:1502.01852.
    Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour", arXiv:1706.02677 (branches that
    begin at zero behind a norm).
    Zhang, Dauphin, Ma, "Fixup initialization: residual learning without normalization", arXiv:1901.09321.
    Mishkin, Matas, "All you need is a good init", arXiv:1511.06422 (gains that are measured).
    """
    generator = torch.Generator().manual_seed(seed)
    upsamplers = {name: network.get_submodule(name) for name in network.upsamplers}
    of_upsamplers = {module for upsampler in upsamplers.values() for module in upsampler.modules()}
    last = getattr(network, "last", None)
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module not in of_upsamplers:
            _draw_convolution(module, 1.0 if module is last else math.sqrt(2), generator)
    for block in network.blocks:
        _begin_at_zero(block.branch)  # type: ignore[arg-type] # of a ResidualBlock
    picture = _draw_picture(generator)
    for upsampler in upsamplers.values():
        # an upsampler that is the last layer has no ReLU behind it
        _keep_power(
            upsampler,
            _find_input(network, upsampler, picture),
            nn.Identity() if last is None else nn.ReLU(),
            upsampler_gain,
        )


def _draw_convolution(convolution: nn.Conv2d, gain: float, generator: torch.Generator) -> None:
    weight = convolution.weight
    fan_in = weight[0].numel()
    with torch.no_grad():
        weight.normal_(0, gain / math.sqrt(fan_in), generator=generator)
        if convolution.bias is not None:
            convolution.bias.zero_()


def _begin_at_zero(branch: nn.Sequential) -> None:
    """Make a branch give zero: by its norm where there is one, by its last convolution otherwise."""
    *_, convolution, norm = branch
    last = norm if isinstance(norm, nn.InstanceNorm2d) else convolution
    with torch.no_grad():
        last.weight.zero_()  # type: ignore[operator] # a parameter of either


def _draw_picture(generator: torch.Generator) -> Tensor:
    """Draw a picture with large areas and some grain, (1, 3, H, W) from 0 to 1."""
    coarse = torch.rand(1, 3, _SIDE // 8, _SIDE // 8, generator=generator)
    fine = torch.rand(1, 3, _SIDE, _SIDE, generator=generator)
    return 0.8 * nn.functional.interpolate(coarse, (_SIDE, _SIDE), mode="bilinear") + 0.2 * fine


def _find_input(network: nn.Module, layer: nn.Module, picture: Tensor) -> tuple[Tensor, ...]:
    """Find what comes into a layer, its switches included, by a run of the network."""
    found: list[tuple[Tensor, ...]] = []
    handle = layer.register_forward_pre_hook(lambda _, args: found.append(args))
    try:
        with torch.no_grad():
            network(picture)
    finally:
        handle.remove()
    return found[0]


def _keep_power(upsampler: nn.Module, inputs: tuple[Tensor, ...], activation: nn.Module, gain: float) -> None:
    """Scale the weights that decide about an upsampler's gain until that (root of power out over in) is `gain`."""

    def measure_gain() -> float:
        return math.sqrt(float(activation(upsampler(*inputs)).square().mean() / inputs[0].square().mean()))

    def is_factor(weight: Tensor) -> bool:
        before = measure_gain()
        weight.mul_(2)
        ratio = measure_gain() / before
        weight.div_(2)
        return abs(ratio - 2) < _CLOSE

    with torch.no_grad():
        for name, parameter in upsampler.named_parameters():
            if name.rpartition(".")[2] == "bias":
                parameter.zero_()
        # the gain of a chain is the product of those of its layers; weights of a softmax are none of them
        weights = [parameter for parameter in upsampler.parameters() if is_factor(parameter)]
        factor = gain / measure_gain()
        for weight in weights:
            weight.mul_(factor ** (1 / len(weights)))
