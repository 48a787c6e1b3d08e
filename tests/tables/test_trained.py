"""What training found, read back: files that are whole, torn, foreign or absent, and the join with quality."""

import csv
import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from deconvbench.errors import RunFolderError
from deconvbench.records.layers import FAST_UPSAMPLERS
from deconvbench.records.schema import (
    ARTIFACT_COLUMNS,
    CURVE_DTYPES,
    LAYER_COLUMNS,
    QUALITY_DTYPES,
    TRAINED_COLUMNS,
    TRAINED_DTYPES,
)
from deconvbench.tables import trained as trained_module
from deconvbench.tables.frames import list_rows, make_frame
from deconvbench.tables.trained import (
    FEWEST_STEPS,
    Trained,
    describe_trained,
    fill_qualities,
    find_target_level,
    find_trained,
    list_qualities,
    load_shipped,
    read_trained,
)
from deconvbench.tables.trained_networks import MAIN_NETWORK, Network, keep_network
from tests.made_results import FILES, LAST_STEP, TARGET_LEVEL, make_results, make_trained, write_rows
from tests.plots.article.made_results import LAYERS
from tests.plots.made_tables import make_layer_quality, make_summary

FILLED = [*TRAINED_COLUMNS, "steps"]
ARTICLE = Network(task="reconstruction", norm="instance", recipe="plain")
SUPER_RESOLUTION = Network(task="super-resolution")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_results(tmp_path_factory.mktemp("made") / "experiments", images=("chelsea",))


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """A folder of a single training run, to be spoilt."""
    return make_results(tmp_path / "one", (("transposed", 3),), seeds=1, images=("chelsea",))


def change_results(folder: Path, **changes: Any) -> Path:
    """Write other values into the only row of the results."""
    with (folder / "results.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    write_rows(folder / "results.csv", [{**row, **changes}], TRAINED_DTYPES)
    return folder


def expect(folder: Path, column: str, upsampler: str, kernel: int | None = 3) -> list[Any]:
    """What the results hold of a layer, seed by seed."""
    rows = take_rows(read_trained(folder).results, upsampler, kernel)
    assert rows["seed"].tolist() == [0, 1, 2]
    return rows[column].tolist()


# reading


def test_a_folder_is_read_with_its_dtypes(results: Path) -> None:
    found = read_trained(str(results))
    for name, dtypes in FILES.items():
        frame = getattr(found, name)
        assert frame.dtypes.to_dict() == make_frame([], dtypes).dtypes.to_dict()
        assert len(frame)
    assert (len(found.results), found.folder, found.is_empty) == (3 * len(LAYERS), results, False)
    carafe = found.results[found.results["upsampler"] == "carafe"]
    assert carafe["kernel_size"].isna().all()
    assert (found.images["crop"].isna() == (found.images["seed"] > 0)).all()
    assert found.info["environment"]["cpu"] == "Fast CPU"


def test_numbers_are_read_to_the_last_bit(one: Path) -> None:
    value = 0.1 + 0.2
    change_results(one, psnr_db=repr(value), learning_rate="1e-3")
    row = read_trained(one).results.iloc[0]
    assert (row["psnr_db"], row["learning_rate"]) == (value, 1e-3)


def test_names_that_look_like_something_else_are_names(one: Path) -> None:
    change_results(one, upsampler="NA", norm="none", code_version="12e5", device="null", torch_version="2.130")
    row = read_trained(one).results.iloc[0]
    assert [row[name] for name in ("upsampler", "norm", "code_version", "device", "torch_version")] == [
        "NA", "none", "12e5", "null", "2.130",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "nan", "NaN"])
def test_a_number_that_is_missing_is_null(one: Path, text: str) -> None:
    change_results(one, psnr_db=text, kernel_size=text)
    row = read_trained(one).results.iloc[0]
    assert math.isnan(row["psnr_db"])
    assert pd.isna(row["kernel_size"])


def test_columns_of_later_versions_are_passed_over(one: Path) -> None:
    frame = pd.read_csv(one / "results.csv").assign(sharpness=1.0)
    frame.to_csv(one / "results.csv", index=False)
    assert list(read_trained(one).results) == list(TRAINED_DTYPES)


@pytest.mark.parametrize("name", ["results.csv", "curves.csv", "images.csv", "experiment.json"])
def test_what_is_not_there_yet_is_empty(one: Path, name: str) -> None:
    (one / name).unlink()
    found = read_trained(one)
    lengths = {f"{key}.csv": len(getattr(found, key)) for key in FILES} | {"experiment.json": len(found.info)}
    assert [key for key, length in lengths.items() if not length] == [name]
    assert found.is_empty == (name == "results.csv")


def test_what_an_earlier_version_did_not_score_is_null(one: Path) -> None:
    for name, dtypes in (("results", TRAINED_DTYPES), ("curves", CURVE_DTYPES)):
        frame = pd.read_csv(one / f"{name}.csv").drop(
            columns=["effective_ripple_scale1", "effective_ripple_scale2"]
        )
        frame.to_csv(one / f"{name}.csv", index=False)
        found = getattr(read_trained(one), name)
        assert list(found) == list(dtypes)
        assert found["effective_ripple_scale1"].isna().all()
        assert found["checkerboard_levels"].notna().any()


def test_a_file_of_headings_alone_has_no_rows(one: Path) -> None:
    write_rows(one / "results.csv", [], TRAINED_DTYPES)
    frame = read_trained(one).results
    assert frame.dtypes.to_dict() == make_frame([], TRAINED_DTYPES).dtypes.to_dict()
    assert frame.empty


def _write(name: str, content: str | bytes) -> Callable[[Path], None]:
    data = content.encode() if isinstance(content, str) else content

    def spoil(folder: Path) -> None:
        (folder / name).write_bytes(data)

    return spoil


def _change(**changes: Any) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        change_results(folder, **changes)

    return spoil


def _append(name: str, content: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        with (folder / name).open("a") as file:
            file.write(content)

    return spoil


def _make_folder_of(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return spoil


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        pytest.param(_write("results.csv", ""), "results.csv' lacks the column task", id="empty"),
        pytest.param(
            _write("results.csv", b"\xff\xfe\x00"),
            "cannot read .*csv': it is UTF-16; save it as UTF-8",
            id="binary",
        ),
        pytest.param(
            _write("results.csv", "a,b\n"), "results.csv' lacks the column task", id="headings of another"
        ),
        pytest.param(_write("curves.csv", "task,norm\nx,y\n"), "curves.csv' lacks the column upsampler", id="few"),
        pytest.param(_make_folder_of("curves.csv"), "cannot read .*curves.csv': Is a directory", id="a folder"),
        pytest.param(_change(steps="1.5"), "csv', line 2: steps is '1.5', no whole number", id="half a step"),
        pytest.param(_change(seed=""), "csv', line 2: seed is '', no whole number", id="no seed"),
        pytest.param(_change(seed="inf"), "csv', line 2: seed is 'inf', no whole number", id="an endless seed"),
        pytest.param(_change(kernel_size="2.5"), "kernel_size is '2.5', no whole number", id="half a kernel"),
        pytest.param(_change(psnr_db="high"), "csv', line 2: psnr_db is 'high', no number", id="a word"),
        pytest.param(_change(autocast=""), "autocast is '', neither True nor False", id="no flag"),
        pytest.param(_append("results.csv", "reconstruction,transp"), "line 3: not as many values", id="torn"),
        pytest.param(_append("images.csv", "," * 30), "line [0-9]+: not as many values as headings", id="long"),
        pytest.param(_append("images.csv", '"'), "images.csv', line [0-9]+: unexpected end of data", id="quote"),
        pytest.param(
            _write("experiment.json", "{"),
            "experiment.json' is not a description of experiments: not JSON",
            id="torn JSON",
        ),
        pytest.param(
            _write("experiment.json", "[]"),
            "experiment.json' is not a description of experiments: .. is not an object",
            id="a list",
        ),
        pytest.param(_make_folder_of("experiment.json"), "experiment.json': Is a directory", id="JSON a folder"),
        pytest.param(_write("experiment.json", '{"schema_version": 2}'), "has schema 2; this version", id="newer"),
    ],
)
def test_what_cannot_be_read_is_named_in_one_line(one: Path, spoil: Callable[[Path], None], problem: str) -> None:
    spoil(one)
    with pytest.raises(RunFolderError, match=f"^results: .*{problem}") as caught:
        read_trained(one)
    assert "\n" not in str(caught.value)


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="'.*' holds no results of deconvbench train$"):
        read_trained(tmp_path)
    with pytest.raises(RunFolderError, match="'.*no' is not a folder$"):
        read_trained(tmp_path / "no")


# finding


def test_results_are_those_asked_for_then_ones_own_then_those_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = make_trained(tmp_path / "shipped", (("carafe", None),))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trained_module, "load_shipped", lambda: shipped)
    assert find_trained() is shipped
    own = Path("results/experiments")
    make_results(own, (("transposed", 4),))
    assert find_trained().folder == own
    assert find_trained(tmp_path / "shipped").folder == tmp_path / "shipped"
    # training has begun, and no run has ended
    write_rows(own / "results.csv", [], TRAINED_DTYPES)
    assert find_trained() is shipped
    with pytest.raises(RunFolderError, match="is not a folder"):
        find_trained("elsewhere")


def test_what_ships_has_no_images_and_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trained_module, "files", lambda package: tmp_path)
    assert load_shipped().is_empty
    made = make_trained(tmp_path / "trained_results")
    found = load_shipped()
    pd.testing.assert_frame_equal(found.results, made.results)
    pd.testing.assert_frame_equal(found.curves, made.curves)
    assert (found.info, found.folder, len(found.images)) == (made.info, None, 0)


def test_what_really_ships_can_be_read() -> None:
    found = load_shipped()
    assert list(found.results) == list(TRAINED_DTYPES)
    assert {"reconstruction", "super-resolution"} <= {*found.results["task"]}
    assert (found.results["steps"] >= 500).all()
    assert found.info["environment"]["torch_version"]
    assert {"transposed", "nearest_conv"} <= {*found.curves["upsampler"]}
    assert bool(describe_trained(found)) == (not list_qualities(found).empty)


# trained quality


def test_qualities_are_those_of_one_network(tmp_path: Path) -> None:
    networks = [MAIN_NETWORK, ARTICLE, replace(MAIN_NETWORK, variant="last-3"), SUPER_RESOLUTION]
    found = make_trained(tmp_path, (("transposed", 3), ("carafe", None)), networks=networks)
    rows = list_qualities(found)
    assert list(rows) == [*LAYER_COLUMNS, "seed", *FILLED]
    assert rows["upsampler"].tolist() == ["transposed"] * 3 + ["carafe"] * 3
    assert rows["seed"].tolist() == [0, 1, 2] * 2
    here = keep_network(found.results, MAIN_NETWORK)
    assert len(here) == 6
    for name, quality in zip(("checkerboard_levels", "psnr_db", "ssim", "steps"), FILLED, strict=True):
        assert rows[quality].tolist() == here[name].tolist()
    assert len(list_qualities(found, SUPER_RESOLUTION)) == 6
    assert list_qualities(found, Network(task="colouring")).empty
    # where the main network was not trained, what there is stands for the task
    earlier = Trained(results=keep_network(found.results, ARTICLE))
    assert len(list_qualities(earlier)) == 6


def test_of_two_rows_of_one_run_the_later_counts_and_what_diverged_is_null(one: Path) -> None:
    found = read_trained(one)
    later = found.results.assign(psnr_db=math.inf, ssim=0.5, steps=900)
    both = Trained(results=pd.concat([found.results, later], ignore_index=True))
    (row,) = list_qualities(both).to_dict("records")
    assert (row["trained_ssim"], row["steps"]) == (0.5, 900)
    assert math.isnan(row["trained_psnr_db"])


def test_the_level_of_the_targets(results: Path) -> None:
    found = read_trained(results)
    assert find_target_level(found) == pytest.approx(TARGET_LEVEL)
    assert find_target_level(found, SUPER_RESOLUTION) is None
    assert find_target_level(Trained(results=found.results.assign(target_checkerboard_levels=math.nan))) is None


# the join


def fill(trained: Trained | None, quality: pd.DataFrame, layers: Any = ()) -> pd.DataFrame:
    return fill_qualities(quality, make_summary(layers, (16,), ("forward",)), trained)


def take_rows(frame: pd.DataFrame, upsampler: str, kernel: int | None = 3) -> pd.DataFrame:
    same = frame["kernel_size"].isna() if kernel is None else frame["kernel_size"] == kernel
    return frame[(frame["upsampler"] == upsampler) & same.fillna(value=False)]


@pytest.mark.parametrize(("upsampler", "kernel"), [("transposed", 3), ("transposed", 4), ("carafe", None)])
def test_trained_quality_is_joined_by_layer_and_seed(results: Path, upsampler: str, kernel: int | None) -> None:
    found = read_trained(results)
    quality = make_layer_quality(((upsampler, kernel), ("sinc_conv", 3)), seeds=4)
    filled = fill(found, quality)
    pd.testing.assert_frame_equal(
        filled.drop(columns=FILLED),
        quality.sort_values(["upsampler", "seed"], ignore_index=True).drop(columns=FILLED),
    )
    rows = take_rows(filled, upsampler, kernel)
    for name, quality_name in zip(("checkerboard_levels", "psnr_db", "ssim", "steps"), FILLED, strict=True):
        assert rows[quality_name].tolist()[:3] == expect(results, name, upsampler, kernel)
    # the fourth seed was not trained, nor was the other layer, and no layer that is not in the run came in
    assert rows[FILLED].iloc[3].isna().all()
    assert take_rows(filled, "sinc_conv")[FILLED].isna().all(axis=None)
    assert len(filled) == len(quality)


def test_seeds_that_only_training_has_get_rows_without_artifacts(results: Path) -> None:
    found = read_trained(results)
    filled = fill(found, make_layer_quality((("transposed", 3),), seeds=1), (("subpixel", 3), ("sinc_conv", 3)))
    assert list(zip(filled["upsampler"], filled["seed"], strict=True)) == [
        ("subpixel", 0), ("subpixel", 1), ("subpixel", 2), ("transposed", 0), ("transposed", 1), ("transposed", 2),
    ]  # fmt: skip
    alone = filled[filled["channels"].isna()]
    assert len(alone) == 5
    assert alone[list(ARTIFACT_COLUMNS)].isna().all(axis=None)
    assert set(alone["status"]) == {"ok"}
    assert set(alone["message"]) == {"the artifacts of this seed were not measured"}
    assert filled[FILLED].notna().all(axis=None)
    assert filled.dtypes.to_dict() == make_frame([], QUALITY_DTYPES).dtypes.to_dict()


@pytest.mark.parametrize("upsampler", FAST_UPSAMPLERS)
def test_exact_fast_forms_have_the_values_of_what_they_compute(results: Path, upsampler: str) -> None:
    layers = ((upsampler, 3), (upsampler, 5))
    filled = fill(read_trained(results), make_layer_quality(layers, seeds=3))
    assert take_rows(filled, upsampler)["trained_psnr_db"].tolist() == expect(results, "psnr_db", "nearest_conv")
    # nearest_conv was not trained with this kernel
    assert take_rows(filled, upsampler, 5)[FILLED].isna().all(axis=None)


def test_a_fast_form_that_was_trained_has_its_own_values(results: Path) -> None:
    rows = read_trained(results).results
    own = rows[rows["upsampler"] == "nearest_conv"].assign(upsampler="nearest_conv_fast", psnr_db=30.0)
    found = Trained(results=pd.concat([rows, own], ignore_index=True))
    filled = fill(found, make_layer_quality((("nearest_conv_fast", 3), ("nearest_conv_tiled", 3)), seeds=3))
    assert set(take_rows(filled, "nearest_conv_fast")["trained_psnr_db"]) == {30.0}
    assert 30.0 not in set(take_rows(filled, "nearest_conv_tiled")["trained_psnr_db"])


def test_filling_again_replaces_what_was_there(results: Path, tmp_path: Path) -> None:
    layers = (("transposed", 3), ("carafe", None))
    quality = make_layer_quality(layers, seeds=1)
    first = fill(read_trained(results), quality, layers)
    pd.testing.assert_frame_equal(fill(read_trained(results), first, layers), first)
    other = make_trained(tmp_path, (("transposed", 3),), seeds=2)
    second = fill(other, first, layers)
    pd.testing.assert_frame_equal(second, fill(other, quality, layers))
    assert take_rows(second, "carafe", None)[FILLED].isna().all(axis=None)
    assert take_rows(second, "transposed")["steps"].tolist() == [LAST_STEP] * 2


def test_another_network_can_fill_the_table(tmp_path: Path) -> None:
    found = make_trained(tmp_path, (("transposed", 3),), networks=(MAIN_NETWORK, SUPER_RESOLUTION))
    other = found.results["task"] == "super-resolution"
    better = replace(found, results=found.results.assign(psnr_db=found.results["psnr_db"] + 3 * other))
    quality = make_layer_quality((("transposed", 3),), seeds=3)
    table = make_summary((), (16,), ("forward",))
    main = fill_qualities(quality, table, better)["trained_psnr_db"]
    second = fill_qualities(quality, table, better, SUPER_RESOLUTION)["trained_psnr_db"]
    assert second.tolist() == pytest.approx([value + 3 for value in main])


@pytest.mark.parametrize("tasks", [(), ("super-resolution",)], ids=["nothing trained", "another task only"])
def test_where_nothing_was_trained_the_table_is_as_it_was(tmp_path: Path, tasks: tuple[str, ...]) -> None:
    quality = make_layer_quality((("transposed", 3),)).assign(trained_psnr_db=27.0)
    found = make_trained(tmp_path, tasks=tasks)
    assert fill(found, quality) is quality
    assert fill(None, quality) is quality
    assert describe_trained(found) == ""


# provenance


def test_one_sentence_says_where_the_numbers_come_from(results: Path) -> None:
    assert describe_trained(read_trained(results)) == (
        "After training (reconstruction): 9 layers with 3 seeds each, 500 steps of batch 4 on "
        "crops of 128 pixels, networks of width 16, torch 2.13.0 on cpu of Fast CPU, 2 cores, 2026-03-01; read "
        f"from {results} (deconvbench train --seeds 3)."
    )


def test_several_calls_are_counted_and_a_network_can_be_named(one: Path) -> None:
    found = read_trained(one)
    several = replace(found, info={**found.info, "calls": [{}, {}, {}]})
    assert describe_trained(several).endswith(f"; read from {one} (3 calls of deconvbench train).")
    assert describe_trained(found, SUPER_RESOLUTION) == ""
    assert describe_trained(found, MAIN_NETWORK) == describe_trained(found)


def test_ranges_are_told_and_so_is_what_ships() -> None:
    rows = [
        {**dict.fromkeys(TRAINED_DTYPES, 1), **asdict(ARTICLE), "upsampler": "carafe"}
        | {"kernel_size": None, "seed": seed, "steps": steps, "crop_size": 64, "device": device}
        | {"torch_version": None, "code_version": "", "autocast": True}
        for seed, steps, device in ((0, 2000, "cpu"), (1, 70_000, "cuda"))
    ]
    rows.append({**rows[0], "upsampler": "dysample"})
    sentence = describe_trained(Trained(results=make_frame(rows, TRAINED_DTYPES)))
    assert sentence == (
        "After training (reconstruction, instance norm, plain recipe): 2 layers with 1 to 2 seeds each, 2,000 "
        "to 70,000 steps of batch 1 on crops of 64 pixels, networks of width 1, on cpu, cuda; shipped with the "
        "package."
    )


@pytest.mark.parametrize("steps", [1, FEWEST_STEPS - 1])
def test_few_steps_are_called_few(one: Path, steps: int) -> None:
    change_results(one, steps=steps)
    (one / "experiment.json").write_text(json.dumps({"environment": None, "command": 7}))
    sentence = describe_trained(read_trained(one))
    assert sentence.endswith(f"; {steps} step{'s' * (steps > 1)} are few, so take the numbers as a hint.")
    assert "(deconvbench" not in sentence


def test_enough_steps_are_not(one: Path) -> None:
    assert "hint" not in describe_trained(read_trained(change_results(one, steps=FEWEST_STEPS)))


def test_rows_of_results_go_through_frames(results: Path) -> None:
    # the kernel of a layer without one is None there, which is what joins it
    rows = list_rows(list_qualities(read_trained(results)), "results", LAYER_COLUMNS)
    assert {row["kernel_size"] for row in rows if row["upsampler"] == "carafe"} == {None}
