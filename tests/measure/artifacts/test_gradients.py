"""Overlap of gradients: the counts of theory, a slow count, and what pooling does."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deconvbench.errors import UsageError
from deconvbench.measure.artifacts import gradient_overlap_cv, gradient_phase_means
from deconvbench.theory import gradient_counts, overlap_cv, stacked_overlap_cv

GEOMETRIES = [(k, s, p) for k in range(1, 8) for s in range(1, 5) for p in sorted({0, (k - 1) // 2})]


def _reference(k: int, s: int, p: int, period: int) -> list[list[float]]:
    """Count by hand: how many of many output pixels have an input pixel under their kernel."""
    centre = 10 * period
    line = [
        sum(0 <= centre + phase - (position * s - p) < k for position in range(30 * period))
        for phase in range(period)
    ]
    return [[float(a * b) for b in line] for a in line]


@pytest.mark.parametrize(
    ("k", "counts"),
    [
        pytest.param(3, {1, 2, 4}, id="k3-s2"),
        pytest.param(4, {4}, id="k4-s2"),
        pytest.param(1, {0, 1}, id="k1-s2"),
        pytest.param(7, {9, 12, 16}, id="k7-s2"),
    ],
)
def test_oracles(k: int, counts: set[int]) -> None:
    means = gradient_phase_means(nn.Conv2d(1, 1, k, 2, k // 2), 1, 2)
    assert set(means.flatten().tolist()) == counts


@pytest.mark.parametrize(("k", "s", "p"), GEOMETRIES, ids=str)
def test_convolution_has_the_counts_of_theory(k: int, s: int, p: int) -> None:
    layer = nn.Conv2d(1, 1, k, s, p)
    means = gradient_phase_means(layer, 1, s, images=2)
    # theory counts from the first pixel of the padded input
    expected = torch.from_numpy(gradient_counts(k, s)).double().roll((-p, -p), (0, 1))
    assert torch.equal(means, expected)
    assert means.tolist() == _reference(k, s, p, s)
    assert gradient_overlap_cv(layer, 1, s, images=2) == pytest.approx(overlap_cv(k, s), abs=1e-12)


def test_longer_period_repeats_the_counts() -> None:
    means = gradient_phase_means(nn.Conv2d(1, 1, 3, 2), 1, 4)
    assert torch.equal(means, gradient_phase_means(nn.Conv2d(1, 1, 3, 2), 1, 2).repeat(2, 2))


@pytest.mark.parametrize(
    ("layer", "factor"),
    [
        pytest.param(nn.Conv2d(6, 4, 3, 2), 4, id="4-outputs"),
        pytest.param(nn.Conv2d(6, 4, 3, 2, groups=2), 2, id="2-groups"),
        pytest.param(nn.Conv2d(6, 6, 3, 2, groups=6), 1, id="depthwise"),
        pytest.param(nn.AvgPool2d(3, 2), 1 / 9, id="average"),
    ],
)
def test_channels_scale_the_counts_and_leave_the_cv(layer: nn.Module, factor: float) -> None:
    expected = factor * torch.from_numpy(gradient_counts(3, 2)).double()
    torch.testing.assert_close(gradient_phase_means(layer, 6, 2, images=2), expected)
    assert gradient_overlap_cv(layer, 6, 2, images=2) == pytest.approx(0.4843, abs=5e-5)


@pytest.mark.parametrize(
    "layers", [[(3, 2)], [(3, 2), (3, 2)], [(3, 2), (5, 2)], [(5, 2), (3, 3)], [(3, 2)] * 3], ids=str
)
def test_stacks_are_those_of_theory_backwards(layers: list[tuple[int, int]]) -> None:
    stack = nn.Sequential(*(nn.Conv2d(2, 2, k, s, (k - 1) // 2) for k, s in layers))
    period = math.prod(s for _, s in layers)
    expected = stacked_overlap_cv(layers[::-1])
    assert gradient_overlap_cv(stack, 2, period, images=2) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "layer",
    [
        pytest.param(nn.AvgPool2d(2), id="average"),
        pytest.param(nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 3, 3, padding=1)), id="unshuffle"),
        pytest.param(nn.Conv2d(3, 5, 4, 2, 1), id="k4-s2"),
    ],
)
def test_even_layers(layer: nn.Module) -> None:
    assert gradient_overlap_cv(layer, 3, 2) == pytest.approx(0, abs=1e-12)


def test_max_pooling_reaches_a_quarter_and_is_even_in_expectation() -> None:
    means = gradient_phase_means(nn.MaxPool2d(2), 3, 2, size=128, images=20)
    # each gradient is 0 or 1, and each window has a single 1
    assert float(means.sum()) == pytest.approx(1, abs=1e-12)
    assert 0.244 <= float(means.min()) < 0.25 < float(means.max()) <= 0.253
    assert 0 < gradient_overlap_cv(nn.MaxPool2d(2), 3, 2) < 0.03


def test_overlapping_max_pooling_is_uneven_too() -> None:
    assert gradient_overlap_cv(nn.MaxPool2d(3, 2), 3, 2) > 0.3


def test_noise_comes_from_the_generator_alone() -> None:
    state = torch.get_rng_state()
    pool = nn.MaxPool2d(2)
    default = gradient_overlap_cv(pool, 1, 2)
    assert gradient_overlap_cv(pool, 1, 2) == default
    source = torch.Generator().manual_seed(0)
    assert gradient_overlap_cv(pool, 1, 2, generator=source) == default
    assert gradient_overlap_cv(pool, 1, 2, generator=source) != default
    assert torch.equal(torch.get_rng_state(), state)


def test_layer_is_left_alone_and_no_graph_is_needed() -> None:
    layer = nn.Sequential(nn.Conv2d(2, 2, 3, 2), nn.BatchNorm2d(2)).train()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    with torch.no_grad():
        assert gradient_overlap_cv(layer, 2, 2) == pytest.approx(0.4843, abs=5e-5)
    assert layer.training
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())
    assert all(parameter.grad is None for parameter in layer.parameters())


def test_no_gradient_is_nan() -> None:
    class Threshold(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x - 100)

    assert math.isnan(gradient_overlap_cv(Threshold(), 1, 2))


class Answer(nn.Module):
    """Answers what it is told to, made from the input."""

    def __init__(self, make: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.make = make

    def forward(self, x: Tensor) -> object:
        return self.make(x)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        pytest.param(Answer(lambda x: [x]), "layer: returned a list, not a tensor", id="list"),
        pytest.param(
            Answer(lambda x: x.detach()), "layer: its output does not depend on its input", id="detached"
        ),
        pytest.param(nn.Conv2d(1, 1, 2, 3), "layer: its gradient does not repeat with period 2 away", id="period"),
        pytest.param(nn.Conv2d(1, 1, 41, 2), "increase size or margin", id="large-kernel"),
    ],
)
def test_gradient_that_cannot_be_measured_is_an_error(layer: nn.Module, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        gradient_overlap_cv(layer, 1, 2)


def test_large_kernels_need_large_maps() -> None:
    assert gradient_overlap_cv(nn.Conv2d(1, 1, 41, 2), 1, 2, size=200, images=2) == pytest.approx(
        overlap_cv(41, 2), abs=1e-9
    )


def test_output_that_ignores_its_input_gets_no_gradient() -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.map = nn.Parameter(torch.zeros(1, 1, 4, 4))

        def forward(self, x: Tensor) -> Tensor:
            return self.map * 1.0

    assert math.isnan(gradient_overlap_cv(Constant(), 1, 2))


@pytest.mark.parametrize("argument", ["in_channels", "period", "size", "margin", "images"])
def test_numbers_out_of_range_are_errors(argument: str) -> None:
    arguments: dict[str, Any] = {"in_channels": 2, "period": 2, argument: -1}
    with pytest.raises(UsageError, match=f"{argument}: -1 is not a whole number"):
        gradient_phase_means(nn.MaxPool2d(2), **arguments)
