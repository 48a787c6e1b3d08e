"""The recommendation: the true optimum under any limits, what each limit costs, and what is not known."""

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deconvbench.analysis.candidates import Candidate
from deconvbench.analysis.recommendation import LIMITS, Recommendation, recommend_layer, satisfies
from deconvbench.analysis.scaling import Quantity
from deconvbench.errors import UsageError
from tests.analysis.made_choices import make_layers, make_quality, make_row, make_summary
from tests.builders import make_case

NAMES = ("transposed", "nearest_conv", "subpixel", "bilinear_conv", "carafe", "mine")
# cheap and dirty, clean and dearer, unknown after training
SUMMARY = make_layers({"transposed": 1.0, "nearest_conv": 2.0, "subpixel": 1.5, "mine": 0.5, "carafe": 4.0})
SUMMARY.loc[SUMMARY["upsampler"].isin(["transposed", "subpixel", "mine"]), "phase_ripple"] = 0.75
SUMMARY.loc[SUMMARY["upsampler"] == "nearest_conv", "peak_memory_bytes"] = 100_000
QUALITY = make_quality(
    transposed={"trained_checkerboard_levels": 1.9, "trained_psnr_db": 15.1},
    nearest_conv={"trained_checkerboard_levels": -0.3, "trained_psnr_db": 14.7},
    subpixel={"trained_checkerboard_levels": 0.4, "trained_psnr_db": 15.4},
    carafe={"trained_checkerboard_levels": 0.1, "trained_psnr_db": 15.2},
)


def ask(summary: pd.DataFrame = SUMMARY, quality: pd.DataFrame = QUALITY, **limits: float) -> Recommendation:
    return recommend_layer(summary, quality, limits=limits)


def name(candidate: Candidate | None) -> str | None:
    return None if candidate is None else candidate.upsampler


@dataclass(frozen=True)
class Made:
    """A layer of a synthetic table; None is what is not known."""

    upsampler: str
    ratio: float | None  # None: it failed
    memory: int | None
    ripple: float | None
    checkerboard: float | None
    psnr: float | None

    def get(self, limit: str) -> float | None:
        found: float | None = getattr(self, limit)
        return found


positive = st.floats(0.0625, 64, width=32)
signed = st.floats(-3, 3, width=32)
made_layers = st.lists(
    st.builds(
        Made,
        upsampler=st.sampled_from(NAMES),
        ratio=st.none() | positive,
        memory=st.none() | st.integers(1, 10),
        ripple=st.none() | st.sampled_from([0.0, 0.25, 0.5, 0.75]),
        checkerboard=st.none() | signed,
        psnr=st.none() | signed,
    ),
    min_size=1,
    max_size=len(NAMES),
    unique_by=lambda made: made.upsampler,
)
bounds = st.fixed_dictionaries(
    {},
    optional={
        "memory": st.integers(1, 10),
        "ripple": st.sampled_from([0.0, 0.25, 0.6]),
        "checkerboard": st.floats(0, 3, width=32),
        "psnr": signed,
    },
)


def find_by_force(layers: list[Made], limits: dict[str, float]) -> list[Made]:
    """Every layer that keeps to every limit, the cheapest first, by its definition."""
    kept = []
    for made in layers:
        if made.ratio is None:
            continue
        for limit, bound in limits.items():
            value = made.get(limit)
            if value is None or (value < bound if limit == "psnr" else value > bound):
                break
        else:
            kept.append(made)
    return sorted(kept, key=lambda made: (made.ratio or 0, f"{made.upsampler} k3 s2"))


@settings(deadline=None, max_examples=25)
@given(made_layers, bounds)
def test_it_is_the_true_optimum_under_any_limits(layers: list[Made], limits: dict[str, float]) -> None:
    rows = [
        make_row(
            make_case(upsampler=made.upsampler),
            made.ratio or 1.0,
            status="error" if made.ratio is None else "ok",
            phase_ripple=made.ripple,
            peak_memory_bytes=made.memory,
        )
        for made in layers
    ]
    known = {
        made.upsampler: {"trained_checkerboard_levels": made.checkerboard, "trained_psnr_db": made.psnr}
        for made in layers
    }
    quality = make_quality(**known)  # type: ignore[arg-type] # None is null
    found = recommend_layer(make_summary(*rows), quality, size=(8, 8), limits=limits)
    expected = [made.upsampler for made in find_by_force(layers, limits)]
    assert [each.upsampler for each in found.fitting] == expected
    assert name(found.chosen) == (expected[0] if expected else None)
    for relaxed in found.relaxed:
        rest = {limit: bound for limit, bound in limits.items() if limit != relaxed.name}
        without = find_by_force(layers, rest)
        assert name(relaxed.chosen) == (without[0].upsampler if without else None)
        if found.chosen is not None:
            # what a limit costs is never a gain
            assert relaxed.speedup is not None
            assert relaxed.speedup >= 1
    assert [limit for limit, _ in found.left] == [n for n in LIMITS if n in limits][: len(found.left)]
    assert not found.left or found.left[-1][1] == len(expected)
    judged = {each.upsampler for each in found.fitting}
    for each in found.unjudged:
        made = next(made for made in layers if made.upsampler == each.upsampler)
        assert each.upsampler not in judged
        assert any(made.get(limit) is None for limit in limits)
    failed = {made.upsampler for made in layers if made.ratio is None}
    assert failed == {each.layer.split()[0] for each in found.missing if each.reason.startswith("error")}


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(positive, st.floats(0.001, 0.3)), min_size=2, max_size=6))
def test_ties_are_the_layers_whose_intervals_reach_the_chosen_one(costs: list[tuple[float, float]]) -> None:
    rows = [
        make_row(make_case(upsampler=n), r, ratio_low=r * (1 - w), ratio_high=r * (1 + w))
        for n, (r, w) in zip(NAMES, costs, strict=False)
    ]
    found = recommend_layer(make_summary(*rows), make_quality())
    assert found.chosen is not None
    top = found.chosen.cost.high
    assert top is not None
    lows = [each.cost.low for each in found.fitting]
    assert len(found.ties) == sum(low is not None and low <= top for low in lows[1:])


def test_without_limits_it_is_the_cheapest_and_a_ripple_is_pointed_out() -> None:
    found = ask()
    assert (name(found.chosen), name(found.cleaner)) == ("mine", "nearest_conv")
    assert found.relaxed == ()
    assert found.case == make_case(upsampler="mine")
    assert name(ask(ripple=0.9).cleaner) is None
    assert name(ask(memory=64000).cleaner) == "carafe"
    # of what is clean nothing is said
    assert ask(make_layers({"nearest_conv": 1.0, "carafe": 2.0})).cleaner is None


def test_each_limit_is_dropped_in_turn() -> None:
    found = ask(checkerboard=0.5, memory=90_000)
    assert name(found.chosen) == "subpixel"
    relaxed = {each.name: (name(each.chosen), each.speedup) for each in found.relaxed}
    assert relaxed == {"memory": ("subpixel", 1.0), "checkerboard": ("mine", pytest.approx(3.0))}
    assert [name(each) for each in found.unjudged] == ["mine"]
    assert found.left == (("memory", 4), ("checkerboard", 2))


def test_no_layer_at_all_says_what_ruled_out_the_last() -> None:
    found = ask(ripple=0, psnr=15.3, checkerboard=1)
    assert (found.chosen, found.case, found.ties) == (None, None, ())
    assert found.left == (("ripple", 2), ("checkerboard", 2), ("psnr", 0))
    assert name(found.nearest) == "carafe"
    assert {each.name: (name(each.chosen), each.speedup) for each in found.relaxed} == {
        "ripple": ("subpixel", None),
        "checkerboard": (None, None),
        "psnr": ("nearest_conv", None),
    }
    unknown = ask(quality=make_quality(), psnr=0)
    assert (unknown.left, unknown.nearest) == ((("psnr", 0),), None)
    assert len(unknown.unjudged) == 5


def test_other_ways_to_run_it_are_compared_by_latency() -> None:
    rows = [
        make_row(make_case(upsampler=n), r, phase_ripple=p) for n, r, p in (("transposed", 1, 0.7), ("mine", 2, 0))
    ]
    for changes, factor in (({"dtype": "bfloat16"}, 0.5), ({"threads": 2}, 3.0), ({"batch": 4}, 0.1)):
        rows += [
            make_row(make_case(upsampler=n, **changes), r, latency_s=factor * 1e-3 * r, phase_ripple=p)
            for n, r, p in (("transposed", 1, 0.7), ("mine", 2, 0))
        ]
    # at another size only: nothing follows from it
    rows.append(make_row(make_case(upsampler="mine", memory_format="channels_last", height=16)))
    found = recommend_layer(make_summary(*rows), make_quality(), size=(8, 8), limits={"ripple": 0})
    assert name(found.chosen) == "mine"
    others = found.relaxed[1:]
    assert [(each.name, each.value, name(each.chosen)) for each in others] == [
        ("dtype", "bfloat16", "mine"),
        ("threads", 2, "mine"),
    ]
    assert [each.speedup for each in others] == pytest.approx([2.0, 1 / 3])
    assert {"dtype", "threads", "batch"} <= {*found.setting.others}


def test_what_has_no_latency_is_compared_with_nothing() -> None:
    # the ratio lies on a line, the latency does not: each call has a fixed share
    rows = [
        make_row(make_case(height=s, width=s, threads=threads), 2.0, latency_s=1e-3 + threads * 1e-6 * s * s)
        for s in (8, 16, 64)
        for threads in (1, 2)
    ]
    for row in rows[1::2]:
        row["latency_s"] = 1e-6 * row["height"] ** 2
    found = recommend_layer(make_summary(*rows), make_quality(), size=(12, 12))
    assert found.chosen is not None
    assert found.chosen.cost.value == pytest.approx(2.0)
    assert found.chosen.latency is None
    assert [(each.name, name(each.chosen), each.speedup) for each in found.relaxed] == [
        ("threads", "nearest_conv", None)
    ]


def test_estimated_memory_must_keep_to_a_limit_with_its_upper_end() -> None:
    candidate = Candidate(
        upsampler="mine",
        kernel_size=3,
        scale_factor=2,
        layer="mine k3 s2",
        cost=Quantity(value=1.0),
        qualities={"memory": Quantity(value=90, low=80, high=110)},
    )
    assert satisfies(candidate, "memory", 100)
    estimated = Candidate(
        **{n: getattr(candidate, n) for n in Candidate.__dataclass_fields__} | {"is_estimated": True}
    )
    assert not satisfies(estimated, "memory", 100)
    assert satisfies(estimated, "memory", 110)
    assert satisfies(estimated, "psnr", 0) is None


BAD: list[tuple[dict[str, Any], str]] = [
    (
        {"limits": {"memry": 1}},
        "limit: 'memry' is not one of memory, ripple, checkerboard, psnr .did you mean 'memory'",
    ),
    ({"limits": {"checkerboard": -1}}, "checkerboard: -1 is not a number from 0 to 255 .8-bit levels"),
    ({"limits": {"memory": True}}, "memory: True is not a number of at least 0 .bytes"),
    ({"limits": {"psnr": math.inf}}, "psnr: inf is not a finite number .dB"),
    ({"limits": {"psnr": 10**400}}, "psnr: 1000.* is not a finite number"),
    ({"limits": {"psnr": "15"}}, "psnr: '15' is not a finite number"),
    ({"limits": {"ripple": math.nan}}, "ripple: nan is not a number from 0 to 1"),
    ({"limits": {"ripple": 1.01}}, "ripple: 1.01 is not a number from 0 to 1 .share of power"),
    ({"limits": {"checkerboard": 256}}, "checkerboard: 256 is not a number from 0 to 255"),
    ({"setting": {"in_channels": 1, "out_channels": 1}}, "channels: 1x1 was not measured; measured is 4x2"),
    ({"setting": {"in_channels": 1}}, "in_channels: 1 was not measured"),
    ({"setting": {"device": "cuda"}}, "device: 'cuda' was not measured"),
    ({"summary": SUMMARY.iloc[:0]}, "run: nothing was measured in it"),
    ({"summary": SUMMARY.drop(columns="latency_s")}, "summary: lacks the column latency_s"),
    ({"summary": 3}, "summary: 3 is not a DataFrame"),
    ({"quality": SUMMARY[["kernel_size"]]}, "quality: lacks the columns upsampler, scale_factor"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_input_is_one_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        recommend_layer(**{"summary": SUMMARY, "quality": QUALITY, **arguments})
    assert "\n" not in str(error.value)
