"""Running a model once to see which upsamplings meet which convolutions, and in which module.

Leaves the model as it was (see `snapshot`).
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from deconvbench.errors import UsageError
from deconvbench.networks.frames import Frame, FrameStack
from deconvbench.networks.fusion.expressions import LazyExpression
from deconvbench.networks.fusion.interception import Interceptor
from deconvbench.networks.fusion.matching import Match
from deconvbench.networks.fusion.session import Session
from deconvbench.networks.fusion.snapshot import keep_everything
from deconvbench.networks.fusion.tensors import compare


@dataclass(slots=True)
class Upsampling:
    """One upsampling that was seen.

    Parameters
    ----------
    frames : tuple of Frame
        The calls around it, outermost first.
    scale : int, str or None
        The scale, or those of rows and columns; None for one that is not one of ours.
    what : str
        What it is: an upsampling, or not.
    reasons : list of str
        Why it had to be computed.
    is_fused : bool
        Whether a convolution made it unnecessary.
    """

    frames: tuple[Frame, ...]
    scale: int | str | None
    what: str
    reasons: list[str] = field(default_factory=list)
    is_fused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fusion:
    """One convolution that went the fast way.

    Parameters
    ----------
    around : tuple of str
        Paths of the modules whose one call saw both the upsamplings and the convolution, outermost first.
    upsampled : tuple of (str, int or str)
        Paths and scales of the upsamplings.
    path : str
        Of the module of the convolution.
    kernel_size : int
        Its kernel.
    is_joined : bool
        Whether its input was concatenated.
    dtype : torch.dtype
        Of its output.
    relative_error : float
        Largest difference from the plain convolution, over the largest output.
    """

    around: tuple[str, ...]
    upsampled: tuple[tuple[str, int | str], ...]
    path: str
    kernel_size: int
    is_joined: bool
    dtype: torch.dtype
    relative_error: float


class Observation(FrameStack):
    """What was seen; an observer of a session."""

    def __init__(self) -> None:
        super().__init__()
        self.upsamplings: list[Upsampling] = []
        self.fusions: list[Fusion] = []

    def begin(self, scale: int | str) -> Upsampling:
        """Learn of an upsampling."""
        what = f"nearest-neighbour upsampling by {scale}"
        self.upsamplings.append(Upsampling(tuple(self.frames), scale, what))
        return self.upsamplings[-1]

    def refuse(self, reason: str, what: str) -> None:
        """Learn of an upsampling that is not one of ours, or of what it is instead."""
        self.upsamplings.append(Upsampling(tuple(self.frames), None, what, [reason]))

    def miss(self, upsamplings: Any, reason: str) -> None:
        """Learn of an upsampled tensor that had to be computed."""
        for upsampling in upsamplings:
            if reason not in upsampling.reasons:
                upsampling.reasons.append(reason)

    def fuse(self, expression: LazyExpression[Tensor], match: Match, plain: Tensor, fast: Tensor) -> None:
        """Learn of a convolution that went the fast way."""
        around = tuple(self.frames)
        for upsampling in expression.upsamplings:
            upsampling.is_fused = True
            around = tuple(ours for ours, theirs in zip(around, upsampling.frames, strict=False) if ours == theirs)
        self.fusions.append(
            Fusion(
                around=tuple(frame.path for frame in around),
                upsampled=tuple(
                    (upsampling.frames[-1].path, upsampling.scale) for upsampling in expression.upsamplings
                ),
                path=self.frames[-1].path,
                kernel_size=match.kernel_size,
                is_joined=len(expression.parts) > 1,
                dtype=plain.dtype,
                relative_error=compare(plain, fast),
            )
        )


def observe(
    model: nn.Module, example_input: Any, max_memory: int | None = None
) -> tuple[Observation, list[Tensor]]:
    """Run a model and see what could be fused.

    Parameters
    ----------
    model : nn.Module
        The model.
    example_input : Any
        As for `run_once`.
    max_memory : int or None
        As of a `Session`; with it, what has no fast form of its precision counts too where row strips are exact.

    Returns
    -------
    observation : Observation
        What was seen.
    output : list of Tensor
        Of the model, computed the fast way.
    """
    seen = Observation()
    session = Session(observer=seen, max_memory=max_memory)
    args, kwargs = split_input(copy_input(example_input))
    with keep_state(model):
        with seen.follow(model), torch.no_grad(), Interceptor(session):
            output = model(*args, **kwargs)
        return seen, copy_output(session.close(output))


def run_once(model: nn.Module, example_input: Any) -> list[Tensor]:
    """Run a model in evaluation mode, and leave no trace.

    Parameters
    ----------
    model : nn.Module
        The model.
    example_input : Tensor, tuple, list or dict
        Its arguments; in a dict by name. They are copied, so that the model may write into them.

    Returns
    -------
    list of Tensor
        Copies of the tensors of its output.

    Raises
    ------
    UsageError
        For any other kind of example.
    """
    args, kwargs = split_input(copy_input(example_input))
    with keep_state(model):
        return copy_output(model(*args, **kwargs))


def find_tensors(value: Any) -> Iterator[Tensor]:
    """Find the tensors of an output.

    Parameters
    ----------
    value : Any
        A tensor, or lists, tuples, dicts and dataclasses of such.

    Yields
    ------
    Tensor
    """
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from find_tensors(item)
    elif isinstance(value, Mapping):
        yield from find_tensors(list(value.values()))
    elif is_dataclass(value) and not isinstance(value, type):
        yield from find_tensors([getattr(value, item.name) for item in fields(value)])


def copy_output(output: Any) -> list[Tensor]:
    """Copy the tensors of an output, which may be the model's own and will be put back."""
    return [tensor.detach().clone() for tensor in find_tensors(output)]


def split_input(example_input: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Read an example as the arguments of a call."""
    if isinstance(example_input, Tensor):
        return (example_input,), {}
    if isinstance(example_input, (tuple, list)):
        return tuple(example_input), {}
    if isinstance(example_input, dict):
        return (), dict(example_input)
    raise UsageError(
        f"example_input: {type(example_input).__name__} is not a tensor, a tuple of arguments or a dict of them"
    )


def copy_input(example_input: Any) -> Any:
    """Copy the tensors of an example.

    Parameters
    ----------
    example_input : Any
        Lists, tuples and dicts of tensors, and anything else.
    """
    return pytree.tree_map(
        lambda value: (
            value.detach().clone().requires_grad_(value.requires_grad)
            if isinstance(value, Tensor)
            else copy.copy(value)
        ),
        example_input,
    )


@contextmanager
def keep_state(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode and random numbers into a known state, and everything back at the end.

    Parameters
    ----------
    model : nn.Module
        The model; all that it refers to is put back too (see `snapshot`).
    """
    with keep_everything(model):
        for module in model.modules():
            # not eval(), which a module may take for more than a flag
            module.training = False
        torch.manual_seed(0)
        yield
