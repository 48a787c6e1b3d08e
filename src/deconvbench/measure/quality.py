"""Artifact metrics of one upsampler with one seed: what does not depend on the device.

Decides which metric applies to which upsampler from what its registration declares; the metrics themselves live in
`deconvbench.measure.artifacts`. It catches nothing but what an upsampler cannot build.
"""

import math

import torch
from torch import nn

from deconvbench.columns import ARTIFACT_COLUMNS
from deconvbench.errors import UnsupportedError
from deconvbench.measure.artifacts import (
    border_error,
    image_rejection_db,
    impulse_response,
    noise_gain_cv,
    overlap_cv,
    phase_ripple,
)
from deconvbench.measure.layers import build_seeded_layer, copy_layer, run_layer
from deconvbench.record import QualityRecord
from deconvbench.upsamplers import UpsamplerSpec, get_upsampler

# in input pixels; one size for all layers, because the corners' share of the border depends on it
_BORDER_SIZE = 12


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
        With all of `ARTIFACT_COLUMNS`, status `ok`; or without metrics, `unsupported` and the reason. A metric
        is None where it needs a property that the upsampler does not declare (`overlap_cv`, `phase_ripple`,
        `noise_gain_cv`, `image_rejection_db`: linear and shift-equivariant; `border_error`: shift-equivariant),
        or where it is undefined because nothing comes through the layer.

    Raises
    ------
    UsageError
        If the name is unknown, the output has the wrong size or is not finite, or the layer does not keep what its
        registration declares.
    """
    status, message = "ok", ""
    metrics: dict[str, float | None] = {}
    try:
        layer = build_seeded_layer(upsampler_name, channels, channels, kernel_size, scale_factor, seed)
        metrics = _evaluate(layer, get_upsampler(upsampler_name), channels, scale_factor)
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


def _evaluate(layer: nn.Module, spec: UpsamplerSpec, channels: int, scale_factor: int) -> dict[str, float | None]:
    values = dict.fromkeys(ARTIFACT_COLUMNS, math.nan)
    border_size = _BORDER_SIZE
    if spec.linear and spec.shift_equivariant:
        taps = impulse_response(layer, channels, scale_factor)
        values["overlap_cv"] = overlap_cv(layer, channels, scale_factor)
        values["phase_ripple"] = phase_ripple(taps, scale_factor)
        values["noise_gain_cv"] = noise_gain_cv(taps, scale_factor)
        values["image_rejection_db"] = image_rejection_db(taps, scale_factor)
        # two pixels that the border does not reach must remain in the middle
        border_size = max(border_size, taps.shape[-1] // scale_factor + 1)
    if spec.shift_equivariant:
        constant = torch.ones(1, channels, border_size, border_size, dtype=torch.float64)
        output = run_layer(copy_layer(layer, torch.float64), constant, scale_factor)
        values["border_error"] = border_error(output, scale_factor)
    return {name: None if math.isnan(value) else value for name, value in values.items()}
