"""The data of the charts."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from deconvbench.analysis.tradeoff import join_tradeoff
from deconvbench.records.metrics import METRICS
from deconvbench.report import interactive
from deconvbench.report.interactive import describe_charts, name_kind
from deconvbench.tables.table import summarise_quality
from tests.plots.made_tables import add_trained, make_layer_quality, make_summary

LAYERS = (("transposed", 3), ("nearest_conv", 3), ("nearest_conv_fast", 3), ("mine", 3))


def describe(summary: pd.DataFrame) -> dict[str, Any]:
    found = describe_charts(summary, summarise_quality(add_trained(make_layer_quality(LAYERS))))
    assert found is not None
    return found


def test_every_timed_case_is_there_with_its_numbers_and_place() -> None:
    summary = make_summary(LAYERS, (16, 64))
    charts = describe(summary)
    timed = summary[summary["latency_s"].notna()]
    assert [case["id"] for case in charts["cases"]] == list(timed["case_id"])
    first, row = charts["cases"][0], timed.iloc[0]
    assert first["latency"][:3] == [row["latency_s"], row["latency_ci_low_s"], row["latency_ci_high_s"]]
    assert "(95 %:" in first["latency"][3]
    values = charts["settings"][first["setting"]]["values"]
    assert dict(zip((field["key"] for field in charts["fields"]), values, strict=True)) == {
        "device": "cpu", "size": "16×16", "channels": "64 → 32", "step": "forward", "dtype": "float32",
    }  # fmt: skip
    kinds = {layer["name"].partition(" ")[0]: layer["kind"] for layer in charts["layers"]}
    assert kinds == {"transposed": "today", "nearest_conv": "other", "nearest_conv_fast": "fast", "mine": "own"}


@pytest.mark.parametrize("metric", ["phase_ripple", "noise_gain_cv", "trained_psnr_db"])
def test_the_frontier_is_that_of_the_tradeoff(metric: str) -> None:
    summary = make_summary(LAYERS, (16, 64))
    quality = summarise_quality(add_trained(make_layer_quality(LAYERS)))
    charts = describe(summary)
    index = [each["key"] for each in charts["metrics"]].index(metric)
    joined = join_tradeoff(summary, metric, quality_table=quality)
    expected = set(joined.loc[joined["on_frontier"], "case_id"])
    assert {case["id"] for case in charts["cases"] if index in case["frontier"]} == expected


def test_it_begins_where_the_answer_is_and_after_training_where_layers_were_trained() -> None:
    charts = describe(make_summary(LAYERS, (16, 64)))
    assert charts["settings"][charts["start"]["setting"]]["values"][1] == "64×64"
    assert charts["start"]["metric"] == "trained_checkerboard_levels"
    untrained = describe_charts(make_summary(LAYERS, (16,)), summarise_quality(make_layer_quality(LAYERS)))
    assert untrained is not None
    assert untrained["start"]["metric"] == "phase_ripple"


def test_a_checkerboard_below_0_is_none() -> None:
    charts = describe(make_summary(LAYERS, (16,)))
    index = [each["key"] for each in charts["metrics"]].index("checkerboard")
    values = [charts["qualities"][case["quality"]][index] for case in charts["cases"]]
    assert min(value[0] for value in values) == 0
    assert max(value[0] for value in values) > 0.5


def test_each_title_states_a_finding_with_numbers() -> None:
    charts = describe(make_summary(LAYERS, (16,), ("forward",)))
    (setting,) = charts["settings"]
    titles = setting["titles"]
    assert titles["latency"].startswith("nearest_conv k3 s2 takes 2.65 times as long as transposed k3 s2:")
    assert titles["memory"].startswith("Peak memory of a step goes from ")
    assert titles["artifact"]["phase_ripple"].startswith(
        "2 of 4 layers have no phase ripple; transposed k3 s2 has 0.750"
    )
    assert titles["tradeoff"]["phase_ripple"].startswith("2 of 4 layers are not beaten in both latency and phase")
    assert "dB" in titles["artifact"]["trained_psnr_db"]
    assert {*titles["tradeoff"]} == {each["key"] for each in charts["metrics"]} <= {*METRICS}


def test_one_layer_alone_has_titles_too() -> None:
    summary = make_summary(LAYERS[:1], (16,), ("forward",))
    (setting,) = describe(summary)["settings"]
    assert setting["titles"]["latency"].startswith("transposed k3 s2 takes ")
    assert "is the only layer here with a phase ripple" in setting["titles"]["tradeoff"]["phase_ripple"]


def test_long_names_are_cut_in_sentences() -> None:
    summary = make_summary((("x" * 5000, 3), ("transposed", 3)), (16,), ("forward",))
    titles = str(describe(summary)["settings"])
    assert "x" * 100 not in titles


def test_without_a_timed_case_there_is_nothing_to_draw() -> None:
    quality = summarise_quality(make_layer_quality(LAYERS))
    assert describe_charts(make_summary(LAYERS).iloc[:0], quality) is None
    assert describe_charts(make_summary(LAYERS).assign(latency_s=np.nan), quality) is None


def test_what_does_not_fit_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interactive, "MOST_CASES", 3)
    charts = describe(make_summary(LAYERS, (16,), ("forward",)))
    assert (len(charts["cases"]), charts["leftOut"]) == (3, 1)


def test_kinds_depend_on_the_name_alone() -> None:
    assert [name_kind(name) for name in ("transposed", "nearest_conv_native", "carafe", "mine")] == [
        "today", "fast", "other", "own",
    ]  # fmt: skip
