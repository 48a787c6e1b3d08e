"""Sentences that come from the tables."""

import numpy as np
import pandas as pd
import pytest

from deconvbench.analysis.results import RunResults
from deconvbench.report.findings import describe_findings
from deconvbench.units import format_seconds
from tests.plots.made_tables import make_empty_results, make_quality, make_run_results, make_summary


def tables_of(summary: pd.DataFrame, quality: pd.DataFrame | None = None) -> RunResults:
    return make_run_results(summary, make_quality().iloc[:0] if quality is None else quality)


def test_the_cheapest_clean_layer_and_its_price_are_named() -> None:
    summary = make_summary()
    sentence = describe_findings(tables_of(summary))[0]
    at_64 = summary[(summary["step"] == "forward") & (summary["height"] == 64)].set_index("upsampler")
    latency = at_64[at_64["kernel_size"] == 3]["latency_s"].to_dict()
    ratio = latency["conv_nearest"] / latency["transposed"]
    assert sentence.startswith(
        "Forward, cpu, input 64×64: the cheapest layer without ripple at initialisation is conv_nearest"
    )
    assert format_seconds(latency["conv_nearest"]) in sentence
    assert f"{ratio:.2g} times the latency of transposed k3 s2 (phase ripple 0.750)" in sentence
    assert "image rejection of -16.0 dB" in sentence
    assert "the fastest of all is transposed k2 s2" in sentence


def test_each_step_has_its_sentence() -> None:
    sentences = describe_findings(tables_of(make_summary()))
    assert sum(sentence.startswith("Train, cpu") for sentence in sentences) == 1


def test_no_clean_layer_is_said() -> None:
    summary = make_summary((("transposed", 3), ("subpixel", 3)), (32,), ("forward",))
    sentence = describe_findings(tables_of(summary))[0]
    assert "none of the 2 layers with a known ripple of a constant input is free of it" in sentence
    assert "the fastest layer is transposed k3 s2" in sentence


def test_unknown_quality_claims_nothing() -> None:
    summary = make_summary(steps=("forward",))
    summary = summary.assign(phase_ripple=np.nan, flat_field_ripple=np.nan, image_rejection_db=np.nan)
    assert "none of the 0 layers with a known ripple" in describe_findings(tables_of(summary))[0]


def test_without_a_baseline_no_ratio_is_made_up() -> None:
    summary = make_summary((("nearest_conv", 3), ("dysample", None)), (32,), ("forward",))
    summary["image_rejection_db"] = np.nan
    summary.loc[summary["upsampler"] == "dysample", ["phase_ripple", "flat_field_ripple"]] = np.nan
    summary.loc[summary["upsampler"] == "dysample", "noisy"] = True
    summary.loc[summary["upsampler"] == "dysample", "latency_s"] = 1e-5
    sentence = describe_findings(tables_of(summary))[0]
    assert "times" not in sentence
    assert "image rejection" not in sentence
    assert sentence.endswith("the fastest of all is dysample s2 (10 µs, noisy).")


def test_a_layer_that_is_not_linear_is_clean_where_it_keeps_a_flat_field() -> None:
    summary = make_summary((("dysample", None), ("nearest_conv", 3)), (32,), ("forward",))
    assert summary["phase_ripple"].isna().tolist() == [True, False]
    start = "Forward, cpu, input 32×32: the cheapest layer without ripple at initialisation is"
    assert describe_findings(tables_of(summary))[0].startswith(f"{start} dysample s2 (")
    unclean = summary.assign(flat_field_ripple=[0.2, 0.0])
    assert describe_findings(tables_of(unclean))[0].startswith(f"{start} nearest_conv k3 s2 (")


def test_a_clean_layer_that_is_also_the_fastest_is_named_once() -> None:
    summary = make_summary((("nearest_conv", 3),), (32,), ("forward",))
    assert "fastest" not in describe_findings(tables_of(summary))[0]


def test_hidden_workspace_is_named() -> None:
    texts = describe_findings(tables_of(make_summary()))
    assert any("The most hidden workspace at 64×64 is that of transposed_smoothed k3 s2" in text for text in texts)
    without = describe_findings(tables_of(make_summary().assign(workspace_bytes=np.nan)))
    assert not any("workspace" in text for text in without)


def test_both_faces_of_the_rule_are_compared() -> None:
    texts = describe_findings(tables_of(make_summary().iloc[:0], make_quality()))
    assert len(texts) == 1
    assert "kernel divisible by the stride" in texts[0]
    assert "unevenness of variance" in texts[0]
    assert "ripple of a constant input" in texts[0]


@pytest.mark.parametrize(
    "quality",
    [
        pytest.param(make_quality(("nearest_conv",)), id="no transposed"),
        pytest.param(make_quality(kernels=(2, 4), scales=(2,)), id="all divisible"),
        pytest.param(make_quality().assign(noise_gain_cv=np.nan, phase_ripple=np.nan), id="no numbers"),
    ],
)
def test_the_rule_is_not_judged_without_both_sides(quality: pd.DataFrame) -> None:
    assert describe_findings(tables_of(make_summary().iloc[:0], quality)) == []


def test_precision_is_told() -> None:
    last = describe_findings(tables_of(make_summary()))[-1]
    assert last.startswith("2 of 94 measured cases are marked noisy; half of the 95\u00a0% intervals")
    summary = make_summary().assign(latency_ci_low_s=np.nan, latency_ci_high_s=np.nan)
    assert describe_findings(tables_of(summary))[-1] == (
        "2 of 94 measured cases are marked noisy; none has an interval, which takes at least two replicates."
    )


def test_an_empty_run_has_no_findings() -> None:
    assert describe_findings(make_empty_results()) == []


def test_what_takes_far_longer_than_its_arithmetic_says_is_named_with_its_kernel() -> None:
    layers = (("transposed", 3), ("nearest_conv", 3), ("bilinear_conv", 3), ("carafe", None), ("dysample", None))
    summary = make_summary(layers, (32,), ("forward",))
    summary["kernel"] = "convolution jit:avx2"
    summary["macs"] = 10**6
    summary["latency_s"] = [1e-3, 1.1e-3, 1.2e-3, 2e-2, 5e-3]
    summary.loc[summary["upsampler"] == "carafe", "kernel"] = "aten::copy_"
    (sentence,) = [s for s in describe_findings(tables_of(summary)) if "multiply-accumulate" in s]
    assert sentence == (
        "Forward, cpu, input 32×32: for each multiply-accumulate, beside the middle layer, carafe s2 takes 16.7"
        " times as long (aten::copy_); dysample s2 takes 4.2 times as long (convolution jit:avx2); in brackets"
        " what most of the time is spent in."
    )
    # runs of before have no kernels, and nothing is explained
    assert not any("bracket" in s for s in describe_findings(tables_of(summary.assign(kernel=None))))


def test_types_that_the_cpu_has_not_are_said() -> None:
    summary = make_summary((("transposed", 3), ("nearest_conv", 3)), (32,), ("forward",))
    summary["dtype"] = ["float32", "bfloat16"]
    assert not any("float32:" in sentence for sentence in describe_findings(tables_of(summary)))
    summary["kernel"] = ["convolution ref", "convolution ref; computed in float32: this CPU has no bfloat16"]
    (sentence,) = [s for s in describe_findings(tables_of(summary)) if "float32:" in s]
    assert sentence == "This CPU computes bfloat16 in float32: latencies in it say little of a CPU that has it."
