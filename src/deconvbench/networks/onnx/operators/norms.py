"""Normalisations, in torch's functions of the same names."""

from typing import Any

from torch import Tensor
from torch.nn import functional

from deconvbench.networks.onnx.operators.registry import operator
from deconvbench.networks.onnx.specs import Spec


@operator("BatchNormalization")
def normalise_batch(spec: Spec, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Any:
    """Normalise with the statistics of the file."""
    is_training = spec.get("training_mode", 0) or len(spec.outputs) > 1
    if is_training or x.ndim < 2 or spec.get("spatial", 1) != 1:
        return NotImplemented
    mean, variance, scale, bias = (one.to(x.dtype) for one in (mean, variance, scale, bias))
    return functional.batch_norm(x, mean, variance, scale, bias, eps=spec.get("epsilon", 1e-5))


@operator("InstanceNormalization")
def normalise_instances(spec: Spec, x: Tensor, scale: Tensor, bias: Tensor) -> Any:
    """Normalise each channel of each image."""
    if x.ndim < 3 or x.shape[2:].numel() <= 1:
        return NotImplemented
    return functional.instance_norm(x, weight=scale, bias=bias, eps=spec.get("epsilon", 1e-5))


@operator("GroupNormalization")
def normalise_groups(spec: Spec, x: Tensor, scale: Tensor, bias: Tensor) -> Any:
    """Normalise groups of channels; before opset 21 with one scale for each group."""
    groups = spec.get("num_groups")
    if scale.numel() != x.shape[1]:
        each = x.shape[1] // groups
        scale, bias = (one.reshape(-1, 1).expand(-1, each).reshape(-1) for one in (scale, bias))
    return functional.group_norm(x, groups, scale, bias, spec.get("epsilon", 1e-5))


@operator("LayerNormalization")
def normalise_layer(spec: Spec, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Any:
    """Normalise the last axes."""
    if len(spec.outputs) > 1:
        return NotImplemented
    shape = x.shape[spec.get("axis", -1) :]
    weight = scale if scale.shape == shape else scale.expand(shape)
    shift = bias if bias is None or bias.shape == shape else bias.expand(shape)
    return functional.layer_norm(x, tuple(shape), weight, shift, spec.get("epsilon", 1e-5))


@operator("RMSNormalization")
def normalise_magnitude(spec: Spec, x: Tensor, scale: Tensor) -> Any:
    """Divide by the root mean square of the last axes."""
    shape = x.shape[spec.get("axis", -1) :]
    return functional.rms_norm(x, tuple(shape), scale.expand(shape), spec.get("epsilon", 1e-5))
