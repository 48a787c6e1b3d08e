"""Columns follow from the declared metrics, and every frame of cases and layers has them."""

import pytest

from deconvbench.records import schema
from deconvbench.records.metrics import METRICS


@pytest.mark.parametrize("frame", ["TABLE", "SUMMARY"])
def test_frames_of_cases_have_what_is_measured_without_training(frame: str) -> None:
    columns = getattr(schema, f"{frame}_DTYPES")
    untrained = [name for name, metric in METRICS.items() if metric.group != "trained"]
    assert [name for name in columns if name in METRICS] == untrained
    assert {columns[name] for name in untrained} == {"float64"}


def test_frames_of_layers_have_an_interval_for_each_metric_that_seeds_change() -> None:
    seeded = [name for name, metric in METRICS.items() if metric.group != "numerical"]
    assert list(schema.SEEDED_COLUMNS) == seeded
    for metric in seeded:
        low, high = schema.name_interval(metric)
        assert (low, high) == (f"{metric}_ci_low", f"{metric}_ci_high")
        assert {metric, low, high} <= {*schema.QUALITY_SUMMARY_DTYPES}


def test_what_came_later_is_declared_so() -> None:
    assert {"flat_field_ripple", "checkerboard", "conditions", "baseline_id", "ratio", "kernel"} <= {
        *schema.LATER_COLUMNS
    }
    assert {*schema.LATER_COLUMNS} <= {*schema.TABLE_DTYPES}
