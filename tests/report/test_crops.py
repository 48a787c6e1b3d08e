"""Three crops, each under its own name."""

import base64
import json
import re
from importlib.resources import files
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from deconvbench.report.crops import list_shown
from deconvbench.tables.trained import Trained
from tests.made_results import make_trained


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
    assert re.search(r"after [0-9,]+ training steps", note)
    for crop in crops:
        assert base64.b64decode(crop.address.partition(",")[2]).startswith(b"\x89PNG")
    assert re.match(r"a checkerboard of [1-9]\.[0-9] levels, PSNR ", crops[1].text)


def test_pictures_of_ones_own_come_first(tmp_path: Path) -> None:
    layers = (("transposed", 3), ("nearest_conv", 3))
    own = make_trained(tmp_path / "experiments", layers, images=("chelsea",))
    crops, note = list_shown(own, ("nearest_conv", 3))
    assert [crop.title for crop in crops[1:]] == [
        "A deconvolution: transposed k3 s2",
        "Recommended: nearest_conv k3 s2",
    ]
    assert note.startswith("Parts of chelsea from networks of ")


def test_what_ships_is_what_its_description_says() -> None:
    folder = files("deconvbench.report").joinpath("assets", "crops")
    facts = json.loads(folder.joinpath("crops.json").read_text(encoding="utf-8"))
    names = {entry["file"] for entry in facts["crops"]}
    assert {path.name for path in folder.iterdir()} == names | {"original.png", "crops.json"}
    # the first is the deconvolution that many use, and chose the picture for its checkerboard
    levels = {(entry["upsampler"], entry["kernel_size"]): entry["checkerboard_levels"] for entry in facts["crops"]}
    assert levels["transposed", 4] == max(levels.values())
    assert levels["nearest_conv", 3] < 0.5
    sizes = set()
    for name in names | {"original.png"}:
        with Image.open(BytesIO(folder.joinpath(name).read_bytes())) as picture:
            sizes.add(picture.size)
    assert len(sizes) == 1
