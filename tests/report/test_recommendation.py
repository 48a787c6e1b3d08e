"""A recommendation as a screen, as Markdown and as data: it fits, it says what matters, and it is plain."""

import json
import math
from dataclasses import fields
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deconvbench.analysis.recommendation import Recommendation, recommend_layer
from deconvbench.report.recommendation import HEIGHT, WIDTH, Answer, format_markdown, format_text
from deconvbench.report.recommendation_rows import describe_answer, list_rows
from deconvbench.tables.table import summarise_quality
from tests.analysis.made_choices import make_quality, make_row
from tests.analysis.made_choices import make_summary as make_rows
from tests.builders import make_case
from tests.plots.made_tables import ALL_LAYERS, add_trained, make_layer_quality, make_summary

CODE = "\n".join(["from torch import nn", "", "layer = nn.Sequential(", *["    nn.ReLU(),"] * 6, ")"])
QUALITY = summarise_quality(add_trained(make_layer_quality()))
FULL = make_summary(ALL_LAYERS)


def answer(summary: pd.DataFrame = FULL, quality: pd.DataFrame = QUALITY, **options: Any) -> Answer:
    found = recommend_layer(summary, quality, **options)
    known = {each.name: getattr(found, each.name) for each in fields(Recommendation)}
    code = CODE if found.chosen else ""
    return Answer(**known, code=code, source="results/runs/a (CPU, 2 cores)", trained="After training: 3 seeds.")


def say(found: Answer) -> str:
    """The screen without its line ends."""
    return " ".join(format_text(found).split())


def make_pair(second: float = 1.5, **changes: Any) -> pd.DataFrame:
    pair = ((("transposed"), 1.0, 0.75), ("nearest_conv", second, 0.0))
    return make_rows(*(make_row(make_case(upsampler=n), r, phase_ripple=p, **changes) for n, r, p in pair))


def test_the_first_line_says_which_and_how_fast() -> None:
    found = format_text(answer(make_pair(), limits={"ripple": 0}))
    assert found.splitlines()[0] == "Take nearest_conv k3 s2: 1.5 ms, 50 % slower than transposed k3 s2"
    assert "limits: ripple ≤ 0; 1 of 2 layers satisfy them" in found
    assert "  layer = nn.Sequential(" in found
    assert "without ripple: transposed k3 s2, 50 % faster" in found
    assert found.splitlines()[-1] == "run: results/runs/a (CPU, 2 cores)"


@pytest.mark.parametrize(
    ("second", "text"),
    [
        (0.8, "800 µs, 25 % faster than transposed k3 s2"),
        (0.25, "250 µs, 4.0 times as fast as transposed k3 s2"),
        (3.0, "3 ms, 3.0 times as slow as transposed k3 s2"),
        (1.0, "1 ms, as fast as transposed k3 s2"),
    ],
)
def test_speeds_are_in_words(second: float, text: str) -> None:
    assert text in format_text(answer(make_pair(second), limits={"ripple": 0}))


def test_without_a_baseline_it_is_the_latency() -> None:
    rows = [make_row(make_case(upsampler=n), None) for n in ("transposed", "nearest_conv")]
    found = format_text(answer(make_rows(*rows)))
    assert found.startswith("Take nearest_conv k3 s2: 1 ms\n")
    (heads,) = [line for line in found.splitlines() if line.startswith("layer  ")]
    assert heads.split() == ["layer", "latency", "interval", "memory", "ripple", "levels", "dB"]
    assert "950 µs–1.05 ms" in found


def test_what_has_no_latency_has_a_ratio() -> None:
    # a fixed share of each call, which the baseline has too
    rows = [
        make_row(make_case(height=s, width=s, threads=threads), 2.5, latency_s=1e-3 + 1e-6 * s * s)
        for s in (8, 16, 64)
        for threads in (1, 2)
    ]
    found = say(answer(make_rows(*rows), size=(12, 12)))
    assert found.startswith("Take nearest_conv k3 s2: 2.5 times as slow as transposed k3 s2 for cpu")
    assert "with threads 2: nearest_conv k3 s2 " in found


def test_the_baseline_is_called_that() -> None:
    assert "Take transposed k3 s2: 1 ms, the baseline of the ratios" in format_text(answer(make_pair()))


def test_without_limits_a_ripple_is_pointed_out() -> None:
    found = say(answer(make_pair()))
    assert "it ripples; without ripple (--ripple 0): nearest_conv k3 s2, 50 % slower" in found


def test_ties_noise_and_doubts_are_said() -> None:
    summary = make_pair(1.02, noisy=True)
    quality = make_quality(
        transposed={
            "trained_checkerboard_levels": 0.4,
            "trained_checkerboard_levels_ci_low": -0.5,
            "trained_checkerboard_levels_ci_high": 1.3,
        }
    )
    found = say(answer(summary, quality, limits={"memory": 1e6}))
    assert "cannot be told from it (intervals overlap): nearest_conv k3 s2" in found
    assert "noisy: something disturbed" in found
    doubtful = say(answer(summary, quality, limits={"checkerboard": 0.5}))
    assert "not certain: the interval of checkerboard over seeds holds the limit" in doubtful
    assert "not judged (checkerboard unknown): 1 layer, none of them cheaper" in doubtful
    assert "After training: 3 seeds." in doubtful
    assert "not certain" not in say(answer(summary, quality, limits={"checkerboard": 1.5}))


def test_an_estimate_is_marked_and_more_so_beyond() -> None:
    rows = [make_row(make_case(height=s, width=s), 2 * s**-0.1, baseline_id="b") for s in (8, 16, 32)]
    between = say(answer(make_rows(*rows), size=(20, 20)))
    beyond = say(answer(make_rows(*rows), size=(64, 64), extrapolate=True))
    assert "~1.48" in between
    assert "~ estimated: read off a line through the measured sizes" in between
    assert "BEYOND them: 4 times the pixels of the largest;" in beyond
    below = say(answer(make_rows(*rows), size=(4, 4), extrapolate=True))
    assert "BEYOND them: 1/4 of the pixels of the smallest;" in below


def test_no_layer_says_why() -> None:
    found = say(answer(make_pair(), limits={"ripple": 0, "memory": 1000}))
    assert found.startswith(
        "No layer satisfies that: of 2 with a cost here, memory ≤ 1000 B leaves 0; the nearest has memory 62.5 KiB"
    )
    assert "without memory: nearest_conv k3 s2; without ripple: none either" in found
    unknown = say(answer(make_pair(), make_quality(), limits={"psnr": 9}))
    assert "PSNR ≥ 9 dB leaves 0 for " in unknown
    assert "not judged (PSNR unknown): 2 layers: transposed k3 s2 1.00, nearest_conv k3 s2 1.50" in unknown
    failed = make_rows(make_row(make_case(), status="oom", message="too large"))
    text = say(answer(failed))
    assert text.startswith("No layer was measured at that size for ")
    assert "oom: nearest_conv k3 s2" in text


def test_other_settings_are_named() -> None:
    rows = [make_row(make_case(**c)) for c in ({}, {"threads": 4}, {"batch": 2}, {"height": 4, "width": 4})]
    found = say(answer(make_rows(*rows)))
    assert "8×8, float32, 1 thread (also measured: batch 2; threads 4; size 4×4)" in found
    other = say(answer(make_rows(*rows), setting={"threads": 4}))
    assert "with threads 1: nearest_conv k3 s2, as fast" in other
    special = [make_row(make_case(batch=2, memory_format="channels_last", execution="compile"))]
    assert "batch 2, channels_last, compile" in say(answer(make_rows(*special)))


options = st.fixed_dictionaries(
    {},
    optional={
        "memory": st.sampled_from([1.0, 2e6, 2**20 * 64.0]),
        "ripple": st.sampled_from([0.0, 0.5]),
        "checkerboard": st.sampled_from([0.0, 0.5, 6.0]),
        "psnr": st.sampled_from([20.0, 24.0, 99.0]),
    },
)


@settings(deadline=None, max_examples=10)
@given(options, st.sampled_from([None, (64, 64), (100, 90)]), st.sampled_from(["forward", "train"]))
def test_it_always_fits_a_screen(limits: dict[str, float], size: Any, step: str) -> None:
    found = answer(size=size, limits=limits, setting={"step": step})
    lines = format_text(found).splitlines()
    assert len(lines) < HEIGHT
    assert max(map(len, lines)) <= WIDTH
    # no line of the code is lost
    assert [line.strip() for line in CODE.splitlines() if line] == [
        line.strip() for line in lines if line.startswith("  ") and ("nn" in line or line == "  )")
    ] or not found.code


def test_long_names_are_cut_in_the_table_alone() -> None:
    name = "a" * 60
    found = format_text(answer(make_rows(make_row(make_case(upsampler=name), None))))
    assert name in found
    assert max(map(len, found.splitlines())) <= WIDTH


def test_markdown_has_all_layers_and_obeys_nobody() -> None:
    whole = answer(limits={"ripple": 0.5}, setting={"step": "train"}, size=(128, 128))
    found = format_markdown(whole)
    assert found.startswith("### deconvbench recommend: ")
    assert f"```python\n{CODE}\n```" in found
    assert (
        found.count("\n| ")
        == len(answer(limits={"ripple": 0.5}, setting={"step": "train"}, size=(128, 128)).fitting) + 1
    )
    assert "oom: tried to allocate 3.2 GiB &lt;big&gt; &amp; failed" in found
    none = format_markdown(answer(limits={"memory": 1}))
    assert none.startswith("### deconvbench recommend: no layer satisfies the limits\n")
    assert "```" not in none


def test_the_data_is_strict_json_and_every_layer_has_a_verdict() -> None:
    found = answer(make_pair(1.02), limits={"ripple": 0.9})
    rows = json.loads(json.dumps([list_rows(found), describe_answer(found)], allow_nan=False))
    assert [(row["layer"], row["verdict"]) for row in rows[0]] == [
        ("transposed k3 s2", "chosen"),
        ("nearest_conv k3 s2", "tie"),
    ]
    assert rows[0][0]["cost"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert rows[0][0]["qualities"]["memory"]["value"] == 64000
    facts = rows[1]
    assert facts["setting"]["height"] == 8
    assert facts["case_id"] == make_case(upsampler="transposed").case_id
    assert facts["limits"] == {"ripple": 0.9}
    assert (facts["code"], facts["baseline"]) == (CODE, "transposed k3 s2")
    verdicts = {row["verdict"] for row in list_rows(answer(limits={"checkerboard": 0.5}))}
    assert verdicts <= {"chosen", "tie", "satisfies", "ruled out", "not judged"}
    empty = describe_answer(answer(make_pair(), make_quality(), limits={"psnr": 9}))
    assert (empty["case_id"], empty["nearest"], empty["left"]) == (None, None, [{"limit": "psnr", "layers": 0}])
    assert not any(math.isnan(v) for row in rows[0] for v in (row["cost"]["value"],))


def test_code_of_any_length_is_cut_to_the_screen() -> None:
    found = answer(make_pair())
    known = {each.name: getattr(found, each.name) for each in fields(Answer)}
    lines = format_text(Answer(**{**known, "code": "\n".join(["pass"] * 50)})).splitlines()
    assert len(lines) == HEIGHT - 1
    assert lines[0].startswith("Take ")
