"""Overlap: the article's counts, read off layers."""

import math

import pytest
import torch
from torch import nn

from deconvbench.errors import UsageError
from deconvbench.measure.artifacts import overlap_cv
from deconvbench.theory import overlap_cv as theory_overlap_cv
from deconvbench.theory import stacked_overlap_cv
from tests.measure.artifacts.local_layers import (
    Blur,
    conv_resize,
    resize,
    resize_conv,
    subpixel,
    transposed,
)


@pytest.mark.parametrize(
    ("k", "s", "expected"),
    [
        pytest.param(3, 2, 0.4843, id="k3-s2"),
        pytest.param(5, 2, 0.2857, id="k5-s2"),
        pytest.param(2, 2, 0, id="k2-s2"),
        pytest.param(4, 2, 0, id="k4-s2"),
        pytest.param(6, 3, 0, id="k6-s3"),
        pytest.param(8, 4, 0, id="k8-s4"),
    ],
)
def test_oracles(k: int, s: int, expected: float) -> None:
    assert overlap_cv(transposed((1, 1), k, s), 1, s) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(("k", "s"), [(k, s) for s in (2, 3, 4) for k in range(s, 9)], ids=str)
def test_transposed_has_the_closed_form(k: int, s: int) -> None:
    line = math.sqrt(k % s * (s - k % s)) / k
    expected = math.sqrt((1 + line**2) ** 2 - 1)
    assert overlap_cv(transposed((2, 3), k, s), 2, s) == pytest.approx(expected, abs=1e-12)
    assert expected == pytest.approx(theory_overlap_cv(k, s), abs=1e-12)


@pytest.mark.parametrize(("layers", "expected"), [(1, 0.4843), (2, 0.5386), (3, 0.5725)], ids=str)
def test_stacked_layers_overlap_more(layers: int, expected: float) -> None:
    stack = nn.Sequential(*(transposed((1, 1), 3, 2) for _ in range(layers)))
    measured = overlap_cv(stack, 1, 2**layers)
    assert measured == pytest.approx(expected, abs=5e-5)
    assert measured == pytest.approx(stacked_overlap_cv([(3, 2)] * layers), abs=1e-12)


@pytest.mark.parametrize(
    "layers", [[(3, 2), (4, 2)], [(4, 2), (3, 2)], [(5, 2), (4, 3)], [(2, 2), (5, 3)], [(5, 3), (2, 2)]], ids=str
)
def test_stacks_of_unlike_layers_and_channels(layers: list[tuple[int, int]]) -> None:
    channels = [2, 5, 3]
    stack = nn.Sequential(*(transposed((channels[n], channels[n + 1]), k, s) for n, (k, s) in enumerate(layers)))
    measured = overlap_cv(stack, 2, math.prod(s for _, s in layers))
    assert measured == pytest.approx(stacked_overlap_cv(layers), abs=1e-12)


def test_scale_of_a_stack_is_the_product() -> None:
    stack = nn.Sequential(transposed((1, 1), 3, 2), transposed((1, 1), 3, 2))
    with pytest.raises(UsageError, match="scale_factor 2 asks for"):
        overlap_cv(stack, 1, 2)


@pytest.mark.parametrize("s", [2, 3, 4])
@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda s: resize_conv((2, 3), 3, s), id="nearest_conv"),
        pytest.param(lambda s: resize_conv((2, 3), 3, s, "bilinear"), id="bilinear_conv"),
        pytest.param(lambda s: conv_resize((2, 3), 3, s), id="conv_nearest"),
        pytest.param(lambda s: subpixel((2, 3), 3, s), id="subpixel"),
        pytest.param(lambda s: nn.Sequential(subpixel((2, 3), 3, s), Blur(s)), id="subpixel_blur"),
        pytest.param(lambda s: resize("bicubic", s), id="no_parameters"),
    ],
)
def test_other_layers_are_even(build: object, s: int) -> None:
    assert callable(build)
    assert overlap_cv(build(s), 2, s) == pytest.approx(0, abs=1e-12)


def test_weights_biases_and_channels_do_not_matter() -> None:
    layer = transposed((5, 2), 3, 2)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(-7)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    assert overlap_cv(layer, 5, 2) == pytest.approx(overlap_cv(transposed((1, 1), 3, 2), 1, 2), abs=1e-12)
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())


def test_layer_that_is_never_visited_is_nan() -> None:
    class Nothing(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])

    assert math.isnan(overlap_cv(Nothing(), 2, 2))
