"""Runs that change or measure something at the sites."""

import pytest
import torch
from torch import Tensor, nn

from deconvbench.errors import UsageError
from deconvbench.networks.frames import FrameStack
from deconvbench.networks.inspection.running import Runner
from tests.networks.inspection.networks import make_espcn
from tests.networks.inspection.tracing_helpers import trace_sites


def test_local_means_average_to_the_mean_and_their_power_is_that_of_the_output() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(4, 2, 4, 2))
    x = torch.rand(2, 3, 18, 15)
    sites = trace_sites(model, x)
    stack = FrameStack()
    with stack.follow(model):
        runner = Runner(model, stack)
        collector = runner.collect(sites)
        (y,) = runner.run(x, collector)
    means = collector.find_means(1)
    with torch.no_grad():
        inner = model[0](x)
    assert means is not None
    assert len(means) > 2
    torch.testing.assert_close(means.mean(0), inner.double().mean((0, 2, 3)))
    assert collector.find_power(1) == pytest.approx(float(y.double().square().mean()))
    assert collector.find_means(2) is None


def test_what_a_shuffle_gets_is_kept() -> None:
    model, x = make_espcn(2), torch.rand(1, 1, 8, 8)
    assert isinstance(model, nn.Sequential)
    sites = trace_sites(model, x)
    stack = FrameStack()
    with stack.follow(model):
        runner = Runner(model, stack)
        collector = runner.collect(sites)
        runner.run(x, collector)
    with torch.no_grad():
        torch.testing.assert_close(collector.shuffled[1], model[:-1](x))


def test_shares_of_memory_are_those_of_the_tensors() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Upsample(scale_factor=2), nn.Conv2d(1, 1, 1))
    x = torch.rand(1, 1, 8, 8)
    sites = trace_sites(model, x)
    stack = FrameStack()
    with stack.follow(model):
        runner = Runner(model, stack)
        watch = runner.time(lambda: None)
        runner.run(x, watch)
    time_share, memory_share = watch.find_shares(sites[0])
    # one small map and two large ones
    assert memory_share == 8 / 9
    assert 0 < time_share < 1


def test_each_run_draws_the_same_numbers() -> None:
    class Noise(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.randn_like(x)

    model, stack = Noise(), FrameStack()
    with stack.follow(model):
        runner = Runner(model, stack)
        (first,), (second,) = runner.run(torch.zeros(3)), runner.run(torch.zeros(3))
    assert torch.equal(first, second)


def test_a_model_that_raises_gets_one_line() -> None:
    model, stack = nn.Linear(2, 2), FrameStack()
    with stack.follow(model), pytest.raises(UsageError, match="^model: raised RuntimeError: ") as caught:
        Runner(model, stack).run(torch.zeros(1, 3))
    assert "\n" not in str(caught.value)
