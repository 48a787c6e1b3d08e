from pathlib import Path

import numpy as np
import pytest
import skimage
from skimage.io import imread

from deconvbench.errors import SurroundingsError
from deconvbench.measure.photographs import PHOTOGRAPHS, read_bundled, read_photograph


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_every_photograph_is_in_the_wheel_and_large_enough(name: str) -> None:
    pixels = read_photograph(name)
    assert pixels.dtype == np.uint8
    assert min(pixels.shape[:2]) >= 256
    assert pixels.shape[2:] in {(), (3,)}
    assert pixels.std() > 10


def test_the_file_of_the_name_is_read() -> None:
    expected = imread(Path(skimage.__file__).parent / "data" / "ihc.png")
    np.testing.assert_array_equal(read_photograph("immunohistochemistry"), expected)


def test_unknown_names_are_no_files() -> None:
    with pytest.raises(KeyError):
        read_photograph("logo.png")


def test_a_missing_file_is_not_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(skimage, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(SurroundingsError, match="ihc.png cannot be read; reinstall scikit-image"):
        read_photograph("immunohistochemistry")


def test_any_picture_of_the_wheel_can_be_read_by_its_file() -> None:
    page = read_bundled("page.png")
    assert page.dtype == np.uint8
    assert page.ndim == 2
    with pytest.raises(SurroundingsError, match="nothing.png cannot be read"):
        read_bundled("nothing.png")
