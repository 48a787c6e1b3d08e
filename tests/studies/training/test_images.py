from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from deconvbench.errors import UsageError
from deconvbench.measure.photographs import PHOTOGRAPHS
from deconvbench.studies.training.folder import FiledImage, NamedImage
from deconvbench.studies.training.images import (
    TEST_PHOTOGRAPHS,
    ImageSet,
    draw_batch,
    load_images,
    make_test_batch,
    mean_colour,
    shrink,
)


@pytest.fixture(scope="module")
def photographs() -> ImageSet:
    return load_images(None)


def write_images(folder: Path, number: int, side: int = 40) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(number):
        pixels = np.random.default_rng(index).integers(0, 256, (side, side + 8, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:03}.png")


def make_set(*sizes: tuple[int, int], name: str = "image") -> ImageSet:
    """A set whose images, for training and testing alike, hold random pixels."""
    generator = torch.Generator().manual_seed(0)
    images = tuple(
        NamedImage(
            name=f"{name}{number}",
            pixels=torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator),
        )
        for number, size in enumerate(sizes)
    )
    return ImageSet(source="made", train=images, test=images, skipped=(), fingerprint="")


def read_names(images: ImageSet) -> tuple[set[str], set[str]]:
    return {image.name for image in images.train}, {image.name for image in images.test}


def test_photographs_are_split_by_image(photographs: ImageSet) -> None:
    train, test = read_names(photographs)
    assert test == set(TEST_PHOTOGRAPHS)
    assert train | test == set(PHOTOGRAPHS)
    assert not train & test
    assert photographs.source == "scikit-image"
    assert photographs.skipped == ()


def test_photographs_have_three_channels_grey_ones_too(photographs: ImageSet) -> None:
    for image in (*photographs.train, *photographs.test):
        assert image.pixels.dtype == torch.uint8
        assert image.pixels.shape == (3, *image.size)
    (camera,) = (image.pixels for image in photographs.train if image.name == "camera")
    assert torch.equal(camera[0], camera[2])
    (astronaut,) = (image.pixels for image in photographs.test if image.name == "astronaut")
    assert not torch.equal(astronaut[0], astronaut[2])


def test_the_seed_does_not_split_photographs_otherwise(photographs: ImageSet) -> None:
    assert load_images(None, seed=3).fingerprint == photographs.fingerprint


@settings(deadline=None, max_examples=15)
@given(st.integers(2, 12), st.integers(0, 1000))
def test_folders_are_split_with_one_image_of_each_at_least(
    tmp_path_factory: pytest.TempPathFactory, number: int, seed: int
) -> None:
    folder = tmp_path_factory.getbasetemp() / f"split{number}"
    if not folder.exists():
        write_images(folder, number)
    images = load_images(folder, seed=seed, smallest=16)
    train, test = read_names(images)
    assert train
    assert test
    assert not train & test
    assert len(train | test) == number
    again = load_images(folder, seed=seed, smallest=16)
    assert read_names(again) == (train, test)
    assert again.fingerprint == images.fingerprint


def test_about_one_in_five_is_for_testing_and_the_seed_says_which(tmp_path: Path) -> None:
    write_images(tmp_path, 100, side=16)
    tests = [read_names(load_images(tmp_path, seed=seed, smallest=16))[1] for seed in range(4)]
    assert all(10 <= len(test) <= 30 for test in tests)
    assert tests[0] != tests[1]


def test_images_keep_their_part_when_others_are_added(tmp_path: Path) -> None:
    write_images(tmp_path, 60, side=16)
    train, test = read_names(load_images(tmp_path, smallest=16))
    for path in sorted(tmp_path.iterdir())[::2]:
        path.unlink()
    fewer_train, fewer_test = read_names(load_images(tmp_path, smallest=16))
    assert fewer_train < train
    assert fewer_test < test


def test_the_fingerprint_is_of_pixels_names_and_split_not_of_the_place(tmp_path: Path) -> None:
    write_images(tmp_path / "a", 4)
    write_images(tmp_path / "b", 4)
    first = load_images(tmp_path / "a", smallest=16)
    assert load_images(tmp_path / "b", smallest=16).fingerprint == first.fingerprint
    assert load_images(tmp_path / "a", smallest=16, held_bytes=0).fingerprint == first.fingerprint
    (tmp_path / "b" / "000.png").rename(tmp_path / "b" / "other.png")
    renamed = load_images(tmp_path / "b", smallest=16).fingerprint
    write_images(tmp_path / "b", 1, side=41)
    assert len({first.fingerprint, renamed, load_images(tmp_path / "b", smallest=16).fingerprint}) == 3


def test_what_is_skipped_is_told(tmp_path: Path) -> None:
    write_images(tmp_path, 3)
    (tmp_path / "readme.txt").write_text("hello")
    assert load_images(tmp_path, smallest=16).skipped == ("readme.txt: not an image that Pillow reads",)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, r"has 0 readable images of 16×16 pixels or more; at least 2 are needed, .* testing$"),
        (1, r"has 1 readable images of 16×16 pixels or more; at least 2 are needed, .* testing$"),
    ],
    ids=["no image", "one image"],
)
def test_too_few_images_are_refused(tmp_path: Path, number: int, said: str) -> None:
    write_images(tmp_path, number)
    with pytest.raises(UsageError, match=said):
        load_images(tmp_path, smallest=16)


def test_a_folder_of_which_nothing_can_be_used_says_why(tmp_path: Path) -> None:
    write_images(tmp_path, 3)
    with pytest.raises(UsageError, match=r"has 0 .* \(skipped 3: 000.png: 40×48 pixels, below 64×64, ...\)$"):
        load_images(tmp_path, smallest=64)
    for name in ("001.png", "002.png"):
        (tmp_path / name).unlink()
    with pytest.raises(UsageError, match=r"\(skipped 1: 000.png: 40×48 pixels, below 64×64\)$"):
        load_images(tmp_path, smallest=64)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(b"x")
    for missing in (path, tmp_path / "missing"):
        with pytest.raises(UsageError, match=f"images: {missing} is not a folder"):
            load_images(missing)


def test_the_mean_colour_weighs_images_alike() -> None:
    red = torch.zeros(3, 50, 60, dtype=torch.uint8)
    red[0] = 255
    black = torch.zeros(3, 8, 8, dtype=torch.uint8)
    train = (NamedImage(name="red", pixels=red), NamedImage(name="black", pixels=black))
    images = ImageSet(source="made", train=train, test=train[:1], skipped=(), fingerprint="")
    assert mean_colour(images).tolist() == [0.5, 0, 0]


def test_batches_come_from_their_arguments_alone(photographs: ImageSet) -> None:
    batch = draw_batch(photographs, 4, 64, 1, 7)
    assert batch.shape == (4, 3, 64, 64)
    assert batch.dtype == torch.float32
    assert 0 <= batch.min() < batch.max() <= 1
    torch.rand(3)
    draw_batch(photographs, 2, 32, 1, 8)
    assert torch.equal(draw_batch(photographs, 4, 64, 1, 7), batch)
    assert not torch.equal(draw_batch(photographs, 4, 64, 1, 8), batch)
    assert not torch.equal(draw_batch(photographs, 4, 64, 2, 7), batch)
    assert not torch.equal(batch[0], batch[1])


def test_batches_of_images_that_are_not_held_are_the_same(tmp_path: Path) -> None:
    write_images(tmp_path, 5)
    held, filed = (load_images(tmp_path, smallest=16, held_bytes=room) for room in (10**9, 0))
    assert isinstance(filed.train[0], FiledImage)
    for step in range(3):
        assert torch.equal(draw_batch(held, 3, 16, 0, step), draw_batch(filed, 3, 16, 0, step))
    assert torch.equal(make_test_batch(held, 16)[1], make_test_batch(filed, 16)[1])
    assert torch.equal(mean_colour(held), mean_colour(filed))


def draw_many(images: ImageSet, size: int, number: int = 200) -> list[torch.Tensor]:
    return [draw_batch(images, 1, size, 0, step)[0] for step in range(number)]


def test_squares_lie_anywhere_and_either_way_round_at_full_and_half_scale() -> None:
    # an image whose pixels say where they are: columns in red, rows in green
    rows, columns = torch.meshgrid(torch.arange(40), torch.arange(48), indexing="ij")
    pixels = torch.stack([columns, rows, torch.zeros_like(rows)]).to(torch.uint8)
    image = NamedImage(name="places", pixels=pixels)
    images = ImageSet(source="made", train=(image,), test=(image,), skipped=(), fingerprint="")
    seen = set()
    for square in draw_many(images, 16, 2000):
        places = square * 255
        step = places[:, 1, 1] - places[:, 0, 0]
        scale = round(float(step[1]))
        is_flipped = float(step[0]) < 0
        assert abs(float(step[0])) == pytest.approx(scale, abs=1e-4)
        centre = (scale - 1) / 2
        top, left = float(places[1].min()) - centre, float(places[0].min()) - centre
        seen.add((scale, is_flipped, round(top), round(left)))
    for is_flipped in (False, True):
        full = {place[2:] for place in seen if place[:2] == (1, is_flipped)}
        assert {min(full)[0], max(full)[0]} == {0, 24}
        assert {min(left for _, left in full), max(left for _, left in full)} == {0, 32}
        half = {place[2:] for place in seen if place[:2] == (2, is_flipped)}
        assert {top for top, _ in half} == set(range(9))
        assert {left for _, left in half} == set(range(17))


def test_half_scale_is_the_mean_of_four_pixels() -> None:
    images = make_set((16, 16))
    pixels = images.train[0].pixels.double() / 255
    expected = pixels.reshape(3, 8, 2, 8, 2).mean((2, 4)).float()
    halves = [square for square in draw_many(images, 8) if torch.allclose(square, expected, atol=1e-6)]
    assert halves


def test_images_too_small_for_a_square_are_not_drawn_from() -> None:
    large, small = (
        NamedImage(name="large", pixels=torch.full((3, 32, 40), 200, dtype=torch.uint8)),
        NamedImage(name="small", pixels=torch.zeros(3, 31, 400, dtype=torch.uint8)),
    )
    images = ImageSet(source="made", train=(small, large), test=(small, large), skipped=(), fingerprint="")
    assert all(float(square.min()) > 0.7 for square in draw_many(images, 32, 20))
    assert make_test_batch(images, 32)[0] == ("large-upper", "large-right", "large-left")
    with pytest.raises(UsageError, match="crop_size: no image has 33×33 pixels"):
        draw_batch(images, 1, 33, 0, 0)
    with pytest.raises(UsageError, match="size: no image has 33×33 pixels"):
        make_test_batch(images, 33)


@pytest.mark.parametrize("size", [128, 256])
def test_every_network_is_scored_on_the_same_squares_of_every_photograph(photographs: ImageSet, size: int) -> None:
    names, squares = make_test_batch(photographs, size)
    assert squares.shape == (6, 3, size, size)
    assert squares.dtype == torch.float32
    assert 0 <= squares.min() < squares.max() <= 1
    assert {name.split("-")[0] for name in names} == set(TEST_PHOTOGRAPHS)
    assert "astronaut-upper" in names
    assert "astronaut-half" in names
    again = make_test_batch(photographs, size)
    assert again[0] == names
    assert torch.equal(again[1], squares)


def test_test_squares_are_what_their_names_say() -> None:
    images = make_set((48, 64))
    pixels = images.test[0].pixels / 255
    names, squares = make_test_batch(images, 16)
    assert names == ("image0-upper", "image0-half", "image0-right", "image0-left")
    assert torch.equal(squares[0], pixels[:, 4:20, 24:40])
    torch.testing.assert_close(squares[1], shrink(pixels[None, :, 8:40, 16:48], 2)[0])
    assert torch.equal(squares[2], pixels[:, 16:32, 48:])
    assert torch.equal(squares[3], pixels[:, 16:32, :16])


def test_an_image_just_large_enough_gives_one_square() -> None:
    names, squares = make_test_batch(make_set((16, 16)), 16)
    assert names == ("image0-upper",)
    assert len(squares) == 1


def test_of_many_images_four_are_scored_on_spread_evenly() -> None:
    names, _ = make_test_batch(make_set(*[(32, 32)] * 11), 16)
    assert names == (
        "image0-upper",
        "image2-upper",
        "image5-upper",
        "image8-upper",
        "image0-half",
        "image2-half",
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cats/My cat (2).JPG", "cats_My_cat_2_-upper"),
        ("../x.png", "_x-upper"),
        ("café.png", "caf_-upper"),
        (r"caf\udce9.png", "caf_udce9-upper"),
        ("v1.2/photo", "v1_2_photo-upper"),
        ("x" * 300, "x" * 80 + "-upper"),
    ],
)
def test_names_of_squares_are_fit_for_files(name: str, expected: str) -> None:
    image = NamedImage(name=name, pixels=torch.zeros(3, 16, 16, dtype=torch.uint8))
    images = ImageSet(source="made", train=(image,), test=(image,), skipped=(), fingerprint="")
    assert make_test_batch(images, 16)[0] == (expected,)


def test_names_of_squares_differ_where_those_of_images_hardly_do() -> None:
    tests = tuple(
        NamedImage(name=name, pixels=torch.zeros(3, 16, 16, dtype=torch.uint8))
        for name in ("a b.png", "a+b.png", "A_B.png")
    )
    images = ImageSet(source="made", train=tests, test=tests, skipped=(), fingerprint="")
    names, _ = make_test_batch(images, 16)
    assert names == ("a_b-upper", "a_b-upper-1", "A_B-upper-2")


def test_shrinking_takes_means() -> None:
    batch = torch.arange(36.0).reshape(1, 1, 6, 6)
    assert torch.equal(shrink(batch, 1), batch)
    expected = batch.reshape(1, 1, 2, 3, 2, 3).mean((3, 5))
    torch.testing.assert_close(shrink(batch, 3), expected)
    with pytest.raises(UsageError, match="scale_factor: 4 does not divide 6×6 pixels"):
        shrink(batch, 4)
