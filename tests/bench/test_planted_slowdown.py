"""Tries with a planted slowdown: what counts as right, with comparisons that are made up."""

import math
import random
from pathlib import Path

import pytest

from bench.planted_slowdown import main
from deconvbench.analysis.comparison_input import Side
from deconvbench.analysis.paired_comparison import compare_pairs
from deconvbench.workflows.commits import CommitComparison, CommitSelection
from tests.builders import make_case, make_pair_record

NONE = Side(name="", latencies_s={}, failures={}, metrics={})
CASES = [make_case(upsampler=name, height=h) for name in ("nearest_conv", "conv_nearest") for h in (4, 8, 16)]


@pytest.mark.parametrize(
    ("ratios", "code", "line"),
    [
        (
            {("head", "nearest_conv"): 1.06},
            0,
            "try 1: right; slowed layer: 3 slower; others: 3 same; control off by",
        ),
        ({}, 1, "try 1: WRONG; slowed layer: 3 same; others: 3 same"),
        (
            {("head", "nearest_conv"): 1.06, ("head", "conv_nearest"): 1.06},
            1,
            "try 1: WRONG; slowed layer: 3 slower; others: 3 slower",
        ),
        ({("head", "nearest_conv"): 1.06, ("control", "conv_nearest"): 1.06}, 1, "VOID"),
    ],
    ids=["found", "missed", "others too", "void"],
)
def test_a_try_is_right_where_that_layer_alone_is_slower(
    ratios: dict[tuple[str, str], float], code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[CommitSelection] = []

    def compare(selection: CommitSelection, results: Path) -> CommitComparison:
        asked.append(selection)
        noise = random.Random(len(asked))
        records = [
            make_pair_record(
                case=case,
                pair=pair,
                replicate=replicate,
                log_ratio=math.log(ratios.get((pair, case.upsampler), 1.0)) + noise.gauss(0, 0.005),
            )
            for pair in ("head", "control")
            for case in CASES
            for replicate in range(10)
        ]
        return CommitComparison(
            found=compare_pairs(records, NONE, NONE, selection.margin), folder=results, lines=()
        )

    assert main(["--tries", "2"], compare) == code
    out = capsys.readouterr().out
    assert line in out
    assert [(s.preset, s.margin, s.slowdowns) for s in asked] == [("smoke", 0.02, (("nearest_conv", 0.05),))] * 2
    assert out.splitlines()[-1].startswith(f"{0 if code else 2} of 2 tries right")


def test_a_wrong_share_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--share", "much"]) == 2
    assert capsys.readouterr().err == (
        "planted_slowdown: --share: 'much' is not a share between 0 and 1; write for example 2% or 0.02\n"
    )
