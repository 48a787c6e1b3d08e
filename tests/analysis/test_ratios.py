import math

import pandas as pd
import pytest

from deconvbench.analysis.ratios import find_baseline, take_ratios


def make(**columns: object) -> pd.DataFrame:
    layers = {"case_id": ["a", "b", "c"], "upsampler": ["nearest_conv", "transposed", "subpixel"]}
    return pd.DataFrame({**layers, "kernel_size": [3, 3, 3], "latency_s": [1.0, 2.0, 4.0], **columns})


def test_the_baseline_is_what_the_run_was_timed_against() -> None:
    assert find_baseline(make(baseline_id=["c", "c", None])) == 2


def test_without_one_it_is_the_transposed_convolution_with_kernel_3() -> None:
    assert find_baseline(make()) == 1
    assert find_baseline(make(baseline_id=[None, None, None])) == 1


def test_without_that_it_is_the_fastest() -> None:
    assert find_baseline(make(kernel_size=pd.array([3, 4, 3], "Int64"))) == 0


def test_ratios_of_the_table_come_before_those_of_latencies() -> None:
    found = take_ratios(make(baseline_id=["b", "b", "a"], ratio=[0.4, 1.0, 9.0]), 1)
    assert [ratio for ratio, *_ in found] == pytest.approx([0.4, 1.0, 2.0])
    assert take_ratios(make(), 0) == [(1.0, None, None), (2.0, None, None), (4.0, None, None)]
    found = take_ratios(make(baseline_id=["b"] * 3, ratio=[math.nan] * 3), 1)
    assert [ratio for ratio, *_ in found] == pytest.approx([0.5, 1.0, 2.0])


def test_intervals_are_those_of_the_table_and_the_baseline_has_none() -> None:
    known = {"baseline_id": ["b"] * 3, "ratio": [0.4, 1.0, 2.0]}
    ends = {"ratio_low": [0.3, 1.0, math.nan], "ratio_high": [0.5, 1.0, 3.0]}
    assert take_ratios(make(**known, **ends), 1) == [(0.4, 0.3, 0.5), (1.0, None, None), (2.0, None, None)]
