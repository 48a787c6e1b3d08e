"""Which site causes which ripple."""

from typing import Any

import pytest
import torch

from deconvbench.measure.artifacts.spectrum import CheckerboardResult
from deconvbench.networks.inspection.attribution import (
    attribute_alone,
    attribute_flat,
    attribute_real,
    choose_output,
    find_common_period,
    find_period,
)
from deconvbench.networks.inspection.periodic import PeriodicPart
from deconvbench.records.sites import Site

PATHS = {1: "up1", 2: "up2"}


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


def make_part(small: float, large: float, scatter: float = 0.0) -> PeriodicPart:
    return PeriodicPart(power={2: small**2, 4: large**2}, scatter=scatter, periodicity_error=0.0)


def test_the_site_that_removes_most_of_a_scale_is_its_cause() -> None:
    after = {1: make_part(2.9, 0.1), 2: make_part(0.3, 1.0)}
    two, four = attribute_flat(make_part(3.0, 1.0), make_part(3.0, 1.0), after, PATHS)
    assert (two.period, two.site, two.path, two.levels) == (2, 2, "up2", 3.0)
    assert two.removed_share == pytest.approx(0.99)
    assert (four.period, four.site, four.path) == (4, 1, "up1")
    assert str(four) == "period 4: 1.00 levels in plain colours, from 1. up1, which has 99% of it"


def test_what_no_site_removes_has_no_cause() -> None:
    (two,) = attribute_flat(
        make_part(3.0, 0.01),
        make_part(3.0, 0.01),
        {1: make_part(2.9, 0.0), 2: make_part(4.0, 0.0), 3: None},
        PATHS,
    )
    assert two.site is None
    assert "no single site" in str(two)


def test_where_ripples_cancel_the_site_that_has_most_alone_is_the_cause() -> None:
    found = attribute_flat(
        make_part(3.0, 2.0), make_part(3.0, 2.0), {1: make_part(2.9, 0.1), 2: make_part(4.0, 4.0)}, PATHS
    )
    two, four = attribute_alone(found, {1: make_part(1.0, 5.0), 2: make_part(4.0, 0.0)}, PATHS)
    assert (two.site, two.path, two.alone_levels) == (2, "up2", 4.0)
    assert "which alone has 4.00" in str(two)
    assert (four.site, four.alone_levels) == (1, None)
    (left, _) = attribute_alone(found, {1: make_part(0.1, 0.0), 2: None}, PATHS)
    assert left.site is None


def test_chance_is_not_attributed() -> None:
    assert (
        attribute_flat(make_part(1.0, 1.0, scatter=0.5), make_part(1.0, 1.0), {1: make_part(0.0, 0.0)}, PATHS)
        == []
    )


def test_in_images_the_changes_count_and_not_the_content() -> None:
    def score(small: float, large: float) -> CheckerboardResult:
        return CheckerboardResult(
            amplitude=1.0, detection_level=0.1, noise_level=0.1, by_scale={2: small, 4: large}, period=4, patches=9
        )

    (two,) = attribute_real(score(5.0, 5.0), {1: score(0.1, 0.0), 2: score(2.0, 0.01)}, PATHS)
    assert (two.period, two.site, two.is_flat) == (2, 2, False)
    assert two.removed_share == pytest.approx(4 / 4.01)
    assert attribute_real(score(5.0, 5.0), {1: None}, PATHS) == []
