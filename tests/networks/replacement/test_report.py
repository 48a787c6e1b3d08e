"""The report in words."""

import pytest
from torch import nn

from deconvbench.networks.fusion.report import Left
from deconvbench.networks.replacement.report import KeyChange, Replacement, ReplaceReport


def make_replacement(**options: object) -> Replacement:
    fields: dict[str, object] = {"paths": ("up",), "was": "Old(2)", "now": "New(2)", "relative_error": 0.25}
    return Replacement(**{**fields, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "up: Old(2) -> New(2): weights carried over by least squares, error 25.0% of the kernel"),
        ({"relative_error": 1e-16}, "up: Old(2) -> New(2): weights carried over exactly"),
        ({"relative_error": None}, "up: Old(2) -> New(2): weights drawn anew"),
        ({"paths": ("",), "relative_error": 0.0}, "(the model): Old(2) -> New(2): weights carried over exactly"),
        ({"paths": ("a", "b"), "relative_error": 0.0}, "a, b: Old(2) -> New(2): weights carried over exactly"),
        (
            {"relative_error": 0.0, "bias_error": 0.5, "remark": "another near the border"},
            "up: Old(2) -> New(2): weights carried over exactly; bias averaged over the phases, error 50.0%;"
            " another near the border",
        ),
    ],
    ids=["squares", "exact", "anew", "root", "shared", "all"],
)
def test_one_layer_in_words(options: dict[str, object], words: str) -> None:
    assert str(make_replacement(**options)) == words


@pytest.mark.parametrize(
    ("options", "is_exact"),
    [
        ({"relative_error": 0.0}, True),
        ({"relative_error": 0.0, "bias_error": 0.1}, False),
        ({"relative_error": 1e-7}, False),
        ({"relative_error": 1e-7, "bias_error": 1e-7, "rounding": 1.2e-7}, True),
        ({"relative_error": 0.0, "remark": "x"}, False),
        ({"relative_error": None}, False),
        ({}, False),
    ],
)
def test_exact_is_what_computes_the_same(options: dict[str, object], is_exact: bool) -> None:
    assert make_replacement(**options).is_exact is is_exact


def test_the_whole_in_words() -> None:
    keys = (
        KeyChange(before="up.weight", after="up.0.weight", shape_before=(1, 2), shape_after=(2, 1)),
        KeyChange(before="up.bias", after="up.bias", shape_before=(2,), shape_after=(2,)),
    )
    report = ReplaceReport(
        model=nn.ReLU(),
        replaced=(make_replacement(keys=keys),),
        left=(Left(path="b", what="Old(3)", reason="it has hooks"),),
        output_error=0.125,
    )
    assert str(report).splitlines() == [
        "1 replaced, 1 left alone",
        "  replaced  up: Old(2) -> New(2): weights carried over by least squares, error 25.0% of the kernel",
        "            up.weight (1, 2) -> up.0.weight (2, 1)",
        "  left      b: Old(3): it has hooks",
        "  outputs of the same shapes, different by at most 1.2e-01 of the largest",
    ]
    assert report.keys == {"up.weight": "up.0.weight", "up.bias": "up.bias"}
    assert str(ReplaceReport(model=nn.ReLU())) == "0 replaced, 0 left alone"
