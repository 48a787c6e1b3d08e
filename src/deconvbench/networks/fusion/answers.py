"""What is known of the arguments of a call without computing them: how they lie in memory, what they are like."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from deconvbench.networks.fusion import calls
from deconvbench.networks.fusion.deferred import Deferred
from deconvbench.networks.fusion.expressions import name_resizing


def is_laid_out(image: Deferred, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call asks for an order in memory that an image has; then torch returns the image itself."""
    if calls.KINDS[function] != calls.LAYOUT:
        return False
    layout = kwargs.get("memory_format", args[1] if len(args) > 1 else torch.contiguous_format)
    return image.is_contiguous(memory_format=layout)


def cast_like(image: Tensor, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Convert an ordinary tensor to what an image is, which need not be computed for that."""
    given = [*args[1:], *kwargs.values()]
    if len(given) != 1 or not isinstance(given[0], Deferred) or given[0].is_given_away:
        return NotImplemented
    return image.to(dtype=given[0].dtype, device=given[0].device)


def can_view(image: Deferred, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether torch has a view of an image for other sizes, and does not raise."""
    try:
        image.map.find_layout().view(*args[1:], **kwargs)
    except RuntimeError:
        return False
    return True


def name_call(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Name what a call of an upsampling does to the size of its image, for a report."""
    call = calls.read_call(function, args, kwargs)
    if not isinstance(call, calls.UpsampleCall) or not isinstance(call.image, Tensor):
        return "upsampling"
    return name_resizing(call, call.image.shape)


def is_operand(value: Any) -> bool:
    """Whether something can be a weight or bias."""
    # a subclass has code of its own, which must run
    return type(value) in {Tensor, nn.Parameter} and value.dtype in calls.DTYPES
