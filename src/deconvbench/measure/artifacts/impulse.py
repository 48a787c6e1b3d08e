"""The impulse response of a linear, shift-equivariant upsampler: all that the metrics of the interior need.

It is read off the layer's outputs, so it is the same for every way to write the same function, and it is checked
against the layer's answer to noise before it is returned. Nothing here looks inside a layer.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.arguments import check_kind, check_whole
from deconvbench.errors import UsageError
from deconvbench.measure.artifacts.periodic import find_device
from deconvbench.measure.layers import copy_layer, explain_failures, find_excess, run_layer

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

    Layers that crop or pad are taken as they are: the output's side may be s·H + d with any constant d (a
    transposed convolution with the default padding=0 has d = k − s, one of k4 s2 that crops by padding=3 has −4, a
    valid 3×3 convolution before an upsampling by 2 too), and its first pixel may lie anywhere; d is found out.

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
        input pixels. Index a along an axis is output pixel s·(n + q) + a − s·r of an impulse at input pixel n,
        both counted from the first pixel of their map, so it belongs to phase a mod s of the *output as it is*.
        q is 0 where the output's side is s times the input's; otherwise it is d/(2s) rounded (half to even), a
        whole number of blocks for each axis, which keeps the response of a symmetric crop in the middle. A crop of
        c pixels at the top or on the left thus rotates the phases: index a of the uncropped layer becomes a − c,
        but for whole blocks. No metric of taps depends on that: they treat all phases alike.

    Raises
    ------
    UsageError
        If the layer is not linear and shift-equivariant, or its response is larger than `max_size`, or its output
        does not grow by s pixels with each pixel of the input.
    """
    check_kind("layer", layer, nn.Module, "a module")
    in_channels, scale_factor = (
        check_whole("in_channels", in_channels, 1),
        check_whole("scale_factor", scale_factor, 1),
    )
    check_whole("max_size", max_size, 1)
    probe = copy_layer(layer, torch.float64)
    generator = torch.Generator().manual_seed(0)
    size = _FIRST_SIZE
    while size <= max_size:
        with explain_failures(f"in_channels: inputs of {in_channels}×{size}×{size} cannot be made"):
            shape = (in_channels, size, size)
            noise = torch.randn(shape, dtype=torch.float64, device="cpu", generator=generator)
        taps = None
        with explain_failures(f"layer: fails for maps of {in_channels} channels and {size}×{size} pixels"):
            try:
                taps = _read_and_check(probe, noise.to(find_device(probe)), scale_factor)
            except RuntimeError:  # torch's, where a valid convolution has more taps than the map has pixels
                if 2 * size - 1 > max_size:
                    raise
        if taps is not None:
            return taps
        size = 2 * size - 1
    raise UsageError(
        f"layer: no impulse response within {max_size} input pixels explains its output; the layer is not"
        " linear and shift-equivariant, or reaches further"
    )


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where an output lies: scale s, and for rows and columns d = side of the output − s·side of the input."""

    scale_factor: int
    excess: tuple[int, int]

    @property
    def blocks(self) -> tuple[int, int]:
        """Blocks q that the response is moved by, for rows and columns."""
        down, right = (round(excess / (2 * self.scale_factor)) for excess in self.excess)
        return down, right

    @property
    def crop(self) -> int:
        """Input pixels by which a map must be larger on each side for the cropped output to hold the response."""
        return max(-(excess // self.scale_factor) for excess in (*self.excess, 0))

    def window(self, axis: int, pixel: int, reach: int) -> slice:
        """Output pixels of the blocks that lie up to a reach around an input pixel."""
        first = pixel + self.blocks[axis] - reach
        return slice(self.scale_factor * first, self.scale_factor * (first + 2 * reach + 1))

    def find_room(self, size: int) -> int:
        """Input pixels around the middle one whose blocks are in the output."""
        rooms = []
        for axis, excess in enumerate(self.excess):
            middle = size // 2 + self.blocks[axis]
            rooms.append(min(middle, (self.scale_factor * size + excess) // self.scale_factor - 1 - middle))
        return min(rooms)


def _read_and_check(probe: nn.Module, noise: Tensor, scale_factor: int) -> Tensor | None:
    """Read the taps (O, I, T, T) and let them predict the answer to noise (I, n, n); None where they fail."""
    frame = _Frame(scale_factor, find_excess(probe, noise, scale_factor))
    found = _run_probe(probe, noise, frame)
    if found is None:
        return None
    reach, answer, scale = found
    # the taps fill the smaller map: reflection padding would mirror the impulse into it, and needs the larger
    for side in (2 * (reach + frame.crop) + 1, noise.shape[-1]):
        try:
            taps = _read_taps(probe, noise, reach, side, frame)
        except RuntimeError:  # torch's, where the smaller map is too small for a layer inside
            if side == noise.shape[-1]:
                raise
            continue
        if float((answer - _predict(taps, noise, scale_factor)).abs().max()) <= _TOLERANCE * scale:
            return taps
    return None


def _run_probe(probe: nn.Module, noise: Tensor, frame: _Frame) -> tuple[int, Tensor, float] | None:
    """Reach of an impulse in input pixels, middle (O, 3s, 3s) of the answer to noise (I, n, n), largest value.

    None where the answer does not stay off the rim.
    """
    size = noise.shape[-1]
    middle, room = size // 2, frame.find_room(size)
    if room < 1:
        return None
    x = noise.new_zeros(3, *noise.shape)
    x[1, :, middle, middle] = noise[:, middle, middle]
    x[2] = noise
    y = run_layer(probe, x, None)
    response = (y[1] - y[0]).abs()
    touched = (response > _NEGLIGIBLE * response.max()).any(0).nonzero() // frame.scale_factor
    centre = middle + torch.tensor(frame.blocks, device=touched.device)
    reach = int((touched - centre).abs().max()) if len(touched) else 0
    # three blocks a side: a layer that depends on the position could explain a single one
    rows, columns = (frame.window(axis, middle, 1) for axis in (0, 1))
    return (reach, (y[2] - y[0])[:, rows, columns], float(y.abs().max())) if reach < room else None


def _read_taps(probe: nn.Module, noise: Tensor, reach: int, side: int, frame: _Frame) -> Tensor:
    """Taps (O, I, T, T) from one impulse per channel in the middle of a map, of the kind of noise (I, n, n)."""
    in_channels, middle = len(noise), side // 2
    x = noise.new_zeros(in_channels + 1, in_channels, side, side)
    channel = torch.arange(in_channels, device=noise.device)
    x[channel, channel, middle, middle] = 1
    y = run_layer(probe, x, None)
    rows, columns = (frame.window(axis, middle, reach) for axis in (0, 1))
    return (y[:-1] - y[-1]).transpose(0, 1)[..., rows, columns].contiguous()


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
