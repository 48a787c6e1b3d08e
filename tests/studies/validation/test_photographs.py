from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image as Pillow

from deconvbench.errors import SurroundingsError, UsageError
from deconvbench.progress import PartDone
from deconvbench.studies.validation.images import make_rng, normalise
from deconvbench.studies.validation.photographs import (
    BUNDLED,
    HALF,
    NATIVE,
    PHOTOGRAPHS,
    CropPlan,
    Photograph,
    average_blocks,
    cut_middle,
    draw_crop,
    list_bundled,
    list_own,
    plan_crops,
    spread_places,
    to_grey,
)


def make_photograph(name: str, height: int, width: int) -> Photograph:
    pixels = make_rng(0, name).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Photograph(name=name, size=(height, width), read=lambda: pixels)


def test_the_wheel_has_photographs_in_colour_and_grey() -> None:
    found = list_bundled()
    assert found.source == "scikit-image"
    assert found.whole == PHOTOGRAPHS
    assert [photograph.name for photograph in found.photographs] == list(BUNDLED)
    for name in ("coins", "astronaut", "moon"):
        photograph = found.find(name)
        pixels = photograph.read()
        assert pixels.dtype == np.uint8
        assert pixels.shape == (*photograph.size, 3)
        assert min(photograph.size) >= 256


def test_unknown_photographs_are_listed() -> None:
    with pytest.raises(UsageError, match="photograph: 'lena' is none of astronaut, brick"):
        list_bundled(["lena"])


def test_a_missing_file_is_not_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(skimage, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(SurroundingsError, match="astronaut.png cannot be read; reinstall scikit-image"):
        list_bundled()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images that can be used, of other formats and modes, and three files that cannot."""
    noise = make_rng(0).integers(0, 256, (300, 280), dtype=np.uint8)
    Pillow.fromarray(noise).save(tmp_path / "a.png")
    (tmp_path / "below").mkdir()
    Pillow.fromarray(np.dstack([noise] * 3)).save(tmp_path / "below" / "b.webp", lossless=True)
    Pillow.fromarray(noise[:255]).save(tmp_path / "small.bmp")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_a_folder_of_ones_own_names_what_it_leaves_out(folder: Path) -> None:
    steps: list[PartDone] = []
    found = list_own(folder, steps.append)
    assert [photograph.name for photograph in found.photographs] == ["a.png", "below/b.webp"]
    assert found.source == str(folder)
    assert found.whole == ("a.png", "below/b.webp")
    assert [text.partition(":")[0] for text in found.left_out] == ["broken.jpg", "notes.txt", "small.bmp"]
    assert "small.bmp: 255×280 pixels, below 256×256" in found.left_out
    assert [step.note for step in steps if step.note] == [f"left out: {text}" for text in found.left_out]
    assert [step.done for step in steps] == [1, 2, 3, 4, 5]
    assert {step.total for step in steps} == {5}
    first, second = found.photographs
    np.testing.assert_array_equal(first.read(), second.read())
    assert first.size == (300, 280)


def test_a_folder_without_images_is_refused(folder: Path) -> None:
    for name in ("a.png", "below/b.webp"):
        (folder / name).unlink()
    with pytest.raises(UsageError, match=r"has no readable image of 256×256 pixels or more \(left out 3: broken"):
        list_own(folder)
    for path in folder.glob("*.*"):
        path.unlink()
    with pytest.raises(UsageError, match="has no readable image of 256×256 pixels or more$"):
        list_own(folder)
    with pytest.raises(UsageError, match="--images: .*missing' is not a folder"):
        list_own(folder / "missing")


def test_squares_are_shared_out_evenly() -> None:
    photographs = [
        make_photograph("small", 260, 270), make_photograph("middle", 384, 400), make_photograph("large", 600, 520)
    ]  # fmt: skip
    plans = plan_crops(photographs, 12)
    assert [(plan.photograph.name, plan.scale, plan.side, plan.number) for plan in plans] == [
        ("small", NATIVE, 256, 3),
        ("middle", NATIVE, 256, 3),
        ("middle", HALF, 192, 2),
        ("large", NATIVE, 256, 2),
        ("large", HALF, 192, 2),
    ]
    (plan,) = plan_crops(photographs, 5, large=True)
    assert (plan.photograph.name, plan.scale, plan.side, plan.number) == ("large", NATIVE, 512, 5)
    assert plan_crops(photographs[:1], 5, large=True) == []
    assert len(plan_crops(photographs, 2)) == 2


def test_a_photograph_gives_no_square_twice_for_want_of_others() -> None:
    plans = plan_crops([make_photograph("exact", 256, 256), make_photograph("row", 256, 258)], 20)
    assert [plan.number for plan in plans] == [1, 3]


def test_squares_depend_on_name_and_number_alone() -> None:
    photograph = make_photograph("a", 300, 300)
    crops = CropPlan(photograph=photograph, scale=NATIVE, side=256, number=3).cut()
    assert list(crops) == [("a", 0), ("a", 1), ("a", 2)]
    again = CropPlan(photograph=photograph, scale=NATIVE, side=256, number=2).cut()
    for key, crop in again.items():
        np.testing.assert_array_equal(crop, crops[key])
        assert crop.shape == (256, 256)
        assert (crop.mean(), crop.std()) == pytest.approx((0, 1), abs=1e-9)
    assert not np.array_equal(crops["a", 0], crops["a", 1])
    half = CropPlan(photograph=photograph, scale=HALF, side=150, number=1).cut()
    np.testing.assert_allclose(half["a", 0], normalise(average_blocks(to_grey(photograph.read()), 2)))


def test_a_constant_part_is_passed_over_and_a_constant_photograph_gives_nothing() -> None:
    pixels = np.zeros((64, 400, 3), np.uint8)
    pixels[:, 300:] = make_rng(0).integers(0, 256, (64, 100, 3))
    photograph = Photograph(name="sky", size=(64, 400), read=lambda: pixels)
    assert len(CropPlan(photograph=photograph, scale=NATIVE, side=64, number=5).cut()) == 5
    black = Photograph(name="black", size=(64, 400), read=lambda: np.zeros((64, 400, 3), np.uint8))
    assert CropPlan(photograph=black, scale=NATIVE, side=64, number=5).cut() == {}


def test_crops_are_cut_at_random_and_have_unit_contrast() -> None:
    photograph = make_rng(0).standard_normal((303, 384))
    crops = [draw_crop(make_rng(seed), photograph, 64) for seed in range(3)]
    assert all(crop.shape == (64, 64) and crop.std() == pytest.approx(1) for crop in crops)
    assert not np.allclose(crops[0], crops[1])
    whole = draw_crop(make_rng(0), photograph[:200, :200], 200)
    np.testing.assert_allclose(whole, normalise(photograph[:200, :200]))
    with pytest.raises(UsageError, match="size: 400 is more than a photograph of 303×384 pixels has"):
        draw_crop(make_rng(0), photograph, 400)


def test_grey_is_luminance() -> None:
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]], dtype=np.uint8)
    np.testing.assert_allclose(to_grey(colours), [[54.1875, 182.427, 18.3855, 9.0]], atol=1e-3)


def test_blocks_are_averaged_and_what_is_left_over_is_dropped() -> None:
    image = np.arange(15.0).reshape(3, 5)
    np.testing.assert_array_equal(average_blocks(image, 2), [[3, 5]])


def test_the_middle_is_cut_out_of_what_is_larger() -> None:
    image = make_rng(0).standard_normal((10, 7))
    np.testing.assert_allclose(cut_middle(image, 4), normalise(image[3:7, 1:5]))
    np.testing.assert_allclose(cut_middle(image, 8), normalise(image[1:9]))


@pytest.mark.parametrize(
    ("available", "wanted", "places"), [(10, 4, [0, 2, 5, 7]), (3, 5, [0, 1, 2]), (4, 4, [0, 1, 2, 3]), (0, 3, [])]
)
def test_places_are_spread_evenly(available: int, wanted: int, places: list[int]) -> None:
    assert spread_places(available, wanted) == places
