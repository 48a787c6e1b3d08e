"""A model made ready to be audited: in single precision, eager, and what of it is not seen."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from deconvbench.errors import describe_failure
from deconvbench.networks.fusion.modules import find_fused
from deconvbench.networks.fusion.observation import find_tensors, split_input
from deconvbench.networks.onnx import OnnxModule

_HALF = (torch.float16, torch.bfloat16)


def widen(model: nn.Module, example: Any) -> tuple[nn.Module, Any, str]:
    """Copy a model of half precision in single precision, if that can be run.

    Parameters
    ----------
    model : nn.Module
        Any.
    example : Any
        Its arguments.

    Returns
    -------
    model : nn.Module
        The very same where nothing is in half precision, or the copy does not run.
    example : Any
        To go with it.
    problem : str
        Why the copy does not run; empty otherwise.
    """
    if not any(tensor.dtype in _HALF for tensor in (*model.parameters(), *find_tensors(example))):
        return model, example, ""
    widened = pytree.tree_map(to_single, example)
    try:
        single = copy.deepcopy(model).float()
        args, kwargs = split_input(widened)
        with torch.no_grad():
            single(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 -- code of the user's may raise anything
        return model, example, f"single precision: {describe_failure(error)}; ripple has the noise of rounding"
    return single, widened, ""


def to_single(value: Any) -> Any:
    """Convert a tensor of half precision; everything else is given back."""
    return value.float() if isinstance(value, Tensor) and value.dtype in _HALF else value


def list_unseen(model: nn.Module) -> list[str]:
    """Name the parts of a model whose calls are not seen."""
    fused = [
        f"{path or '(the model)'}: fused; audit the model as it was before"
        for path, module in model.named_modules()
        if find_fused(module) is not None
    ]
    fused += [
        f"{name}, whose inside is not seen"
        for module in model.modules()
        if isinstance(module, OnnxModule)
        for name in module.list_unseen()
    ]
    return fused + [
        f"{path or '(the model)'}: TorchScript, whose calls are not seen"
        for path, module in model.named_modules()
        if isinstance(module, torch.jit.ScriptModule)
        and not isinstance(dict(model.named_modules()).get(path.rpartition(".")[0]), torch.jit.ScriptModule)
    ]


def name_dtype(model: nn.Module) -> str:
    """Name the dtype that most parameters have."""
    counts: dict[torch.dtype, int] = {}
    for parameter in model.parameters():
        if parameter.is_floating_point():
            counts[parameter.dtype] = counts.get(parameter.dtype, 0) + parameter.numel()
    return str(max(counts, key=counts.__getitem__, default=torch.float32)).removeprefix("torch.")


@contextmanager
def run_eagerly() -> Iterator[None]:
    """Run what is compiled as it was written, so that its calls are seen."""
    with torch.compiler.set_stance("force_eager"):
        yield
