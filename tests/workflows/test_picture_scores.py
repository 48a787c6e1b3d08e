"""From picture files to scores: every kind of file, folders, references, regions, and what is left out."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import deconvbench
from deconvbench.errors import UsageError
from deconvbench.measure.picture import measure_picture
from deconvbench.progress import PartDone
from deconvbench.workflows import picture_scores as module
from deconvbench.workflows.picture_scores import draw_map, score
from tests.measure.test_picture import draw

# the search takes a third of a second for each picture
QUICK = 2


def write(path: Path, amplitude: float = 3, height: int = 128, width: int = 160, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw(height, width, amplitude=amplitude)[0].numpy()).save(path, **options)  # type: ignore[arg-type]
    return path


def test_a_picture_is_scored_in_8_bit_levels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png")
    found = deconvbench.score(path)
    (one,) = found.pictures
    assert (one.name, one.width, one.height, one.format) == (path.as_posix(), 160, 128, "PNG")
    assert (one.period, one.verdict) == (2, "checkerboard")
    assert one.amplitude == pytest.approx(3, rel=0.05)
    assert f"{path}: grid of period 2" in str(found)


def test_depths_and_modes_agree(tmp_path: Path) -> None:
    grey = draw(amplitude=3)[0].numpy()
    pictures = {
        "grey": Image.fromarray(grey),
        "deep": Image.fromarray(grey.astype(np.uint16) * 257),
        "real": Image.fromarray((grey / 255).astype(np.float32)),
        "colour": Image.fromarray(grey).convert("RGB"),
        "palette": Image.fromarray(grey).convert("P"),
        "alpha": Image.fromarray(grey).convert("RGBA"),
        "CMYK": Image.fromarray(grey).convert("CMYK"),
    }
    for name, picture in pictures.items():
        picture.save(tmp_path / f"{name}.tif")
    exif = Image.Exif()
    exif[274] = 3
    pictures["grey"].save(tmp_path / "turned.png", exif=exif)
    found = score(tmp_path, period=QUICK)
    assert len(found.pictures) == 8
    for one in found.pictures:
        assert one.amplitude == pytest.approx(3, rel=0.05), one.name
        assert one.amplitude == pytest.approx(found.pictures[0].amplitude, rel=0.02), one.name


def test_folders_are_searched_and_what_is_no_picture_is_named(tmp_path: Path) -> None:
    write(tmp_path / "b.png", 0)
    write(tmp_path / "deep" / "a.png")
    write(tmp_path / "small.png", height=20, width=20)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "gone.png").symlink_to("nowhere")
    steps: list[PartDone] = []
    found = score(tmp_path, period=QUICK, observer=steps.append)
    assert [one.name for one in found.pictures] == ["b.png", "deep/a.png"]
    assert {one.name: one.reason for one in found.left_out} == {
        "gone.png": "No such file or directory",
        "notes.txt": "not an image that Pillow reads",
        "small.png": "20×20 pixels are too few; at least 32×32 are needed",
    }
    assert [step.done for step in steps] == [1, 2]


def test_files_and_folders_keep_their_order_and_are_scored_once(tmp_path: Path) -> None:
    first, second = write(tmp_path / "z.png"), write(tmp_path / "in" / "a.png")
    found = score([first, tmp_path / "in", str(second)], period=QUICK)
    assert [one.name for one in found.pictures] == [first.as_posix(), second.as_posix()]


def test_a_reference_takes_the_content_off(tmp_path: Path) -> None:
    clean, marked = write(tmp_path / "clean.png", 0), write(tmp_path / "marked.png", 1)
    found = score(marked, period=QUICK, reference=clean)
    assert found.reference == str(clean)
    assert found.pictures[0].amplitude == pytest.approx(1, rel=0.02)
    assert found.pictures[0].detection_level < 0.2 * score(marked, period=QUICK).pictures[0].detection_level
    colour = tmp_path / "colour.png"
    Image.open(marked).convert("RGB").save(colour)
    assert score(colour, period=QUICK, reference=clean).pictures[0].amplitude == pytest.approx(1, rel=0.02)
    with pytest.raises(UsageError, match="differ: 128×128 and 160×128 pixels"):
        score(write(tmp_path / "other.png", width=128), reference=clean)


def test_a_region_is_cut_out_after_turning(tmp_path: Path) -> None:
    pixels = draw(256, 256)[0].numpy()
    pixels[:128, 128:] = draw(256, 256, amplitude=4)[0].numpy()[:128, 128:]
    Image.fromarray(pixels).save(tmp_path / "a.png")
    exif = Image.Exif()
    exif[274] = 3
    Image.fromarray(pixels).save(tmp_path / "b.png", exif=exif)
    (one,) = score(tmp_path / "a.png", period=QUICK, region="128,0,128,128").pictures
    assert (one.width, one.height) == (128, 128)
    assert one.amplitude == pytest.approx(4, rel=0.05)
    turned = score(tmp_path / "b.png", period=QUICK, region=(0, 128, 128, 128)).pictures[0]
    assert turned.amplitude == pytest.approx(4, rel=0.05)
    with pytest.raises(UsageError, match="region 200,0,128,128 does not lie within its 256×256 pixels"):
        score(tmp_path / "a.png", region=[200, 0, 128, 128])


def test_blocks_of_jpeg_are_no_checkerboard(tmp_path: Path) -> None:
    # smooth, so that quality 30 leaves little but the blocks
    (one,) = score(write(tmp_path / "a.jpg", 0, 256, 256, quality=20)).pictures
    assert one.format == "JPEG"
    assert one.blocks is not None
    assert one.blocks.period == 8
    assert one.verdict in ("nothing", "checkerboard or blocks")


@pytest.mark.parametrize(
    ("period", "region", "said"),
    [
        (1, None, "period: 1 is not auto or a whole number from 2 to 32"),
        (33, None, "period: 33"),
        ("two", None, "period: 'two'"),
        ("9" * 5000, None, "period: '9999"),
        (2.0, None, "period: 2.0"),
        (True, None, "period: True"),
        (2, "0,0,64", "region: '0,0,64' is not X,Y,WIDTH,HEIGHT"),
        (2, "0,0,0,64", "region: '0,0,0,64'"),
        (2, "-1,0,64,64", "region: '-1,0,64,64'"),
        (2, [0, 0, 64.5, 64], "region: [0, 0, 64.5, 64]"),
        (2, 7, "region: 7"),
    ],
)
def test_what_is_not_allowed_is_one_line(tmp_path: Path, period: int, region: str | None, said: str) -> None:
    path = write(tmp_path / "a.png")
    with pytest.raises(UsageError) as raised:
        score(path, period=period, region=region)
    assert str(raised.value).startswith(said)
    assert "\n" not in str(raised.value)


def test_without_any_picture_it_says_why(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pictures: none is given"):
        score([])
    with pytest.raises(UsageError, match="is a folder without files"):
        score(tmp_path)
    with pytest.raises(UsageError, match="cannot read .*none.png': No such file"):
        score(tmp_path / "none.png")
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "b.txt").write_text("x")
    with pytest.raises(UsageError, match=r"no picture could be scored: a.txt: not an image .* \(and 1 more\)"):
        score(tmp_path)
    with pytest.raises(UsageError, match="reference: cannot read .*a.txt': not an image"):
        score(write(tmp_path / "c.png"), reference=tmp_path / "a.txt")


def test_memory_that_is_not_there_costs_one_picture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    write(tmp_path / "b.png", width=170)

    def fail(values: object, period: int | None) -> object:
        if getattr(values, "shape", (0, 0, 0))[2] == 170:
            raise MemoryError
        return measure_picture(values, period)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "measure_picture", fail)
    found = score(tmp_path, period=QUICK)
    assert [(one.name, one.reason) for one in found.left_out] == [("b.png", "does not fit into memory")]


def test_an_error_that_was_not_foreseen_costs_one_picture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    write(tmp_path / "b.png", width=170)

    def fail(values: object, period: int | None) -> object:
        if getattr(values, "shape", (0, 0, 0))[2] == 170:
            raise KeyError("odd")
        return measure_picture(values, period)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "measure_picture", fail)
    found = score(tmp_path, period=QUICK)
    assert [one.name for one in found.pictures] == ["a.png"]
    (left_out,) = found.left_out
    assert (left_out.name, left_out.details.startswith("Traceback")) == ("b.png", True)
    assert left_out.reason.startswith("cannot be scored: KeyError: 'odd'")
    assert "\n" not in left_out.reason
    with pytest.raises(
        UsageError, match="no picture could be scored: .*b.png: cannot be scored: KeyError"
    ) as raised:
        score(tmp_path / "b.png")
    assert "Traceback" in raised.value.__notes__[0]


def test_images_that_a_program_holds_are_scored_as_their_files(tmp_path: Path) -> None:
    grey = draw(amplitude=3)[0].numpy()
    path = write(tmp_path / "a.png")
    expected = score(path, period=QUICK).pictures[0].amplitude
    colours = np.stack([grey] * 3, -1)
    held: list[Any] = [
        Image.fromarray(grey),
        Image.open(path),
        grey,
        colours,
        torch.from_numpy(colours).permute(2, 0, 1)[None],
        grey.astype(np.uint16) * 257,
        (grey / 255).astype(np.float32),
        grey.astype(np.float64),
        grey.astype(np.int64),
        np.dstack([colours, np.full_like(grey, 255)]),
    ]
    found = score([path, *held], period=QUICK)
    assert found.left_out == ()
    assert [one.name for one in found.pictures] == [path.as_posix(), *(f"image {n}" for n in range(2, 12))]
    assert [one.amplitude for one in found.pictures] == pytest.approx([expected] * 11, rel=1e-3)
    assert found.pictures[-1].notes == ("transparent pixels are put on white",)
    for one in held[:5]:
        assert score(one, period=QUICK).pictures[0].amplitude == pytest.approx(expected, rel=1e-3)
    clean = write(tmp_path / "clean.png", 0)
    residual = score(held[2], period=QUICK, reference=Image.open(clean))
    assert residual.reference == "the given image"
    assert residual.pictures[0].amplitude == pytest.approx(3, rel=0.01)
    assert draw_map(held[0], found.pictures[1]).startswith(b"\x89PNG")
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(grey).save(tmp_path / "turned.png", exif=exif)
    assert score(Image.open(tmp_path / "turned.png"), period=QUICK).pictures[0].width == 128


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "pictures: None is not a path, a Pillow image, an array, a tensor or a list of these"),
        (7, "pictures: 7 is not a path"),
        (b"a.png", "pictures: b'a.png' is not a path"),
        ([None], "pictures: None is not the path of a file or folder"),
        (np.zeros((2, 3, 64, 64)), "no picture could be scored: image 1: shape (2, 3, 64, 64) is not one image"),
        (torch.zeros(5, 64, 64), "no picture could be scored: image 1: "),
        (np.full((64, 64), 0.5 + 100j), "no picture could be scored: image 1: dtype complex128"),
        (np.full((64, 64), 300), "no picture could be scored: image 1: values from 300 to 300 do not tell"),
        (np.full((64, 64), -1.0), "no picture could be scored: image 1: values from -1 to -1 do not tell"),
        (np.full((64, 64), np.nan), "no picture could be scored: image 1: holds NaN or infinity"),
    ],
    ids=lambda value: None if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_picture_is_one_line(given: Any, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        score(given, period=QUICK)
    assert str(raised.value).startswith(said)
    assert "\n" not in str(raised.value)
    if not said.startswith("no picture"):
        with pytest.raises(UsageError):
            score(Image.new("L", (64, 64)), reference=given or [7])  # type: ignore[arg-type]


def test_a_float_tiff_with_nan_is_named(tmp_path: Path) -> None:
    values = np.full((64, 64), 0.5, np.float32)
    values[3, 4] = np.nan
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(UsageError, match="a.tif: 1 of 4096 values are NaN or infinite"):
        score(tmp_path / "a.tif")


@pytest.mark.parametrize("period", ["auto", 2])
def test_the_smallest_pictures_are_judged_alike(tmp_path: Path, period: int | str) -> None:
    strong = write(tmp_path / "a.png", 20, 32, 32)
    (one,) = score(strong, period=period).pictures
    assert (one.period, one.verdict) == (2, "checkerboard")
    assert "too few patches for a detection level" in str(score(strong, period=period))
    (clean,) = score(write(tmp_path / "b.png", 0, 32, 32), period=period).pictures
    assert clean.verdict == "nothing"


def test_an_enlarged_picture_is_said_to_be_one(tmp_path: Path) -> None:
    small = Image.fromarray(draw(96, 96)[0].numpy())
    small.resize((288, 288), Image.Resampling.NEAREST).save(tmp_path / "a.png")
    found = score(tmp_path / "a.png", period=3)
    (one,) = found.pictures
    assert (one.enlargement, one.enlarged_by, one.blocks) == (3, "nearest neighbour", None)
    assert one.verdict in ("nothing", "enlarged")
    assert "probably enlarged 3 times (nearest neighbour)" in str(found)


def test_large_pictures_take_turns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path / f"{number}.png", width=160 + 16 * (number % 2))
    inside: list[int] = []

    def watch(values: object, period: int | None) -> object:
        is_large = values.shape[2] > 160  # type: ignore[attr-defined]
        assert not (is_large and inside)
        inside.extend([1] * is_large)
        try:
            return measure_picture(values, period)  # type: ignore[arg-type]
        finally:
            del inside[: int(is_large)]

    monkeypatch.setattr(module, "_LARGE", 128 * 160)
    monkeypatch.setattr(module, "measure_picture", watch)
    assert len(score(tmp_path, period=QUICK).pictures) == 4


def test_the_map_is_a_png_of_the_picture(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png")
    found = score(path, period=QUICK)
    steps: list[PartDone] = []
    drawn = draw_map(path, found.pictures[0], observer=steps.append)
    picture = Image.open(io.BytesIO(drawn))
    assert picture.format == "PNG"
    assert picture.info["Title"] == "deconvbench score"
    assert steps[-1].done == steps[-1].total
    unread = replace(found.pictures[0], read_period=None)
    with pytest.raises(UsageError, match="map: the amplitude of period"):
        draw_map(path, unread)
