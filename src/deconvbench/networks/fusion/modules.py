"""The classes that a fused model is made of: the user's own, with another ``forward`` around theirs.

A module is fused by changing its class to one made here, so that its parameters, children, attributes, name and
``isinstance`` stay what they were. What runs fast is decided anew in every call.
"""

import copyreg
import types
from collections.abc import Sequence
from functools import cache, wraps
from typing import Any, Self

import torch
from torch import Tensor, nn

from deconvbench.networks.fusion.conversion import convert_transposed, is_conversion_faster
from deconvbench.networks.fusion.session import Interceptor, Session, may_intercept
from deconvbench.networks.fusion.tensors import find_layout, find_numbers, find_tensors
from deconvbench.networks.fusion.weight_cache import WeightCache

# more kinds of calls than these are not worth remembering
_MOST_CALLS = 64


class Fused(nn.Module):
    """What all fused modules have in common.

    Attributes
    ----------
    weight_cache : WeightCache or None
        Transformed weights, if they are kept between calls.
    idle : set
        Kinds of calls in which nothing was to be gained, so that they need no looking after.
    """

    weight_cache: WeightCache | None
    idle: set[Any]

    def _describe_call(self, values: Sequence[Any]) -> Any:
        layouts = tuple(find_layout(tensor) for tensor in find_tensors(values))
        # sizes are given as numbers too
        return (
            layouts,
            repr(find_numbers(values)),
            self.training,
            torch.is_grad_enabled(),
            torch.get_num_threads(),
        )

    def _is_idle(self, call: Any) -> bool:
        return call in vars(self).get("idle", ())

    def _note_idle(self, call: Any) -> None:
        if None in call[0]:
            return
        idle = vars(self).setdefault("idle", set())
        if len(idle) >= _MOST_CALLS:
            idle.clear()
        idle.add(call)

    def _find_weight_cache(self) -> WeightCache | None:
        # what a compiler traces computes them anew
        if self.training or torch.compiler.is_compiling():
            return None
        return self.__dict__.get("weight_cache")

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode; training drops what is kept."""
        if mode:
            self._forget()
        vars(self).pop("idle", None)
        return super().train(mode)

    def _apply(self, *args: Any, **kwargs: Any) -> Self:
        self._forget()
        super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call] # torch has no types here
        return self

    def _forget(self) -> None:
        weight_cache = self.__dict__.get("weight_cache")
        if weight_cache is not None:
            weight_cache.clear()

    def _get_name(self) -> str:
        # only for printing: __name__ stays that of the user's class
        return f"Fused{type(self).__name__}"

    def __reduce_ex__(self, protocol: Any) -> Any:
        # the class is made at run time, so pickles and copies name what it is made of
        reduced: Any = super().__reduce_ex__(protocol)
        function, arguments, *rest = reduced
        if function is not copyreg.__newobj__ or arguments[0] is not type(self):  # type: ignore[attr-defined] # undocumented, but what pickle uses
            return (function, arguments, *rest)
        return (_make_empty, (*type(self).__bases__, *arguments[1:]), *rest)


class FusedScope(Fused):
    """A module whose forward pass is watched: upsamplings become fast with the convolutions after them."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the module's own forward pass."""
        if not may_intercept():
            return super().forward(*args, **kwargs)
        call = self._describe_call((*args, *kwargs.values()))
        if self._is_idle(call):
            return super().forward(*args, **kwargs)
        session = Session(self._find_weight_cache())
        with Interceptor(session):
            output = super().forward(*args, **kwargs)
        if session.has_tried and not session.has_gained:
            self._note_idle(call)
        return session.close(output)


class FusedConvTranspose2d(Fused, nn.ConvTranspose2d):
    """A transposed convolution that runs as a convolution and PixelShuffle where that is faster."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:  # torch's name
        """Convolve."""
        is_plain = output_size is None and type(input) in {Tensor, nn.Parameter} and input.ndim == 4
        if not is_plain or not is_conversion_faster(self, input):
            y: Tensor = super().forward(input, output_size)
            return y
        return convert_transposed(self, input)


def make_class(kind: type[Fused], base: type[nn.Module]) -> type[nn.Module]:
    """Make the class of a fused module.

    Parameters
    ----------
    kind : type
        One of the classes above.
    base : type
        The class of the module.

    Returns
    -------
    type
        A subclass of both, the same one every time.
    """
    keys: tuple[Any, Any] = (kind, base)
    made: type[nn.Module] = _make_once(*keys)
    return made


@cache
def _make_once(kind: Any, base: Any) -> Any:
    # tracers, and libraries that pass what a forward takes, read its signature
    @wraps(base.forward)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        return kind.forward(self, *args, **kwargs)

    names = {name: getattr(base, name) for name in ("__module__", "__qualname__", "__doc__")} | {
        "forward": forward
    }
    return types.new_class(base.__name__, (kind, base), exec_body=lambda body: body.update(names))


def _make_empty(kind: type[Fused], base: type[nn.Module], *arguments: Any) -> nn.Module:
    made = make_class(kind, base)
    return made.__new__(made, *arguments)
