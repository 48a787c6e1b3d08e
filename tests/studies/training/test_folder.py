import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from deconvbench.errors import SurroundingsError
from deconvbench.studies.training import folder as module
from deconvbench.studies.training.folder import FiledImage, NamedImage, hash_pixels, read_folder


def write_image(path: Path, seed: int = 0, shape: tuple[int, int] = (40, 48)) -> torch.Tensor:
    pixels = np.random.default_rng(seed).integers(0, 256, (*shape, 3)).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, "png")
    return torch.from_numpy(pixels).permute(2, 0, 1)


def test_images_come_in_the_order_of_their_names_from_all_folders(tmp_path: Path) -> None:
    written = {name: write_image(tmp_path / name, seed) for seed, name in enumerate(["b.png", "a/z.png", "a/b/c"])}
    images, skipped = read_folder(tmp_path, 16, 10**9)
    assert [one.image.name for one in images] == ["a/b/c", "a/z.png", "b.png"]
    assert skipped == []
    for one in images:
        assert torch.equal(one.image.pixels, written[one.image.name])
        assert one.image.size == (40, 48)


def test_more_files_than_are_decoded_at_a_time_keep_their_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "_FILES_AT_A_TIME", 3)
    written = [write_image(tmp_path / f"{number}.png", number) for number in range(8)]
    images, _ = read_folder(tmp_path, 16, 10**9)
    assert [one.image.name for one in images] == [f"{number}.png" for number in range(8)]
    assert all(torch.equal(one.image.pixels, pixels) for one, pixels in zip(images, written, strict=True))


def test_other_files_are_named_with_the_reason(tmp_path: Path) -> None:
    write_image(tmp_path / "good.png")
    write_image(tmp_path / "low.png", shape=(15, 400))
    write_image(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:600])
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    images, skipped = read_folder(tmp_path, 16, 10**9)
    assert [one.image.name for one in images] == ["good.png", "whole.png"]
    assert [line.split(":")[0] for line in skipped] == ["cut.png", "gone.png", "low.png", "notes.txt"]
    assert skipped[1:] == [
        "gone.png: No such file or directory",
        "low.png: 15×400 pixels, below 16×16",
        "notes.txt: not an image that Pillow reads",
    ]


def test_hidden_files_are_passed_over(tmp_path: Path) -> None:
    write_image(tmp_path / "good.png")
    write_image(tmp_path / ".cache" / "thumbnail.png")
    (tmp_path / ".DS_Store").write_bytes(b"x")
    images, skipped = read_folder(tmp_path, 16, 10**9)
    assert [one.image.name for one in images] == ["good.png"]
    assert skipped == []


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    write_image(tmp_path / "store" / "deep" / "a.png")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train").symlink_to(tmp_path / "store")
    (tmp_path / "mine" / "one.png").symlink_to(tmp_path / "other.png")
    write_image(tmp_path / "other.png", 1)
    images, skipped = read_folder(tmp_path / "mine", 16, 10**9)
    assert [one.image.name for one in images] == ["one.png", "train/deep/a.png"]
    assert skipped == []


@pytest.mark.parametrize(
    ("link", "target", "reason"),
    [
        ("a/loop", "..", "a/loop: the same as ."),
        ("a/self", ".", "a/self: the same as a"),
        ("other", "a", "other: the same as a"),
        # a name before that of the image itself
        ("a/0.png", "1.png", "a/0.png: the same as a/1.png"),
    ],
    ids=["loop", "itself", "sibling", "file"],
)
def test_what_links_lead_to_twice_is_read_once_and_named(
    tmp_path: Path, link: str, target: str, reason: str
) -> None:
    write_image(tmp_path / "a" / "1.png")
    (tmp_path / link).symlink_to(target)
    images, skipped = read_folder(tmp_path, 16, 10**9)
    assert [one.image.name for one in images] == ["a/1.png"]
    assert skipped == [reason]


def test_a_link_that_ends_nowhere_is_named(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    (tmp_path / "round").symlink_to("round")
    (tmp_path / "gone").symlink_to("nowhere/at/all")
    images, skipped = read_folder(tmp_path, 16, 10**9)
    assert len(images) == 1
    assert [line.partition(":")[0] for line in skipped] == ["gone", "round"]


def test_names_that_are_no_text_can_be_stored(tmp_path: Path) -> None:
    write_image(tmp_path / os.fsdecode(b"caf\xe9.png"))
    ((one,), _) = read_folder(tmp_path, 16, 10**9)
    assert one.image.name == r"caf\udce9.png"
    assert one.image.name.encode()


def test_folders_that_cannot_be_listed_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_image(tmp_path / "open" / "a.png")
    write_image(tmp_path / "shut" / "b.png")
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path).name == "shut":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    images, skipped = read_folder(tmp_path, 16, 10**9)
    assert [one.image.name for one in images] == ["open/a.png"]
    assert skipped == ["shut: permission denied"]


def test_images_beyond_the_room_are_decoded_when_used(tmp_path: Path) -> None:
    for number in range(3):
        write_image(tmp_path / f"{number}.png", number)
    one_image = 3 * 40 * 48
    held, _ = read_folder(tmp_path, 16, 10**9)
    mixed, _ = read_folder(tmp_path, 16, 2 * one_image)
    assert [type(one.image) for one in held] == [NamedImage] * 3
    assert [type(one.image) for one in mixed] == [NamedImage, NamedImage, FiledImage]
    for first, second in zip(held, mixed, strict=True):
        assert first.digest == second.digest
        assert (first.image.size, first.image.mean) == (second.image.size, second.image.mean)
        assert torch.equal(first.image.pixels, second.image.pixels)


def test_files_that_change_while_training_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_image(path)
    ((one,), _) = read_folder(tmp_path, 16, 0)
    write_image(path, shape=(41, 48))
    with pytest.raises(SurroundingsError, match=r"a.png is another image than when the training began"):
        _ = one.image.pixels
    path.unlink()
    with pytest.raises(SurroundingsError, match=r"a.png can no longer be read: No such file"):
        _ = one.image.pixels


def test_the_mean_is_that_of_each_channel() -> None:
    pixels = torch.zeros(3, 4, 4, dtype=torch.uint8)
    pixels[0] = 255
    pixels[2, :2] = 51
    assert NamedImage(name="a", pixels=pixels).mean == pytest.approx((1.0, 0.0, 0.1))


def test_hashes_tell_pixels_and_shapes_apart() -> None:
    pixels = torch.arange(24, dtype=torch.uint8).reshape(3, 2, 4)
    hashes = [hash_pixels(pixels), hash_pixels(pixels.reshape(3, 4, 2)), hash_pixels(pixels + 1)]
    assert len(set(hashes)) == 3
    # what they show counts, not how they lie in memory
    assert hash_pixels(pixels.permute(1, 2, 0).contiguous().permute(2, 0, 1)) == hashes[0]
