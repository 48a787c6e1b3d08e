"""The layers that matter, and who is clean."""

from typing import Any

import pandas as pd
import pytest

from deconvbench.analysis.answer import Answer, find_answer, is_clean
from deconvbench.analysis.candidates import Candidate
from deconvbench.analysis.scaling import Quantity
from deconvbench.tables.table import summarise_quality
from tests.plots.made_tables import add_trained, make_layer_quality, make_summary

LAYERS = (("transposed", 3), ("transposed", 4), ("nearest_conv", 3), ("nearest_conv_fast", 3), ("conv_nearest", 3),
          ("conv_bilinear", 3), ("mine", 3))  # fmt: skip


def answer(summary: pd.DataFrame | None = None, trained: Any = None, **kinds: Any) -> Answer:
    quality = make_layer_quality(LAYERS)
    summary = make_summary(LAYERS, (16, 64)) if summary is None else summary
    found = find_answer(summary, summarise_quality(quality), trained or {}, "a task")
    assert found is not None
    return found


def name(found: Answer, role: Any) -> str | None:
    choice = found.find(role)
    return choice.candidate.layer if choice else None


def test_each_role_has_its_layer() -> None:
    found = answer(
        trained={("nearest_conv", 3): (25.0, 27.0), ("conv_bilinear", 3): (25.5,), ("transposed", 3): (40.0,)}
    )
    assert name(found, "clean") == "conv_nearest k3 s2"
    assert name(found, "smooth") == "conv_bilinear k3 s2"
    assert (
        name(found, "quality") == "nearest_conv k3 s2"
    )  # the mean of two; a layer that is not clean does not count
    assert name(found, "drop-in") == "nearest_conv_fast k3 s2"
    assert name(found, "today") == "transposed k4 s2"
    assert name(found, "own") == "mine k3 s2"
    best = found.find("quality")
    assert best is not None
    assert best.quality is not None
    assert (best.quality.value, best.seeds, found.task) == (26.0, 2, "a task")
    assert found.setting.size == (64, 64)


def test_a_layer_is_listed_once_with_all_its_roles() -> None:
    summary = make_summary((("transposed", 3), ("conv_bilinear", 3)), (16,), ("forward",))
    found = answer(summary)
    assert [choice.roles for choice in found.choices] == [("clean", "smooth"), ("today",)]


def test_without_any_clean_layer_there_is_none() -> None:
    found = answer(make_summary((("transposed", 3), ("subpixel", 3)), (16,), ("forward",)))
    assert name(found, "clean") is None
    assert name(found, "today") == "transposed k3 s2"


def test_nothing_timed_gives_no_answer() -> None:
    quality = summarise_quality(make_layer_quality(LAYERS))
    assert find_answer(make_summary(LAYERS).iloc[:0], quality, {}, "") is None
    assert find_answer(make_summary(LAYERS).assign(status="oom"), quality, {}, "") is None


@pytest.mark.parametrize(
    ("qualities", "clean"),
    [
        ({}, False),
        ({"ripple": Quantity(value=0.1)}, False),
        ({"ripple": Quantity(value=0.0)}, True),
        ({"ripple": Quantity(value=0.0), "checkerboard": Quantity(value=0.4)}, True),
        ({"ripple": Quantity(value=0.0), "checkerboard": Quantity(value=0.4, low=-0.1, high=0.8)}, False),
        ({"ripple": Quantity(value=0.0), "checkerboard": Quantity(value=-0.4, low=-0.5, high=-0.3)}, True),
        ({"ripple": Quantity(value=0.0), "checkerboard": Quantity(value=1.4)}, False),
    ],
    ids=["unknown", "ripples", "untrained", "below half a level", "perhaps above", "none", "training brought one"],
)
def test_who_is_clean(qualities: dict[str, Quantity], clean: bool) -> None:
    candidate = Candidate(
        upsampler="a", kernel_size=3, scale_factor=2, layer="a", cost=Quantity(value=1.0), qualities=qualities
    )
    assert is_clean(candidate) is clean


def test_clean_after_training_counts_where_it_was_trained() -> None:
    quality = summarise_quality(add_trained(make_layer_quality(LAYERS)))
    quality.loc[quality["upsampler"] == "conv_nearest", "trained_checkerboard_levels_ci_high"] = 2.0
    found = find_answer(make_summary(LAYERS, (64,)), quality, {}, "")
    assert found is not None
    assert name(found, "clean") == "conv_bilinear k3 s2"
