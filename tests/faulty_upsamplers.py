"""Upsamplers that go wrong in every way we know of; the engine must turn each into a record."""

import ctypes
import os
import signal
import subprocess
import sys

import torch
from torch import Tensor, nn


class _Plain(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, kernel_size: int | None, scale_factor: int) -> None:
        super().__init__()
        self.scale_factor = scale_factor
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size or 1, padding="same")

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(nn.functional.interpolate(x, scale_factor=self.scale_factor))
        return y


class Sound(_Plain):
    """Nothing wrong with this one, but that it prints."""

    def forward(self, x: Tensor) -> Tensor:
        print("a layer that talks")
        return super().forward(x)


class Segfaults(_Plain):
    def forward(self, x: Tensor) -> Tensor:
        ctypes.string_at(0)
        return super().forward(x)


class Hangs(_Plain):
    def forward(self, x: Tensor) -> Tensor:
        while True:
            x = x + 0


class Raises(_Plain):
    def forward(self, x: Tensor) -> Tensor:
        raise LookupError("no such weights:\n  layer 7")


class Exhausts(_Plain):
    def forward(self, x: Tensor) -> Tensor:
        return torch.empty(2**55)


class KilledFromOutside(_Plain):
    def forward(self, x: Tensor) -> Tensor:
        os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)


class Leaves(_Plain):
    def forward(self, x: Tensor) -> Tensor:
        os._exit(7)


class WrongSize(_Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[..., 1:]


class GivesNaN(_Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * float("nan")


class RaisesBackward(_Plain):
    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        if y.requires_grad:
            y.register_hook(self._refuse)  # type: ignore[no-untyped-call] # torch has no types here
        return y

    @staticmethod
    def _refuse(gradient: Tensor) -> Tensor:
        raise ArithmeticError("no way back")


class HangsBackward(_Plain):
    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        if y.requires_grad:
            y.register_hook(self._wait)  # type: ignore[no-untyped-call] # torch has no types here
        return y

    @staticmethod
    def _wait(gradient: Tensor) -> Tensor:
        while True:
            signal.pause()


class ClosesItsEndAndHangs(_Plain):
    def forward(self, x: Tensor) -> Tensor:
        os.closerange(0, 256)
        while True:
            signal.pause()


class LeavesSomethingBehind(_Plain):
    """Starts a process, tells its number as its last words, and dies."""

    def forward(self, x: Tensor) -> Tensor:
        left = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
        print(left.pid, flush=True)
        os._exit(7)


def no_module(in_channels: int, out_channels: int, kernel_size: int | None, scale_factor: int) -> object:
    return "a string"


not_callable = 3
