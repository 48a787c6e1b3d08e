"""Which module is running."""

from contextlib import suppress

import torch
from torch import Tensor, nn

from deconvbench.networks.frames import FrameStack


class _Nested(nn.Module):
    def __init__(self, stack: FrameStack) -> None:
        super().__init__()
        self.inner = nn.ReLU()
        self.seen: list[list[str]] = []
        self._stack = [stack]

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append([frame.path for frame in self._stack[0].frames])
        y: Tensor = self.inner(x)
        return y


def test_frames_are_the_calls_that_are_under_way_and_each_call_has_a_number() -> None:
    stack = FrameStack()
    model = nn.Sequential(_Nested(stack), nn.Identity())
    numbers = []
    with stack.follow(model):
        model[1].register_forward_hook(lambda *_: numbers.append(stack.frames[-1].number))
        for _ in range(2):
            model(torch.zeros(1))
    assert model[0].seen == [["", "0"], ["", "0"]]
    assert len(set(numbers)) == 2
    assert stack.frames == []


def test_an_error_leaves_no_frame_and_no_hook() -> None:
    stack = FrameStack()
    model = nn.Sequential(nn.Linear(2, 2))
    with stack.follow(model):
        with suppress(RuntimeError):
            model(torch.zeros(1, 3))
        assert stack.frames == []
    model(torch.zeros(1, 2))
    assert not model[0]._forward_pre_hooks
    assert not model[0]._forward_hooks
