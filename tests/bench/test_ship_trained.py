"""Results of training experiments, made small: what is kept to six digits, what is left out, and where it goes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from bench import ship_trained
from bench.ship_trained import CROPS, REFERENCE, TABLES, clean_command, clean_info, main, read_all, ship
from deconvbench.plots.style import make_figure
from deconvbench.records.schema import CURVE_DTYPES, IMAGE_DTYPES, TRAINED_DTYPES
from deconvbench.tables.frames import list_rows
from deconvbench.tables.trained import Trained, read_trained
from deconvbench.tables.trained_files import NOT_NEEDED
from deconvbench.tables.trained_networks import MAIN_NETWORK, list_networks
from tests.made_results import INFO, make_results, write_rows

LAYERS = (("transposed", 4), ("transposed", 3), ("nearest_conv", 3), ("carafe", None))
NETWORKS = (replace(MAIN_NETWORK, task="super-resolution"), MAIN_NETWORK, replace(MAIN_NETWORK, variant="last-3"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_results(
        tmp_path_factory.mktemp("ship") / "trained",
        LAYERS,
        seeds=2,
        networks=NETWORKS,
        images=("coffee-upper", "rocket-left"),
    )
    call = {"command": ["deconvbench", "train", "--out", "/home/someone/out"], "started_at": "2026-03-01T12:00:00"}
    environment = {**INFO["environment"], "variables": {"HOME": "/home/someone"}, "load_average": 0.5}
    info = {**INFO, "calls": [call], "command": call["command"], "environment": environment}
    (made / "experiment.json").write_text(json.dumps(info), encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def shipped(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout into which the folder was shipped."""
    root = tmp_path_factory.mktemp("checkout")
    assert len(ship_quickly(folder, root)) == 3
    return root


def ship_quickly(folder: Path, root: Path) -> list[str]:
    """Ship with one small figure: all of them take seconds."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ship_trained, "draw_article_figures", lambda trained: {"figure_7": make_figure(1.0)})
        return ship([folder], root)


def test_every_number_is_kept_to_six_digits(folder: Path, shipped: Path) -> None:
    whole, small = read_all([folder]), read_trained(shipped / TABLES)
    for name, dtypes in (("results", TRAINED_DTYPES), ("curves", CURVE_DTYPES), ("images", IMAGE_DTYPES)):
        before, after = getattr(whole, name), getattr(small, name)
        assert len(after) == len(before) > 0
        left_out = NOT_NEEDED.get(f"{name}.csv", ())
        for column in dtypes:
            if column in left_out:
                assert after[column].isna().all(), column
            elif dtypes[column] == "float64":
                np.testing.assert_allclose(after[column], before[column], rtol=5e-6, err_msg=column)
            else:
                pd.testing.assert_series_equal(after[column], before[column])
    text = (shipped / TABLES / "images.csv").read_text(encoding="utf-8")
    assert text.splitlines()[0].endswith(",image,psnr_db,checkerboard_levels")
    assert max(len(word.lstrip("-").replace(".", "").lstrip("0")) for word in text.split()[5].split(",")[-2:]) <= 6


def test_no_path_of_the_machine_is_left(shipped: Path) -> None:
    for path in (shipped / TABLES).iterdir():
        text = path.read_text(encoding="utf-8")
        assert "someone" not in text
        assert "crops/" not in text
        assert "load_average" not in text
    info = read_trained(shipped / TABLES).info
    assert info["command"] == ["deconvbench", "train"]
    assert info["environment"]["cpu"] == "Fast CPU"


def test_a_report_gets_the_picture_with_the_strongest_checkerboard(folder: Path, shipped: Path) -> None:
    facts = json.loads((shipped / CROPS / "crops.json").read_text(encoding="utf-8"))
    # its level grows with the length of the image's name in what was made
    assert facts["image"] == "coffee"
    assert facts["note"] == (
        "Parts of coffee (Rachel Michetti, CC0; scikit-image), from networks for reconstruction after 500 "
        "training steps, 16 channels wide."
    )
    assert [(entry["upsampler"], entry["kernel_size"]) for entry in facts["crops"]] == [
        ("transposed", 4),
        ("nearest_conv", 3),
    ]
    rows = read_trained(folder).images
    for entry in facts["crops"]:
        kept = shipped / CROPS / entry["file"]
        made = f"{entry['upsampler']}-k{entry['kernel_size']}-reconstruction-none-tuned-standard"
        name = f"crops/{made}/coffee-upper-step500.png"
        assert kept.read_bytes() == (folder / name).read_bytes()
        row = rows[rows["crop"] == name].iloc[0]
        assert entry["checkerboard_levels"] == pytest.approx(row["checkerboard_levels"], rel=1e-5)
    with Image.open(shipped / CROPS / "original.png") as picture:
        assert picture.size == (128, 128)


@pytest.mark.slow
def test_the_articles_figures_are_drawn_for_both_tasks(folder: Path, tmp_path: Path) -> None:
    assert main([str(folder), "--root", str(tmp_path)]) == 0
    names = {path.name for path in (tmp_path / REFERENCE / "figures").iterdir()}
    assert {"figure_5.png", "figure_7.png", "figure_7_super_resolution.png", "gallery.png"} <= names
    assert read_trained(tmp_path / REFERENCE).results["upsampler"].nunique() == 3


def test_shipping_again_gives_the_same_bytes_and_removes_what_is_no_longer_made(
    folder: Path, shipped: Path, tmp_path: Path
) -> None:
    stale = [CROPS / "subpixel-k3.png", REFERENCE / "images.csv", REFERENCE / "figures" / "figure_9.png"]
    stale.append(REFERENCE / "crops" / "old" / "coffee.png")
    kept = [REFERENCE / "README.md", REFERENCE / "claims.json"]
    for path in (*stale, *kept):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("before", encoding="utf-8")
    ship_quickly(folder, tmp_path)
    for path in stale:
        assert not (tmp_path / path).exists()
    for path in kept:
        assert (tmp_path / path).read_text(encoding="utf-8") == "before"
    for path in shipped.rglob("*"):
        if path.is_file():
            assert (tmp_path / path.relative_to(shipped)).read_bytes() == path.read_bytes(), path


def test_several_folders_are_one_and_of_a_run_that_two_have_the_last_counts(folder: Path, tmp_path: Path) -> None:
    longer = read_trained(folder).results.query("upsampler == 'carafe'").assign(steps=900)
    other = make_results(tmp_path / "other", (("dysample", None),), seeds=1)
    more = read_trained(other).results
    rows = list_rows(pd.concat([longer, more]), "results", TRAINED_DTYPES)
    write_rows(other / "results.csv", rows, TRAINED_DTYPES)
    both = read_all([folder, other])
    assert {*both.results["upsampler"]} == {"transposed", "nearest_conv", "carafe", "dysample"}
    assert {*both.results.loc[both.results["upsampler"] == "carafe", "steps"]} == {900}
    assert not both.results.duplicated(["task", "upsampler", "kernel_size", "variant", "seed"]).any()
    assert list_networks(both.results) == sorted(NETWORKS, key=lambda network: network.rank)
    assert both.folder == folder


def test_each_figure_is_drawn_from_the_first_folder_that_has_its_pictures(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_results(
        tmp_path / "other",
        (("transposed", 3),),
        seeds=1,
        networks=(replace(MAIN_NETWORK, task="segmentation"),),
        images=("coffee-upper",),
    )
    drawn: list[tuple[Path | None, set[str], int]] = []

    def draw(trained: Trained) -> dict[str, Figure]:
        drawn.append((trained.folder, {*trained.images["task"]}, trained.curves["task"].nunique()))
        return {"figure_7": make_figure(1.0), f"figure_of_{len(drawn)}": make_figure(2.0)}

    monkeypatch.setattr(ship_trained, "draw_article_figures", draw)
    root = tmp_path / "root"
    ship([folder, other], root)
    assert drawn == [(folder, {"reconstruction", "super-resolution"}, 3), (other, {"segmentation"}, 3)]
    names = {path.name for path in (root / REFERENCE / "figures").iterdir()}
    assert names == {"figure_7.png", "figure_of_1.png", "figure_of_2.png"}
    assert {*read_trained(root / TABLES).images["task"]} == {"reconstruction", "super-resolution", "segmentation"}


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["train", "--out", "/a/b", "--seeds", "3"], ["train", "--seeds", "3"]),
        (["/usr/bin/deconvbench", "train", "--images=/home/x"], ["deconvbench", "train"]),
        (["train", "--out"], ["train"]),
        (["train", "--outer", "1"], ["train", "--outer", "1"]),
    ],
)
def test_folders_are_taken_out_of_commands(words: list[str], kept: list[str]) -> None:
    assert clean_command(words) == kept


def test_a_description_of_nothing_stays_one() -> None:
    assert clean_info({}) == {"command": [], "environment": {}, "calls": []}


def test_what_cannot_be_shipped_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "no"), "--root", str(tmp_path)]) == 2
    assert "is not a folder" in capsys.readouterr().err
    empty = make_results(tmp_path / "empty", tasks=())
    assert main([str(empty), "--root", str(tmp_path)]) == 2
    assert "no training run has ended" in capsys.readouterr().err
    bare = make_results(tmp_path / "bare", (("transposed", 3),), seeds=1)
    assert main([str(bare), "--root", str(tmp_path / "out")]) == 2
    assert "has no crops of reconstruction" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert isinstance(read_all([bare]), Trained)
