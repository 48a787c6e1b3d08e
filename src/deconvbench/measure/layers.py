"""Building and running the one layer that a measure looks at, without side effects.

Shared by the measures of quality and of numerics, so that "seeded" and "runs" mean one thing: the global random
state, the caller's layer and autograd's graph stay untouched, and an output of the wrong size is an error here,
not a wrong number further on. Nothing here times or judges anything.
"""

import copy

import torch
from torch import Tensor, nn

from deconvbench.errors import UsageError
from deconvbench.upsamplers import build_upsampler


def build_seeded_layer(
    upsampler_name: str,
    in_channels: int,
    out_channels: int,
    kernel_size: int | None,
    scale_factor: int,
    seed: int,
) -> nn.Module:
    """Build an upsampler whose weights depend on the seed alone.

    Parameters
    ----------
    upsampler_name, in_channels, out_channels, kernel_size, scale_factor
        See `build_upsampler`.
    seed : int
        Seed of the random initialisation.

    Returns
    -------
    nn.Module
        In evaluation mode, on the CPU.

    Raises
    ------
    UsageError
        If the name is unknown.
    UnsupportedError
        If this upsampler cannot have that kernel or scale.
    """
    with torch.random.fork_rng(devices=()):
        # not torch.manual_seed: that would seed the accelerators too, whose state is not restored here
        torch.default_generator.manual_seed(seed)
        return build_upsampler(upsampler_name, in_channels, out_channels, kernel_size, scale_factor).eval()


def copy_layer(layer: nn.Module, dtype: torch.dtype, device: torch.device | str | None = None) -> nn.Module:
    """Copy a layer into another precision; the original stays as it is.

    Parameters
    ----------
    layer : nn.Module
        Any layer.
    dtype : torch.dtype
        Floating-point type of the copy's parameters and buffers; integer buffers keep theirs.
    device : torch.device or str or None
        Where the copy lives; None: where the original does.

    Returns
    -------
    nn.Module
        The copy, in evaluation mode.
    """
    return copy.deepcopy(layer).to(device=device, dtype=dtype).eval()


def run_layer(layer: nn.Module, x: Tensor, scale_factor: int) -> Tensor:
    """Run a layer without a graph and check what comes back.

    Parameters
    ----------
    layer : nn.Module
        The upsampler.
    x : Tensor, shape (N, C_in, H, W)
        Its input.
    scale_factor : int
        Scale s.

    Returns
    -------
    Tensor, shape (N, C_out, s·H, s·W)
        Its output.

    Raises
    ------
    UsageError
        If the output is no tensor, has another size, or holds NaN or infinity.
    """
    with torch.no_grad():
        y: object = layer(x)
    if not isinstance(y, Tensor):
        raise UsageError(f"upsampler: returned a {type(y).__name__}, not a tensor")
    batch, _, height, width = x.shape
    found = tuple(y.shape)
    if len(found) != 4 or (found[0], *found[2:]) != (batch, scale_factor * height, scale_factor * width):
        raise UsageError(
            f"upsampler: output of shape {found} for an input of shape {tuple(x.shape)}; scale_factor"
            f" {scale_factor} asks for ({batch}, C_out, {scale_factor * height}, {scale_factor * width})"
        )
    if not bool(torch.isfinite(y).all()):
        raise UsageError(f"upsampler: its output in {str(y.dtype).removeprefix('torch.')} is not finite")
    return y
