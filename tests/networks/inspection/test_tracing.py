"""What is seen in a run."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.networks.frames import FrameStack
from deconvbench.networks.inspection.running import Runner
from deconvbench.networks.inspection.tracing import Place, Tracer


def trace(model: nn.Module, x: Tensor) -> Tracer:
    stack = FrameStack()
    with stack.follow(model):
        tracer = Tracer(stack)
        Runner(model, stack).run(x, tracer)
    return tracer


class _Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.late = nn.Conv2d(6, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        up = functional.interpolate(x, scale_factor=2.0)
        other = functional.interpolate(functional.interpolate(x, scale_factor=0.5), scale_factor=4.0)
        y = self.conv(functional.relu_(functional.pad(up, (0, 0, 0, 0)) + 1))
        z: Tensor = self.late(torch.cat([y, other], 1))
        return z


def test_places_are_the_same_in_every_run_and_count_calls_of_one_function() -> None:
    model = _Two()
    first, second = (trace(model, torch.rand(1, 3, 8, 8)) for _ in range(2))
    places = [one.place for one in first.upsamplings]
    assert places == [Place("", "interpolate", 0), Place("", "interpolate", 2)]
    assert places == [one.place for one in second.upsamplings]


def test_the_convolution_after_a_resize_is_found_through_padding_activations_and_concatenation() -> None:
    tracer = trace(_Two(), torch.rand(1, 3, 8, 8))
    after = [one.after.place.path for one in tracer.upsamplings if one.after is not None]
    assert after == ["conv", "late"]
    assert not any(one.is_last for one in tracer.upsamplings)


def test_the_layer_before_a_shuffle_is_found_through_activations_and_not_through_norms() -> None:
    def make(*between: nn.Module) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 12, 3), *between, nn.PixelShuffle(2))

    x = torch.rand(1, 3, 8, 8)
    (plain,) = trace(make(), x).upsamplings
    (active,) = trace(make(nn.LeakyReLU(0.1)), x).upsamplings
    (normed,) = trace(make(nn.BatchNorm2d(12).eval()), x).upsamplings
    assert plain.weighted is not None
    assert plain.weighted.place.path == "0"
    assert plain.between == []
    assert active.weighted is not None
    assert active.between == ["leaky_relu"]
    assert normed.weighted is None


def test_no_tensor_is_kept_alive() -> None:
    alive = []

    class Watch(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            import weakref

            up = functional.interpolate(x, scale_factor=2.0)
            alive.append(weakref.ref(up))
            return up.mean((2, 3))

    trace(Watch(), torch.rand(1, 3, 4, 4))
    assert alive[0]() is None
