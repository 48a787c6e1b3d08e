"""What a site is by itself."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.networks.frames import FrameStack
from deconvbench.networks.fusion.observation import keep_state
from deconvbench.networks.inspection.description import describe_site, is_diagonal
from deconvbench.networks.inspection.running import Runner
from deconvbench.networks.inspection.sites import collect_sites
from deconvbench.records.sites import SiteReport
from tests.networks.inspection.networks import level_gains, make_subpixel


def describe(model: nn.Module, example: Tensor) -> list[SiteReport]:
    stack = FrameStack()
    with keep_state(model), stack.follow(model):
        runner = Runner(model, stack)
        tracer = runner.trace()
        runner.run(example, tracer)
        sites = collect_sites(tracer.upsamplings)
        collector = runner.collect(sites)
        runner.run(example, collector)
    return [describe_site(one.site, one, collector) for one in sites]


def test_ripple_is_that_of_the_answer_to_a_constant() -> None:
    layer = nn.ConvTranspose2d(1, 1, 3, 2, 1, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]) / 4)
        layer.weight[..., 1, 1] = 3.0
        layer.bias.zero_()  # type: ignore[union-attr] # it has one
    (report,) = describe(layer, torch.full((1, 1, 64, 64), 0.5))
    # the middle tap alone makes one phase, 3, and the others are 1
    answer = torch.tensor([1.0, 1.0, 1.0, 3.0])
    share = float(answer.var(correction=0) / answer.square().mean())
    assert report.gains_from == "weights"
    assert report.phase_ripple == pytest.approx(share)
    assert report.effective_ripple == pytest.approx(share)
    assert report.relative_ripple == pytest.approx(math.sqrt(share), rel=0.02)
    assert report.overlap_cv == pytest.approx(float(torch.tensor([1.0, 2.0, 2.0, 4.0]).std(correction=0)) / 2.25)
    assert report.image_rejection_db is not None


def test_equal_gains_have_no_ripple_however_the_weights_are() -> None:
    torch.manual_seed(0)
    (report,) = describe(level_gains(nn.ConvTranspose2d(3, 3, 4, 2, 1, bias=False)), torch.rand(1, 3, 32, 32))
    assert report.relative_ripple == pytest.approx(0.0, abs=1e-6)
    assert report.effective_ripple == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_a_resize_has_equal_gains_by_construction(mode: str) -> None:
    model = nn.Sequential(nn.Upsample(scale_factor=2, mode=mode), nn.Conv2d(3, 3, 3, padding=1))
    (report,) = describe(model, torch.rand(1, 3, 8, 8))
    assert report.gains_from == "construction"
    assert (report.phase_ripple, report.effective_ripple, report.relative_ripple) == (0.0, 0.0, 0.0)
    assert report.image_rejection_db is not None


def test_what_no_weights_decide_about_has_no_gains() -> None:
    class Shuffle(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return functional.pixel_shuffle(x, 2)

    (report,) = describe(Shuffle(), torch.rand(1, 4, 8, 8))
    assert report.gains_from == ""
    assert (report.phase_ripple, report.effective_ripple, report.relative_ripple) == (None, None, None)


def test_zeros_have_no_ripple() -> None:
    layer = nn.ConvTranspose2d(2, 2, 4, 2, 1)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
    (report,) = describe(layer, torch.rand(1, 2, 8, 8))
    assert report.relative_ripple == 0.0
    assert report.phase_ripple is not None
    assert math.isnan(report.phase_ripple)


def test_an_order_of_channels_that_gives_a_smoother_map_is_named() -> None:
    torch.manual_seed(0)
    image = functional.interpolate(torch.rand(1, 3, 6, 6), (32, 32), mode="bicubic")
    right, wrong = (
        nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), make_subpixel(8, left=0.01, order=order))
        for order in ("cij", "ijc")
    )
    assert describe(right, image)[0].smoother_order == ""
    assert describe(wrong, image)[0].smoother_order == "c i j"


@pytest.mark.parametrize(
    ("dims", "side"), [pytest.param(1, 64, id="1-D"), pytest.param(2, 16, id="2-D"), pytest.param(3, 8, id="3-D")]
)
def test_any_number_of_axes_has_gains(dims: int, side: int) -> None:
    torch.manual_seed(0)
    layer = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[dims - 1](2, 2, 3, 2)
    (report,) = describe(layer, torch.rand(1, 2, *(side for _ in range(dims))))
    assert report.gains_from == "weights"
    assert report.relative_ripple is not None
    assert report.relative_ripple > 0.05
    assert (report.image_rejection_db is None) == (dims != 2)


def test_a_shared_module_is_described_by_what_each_site_was_given() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.ConvTranspose2d(2, 2, 4, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.up(-2 * self.up(x))
            return y

    torch.manual_seed(0)
    first, second = describe(Twice(), torch.rand(1, 2, 16, 16))
    assert first.site.is_shared
    assert second.site.is_shared
    assert first.phase_ripple == second.phase_ripple
    assert first.effective_ripple != second.effective_ripple


def test_the_same_holds_in_half_precision_but_for_rounding() -> None:
    torch.manual_seed(0)
    layer, example = nn.ConvTranspose2d(3, 3, 4, 2, 1), torch.rand(1, 3, 16, 16)
    (single,) = describe(layer, example)
    (half,) = describe(layer.bfloat16(), example.bfloat16())
    assert half.phase_ripple == pytest.approx(single.phase_ripple, rel=0.02)
    assert half.relative_ripple == pytest.approx(single.relative_ripple, rel=0.02)


@pytest.mark.parametrize(
    ("weight", "groups", "expected"),
    [
        pytest.param(torch.eye(3)[:, :, None, None].expand(3, 3, 2, 2), 1, True, id="diagonal"),
        pytest.param(torch.eye(3)[:, :, None, None] + 1e-9, 1, True, id="rounding"),
        pytest.param(torch.eye(3)[:, :, None, None] + 1e-3, 1, False, id="dense"),
        pytest.param(torch.ones(3, 1, 2, 2), 3, False, id="grouped"),
        pytest.param(torch.ones(1, 1, 2, 2), 1, False, id="one channel"),
        pytest.param(torch.zeros(3, 3, 2, 2), 1, False, id="zeros"),
        pytest.param(torch.eye(3), 1, False, id="linear"),
        pytest.param(torch.ones(3, 2, 2, 2), 1, False, id="not square"),
    ],
)
def test_dense_weights_that_are_diagonal(weight: Tensor, groups: int, expected: bool) -> None:
    assert is_diagonal(weight, groups) is expected
