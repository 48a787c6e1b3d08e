"""Who records torch's operations, or transforms them, and which form is right for all of them.

What is recorded runs again at other sizes, in other memory and without Python. So it may hold no results that are
written into given places, no sizes of this call and no functions of Python. It decides for all forms.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.fx import Proxy, _symbolic_trace
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack
from torch.utils._device import DeviceContext
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from deconvbench.upsamplers.fast.dtypes import is_half_precision

# forms that are differentiable operations of torch as they are
_RECORDABLE = frozenset({"plain", "transposed", "subpixel"})
# its modes count operations and keep none
_COUNTERS = "torch.utils.flop_counter"
PLAIN_TYPES = frozenset({Tensor, nn.Parameter, type(None)})
# of tensors, subclasses of theirs and parameters
_OWN_FUNCTIONS = frozenset(
    {Tensor.__torch_function__.__func__, nn.Parameter.__torch_function__}  # type: ignore[attr-defined] # a class method
)


class UnrecordedMode(TorchFunctionMode):
    """A mode that answers for functions of torch but records none: the base of this package's own."""


def choose_recorded(implementation: str, *operands: Any) -> str | None:
    """Name the form that a call takes where it is recorded or transformed.

    Parameters
    ----------
    implementation : str
        The form that is wanted, ``auto`` included.
    *operands : Tensor, Proxy or None
        Input, weight and bias, as far as they are at hand.

    Returns
    -------
    str or None
        None where nobody records. ``plain`` for what is kept by the names of operations and later moved to other
        devices and types (TorchScript and ``torch.fx``), and for tensors with operations of their own: which they
        have besides the convolution is not known. Otherwise the form itself if it is made of torch's convolutions.
        In place of the others ``plain`` for what is exported, which other systems know best, and for ``auto`` in
        half precision (see `dtypes`), and else the transposed one, a single operation.
    """
    if not (torch.compiler.is_compiling() or torch.compiler.is_exporting()):
        are_plain = PLAIN_TYPES.issuperset(map(type, operands)) or all(map(_is_ordinary, operands))
        if is_traced() or (not are_plain and any(map(is_symbol, operands))):
            return "plain"
        if not (_is_transformed() or _has_modes()):
            return "plain" if not are_plain or _symbolic_trace._is_fx_tracing_flag else None
    is_precise = implementation != "auto" or not is_half_precision(*operands)
    if torch.compiler.is_exporting() or not is_precise:
        return implementation if implementation in _RECORDABLE else "plain"
    return implementation if implementation in _RECORDABLE else "transposed"


def is_recorded(*operands: Any) -> bool:
    """Say whether a call is recorded or transformed.

    Parameters
    ----------
    *operands : Any
        Its arguments; only those that are tensors or symbols count.
    """
    relevant = [operand for operand in operands if isinstance(operand, Tensor) or is_symbol(operand)]
    return choose_recorded("auto", *relevant) is not None


def is_called_alone(x: Any) -> bool:
    """Say whether nothing but autograd sees the operations of a call on a CPU; asks little, at every call.

    Parameters
    ----------
    x : Any
        Its input.

    Returns
    -------
    bool
        Only where nobody records, transforms, watches or casts.
    """
    return (
        not torch.compiler.is_compiling()
        and type(x) in PLAIN_TYPES
        and torch._C._get_tracing_state() is None
        and not torch._C._len_torch_dispatch_stack()
        and not torch._C._len_torch_function_stack()
        and x.is_cpu
        and not torch.is_autocast_enabled("cpu")
        and not _is_transformed()
        and not _symbolic_trace._is_fx_tracing_flag
    )


def can_record_gradients() -> bool:
    """Say whether autograd records calls on tensors that require gradients."""
    # within inference mode gradients may be switched on, and torch's own operations record nothing all the same
    return torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def records_gradient(*operands: Tensor | None) -> bool:
    """Say whether autograd records a call.

    Parameters
    ----------
    *operands : Tensor or None
        Its tensors.
    """
    return can_record_gradients() and any(operand is not None and operand.requires_grad for operand in operands)


def is_symbol(operand: Any) -> bool:
    """Say whether something stands for a tensor without a shape and a type.

    Parameters
    ----------
    operand : Any
        A tensor, or what takes its place while ``torch.fx`` traces.
    """
    return isinstance(operand, Proxy)


def is_traced() -> bool:
    """Say whether TorchScript traces: for every size it would keep what a comparison of this one decides."""
    return torch._C._get_tracing_state() is not None


def is_mapped() -> bool:
    """Say whether ``torch.vmap`` maps over a call: it knows no memory format but the contiguous one."""
    if not torch._C._are_functorch_transforms_active():
        return False
    if torch.compiler.is_compiling():
        # which of the transforms it is cannot be asked there
        return True
    stack = torch._C._functorch.get_interpreter_stack() or ()
    return any(interpreter.key() == torch._C._functorch.TransformType.Vmap for interpreter in stack)


def _is_ordinary(operand: Any) -> bool:
    """Whether torch's operations on something are torch's own."""
    if operand is None:
        return True
    if not isinstance(operand, Tensor):
        return False
    handle = type(operand).__torch_function__
    return (
        type(operand).__torch_dispatch__ is Tensor.__torch_dispatch__
        and getattr(handle, "__func__", handle) in _OWN_FUNCTIONS
    )


def _is_transformed() -> bool:
    """Whether functions are mapped or differentiated; torch has no public name for either question."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def _has_modes() -> bool:
    """Whether a mode sees every operation, or every function, that may record them."""
    dispatching = _get_current_dispatch_mode_stack() if torch._C._len_torch_dispatch_stack() else ()
    if any(type(mode).__module__ != _COUNTERS for mode in dispatching):
        return True
    if not torch._C._len_torch_function_stack():
        return False
    functions = _get_current_function_mode_stack()  # type: ignore[no-untyped-call] # torch has no types here
    return any(not isinstance(mode, (UnrecordedMode, DeviceContext)) for mode in functions)
