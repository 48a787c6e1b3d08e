"""Runs side by side."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from deconvbench.analysis import overlay
from deconvbench.analysis.overlay import LEAST_LAYERS, measure_agreement, overlay_runs
from deconvbench.errors import UsageError
from deconvbench.records.record import Latency
from deconvbench.tables.table import build_table, summarise
from tests.builders import make_case, make_record

LAYERS = ("transposed", "nearest_conv", "bilinear_conv", "subpixel", "bicubic_conv", "carafe")


def summarise_latencies(latencies: dict[str, float], sizes: tuple[int, ...] = (8,), **case: Any) -> pd.DataFrame:
    records = [
        make_record(
            case=make_case(
                upsampler=name, kernel_size=None if name == "carafe" else 3, height=size, width=size, **case
            ),
            replicate=replicate,
            latency=Latency(
                samples_s=(seconds * size,), calls_per_sample=1, first_call_s=seconds, stop_reason="target_met"
            ),
        )
        for name, seconds in latencies.items()
        for size in sizes
        for replicate in range(3)
    ]
    return summarise(build_table(records))


def spread(*factors: float) -> dict[str, float]:
    return {name: 1e-3 * factor for name, factor in zip(LAYERS, factors, strict=False)}


def test_a_slower_machine_has_the_same_ratios() -> None:
    one, other = spread(1, 2, 3, 4), spread(10, 20, 30, 40)
    overlaid = overlay_runs({"a": summarise_latencies(one), "b": summarise_latencies(other)})
    ratios = overlaid.pivot_table(index="layer", columns="run", values="ratio")
    assert ratios["a"].to_numpy() == pytest.approx(ratios["b"].to_numpy())
    assert sorted(ratios["a"]) == pytest.approx([1, 2, 3, 4])


def test_each_size_has_a_baseline_of_its_own() -> None:
    overlaid = overlay_runs({name: summarise_latencies(spread(1, 2), (8, 16)) for name in "ab"})
    assert set(overlaid["baseline_id"]) == {"transposed-k3-s2-c4x2-8x8", "transposed-k3-s2-c4x2-16x16"}
    assert overlaid.loc[overlaid["upsampler"] == "nearest_conv", "ratio"].to_list() == pytest.approx([2.0] * 4)


def test_runs_need_a_case_in_common() -> None:
    a, b = summarise_latencies(spread(1, 2)), summarise_latencies(spread(1, 2), (16,))
    with pytest.raises(UsageError, match="a and b have no measured case in common"):
        overlay_runs({"a": a, "b": b})
    with pytest.raises(UsageError, match="1 given; at least two"):
        overlay_runs({"a": a})
    failed = a.assign(status="error")
    with pytest.raises(UsageError, match="b: no case has a latency"):
        overlay_runs({"a": a, "b": failed})


class TestAgreement:
    def test_the_same_order_is_1_and_the_reverse_is_minus_1(self) -> None:
        same, turned = spread(1, 2, 3, 4, 5, 6), spread(1, 6, 5, 4, 3, 2)
        runs = {"a": same, "b": same, "c": turned}
        overlaid = overlay_runs({name: summarise_latencies(run) for name, run in runs.items()})
        found = {agreement.runs: agreement for agreement in measure_agreement(overlaid, list(runs))}
        assert list(found) == [("a", "b"), ("a", "c"), ("b", "c")]
        assert (found["a", "b"].correlation, found["a", "b"].typical_change) == pytest.approx((1, 1))
        assert found["a", "c"].correlation == pytest.approx(-1)
        # the baseline says nothing: it is 1 in both
        assert found["a", "b"].cases == 5

    def test_resamples_are_correlated_together_as_each_would_be_alone(self) -> None:
        generator = np.random.default_rng(0)
        # few values, so that many are equal
        pair = generator.integers(5, size=(30, 2)).astype(float)
        counts = generator.integers(4, size=(50, 30))
        counts[7] = pair[:, 0] == 2  # one value alone, which has no order
        with warnings.catch_warnings(action="ignore", category=stats.ConstantInputWarning):
            expected = [stats.spearmanr(pair.repeat(row, axis=0)).statistic for row in counts]
        assert np.isnan(expected).tolist() == [row == 7 for row in range(50)]
        assert overlay._correlate(pair, counts) == pytest.approx(expected, nan_ok=True)

    def test_the_interval_holds_the_truth_in_most_seeds(self) -> None:
        """Ratios that share half of their variance: a rank correlation of about .48."""
        held = 0
        for seed in range(12):
            generator = np.random.default_rng(seed)
            common, own = generator.normal(size=40), generator.normal(size=(2, 40))
            rows = [
                {
                    "case_id": f"c{i}",
                    "layer": f"l{i}",
                    "run": run,
                    "baseline_id": "x",
                    "ratio": float(np.exp(value)),
                }
                for run, values in zip("ab", (common + own) / 2**0.5, strict=True)
                for i, value in enumerate(values)
            ]
            (found,) = measure_agreement(pd.DataFrame(rows), ["a", "b"])
            held += found.low <= 0.483 <= found.high
        assert held >= 10

    def test_too_few_layers_say_nothing(self) -> None:
        few = spread(*range(1, LEAST_LAYERS + 1))
        overlaid = overlay_runs({name: summarise_latencies(few) for name in "ab"})
        assert measure_agreement(overlaid, ["a", "b"]) == []
