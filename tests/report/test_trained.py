"""Both tasks' trainings in a table."""

from pathlib import Path

from deconvbench.report.trained import complete_tasks, describe_tasks, find_qualities, view_trained
from deconvbench.tables.trained import Trained, load_shipped
from tests.made_results import make_trained


def test_what_ships_shows_both_tasks() -> None:
    shipped = load_shipped()
    view = view_trained(shipped)
    assert view.headings[0] == "layer"
    assert [heading.partition(":")[0] for heading in view.headings[1::3]] == ["super-resolution", "reconstruction"]
    assert all(len(row) == len(view.headings) for row in view.rows)
    # below 0 there is no checkerboard
    assert not any("−" in row[2].text for row in view.rows)
    assert describe_tasks(view, shipped).startswith(f"{len(view.rows)} layers were trained; super-resolution: ")


def test_the_task_that_keeps_brightness_decides_on_quality() -> None:
    values, task = find_qualities(load_shipped())
    assert task == "super-resolution"
    assert 20 < values["nearest_conv", 3][0] < 40
    assert values["nearest_conv_fast", 3] == values["nearest_conv", 3]
    assert find_qualities(Trained()) == ({}, "")


def test_tasks_that_ones_own_experiments_lack_are_added(tmp_path: Path) -> None:
    own = make_trained(tmp_path / "experiments", (("transposed", 3),))
    assert {*own.results["task"]} == {"reconstruction"}
    both = complete_tasks(own, load_shipped())
    assert {*both.results["task"]} == {"reconstruction", "super-resolution"}
    assert both.folder == own.folder
    mine = both.results[both.results["task"] == "reconstruction"]
    assert len(mine) == len(own.results)
    assert complete_tasks(own, None) is own
    assert {*complete_tasks(Trained(), load_shipped()).results["task"]} == {"reconstruction", "super-resolution"}


def test_nothing_trained_is_an_empty_table() -> None:
    view = view_trained(Trained())
    assert view.rows == ()
    assert describe_tasks(view, Trained()) == ""
