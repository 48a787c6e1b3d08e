import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.errors import UsageError
from deconvbench.measure.artifacts import checkerboard, effective_ripple, impulse_response, measure_mean_inputs
from deconvbench.records.schema import FINAL_COLUMNS, SCORE_COLUMNS
from deconvbench.studies.training.scores import Scores, score_finally, score_network

NAMES = ("one", "two")


def draw_images(number: int = 2, side: int = 128) -> Tensor:
    """Smooth images within .3 and .7, so that what is planted is not clipped."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(number, 3, 6, 6, generator=generator)
    return 0.3 + 0.4 * functional.interpolate(coarse, (side, side), mode="bilinear", align_corners=True)


def draw_board(shape: tuple[int, ...], period: int) -> Tensor:
    """Waves along the columns whose only period is that one, of RMS 1."""
    wave = torch.tensor([1.0, -1.0] if period == 2 else [math.sqrt(2), 0, -math.sqrt(2), 0])
    return wave.repeat(shape[-1] // period + 1)[: shape[-1]].expand(shape)


class PlantingNetwork(nn.Module):
    """Gives its input back with a checkerboard on it."""

    def __init__(self, amplitude: float, period: int = 2) -> None:
        super().__init__()
        self.amplitude = nn.Parameter(torch.tensor(amplitude))
        self.period = period

    def forward(self, x: Tensor) -> Tensor:
        return x + self.amplitude * draw_board(tuple(x.shape), self.period).to(x)


class SmallNetwork(nn.Module):
    """The article's network with two channels, one layer in the middle and any upsampler."""

    def __init__(self, upsampler: nn.Module, norm: bool) -> None:
        super().__init__()
        torch.manual_seed(0)

        def norm_it() -> nn.Module:
            return nn.InstanceNorm2d(2, affine=True) if norm else nn.Identity()

        self.down = nn.Sequential(
            nn.Conv2d(3, 2, 9, padding=4),
            norm_it(),
            nn.ReLU(),
            nn.Conv2d(2, 2, 3, 2, padding=1),
            norm_it(),
            nn.ReLU(),
        )
        self.middle = nn.Conv2d(2, 2, 3, padding=1)
        self.up = nn.Sequential(upsampler, norm_it(), nn.ReLU(), nn.Conv2d(2, 3, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(x)
        y: Tensor = self.up(x + self.middle(x))
        return y


def make_transposed() -> nn.Module:
    torch.manual_seed(1)
    return nn.ConvTranspose2d(2, 2, 3, 2, padding=1, output_padding=1)


def make_resize_conv() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(2, 2, 3, padding=1))


def score(network: nn.Module, images: Tensor | None = None, *, period: int = 2, norm: bool = False) -> Scores:
    images = draw_images() if images is None else images
    return score_network(network, images, images, NAMES, period=period, uses_instance_norm=norm)


def test_a_perfect_network_has_perfect_scores() -> None:
    images = draw_images()
    scores = score(nn.Identity(), images)
    assert tuple(scores.row) == SCORE_COLUMNS
    assert scores.row["psnr_db"] == math.inf
    assert scores.row["ssim"] == pytest.approx(1)
    assert scores.row["checkerboard_levels"] == pytest.approx(0, abs=1e-9)
    assert scores.row["flat_field_ripple_levels"] == 0
    assert torch.equal(scores.outputs, images)
    assert [image["image"] for image in scores.images] == list(NAMES)


@pytest.mark.parametrize(("period", "scale"), [(2, 1), (4, 2)], ids=["last upsampler", "the one before"])
def test_a_planted_board_is_read_in_levels_at_its_scale(period: int, scale: int) -> None:
    amplitude = 0.02
    row = score(PlantingNetwork(amplitude, period), period=4).row
    levels = pytest.approx(255 * amplitude, rel=1e-3)
    assert row["checkerboard_levels"] == levels
    assert row[f"checkerboard_scale{scale}_levels"] == levels
    assert row[f"checkerboard_scale{3 - scale}_levels"] == pytest.approx(0, abs=0.05)
    assert row["flat_field_ripple_levels"] == levels
    assert row["psnr_db"] == pytest.approx(-20 * math.log10(amplitude), abs=1e-3)
    assert row["detection_levels"] < 1


def test_one_upsampler_has_one_scale() -> None:
    row = score(PlantingNetwork(0.02), period=2).row
    assert row["checkerboard_scale1_levels"] == row["checkerboard_levels"]
    assert math.isnan(row["checkerboard_scale2_levels"])


def test_images_are_scored_one_by_one_too() -> None:
    class Uneven(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            strong = (x.mean((1, 2, 3), keepdim=True) > first).to(x.dtype)
            return x + (0.01 + 0.02 * strong) * draw_board(tuple(x.shape), 2).to(x)

    images = draw_images()
    images[1] += 0.2
    first = float(images.mean())
    scores = score(Uneven(), images)
    assert [image["checkerboard_levels"] for image in scores.images] == pytest.approx([2.55, 7.65], rel=1e-3)
    assert [image["psnr_db"] for image in scores.images] == pytest.approx([40, -20 * math.log10(0.03)], abs=0.01)
    assert scores.row["psnr_db"] == pytest.approx(np.mean([image["psnr_db"] for image in scores.images]))
    assert scores.row["ssim"] == pytest.approx(np.mean([image["ssim"] for image in scores.images]))
    # signed squares are averaged
    assert scores.row["checkerboard_levels"] == pytest.approx(255 * math.sqrt((0.01**2 + 0.03**2) / 2), rel=1e-3)
    assert scores.images[1]["ssim"] < scores.images[0]["ssim"] < 1


def test_psnr_and_ssim_are_of_what_is_shown_and_outputs_are_not_clipped() -> None:
    class Overshoot(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + (x == 1) * 0.5

    images = draw_images()
    images[:, :, 40:80, 40:80] = 1
    scores = score(Overshoot(), images)
    assert scores.row["psnr_db"] == math.inf
    assert float(scores.outputs.max()) == 1.5


def test_a_low_resolution_input_is_upsampled() -> None:
    images = draw_images()
    small = functional.avg_pool2d(images, 2)
    network = nn.Sequential(nn.Upsample(scale_factor=2), PlantingNetwork(0.02))
    scores = score_network(network, small, images, NAMES, period=2, uses_instance_norm=False)
    assert scores.outputs.shape == images.shape
    assert scores.row["flat_field_ripple_levels"] == pytest.approx(5.1)
    two_tone = score_network(network, small, images, NAMES, period=2, uses_instance_norm=True)
    assert two_tone.row["flat_field_ripple_levels"] == pytest.approx(5.1)


@pytest.mark.parametrize("norm", [False, True], ids=["none", "instance"])
def test_resize_convolution_is_certified_free_of_ripple_and_deconvolution_is_not(norm: bool) -> None:
    clean = score(SmallNetwork(make_resize_conv(), norm), norm=norm).row["flat_field_ripple_levels"]
    rippled = score(SmallNetwork(make_transposed(), norm), norm=norm).row["flat_field_ripple_levels"]
    assert clean == pytest.approx(0, abs=1e-9)
    assert rippled > 0.1


def test_colours_of_the_ripple_lie_in_the_range_of_images() -> None:
    class OutOfRange(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            outside = (x < 0) | (x > 1)
            return x + outside * draw_board(tuple(x.shape), 2).to(x)

    assert score(OutOfRange()).row["flat_field_ripple_levels"] == 0


@pytest.mark.parametrize("norm", [False, True], ids=["none", "instance"])
def test_the_margin_grows_with_a_network_that_reaches_further(norm: bool) -> None:
    widths = []

    class FarReaching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            widths.append(x.shape[-1])
            mean = functional.avg_pool2d(x, (1, 161), stride=1, padding=(0, 80))
            return mean + 0.02 * draw_board(tuple(x.shape), 2).to(x)

    row = score(FarReaching(), norm=norm).row
    assert row["flat_field_ripple_levels"] == pytest.approx(5.1)
    # two images, and two tries
    assert widths == [128, 128, 288, 400] if norm else [128, 128, 72, 200]


def test_a_network_that_never_repeats_has_no_ripple() -> None:
    class Slope(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.linspace(0, 0.1, x.shape[-1]).to(x)

    row = score(Slope()).row
    assert math.isnan(row["flat_field_ripple_levels"])
    assert all(math.isfinite(row[name]) for name in ("psnr_db", "ssim", "checkerboard_levels"))


@pytest.mark.parametrize("value", [math.nan, math.inf], ids=str)
def test_a_network_that_diverged_has_no_scores(value: float) -> None:
    scores = score(PlantingNetwork(value), norm=True)
    assert all(math.isnan(number) for number in scores.row.values())
    for image in scores.images:
        assert all(math.isnan(image[name]) for name in ("psnr_db", "ssim", "checkerboard_levels"))


def test_one_broken_image_leaves_the_others_their_scores() -> None:
    images = draw_images()
    inputs = images.clone()
    inputs[0, 0, 3, 3] = math.nan
    scores = score_network(nn.Identity(), inputs, images, NAMES, period=2, uses_instance_norm=False)
    assert math.isnan(scores.images[0]["psnr_db"])
    assert scores.images[1]["ssim"] == pytest.approx(1)
    assert all(math.isnan(number) for number in scores.row.values())


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_the_network_is_evaluated_and_left_as_it_was(training: bool) -> None:
    network = nn.Sequential(PlantingNetwork(0.02), nn.Dropout(0.5)).train(training)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    scores = score(network)
    assert scores.row["checkerboard_levels"] == pytest.approx(5.1, rel=1e-3)
    assert not scores.outputs.requires_grad
    assert all(module.training == training for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_network_that_fails_is_left_as_it_was() -> None:
    network = nn.Conv2d(4, 3, 1).train()
    with pytest.raises(RuntimeError, match="channels"):
        score(network)
    assert network.training


def test_outputs_of_another_size_are_refused() -> None:
    with pytest.raises(UsageError, match=r"network: outputs of shape \(2, 3, 64, 64\) for targets of \(2, 3, 128"):
        score(nn.AvgPool2d(2))


def test_images_too_small_for_the_period_are_refused() -> None:
    with pytest.raises(UsageError, match="16×16 pixels"):
        score(nn.Identity(), draw_images(side=16))


def test_final_scores_are_of_the_images_themselves() -> None:
    images = draw_images()
    targets = images + 0.01 * draw_board(tuple(images.shape), 2)
    outputs = images + 0.03 * draw_board(tuple(images.shape), 2)
    found = score_finally(outputs, targets, torch.full((3,), 0.5), period=2)
    assert found["target_checkerboard_levels"] == pytest.approx(checkerboard(255 * targets.double()).amplitude)
    assert found["target_checkerboard_levels"] == pytest.approx(2.55, rel=0.01)
    assert found["output_checkerboard_levels"] == pytest.approx(7.65, rel=0.01)
    assert found["border_residual_levels"] == pytest.approx(5.1, rel=1e-4)
    assert found["interior_residual_levels"] == pytest.approx(5.1, rel=1e-4)


@pytest.mark.parametrize("period", [2, 4])
def test_the_border_is_one_period_wide(period: int) -> None:
    targets = draw_images(side=64)
    outputs = targets.clone()
    inside = slice(period, -period)
    outputs[..., inside, inside] += 0.1
    found = score_finally(outputs, targets, torch.full((3,), 0.5), period=period)
    assert found["border_residual_levels"] == 0
    assert found["interior_residual_levels"] == pytest.approx(25.5, rel=1e-4)


def test_colours_far_from_the_mean_are_found_in_levels() -> None:
    level = torch.linspace(0.5, 0.9, 4)
    targets = torch.kron(level.expand(4, 4), torch.ones(32, 32)).expand(1, 3, -1, -1)
    outputs = targets + (targets - 0.5) * draw_board(tuple(targets.shape), 2)
    found = score_finally(outputs, targets, torch.full((3,), 0.5), period=2)
    assert found["colour_distance_correlation"] == pytest.approx(1, abs=0.05)
    assert found["grid_colour_correlation"] == pytest.approx(1, abs=0.05)
    assert list(found) == list(FINAL_COLUMNS)


def test_final_scores_of_a_network_that_diverged_are_nan() -> None:
    targets = draw_images(side=64)
    found = score_finally(targets * math.inf, targets, torch.full((3,), 0.5), period=2)
    known = found.pop("target_checkerboard_levels")
    assert math.isfinite(known)
    assert all(math.isnan(number) for number in found.values())


class TwoUpsamplers(nn.Module):
    """Features of images, halved twice and brought back by two layers."""

    def __init__(self, first: nn.Module, last: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.down = nn.Sequential(nn.Conv2d(3, 2, 4, 4), nn.ReLU())
        self.first, self.last = first, last

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.first(self.down(x)))
        return torch.cat([y, y[:, :1]], 1)


def test_effective_ripple_is_that_of_each_upsampler_with_what_it_gets() -> None:
    images = draw_images()
    network = TwoUpsamplers(make_resize_conv(), make_transposed())
    names = {"first": 2, "last": 2}
    scores = score_network(network, images, images, NAMES, period=4, uses_instance_norm=False, upsamplers=names)
    assert scores.row["effective_ripple_scale2"] == pytest.approx(0, abs=1e-20)
    means = measure_mean_inputs(network, ["last"], images)["last"]
    expected = effective_ripple(impulse_response(network.last, 2, 2), 2, means)
    assert expected > 0.01
    assert scores.row["effective_ripple_scale1"] == pytest.approx(expected, rel=1e-5)
    one = score_network(network, images, images, NAMES, period=4, uses_instance_norm=False, upsamplers={"last": 2})
    assert one.row["effective_ripple_scale1"] == scores.row["effective_ripple_scale1"]
    assert math.isnan(one.row["effective_ripple_scale2"])
    assert math.isnan(score(network, period=4).row["effective_ripple_scale1"])
    assert not network.last._forward_pre_hooks
