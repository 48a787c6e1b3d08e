"""Which neighbouring modules of a container may be computed in row strips, and computing them so.

From a nearest-neighbour upsampling on, as far as every module keeps rows in order: convolutions of stride 1 that
keep the size, with their padding, what acts on each pixel alone, PixelShuffle and further upsamplings. Needs no
fast form: in half precision strips are made of torch's own operations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from deconvbench.networks.fusion.calls import make_pair
from deconvbench.networks.fusion.chains import (
    PADS,
    POINTWISE,
    Chain,
    find_chain,
    gains,
    is_upsampling,
    read_upsampling,
    run_chain,
)
from deconvbench.networks.fusion.originals import is_call_own
from deconvbench.upsamplers.fast.recording import records_gradient
from deconvbench.upsamplers.fast.strips import Stage, choose_rows, run_in_strips

# these leave each pixel what it is in evaluation mode, or treat each channel in its own way
_IDLE = (nn.Dropout, nn.Dropout2d, nn.AlphaDropout)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Neighbouring modules whose output rows depend on the rows around them only.

    Parameters
    ----------
    modules : tuple of nn.Module
        In their order.
    stage : Stage
        What they compute.
    """

    modules: tuple[nn.Module, ...]
    stage: Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class StripChain:
    """Neighbouring modules that may be computed in row strips.

    Parameters
    ----------
    start, stop : int
        Which modules.
    links : tuple of Link
        They, in their order; the first one upsamples.
    """

    start: int
    stop: int
    links: tuple[Link, ...]


def _link(modules: Sequence[nn.Module], chain: Chain | None = None, **sizes: Any) -> Link:
    taken = tuple(modules)
    return Link(modules=taken, stage=Stage(run=partial(_run, taken, chain), **sizes))


def _run(modules: Sequence[nn.Module], chain: Chain | None, x: Tensor) -> Tensor:
    """Run modules, as one where that is exact and faster."""
    if chain is not None and gains(chain, x, is_prepared=False):
        return run_chain(chain, x, None)
    for module in modules:
        x = module(x)
    return x


def is_flattened(module: nn.Module) -> bool:
    """Whether a module in a container does nothing but run its own modules."""
    return type(module) is nn.Sequential and is_call_own(module)


def flatten(container: nn.Sequential) -> list[nn.Module]:
    """List the modules that a container runs, those of containers in it that do nothing else among them."""
    found: list[nn.Module] = []
    for child in container:
        found += flatten(child) if isinstance(child, nn.Sequential) and is_flattened(child) else [child]
    return found


def find_strip_chain(modules: Sequence[nn.Module], start: int) -> StripChain | None:
    """Find the modules from an upsampling on that may be computed in row strips; None where it comes alone."""
    links: list[Link] = []
    index = start
    while index < len(modules):
        link = _read_link(modules, index)
        if link is None:
            break
        links.append(link)
        index += len(link.modules)
    if not links or links[0].stage.scale == 1 or not any(link.stage.kernel_size for link in links):
        return None
    return StripChain(start=start, stop=index, links=tuple(links))


def _read_link(modules: Sequence[nn.Module], index: int) -> Link | None:  # noqa: PLR0911 -- one for each kind
    module: Any = modules[index]
    if is_upsampling(module):
        return _read_upsampling(modules, index)
    if type(module) in PADS or type(module) is nn.Conv2d:
        return _read_convolution(modules, index)
    if not is_call_own(module):
        return None
    if type(module) in (*POINTWISE, nn.PReLU):
        return _link([module])
    if type(module) in _IDLE and not module.training:
        return _link([module])
    if type(module) is nn.BatchNorm2d and not module.training and module.running_mean is not None:
        return _link([module])
    if type(module) is nn.PixelShuffle:
        return _link([module], scale=module.upscale_factor, is_shuffle=True)
    return None


def _read_upsampling(modules: Sequence[nn.Module], index: int) -> Link | None:
    chain = find_chain(modules, index)
    if isinstance(chain, Chain) and not chain.match.padding:
        (piece,) = chain.match.pieces
        return _link(
            modules[index : chain.stop],
            chain,
            scale=piece.scale,
            reach=(chain.match.kernel_size - 1) // 2,
            out_channels=chain.match.out_channels,
            kernel_size=chain.match.kernel_size,
            groups=chain.match.groups,
        )
    scale = read_upsampling(modules[index])
    if isinstance(scale, str) or not is_call_own(modules[index]):
        return None
    return _link([modules[index]], scale=scale)


def _read_convolution(modules: Sequence[nn.Module], index: int) -> Link | None:
    """Read padding and a convolution that keep the size together."""
    taken: list[nn.Module] = []
    pads = [0, 0, 0, 0]
    for module in modules[index:]:
        if not is_call_own(module):
            return None
        taken.append(module)
        if type(module) is nn.Conv2d:
            return _end_convolution(module, pads, taken)
        if type(module) not in PADS or PADS[type(module)] == "circular":
            return None
        amounts = make_pair(module.padding)
        if len(amounts) != 4 or min(amounts) < 0:
            return None
        pads = [total + amount for total, amount in zip(pads, amounts, strict=True)]
    return None


def _end_convolution(conv: nn.Conv2d, pads: Sequence[int], taken: Sequence[nn.Module]) -> Link | None:
    spans = [step * (size - 1) for step, size in zip(conv.dilation, conv.kernel_size, strict=True)]
    own = conv.padding
    if isinstance(own, str):
        own = tuple(span // 2 for span in spans) if own == "same" else (0, 0)
    left, right, top, bottom = pads
    sides = ((top + own[0], bottom + own[0]), (left + own[1], right + own[1]))
    keeps_size = all(span % 2 == 0 and side == (span // 2,) * 2 for span, side in zip(spans, sides, strict=True))
    if conv.stride != (1, 1) or conv.padding_mode == "circular" or not keeps_size:
        return None
    return _link(
        taken,
        reach=spans[0] // 2,
        out_channels=conv.out_channels,
        kernel_size=max(conv.kernel_size),
        groups=conv.groups,
    )


def run_strip_chain(chain: StripChain, x: Tensor, max_bytes: int) -> Tensor | None:
    """Compute a chain in row strips.

    Parameters
    ----------
    chain : StripChain
        What to compute.
    x : Tensor, shape (N, C, H, W)
        Its input.
    max_bytes : int
        What it may hold, the output included and the input not.

    Returns
    -------
    Tensor or None
        None where the whole fits, and where gradients are recorded: what is kept for them is whole anyway.
    """
    if x.ndim != 4 or torch.compiler.is_compiling():
        return None
    parameters = (
        parameter for link in chain.links for module in link.modules for parameter in module.parameters()
    )
    if records_gradient(x, *parameters):
        return None
    stages = [link.stage for link in chain.links]
    rows = choose_rows(stages, x, max_bytes)
    return None if rows is None else run_in_strips(stages, x, rows)
