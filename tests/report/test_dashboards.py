"""What dashboards read of other projects' tools."""

import json
import math

import pandas as pd
import pytest
from jsonschema import Draft7Validator

from bench.history_simulation import make_commits
from deconvbench.analysis.comparison import COMPARISON_COLUMNS
from deconvbench.analysis.history import find_history
from deconvbench.errors import UsageError
from deconvbench.report.dashboards import (
    FORMATS,
    LATENCY,
    MEMORY,
    Measurement,
    check_format,
    format_measurements,
    list_comparison,
    list_history,
    list_run,
)
from tests.analysis.test_history import draw, rename

# as the tools' own documents have them
_NUMBER = {"type": "number"}
BENCHER = {
    "type": "object",
    "patternProperties": {
        ".+": {
            "type": "object",
            "patternProperties": {
                ".+": {
                    "type": "object",
                    "properties": {"value": _NUMBER, "lower_value": _NUMBER, "upper_value": _NUMBER},
                    "required": ["value"],
                    "additionalProperties": False,
                }
            },
        }
    },
}
_TEXT = {"type": "string"}
GITHUB = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"name": _TEXT, "unit": _TEXT, "value": _NUMBER, "range": _TEXT, "extra": _TEXT},
        "required": ["name", "unit", "value"],
        "additionalProperties": False,
    },
}
SCHEMAS = dict(zip(FORMATS, (GITHUB, BENCHER), strict=True))
TIMED = Measurement(name="a", quantity=LATENCY, value=2e-3, low=1e-3, high=3e-3, remark="one\nline")
PLAIN = Measurement(name="a", quantity=MEMORY, value=4096.0)


def test_github_action_benchmark_reads_a_list_in_which_smaller_is_better() -> None:
    assert json.loads(format_measurements([TIMED, PLAIN], "github-action-benchmark")) == [
        {"name": "a: latency", "unit": "ms", "value": 2.0, "range": "1 to 3", "extra": "one line"},
        {"name": "a: peak memory", "unit": "bytes", "value": 4096.0},
    ]


def test_bencher_reads_measures_by_benchmark_and_latency_in_nanoseconds() -> None:
    assert json.loads(format_measurements([TIMED, PLAIN], "bencher")) == {
        "a": {
            "latency": {"value": 2e6, "lower_value": 1e6, "upper_value": 3e6},
            "peak-memory-bytes": {"value": 4096.0},
        }
    }


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_not_known_is_left_out(kind: str) -> None:
    entries = [Measurement(name="b", quantity=LATENCY, value=math.nan), TIMED]
    text = format_measurements(entries, kind)
    assert "NaN" not in text
    assert len(json.loads(text)) == 1
    half = Measurement(name="a", quantity=LATENCY, value=1.0, low=1.0, high=math.inf)
    assert "Infinity" not in format_measurements([half], kind)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_run_a_comparison_and_a_history_are_of_the_tools_schemas(kind: str) -> None:
    columns = ("case_id", "baseline_id", "latency_s", "latency_ci_low_s", "latency_ci_high_s", "ratio")
    summary = pd.DataFrame(
        [("a", "b", 1e-3, 0.9e-3, 1.1e-3, 2.0), ("b", "b", 1e-3, None, None, 1.0)], columns=columns
    )
    row = ("a", "latency_s", 1.5, 1.4, 1.6, "slower", "why")
    comparison = pd.DataFrame([row, ("a", "macs", 1.0, None, None, "same", "")], columns=[*COMPARISON_COLUMNS])
    found = find_history(make_commits(draw(2), with_ratios=True))
    validator = Draft7Validator(SCHEMAS[kind])
    for measurements, count in (
        (list_run(summary), 3),
        (list_comparison(comparison), 1),
        (list_history(found), 2),
    ):
        text = format_measurements(measurements, kind)
        validator.validate(json.loads(text))
        known = [entry for entry in measurements if math.isfinite(entry.value)]
        assert len(known) == count


def test_a_run_lists_latency_ratio_and_memory_with_their_intervals() -> None:
    columns = (
        *("case_id", "baseline_id", "latency_s", "latency_ci_low_s", "latency_ci_high_s"),
        *("ratio", "ratio_low", "ratio_high", "peak_memory_bytes"),
    )
    summary = pd.DataFrame([("a", "b", 1e-3, 0.9e-3, 1.1e-3, 2.0, 1.9, 2.1, 4096)], columns=columns)
    latency, ratio, memory = list_run(summary)
    assert (latency.value, latency.low, latency.high) == (1e-3, 0.9e-3, 1.1e-3)
    assert (ratio.value, ratio.low, ratio.high, ratio.remark) == (2.0, 1.9, 2.1, "baseline: b")
    assert (memory.value, memory.has_interval) == (4096.0, False)


def test_the_newest_commit_of_each_machine_is_listed() -> None:
    found = find_history(make_commits(draw(2), with_ratios=False))
    assert {entry.remark for entry in list_history(found)} == {"commit: 29"}
    here, there = make_commits(draw(1), with_ratios=False), make_commits(draw(1), with_ratios=False)
    for one, two in zip(here, there, strict=True):
        object.__setattr__(one, "sides", [*one.sides, rename(two.sides[0], "there")])
    names = [entry.name for entry in list_history(find_history(here))]
    assert [name.rpartition(" ")[2] for name in names] == ["(simulated)", "(there)"]


def test_a_wrong_format_is_refused_with_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"--format: 'benchr' is not one of github-action-benchmark, bencher"):
        format_measurements([], "benchr")
    with pytest.raises(UsageError, match="--format and --json are mutually exclusive"):
        check_format("bencher", "--json")
    check_format(None, "--json")
