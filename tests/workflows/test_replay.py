"""Replaying samples: the clock gives back what was measured, and results are gathered by case."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deconvbench.errors import UnsupportedError
from deconvbench.records.conditions import Conditions
from deconvbench.records.journal import Journal
from deconvbench.records.record import Latency, QualityRecord, Record
from deconvbench.records.schema import ARTIFACT_COLUMNS
from deconvbench.upsamplers import load_upsampler, registry
from deconvbench.workflows.replay import ReplayClock, collect_results, run_once
from tests.builders import make_case, make_record


@given(st.lists(st.floats(1e-7, 10.0), max_size=20))
def test_the_clock_advances_by_what_was_measured(samples: list[float]) -> None:
    clock = ReplayClock()
    clock.load(samples)
    found = []
    for _ in samples:
        started = clock()
        clock.advance()
        found.append(clock() - started)
    assert found == pytest.approx(samples, rel=1e-9, abs=1e-12)
    before = clock()
    clock.advance()  # pytest-benchmark may call the target once more
    assert clock() == before


def make_timed(replicate: int, *samples_s: float) -> Record:
    latency = Latency(samples_s=samples_s, calls_per_sample=1, first_call_s=1.0, stop_reason="precision")
    held = Conditions(huge_pages="never")
    return make_record(
        replicate=replicate, latency=latency, macs=12, machine_id="m", torch_version="2", conditions=held
    )


def test_results_are_gathered_over_replicates(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.append(make_timed(1, 3.0, 5.0))
        journal.append(make_timed(0, 1.0, 2.0, 4.0))
        journal.append(make_record(replicate=2, status="crashed", message="killed by SIGSEGV"))
        journal.append(make_record(case=make_case(height=9), status="oom", message="too large"))
    results = collect_results(tmp_path)
    ok, failed = results["nearest_conv-k3-s2-c4x2-8x8"], results["nearest_conv-k3-s2-c4x2-9x8"]
    assert (ok.status, ok.samples_s) == ("ok", (1.0, 2.0, 4.0, 3.0, 5.0))
    assert ok.extra_info["replicate_latency_s"] == [2.0, 4.0]
    assert ok.extra_info["replicate_floor_s"] == [1.0, 3.0]
    assert (ok.extra_info["macs"], ok.extra_info["peak_memory_bytes"]) == (12.0, None)
    assert (ok.extra_info["conditions"], failed.extra_info["conditions"]) == ("system; huge pages never", "")
    assert (ok.extra_info["machine_id"], ok.extra_info["torch_version"]) == ("m", "2")
    assert (failed.status, failed.message, failed.samples_s) == ("oom", "too large", ())


def test_ratios_go_along_where_all_are_of_one_baseline(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        for replicate in range(3):
            journal.append(
                replace(make_timed(replicate, 1.0), baseline_id="base", ratios=(2.0, 3.0, 2.5 + replicate))
            )
    case = "nearest_conv-k3-s2-c4x2-8x8"
    info = collect_results(tmp_path)[case].extra_info
    assert (info["baseline_id"], info["replicate_ratio"]) == ("base", [2.5, 3.0, 3.0])
    with Journal(tmp_path) as journal:
        journal.append(replace(make_timed(3, 1.0), baseline_id="another", ratios=(2.0,)))
    info = collect_results(tmp_path)[case].extra_info
    assert (info["baseline_id"], info["replicate_ratio"]) == (None, [])


def test_every_artifact_of_the_layer_goes_along(tmp_path: Path) -> None:
    values = {name: 0.5 + number for number, name in enumerate(ARTIFACT_COLUMNS)}
    quality = QualityRecord(
        upsampler="nearest_conv", kernel_size=3, scale_factor=2, seed=0, channels=4, status="ok",
        metrics={**values},
    )  # fmt: skip
    with Journal(tmp_path) as journal:
        journal.append(make_timed(0, 1.0))
        journal.append(quality)
    info = collect_results(tmp_path)["nearest_conv-k3-s2-c4x2-8x8"].extra_info
    assert {name: info[name] for name in ARTIFACT_COLUMNS} == values


def test_one_forward_pass_shows_that_a_case_works(monkeypatch: pytest.MonkeyPatch) -> None:
    output = run_once(make_case(dtype="bfloat16"))
    assert tuple(output.shape) == (1, 2, 16, 16)
    assert math.isfinite(float(output.sum()))
    with pytest.raises(UnsupportedError, match="kernel_size >= scale_factor"):
        run_once(make_case(upsampler="transposed", kernel_size=1))
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    load_upsampler("tests.faulty_upsamplers:WrongSize")
    with pytest.raises(UnsupportedError, match=r"gave shape \(1, 2, 16, 15\), expected \(1, 2, 16, 16\)"):
        run_once(make_case(upsampler="wrongsize"))
