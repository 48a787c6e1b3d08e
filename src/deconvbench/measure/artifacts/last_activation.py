"""What a network is before its last activation: a sigmoid, tanh or clamp at the end squeezes ripple out of sight.

The calls of torch are watched while the network runs, so it does not matter whether the activation is a module or
a function, nor where it stands. Nothing of the network is changed, and nothing is measured here.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

# by the names of torch's functions and methods; in-place forms have an underscore behind
_SATURATING = frozenset({"clamp", "clamp_max", "clamp_min", "clip", "hardtanh", "relu", "relu6"}) | frozenset(
    {"arctan", "atan", "erf", "expit", "hardsigmoid", "sigmoid", "softsign", "tanh"}
)
# share of the largest value: what is scaled and moved is the same but for rounding, in float32 too
_SAME = 1e-5


class CallWatch(TorchFunctionMode):
    """Watches saturating activations and instance norms among the calls of torch, while it is entered.

    Parameters
    ----------
    wanted : int or None
        Number of the saturating call whose input is kept, from 0; None: of the last one.

    Attributes
    ----------
    name : str or None
        Name of the function of the call that is kept.
    number : int
        Its number, -1 where there was none.
    before, after : Tensor or None
        Its input and output.
    normalises_images : bool
        Whether a norm took mean and deviation over the pixels of single channels of single images.
    """

    def __init__(self, wanted: int | None = None) -> None:
        super().__init__()
        self.name: str | None = None
        self.number = -1
        self.before: Tensor | None = None
        self.after: Tensor | None = None
        self.normalises_images = False
        self._wanted = wanted
        self._count = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch and note it."""
        del types
        keywords = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name in {"instance_norm", "group_norm"}:
            self.normalises_images |= _is_instance_norm(name, args, keywords)
        if name.rstrip("_") not in _SATURATING:
            return func(*args, **keywords)
        number, self._count = self._count, self._count + 1
        given = args[0] if args else keywords.get("input")
        if not isinstance(given, Tensor) or self._wanted not in {None, number}:
            return func(*args, **keywords)
        # an activation that works in place takes a flag or has an underscore behind its name
        flags = (*args[1:], keywords.get("inplace"), name.endswith("_"))
        before = given.clone() if any(flag is True for flag in flags) else given
        after = func(*args, **keywords)
        self.name, self.number, self.before, self.after = name.rstrip("_"), number, before, after
        return after


def _is_instance_norm(name: str, args: tuple[Any, ...], keywords: Mapping[str, Any]) -> bool:
    """Whether a call of a norm looks at the pixels of one channel of one image alone."""
    if name == "instance_norm":
        return bool(keywords.get("use_input_stats", args[5] if len(args) > 5 else True))
    groups = keywords.get("num_groups", args[1] if len(args) > 1 else None)
    given = keywords.get("input", args[0] if args else None)
    return isinstance(given, Tensor) and given.ndim > 1 and groups == given.shape[1]


def find_last_activation(network: nn.Module, x: Tensor) -> tuple[int, str] | None:
    """Find the saturating activation that a network ends in, but for a scaling and a constant behind it.

    Several in a row (a tanh whose range is moved and clamped) count as one, whose input is that of the first.

    Parameters
    ----------
    network : nn.Module
        Any; run without a graph, twice at most for each activation in the row.
    x : Tensor, shape (N, C, H, W)
        Noise, so that only what is the same function reads as the same.

    Returns
    -------
    number : int
        Of the call among all saturating ones, from 0, as `CallWatch` takes it.
    name : str
        Of torch's function.
    None where the network ends in something else.
    """
    found = None
    wanted: int | None = None
    target = None
    while wanted is None or wanted >= 0:
        with torch.no_grad(), CallWatch(wanted) as watch:
            y: object = network(x)
        target = y if target is None else target
        if watch.after is None or not isinstance(target, Tensor):
            break
        if not _is_rescaled(target, watch.after):
            break
        found, target = (watch.number, str(watch.name)), watch.before
        # an earlier one that leads straight into it is part of the row
        wanted = watch.number - 1
    return found


def _is_rescaled(y: Tensor, x: Tensor) -> bool:
    """Whether y is a·x + b with numbers a and b; where the activation is saturated, both are constant."""
    if y.shape != x.shape or not y.numel():
        return False
    if bool((y == y.flatten()[0]).all()):
        return bool((x == x.flatten()[0]).all())
    y, x = y.double(), x.double()
    moved, given = y - y.mean(), x - x.mean()
    power = float(given.square().sum())
    slope = float((moved * given).sum()) / power if power else 0.0
    error = (moved - slope * given).abs().max()
    return slope != 0 and bool(error <= _SAME * y.abs().max())
