"""Which module of a model is running: the stack of its calls.

Hooks only; what runs inside TorchScript is not seen.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count

import torch
from torch import nn


@dataclass(frozen=True, slots=True)
class Frame:
    """One call of one module.

    Parameters
    ----------
    number : int
        Which call, of all.
    path : str
        Of the module.
    """

    number: int
    path: str


class FrameStack:
    """The calls that are under way, outermost first.

    Attributes
    ----------
    frames : list of Frame
        Empty outside of `follow`.
    """

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self._numbers = count()

    @contextmanager
    def follow(self, model: nn.Module) -> Iterator[None]:
        """Follow which module is running.

        Parameters
        ----------
        model : nn.Module
            The model; it has hooks until the context is left.
        """
        with ExitStack() as stack:
            for path, module in model.named_modules():
                if isinstance(module, torch.jit.ScriptModule):
                    continue
                enter = module.register_forward_pre_hook(lambda *_, path=path: self._enter(path), prepend=True)
                stack.callback(enter.remove)
                leave = module.register_forward_hook(lambda *_: self._leave(), always_call=True)
                stack.callback(leave.remove)
            yield

    def _enter(self, path: str) -> None:
        self.frames.append(Frame(next(self._numbers), path))

    def _leave(self) -> None:
        self.frames.pop()
