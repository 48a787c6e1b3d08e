"""What a session tells whoever wants to know what it does, and why not."""

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from deconvbench.networks.fusion.expressions import LazyExpression
from deconvbench.networks.fusion.matching import Match


class SessionListener(Protocol):
    """Who wants to know what a session does, and why not."""

    def begin(self, scale: int | str) -> Any:
        """Learn of an upsampling; what is returned comes back with the expression."""

    def refuse(self, reason: str, what: str) -> None:
        """Learn of an upsampling that is not one of ours, or of what it is instead."""

    def fuse(self, expression: LazyExpression[Tensor], match: Match, plain: Tensor, fast: Tensor) -> None:
        """Learn of a convolution that went the fast way, and of what the plain one answers."""

    def miss(self, upsamplings: Sequence[Any], reason: str) -> None:
        """Learn of an upsampled tensor that had to be computed."""
