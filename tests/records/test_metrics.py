"""How metrics are written."""

import math

import pytest

from deconvbench.analysis.tradeoff import QUALITY_COLUMNS
from deconvbench.errors import UsageError
from deconvbench.records.metrics import (
    METRICS,
    check_metrics,
    format_metric,
    get_best,
    get_metric,
    is_zero,
)


@pytest.mark.parametrize(
    ("value", "metric", "text"),
    [
        (0.75, "phase_ripple", "0.750"),
        (3e-32, "phase_ripple", "0"),
        (-1e-12, "noise_gain_cv", "0"),
        (1.3e-7, "numerical_error", "1e-07"),
        (2e-16, "numerical_error", "2e-16"),
        (0.0, "numerical_error", "0"),
        (-0.012, "checkerboard", "-0.012"),
        (1e-16, "flat_field_ripple", "0"),
        (0.0, "image_rejection_db", "0.0"),
        (-16.04, "image_rejection_db", "-16.0"),
        (-0.04, "image_rejection_db", "0.0"),
        (0.004, "trained_checkerboard_levels", "0.00"),
        (-0.004, "trained_checkerboard_levels", "0.00"),
        (2.345, "trained_checkerboard_levels", "2.35"),
        (26.126, "trained_psnr_db", "26.13"),
        (0.8512, "trained_ssim", "0.851"),
        (None, "phase_ripple", "–"),
        (math.nan, "image_rejection_db", "–"),
    ],
)
def test_values_are_short(value: float | None, metric: str, text: str) -> None:
    assert format_metric(value, metric) == text


@pytest.mark.parametrize("metric", METRICS)
def test_every_axis_has_a_unit(metric: str) -> None:
    label = get_metric(metric)
    assert label.axis.endswith(f"({label.unit})")
    assert label.heading[0].isupper()


def test_an_unknown_metric_is_named_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"metric: 'beauty' is not one of overlap_cv, phase_ripple"):
        get_metric("beauty")


@pytest.mark.parametrize(
    ("value", "metric", "expected"),
    [
        (1e-10, "flat_field_ripple", True),
        (-1e-10, "checkerboard", True),
        (1e-8, "flat_field_ripple", False),
        (1e-10, "numerical_error", False),
        (0.0, "numerical_error", True),
        (0.0, "image_rejection_db", False),
        (1e-10, "trained_checkerboard_levels", False),
        (0.0, "trained_checkerboard_levels", True),
    ],
)
def test_zero_depends_on_the_metric(value: float, metric: str, expected: bool) -> None:
    assert is_zero(value, metric) is expected


def test_every_metric_has_a_label() -> None:
    assert {*METRICS} == {*QUALITY_COLUMNS}


@pytest.mark.parametrize("metric", METRICS)
def test_the_label_says_which_way_is_better(metric: str) -> None:
    best = {"image_rejection_db": "low is best", "trained_psnr_db": "high is best", "trained_ssim": "1 is best"}
    assert best.get(metric, "0 is best") in get_metric(metric).meaning
    assert get_best(metric) == ("high" if metric in {"trained_psnr_db", "trained_ssim"} else "low")


def test_an_unknown_metric_has_no_best() -> None:
    with pytest.raises(UsageError, match="metric: 'beauty' is not one of"):
        get_best("beauty")


def test_a_choice_of_metrics_names_each_once() -> None:
    assert check_metrics(["checkerboard", "phase_ripple", "checkerboard"]) == ("checkerboard", "phase_ripple")


@pytest.mark.parametrize(
    ("metrics", "found"),
    [(["phase_ripple", "beauty"], "'beauty'"), ([""], "''"), ([], "an empty list")],
    ids=["unknown", "blank", "none"],
)
def test_a_choice_of_none_or_unknown_metrics_lists_the_allowed_ones(metrics: list[str], found: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_metrics(metrics)
    assert str(caught.value) == f"--quality: {found} is not one of {', '.join(METRICS)}"
