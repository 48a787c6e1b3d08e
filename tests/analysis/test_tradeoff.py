import math
from typing import Any

import pandas as pd
import pytest

from deconvbench import join_tradeoff as public_join_tradeoff
from deconvbench.analysis.tradeoff import COMPARABLE_FIELDS, QUALITY_COLUMNS, join_tradeoff
from deconvbench.errors import UsageError
from deconvbench.grid.grid import load_preset
from deconvbench.records.case import Case
from deconvbench.records.layers import FAST_UPSAMPLERS, NATIVE_UPSAMPLER
from deconvbench.records.metrics import METRICS
from deconvbench.records.record import AnyRecord, Latency, NumericsRecord, QualityRecord
from deconvbench.records.schema import SUMMARY_DTYPES, TRAINED_COLUMNS
from deconvbench.statistics import mean_interval
from deconvbench.tables.table import build_quality, build_table, summarise
from tests.builders import make_case, make_record
from tests.plots.made_tables import make_summary

Layer = tuple[str, int | None]
OWN_COLUMNS = ("layer", "relative_latency", "on_frontier", "on_frontier_without_fast")


def make_records(case: Case, latency_s: float | None, **changes: Any) -> list[AnyRecord]:
    """One case in two replicates, whose latencies have the given median."""
    latencies: list[Latency | None] = [
        None
        if latency_s is None
        else Latency(
            samples_s=(factor * latency_s,), calls_per_sample=1, first_call_s=1.0, stop_reason="sample_cap"
        )
        for factor in (0.99, 1.01)
    ]
    return [
        make_record(case=case, replicate=index, latency=latency, macs=9, **changes)
        for index, latency in enumerate(latencies)
    ]


def make_quality(layer: Layer, scale_factor: int = 2, seed: int = 0, **metrics: float | None) -> QualityRecord:
    return QualityRecord(
        upsampler=layer[0],
        kernel_size=layer[1],
        scale_factor=scale_factor,
        seed=seed,
        channels=4,
        status="ok",
        metrics=metrics,
    )


def make_table(
    points: dict[Layer, tuple[float | None, float | None]], *, metric: str = "phase_ripple", **case: Any
) -> pd.DataFrame:
    """A table of layers with their latency and a metric, otherwise alike."""
    records: list[AnyRecord] = []
    for layer, (latency_s, ripple) in points.items():
        records += make_records(make_case(upsampler=layer[0], kernel_size=layer[1], **case), latency_s)
        rejection = None if ripple is None else -10 * ripple
        metrics: dict[str, Any] = {metric: ripple, "image_rejection_db": rejection}
        records.append(make_quality(layer, **metrics))
    return build_table(records)


POINTS: dict[Layer, tuple[float | None, float | None]] = {
    ("bilinear", None): (8.0, None),
    ("bilinear_conv", 3): (5.0, 0.0),
    ("nearest_conv", 3): (4.0, 0.0),
    ("transposed", 3): (2.0, 0.75),
    ("transposed", 4): (2.5, 0.5),
    ("transposed", 5): (3.0, 0.75),
}


def test_join_tradeoff_is_public() -> None:
    assert public_join_tradeoff is join_tradeoff


def test_the_frontier_of_one_group_by_hand() -> None:
    joined = join_tradeoff(make_table(POINTS)).set_index("layer")
    assert joined["on_frontier"].to_dict() == {
        "bilinear s2": False,  # no ripple known
        "bilinear_conv k3 s2": False,
        "nearest_conv k3 s2": True,
        "transposed k3 s2": True,
        "transposed k4 s2": True,
        "transposed k5 s2": False,
    }
    assert joined["relative_latency"].tolist() == pytest.approx([4.0, 2.5, 2.0, 1.0, 1.25, 1.5])
    assert joined["latency_s"].tolist() == pytest.approx([8.0, 5.0, 4.0, 2.0, 2.5, 3.0])
    assert joined["macs"].tolist() == [9] * 6


def test_a_table_and_its_summary_give_the_same() -> None:
    table = make_table(POINTS)
    pd.testing.assert_frame_equal(join_tradeoff(table), join_tradeoff(summarise(table)))


def test_columns_are_those_of_the_summary_and_four_more() -> None:
    joined = join_tradeoff(make_table(POINTS))
    assert list(joined.columns) == [*SUMMARY_DTYPES, *OWN_COLUMNS]
    assert joined["on_frontier"].dtype == bool


def test_the_frame_given_is_left_alone() -> None:
    summary = summarise(make_table(POINTS))
    before = summary.copy()
    join_tradeoff(summary)
    pd.testing.assert_frame_equal(summary, before)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("scale_factor", (2, 4)),
        ("in_channels", (4, 8)),
        ("out_channels", (2, 8)),
        ("height", (8, 16)),
        ("width", (8, 16)),
        ("batch", (1, 2)),
        ("dtype", ("float32", "bfloat16")),
        ("memory_format", ("contiguous", "channels_last")),
        ("step", ("forward", "train")),
        ("device", ("cpu", "cuda")),
        ("threads", (1, 2)),
        ("execution", ("eager", "compile")),
    ],
)
def test_cases_that_differ_in_more_than_the_layer_do_not_compete(field: str, values: tuple[Any, Any]) -> None:
    cheap, dear = (make_case(**{field: value}) for value in values)
    ripples = [make_quality(("nearest_conv", 3), scale, phase_ripple=0.5) for scale in (2, 4)]
    joined = join_tradeoff(build_table([*make_records(cheap, 1.0), *make_records(dear, 7.0), *ripples]))
    assert joined["on_frontier"].tolist() == [True, True]
    assert joined["relative_latency"].tolist() == [1.0, 1.0]


def test_every_field_but_the_layer_is_compared() -> None:
    assert {*COMPARABLE_FIELDS} == {*Case.__dataclass_fields__} - {"upsampler", "kernel_size"}


def test_machines_and_runs_do_not_compete() -> None:
    layers = [make_case(upsampler=name) for name in ("nearest_conv", "transposed")]
    records: list[AnyRecord] = [make_quality((case.upsampler, 3), phase_ripple=0.5) for case in layers]
    for case, latency_s, machine in zip(layers, (1.0, 2.0), ("old", "new"), strict=True):
        records += make_records(case, latency_s, machine_id=machine)
    assert join_tradeoff(build_table(records))["on_frontier"].tolist() == [True, True]
    tables = [make_table(POINTS), make_table(dict.fromkeys(POINTS, (9.0, 0.75)))]
    for name, table in zip(("a", "b"), tables, strict=True):
        table.insert(0, "run", name)
    joined = join_tradeoff(pd.concat(tables, ignore_index=True))
    assert joined.groupby("run")["on_frontier"].sum().to_dict() == {"a": 3, "b": 6}
    assert joined.groupby("run")["relative_latency"].min().to_dict() == {"a": 1.0, "b": 1.0}


def test_only_what_was_measured_takes_part() -> None:
    records = make_records(make_case(kernel_size=2), 1.0, status="oom", message="boom")
    records += make_records(make_case(kernel_size=4), None)
    records += make_records(make_case(kernel_size=3), 5.0)
    joined = join_tradeoff(build_table(records))
    assert joined["layer"].tolist() == ["nearest_conv k3 s2"]
    assert joined["relative_latency"].tolist() == [1.0]
    assert joined.index.tolist() == [0]


def test_one_zero_is_no_better_than_another() -> None:
    points: dict[Layer, tuple[float | None, float | None]] = {
        ("nearest_conv", 3): (4.0, 3e-32),
        ("subpixel_icnr", 3): (5.0, 2e-33),
        ("conv_nearest", 3): (6.0, 0.0),
    }
    joined = join_tradeoff(make_table(points)).set_index("upsampler")
    assert joined["on_frontier"].to_dict() == {"conv_nearest": False, "nearest_conv": True, "subpixel_icnr": False}
    assert joined["phase_ripple"].to_dict() == {layer[0]: ripple for layer, (_, ripple) in points.items()}


def test_numerical_errors_below_that_are_compared_as_they_are() -> None:
    records: list[AnyRecord] = []
    for name, latency_s, error in (("nearest_conv", 1.0, 3e-16), ("transposed", 2.0, 1e-16)):
        records += make_records(make_case(upsampler=name, dtype="float64"), latency_s)
        records.append(
            NumericsRecord(
                upsampler=name, kernel_size=3, scale_factor=2, in_channels=4, out_channels=2, dtype="float64",
                device="cpu", status="ok", numerical_error=error,
            )
        )  # fmt: skip
    assert join_tradeoff(build_table(records), quality="numerical_error")["on_frontier"].tolist() == [True, True]


@pytest.mark.parametrize("quality", QUALITY_COLUMNS)
def test_every_metric_can_be_the_quality(quality: str) -> None:
    summary = summarise(make_table(POINTS))
    summary[quality] = [math.nan, 3.0, 2.0, -1.0, 5.0, 6.0]
    best = [False, False, False, True, False, False]
    if METRICS[quality].best == "high":
        summary[quality] *= -1
    assert join_tradeoff(summary, quality=quality)["on_frontier"].tolist() == best


def test_a_checkerboard_below_zero_is_no_better_than_none() -> None:
    points: dict[Layer, tuple[float | None, float | None]] = {
        ("carafe", None): (2.0, 0.02),
        ("nearest_conv", 3): (3.0, -0.001),
        ("bilinear_conv", 3): (4.0, -0.03),
        ("transposed", 3): (1.0, 0.6),
        ("sinc_conv", 3): (5.0, 0.0),
    }
    joined = join_tradeoff(make_table(points, metric="checkerboard"), quality="checkerboard")
    assert set(joined[joined["on_frontier"]]["upsampler"]) == {"transposed", "carafe", "nearest_conv"}
    assert joined["checkerboard"].min() == -0.03


def test_the_interval_over_seeds_is_joined_where_the_quality_table_is_at_hand() -> None:
    records: list[AnyRecord] = []
    for layer, ripples in {("transposed", 3): (0.7, 0.8), ("bilinear", None): (0.1, 0.3)}.items():
        records += make_records(make_case(upsampler=layer[0], kernel_size=layer[1]), 1.0)
        records += [make_quality(layer, seed=seed, phase_ripple=ripple) for seed, ripple in enumerate(ripples)]
    records += make_records(make_case(upsampler="carafe", kernel_size=None), 2.0)
    table, quality = build_table(records), build_quality(records)
    joined = join_tradeoff(table, quality_table=quality).set_index("upsampler")
    low, high = joined["phase_ripple_ci_low"].to_dict(), joined["phase_ripple_ci_high"].to_dict()
    assert (low["transposed"], high["transposed"]) == pytest.approx(mean_interval((0.7, 0.8))[1:])
    assert (low["bilinear"], high["bilinear"]) == pytest.approx((0.0, mean_interval((0.1, 0.3))[2]))
    assert math.isnan(low["carafe"])
    assert math.isnan(high["carafe"])
    plain = join_tradeoff(table)
    pd.testing.assert_frame_equal(join_tradeoff(table, quality_table=quality)[list(plain.columns)], plain)


def test_a_metric_without_seeds_has_no_interval() -> None:
    table = make_table(POINTS)
    joined = join_tradeoff(table, quality="numerical_error", quality_table=build_quality([]))
    assert joined[["numerical_error_ci_low", "numerical_error_ci_high"]].isna().all(axis=None)
    assert len(joined) == len(POINTS)


def make_trained_quality() -> tuple[pd.DataFrame, pd.DataFrame]:
    """A table, and the quality table of its layers after training with two seeds."""
    trained: dict[Layer, tuple[float, float]] = {
        ("transposed", 3): (2.0, 25.0),
        ("transposed", 4): (1.0, 25.0),
        ("nearest_conv", 3): (-0.25, 26.5),
        ("bilinear_conv", 3): (0.25, 27.0),
        ("bilinear", None): (0.0, 20.0),
    }
    quality = build_quality(
        [make_quality(layer, seed=seed, phase_ripple=0.5) for layer in trained for seed in (0, 1)]
    )
    for index, row in quality.iterrows():
        levels, psnr_db = trained[row["upsampler"], None if pd.isna(row["kernel_size"]) else row["kernel_size"]]
        quality.loc[index, "trained_checkerboard_levels"] = levels + row["seed"] / 2 - 0.25
        quality.loc[index, "trained_psnr_db"] = psnr_db + row["seed"] - 0.5
    return make_table(POINTS), quality


def test_trained_quality_is_joined_from_the_quality_table() -> None:
    table, quality = make_trained_quality()
    joined = join_tradeoff(table, quality="trained_checkerboard_levels", quality_table=quality)
    ends = ("trained_checkerboard_levels_ci_low", "trained_checkerboard_levels_ci_high")
    own = [*SUMMARY_DTYPES, "trained_checkerboard_levels", *OWN_COLUMNS, *ends]
    assert list(joined) == own
    rows = joined.set_index("layer")
    assert rows["trained_checkerboard_levels"].to_dict() == pytest.approx(
        {
            "bilinear s2": 0.0, "bilinear_conv k3 s2": 0.25, "nearest_conv k3 s2": -0.25, "transposed k3 s2": 2.0,
            "transposed k4 s2": 1.0, "transposed k5 s2": math.nan,
        }, nan_ok=True,
    )  # fmt: skip
    # below 0 there is none, so what is at 0 and slower is no better; what was not trained dominates nothing
    assert set(rows[rows["on_frontier"]].index) == {"transposed k3 s2", "transposed k4 s2", "nearest_conv k3 s2"}
    found = [rows[end]["transposed k3 s2"] for end in ends]
    assert found == pytest.approx(mean_interval((1.75, 2.25))[1:])


def test_high_is_best_after_training() -> None:
    table, quality = make_trained_quality()
    rows = join_tradeoff(summarise(table), quality="trained_psnr_db", quality_table=quality).set_index("layer")
    # of two that are as good, the cheaper; and the dearest of these is the best of all
    assert set(rows[rows["on_frontier"]].index) == {
        "transposed k3 s2",
        "nearest_conv k3 s2",
        "bilinear_conv k3 s2",
    }
    assert rows.loc["bilinear_conv k3 s2", "trained_psnr_db"] == 27.0


@pytest.mark.parametrize("quality", TRAINED_COLUMNS)
def test_trained_quality_needs_the_quality_table(quality: str) -> None:
    with pytest.raises(UsageError, match=f"^df: lacks the column {quality}; give the quality_table that has it$"):
        join_tradeoff(make_table(POINTS), quality=quality)


def test_a_metric_of_the_table_is_taken_from_there() -> None:
    table, quality = make_trained_quality()
    joined = join_tradeoff(table, quality_table=quality.assign(phase_ripple=9.0))
    assert 9.0 not in joined["phase_ripple"].tolist()


def test_low_is_best_in_decibels_too() -> None:
    joined = join_tradeoff(make_table(POINTS), quality="image_rejection_db")
    best = joined.loc[joined["image_rejection_db"] == joined["image_rejection_db"].min()]
    assert joined[joined["on_frontier"]]["layer"].tolist() == ["transposed k3 s2"]
    assert "transposed k3 s2" in best["layer"].tolist()


def test_nothing_measured_gives_an_empty_frame() -> None:
    for table in (build_table([]), build_table([make_record(status="crashed", message="x")])):
        joined = join_tradeoff(table)
        assert joined.empty
        assert {"layer", "relative_latency", "on_frontier"} <= {*joined.columns}


def test_an_unknown_quality_lists_the_known_ones() -> None:
    allowed = "overlap_cv, phase_ripple, noise_gain_cv, image_rejection_db, border_error"
    allowed += ", flat_field_ripple, checkerboard, numerical_error, trained_checkerboard_levels, trained_psnr_db"
    allowed += ", trained_ssim"
    with pytest.raises(UsageError, match=f"^quality: 'sharpness' is not one of {allowed}$"):
        join_tradeoff(make_table(POINTS), quality="sharpness")


def test_a_frame_that_is_neither_table_nor_summary_is_refused() -> None:
    with pytest.raises(UsageError, match="^table: lacks the columns case_id, upsampler"):
        join_tradeoff(pd.DataFrame({"a": [1]}))
    summary = summarise(make_table(POINTS))
    with pytest.raises(UsageError, match="^df: lacks the column threads$"):
        join_tradeoff(summary.drop(columns="threads"))
    with pytest.raises(UsageError, match="^df: lacks the columns status, phase_ripple$"):
        join_tradeoff(summary.drop(columns=["phase_ripple", "status"]))


def test_the_frontier_without_the_fast_forms_is_marked_too() -> None:
    layers = (("transposed", 3), ("nearest_conv", 3), ("nearest_conv_fast", 3))
    joined = join_tradeoff(make_summary(layers, (16,), ("forward",))).set_index("upsampler")
    assert joined["on_frontier"].to_dict() == {
        "transposed": True,
        "nearest_conv": False,
        "nearest_conv_fast": True,
    }
    assert joined["on_frontier_without_fast"].to_dict() == {
        "transposed": True,
        "nearest_conv": True,
        "nearest_conv_fast": False,
    }


def test_the_fast_forms_are_those_of_the_registry() -> None:
    speedup = load_preset("fast").speedup
    assert speedup is not None
    # the compiled form is what the tiled one is there, where it was built
    assert (*speedup.twins, NATIVE_UPSAMPLER) == FAST_UPSAMPLERS
