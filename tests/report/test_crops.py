"""Three crops, each under its own name."""

import base64
import csv
import json
from importlib.resources import files
from pathlib import Path

import pytest

from deconvbench.report.crops import list_shown
from deconvbench.tables.trained import Trained
from tests.made_results import make_trained

EXPERIMENTS = Path(__file__).parents[2] / "results" / "reference" / "experiments"


@pytest.mark.parametrize(
    ("recommended", "title"),
    [
        (("nearest_conv", 3), "Recommended: nearest_conv k3 s2"),
        (("nearest_conv_native", 3), "Recommended: nearest_conv k3 s2"),
        (("bilinear_conv", 3), "Recommended: bilinear_conv k3 s2"),
        (("conv_bilinear", 3), "A relative of it: nearest_conv k3 s2"),
        (None, "A resize-convolution: nearest_conv k3 s2"),
    ],
)
def test_the_remedy_is_labelled_as_what_it_is(recommended: tuple[str, int] | None, title: str) -> None:
    crops, note = list_shown(Trained(), recommended)
    assert [crop.title for crop in crops] == ["The original", "A deconvolution: transposed k4 s2", title]
    assert "500 training steps" in note
    for crop in crops:
        assert base64.b64decode(crop.address.partition(",")[2]).startswith(b"\x89PNG")
    assert crops[1].text.startswith("a checkerboard of 2.2 levels, PSNR ")


def test_pictures_of_ones_own_come_first(tmp_path: Path) -> None:
    layers = (("transposed", 3), ("nearest_conv", 3))
    own = make_trained(tmp_path / "experiments", layers, images=("chelsea",))
    crops, note = list_shown(own, ("nearest_conv", 3))
    assert [crop.title for crop in crops[1:]] == [
        "A deconvolution: transposed k3 s2",
        "Recommended: nearest_conv k3 s2",
    ]
    assert note.startswith("Parts of chelsea from networks of ")


def test_what_ships_is_what_the_experiments_made() -> None:
    folder = files("deconvbench.report").joinpath("assets", "crops")
    facts = json.loads(folder.joinpath("crops.json").read_text(encoding="utf-8"))
    with (EXPERIMENTS / "images.csv").open(encoding="utf-8") as file:
        rows = {row["crop"]: row for row in csv.DictReader(file) if row["crop"]}
    for entry in facts["crops"]:
        training = f"reconstruction-{entry['file'].removesuffix('.png')}-s2-instance-seed0"
        name = f"crops/{training}/astronaut-upper-step500.png"
        assert folder.joinpath(entry["file"]).read_bytes() == (EXPERIMENTS / name).read_bytes()
        assert float(rows[name]["checkerboard_levels"]) == entry["checkerboard_levels"]
        assert float(rows[name]["psnr_db"]) == entry["psnr_db"]
