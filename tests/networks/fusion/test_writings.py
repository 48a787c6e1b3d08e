"""However it is written, upsampling and convolution are found, and stay what they are, gradients included."""

import pytest
import torch

from deconvbench.networks.fusion import fuse
from tests.networks.fusion.comparing import LIMITS, differentiate_both, run_both
from tests.networks.fusion.writings import WRITINGS, Writing, up

# sums of gradients are rounded to single precision, in another order
ROUNDED = {"type_as", "to another's"}
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")


@pytest.mark.parametrize("name", WRITINGS)
def test_it_is_found_and_exact(name: str, fast_calls: list[tuple[int, ...]]) -> None:
    net = WRITINGS[name].build()
    report = fuse(net, torch.randn(3, 4, 4, 5, dtype=torch.float64))
    assert len(report.changed) == 1, report
    fast_calls.clear()
    for sides in ((4, 5), (3, 2)):
        x = torch.randn(3, 4, *sides, dtype=torch.float64)
        for is_training in (False, True):
            net.train(is_training)
            report.model.train(is_training)
            with torch.no_grad():
                assert run_both(net, report.model, x) < LIMITS[torch.float64]
                assert report.model(x).stride() == net(x).stride()
            assert (
                differentiate_both(net, report.model, x)
                < LIMITS[torch.float32 if name in ROUNDED else torch.float64]
            )
    assert len(fast_calls) == 12


@pytest.mark.parametrize(
    "name", ["gated by itself", "circular", "even, same", "video, causal", "expand and reshape"]
)
def test_gradients_of_gradients(name: str) -> None:
    net = WRITINGS[name].build()
    fused = fuse(net).model if name != "expand and reshape" else fuse(net, torch.randn(3, 4, 4, 5).double()).model
    x = torch.randn(2, 4, 2, 3, dtype=torch.float64, requires_grad=True)
    found = []
    for model in (net, fused):
        (first,) = torch.autograd.grad(model(x).square().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), x)[0])
    assert torch.allclose(found[1], found[0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", WRITINGS)
def test_half_precision_is_left_alone(name: str, fast_calls: list[tuple[int, ...]]) -> None:
    net = WRITINGS[name].build().bfloat16()
    x = torch.randn(3, 4, 4, 5).bfloat16()
    with torch.no_grad():
        report = fuse(net, x)
        assert not fast_calls
        assert torch.equal(report.model(x), net(x))


@pytest.mark.parametrize("scale", [(3, 2), (1, 2)])
def test_other_scales_of_the_axes_gain_nothing(scale: tuple[int, int], fast_calls: list[tuple[int, ...]]) -> None:
    net = Writing(forward=lambda own, x: own.conv(up(x, scale))).build()
    assert not fuse(net, torch.randn(1, 4, 4, 5, dtype=torch.float64)).changed
    assert not fast_calls
