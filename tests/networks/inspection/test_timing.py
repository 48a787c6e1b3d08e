"""Shares of time, and what fusing gains; no test asserts a time."""

import torch
from torch import nn

from deconvbench.networks.frames import FrameStack
from deconvbench.networks.inspection.running import Runner
from deconvbench.networks.inspection.timing import measure_fuse_speedup, take_shares
from tests.networks.inspection.tracing_helpers import trace_sites


def test_shares_are_shares() -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 3), nn.ConvTranspose2d(3, 3, 4, 2), nn.Upsample(scale_factor=2))
    x = torch.rand(1, 3, 16, 16)
    sites = trace_sites(model, x)
    stack = FrameStack()
    with stack.follow(model):
        runner = Runner(model, stack)
        watches = [runner.time(lambda: None) for _ in range(3)]
        for watch in watches:
            runner.run(x, watch)
    shares = [take_shares(watches, traced) for traced in sites]
    assert all(0 < share < 1 for pair in shares for share in pair)
    assert shares[1][1] > shares[0][1]


def test_there_is_no_gain_where_nothing_can_be_fused() -> None:
    assert measure_fuse_speedup(nn.Conv2d(3, 3, 3), torch.rand(1, 3, 8, 8)) is None


def test_a_gain_is_a_positive_number() -> None:
    model = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(3, 3, 3, padding=1))
    gain = measure_fuse_speedup(model, torch.rand(1, 3, 8, 8))
    assert gain is None or gain > 0
