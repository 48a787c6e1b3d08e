import math
from dataclasses import replace

import pandas as pd
import pytest

from deconvbench.records.schema import SPEEDUP_DTYPES, SUMMARY_DTYPES
from deconvbench.studies.claims import Context, Verdict
from deconvbench.studies.claims.costs import judge_efficiency, judge_waste, measure_efficiency, measure_waste
from deconvbench.tables.files import Tables
from deconvbench.tables.frames import make_frame
from deconvbench.tables.speedups import build_speedups
from deconvbench.tables.trained import Trained
from tests.made_speedups import make_settings, make_speedup_records
from tests.plots.made_tables import make_summary, make_tables

WITHOUT = Context(tables=None, trained=Trained())
LAYERS = (("transposed", 3), ("transposed", 4), ("nearest_conv", 3), ("zero_insert", 3))


def make_context(summary: pd.DataFrame, speedups: pd.DataFrame | None = None) -> Context:
    tables = make_tables(summary)
    return Context(tables=tables if speedups is None else replace(tables, speedups=speedups), trained=Trained())


def at(summary: pd.DataFrame, upsampler: str, kernel: int, size: int, step: str = "forward") -> "pd.Series[float]":
    rows = summary[
        (summary["upsampler"] == upsampler)
        & (summary["kernel_size"] == kernel)
        & (summary["height"] == size)
        & (summary["step"] == step)
    ]
    (row,) = (rows.iloc[number] for number in range(len(rows)))
    return row


def test_useless_cells_are_counted_as_in_figure_3() -> None:
    evidence = measure_waste(WITHOUT)
    # 4 of 36 cells hold information
    assert evidence["small_padding_waste_share"] == pytest.approx(1 - 4 / 36)
    assert evidence["large_padding_waste_share"] == pytest.approx(1 - 256**2 / 260**2)
    assert evidence["large_zero_insertion_waste_share"] == pytest.approx(1 - 1 / 4, abs=0.005)
    assert not [name for name in evidence if "latency" in name]
    finding = judge_waste(evidence)
    assert finding.verdict is Verdict.PARTLY
    assert finding.sentence.endswith("no run with several sizes has latencies (run: deconvbench run).")


def test_latencies_are_compared_at_the_smallest_and_the_largest_size() -> None:
    summary = make_summary(LAYERS, sizes=(16, 64, 128), steps=("forward",))
    evidence = measure_waste(make_context(summary))
    assert (evidence["smallest_measured_height_px"], evidence["largest_measured_height_px"]) == (16, 128)
    for title, size in (("smallest", 16), ("largest", 128)):
        expected = (
            at(summary, "zero_insert", 3, size)["latency_s"] / at(summary, "transposed", 3, size)["latency_s"]
        )
        assert evidence[f"zero_insert_latency_ratio_{title}"] == pytest.approx(expected)
        assert (evidence[f"zero_insert_latency_ratio_{title}_ci_low"] or 9) < expected
    assert "at heights 16 and 128: zero_insert " in judge_waste(evidence).sentence


def test_only_settings_that_were_measured_at_both_ends_count() -> None:
    both = make_summary(LAYERS, sizes=(16, 128), steps=("forward",))
    # of the other step there is nothing large; its ratio is far off
    lone = make_summary(LAYERS, sizes=(16,), steps=("train",))
    lone.loc[lone["upsampler"] == "zero_insert", "latency_s"] *= 50
    name = "zero_insert_latency_ratio_smallest"
    alone, together = (
        measure_waste(make_context(frame)) for frame in (both, pd.concat([both, lone], ignore_index=True))
    )
    assert together[name] == alone[name]


@pytest.mark.parametrize(
    "summary",
    [
        make_summary(LAYERS, sizes=(64,)),
        make_summary((("transposed", 3), ("bilinear_conv", 3))),
        make_frame([], SUMMARY_DTYPES),
    ],
    ids=["one_size", "other_layers", "empty"],
)
def test_without_two_sizes_there_is_no_latency_to_compare(summary: pd.DataFrame) -> None:
    assert not [name for name in measure_waste(make_context(summary)) if "latency" in name]


def test_costs_are_compared_cell_by_cell() -> None:
    layers = (*LAYERS, ("nearest_conv_fast", 3))
    summary = make_summary(layers, sizes=(16, 64), steps=("forward",))
    evidence = measure_efficiency(make_context(summary))
    for kernel in (3, 4):
        ratios = [
            at(summary, "nearest_conv", 3, size)["latency_s"]
            / at(summary, "transposed", kernel, size)["latency_s"]
            for size in (16, 64)
        ]
        assert evidence[f"latency_ratio_k{kernel}"] == pytest.approx(math.sqrt(ratios[0] * ratios[1]))
        assert evidence[f"latency_ratio_k{kernel}_least"] == pytest.approx(min(ratios))
        assert evidence[f"latency_ratio_k{kernel}_most"] == pytest.approx(max(ratios))
        assert evidence[f"latency_ratio_k{kernel}_cells"] == 2
    assert evidence["macs_ratio_k3"] == pytest.approx(1)
    assert (evidence["fast_latency_ratio_k3"] or 9) < (evidence["latency_ratio_k3"] or 0)
    assert "fast_frozen_latency_ratio_k3" not in evidence
    finding = judge_efficiency(evidence)
    assert "in 2 cases" in finding.sentence
    assert "its exact fast form " in finding.sentence


def test_an_interval_of_the_mean_follows_from_those_of_the_cells() -> None:
    summary = make_summary(LAYERS, sizes=(16, 64), steps=("forward",))
    evidence = measure_efficiency(make_context(summary))
    cell = math.log(1.012 / 0.985) / 2
    half = math.log((evidence["latency_ratio_k3_ci_high"] or 0) / (evidence["latency_ratio_k3"] or 1))
    # two layers in a case, two cases in a mean of two
    assert half == pytest.approx(cell * math.sqrt(4) / 2)
    single = summary.assign(latency_ci_low_s=math.nan, latency_ci_high_s=math.nan)
    evidence = measure_efficiency(make_context(single))
    assert evidence["latency_ratio_k3_ci_low"] is None
    assert judge_efficiency(evidence).verdict is not Verdict.SUPPORTED


def test_what_was_timed_interleaved_counts_too() -> None:
    settings = list(make_settings(shapes=((64, 16),), formats=("contiguous",), threads=(1,), steps=("forward",)))
    speedups = build_speedups(make_speedup_records(settings))
    evidence = measure_efficiency(make_context(make_frame([], SUMMARY_DTYPES), speedups))

    def find(upsampler: str, kernel: int, column: str, *, is_frozen: bool = False) -> float:
        rows = speedups[(speedups["upsampler"] == upsampler) & (speedups["kernel_size"] == kernel)]
        return float(rows[rows["is_frozen"] == is_frozen][column].iloc[0])

    plain = find("transposed", 3, "speedup")
    assert evidence["latency_ratio_k3"] == pytest.approx(plain)
    assert evidence["latency_ratio_k3_cells"] == 1
    assert evidence["fast_latency_ratio_k3"] == pytest.approx(plain / find("nearest_conv_fast", 3, "speedup"))
    frozen = [find(name, 3, "speedup", is_frozen=True) for name in ("transposed", "nearest_conv_fast")]
    assert evidence["fast_frozen_latency_ratio_k3"] == pytest.approx(frozen[0] / frozen[1])
    peaks = [find(name, 3, "peak_memory_bytes") for name in ("nearest_conv", "transposed")]
    assert evidence["memory_ratio_k3"] == pytest.approx(peaks[0] / peaks[1])
    finding = judge_efficiency(evidence)
    assert finding.verdict in (Verdict.REFUTED, Verdict.PARTLY)
    assert "with frozen weights" in finding.sentence


def test_a_cell_that_lacks_one_of_the_layers_is_left_out() -> None:
    summary = make_summary(LAYERS, sizes=(16, 64), steps=("forward",))
    lacking = summary[~((summary["upsampler"] == "transposed") & (summary["height"] == 64))]
    evidence = measure_efficiency(make_context(lacking))
    assert evidence["latency_ratio_k3_cells"] == 1
    failed = summary.assign(status=summary["status"].where(summary["height"] == 16, "oom"))
    assert measure_efficiency(make_context(failed)) == evidence


def test_without_a_run_there_are_no_costs() -> None:
    assert measure_efficiency(WITHOUT) == {}
    empty = Tables(
        table=make_frame([], SUMMARY_DTYPES),
        summary=make_frame([], SUMMARY_DTYPES),
        quality=make_frame([], {}),
        speedups=make_frame([], SPEEDUP_DTYPES),
    )
    assert measure_efficiency(Context(tables=empty, trained=Trained())) == {}


@pytest.mark.parametrize(
    ("fast", "text"),
    [
        ({3: 1.1, 4: 0.8}, "closes the gap"),
        ({3: 1.8, 4: 1.1}, "partly closes the gap"),
        ({3: 1.8, 4: 1.3}, "narrows the gap"),
        ({3: 3.1, 4: 1.3}, "does not narrow the gap"),
    ],
    ids=["closes", "closes_in_part", "narrows", "slower"],
)
def test_what_the_fast_form_does_follows_from_the_numbers(fast: dict[int, float], text: str) -> None:
    evidence: dict[str, float | None] = {}
    for kernel, plain in ((3, 3.0), (4, 2.0)):
        evidence |= {
            f"latency_ratio_k{kernel}": plain,
            f"fast_latency_ratio_k{kernel}": fast[kernel],
            f"fast_latency_ratio_k{kernel}_ci_low": fast[kernel],
            f"fast_latency_ratio_k{kernel}_ci_high": fast[kernel],
        }
    assert text in judge_efficiency(evidence).sentence


def test_latencies_that_were_taken_together_are_compared_by_their_ratios() -> None:
    summary = make_summary((("transposed", 3), ("nearest_conv", 3)), sizes=(64,), steps=("forward",))
    (baseline_id,) = summary[summary["upsampler"] == "transposed"]["case_id"]
    is_baseline = summary["upsampler"] == "transposed"
    together = summary.assign(
        baseline_id=pd.Series([baseline_id] * len(summary), dtype="str"),
        ratio=is_baseline.map({True: 1.0, False: 2.5}),
        ratio_low=is_baseline.map({True: 1.0, False: 2.4}),
        ratio_high=is_baseline.map({True: 1.0, False: 2.6}),
    )
    evidence = measure_efficiency(make_context(together))
    assert evidence["latency_ratio_k3"] == pytest.approx(2.5)
    half = math.sqrt(2.6 / 2.4)
    assert evidence["latency_ratio_k3_ci_low"] == pytest.approx(2.5 / half)
    assert evidence["latency_ratio_k3_cells"] == 1
