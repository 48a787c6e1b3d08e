"""How well a network does on the test images: fidelity, and checkerboards in 8-bit levels.

Looks at networks from outside and at pixels. What is undefined is NaN: a network
that has diverged has scores like any other.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor, nn

from deconvbench.errors import UsageError
from deconvbench.measure.artifacts.effective_ripple import effective_ripple
from deconvbench.measure.artifacts.flat_field import flat_field_ripple
from deconvbench.measure.artifacts.impulse import impulse_response
from deconvbench.measure.artifacts.mean_inputs import InputMeans
from deconvbench.measure.artifacts.periodic import find_device
from deconvbench.measure.artifacts.spectrum import checkerboard
from deconvbench.measure.layers import copy_layer
from deconvbench.records.schema import SCORE_COLUMNS
from deconvbench.studies.training.colour_distance import correlate_grid_with_colour, correlate_with_colour

# images are 0..1 here and 0..255 in what is reported
LEVELS = 255
# Output pixels that padding or the edge between two colours may reach into, first try and last. Without a norm a
# plain colour stays plain but near the upsamplers' padding. The edge reaches 52 to 66 pixels through the
# transformation network, whatever its upsampler, and 8 more with each residual block beyond five.
_PLAIN_MARGINS = (32, 96)
_TWO_TONE_MARGINS = (68, 96)
# share of the output's RMS that rounding leaves; more of it means that a larger margin is worth a try
_REPEATS = 1e-9
# output pixels that are left to look at, each way
_MIDDLE = 8
# plain colours, or pairs of colours: a pair takes four times the pixels, and more because of the margin
_PLAIN_COLOURS, _PAIRS = 4, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What a network scores on the test images.

    Parameters
    ----------
    row : mapping of str to float
        A number for each of `SCORE_COLUMNS`.
    images : tuple of mapping
        ``image, psnr_db, ssim, checkerboard_levels`` of each image.
    outputs : Tensor, shape (N, 3, H, W), float32
        As the network gave them, not clipped; on the CPU.
    """

    row: Mapping[str, float]
    images: tuple[Mapping[str, Any], ...]
    outputs: Tensor


def score_network(
    network: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    names: Sequence[str],
    *,
    period: int,
    uses_instance_norm: bool,
    upsamplers: Mapping[str, int] | None = None,
) -> Scores:
    """Score a network on images.

    PSNR in dB, and SSIM in Gaussian windows (σ 1.5), both of the output clipped to 0..1, with a data range of 1,
    over all channels; the row has their means over the images. The checkerboard is that of the residual
    output − target, not clipped, as `checkerboard` reads it: scale 1 has the lines that a last upsampler of scale
    2 leaves, scale 2 those of the one before. The ripple is what `flat_field_ripple` finds for plain colours in
    0..1; for two colours side by side where the norm is instance, which subtracts a plain one. The effective
    ripple of an upsampler is that of its weights with its mean input over the test images: scale 1 is the last
    one, scale 2 the one before.

    Parameters
    ----------
    network : nn.Module
        Maps (N, 3, h, w) to (N, 3, H, W), on any device; it is left as it was.
    inputs : Tensor, shape (N, 3, h, w), float32
        What it is given, 0..1.
    targets : Tensor, shape (N, 3, H, W), float32
        What should come out, 0..1; H and W at least 32, an H/h multiple of h.
    names : sequence of str, N long
        Names of the images.
    period : int
        P in output pixels: the product of the scales of all upsamplers.
    uses_instance_norm : bool
        Whether it normalises over the pixels of an image.
    upsamplers : mapping of str to int, optional
        Names of its upsamplers with the scale of each, the first one first: linear and shift-equivariant ones,
        whose effective ripple is wanted.

    Returns
    -------
    Scores
        NaN where an output is not finite, and infinite PSNR where it equals the target. The ripple is NaN too
        where the network's output for plain colours does not repeat, not even 96 pixels from the borders
        (max-unpooling), and the effective ripple where there is no upsampler of that scale.

    Raises
    ------
    UsageError
        If outputs and targets differ in shape, or the images are too small for the period.

    References
    ----------
    Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural similarity",
    IEEE Trans. Image Processing 13 (2004).
    """
    with InputMeans(network, upsamplers or ()) as means:
        outputs = _run_network(network, inputs)
    truth = targets.detach().cpu()
    if outputs.shape != truth.shape:
        raise UsageError(f"network: outputs of shape {tuple(outputs.shape)} for targets of {tuple(truth.shape)}")
    residual = LEVELS * (outputs.double() - truth.double())
    images = [
        {
            "image": name,
            **_measure_fidelity(output, target),
            "checkerboard_levels": _read_checkerboard(error, period),
        }
        for name, output, target, error in zip(names, outputs, truth, residual, strict=True)
    ]
    row = dict.fromkeys(SCORE_COLUMNS, math.nan)
    for column in ("psnr_db", "ssim"):
        row[column] = float(np.mean([image[column] for image in images]))
    if bool(residual.isfinite().all()):
        found = checkerboard(residual, period)
        by_scale = (found.by_scale[scale] for scale in sorted(found.by_scale))
        row |= {
            "checkerboard_levels": found.amplitude,
            **dict(zip(("checkerboard_scale1_levels", "checkerboard_scale2_levels"), by_scale, strict=False)),
            "detection_levels": found.detection_level,
            "flat_field_ripple_levels": _measure_ripple(
                network, period, truth.shape[-1] // inputs.shape[-1], two_tone=uses_instance_norm
            ),
        }
        row |= _measure_effective_ripples(network, upsamplers or {}, means)
    return Scores(row=row, images=tuple(images), outputs=outputs)


def _run_network(network: nn.Module, inputs: Tensor) -> Tensor:
    """Run the network on one image at a time, which takes a sixth of the memory and the same time."""
    device = find_device(network)
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            outputs = [network(image[None].to(device)).float().cpu() for image in inputs]
    finally:
        network.train(was_training)
    return torch.cat(outputs)


def _read_checkerboard(image: Tensor, period: int) -> float:
    return checkerboard(image, period).amplitude if bool(image.isfinite().all()) else math.nan


def _measure_fidelity(output: Tensor, target: Tensor) -> dict[str, float]:
    if not bool(output.isfinite().all()):
        return {"psnr_db": math.nan, "ssim": math.nan}
    seen, truth = (image.clamp(0, 1).double().permute(1, 2, 0).numpy() for image in (output, target))
    with np.errstate(divide="ignore"):  # equal images
        psnr = peak_signal_noise_ratio(truth, seen, data_range=1)  # type: ignore[no-untyped-call] # no types there
    ssim = structural_similarity(  # type: ignore[no-untyped-call] # no types there
        truth, seen, data_range=1, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    return {"psnr_db": float(psnr), "ssim": float(ssim)}


class _ColourInput(nn.Module):
    """Gives a network the first rows of a square input, and 0..1 where −1..1 came in."""

    def __init__(self, network: nn.Module, rows: int) -> None:
        super().__init__()
        self.network = network
        self.rows = rows

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.network((x[..., : self.rows, :] + 1) / 2)
        return y


def _measure_ripple(network: nn.Module, period: int, upsampling: int, *, two_tone: bool) -> float:
    """Measure the ripple in levels; two colours lie side by side, so half the rows of the square are enough."""
    colours, parts, margins = (_PAIRS, 2, _TWO_TONE_MARGINS) if two_tone else (_PLAIN_COLOURS, 1, _PLAIN_MARGINS)
    ripple = math.nan
    for margin in margins:
        rows = (2 * margin + _MIDDLE) // upsampling
        try:
            found = flat_field_ripple(
                _ColourInput(network, rows),
                3,
                period,
                size=rows * parts,
                margin=margin,
                colours=colours,
                two_tone=two_tone,
            )
        except UsageError:  # the answer to a plain colour is not finite, though those to the images are
            return math.nan
        ripple = LEVELS * found if found.is_periodic else math.nan
        # otherwise what is near a border reaches further in, or nothing repeats
        if found.periodicity_error <= _REPEATS:
            break
    return ripple


def _measure_effective_ripples(
    network: nn.Module, upsamplers: Mapping[str, int], means: InputMeans
) -> dict[str, float]:
    """Measure the effective ripple of the last upsampler, and of the one before, with their inputs' means."""
    columns = ("effective_ripple_scale1", "effective_ripple_scale2")
    found = means.read()
    ripples = {}
    for column, name in zip(columns, reversed(list(upsamplers)), strict=False):
        if not bool(found[name].isfinite().all()):  # a training that diverged
            ripples[column] = math.nan
            continue
        layer = copy_layer(network.get_submodule(name), torch.float64, "cpu")
        scale = upsamplers[name]
        ripples[column] = effective_ripple(
            impulse_response(layer, found[name].shape[-1], scale), scale, found[name]
        )
    return ripples


def score_finally(outputs: Tensor, targets: Tensor, mean_colour: Tensor, *, period: int) -> dict[str, float]:
    """Measure what is of interest once, after training.

    Parameters
    ----------
    outputs, targets : Tensor, shape (N, 3, H, W), float32
        As of `score_network`.
    mean_colour : Tensor, shape (3,)
        Of the training images, 0..1.
    period : int
        P in output pixels.

    Returns
    -------
    dict
        ``target_checkerboard_levels`` and ``output_checkerboard_levels``: signed amplitudes of the images
        themselves, with no reference; ``colour_distance_correlation``: −1..1, see `correlate_with_colour`;
        ``grid_colour_correlation``: −1..1, see `correlate_grid_with_colour`;
        ``border_residual_levels`` and ``interior_residual_levels``: RMS of the residual in the outermost P pixels,
        and of the rest. NaN, but for the first, where an output is not finite.

    Raises
    ------
    UsageError
        If the images are too small for the period.
    """
    truth = LEVELS * targets.detach().cpu().double()
    shown = LEVELS * outputs.detach().cpu().double()
    residual = shown - truth
    is_inside = torch.zeros(residual.shape[-2:], dtype=torch.bool)
    is_inside[period:-period, period:-period] = True
    is_finite = bool(residual.isfinite().all())
    border, interior = (
        float(residual[..., where].square().mean().sqrt()) if is_finite else math.nan
        for where in (~is_inside, is_inside)
    )
    return {
        "target_checkerboard_levels": _read_checkerboard(truth, period),
        "output_checkerboard_levels": _read_checkerboard(shown, period),
        "colour_distance_correlation": correlate_with_colour(residual, truth, LEVELS * mean_colour, period=period),
        "grid_colour_correlation": correlate_grid_with_colour(
            residual, truth, LEVELS * mean_colour, period=period
        ),
        "border_residual_levels": border,
        "interior_residual_levels": interior,
    }
