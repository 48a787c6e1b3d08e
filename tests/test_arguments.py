# ruff: noqa: E501 -- a misuse is a line
"""Arguments of the public interface: what is wrong is one `UsageError` that names the argument."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import deconvbench
from deconvbench.analysis.comparison_input import make_side
from deconvbench.arguments import check_callable, check_kind, check_whole, is_number
from deconvbench.errors import UsageError
from deconvbench.measure import artifacts
from deconvbench.plots import draw_artifact_maps, draw_latency, draw_memory, draw_speedups, draw_tradeoff
from deconvbench.records.schema import QUALITY_DTYPES, SUMMARY_DTYPES, TABLE_DTYPES
from deconvbench.tables.frames import make_frame

TABLE = make_frame([], TABLE_DTYPES)
SUMMARY = make_frame([], SUMMARY_DTYPES)
QUALITY = make_frame([], QUALITY_DTYPES)
NOT_NUMBERS = SUMMARY.astype({"latency_s": "str"}).reindex(range(1)).assign(latency_s="fast")
AXES = {"upsampler": ("subpixel",), "kernel_size": (3,), "scale_factor": (2,), "in_channels": (4,), "height": (8,)}
CASE: dict[str, Any] = {
    "upsampler": "subpixel", "kernel_size": 3, "scale_factor": 2,
    "in_channels": 4, "out_channels": 4, "height": 8, "width": 8,
}  # fmt: skip
LAYER = nn.Conv2d(1, 1, 3)
TAPS = torch.zeros(1, 1, 4, 4)

MISUSES: list[tuple[Callable[[], Any], str]] = [
    (lambda: deconvbench.run("smoke", out=3), "out: 3 is not the path"),  # type: ignore[arg-type]
    (lambda: deconvbench.run("smoke", out=b"dir"), "out: b'dir' is not the path"),  # type: ignore[arg-type]
    (lambda: deconvbench.run("smoke", out="a\0b"), r"out: 'a\\x00b' has a NUL"),
    (lambda: deconvbench.run("smoke", seed="x"), "seed: 'x' is not a whole number"),  # type: ignore[arg-type]
    (lambda: deconvbench.run("smoke", seed=1.5), "seed: 1.5 is not a whole number"),  # type: ignore[arg-type]
    (lambda: deconvbench.run("smoke", seed=True), "seed: True is not a whole number"),
    (lambda: deconvbench.run("smoke", seed=-1), "seed: -1 is not a whole number of at least 0"),
    (lambda: deconvbench.run("smoke", seed=2**64), "seed: 18446744073709551616 is too large"),
    (lambda: deconvbench.run("smoke", keyword=3), "keyword: 3 is not text"),  # type: ignore[arg-type]
    (lambda: deconvbench.run("smoke", observer="print"), "observer: 'print' cannot be called"),  # type: ignore[arg-type]
    (lambda: deconvbench.run("smok"), "grid: 'smok' is not one of smoke, .*did you mean 'smoke'"),
    (lambda: deconvbench.run(3), "grid: 3 is not one of"),  # type: ignore[arg-type]
    (lambda: deconvbench.run(["smoke"]), r"grid: \['smoke'\] is not one of"),  # type: ignore[arg-type]
    (lambda: deconvbench.run("none.toml"), "cannot read 'none.toml'"),
    (lambda: deconvbench.load(None), "run: None is not a run folder"),  # type: ignore[arg-type]
    (lambda: deconvbench.load(3), "run: 3 is not a run folder"),  # type: ignore[arg-type]
    (lambda: deconvbench.load([3]), "run: 3 is not the path"),  # type: ignore[list-item]
    (lambda: deconvbench.load([]), r"run: \[\] is not a list"),
    (lambda: deconvbench.load("a\0b"), r"run: 'a\\x00b' has a NUL"),
    (lambda: deconvbench.load("x" * 5000), "run: 'xxx.* cannot be a path"),
    (lambda: deconvbench.compare(3, TABLE), "a: 3 is not a run folder"),  # type: ignore[arg-type]
    (lambda: deconvbench.compare(TABLE, None), "b: None is not a run folder"),  # type: ignore[arg-type]
    (lambda: deconvbench.compare("x" * 5000, TABLE), "a: 'xxx.* cannot be a path"),
    (lambda: deconvbench.compare(TABLE.drop(columns="status"), TABLE), "BASE: lacks the column status"),
    (lambda: deconvbench.compare(TABLE, TABLE[["case_id"]]), "NEW: lacks the columns replicate, "),
    (lambda: deconvbench.compare(TABLE, TABLE, margin="5%"), "margin: '5%' is not a share"),  # type: ignore[arg-type]
    (lambda: deconvbench.compare(TABLE, TABLE, level="high"), "level: 'high' is not"),  # type: ignore[arg-type]
    (lambda: deconvbench.join_tradeoff(3), "df: 3 is not a DataFrame"),  # type: ignore[arg-type]
    (lambda: deconvbench.join_tradeoff(SUMMARY.drop(columns="height")), "df: lacks the column height"),
    (lambda: deconvbench.join_tradeoff(TABLE[["case_id"]]), "table: lacks the columns"),
    (lambda: deconvbench.join_tradeoff(NOT_NUMBERS), "df: the column latency_s does not hold numbers"),
    (lambda: deconvbench.join_tradeoff(SUMMARY, quality="ripple"), "quality: 'ripple' is not one of"),
    (lambda: deconvbench.join_tradeoff(SUMMARY, quality=3), "quality: 3 is not one of"),  # type: ignore[arg-type]
    (lambda: deconvbench.join_tradeoff(SUMMARY, quality_table=3), "quality_table: 3 is not"),  # type: ignore[arg-type]
    (lambda: deconvbench.join_tradeoff(SUMMARY, quality_table=SUMMARY[["status"]]), "quality_table: lacks"),
    (lambda: draw_latency(SUMMARY.drop(columns="latency_ci_low_s").reindex([0])), "summary: "),
    (lambda: draw_latency(SUMMARY[["status"]]), "summary: lacks the columns upsampler"),
    (lambda: draw_latency("summary.csv"), "summary: 'summary.csv' is not a DataFrame"),  # type: ignore[arg-type]
    (lambda: draw_memory(SUMMARY.drop(columns="peak_memory_bytes")), "summary: lacks the column peak_memory_bytes"),
    (lambda: draw_tradeoff(SUMMARY.drop(columns="upsampler")), "summary: lacks the column upsampler"),
    (lambda: draw_artifact_maps(QUALITY.drop(columns="kernel_size")), "quality: lacks the column kernel_size"),
    (lambda: draw_speedups(SUMMARY, SUMMARY), "speedups: lacks the columns"),
    (lambda: make_side(pd.concat([TABLE, TABLE[["status"]]], axis=1), "mine"), "mine: has the column status more"),
    (lambda: deconvbench.register_upsampler(3), "upsampler: 3 is not a name"),  # type: ignore[arg-type]
    (lambda: deconvbench.register_upsampler("mine", macs=3), "macs is 3, not a function"),  # type: ignore[arg-type]
    (lambda: deconvbench.build_upsampler(3, 1, 1, 3, 2), "upsampler: 3 is not the name"),  # type: ignore[arg-type]
    (lambda: deconvbench.build_upsampler("subpixel", "1", 1, 3, 2), "in_channels: '1' is not"),  # type: ignore[arg-type]
    (lambda: deconvbench.Case(**{**CASE, "height": "8"}), "height: '8' is not a whole number"),
    (lambda: deconvbench.Case(**{**CASE, "dtype": ["float32"]}), r"dtype: \['float32'\] is not one of"),
    (lambda: deconvbench.Case.from_id(3), "case id: 3 is not of the form"),  # type: ignore[arg-type]
    (lambda: deconvbench.Grid(name="g", source="s", axes=3), "s: axes: 3 is not a table"),  # type: ignore[arg-type]
    (lambda: deconvbench.Grid(name="g", source="s", axes={**AXES, "height": ("8",)}), "s: axes.height: '8' is not"),
    (lambda: deconvbench.Grid(name=3, source="s", axes=AXES), "s: name: 3 is not text"),  # type: ignore[arg-type]
    (lambda: deconvbench.Grid(name="g", source="s", axes=AXES, replicates=0), "s: replicates: 0 is not"),
    (lambda: deconvbench.Grid(name="g", source="s", axes=AXES, speedup=3), "s: speedup: 3 is not"),  # type: ignore[arg-type]
    (lambda: deconvbench.Grid.from_dict([], "s"), r"s: \[\] is not a table"),  # type: ignore[arg-type]
    (lambda: artifacts.checkerboard([[1.0]]), "image: a list is neither"),  # type: ignore[arg-type]
    (lambda: artifacts.flat_field_ripple(3, 1, 2), "network: 3 is not a module"),  # type: ignore[arg-type]
    (lambda: artifacts.flat_field_ripple(LAYER, 1, 2.0), "period: 2.0 is not"),  # type: ignore[arg-type]
    (lambda: artifacts.flat_field_ripple(LAYER, 1, 2, generator=3), "generator: 3 is not"),  # type: ignore[arg-type]
    (lambda: artifacts.gradient_phase_means("conv", 1, 2), "layer: 'conv' is not a module"),  # type: ignore[arg-type]
    (lambda: artifacts.gradient_overlap_cv(LAYER, 1, 0), "period: 0 is not"),
    (lambda: artifacts.impulse_response(TAPS, 1, 2), "layer: .* is not a module"),  # type: ignore[arg-type]
    (lambda: artifacts.impulse_response(LAYER, None, 2), "in_channels: None is not"),  # type: ignore[arg-type]
    (lambda: artifacts.overlap_cv(LAYER, 1, "2"), "scale_factor: '2' is not"),  # type: ignore[arg-type]
    (lambda: artifacts.phase_ripple(TAPS, 0), "scale_factor: 0 is not"),
    (lambda: artifacts.phase_gains([[1.0]], 1), r"taps: \[\[1.0\]\] is not a tensor"),  # type: ignore[arg-type]
    (lambda: artifacts.split_phases(TAPS, 1.5), "scale_factor: 1.5 is not"),  # type: ignore[arg-type]
    (lambda: artifacts.noise_gain_cv(None, 2), "taps: None is not a tensor"),  # type: ignore[arg-type]
    (lambda: artifacts.image_rejection_db(TAPS, 2, "0.1"), "frequency: '0.1' is not"),  # type: ignore[arg-type]
    (lambda: artifacts.border_error(np.zeros((1, 1, 8, 8)), 2), "output: .* is not a tensor"),  # type: ignore[arg-type]
]  # fmt: skip


@pytest.mark.parametrize(("misuse", "said"), MISUSES, ids=[said[:50] for _, said in MISUSES])
def test_a_misuse_is_one_line_that_names_the_argument(
    misuse: Callable[[], Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=said) as caught:
        misuse()
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "value", [3, np.int64(3), np.uint8(3), torch.tensor(3)], ids=["int", "int64", "uint8", "tensor"]
)
def test_whole_numbers_of_others_become_pythons(value: object) -> None:
    found = check_whole("n", value, 1, 3)
    assert (type(found), found) == (int, 3)


@pytest.mark.parametrize(
    "value",
    [True, 3.0, np.float64(3), "3", None, [3], np.array([3, 4]), 0, -1],
    ids=["bool", "float", "float64", "text", "None", "list", "array", "0", "-1"],
)
def test_what_is_not_a_whole_number_is_refused(value: object) -> None:
    with pytest.raises(UsageError, match="n: .* is not a whole number of at least 1"):
        check_whole("n", value, 1)


def test_kinds_and_calls() -> None:
    assert check_kind("k", "a", str, "text") == "a"
    check_callable("c", print)
    with pytest.raises(UsageError, match="k: 3 is not text"):
        check_kind("k", 3, str, "text")
    with pytest.raises(UsageError, match="c: 3 cannot be called"):
        check_callable("c", 3)
    assert [is_number(value) for value in (1, 1.5, np.float32(1), True, "1", None)] == [True] * 3 + [False] * 3
