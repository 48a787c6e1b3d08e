"""Recommendations for the sites of a network: the true optimum of each, what is missing, and measuring it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deconvbench.errors import UsageError
from deconvbench.records import sites as kinds
from deconvbench.records.audit import Audit
from deconvbench.records.sites import Site, SiteReport
from deconvbench.report.site_recommendation import format_sites, format_sites_markdown, list_site_rows
from deconvbench.tables.trained import Trained
from deconvbench.workflows.recommendation import Question, Source
from deconvbench.workflows.site_recommendation import make_grid, recommend_for
from tests.analysis.made_choices import make_row, make_summary, write_run
from tests.builders import make_case
from tests.plots.made_tables import make_layer_quality, make_tables
from tests.report.made_audits import HOSTILE, make_audit, make_nearest, make_transposed

NAMES = ("transposed", "nearest_conv", "subpixel_icnr", "bilinear_conv")
SMALL: dict[str, Any] = {
    "in_channels": 4,
    "out_channels": 2,
    "in_shape": (1, 4, 8, 8),
    "out_shape": (1, 2, 16, 16),
}


def make_network(*sites: Site) -> Audit:
    return make_audit(sites=tuple(SiteReport(site=site) for site in sites), findings=(), attributions=())


def make_source(*rows: dict[str, Any]) -> Source:
    # what is known of other layers over seeds would go before the case itself
    tables = make_tables(make_summary(*rows), make_layer_quality((("zero_insert", 3),), spread=0))
    return Source(tables=tables, trained=Trained(), name="made")


@st.composite
def networks(draw: st.DrawFn) -> list[tuple[int, int, int, dict[str, tuple[float, float]]]]:
    """Sites by channels and size, each with layers of a ratio and a ripple."""
    places = draw(
        st.lists(
            st.tuples(st.sampled_from([4, 8]), st.sampled_from([2, 3]), st.sampled_from([8, 16])),
            min_size=1,
            max_size=4,
            unique=True,
        )
    )
    layer = st.tuples(st.floats(0.0625, 16, width=32), st.sampled_from([0.0, 0.5]))
    return [(*place, draw(st.fixed_dictionaries(dict.fromkeys(NAMES, layer)))) for place in places]


@settings(max_examples=40, deadline=None)
@given(networks(), st.sampled_from([None, 0.25, 1.0]))
def test_every_site_gets_its_own_optimum(
    found: list[tuple[int, int, int, dict[str, tuple[float, float]]]], bound: float | None
) -> None:
    rows, sites = [], []
    for number, (inputs, outputs, side, layers) in enumerate(found, 1):
        for name, (ratio, ripple) in layers.items():
            case = make_case(upsampler=name, in_channels=inputs, out_channels=outputs, height=side, width=side)
            rows.append(make_row(case, ratio, phase_ripple=ripple))
        sites.append(
            make_transposed(
                number,
                in_channels=inputs,
                out_channels=outputs,
                in_shape=(1, inputs, side, side),
                out_shape=(1, outputs, 2 * side, 2 * side),
            )
        )
    limits = {} if bound is None else {"ripple": bound}
    answer = recommend_for(make_network(*sites), Question(limits=limits), make_source(*rows))
    for one, (_, _, _, layers) in zip(answer.sites, found, strict=True):
        # without a limit on artifacts there is to be none
        allowed = {name: ratio for name, (ratio, ripple) in layers.items() if ripple <= (bound or 0.0)}
        if not allowed:
            assert one.answer is not None
            assert one.chosen is None
            continue
        assert one.chosen is not None
        assert layers[one.chosen.upsampler][0] == min(allowed.values())
        assert one.speedup == pytest.approx(layers["transposed"][0] / min(allowed.values()))
    assert answer.is_complete == all(one.chosen for one in answer.sites)


RIPPLES = {"transposed": (1.0, 0.75), "nearest_conv": (0.8, 0.0)}


def make_small_source() -> Source:
    return make_source(
        *(make_row(make_case(upsampler=n), ratio, phase_ripple=ripple) for n, (ratio, ripple) in RIPPLES.items())
    )


def test_what_is_no_layer_or_was_not_measured_has_a_reason() -> None:
    other = make_transposed(2, "b", **{**SMALL, "in_channels": 5})
    found = recommend_for(
        make_network(
            make_transposed(1, "a", **SMALL),
            other,
            make_transposed(3, "c", groups=2, **SMALL),
            make_transposed(4, "d", kind=kinds.FOLD, **SMALL),
            make_nearest(5, "e", **SMALL),
        ),
        source=make_small_source(),
        target="pkg:net",
    )
    assert found.limits == {"ripple": 0.0}
    assert not found.is_complete
    first, second, third, fourth, fifth = found.sites
    assert first.chosen is not None
    assert (first.chosen.layer, first.present, first.speedup) == ("nearest_conv k3 s2", "transposed k3 s2", 1.25)
    assert "channels: 5x2 was not measured" in second.reason
    assert second.reason.endswith("--measure does")
    assert "groups" in third.reason
    assert "fold" in fourth.reason
    assert fifth.chosen is not None
    assert fifth.chosen.layer == fifth.present
    text = format_sites(found)
    assert "1. a: transposed convolution k3 s2, ×2, 4 ch 8×8 → 2 ch 16×16\n   Take nearest_conv k3 s2" in text
    assert "   it is what is there" in text
    assert "code for site 1, 5:\n  from torch import nn" in text
    rows = list_site_rows(found)
    json.dumps(rows, allow_nan=False)
    assert [row["chosen"] for row in rows] == ["nearest_conv k3 s2", None, None, None, "nearest_conv k3 s2"]
    comment = format_sites_markdown(found)
    assert comment.startswith("### deconvbench recommend: 5 sites (`pkg:net`)\n")
    assert "| `1. a` | transposed k3 s2 | nearest\\_conv k3 s2 | 1.25 |" in comment


def test_names_of_modules_are_data() -> None:
    found = recommend_for(
        make_network(make_transposed(path=HOSTILE, **SMALL)), source=make_small_source(), target=HOSTILE
    )
    assert "\u202e" not in format_sites(found)
    comment = format_sites_markdown(found)
    assert "<script" not in comment
    assert "[a](" not in comment


def test_a_network_without_sites_is_said_to_be_one() -> None:
    found = recommend_for(make_network(), source=make_small_source())
    assert format_sites(found) == "No upsampling site was found in what was run."
    assert found.is_complete


def test_between_measured_sizes_it_is_estimated(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    site = make_transposed(**{**SMALL, "in_shape": (1, 4, 12, 12)})
    answer = recommend_for(make_network(site), Question(run=run))
    (found,) = answer.sites
    assert "estimated: read off a line through the measured sizes (its ratio: 0." in format_sites(answer)
    assert found.chosen is not None
    assert found.chosen.is_estimated
    (beyond,) = recommend_for(
        make_network(replace(site, in_shape=(1, 4, 64, 64))), Question(run=run, extrapolate=True)
    ).sites
    assert beyond.chosen is not None
    assert beyond.chosen.beyond_factor == 4


def test_a_limit_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="ripple: 2 is not a number from 0 to 1"):
        recommend_for(make_network(), Question(limits={"ripple": 2}))


@pytest.mark.parametrize("scale", [2, 3])
def test_the_candidates_are_those_that_may_stand_in(scale: int) -> None:
    site = make_transposed(scale=(scale, scale), kernel_size=(5, 5), **SMALL)
    grid = make_grid(site, ("transposed", 5), {"scale_factor": scale, "in_channels": 4, "out_channels": 2}, "mine")
    cases = grid.expand()
    layers = {(case.upsampler, case.kernel_size) for case in cases}
    assert {("transposed", 3), ("transposed", 5), ("transposed", scale), ("transposed", 2 * scale)} <= layers
    assert ("nearest_conv_fast", 3) in layers
    assert ("nearest_conv", 5) not in layers
    assert ("transposed_fir" in grid.axes["upsampler"]) == (scale == 2)
    assert {(case.height, case.in_channels, case.scale_factor) for case in cases} == {(8, 4, scale)}


@pytest.mark.process
@pytest.mark.slow
def test_what_is_missing_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("deconvbench.workflows.site_recommendation.CANDIDATES", ("transposed", "nearest_conv"))
    monkeypatch.setattr("deconvbench.workflows.site_recommendation._REPLICATES", 1)
    monkeypatch.setattr("deconvbench.workflows.site_recommendation._TIME_CAP_S", 0.02)
    changes = {**SMALL, "in_channels": 3, "in_shape": (1, 3, 6, 5)}
    said: list[str] = []
    done: list[Any] = []
    twins = make_network(make_transposed(1, "a", **changes), make_transposed(2, "b", **changes))
    found = recommend_for(twins, source=make_small_source(), measure=True, say=said.append, observer=done.append)
    # both have one setting
    assert said == ["measuring c3x2-6x5-s2-float32-cpu for 1. a"]
    assert len(done) > 0
    for one in found.sites:
        assert one.is_measured
        assert one.chosen is not None
        assert one.chosen.layer == "nearest_conv k3 s2"
        assert one.speedup is not None
        assert one.answer is not None
        assert one.answer.source.startswith("results/sites/")
    assert len([*(tmp_path / "results/sites").iterdir()]) == 1
