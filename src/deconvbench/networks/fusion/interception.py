"""Showing a session every function of torch that is called while a module runs, and whether that may be done.

Decides nothing: the session does.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from torch.overrides import _get_current_function_mode_stack

from deconvbench.networks.fusion import calls
from deconvbench.networks.fusion.deferred import find_deferred
from deconvbench.networks.fusion.purity import HANDLES, is_harmless
from deconvbench.networks.fusion.session import Session
from deconvbench.upsamplers.fast.recording import UnrecordedMode, is_recorded


class Interceptor(UnrecordedMode):
    """Shows a session every function of torch that is called while it is active, in one thread.

    Parameters
    ----------
    session : Session
        Whom.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        """Stop; after an error no write is seen any more, so that what is left is computed."""
        super().__exit__(kind, error, trace)  # type: ignore[no-untyped-call] # torch has no types here
        if kind is not None:
            # the error that is under way is the one to see
            with suppress(RuntimeError):
                self.session.close(None)

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call a function, or answer for it."""
        named = kwargs or {}
        session = self.session
        if func in calls.STARTS and not any(True for _ in find_deferred((*args, *named.values()))):
            answer = session.upsample(func, args, named)
            if answer is not NotImplemented:
                return answer
        if session.is_waiting and not is_harmless(func, args, named):
            session.protect(args, named, func)
        if func in HANDLES:
            session.expose(args, named)
        return func(*args, **named)


def may_intercept(*values: Any) -> bool:
    """Whether a session may start here for such arguments: nobody records, and no other session in this thread."""
    if is_recorded(*values):
        return False
    return not any(isinstance(mode, Interceptor) for mode in _get_current_function_mode_stack())  # type: ignore[no-untyped-call] # torch has no types here
