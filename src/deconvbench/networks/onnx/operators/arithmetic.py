"""Functions of each value alone, of one or several tensors, and of types."""

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.networks.onnx.libraries import DTYPES
from deconvbench.networks.onnx.operators.registry import OPERATORS, operator, read_number
from deconvbench.networks.onnx.specs import Spec

_HALF = (torch.float16, torch.bfloat16)

_UNARY: Mapping[str, Callable[[Tensor], Tensor]] = {
    "Abs": torch.abs,
    "Neg": torch.neg,
    "Ceil": torch.ceil,
    "Floor": torch.floor,
    "Round": torch.round,
    "Sqrt": torch.sqrt,
    "Exp": torch.exp,
    "Log": torch.log,
    "Sin": torch.sin,
    "Cos": torch.cos,
    "Tan": torch.tan,
    "Asin": torch.asin,
    "Acos": torch.acos,
    "Atan": torch.atan,
    "Sinh": torch.sinh,
    "Cosh": torch.cosh,
    "Asinh": torch.asinh,
    "Acosh": torch.acosh,
    "Atanh": torch.atanh,
    "Erf": torch.erf,
    "Sign": torch.sign,
    "Reciprocal": torch.reciprocal,
    "IsNaN": torch.isnan,
    "Not": torch.logical_not,
    "Relu": functional.relu,
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "Softplus": functional.softplus,
    "Softsign": functional.softsign,
    "HardSwish": functional.hardswish,
    "Mish": functional.mish,
    "_Silu": functional.silu,
    "_Gelu": functional.gelu,
}
_BINARY: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Equal": torch.eq,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "And": torch.logical_and,
    "Or": torch.logical_or,
    "Xor": torch.logical_xor,
}
_VARIADIC: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Max": torch.maximum,
    "Min": torch.minimum,
    "Sum": torch.add,
}


def _make_unary(function: Callable[[Tensor], Tensor]) -> Callable[..., Any]:
    return lambda spec, x: function(x)


def _make_binary(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Any]:
    return lambda spec, a, b: function(a, b)


def _make_variadic(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Any]:
    return lambda spec, *tensors: reduce(function, tensors)


OPERATORS.update({name: _make_unary(function) for name, function in _UNARY.items()})
OPERATORS.update({name: _make_binary(function) for name, function in _BINARY.items()})
OPERATORS.update({name: _make_variadic(function) for name, function in _VARIADIC.items()})


@operator("Mean")
def average(spec: Spec, *tensors: Tensor) -> Tensor:
    """Average tensors."""
    return reduce(torch.add, tensors) / len(tensors)


@operator("Div")
def divide(spec: Spec, a: Tensor, b: Tensor) -> Tensor:
    """Divide; whole numbers towards zero."""
    return torch.div(a, b) if a.is_floating_point() or a.is_complex() else torch.div(a, b, rounding_mode="trunc")


@operator("Pow")
def raise_to(spec: Spec, a: Tensor, b: Tensor) -> Any:
    """Raise to a power; of the type of the base."""
    return torch.pow(a, b).to(a.dtype) if a.is_floating_point() else NotImplemented


@operator("Mod")
def find_remainder(spec: Spec, a: Tensor, b: Tensor) -> Tensor:
    """Find remainders."""
    return torch.fmod(a, b) if spec.get("fmod", 0) else torch.remainder(a, b)


@operator("Where")
def choose(spec: Spec, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Choose between two tensors."""
    return torch.where(condition, a, b)


@operator("Clip")
def clamp(spec: Spec, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """Limit values."""
    least, most = read_number(low, spec.get("min")), read_number(high, spec.get("max"))
    return x if least is None and most is None else torch.clamp(x, least, most)


@operator("LeakyRelu")
def leaky_relu(spec: Spec, x: Tensor) -> Tensor:
    """Compute a leaky ReLU."""
    return functional.leaky_relu(x, spec.get("alpha", 0.01))


@operator("PRelu")
def prelu(spec: Spec, x: Tensor, slope: Tensor) -> Tensor:
    """Compute a ReLU with slopes for negative values."""
    slopes = slope.numel()
    by_channel = slopes == 1 or (
        x.ndim > 1 and slopes == x.shape[1] and slope.ndim == x.ndim - 1 and slope.shape[0] == slopes
    )
    if by_channel:
        return functional.prelu(x, slope.reshape(-1))
    return torch.where(x < 0, slope * x, x)


@operator("Elu")
def elu(spec: Spec, x: Tensor) -> Tensor:
    """Compute an ELU."""
    return functional.elu(x, spec.get("alpha", 1.0))


@operator("Celu")
def celu(spec: Spec, x: Tensor) -> Tensor:
    """Compute a CELU."""
    return functional.celu(x, spec.get("alpha", 1.0))


@operator("Selu")
def selu(spec: Spec, x: Tensor) -> Any:
    """Compute a SELU with the usual constants."""
    usual = (1.6732631921768188, 1.0507010221481323)
    given = (spec.get("alpha", usual[0]), spec.get("gamma", usual[1]))
    is_usual = all(abs(one - other) < 1e-5 for one, other in zip(given, usual, strict=True))
    return functional.selu(x) if is_usual else NotImplemented


@operator("Gelu")
def gelu(spec: Spec, x: Tensor) -> Tensor:
    """Compute a GELU."""
    return functional.gelu(x, approximate=spec.get("approximate", "none"))


@operator("HardSigmoid")
def hard_sigmoid(spec: Spec, x: Tensor) -> Tensor:
    """Compute a hard sigmoid, with any slope."""
    alpha, beta = spec.get("alpha", 0.2), spec.get("beta", 0.5)
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return functional.hardsigmoid(x)
    return torch.clamp(alpha * x + beta, 0, 1)


@operator("Swish")
def swish(spec: Spec, x: Tensor) -> Tensor:
    """Compute a swish, with any steepness."""
    alpha = spec.get("alpha", 1.0)
    return functional.silu(x) if alpha == 1 else x * torch.sigmoid(alpha * x)


@operator("Softmax", "LogSoftmax")
def softmax(spec: Spec, x: Tensor) -> Any:
    """Compute a softmax; before opset 13 over all axes from one on."""
    function = functional.softmax if spec.operator == "Softmax" else functional.log_softmax
    if spec.opset >= 13:
        return function(x, spec.get("axis", -1))
    axis = spec.get("axis", 1) % max(x.ndim, 1)
    if axis == x.ndim - 1:
        return function(x, -1)
    return function(x.flatten(axis), -1).reshape(x.shape)


@operator("Dropout")
def drop(spec: Spec, x: Tensor, ratio: Tensor | None = None, training: Tensor | None = None) -> Any:
    """Pass values on, unless the file says that it is trained."""
    is_training = bool(read_number(training, default=False))
    if len(spec.outputs) > 1:
        return NotImplemented if is_training else (x, torch.ones_like(x, dtype=torch.bool))
    return functional.dropout(x, read_number(ratio, 0.5), is_training)


@operator("Identity")
def pass_on(spec: Spec, x: Any) -> Any:
    """Pass on what is given."""
    return x


@operator("Cast")
def cast(spec: Spec, x: Tensor) -> Any:
    """Convert to another type."""
    dtype = DTYPES.get(spec.get("to"))
    if dtype is None:
        return NotImplemented
    return x.to(torch.float32 if spec.is_widened and dtype in _HALF else dtype)


@operator("CastLike")
def cast_like(spec: Spec, x: Tensor, like: Tensor) -> Tensor:
    """Convert to the type of another tensor."""
    return x.to(like.dtype)


@operator("DequantizeLinear")
def dequantise(spec: Spec, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Any:
    """Convert whole numbers, each slice along an axis with its own scale."""
    if spec.get("block_size", 0) or scale.ndim > 1:
        return NotImplemented
    shape = [1] * x.ndim
    if scale.ndim == 1 and scale.numel() > 1:
        shape[spec.get("axis", 1)] = scale.numel()
    values = x.to(torch.float32)
    if zero is not None:
        values = values - zero.to(torch.float32).reshape(shape if zero.ndim == 1 and zero.numel() > 1 else [])
    return (values * (scale.reshape(shape) if scale.numel() > 1 else scale.reshape([])).float()).to(scale.dtype)
