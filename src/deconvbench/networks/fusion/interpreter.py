"""Where images are: what the rules of `following` and `channelwise` need of a running network or a graph.

An interface only.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import torch

from deconvbench.networks.fusion.expressions import LazyExpression

S = TypeVar("S")


class Interpreter(Protocol[S]):
    """Where images are: in memory, or in a graph."""

    def find_expression(self, value: Any) -> LazyExpression[S] | None:
        """Find the expression of an image that is not computed."""

    def find_plain(self, value: Any) -> S | None:
        """Find an image that is computed, if it is an ordinary one."""

    def get_shape(self, value: Any) -> Sequence[Any]:
        """Find a shape (N, C, H, W)."""

    def get_dtype(self, value: Any) -> torch.dtype:
        """Find a dtype."""

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> S:
        """Call a function of torch."""

    def settle(self, source: S, function: Any, size: int, **options: Any) -> S:
        """Convert a source to the dtype that a function answers in, which autocast may have changed."""
