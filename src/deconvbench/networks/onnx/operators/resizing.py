"""Resizing: `interpolate` where torch does the same; elsewhere `onnx_resize`, which an audit sees too.

What decides are the attributes: which of them differ from torch's is said in words, for a finding.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import handle_torch_function, has_torch_function_unary

from deconvbench.networks.onnx.operators.registry import operator, read_numbers
from deconvbench.networks.onnx.specs import Spec

_MODES = {"nearest": ("nearest",) * 3, "linear": ("linear", "bilinear", "trilinear"), "cubic": ("", "bicubic", "")}
_TORCH_COEFFICIENT = -0.75


def onnx_resize(input: Tensor, mode: str, differences: str, run: Callable[[], Tensor]) -> Tensor:
    """Resize as torch does not.

    Parameters
    ----------
    input : Tensor, shape (N, C, ...)
        What is resized.
    mode : str
        ``nearest``, ``linear`` or ``cubic``.
    differences : str
        Attributes that differ from torch's.
    run : callable
        Computes it.

    Notes
    -----
    It can be watched as torch's own functions can.
    """
    if has_torch_function_unary(input):
        answer: Tensor = handle_torch_function(onnx_resize, (input,), input, mode, differences, run)
        return answer
    return run()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What a node asks for, of all spatial axes."""

    sides: tuple[int, ...]
    scales: tuple[float, ...] | None

    def find_factors(self, before: Sequence[int]) -> list[float]:
        if self.scales is not None:
            return list(self.scales)
        return [after / side if side else 1.0 for side, after in zip(before, self.sides, strict=True)]


@operator("Resize", "Upsample")
def resize(spec: Spec, x: Tensor, *rest: Tensor | None) -> Any:
    """Resize (N, C, ...) or (N, ..., C) along its spatial axes."""
    request = _read_request(spec, x, rest)
    if request is None or not x.is_floating_point():
        return NotImplemented
    moved = _move_channels(x, request)
    if moved is None:
        return NotImplemented
    image, is_last = moved
    order = [0, *range(2, x.ndim), 1] if is_last else None
    spatial = slice(1, -1) if is_last else slice(2, None)
    sides = request.sides[spatial]
    factors = request.find_factors(x.shape)[spatial]
    is_sized = request.scales is None
    if all(one == side for one, side in zip(sides, image.shape[2:], strict=True)) and set(factors) == {1.0}:
        return x
    differences = list_differences(spec, image.shape[2:], sides, factors)
    if not differences and not _rounds_alike(spec, image.shape[2:], sides, None if is_sized else factors):
        differences = ["rounding"]
    if differences:
        if all(after <= before for before, after in zip(image.shape[2:], sides, strict=True)):
            return NotImplemented
        if spec.elsewhere is None:
            return NotImplemented
        elsewhere = spec.elsewhere

        def run() -> Tensor:
            y: Tensor = elsewhere(x, *rest)
            return y if order is None else y.movedim(-1, 1)

        y = onnx_resize(image, spec.get("mode", "nearest"), ", ".join(differences), run)
    else:
        y = _interpolate(spec, image, sides, None if is_sized else factors)
    return y if order is None else y.permute(order)


def _move_channels(x: Tensor, request: _Request) -> tuple[Tensor, bool] | None:
    """Bring the channels, along which nothing is resized, to the second axis; None if there is no such."""
    if not 3 <= x.ndim <= 5:
        return None
    factors = request.find_factors(x.shape)
    changed = [axis for axis in range(x.ndim) if factors[axis] != 1 or request.sides[axis] != x.shape[axis]]
    if 0 in changed:
        return None
    if 1 not in changed:
        return x, False
    return None if x.ndim - 1 in changed else (x.permute(0, x.ndim - 1, *range(1, x.ndim - 1)), True)


def _interpolate(spec: Spec, x: Tensor, sides: Sequence[int], factors: Sequence[float] | None) -> Tensor:
    mode = _MODES[spec.get("mode", "nearest")][x.ndim - 3]
    options: dict[str, Any] = {"size": list(sides)} if factors is None else {"scale_factor": list(factors)}
    if mode == "nearest":
        is_exact = _read_coordinates(spec) != "asymmetric"
        return functional.interpolate(x, mode="nearest-exact" if is_exact else mode, **options)
    corners = _read_coordinates(spec) == "align_corners"
    return functional.interpolate(x, mode=mode, align_corners=corners, **options)


def _read_coordinates(spec: Spec) -> str:
    # the only ones that there were
    default = "half_pixel" if spec.operator == "Resize" and spec.opset >= 11 else "asymmetric"
    found: str = spec.get("coordinate_transformation_mode", default)
    return found


def list_differences(
    spec: Spec, before: Sequence[int], after: Sequence[int], factors: Sequence[float]
) -> list[str]:
    """List the attributes that differ from those that torch has.

    Parameters
    ----------
    spec : Spec
        Of a ``Resize`` or ``Upsample``.
    before, after : sequence of int
        Spatial sides.
    factors : sequence of float
        By which they are resized.

    Returns
    -------
    list of str
        Such as ``cubic_coeff_a=-0.5``; empty where `interpolate` does the same.
    """
    mode, coordinates = spec.get("mode", "nearest"), _read_coordinates(spec)
    if mode == "nearest":
        # before opset 11 positions were cut off where a side grows, and rounded up where it shrinks
        shrinks = any(large > small for large, small in zip(before, after, strict=True))
        oldest = "floor" if not shrinks or spec.operator == "Upsample" else "ceil"
        default = "round_prefer_floor" if spec.opset >= 11 and spec.operator == "Resize" else oldest
        rounding = spec.get("nearest_mode", default)
        is_torch = (coordinates, rounding) in {("asymmetric", "floor"), ("half_pixel", "round_prefer_ceil")}
        return [] if is_torch else [coordinates, rounding]
    found = []
    is_half = coordinates in {"half_pixel", "pytorch_half_pixel"} and (
        coordinates == "half_pixel" or min(after) > 1
    )
    if not is_half and coordinates != "align_corners":
        found.append(coordinates)
    if mode == "cubic":
        coefficient = spec.get("cubic_coeff_a", _TORCH_COEFFICIENT)
        if coefficient != _TORCH_COEFFICIENT:
            found.append(f"cubic_coeff_a={coefficient:g}")
        # torch's has another coefficient, and excludes what is outside
        found += [f"{name}=1" for name in ("antialias", "exclude_outside") if spec.get(name, 0)]
        if len(before) != 2:
            found.append(f"cubic along {len(before)} axes")
    elif spec.get("antialias", 0) and min(factors) < 1:
        found.append("antialias=1")
    if spec.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        found.append(f"keep_aspect_ratio_policy={spec.get('keep_aspect_ratio_policy')}")
    return found


def _rounds_alike(
    spec: Spec, before: Sequence[int], after: Sequence[int], factors: Sequence[float] | None
) -> bool:
    """Whether torch and onnxruntime, each with its own rounding, make as many pixels, and take the same ones."""
    for axis, (side, wanted) in enumerate(zip(before, after, strict=True)):
        factor = wanted / side if factors is None else factors[axis]
        if factor == int(factor):
            continue
        if factors is not None and math.floor(side * factor) != wanted:
            return False
        if spec.get("mode", "nearest") == "nearest":
            # float32 as in onnxruntime
            places, scale, half = np.arange(wanted, dtype=np.float32), np.float32(factor), np.float32(0.5)
            if _read_coordinates(spec) == "half_pixel":
                theirs = np.floor(((places + half) / scale - half) + half)
            else:
                theirs = np.floor(places / scale)
            numbers = torch.arange(side, dtype=torch.float32)[None, None]
            ours = _interpolate(spec, numbers, [wanted], None if factors is None else [factor])[0, 0].numpy()
            if not bool((theirs.clip(0, side - 1) == ours).all()):
                return False
    return True


def _read_request(spec: Spec, x: Tensor, rest: Sequence[Tensor | None]) -> _Request | None:
    """Read sides and factors of all axes; None where they cannot be read."""
    values = [None if one is None or one.numel() == 0 else read_numbers(one) for one in rest]
    if spec.operator == "Upsample" or spec.opset < 11:
        scales, sizes = (values[0] if values else spec.get("scales")), None
    else:
        _, scales, sizes = (*values, None, None, None)[:3]
    axes = spec.get("axes") or list(range(x.ndim))
    if spec.get("coordinate_transformation_mode") == "tf_crop_and_resize" and sizes is None and scales is None:
        return None
    if sizes is not None:
        all_sides = list(x.shape)
        policy = spec.get("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            ratios = [size / x.shape[axis] for axis, size in zip(axes, sizes, strict=True)]
            ratio = min(ratios) if policy == "not_larger" else max(ratios)
            sizes = [math.floor(ratio * x.shape[axis] + 0.5) for axis in axes]
        for axis, size in zip(axes, sizes, strict=True):
            all_sides[axis] = size
        return _Request(sides=tuple(all_sides), scales=None)
    if scales is None:
        return None
    all_scales = [1.0] * x.ndim
    for axis, scale in zip(axes, scales, strict=True):
        all_scales[axis] = scale
    sides = tuple(
        int(np.float32(scale) * np.float32(side)) for scale, side in zip(all_scales, x.shape, strict=True)
    )
    return _Request(sides=sides, scales=tuple(all_scales))
