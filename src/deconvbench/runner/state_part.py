"""One part of a process's state: how it is read, compared and put back."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a process's state.

    Parameters
    ----------
    name : str
        For a reader, as in "left … changed".
    read : callable
        Returns it, such that later changes do not change what was returned.
    write : callable or None
        Puts back what `read` returned; None where that is not possible.
    is_same : callable
        Compares what is with what was.
    disturbs : bool
        Whether a layer that runs beside the one that changes it is measured under other conditions.
    serves_imports : bool
        Whether a module may change it when it is imported, for what it does later.
    """

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object] | None = None
    is_same: Callable[[Any, Any], bool] = operator.eq
    disturbs: bool = False
    serves_imports: bool = False
