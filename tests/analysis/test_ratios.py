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
    frame = make(baseline_id=["b", "b", "a"], ratio=[0.4, 1.0, 9.0])
    assert take_ratios(frame, 1) == pytest.approx([0.4, 1.0, 2.0])
    assert take_ratios(make(), 0) == pytest.approx([1.0, 2.0, 4.0])
    assert take_ratios(make(baseline_id=["b"] * 3, ratio=[math.nan] * 3), 1) == pytest.approx([0.5, 1.0, 2.0])
