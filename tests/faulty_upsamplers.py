"""Upsamplers that go wrong in every way we know of; the engine must turn each into a record."""

import contextlib
import ctypes
import fcntl
import os
import signal
import stat
import subprocess
import sys
import threading
import time

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


class GivesInfinity(_Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 0


class WrongChannels(_Plain):
    def __init__(self, in_channels: int, out_channels: int, kernel_size: int | None, scale_factor: int) -> None:
        super().__init__(in_channels, in_channels, kernel_size, scale_factor)


class ThreeAxes(_Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[0]


class ReturnsTuple(_Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x), x  # type: ignore[return-value] # the fault


class WrongDtype(_Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).double()


class ChangesInput(_Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.mul_(2))


class AlwaysDropsOut(_Plain):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(super().forward(x))


class Detaches(_Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).detach()


class ForgetsItsInput(_Plain):
    """Its weights learn, but nothing before it does."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.detach())


class GivesNaNBackward(_Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + (0 * x.mean()).sqrt()


class Squares(_Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).square()


class SquaresUnevenly(_Plain):
    """Neither linear nor shift-equivariant."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x).square()
        return y * torch.arange(y.shape[-1], dtype=y.dtype)


class HangsWhenBuilt(_Plain):
    def __init__(self, in_channels: int, out_channels: int, kernel_size: int | None, scale_factor: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, scale_factor)
        while True:
            signal.pause()


class TakesTwo(nn.Module):
    def __init__(self, channels: int, scale_factor: int) -> None:
        super().__init__()


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


def _list_pipes() -> list[int]:
    """List the descriptors of this process that are pipes and can be written: its channel is among them."""
    found = []
    for descriptor in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208 -- numbers
        with contextlib.suppress(OSError):
            if (
                stat.S_ISFIFO(os.fstat(descriptor).st_mode)
                and fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_WRONLY
            ):
                found.append(descriptor)
    return found


class TalksOnTheChannel(_Plain):
    nonsense = b'0123456789abcdef ready {"kind": "record"}\n'

    def forward(self, x: Tensor) -> Tensor:
        for descriptor in _list_pipes():
            os.write(descriptor, self.nonsense)
        return super().forward(x)


class TalksInBytes(TalksOnTheChannel):
    nonsense = b"\xff\xfe\n"


class TalksWithoutEnd(TalksOnTheChannel):
    """The next answer becomes a part of what it says."""

    nonsense = b"0" * 1000


class TalksOfAnother(_Plain):
    """Gives an answer for another job, with all that an answer has."""

    def forward(self, x: Tensor) -> Tensor:
        frame = sys._getframe()
        while frame.f_code.co_name != "serve":
            assert frame.f_back is not None
            frame = frame.f_back
        job = (
            frame.f_locals["line"]
            .replace('"replicate": 0', '"replicate": 1')
            .replace('"replicate":0', '"replicate":1')
        )
        for descriptor in _list_pipes():
            os.write(descriptor, f"{frame.f_locals['token']} ready {job}".encode())
        return super().forward(x)


class TalksLater(_Plain):
    """A thread of it goes on when the layer was measured."""

    talks = False

    def forward(self, x: Tensor) -> Tensor:
        if not self.talks:
            self.talks = True
            threading.Thread(target=self._talk, daemon=True).start()
        return super().forward(x)

    def _talk(self) -> None:
        while True:
            time.sleep(0.01)
            print("later")


class Exits(_Plain):
    def forward(self, x: Tensor) -> Tensor:
        sys.exit("no more of this")


class Interrupts(_Plain):
    def forward(self, x: Tensor) -> Tensor:
        raise KeyboardInterrupt


class Forks(_Plain):
    """Both processes go on from here."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int | None, scale_factor: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, scale_factor)
        os.fork()


class ReadsInput(_Plain):
    def forward(self, x: Tensor) -> Tensor:
        input("how many? ")
        return super().forward(x)


class ClosesEverything(_Plain):
    def forward(self, x: Tensor) -> Tensor:
        os.closerange(0, 256)
        return super().forward(x)


class TakesTheChannelsPlace(_Plain):
    """What it opens has the number that the channel had."""

    def forward(self, x: Tensor) -> Tensor:
        for descriptor in _list_pipes():
            if descriptor > 2:
                os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
        return super().forward(x)


class SilencesItself(_Plain):
    """Leaves no standard streams, no gradients, another dtype and an alarm."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int | None, scale_factor: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, scale_factor)
        os.closerange(1, 3)
        sys.stdout = sys.stderr = None
        torch.set_grad_enabled(False)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, 600)

    def forward(self, x: Tensor) -> Tensor:
        torch.set_default_dtype(torch.float64)
        return super().forward(x)


class KeepsAllBusy(_Plain):
    """Starts a process that computes for ever."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int | None, scale_factor: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, scale_factor)
        subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)


def no_module(in_channels: int, out_channels: int, kernel_size: int | None, scale_factor: int) -> object:
    return "a string"


def raises_when_called(in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> nn.Module:
    raise ValueError(f"{in_channels} channels are not enough")


def has_another_order(scale_factor: int, in_channels: int, out_channels: int, kernel_size: int) -> nn.Module:
    return _Plain(in_channels, out_channels, kernel_size, scale_factor)


not_callable = 3
built_already = nn.ConvTranspose2d(2, 2, 2, stride=2)
