"""The impulse response of a linear, shift-equivariant upsampler: all that the metrics of the interior need.

It is read off the layer's outputs, so it is the same for every way to write the same function, and it is checked
against the layer's answer to noise before it is returned. Nothing here looks inside a layer.
"""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.arguments import check_kind, check_whole
from deconvbench.errors import UsageError
from deconvbench.measure.layers import copy_layer, run_layer

# side of the first map tried, in input pixels: room for a kernel of 8 at low resolution, which reaches 4
_FIRST_SIZE = 11
# float64 leaves 1e-15 of the largest value; interpolation weights computed from positions leave some 1e-14
_TOLERANCE = 1e-10
# share of the largest value below which an answer counts as nothing: some algorithms leave rounding everywhere
_NEGLIGIBLE = 1e-13


def impulse_response(layer: nn.Module, in_channels: int, scale_factor: int, *, max_size: int = 41) -> Tensor:
    """Read the taps off a linear layer by feeding it unit impulses.

    How far the layer reaches is seen from an impulse of random height in every channel at once, in the middle of a
    map that is enlarged until the answer stays off its rim. Then comes one impulse per input channel on a map that
    is just large enough, less the output for an input of zeros (the effect of biases). The taps must predict the
    middle of the answer to noise, otherwise larger maps are tried. (A tap more than 6 input pixels away would be
    missed if there were none between 4 pixels and it.)

    Parameters
    ----------
    layer : nn.Module
        Linear but for its bias, and shift-equivariant; it is copied, evaluated in float64 and not changed.
    in_channels : int
        Its input channels I.
    scale_factor : int
        Its scale s.
    max_size : int
        Largest side of the map, in input pixels.

    Returns
    -------
    Tensor, shape (O, I, T, T), float64
        Response of each output channel to an impulse in each input channel; T = s·(2r+1), where r is the reach in
        input pixels. Index a lies a − s·r output pixels from the first one of the impulse's block, so it belongs
        to phase a mod s.

    Raises
    ------
    UsageError
        If the layer is not linear and shift-equivariant, or its response is larger than `max_size`, or its output
        has the wrong size.
    """
    check_kind("layer", layer, nn.Module, "a module")
    in_channels, scale_factor = (
        check_whole("in_channels", in_channels, 1),
        check_whole("scale_factor", scale_factor, 1),
    )
    check_whole("max_size", max_size, 1)
    probe = copy_layer(layer, torch.float64)
    first = next(itertools.chain(probe.parameters(), probe.buffers()), None)
    device = torch.device("cpu") if first is None else first.device
    generator = torch.Generator().manual_seed(0)
    size = _FIRST_SIZE
    while size <= max_size:
        noise = torch.randn(in_channels, size, size, dtype=torch.float64, device="cpu", generator=generator).to(
            device
        )
        reach, answer, scale = _run_probe(probe, noise, scale_factor)
        # the taps fill the smaller map: reflection padding would mirror the impulse into it, and needs the larger
        for side in (2 * reach + 1, size) if reach < size // 2 else ():
            taps = _read_taps(probe, in_channels, reach, side, scale_factor, device)
            error = (answer - _predict(taps, noise, scale_factor)).abs().max()
            if float(error) <= _TOLERANCE * scale:
                return taps
        size = 2 * size - 1
    raise UsageError(
        f"upsampler: no impulse response within {max_size} input pixels explains its output; the layer is not"
        " linear and shift-equivariant, or reaches further"
    )


def _run_probe(probe: nn.Module, noise: Tensor, scale_factor: int) -> tuple[int, Tensor, float]:
    """Reach of an impulse in input pixels, middle (O, 3s, 3s) of the answer to noise (I, n, n), largest value."""
    middle = noise.shape[-1] // 2
    x = noise.new_zeros(3, *noise.shape)
    x[1, :, middle, middle] = noise[:, middle, middle]
    x[2] = noise
    y = run_layer(probe, x, scale_factor)
    response = (y[1] - y[0]).abs()
    touched = (response > _NEGLIGIBLE * response.max()).any(0).nonzero() // scale_factor
    reach = int((touched - middle).abs().max()) if len(touched) else 0
    # three blocks a side: a layer that depends on the position could explain a single one
    blocks = slice(scale_factor * (middle - 1), scale_factor * (middle + 2))
    return reach, (y[2] - y[0])[:, blocks, blocks], float(y.abs().max())


def _read_taps(
    probe: nn.Module, in_channels: int, reach: int, side: int, scale_factor: int, device: torch.device
) -> Tensor:
    """Taps (O, I, T, T) from one impulse per channel in the middle of a map."""
    middle = side // 2
    x = torch.zeros(in_channels + 1, in_channels, side, side, dtype=torch.float64, device=device)
    channel = torch.arange(in_channels, device=device)
    x[channel, channel, middle, middle] = 1
    y = run_layer(probe, x, scale_factor)
    kept = slice(scale_factor * (middle - reach), scale_factor * (middle + reach + 1))
    return (y[:-1] - y[-1]).transpose(0, 1)[..., kept, kept].contiguous()


def _predict(taps: Tensor, noise: Tensor, scale_factor: int) -> Tensor:
    """Say what the taps make of noise (I, n, n) in the middle (O, 3s, 3s)."""
    reach = taps.shape[-1] // scale_factor // 2
    middle = noise.shape[-1] // 2
    around = slice(middle - 1 - reach, middle + 2 + reach)
    stamped = functional.conv_transpose2d(
        noise[None, :, around, around], taps.transpose(0, 1), stride=scale_factor
    )
    # one reach for the pixels around, one for the taps before the impulse's own block
    kept = slice(2 * reach * scale_factor, (2 * reach + 3) * scale_factor)
    return stamped[0, :, kept, kept]
