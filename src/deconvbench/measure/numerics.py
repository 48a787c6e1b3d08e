"""Rounding error of one upsampler: what low precision and inexact fast forms cost.

Compares arithmetic only: the reference computes with the same rounded weights and input. Precision flags such as
TF32 are left as they are, so their effect is seen.
"""

import math

import torch
from torch import Tensor

from deconvbench.errors import UnsupportedError
from deconvbench.measure.layers import build_seeded_layer, copy_layer, run_layer
from deconvbench.records.case import check_field
from deconvbench.records.record import NumericsRecord

# in input pixels: some pixels see no padding even for a kernel of 8, and float64 stays affordable at 512 channels
_MAP_SIZE = 8
_SEED = 0


def numerical_error(output: Tensor, reference: Tensor) -> float:
    """Relative error of an output in the Euclidean norm, ‖y − y64‖ / ‖y64‖.

    Unit: none. Range: 0 and up. Best: 0. A fraction of the type's rounding unit where sums are kept in a wider
    type and only the output is rounded, more where they are not and the sums are long.
    Sees: low precision and inexact fast forms.
    Blind to: where in the map the error lies, and to errors that weights and input had before. With random weights
    and an input of mean zero, also to what fast forms lose in half precision where kernels sum to zero.

    Parameters
    ----------
    output : Tensor, any shape and floating-point type
        y, computed in the precision under test.
    reference : Tensor, same shape, float64
        y64.

    Returns
    -------
    float
        NaN where the reference is zero everywhere.

    References
    ----------
    Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed. 2002, chapter 3.
    """
    norm = float(torch.linalg.vector_norm(reference))
    error = float(torch.linalg.vector_norm(output.to(reference) - reference))
    return error / norm if norm else math.nan


def measure_numerics(
    upsampler_name: str,
    kernel_size: int | None,
    scale_factor: int,
    in_channels: int,
    out_channels: int,
    dtype: str,
    device: str,
) -> NumericsRecord:
    """Measure the rounding error of an upsampler in a type, on a device.

    Weights and a normal input are drawn in float32 from a fixed seed and rounded to `dtype`; the layer is
    evaluated in `dtype` on `device`, and in float64 on the CPU from the same rounded numbers. So only the
    arithmetic counts, not the rounding of the weights. On a small map: the error depends on the length of the
    sums, not on the size.

    Parameters
    ----------
    upsampler_name : str
        Name in the registry.
    kernel_size : int or None
        Kernel size k.
    scale_factor : int
        Scale s.
    in_channels, out_channels : int
        Channels of the layer.
    dtype : str
        One of `deconvbench.records.case.DTYPES`.
    device : str
        Such as ``cpu`` or ``cuda``.

    Returns
    -------
    NumericsRecord
        With `numerical_error` (None where the output is zero) and status `ok`; or status `unsupported` and the
        reason.

    Raises
    ------
    UsageError
        If a name is unknown, or the output has the wrong size or is not finite (an overflow of float16, say).
    """
    check_field("dtype", dtype)
    check_field("device", device)
    status, message = "ok", ""
    error = math.nan
    try:
        layer = build_seeded_layer(upsampler_name, in_channels, out_channels, kernel_size, scale_factor, _SEED)
        tested = copy_layer(layer, getattr(torch, dtype), device)
        exact = copy_layer(tested, torch.float64, "cpu")
        generator = torch.Generator().manual_seed(_SEED)
        shape = (1, in_channels, _MAP_SIZE, _MAP_SIZE)
        x = torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu").to(getattr(torch, dtype))
        output = run_layer(tested, x.to(device), scale_factor)
        # to the CPU before float64: some accelerators have no float64
        error = numerical_error(output.cpu(), run_layer(exact, x.double(), scale_factor))
    except UnsupportedError as reason:
        status, message = "unsupported", str(reason)
    return NumericsRecord(
        upsampler=upsampler_name,
        kernel_size=kernel_size,
        scale_factor=scale_factor,
        in_channels=in_channels,
        out_channels=out_channels,
        dtype=dtype,
        device=device,
        status=status,
        message=message,
        numerical_error=None if math.isnan(error) else error,
    )
