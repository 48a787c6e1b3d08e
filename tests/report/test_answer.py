"""The answer in words, and its small table."""

import pytest

from deconvbench.analysis.answer import Answer, find_answer
from deconvbench.report.answer import describe_answer, describe_setting, view_answer
from deconvbench.tables.table import summarise_quality
from tests.plots.made_tables import add_trained, make_layer_quality, make_summary

LAYERS = (
    ("transposed", 3),
    ("transposed", 4),
    ("nearest_conv", 3),
    ("conv_nearest", 3),
    ("bilinear_conv", 3),
    ("mine", 3),
)


@pytest.fixture
def answer() -> Answer:
    quality = summarise_quality(add_trained(make_layer_quality(LAYERS)))
    found = find_answer(make_summary(LAYERS, (16, 64)), quality, {("nearest_conv", 3): (26.0,)}, "a task")
    assert found is not None
    return found


def test_it_says_what_to_take_what_is_smooth_and_what_changing_brings(answer: Answer) -> None:
    take, smooth, today = describe_answer(answer)
    assert take.startswith("Take conv_nearest k3 s2 (")
    assert smooth.startswith("Where edges must be smooth, take bilinear_conv k3 s2")
    assert smooth.endswith("are at -48 dB in place of -16 dB.")
    assert today.startswith("What many use today, transposed k4 s2, takes ")
    assert "leaves a checkerboard of 6.0 8-bit levels after training" in today
    assert "changing to conv_nearest k3 s2" in today


def test_the_table_marks_what_is_recommended_and_ones_own(answer: Answer) -> None:
    rows = view_answer(answer)
    roles = ["cheapest clean", "cheapest clean and smooth", "best quality", *["what many use today"] * 2, "yours"]
    assert [row.role for row in rows] == roles
    assert [row.is_recommended for row in rows] == [True] + [False] * 5
    assert [row.is_own for row in rows] == [False] * 5 + [True]
    assert rows[0].change == "–"
    assert rows[3].change.endswith("% time")
    assert rows[2].quality == "26.0 (1 seed)"
    assert rows[0].checkerboard == "none (0.0 to 0.2)"
    assert rows[3].checkerboard.startswith("6.0 levels (")


def test_the_setting_is_named(answer: Answer) -> None:
    assert describe_setting(answer) == ("input 64×64, 64 → 32 channels, scale ×2, forward, float32, cpu, 1 thread")


def test_without_anything_timed_or_clean_it_says_so() -> None:
    assert describe_answer(None) == ["Nothing was timed, so no layer can be recommended."]
    assert view_answer(None) == []
    layers = (("transposed", 3), ("subpixel", 3))
    found = find_answer(make_summary(layers, (16,)), summarise_quality(make_layer_quality(layers)), {}, "")
    (sentence,) = describe_answer(found)
    assert sentence.startswith(
        "None of the 2 layers measured here is known to be free of a checkerboard; transposed"
    )
