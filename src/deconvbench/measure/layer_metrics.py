"""All artifact metrics of a layer of one's own, in one call.

What the tables have of each upsampler of the registry (`deconvbench.measure.quality`), for any module: nothing is
declared, so whether the layer is linear and shift-equivariant is found out. For single layers: of a network
`flat_field_ripple` measures what it makes of plain colours, and `checkerboard` what is in its images.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.arguments import LARGEST_SEED, check_kind, check_whole
from deconvbench.errors import UsageError, quote, suggest
from deconvbench.measure.artifacts import effective_ripple, impulse_response
from deconvbench.measure.artifacts.effective_ripple import MeanInput, read_mean_input
from deconvbench.measure.layers import check_declarations, copy_layer, explain_failures, find_excess, run_layer
from deconvbench.measure.quality import evaluate_artifacts, find_reach
from deconvbench.records.metrics import METRICS, format_metric
from deconvbench.system.notebook import write_html

# side of the map that the size of the output is read from, in input pixels: room for valid convolutions
_SIZE = 24
_EFFECTIVE = "effective_ripple"
_EFFECTIVE_LINE = ("effective ripple", "how much of the mean input comes out as a checkerboard; 0 is best")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerMetrics:
    """What `measure_layer` found. ``found["phase_ripple"]`` is one value, ``str()`` says all of them in words.

    Parameters
    ----------
    metrics : mapping of str to float or None
        By name, with the units of the columns in `quality.csv`: ratios, but for decibels. None where a metric does
        not apply or is undefined.
    in_channels : int
        Input channels of the layer.
    scale_factor : int
        Its scale s.
    is_linear : bool
        Whether it is linear but for its bias, and shift-equivariant: only then it has an impulse response.
    is_shift_equivariant : bool
        Whether an input moved by a pixel gives an output moved by s pixels.
    excess : (int, int)
        Pixels that the output has more than s times the input, in rows and columns; negative where it crops.
    remarks : tuple of str
        Why metrics are missing, and what to keep in mind; a sentence each.
    """

    metrics: Mapping[str, float | None]
    in_channels: int
    scale_factor: int
    is_linear: bool
    is_shift_equivariant: bool
    excess: tuple[int, int]
    remarks: tuple[str, ...]

    def __getitem__(self, name: str) -> float | None:
        if name not in self.metrics:
            known = ", ".join(self.metrics)
            raise UsageError(f"metric: {quote(name)} is not one of {known}{suggest(name, self.metrics)}")
        return self.metrics[name]

    def _repr_html_(self) -> str:
        title, *_ = str(self).split("\n")
        return write_html(title, ("metric", "value", "meaning"), self._list_cells(), self.remarks)

    def __str__(self) -> str:
        kind = "linear, " * self.is_linear + ("" if self.is_shift_equivariant else "not ") + "shift-equivariant"
        lines = [f"layer of scale {self.scale_factor} with {self.in_channels} input channels: {kind}"]
        lines += [f"{title:18} {text:>10}  {meaning}" for title, text, meaning in self._list_cells()]
        return "\n".join([*lines, *(f"note: {remark}" for remark in self.remarks)])

    def _list_cells(self) -> list[tuple[str, str, str]]:
        """Write each metric as its title, its value and what it means."""
        cells = []
        for name, value in self.metrics.items():
            title, meaning, text = *_EFFECTIVE_LINE, "–" if value is None else f"{value:.3g}"
            if name in METRICS:
                metric = METRICS[name]
                title, meaning, text = metric.title, metric.meaning, format_metric(value, name)
                text += " dB" * (metric.unit == "dB" and value is not None)
            cells.append((title, text, meaning))
        return cells


def measure_layer(
    layer: nn.Module,
    in_channels: int,
    scale_factor: int,
    *,
    mean_input: MeanInput | None = None,
    seed: int = 0,
) -> LayerMetrics:
    """Measure the artifacts of an upsampling layer with the weights that it has.

    The same metrics as in `quality.csv`, by the same functions, for a layer of one's own, trained or not. What a
    layer is need not be said: its impulse response is looked for, and where there is none, the metrics that need
    one are None. A layer may crop or pad, so that its output has s·H + d pixels a side; then its border is not
    measured.

    Parameters
    ----------
    layer : nn.Module
        Maps (N, in_channels, H, W) to (N, C', s·H + d, s·W + d'); a single layer or a short stack of them. It is
        copied, evaluated in float64 and evaluation mode on the CPU, and not changed.
    in_channels : int
        Its input channels.
    scale_factor : int
        Its scale s: the stride of a transposed convolution; of a stack, the product.
    mean_input : Tensor, ndarray or sequence of float, shape (..., in_channels) or None
        Mean activation of each input channel on real images, as from `measure_mean_inputs`. With it
        `effective_ripple` is measured too, the one to read for trained layers.
    seed : int
        Seed of the colours and maps that are fed in.

    Returns
    -------
    LayerMetrics
        With `overlap_cv`, `phase_ripple`, `noise_gain_cv`, `image_rejection_db` (of layers that are linear and
        shift-equivariant), `border_error` (shift-equivariant), `flat_field_ripple` and `checkerboard` (all of
        scale 2 and more; both over the RMS of the output), and `effective_ripple` where there is a mean input.

    Raises
    ------
    UsageError
        If the layer does not upsample by that scale, takes other channels, gives numbers that are not finite or
        changes its input in place; if an argument is out of range.

    References
    ----------
    Those of each metric.

    Examples
    --------
    >>> layer = nn.ConvTranspose2d(16, 16, 3, stride=2, padding=1, output_padding=1)
    >>> round(measure_layer(layer, 16, 2)["overlap_cv"], 4)
    0.4843
    """
    check_kind("layer", layer, nn.Module, "a module")
    in_channels = check_whole("in_channels", in_channels, 1)
    s = check_whole("scale_factor", scale_factor, 1)
    seed = check_whole("seed", seed, 0, LARGEST_SEED - 2**32)
    if mean_input is not None:
        mean_input = read_mean_input(mean_input, in_channels)
    exact = copy_layer(layer, torch.float64, "cpu")
    excess = _find_excess(exact, in_channels, s)
    has_own_size = excess == (0, 0)
    whole = exact if has_own_size else _SameSize(exact, s)
    # input pixels at the rim that zeros were put on, and one, since the middle was moved by less than that
    rim = 0 if has_own_size else 1 + max(0, *(-(pixels // (2 * s)) for pixels in excess))
    taps = _find_response(exact, in_channels, s)
    reach = None if taps is not None else _find_reach(whole, in_channels, s)
    values = evaluate_artifacts(
        whole, in_channels, s, seed, taps=taps, reach=reach, rim=rim, has_border=has_own_size
    )
    if mean_input is not None:
        values[_EFFECTIVE] = None if taps is None else effective_ripple(taps, s, mean_input)
    return LayerMetrics(
        metrics=values,
        in_channels=in_channels,
        scale_factor=s,
        is_linear=taps is not None,
        is_shift_equivariant=taps is not None or reach is not None,
        excess=excess,
        remarks=tuple(_list_remarks(taps is not None, excess, mean_input is not None)),
    )


class _SameSize(nn.Module):
    """A layer that crops or pads, its output brought to s times the input by cutting, or zeros, around it."""

    def __init__(self, layer: nn.Module, scale_factor: int) -> None:
        super().__init__()
        self.layer = layer
        self.scale_factor = scale_factor

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        down, right = (
            side - self.scale_factor * given for side, given in zip(y.shape[-2:], x.shape[-2:], strict=True)
        )
        # negative numbers cut; the more even the better, but a whole pixel is what there is
        return functional.pad(y, (-(right // 2), right // 2 - right, -(down // 2), down // 2 - down))


def _find_excess(layer: nn.Module, in_channels: int, scale_factor: int) -> tuple[int, int]:
    with explain_failures(f"in_channels: inputs of {in_channels}×{_SIZE}×{_SIZE} cannot be made"):
        maps = torch.zeros(in_channels, _SIZE, _SIZE, dtype=torch.float64, device="cpu")
    # torch's, of channels that do not fit or a layer of one or three dimensions, and whatever else it raises
    with explain_failures(f"layer: fails for maps of {in_channels} channels and {_SIZE}×{_SIZE} pixels"):
        return find_excess(layer, maps, scale_factor)


def _find_response(layer: nn.Module, in_channels: int, scale_factor: int) -> Tensor | None:
    """Impulse response of a layer, None where it has none."""
    # what is wrong whatever the layer is: raised here, so that the errors below can only be about what it is
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, in_channels, _SIZE, _SIZE, dtype=torch.float64, device="cpu", generator=generator)
    run_layer(layer, noise, None)
    try:
        return impulse_response(layer, in_channels, scale_factor)
    except (UsageError, RuntimeError):  # torch's, of maps that are too small for what is left of them
        return None


def _find_reach(layer: nn.Module, in_channels: int, scale_factor: int) -> int | None:
    """How far padding reaches into a layer without an impulse response, None where it is not shift-equivariant."""
    reach = find_reach(layer, in_channels, scale_factor)
    try:
        check_declarations(layer, in_channels, scale_factor, reach, linear=False, shift_equivariant=True)
    except UsageError:
        return None
    return reach


def _list_remarks(is_linear: bool, excess: tuple[int, int], has_mean: bool) -> list[str]:
    remarks = []
    if not is_linear:
        titles = ", ".join(metric.title for metric in METRICS.values() if metric.probe in ("layer", "taps"))
        remarks.append(f"no impulse response explains the layer's output, so these do not apply: {titles}")
    elif not has_mean:
        remarks.append(
            "phase ripple is for weights as they are initialised: trained layers cancel over their inputs, which"
            " effective ripple takes into account (mean_input)"
        )
    if excess != (0, 0):
        found = " and ".join(f"{pixels:+d}" for pixels in dict.fromkeys(excess))
        remarks.append(
            f"the output differs from s times the input by {found} pixels, so its border is not measured"
        )
    return remarks
