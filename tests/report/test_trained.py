"""Both tasks' trainings in a table."""

import math
from dataclasses import replace
from pathlib import Path

from deconvbench.report.trained import (
    complete_tasks,
    describe_tasks,
    explain_tasks,
    find_qualities,
    view_trained,
    view_variants,
)
from deconvbench.statistics import mean_interval
from deconvbench.tables.trained import Trained, load_shipped
from deconvbench.tables.trained_networks import MAIN_NETWORK, keep_network
from tests.made_results import make_trained


def test_what_ships_shows_both_tasks() -> None:
    shipped = load_shipped()
    view = view_trained(shipped)
    assert view.headings[0] == "layer"
    tasks = dict.fromkeys(heading.partition(":")[0].partition(",")[0] for heading in view.headings[1:])
    assert list(tasks)[:2] == ["super-resolution", "reconstruction"]
    assert all(len(row) == len(view.headings) for row in view.rows)
    # below 0 there is no checkerboard
    assert not any("−" in row[2].text for row in view.rows)
    assert describe_tasks(view, shipped).startswith(f"{len(view.rows)} layers were trained; super-resolution")


def test_a_table_is_of_one_network_a_task_with_the_interval_of_its_mean(tmp_path: Path) -> None:
    others = (
        replace(MAIN_NETWORK, variant="gain-2"),
        replace(MAIN_NETWORK, norm="instance"),
        replace(MAIN_NETWORK, norm="instance", recipe="plain"),
    )
    layers = (("transposed", 3), ("nearest_conv", 3), ("carafe", None))
    made = make_trained(tmp_path, layers, seeds=6, networks=(*others, MAIN_NETWORK))
    rows = made.results
    spoilt = rows.assign(psnr_db=rows["psnr_db"].where(rows["recipe"].eq("tuned") & rows["norm"].eq("none"), 99.0))
    gain = spoilt["variant"].eq("gain-2")
    trained = replace(made, results=spoilt.assign(checkerboard_levels=rows["checkerboard_levels"] + 50 * gain))
    view = view_trained(trained)
    assert view.headings == (
        "layer",
        "reconstruction: trainings",
        "reconstruction: checkerboard (8-bit levels)",
        "reconstruction: PSNR (dB)",
    )
    cells = {row[0].text: [cell.text for cell in row[1:]] for row in view.rows}
    values = keep_network(rows, MAIN_NETWORK).query("upsampler == 'transposed'")
    for text, column, digits in ((1, "checkerboard_levels", 2), (2, "psnr_db", 1)):
        mean, low, high = mean_interval(values[column])
        expected = f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
        assert cells["transposed k3 s2"][text] == expected
    assert cells["transposed k3 s2"][0] == "6"
    # what is below 0 is no checkerboard
    assert cells["nearest_conv k3 s2"][1] == "0.00 (0.00 to 0.00)"
    assert view.rows[-1][0].text == "transposed k3 s2"
    assert describe_tasks(view, trained) == (
        f"3 layers were trained; reconstruction: transposed k3 s2 leaves the strongest checkerboard, "
        f"{values['checkerboard_levels'].mean():.1f} levels"
    )
    assert "instance norm" not in explain_tasks(trained)
    assert find_qualities(trained)[0]["transposed", 3] == values["psnr_db"].tolist()


def test_each_task_is_judged_by_what_says_best_how_well_it_does(tmp_path: Path) -> None:
    style = replace(MAIN_NETWORK, task="style-transfer", norm="instance")
    networks = (MAIN_NETWORK, replace(MAIN_NETWORK, task="segmentation"), style)
    made = make_trained(tmp_path, (("transposed", 3),), seeds=3, networks=networks)
    trained = replace(made, results=made.results.assign(miou=0.65, style_loss=[0.1 * i for i in range(9)]))
    view = view_trained(trained)
    assert [heading.partition(": ")[2] for heading in view.headings[3::3]] == ["PSNR (dB)", "mIoU", "style loss"]
    (row,) = view.rows
    assert row[6].text == "0.650 (0.650 to 0.650)"
    assert "0.700" in row[9].text
    # no PSNR that it is judged by is lost behind its norm
    assert "instance norm" not in explain_tasks(trained)
    # what a layer is worth for super-resolution and reconstruction is not taken from them
    assert find_qualities(trained)[1] == "reconstruction"


def test_two_trainings_have_no_interval_and_what_diverged_does_not_count(tmp_path: Path) -> None:
    article = replace(MAIN_NETWORK, norm="instance", recipe="plain")
    made = make_trained(tmp_path, (("transposed", 3), ("carafe", None)), seeds=2, networks=(article,))
    trained = replace(made, results=made.results.assign(psnr_db=[math.inf, 26.0, math.nan, math.nan]))
    view = view_trained(trained)
    cells = {row[0].text: [cell.text for cell in row[1:]] for row in view.rows}
    assert cells["transposed k3 s2"][2] == "26.0"
    assert cells["carafe s2"][2] == "–"
    assert "(" not in cells["transposed k3 s2"][1]
    assert "(reconstruction, instance norm, plain recipe)" in explain_tasks(trained)


def test_a_layer_that_one_task_lacks_has_dashes_there(tmp_path: Path) -> None:
    other = replace(MAIN_NETWORK, task="super-resolution")
    made = make_trained(tmp_path, (("transposed", 3), ("carafe", None)), seeds=3, networks=(MAIN_NETWORK, other))
    lacking = made.results["task"].eq("super-resolution") & made.results["upsampler"].eq("carafe")
    view = view_trained(replace(made, results=made.results[~lacking]))
    assert [[cell.text for cell in row[1:4]] for row in view.rows if row[0].text == "carafe s2"] == [["–"] * 3]
    assert view.rows[-1][0].text == "carafe s2"


def test_a_score_that_a_task_does_not_have_has_no_column(tmp_path: Path) -> None:
    other = replace(MAIN_NETWORK, task="segmentation")
    made = make_trained(tmp_path, (("transposed", 3), ("carafe", None)), seeds=3, networks=(MAIN_NETWORK, other))
    rows = made.results
    view = view_trained(
        replace(made, results=rows.assign(psnr_db=rows["psnr_db"].where(rows["task"] != other.task)))
    )
    assert [heading for heading in view.headings if heading.startswith("segmentation")] == [
        "segmentation: trainings",
        "segmentation: checkerboard (8-bit levels)",
    ]
    assert all(len(row) == len(view.headings) == 6 for row in view.rows)


def test_the_task_that_says_most_decides_on_quality() -> None:
    values, task = find_qualities(load_shipped())
    assert task == "super-resolution"
    assert 20 < values["nearest_conv", 3][0] < 40
    assert values["nearest_conv_fast", 3] == values["nearest_conv", 3]
    assert find_qualities(Trained()) == ({}, "")


def test_tasks_that_ones_own_experiments_lack_are_added(tmp_path: Path) -> None:
    own = make_trained(tmp_path / "experiments", (("transposed", 3),))
    assert {*own.results["task"]} == {"reconstruction"}
    shipped = load_shipped()
    tasks = {*shipped.results["task"]}
    assert tasks > {"reconstruction"}
    both = complete_tasks(own, shipped)
    assert {*both.results["task"]} == tasks
    assert both.folder == own.folder
    mine = both.results[both.results["task"] == "reconstruction"]
    assert len(mine) == len(own.results)
    assert complete_tasks(own, None) is own
    assert {*complete_tasks(Trained(), shipped).results["task"]} == tasks


def test_nothing_trained_is_an_empty_table() -> None:
    view = view_trained(Trained())
    assert view.rows == ()
    assert describe_tasks(view, Trained()) == ""


def test_what_was_changed_in_a_network_stands_beside_the_unchanged_one(tmp_path: Path) -> None:
    gain, norm = replace(MAIN_NETWORK, variant="gain-2"), replace(MAIN_NETWORK, norm="instance")
    layers = (("transposed", 3), ("carafe", None))
    made = make_trained(tmp_path, layers, seeds=4, networks=(MAIN_NETWORK, gain, norm))
    rows = made.results
    changed = rows["variant"].eq("gain-2")
    kept = rows.assign(checkerboard_levels=rows["checkerboard_levels"] + 5 * changed, psnr_db=20.0)
    # one layer of the unchanged network is missing
    lacking = kept["upsampler"].eq("carafe") & kept["variant"].eq("standard") & kept["norm"].eq("none")
    trained = replace(made, results=kept[~lacking])
    view = view_variants(trained)
    assert [(row[0].text, row[1].text, row[2].text) for row in view.rows] == [
        (network, layer, "4")
        for network in ("reconstruction, instance norm", "reconstruction, twice the first gain")
        for layer in ("transposed k3 s2", "carafe s2")
    ]
    own = kept[changed & kept["upsampler"].eq("transposed")]["checkerboard_levels"]
    mean, low, high = mean_interval(own)
    unchanged, unchanged_low, unchanged_high = mean_interval(own - 5)
    assert [cell.text for cell in view.rows[2][3:]] == [
        f"{mean:.2f} ({low:.2f} to {high:.2f})",
        f"{unchanged:.2f} ({unchanged_low:.2f} to {unchanged_high:.2f})",
        "20.0 (20.0 to 20.0)",
    ]
    assert view.rows[3][4].text == "–"
    assert view_variants(replace(trained, results=keep_network(kept, MAIN_NETWORK))).rows == ()
    assert view_variants(Trained()).rows == ()
