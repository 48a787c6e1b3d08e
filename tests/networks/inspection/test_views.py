"""Periods in the output, and which output."""

from typing import Any

import pytest
import torch

from deconvbench.networks.inspection.views import (
    choose_output,
    find_common_period,
    find_period,
    list_direct_periods,
)
from deconvbench.records.sites import Site


def make_site(**options: Any) -> Site:
    defaults: dict[str, Any] = {
        "number": 1,
        "path": "up",
        "kind": "transposed_convolution",
        "operation": "conv_transpose2d",
        "dims": 2,
        "scale": (2, 2),
        "in_shape": (1, 4, 8, 8),
        "out_shape": (1, 4, 16, 16),
        "in_channels": 4,
        "out_channels": 4,
        "macs": 1,
    }
    return Site(**{**defaults, **options})


@pytest.mark.parametrize(
    ("options", "out_shape", "period"),
    [
        pytest.param({}, (1, 3, 16, 16), 2, id="last"),
        pytest.param({}, (1, 3, 64, 64), 8, id="upsampled by four after it"),
        pytest.param({"out_shape": (1, 4, 18, 18)}, (1, 3, 64, 64), 8, id="cropped"),
        pytest.param({}, (1, 3, 8, 8), None, id="made smaller after it"),
        pytest.param({"scale": (1.5, 1.5)}, (1, 3, 16, 16), None, id="no whole number"),
        pytest.param({"scale": (1.5, 1.5)}, (1, 3, 32, 32), 3, id="whole in the output"),
        pytest.param(
            {"out_shape": (1, 16, 16, 4), "is_channels_last": True}, (1, 3, 32, 32), 4, id="channels last"
        ),
        pytest.param({}, (1, 3, 16), None, id="another number of axes"),
    ],
)
def test_periods_in_the_output(options: dict[str, Any], out_shape: tuple[int, ...], period: int | None) -> None:
    assert find_period(make_site(**options), out_shape) == period


def test_the_common_period_is_a_multiple_of_all_within_reason() -> None:
    assert find_common_period([2, None, 3]) == 6
    assert find_common_period([8, 4, 2]) == 8
    assert find_common_period([64, 48]) == 64


def test_the_largest_map_is_looked_at() -> None:
    outputs = [
        torch.zeros(1, 3, 4, 4),
        torch.zeros(1, 1, 8, 8),
        torch.zeros(9, 99),
        torch.zeros(1, 1, 99, 99).int(),
    ]
    assert choose_output(outputs) == 1
    assert choose_output(outputs[2:]) is None


@pytest.mark.parametrize(
    ("options", "out_shape", "periods"),
    [
        pytest.param({}, (1, 3, 16, 16), {2}, id="last"),
        pytest.param({}, (1, 3, 64, 64), {8}, id="upsampled by four after it"),
        # waves of 1/6, 3/6 and 5/6 cycles per pixel
        pytest.param({}, (1, 3, 48, 48), {2, 6}, id="upsampled by three after it"),
        pytest.param({"scale": (4, 4)}, (1, 3, 16, 16), {2, 4}, id="by four"),
        pytest.param({"scale": (4, 4)}, (1, 3, 32, 32), {4, 8}, id="by four, then by two"),
        pytest.param({"scale": (2, 3)}, (1, 3, 16, 16), {2, 3, 6}, id="another scale on each axis"),
        pytest.param({"scale": (1.5, 1.5)}, (1, 3, 32, 32), {3}, id="no whole number"),
        pytest.param({}, (1, 3, 8, 8), set(), id="made smaller after it"),
    ],
)
def test_scales_of_a_pattern_without_harmonics(
    options: dict[str, Any], out_shape: tuple[int, ...], periods: set[int]
) -> None:
    assert list_direct_periods(make_site(**options), out_shape) == periods
