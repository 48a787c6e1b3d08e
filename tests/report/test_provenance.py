"""Machine, state and commands of a run."""

from typing import Any

import pytest

from deconvbench.report.provenance import describe_origin, describe_state, list_commands, list_facts, name_run
from tests.plots.made_tables import make_empty_results, make_run_results
from tests.report.test_page import RUN_INFO


def test_a_run_is_named_by_grid_machine_and_date() -> None:
    assert name_run(RUN_INFO) == "quick on Fast <CPU> & Co, 2026-03-01"
    assert name_run({}) == "a run"
    assert len(name_run({"grid": {"name": "x" * 9999}, "created_at": "y" * 9999})) < 200


def test_the_line_below_the_title_says_where_and_when() -> None:
    assert describe_origin(RUN_INFO, make_run_results()).startswith(
        "Fast <CPU> & Co · 2 cores · 8 GiB · GPU X · torch"
    )
    assert describe_origin({}, make_empty_results()) == "none finished"


@pytest.mark.parametrize(
    ("info", "commands"),
    [
        ({"command": ["deconvbench", "run"], "seed": 3}, ["deconvbench run --seed 3", "deconvbench report"]),
        ({"command": ["x", "run", "--seed=4"], "seed": 4}, ["x run --seed=4", "deconvbench report"]),
        ({"command": ["pytest", "bench"], "seed": 3}, ["pytest bench", "deconvbench report"]),
        ({"command": "deconvbench run"}, ["deconvbench run", "deconvbench report"]),
        ({"command": ["a b"]}, ["'a b'", "deconvbench report"]),
        ({}, []),
        ({"command": 7}, []),
    ],
)  # fmt: skip
def test_commands_are_exact_with_the_seed(info: dict[str, Any], commands: list[str]) -> None:
    assert list_commands(info) == commands


def test_code_and_torch_come_first() -> None:
    environment = {"code_version": "0.1.0+g1a2b3c4.dirty", "torch_version": "2.13.0+cpu; rm"}
    assert list_commands({"command": ["deconvbench", "run"], "environment": environment})[:2] == [
        "git checkout 1a2b3c4 && python3 -m pip install .",
        "python3 -m pip install 'torch==2.13.0+cpu; rm'",
    ]


def test_facts_and_state_leave_out_what_is_not_known() -> None:
    assert list_facts({}, make_empty_results()) == [("Cases", "none finished")]
    assert "Nothing was measured" in describe_state({}, make_empty_results().summary)[0]
    assert describe_state(RUN_INFO, make_run_results().summary) == []
