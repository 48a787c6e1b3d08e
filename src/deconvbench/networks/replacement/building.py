"""Building the layer that replaces another: planned, filled with the nearest weights, cropped to the old size."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from deconvbench.networks.replacement.equivalents import read_equivalent
from deconvbench.networks.replacement.finding import Found, describe, list_parameters
from deconvbench.networks.replacement.kernels import Equivalent, FloatArray, fit, fit_bias
from deconvbench.networks.replacement.specification import Specification
from deconvbench.networks.replacement.targets import Plan, plan_layer


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Built:
    """A new layer.

    Parameters
    ----------
    module : nn.Module
        What comes in place of the old one.
    layer : nn.Module
        The layer with the weights: the same, or the first module of it.
    relative_error, bias_error, remark
        As in `Replacement`.
    """

    module: nn.Module
    layer: nn.Module
    relative_error: float | None
    bias_error: float
    remark: str

    @property
    def now(self) -> str:
        """The modules, as torch prints them."""
        parts = self.module if isinstance(self.module, nn.Sequential) else (self.module,)
        return " + ".join(map(describe, parts))


def build_layer(found: Found, specification: Specification, *, carry_weights: bool) -> Built | str:
    """Build the layer that replaces another.

    Parameters
    ----------
    found : Found
        What it replaces.
    specification : Specification
        By what.
    carry_weights : bool
        Whether the old weights decide about the new ones.

    Returns
    -------
    Built or str
        Why there is no such layer, in words.
    """
    # weights that are not finite may be given where new ones are drawn
    with np.errstate(invalid="ignore"):
        equivalent = read_equivalent(found)
    plan = plan_layer(specification.target, found, equivalent, specification.target_kernel_size)
    if isinstance(plan, str):
        return plan
    old_weight, old_bias = list_parameters(found.module)
    layer = plan.make(bias=old_bias is not None, device=old_weight.device, dtype=old_weight.dtype)
    if describe(layer) == found.was:
        return "it is such a layer already"
    relative_error, bias_error = None, 0.0
    if carry_weights:
        relative_error, bias_error = _carry(layer, plan, equivalent)
    _adopt(layer, found.module)
    module = layer
    (top, bottom), (left, right) = plan.crop
    if any((top, bottom, left, right)):
        cropping = nn.ZeroPad2d((-left, -right, -top, -bottom))
        module = nn.Sequential(layer, cropping).train(found.module.training)
    return Built(
        module=module,
        layer=layer,
        relative_error=relative_error,
        bias_error=bias_error,
        remark=_compare_borders(equivalent.border, plan.border),
    )


def _carry(layer: nn.Module, plan: Plan, equivalent: Equivalent) -> tuple[float, float]:
    """Fill a layer with the weights that come nearest; relative errors of weight and bias."""
    weights, relative_error = fit(equivalent, plan.axes, plan.project)
    new_weight, new_bias = list_parameters(layer)
    with torch.no_grad():
        _fill(new_weight, plan.arrange(weights))
    found, bias_error = fit_bias(equivalent.bias, has_phases=plan.has_phases)
    if new_bias is not None and found is not None:
        has_values = new_bias.numel() == found.size
        with torch.no_grad():
            _fill(new_bias, found if has_values else found[:, 0, 0])
    return relative_error, bias_error


def _fill(tensor: Tensor, values: FloatArray) -> None:
    tensor.copy_(torch.from_numpy(np.array(values)).reshape(tensor.shape))


def _adopt(layer: nn.Module, old: nn.Module) -> None:
    """Take over what is set on parameters and modules: layout, requires_grad, mode."""
    layer.train(old.training)
    for name in ("weight", "bias"):
        parameter, like = getattr(layer, name), getattr(old, name)
        if parameter is None:
            continue
        parameter.requires_grad_(like.requires_grad)
        if like.ndim == 4 and not like.is_contiguous() and like.is_contiguous(memory_format=torch.channels_last):
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def _compare_borders(old: str, new: str) -> str:
    if old == new:
        return ""
    return f"another near the border, where {' and '.join(filter(None, (old, new)))}"
