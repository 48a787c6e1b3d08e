"""What is planned is what the layer computes, for all weights; and layers that cannot be are named."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from deconvbench.networks.replacement.equivalents import read_equivalent
from deconvbench.networks.replacement.finding import find_layers
from deconvbench.networks.replacement.kernels import Equivalent, fit
from deconvbench.networks.replacement.specification import TARGETS, Specification
from deconvbench.networks.replacement.targets import Plan, plan_layer
from deconvbench.networks.replacement.tree import ModuleTree
from tests.networks.replacement.layers import (
    compute,
    draw_input,
    resize_layers,
    subpixel_layers,
    transposed_layers,
    wrap,
)

# torch's remark on the price of such a padding
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")


def plan(layer: nn.Module, target: str, kernel_size: int | None = None) -> tuple[Plan | str, Equivalent]:
    model = layer if isinstance(layer, nn.Sequential) else wrap(layer)
    for source in ("transposed", "subpixel", "interpolate+conv"):
        found, _ = find_layers(ModuleTree(model), Specification(source=source, target=target))
        if found:
            equivalent = read_equivalent(found[0])
            return plan_layer(target, found[0], equivalent, kernel_size), equivalent
    raise AssertionError(f"{layer} was not found")


@given(
    layer=transposed_layers() | transposed_layers(is_square=True) | subpixel_layers() | resize_layers(),
    target=st.sampled_from(TARGETS),
    kernel_size=st.none() | st.sampled_from([1, 3, 5, 4]),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=250)
def test_a_layer_computes_what_its_plan_says(
    layer: nn.Module, target: str, kernel_size: int | None, seed: int
) -> None:
    assume(kernel_size != 4 or target not in {"nearest_conv", "bilinear_conv"})
    planned, equivalent = plan(layer, target, kernel_size)
    assume(not isinstance(planned, str))
    assert isinstance(planned, Plan)
    rows, columns = planned.axes
    channels = equivalent.taps.shape[:2]
    weights = np.random.default_rng(seed).normal(size=(*channels, rows.matrix.shape[1], columns.matrix.shape[1]))
    if planned.project is not None:
        weights = planned.project(weights)
    new = planned.make(bias=False, device=None, dtype=torch.float64)
    values = torch.from_numpy(planned.arrange(weights).copy())
    assert new.weight.shape == values.shape
    new.weight.data = values
    # zeros near the border, where some layers repeat the outermost pixel
    x = functional.pad(draw_input((4, 5)), (8,) * 4)
    y = new(x)
    (top, bottom), (left, right) = planned.crop
    assert min(top, bottom, left, right) >= 0
    y = y[:, :, top : y.shape[2] - bottom, left : y.shape[3] - right]
    says = Equivalent(
        taps=rows.matrix @ weights @ columns.matrix.T,
        bias=None,
        stride=equivalent.stride,
        start=(rows.start, columns.start),
        excess=equivalent.excess,
        groups=equivalent.groups,
    )
    torch.testing.assert_close(y, compute(says, x), rtol=1e-10, atol=1e-10)


@given(
    layer=transposed_layers() | transposed_layers(is_square=True) | subpixel_layers() | resize_layers(),
    target=st.sampled_from(["transposed", "subpixel"]),
)
@settings(deadline=None, max_examples=80)
def test_transposed_and_subpixel_hold_every_layer(layer: nn.Module, target: str) -> None:
    planned, equivalent = plan(layer, target)
    assume(not isinstance(planned, str))
    assert isinstance(planned, Plan)
    assert fit(equivalent, planned.axes)[1] < 1e-12


@pytest.mark.parametrize("target", [name for name in TARGETS if "conv" in name or "subpixel" in name])
@pytest.mark.parametrize("stride", [2, 3, 4])
@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 5, 7])
def test_the_new_layer_reaches_as_far(target: str, kernel_size: int, stride: int) -> None:
    padding = max(-(-(kernel_size - stride) // 2), 0)
    extra = min(stride + 2 * padding - kernel_size, stride - 1)
    planned, equivalent = plan(nn.ConvTranspose2d(1, 1, kernel_size, stride, padding, extra), target)
    assert isinstance(planned, Plan)
    axis, start = planned.axes[0], equivalent.start[0]
    assert axis.start <= start
    assert axis.stop >= start + kernel_size


REFUSALS: list[tuple[nn.Module, str, int | None, str]] = [
    (
        nn.ConvTranspose2d(1, 1, 4, 2),
        "nearest_conv",
        None,
        "its output has 2·H + 2 pixels, more than the 2·H that nearest_conv makes",
    ),
    (nn.ConvTranspose2d(1, 1, 4, (2, 3), 1), "subpixel", None, "its scale (2, 3) differs between the axes"),
    (nn.ConvTranspose2d(1, 1, 4, 3, 1), "transposed_fir", None, "evens out a stride of 2 only, not (3, 3)"),
    (nn.ConvTranspose2d(1, 1, 2, 3), "equal_gain_transposed", None, "kernel_size: 2 is below stride 3"),
    (
        nn.ConvTranspose2d(1, 1, 3, 2, 1, dilation=2),
        "equal_gain_transposed",
        None,
        "dilation: 2 has a divisor in common with stride 2",
    ),
    (
        nn.ConvTranspose2d(1, 1, 6, 2),
        "transposed",
        3,
        "a transposed convolution of kernel (3, 3) gives fewer pixels than it",
    ),
    (
        nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(1, 1, 1, padding=2)),
        "transposed",
        None,
        "a transposed convolution of kernel (2, 2) gives fewer pixels than it",
    ),
]


@pytest.mark.parametrize(
    ("layer", "target", "kernel_size", "reason"),
    REFUSALS,
    ids=["larger", "two-scales", "filter", "gaps", "dilation", "small", "padded"],
)
def test_what_cannot_be_is_named(layer: nn.Module, target: str, kernel_size: int | None, reason: str) -> None:
    planned, _ = plan(layer, target, kernel_size)
    assert isinstance(planned, str)
    assert re.search(re.escape(reason), planned)


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (nn.ConvTranspose2d(1, 1, 4, 2, 1), 3),
        (nn.ConvTranspose2d(1, 1, 3, 2, 1, 1), 3),
        (nn.ConvTranspose2d(1, 1, 2, 2), 3),
        (nn.ConvTranspose2d(1, 1, 5, 2, 2, 1), 5),
        (nn.ConvTranspose2d(1, 1, 64, 32, 16), 33),
        (nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(1, 1, 1)), 1),
        (nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(1, 1, 3, padding=1)), 3),
        (nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(1, 1, 3, padding=1)), 3),
        (nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(1, 1, 3)), 3),
        (nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.PixelShuffle(2)), 5),
    ],
    ids=["k4", "k3", "k2", "k5", "k64", "conv1", "conv3", "bilinear", "valid", "subpixel"],
)
def test_kernels_of_resize_convolutions(layer: nn.Module, size: int) -> None:
    planned, _ = plan(layer, "nearest_conv")
    assert isinstance(planned, Plan)
    new: Any = planned.make(bias=True, device="meta", dtype=None)
    assert new.kernel_size == size
