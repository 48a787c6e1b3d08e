"""Sums, means and extremes over axes."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from deconvbench.networks.onnx.operators.registry import OPERATORS, operator, read_numbers
from deconvbench.networks.onnx.specs import Spec

_Reduction = Callable[[Tensor, list[int], bool], Tensor]

_REDUCTIONS: Mapping[str, _Reduction] = {
    "ReduceMean": lambda x, axes, keep: x.mean(axes, keepdim=keep),
    "ReduceSum": lambda x, axes, keep: x.sum(axes, keepdim=keep, dtype=x.dtype),
    "ReduceMax": lambda x, axes, keep: x.amax(axes, keepdim=keep),
    "ReduceMin": lambda x, axes, keep: x.amin(axes, keepdim=keep),
    "ReduceL1": lambda x, axes, keep: x.abs().sum(axes, keepdim=keep, dtype=x.dtype),
    "ReduceL2": lambda x, axes, keep: x.square().sum(axes, keepdim=keep).sqrt(),
    "ReduceSumSquare": lambda x, axes, keep: x.square().sum(axes, keepdim=keep, dtype=x.dtype),
    "ReduceLogSum": lambda x, axes, keep: x.sum(axes, keepdim=keep).log(),
    "ReduceLogSumExp": lambda x, axes, keep: x.logsumexp(axes, keepdim=keep),
}
# of whole numbers torch computes these differently, or not at all
_FLOATING = frozenset({"ReduceMean", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp"})


def _reduce(spec: Spec, x: Tensor, axes: Tensor | None = None) -> Any:
    chosen: list[int] = spec.get("axes", []) if axes is None else read_numbers(axes)
    if not chosen and spec.get("noop_with_empty_axes", 0):
        # of opset 18 and later only the axes are left alone
        return x if spec.operator in {"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"} else NotImplemented
    if (spec.operator in _FLOATING and not x.is_floating_point()) or x.ndim == 0 or x.numel() == 0:
        return NotImplemented
    return _REDUCTIONS[spec.operator](x, chosen or list(range(x.ndim)), bool(spec.get("keepdims", 1)))


OPERATORS.update(dict.fromkeys(_REDUCTIONS, _reduce))


@operator("ReduceProd")
def multiply_axes(spec: Spec, x: Tensor, axes: Tensor | None = None) -> Any:
    """Multiply along axes, one after the other."""
    chosen: list[int] = spec.get("axes", []) if axes is None else read_numbers(axes)
    if not chosen and spec.get("noop_with_empty_axes", 0):
        return x
    keep = bool(spec.get("keepdims", 1))
    for axis in sorted({axis % max(x.ndim, 1) for axis in chosen or range(x.ndim)}, reverse=True):
        x = x.prod(axis, keepdim=keep, dtype=x.dtype)
    return x


@operator("ArgMax", "ArgMin")
def find_extreme(spec: Spec, x: Tensor) -> Any:
    """Find where the first maximum or minimum is along an axis."""
    if spec.get("select_last_index", 0) or x.numel() == 0:
        return NotImplemented
    function = torch.argmax if spec.operator == "ArgMax" else torch.argmin
    return function(x, dim=spec.get("axis", 0), keepdim=bool(spec.get("keepdims", 1)))
