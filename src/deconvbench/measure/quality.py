"""Artifact metrics of one upsampler with one seed: what does not depend on the device.

Each metric says in its declaration (`deconvbench.records.metrics`) what its function is given, its *probe*:

=============  ==================================================  =========================================
probe          the function is called with                         for layers that are declared
=============  ==================================================  =========================================
layer          layer, channels, scale                              linear and shift-equivariant
taps           impulse response (C_out, C_in, h, w), scale         linear and shift-equivariant
constant       answer to an input of ones (1, C_out, H, W), scale  shift-equivariant
flat fields    a module, channels, scale, and keywords             any; scale above 1
features       answer to maps like features, without border,       any; scale from 2 to 8
               scale; its amplitude is divided by the RMS
=============  ==================================================  =========================================

The functions live in `deconvbench.measure.artifacts`. Catches nothing but what an upsampler cannot build.
"""

import importlib
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from deconvbench.errors import UnsupportedError, UsageError
from deconvbench.measure.artifacts import CheckerboardResult, FlatFieldResult, impulse_response
from deconvbench.measure.layers import build_seeded_layer, check_declarations, copy_layer, run_layer
from deconvbench.records.metrics import METRICS, Metric
from deconvbench.records.record import QualityRecord
from deconvbench.upsamplers import UpsamplerSpec, get_upsampler

# in input pixels; one size for all layers, because the corners' share of the border depends on it
_BORDER_SIZE = 12
# how far padding may reach in, in input pixels, where no impulse response tells: tried in this order
_REACHES = (5, 11, 23)
# share of the largest value; sums of a few thousand products in float64 leave 1e-13
_SAME = 1e-9
# side of the interior of a flat field, in input pixels, where every block is alike, and where they are averaged
_PERIODIC_SIZE, _IRREGULAR_SIZE = 4, 16
_COLOURS = 4
# periods for which the checkerboard is defined, and the side of the output, in pixels, for those up to the first
# and for the others: 16 patches of about 32 pixels, 9 of about 64
_SMALL_PERIOD, _LARGEST_PERIOD = 4, 8
_SMALL_SIDE, _LARGE_SIDE = 80, 128
# the weights come from the seed itself, inputs from a stream of their own
_INPUT_STREAM = 7919


def measure_quality(
    upsampler_name: str, kernel_size: int | None, scale_factor: int, seed: int, channels: int = 16
) -> QualityRecord:
    """Measure the artifacts of an upsampler as it is initialised.

    Parameters
    ----------
    upsampler_name : str
        Name in the registry.
    kernel_size : int or None
        Kernel size k.
    scale_factor : int
        Scale s.
    seed : int
        Seed of the weights.
    channels : int
        Input and output channels.

    Returns
    -------
    QualityRecord
        With all artifact metrics, status `ok`; or without metrics, `unsupported` and the reason. A metric is
        None where it needs a property that the upsampler does not declare (`overlap_cv`, `phase_ripple`,
        `noise_gain_cv`, `image_rejection_db`: linear and shift-equivariant; `border_error`: shift-equivariant),
        or where it is undefined because nothing comes through the layer.

        `flat_field_ripple` and `checkerboard` apply to every upsampler that upsamples. Both are amplitudes over
        the RMS of the output's interior, because initialisations differ in their gain: only ratios compare. What
        is measured is the layer as it is, with its bias. `flat_field_ripple` is that of the layer alone, period s:
        for weights drawn alike it is about √(1 − 1/s²), the root of their `phase_ripple`. Where a flat field does
        not come out periodic (max-unpooling), the phases are averaged over the interior all the same: what is left
        is the part of an irregular pattern that happens to line up, and not its holes. `checkerboard` is that of
        the answer to maps like features (1/f, mean 1 and deviation 1 in each channel), at period s up to 8, with
        its sign.

    Raises
    ------
    UsageError
        If the name is unknown, the output has the wrong size or is not finite, or the layer does not keep what its
        registration declares (one that is shift-equivariant answers a flat field with what repeats every s
        pixels).
    """
    status, message = "ok", ""
    metrics: dict[str, float | None] = {}
    try:
        layer = build_seeded_layer(upsampler_name, channels, channels, kernel_size, scale_factor, seed)
        metrics = _evaluate(layer, get_upsampler(upsampler_name), channels, scale_factor, seed)
    except UnsupportedError as error:
        status, message = "unsupported", str(error)
    return QualityRecord(
        upsampler=upsampler_name,
        kernel_size=kernel_size,
        scale_factor=scale_factor,
        seed=seed,
        channels=channels,
        status=status,
        message=message,
        metrics=metrics,
    )


def load_function(metric: Metric) -> Callable[..., Any]:
    """Import the function that measures an artifact metric.

    Parameters
    ----------
    metric : Metric
        With a `function`.
    """
    module, _, name = str(metric.function).partition(":")
    home = module if "." in module else f"deconvbench.measure.artifacts.{module}"
    function: Callable[..., Any] = getattr(importlib.import_module(home), name)
    return function


def _evaluate(
    layer: nn.Module, spec: UpsamplerSpec, channels: int, scale_factor: int, seed: int
) -> dict[str, float | None]:
    exact = copy_layer(layer, torch.float64)
    if spec.linear and spec.shift_equivariant:
        taps = impulse_response(exact, channels, scale_factor)
        return evaluate_artifacts(exact, channels, scale_factor, seed, taps=taps)
    reach = find_reach(exact, channels, scale_factor) if spec.shift_equivariant else _REACHES[0]
    declared = {"linear": spec.linear, "shift_equivariant": spec.shift_equivariant}
    check_declarations(exact, channels, scale_factor, reach, **declared)
    return evaluate_artifacts(exact, channels, scale_factor, seed, reach=reach if spec.shift_equivariant else None)


def evaluate_artifacts(
    layer: nn.Module,
    in_channels: int,
    scale_factor: int,
    seed: int,
    *,
    taps: Tensor | None = None,
    reach: int | None = None,
    rim: int = 0,
    has_border: bool = True,
) -> dict[str, float | None]:
    """Evaluate every artifact metric that applies to a layer.

    Parameters
    ----------
    layer : nn.Module
        In float64 and evaluation mode, on the CPU; its output has s times the sides of its input.
    in_channels : int
        Its input channels.
    scale_factor : int
        Scale s.
    seed : int
        Of the inputs that are drawn.
    taps : Tensor or None
        Its impulse response; None where it has none.
    reach : int or None
        Where it has none but is shift-equivariant: input pixels on each side that padding may change.
    rim : int
        Further input pixels on each side that do not count.
    has_border : bool
        Whether the border of its output is the layer's own.

    Returns
    -------
    dict of str to float or None
        By the metric's name; None where it does not apply or is undefined.
    """
    # what the functions of each probe are given; a probe that does not apply is left out
    probes: dict[str, Callable[[Callable[..., Any]], float]] = {}
    is_equivariant = taps is not None or reach is not None
    if taps is not None:
        probes["layer"] = lambda function: float(function(layer, in_channels, scale_factor))
        probes["taps"] = lambda function: float(function(taps, scale_factor))
        reach = taps.shape[-1] // scale_factor // 2
    reach = rim + (_REACHES[0] if reach is None else reach)
    # two pixels that the border does not reach must remain in the middle
    size = max(_BORDER_SIZE, 2 * reach + 2)
    ones = torch.ones(1, in_channels, size, size, dtype=torch.float64, device="cpu")
    answer = run_layer(layer, ones, scale_factor)
    if is_equivariant and has_border:
        probes["constant"] = lambda function: float(function(answer, scale_factor))
    if scale_factor > 1:
        # inputs are drawn from it in the order in which the metrics are declared
        source = torch.Generator().manual_seed(seed + _INPUT_STREAM)
        if _crop(answer, (size // 2 - 1) * scale_factor).any():
            field = _FlatField(layer, scale_factor, reach, is_periodic=is_equivariant)
            shape = {"size": field.size, "margin": 0, "colours": _COLOURS}
            probes["flat fields"] = lambda function: _check_period(
                function(field, in_channels, scale_factor, **shape, generator=source)
            )
        probes["features"] = lambda function: _measure_features(
            function, layer, in_channels, scale_factor, reach, source
        )
    values = {
        name: probes[metric.probe](load_function(metric)) if metric.probe in probes else math.nan
        for name, metric in METRICS.items()
        if metric.group == "artifact"
    }
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def find_reach(layer: nn.Module, channels: int, scale_factor: int) -> int:
    """Find how far padding reaches into the answer of a layer that has no impulse response to a constant.

    Parameters
    ----------
    layer : nn.Module
        In float64 and evaluation mode, on the CPU.
    channels : int
        Its input channels.
    scale_factor : int
        Scale s.

    Returns
    -------
    int
        Input pixels on each side: 5, 11 or 23, the first behind which the answer repeats every s pixels. At 23 it
        may still not; what does not repeat is refused where it matters.
    """
    for reach in _REACHES:
        # the two blocks in the very middle are alike in any answer that is symmetric: more are looked at
        size = 2 * reach + _PERIODIC_SIZE
        constant = torch.ones(1, channels, size, size, dtype=torch.float64, device="cpu")
        middle = _crop(run_layer(layer, constant, scale_factor), reach * scale_factor)
        change = max(float((middle - middle.roll(scale_factor, axis)).abs().max()) for axis in (-2, -1))
        if change <= _SAME * float(middle.abs().max()):
            break
    # the last may be wrong still; what does not repeat is refused where it matters
    return reach


class _FlatField(nn.Module):
    """The interior of a layer's answer to flat fields of `size` input pixels, over its RMS.

    Parameters
    ----------
    layer : nn.Module
        In float64.
    scale_factor : int
        Scale s.
    reach : int
        Input pixels on each side that padding may change.
    is_periodic : bool
        Whether the interior repeats with period s, as it must where the layer is shift-equivariant; otherwise
        every block is replaced with the mean of all, which has the same phase means.
    """

    def __init__(self, layer: nn.Module, scale_factor: int, reach: int, *, is_periodic: bool) -> None:
        super().__init__()
        self.layer = layer
        self.scale_factor = scale_factor
        self.reach = reach
        self.is_periodic = is_periodic
        self.size = 2 * reach + (_PERIODIC_SIZE if is_periodic else _IRREGULAR_SIZE)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, size, size) to the interior of the output, over its RMS."""
        s = self.scale_factor
        y = _crop(run_layer(self.layer, x, s), s * self.reach)
        level = y.square().mean().sqrt()
        if not self.is_periodic:
            count = y.shape[-1] // s
            blocks = y.reshape(*y.shape[:2], count, s, count, s)
            y = blocks.mean((2, 4)).repeat(1, 1, count, count)
        return y / level


def _check_period(found: Any) -> float:
    """Take the number of a metric of flat fields, whose answers must repeat."""
    if isinstance(found, FlatFieldResult) and found.periodicity_error > _SAME:
        raise UsageError(
            f"layer: its output for a plain colour does not repeat with scale_factor {found.period} away from"
            " borders, as that of a shift-equivariant one would"
        )
    return float(found)


def _measure_features(
    function: Callable[..., Any],
    layer: nn.Module,
    channels: int,
    scale_factor: int,
    reach: int,
    source: torch.Generator,
) -> float:
    """Amplitude in the answer to maps like features, over its RMS; NaN where it is not defined."""
    if scale_factor > _LARGEST_PERIOD:
        return math.nan
    side = _SMALL_SIDE if scale_factor <= _SMALL_PERIOD else _LARGE_SIDE
    features = _draw_features(channels, -(-side // scale_factor) + 2 * reach, source)
    y = _crop(run_layer(layer, features, scale_factor), reach * scale_factor)
    level = float(y.square().mean().sqrt())
    if not level:
        return math.nan
    found = function(y, scale_factor)
    return float(found.amplitude if isinstance(found, CheckerboardResult) else found) / level


def _draw_features(channels: int, size: int, source: torch.Generator) -> Tensor:
    """Draw maps (1, C, size, size) like features behind a ReLU: 1/f, each of mean 1 and deviation 1."""
    options: Any = {"dtype": torch.float64, "device": "cpu"}
    noise = torch.randn(1, channels, size, size, generator=source, **options)
    rows, columns = torch.fft.fftfreq(size, **options), torch.fft.rfftfreq(size, **options)
    frequency = torch.hypot(rows[:, None], columns)
    # the mean is set below
    frequency[0, 0] = math.inf
    maps: Tensor = torch.fft.irfft2(torch.fft.rfft2(noise) / frequency, s=(size, size))
    return 1 + maps / maps.std((-2, -1), correction=0, keepdim=True)


def _crop(maps: Tensor, margin: int) -> Tensor:
    """Leave out so many pixels on each side."""
    return maps[..., margin : maps.shape[-2] - margin, margin : maps.shape[-1] - margin]
