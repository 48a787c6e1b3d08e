"""Flat-field ripple: what a whole network makes of a plain colour.

Needs nothing but the network: no data, no reference, no knowledge of its layers. Zero certifies that, with these
weights, flat areas stay flat. One layer is a small network, so non-linear upsamplers, which have no impulse
response, are measured the same way. What is not shift-equivariant (max-unpooling with stored indices, noise added
inside) does not repeat; the result says how much of the output that is.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.arguments import check_kind, check_whole, is_number
from deconvbench.errors import UsageError, describe_failure, quote
from deconvbench.measure.artifacts.last_activation import CallWatch, find_last_activation
from deconvbench.measure.artifacts.periodic import (
    average_phases,
    find_device,
    measure_aperiodicity,
    split_interior,
)
from deconvbench.measure.layers import copy_layer, explain_failures

# share of the output's RMS: .13 levels of an 8-bit image of RMS 128, of which the phase means see a small part
DEFAULT_TOLERANCE = 1e-3
# sides of the input that are tried, in pixels: valid convolutions and deep networks need larger ones
_SIZES = (32, 64, 128)
# an output that changes by less than this share from colour to colour does not depend on the colour
_SAME = 1e-9


@dataclass(frozen=True, eq=False, kw_only=True)
class FlatFieldResult(float):
    """What `flat_field_ripple` found: a float, the amplitude, that knows how it came about.

    Parameters
    ----------
    amplitude : float
        RMS over phases, channels and colours, in units of the output; 0 and up.
    period : int
        Period P in output pixels.
    periodicity_error : float
        Share of the output's RMS, away from borders, that does not repeat with the period; 0 to 1.
    tolerance : float
        Largest such share that counts as periodic.
    by_scale : mapping of int to float
        Amplitude of the patterns whose smallest period is that many pixels, for each divisor of P from 2. Their
        squares add up to that of `amplitude`.
    by_colour : tuple of float
        Amplitude for each colour (pair of colours), in the order in which they were drawn.
    activation : str or None
        Saturating function of torch that the network ends in; None: none was seen.
    amplitude_before_activation : float or None
        The same amplitude before that function, in units of its input.
    two_tone : bool
        Whether the inputs were two plain halves.
    size : int
        Side of the input in pixels.
    unit : str
        Of `amplitude`.
    """

    amplitude: float
    period: int
    periodicity_error: float
    tolerance: float
    by_scale: Mapping[int, float]
    by_colour: tuple[float, ...]
    activation: str | None
    amplitude_before_activation: float | None
    two_tone: bool
    size: int
    unit: str = "output units"

    def __new__(cls, amplitude: float = math.nan, **_: object) -> "FlatFieldResult":
        """Make the float."""
        return float.__new__(cls, amplitude)

    @property
    def is_periodic(self) -> bool:
        """Whether what does not repeat is within the tolerance: only then the amplitude is that of a period."""
        return self.periodicity_error <= self.tolerance

    @property
    def largest(self) -> float:
        """Amplitude for the colour that ripples most."""
        return max(self.by_colour)

    def __str__(self) -> str:
        text = f"{self.amplitude:.3g} {self.unit} (period {self.period}"
        if self.amplitude_before_activation is not None:
            text += f", {self.amplitude_before_activation:.3g} before the {self.activation}"
        if not self.is_periodic:
            text += f", but {self.periodicity_error:.1%} of the output does not repeat"
        return f"{text})"


def flat_field_ripple(
    network: nn.Module,
    in_channels: int,
    period: int,
    *,
    size: int | None = None,
    margin: int | None = None,
    colours: int = 8,
    colour_range: tuple[float, float] = (-1.0, 1.0),
    two_tone: bool | None = None,
    tolerance: float = DEFAULT_TOLERANCE,
    dtype: torch.dtype = torch.float64,
    generator: torch.Generator | None = None,
) -> FlatFieldResult:
    """Checkerboard that a network draws on a plain colour.

    Colours, uniform in −1..1 for each channel, fill whole inputs. In the middle of the output the mean of each of
    the P×P phases is taken: RMS of these about their mean, over the phases, the output channels and the colours.
    A slope across the middle is left out. How much of the output does not repeat with the period is told beside
    it, and whether it is within `tolerance`; where it is not, the amplitude is an average over what changes.

    The output may have any size: networks that crop (valid convolutions) or pad by default (a transposed
    convolution with padding=0) are measured on the period's phases wherever they begin.

    Unit: that of the output. Range: 0 and up. Best: 0, a plain colour stays plain. Nearest resize-convolution
    through pointwise nonlinearities has exactly 0 with any weights (bilinear: 0 to rounding).
    Sees: the checkerboard in flat areas, of networks and single layers (period = their scale), linear or not.
    Where the network ends in a sigmoid, tanh, clamp or the like (scaled or moved behind it, or not), which
    squeezes ripple near its limits, the amplitude before it is given too, in units of that function's input.
    Blind to: artifacts that appear only at edges and textures, and to borders.
    Degenerate under InstanceNorm (and GroupNorm of single channels, or LayerNorm over pixels): it subtracts a
    plain colour, or blows up the little that is left of it. Two plain halves serve there: there is a contrast to
    normalise, and each half is still plain away from its edges. (A slow wave would not do: its ripple changes
    sign with it and averages out.)

    Parameters
    ----------
    network : nn.Module
        Maps (N, in_channels, size, size) to (N, C', H', W'); it is copied, evaluated in evaluation mode, and not
        changed.
    in_channels : int
        Its input channels.
    period : int
        Period P in output pixels: the product of the scales of all upsamplers in the network.
    size : int or None
        Side of the input in pixels; None: the first of 32, 64 and 128 that the network takes and whose output has
        two periods in its middle that repeat.
    margin : int or None
        Output pixels to leave out on each side (of each half, if there are two), at least as many as padding
        reaches in; None: a quarter of the side.
    colours : int
        How many colours to average over.
    colour_range : (float, float)
        Smallest and largest value of a colour, (0, 1) for networks of images as they are stored, say.
    two_tone : bool or None
        Give each half of the input, left and right, a colour of its own. None: where a norm takes the mean over
        the pixels of single channels, or the output does not depend on the colour at all; never where `margin`
        is given, which is of one field or of two.
    tolerance : float
        Largest share of the output's RMS, 0 or above, that need not repeat for the output to count as periodic.
    dtype : torch.dtype
        Floating-point type to run the network in; float64 for rounding of 1e-16.
    generator : torch.Generator or None
        Source of the colours, on the CPU; None: a new one with seed 0.

    Returns
    -------
    FlatFieldResult
        A float: RMS over phases, channels and colours.

    Raises
    ------
    UsageError
        If a number is out of range, or the output is not a finite tensor of that shape or too small.

    References
    ----------
    Odena, Dumoulin, Olah, "Deconvolution and checkerboard artifacts", Distill 2016 (flat areas as the worst case).
    Sugawara, Shiota, Kiya, "Super-resolution using convolutional neural networks without any checkerboard
    artifacts", arXiv:1806.02658 (a constant input must give a constant output).
    """
    in_channels, period = check_whole("in_channels", in_channels, 1), check_whole("period", period, 1)
    sizes = _SIZES if size is None else (check_whole("size", size, 1),)
    colours = check_whole("colours", colours, 1)
    margin = None if margin is None else check_whole("margin", margin, 0)
    check_kind("network", network, nn.Module, "a module")
    if two_tone is not None:
        check_kind("two_tone", two_tone, bool, "True, False or None")
    low, high = _check_range(colour_range)
    if not is_number(tolerance) or not tolerance >= 0:
        raise UsageError(f"tolerance: {quote(tolerance)} is not a share of 0 or above")
    if not check_kind("dtype", dtype, torch.dtype, "a type of torch").is_floating_point:
        raise UsageError(f"dtype: {quote(dtype)} is not a floating-point type of torch")
    if generator is not None:
        check_kind("generator", generator, torch.Generator, "a torch.Generator")
    source = torch.Generator().manual_seed(0) if generator is None else generator
    start = source.get_state()
    probe = _Probe(copy_layer(network, dtype, name="network"), period, margin)

    def draw(side: int, parts: int) -> Tensor:
        source.set_state(start)  # the same colours for each size
        shape = (colours, in_channels, 1, parts)
        with explain_failures(f"size: {colours} inputs of {in_channels}×{side}×{side} cannot be made"):
            drawn = low + (high - low) * torch.rand(shape, dtype=torch.float64, device="cpu", generator=source)
            # nearest: as many columns of each colour as there are
            return functional.interpolate(drawn, (side, side)).to(find_device(probe.network), dtype)

    parts = 2 if two_tone else 1
    readings: list[_Reading] = []
    for side in sizes:
        try:
            readings.append(probe.read(draw(side, parts), parts))
            if readings[-1].is_degenerate and parts == 1 and two_tone is None and margin is None:
                parts = 2
                readings.append(probe.read(draw(side, parts), parts))
        # of torch, where a map is too small for a layer; ours, where too little is left of it
        except _TooSmallError as error:
            if not readings and side == sizes[-1]:
                raise UsageError(str(error)) from error
            continue
        if readings[-1].error <= tolerance:
            break
    return min(readings, key=lambda reading: (-reading.parts, reading.error)).summarise(tolerance)


class _TooSmallError(UsageError):
    """A map is too small for a layer, or less than two periods are left of an output: another may be tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """Phases (N, C, P, P) of each part of the output, and of what is before its last activation."""

    phases: list[Tensor]
    phases_before: list[Tensor]
    error: float
    is_degenerate: bool
    activation: str | None
    size: int

    @property
    def parts(self) -> int:
        return len(self.phases)

    def summarise(self, tolerance: float) -> FlatFieldResult:
        power = sum(phases.var((-2, -1), correction=0) for phases in self.phases) / self.parts
        assert isinstance(power, Tensor)
        return FlatFieldResult(
            amplitude=math.sqrt(float(power.mean())),
            period=self.phases[0].shape[-1],
            periodicity_error=self.error,
            tolerance=tolerance,
            by_scale=_split_scales(self.phases),
            by_colour=tuple(power.mean(1).sqrt().tolist()),
            activation=self.activation,
            amplitude_before_activation=_measure_amplitude(self.phases_before) if self.phases_before else None,
            two_tone=self.parts == 2,
            size=self.size,
        )


def _measure_amplitude(parts: list[Tensor]) -> float:
    return math.sqrt(sum(float(phases.var((-2, -1), correction=0).mean()) / len(parts) for phases in parts))


def _split_scales(parts: list[Tensor]) -> dict[int, float]:
    """Amplitude of each smallest period, from the lines (i/P, j/P) of the phases' spectrum."""
    period = parts[0].shape[-1]
    power = sum(torch.fft.fft2(phases).abs().square().mean((0, 1)) for phases in parts)
    assert isinstance(power, Tensor)
    powers: dict[int, float] = {scale: 0.0 for scale in range(2, period + 1) if period % scale == 0}
    for i in range(period):
        for j in range(period):
            if i or j:
                scale = math.lcm(period // math.gcd(i, period), period // math.gcd(j, period))
                powers[scale] += float(power[i, j]) / (len(parts) * period**4)
    return {scale: math.sqrt(value) for scale, value in powers.items()}


class _Probe:
    """A network that is given fields, and how its output is cut."""

    def __init__(self, network: nn.Module, period: int, margin: int | None) -> None:
        self.network = network
        self._period = period
        self._margin = margin

    def read(self, x: Tensor, parts: int) -> _Reading:
        """Run the network on fields (N, C, H, W) of so many parts."""
        with CallWatch() as watch:
            y = _run_network(self.network, x)
        blocks = self._split(y, parts)
        activation, before = self._find_activation(x, y, watch)
        # a saturated end does not depend on the colour either
        seen = y if before is None else before
        change = (seen - seen[:1]).abs().max()
        is_constant = len(y) > 1 and bool(change <= _SAME * seen.abs().max())
        return _Reading(
            phases=[average_phases(part) for part in blocks],
            phases_before=[] if before is None else [average_phases(part) for part in self._split(before, parts)],
            error=max(measure_aperiodicity(part) for part in blocks),
            is_degenerate=watch.normalises_images or is_constant,
            activation=activation,
            size=x.shape[-1],
        )

    def _split(self, y: Tensor, parts: int) -> list[Tensor]:
        try:
            return [split_interior(part, self._period, self._margin) for part in y.tensor_split(parts, -1)]
        except UsageError as error:
            raise _TooSmallError(str(error)) from error

    def _find_activation(self, x: Tensor, y: Tensor, watch: CallWatch) -> tuple[str | None, Tensor | None]:
        """Name of the activation that the network ends in, and what is before it."""
        if watch.after is None or watch.after.shape != y.shape:
            return None, None
        generator = torch.Generator().manual_seed(0)
        noise = torch.rand(x[:1].shape, dtype=torch.float64, device="cpu", generator=generator).to(x)
        found = find_last_activation(self.network, noise)
        if found is None:
            return None, None
        number, name = found
        if number != watch.number:
            with torch.no_grad(), CallWatch(number) as again:
                self.network(x)
            before = again.before
        else:
            before = watch.before
        if before is None or before.shape != y.shape or not bool(before.isfinite().all()):
            return name, None
        return name, before


def _check_range(colour_range: Any) -> tuple[float, float]:
    is_pair = isinstance(colour_range, (tuple, list)) and len(colour_range) == 2
    if not is_pair or not all(is_number(end) and math.isfinite(end) for end in colour_range):
        raise UsageError(f"colour_range: {quote(colour_range)} is not a pair of numbers")
    low, high = map(float, colour_range)
    if not low < high:
        raise UsageError(f"colour_range: {quote(colour_range)} has its smallest value not below its largest")
    return low, high


def _run_network(network: nn.Module, x: Tensor) -> Tensor:
    words = f"network: fails for inputs of {x.shape[1]} channels and {x.shape[2]}×{x.shape[3]} pixels"
    with torch.no_grad(), explain_failures(words):
        try:
            y: object = network(x)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError) as error:
            raise _TooSmallError(f"{words}: {describe_failure(error)}") from error
    if not isinstance(y, Tensor) or y.ndim != 4 or len(y) != len(x):
        found = f"shape {tuple(y.shape)}" if isinstance(y, Tensor) else f"type {type(y).__name__}"
        raise UsageError(f"network: an output of {found} is not a tensor of shape ({len(x)}, C, H, W)")
    if not bool(y.isfinite().all()):
        raise UsageError(f"network: its output in {str(y.dtype).removeprefix('torch.')} is not finite")
    return y
