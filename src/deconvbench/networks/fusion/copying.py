"""A copy of a model that shares its parameters and buffers.

Changes nothing in the original.
"""

import copy
from typing import Any, TypeVar

from torch import Tensor, nn

from deconvbench.errors import UsageError

M = TypeVar("M", bound=nn.Module)


def copy_sharing(model: M) -> M:
    """Copy the modules of a model, but none of its tensors.

    Parameters
    ----------
    model : nn.Module
        Any.

    Returns
    -------
    nn.Module
        Its parameters and buffers, and any other tensor that its modules hold as an attribute, are those of the
        model: training one trains the other. Hooks and training flags are copied.

    Raises
    ------
    UsageError
        If a module holds something that cannot be copied.
    """
    # deepcopy keeps what the memo knows already
    memo: dict[int, Any] = {}
    for module in model.modules():
        tensors = (*module._parameters.values(), *module._buffers.values(), *vars(module).values())
        memo |= {id(tensor): tensor for tensor in tensors if isinstance(tensor, Tensor)}
    try:
        return copy.deepcopy(model, memo)
    except (TypeError, RuntimeError, AttributeError, copy.Error) as error:
        raise UsageError(f"model: cannot be copied ({error}); pass inplace=True") from error
