"""Norms with the statistics of another run."""

import pytest
import torch
from torch import nn

from deconvbench.networks.frames import FrameStack
from deconvbench.networks.inspection.running import Runner

NORMS = [nn.InstanceNorm2d(6, affine=True), nn.InstanceNorm2d(6), nn.GroupNorm(2, 6)]


@pytest.mark.parametrize("norm", NORMS, ids=["affine instance", "instance", "group"])
def test_the_same_input_is_normalised_as_torch_does(norm: nn.Module) -> None:
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.copy_(torch.rand_like(parameter))
    x, stack = torch.rand(2, 6, 5, 4, dtype=torch.float32), FrameStack()
    with stack.follow(norm):
        runner = Runner(norm, stack)
        recorder = runner.record()
        (plain,) = runner.run(x, recorder)
        (same,) = runner.run(x, runner.replay(recorder.statistics))
        (moved,) = runner.run(2 * x + 1, runner.replay(recorder.statistics))
        (own,) = runner.run(2 * x + 1)
    torch.testing.assert_close(same, plain)
    torch.testing.assert_close(own, plain, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(moved, plain, atol=0.1)


def test_running_statistics_and_other_shapes_are_left_to_torch() -> None:
    norm, stack = nn.InstanceNorm2d(3, track_running_stats=True).eval(), FrameStack()
    x = torch.rand(1, 3, 4, 4)
    with stack.follow(norm):
        runner = Runner(norm, stack)
        recorder = runner.record()
        (plain,) = runner.run(x, recorder)
        assert recorder.statistics == {}
        (same,) = runner.run(x, runner.replay(recorder.statistics))
    assert torch.equal(plain, same)
