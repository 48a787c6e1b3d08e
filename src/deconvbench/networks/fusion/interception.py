"""Watching a forward pass while it runs: a session sees every function of torch that is called.

Decides nothing but when not to watch. Touches no module.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.autograd import forward_ad
from torch.nn import functional
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

from deconvbench.networks.fusion.deferred import find_deferred
from deconvbench.networks.fusion.session import Session
from deconvbench.networks.fusion.side_effects import is_harmless


class Interceptor(TorchFunctionMode):
    """Shows a session every function of torch that is called while it is active, in one thread.

    Parameters
    ----------
    session : Session
        Whom.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call a function, or answer for it."""
        named = kwargs or {}
        session = self.session
        if func is functional.interpolate and not any(True for _ in find_deferred((*args, *named.values()))):
            answer = session.enlarge(args, named)
            if answer is not NotImplemented:
                return answer
        elif session.is_waiting and not is_harmless(func, named):
            session.protect(args, named, func)
        return func(*args, **named)


def is_transformed() -> bool:
    """Whether TorchScript traces, or functions are transformed, or gradients taken forward, in this thread."""
    return bool(
        torch._C._get_tracing_state() is not None
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
    )


def may_intercept() -> bool:
    """Whether a session may start here: nobody traces or transforms, and none is running in this thread."""
    if torch.compiler.is_compiling() or is_transformed():
        return False
    return not any(isinstance(mode, Interceptor) for mode in _get_current_function_mode_stack())  # type: ignore[no-untyped-call] # torch has no types here
