"""A smaller look at a network."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.networks.frames import FrameStack
from deconvbench.networks.inspection.running import Runner
from deconvbench.networks.inspection.shrinking import Stage, choose_factor, crop_example, shrink
from deconvbench.networks.inspection.sites import collect_sites


def look(model: nn.Module, example: Tensor) -> tuple[Stage, Stage | None]:
    stack = FrameStack()
    with stack.follow(model):
        runner = Runner(model, stack)
        tracer = runner.trace()
        maps = runner.run(example, tracer)
        own = Stage(factor=1, traced=collect_sites(tracer.upsamplings), real=[example], norms=[{}], maps=maps)
        return own, shrink(runner, own, 0, 2)


def make_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.InstanceNorm2d(4), nn.ConvTranspose2d(4, 3, 4, 2, 1))


def test_the_middle_shows_the_same_sites_at_the_same_periods() -> None:
    own, small = look(make_network(), torch.rand(1, 3, 128, 160))
    assert small is not None
    assert (small.factor, [tuple(one.shape) for one in small.maps]) == (2, [(1, 3, 128, 160)])
    assert [one.site.path for one in small.traced] == [one.site.path for one in own.traced] == ["2"]
    assert torch.equal(small.real[0], own.real[0][..., 32:96, 40:120])
    # statistics of norms are its own
    assert [len(one) for one in small.norms] == [1]
    middle = own.maps[0][..., 64:192, 80:240]
    assert float((small.maps[0] - middle).abs().mean()) < 0.1 * float(middle.std())


@pytest.mark.parametrize(
    ("sides", "period", "factor"),
    [((256, 256), 8, 2), ((512, 2048), 4, 4), ((254, 512), 2, 1), ((258, 258), 2, 2), ((512, 512), 64, 1)],
)
def test_as_many_periods_are_left_as_are_needed(sides: tuple[int, int], period: int, factor: int) -> None:
    assert choose_factor(sides, period) == factor


class _Fixed(nn.Module):
    """Takes one size only, or makes something else of others."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.up = kind, make_network()

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "position":
            return self.up(x) + torch.zeros(1, 3, 256, 256)  # type: ignore[no-any-return] # it is a tensor
        if self.kind == "size":
            return self.up(functional.interpolate(x, (128, 128)))  # type: ignore[no-any-return] # it is a tensor
        y = x if x.shape[-1] == 128 else functional.interpolate(x, scale_factor=2.0)[..., ::2, ::2]
        z: Tensor = self.up(y)
        return z


@pytest.mark.parametrize("kind", ["position", "size", "other sites"])
def test_a_network_that_is_another_one_at_other_sizes_is_left_at_its_own(kind: str) -> None:
    _, small = look(_Fixed(kind), torch.rand(1, 3, 128, 128))
    assert small is None


def test_only_maps_are_cut() -> None:
    example = {
        "x": torch.rand(1, 3, 8, 4),
        "time": torch.rand(1, 6),
        "mask": torch.ones(1, 1, 8, 4).bool(),
        "n": 3,
    }
    found = crop_example(example, 2)
    assert found is not None
    assert (tuple(found["x"].shape), tuple(found["time"].shape), tuple(found["mask"].shape), found["n"]) == (
        (1, 3, 4, 2),
        (1, 6),
        (1, 1, 8, 4),
        3,
    )
    assert crop_example(torch.rand(1, 3, 7, 4), 2) is None
    assert crop_example(torch.rand(4, 6), 2) is None
