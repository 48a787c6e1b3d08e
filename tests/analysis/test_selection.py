"""Which settings, sizes and layers a figure shows."""

from typing import Any

import pandas as pd
import pytest

from deconvbench.analysis.selection import (
    EmptyFigureError,
    add_layer_columns,
    at_size,
    choose_layers,
    choose_size,
    describe_common,
    describe_rest,
    name_some,
    select_measured,
    split_panels,
)
from tests.plots.made_tables import SIZES, make_summary


@pytest.fixture
def summary() -> pd.DataFrame:
    return make_summary()


def test_layers_are_named_with_and_without_a_kernel() -> None:
    frame = make_summary((("transposed", 3), ("dysample", None)), (16,), ("forward",))
    named = add_layer_columns(frame)
    assert list(named["layer"]) == ["transposed k3 s2", "dysample s2"]
    assert list(named["size"]) == [16.0, 16.0]


def test_only_ok_cells_with_a_number_are_kept(summary: pd.DataFrame) -> None:
    kept = select_measured(summary, "latency_s")
    assert set(kept["status"]) == {"ok"}
    assert len(kept) == len(summary) - 2


@pytest.mark.parametrize("rows", [0, 5])
def test_nothing_to_draw_is_said(summary: pd.DataFrame, rows: int) -> None:
    failed = summary.head(rows).assign(status="crashed")
    with pytest.raises(EmptyFigureError, match=f"none of its {rows} cases is ok and has a latency_s"):
        select_measured(failed, "latency_s")


def test_panels_name_step_device_and_what_differs() -> None:
    frame = pd.concat([make_summary(threads=t, device=d) for t, d in ((1, "cpu"), (2, "cpu"), (1, "cuda"))])
    panels, left_out = split_panels(frame, 8)
    assert [panel.title for panel in panels] == [
        "forward, cpu, 1 thread",
        "train, cpu, 1 thread",
        "forward, cpu, 2 threads",
        "train, cpu, 2 threads",
        "forward, cuda, 1 thread",
        "train, cuda, 1 thread",
    ]
    assert left_out == 0
    assert sum(len(panel.frame) for panel in panels) == len(frame)


def test_the_settings_nearest_to_the_defaults_are_kept() -> None:
    variants: list[dict[str, Any]] = [{}, {"dtype": "bfloat16"}, {"batch": 8}, {"batch": 8, "dtype": "bfloat16"}]
    frame = pd.concat([make_summary(sizes=(16,), steps=("forward",), **v) for v in variants])
    panels, left_out = split_panels(frame, 2)
    assert left_out == 2
    assert panels[0].title == "forward, cpu, batch 1, float32"


def test_channels_are_named_once() -> None:
    frame = pd.concat([make_summary(sizes=(16,), in_channels=c, out_channels=c // 2) for c in (32, 64)])
    titles = [panel.title for panel in split_panels(frame, 8)[0]]
    assert titles[0] == "forward, cpu, 32 → 16 channels"
    assert len(titles) == 4


def test_one_setting_is_one_panel() -> None:
    panels, left_out = split_panels(make_summary(steps=("forward",)), 3)
    assert [panel.title for panel in panels] == ["forward, cpu"]
    assert left_out == 0


def test_what_all_share_is_said_once(summary: pd.DataFrame) -> None:
    assert describe_common(summary) == "scale ×2, 64 → 32 channels, batch 1, float32, contiguous, 1 thread, eager"
    mixed = pd.concat([summary, make_summary(out_channels=16)])
    assert "channels" not in describe_common(mixed)


def test_the_largest_common_size_is_chosen(summary: pd.DataFrame) -> None:
    measured = select_measured(summary, "latency_s")
    assert choose_size(measured) == (64, 64)
    assert choose_size(measured[measured["step"] == "forward"]) == (max(SIZES), max(SIZES))


def test_an_absent_size_is_said(summary: pd.DataFrame) -> None:
    assert set(at_size(summary, (32, 32))["height"]) == {32}
    with pytest.raises(EmptyFigureError, match="no measured case has 5×7"):
        at_size(summary, (5, 7))


def test_every_upsampler_comes_before_further_kernels(summary: pd.DataFrame) -> None:
    frame = add_layer_columns(summary)
    nine = choose_layers(frame, 9)
    assert nine[0] == "transposed k3 s2"
    assert len({layer.split()[0] for layer in nine}) == 9
    assert choose_layers(frame, 10)[:2] == ["transposed k2 s2", "transposed k3 s2"]
    assert len(choose_layers(frame, 100)) == 12


def test_kept_layers_stay_beyond_the_limit(summary: pd.DataFrame) -> None:
    frame = add_layer_columns(summary)
    assert set(choose_layers(frame, 1, keep=["transposed k5 s2", "subpixel k3 s2"])) == {
        "transposed k5 s2",
        "subpixel k3 s2",
    }


def test_the_rest_is_counted() -> None:
    assert describe_rest(0, "layers") == ""
    assert describe_rest(3, "layers") == " (3 more layers are in the table)"


def test_names_are_sorted_and_many_are_counted() -> None:
    assert name_some(["b", "a"]) == "a, b"
    assert name_some("hgfedcba") == "a, b, c, d, e, f and 2 more"
