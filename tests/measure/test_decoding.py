import io
import math
import os
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from deconvbench.measure import decoding
from deconvbench.measure.decoding import (
    UnreadableImageError,
    count_pixels,
    hush_pillow,
    read_image,
    read_levels,
)

COLOURS = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)
GREYS = COLOURS[..., 0]
# of one colour in each quarter, so that lossy formats keep it
PATCHES = np.kron(np.array([[0, 80], [160, 250]], dtype=np.uint8), np.ones((16, 16), dtype=np.uint8))


def save(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def as_array(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    pixels = read_image(path)
    assert pixels.dtype == torch.uint8
    assert pixels.shape[0] == 3
    assert pixels.is_contiguous()
    return pixels.permute(1, 2, 0).numpy()


@pytest.mark.parametrize("extension", ["png", "bmp", "tif", "webp"])
def test_colours_come_as_they_are(tmp_path: Path, extension: str) -> None:
    options = {"lossless": True} if extension == "webp" else {}
    path = save(tmp_path / f"a.{extension}", Image.fromarray(COLOURS), **options)
    np.testing.assert_array_equal(as_array(path), COLOURS)


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(GREYS),
        Image.fromarray(GREYS.astype(np.uint16) * 257),
        Image.fromarray(GREYS.astype(np.float32)),
        Image.fromarray((GREYS / 255).astype(np.float32)),
    ],
    ids=["8 bits", "16 bits", "real to 255", "real to 1"],
)
def test_grey_becomes_three_equal_channels(tmp_path: Path, image: Image.Image) -> None:
    found = as_array(save(tmp_path / "a.tif", image))
    np.testing.assert_array_equal(found, np.repeat(GREYS[:, :, None], 3, axis=2))


def test_sixteen_bits_are_rounded_not_cut(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(np.full((8, 8), 257 * 99 + 200, dtype=np.uint16)))
    assert set(as_array(path).flat) == {100}


def test_black_and_white_is_black_and_white(tmp_path: Path) -> None:
    bits = GREYS > 127
    found = as_array(save(tmp_path / "a.png", Image.fromarray(bits)))
    np.testing.assert_array_equal(found[..., 1], np.where(bits, 255, 0))


def test_palettes_are_looked_up(tmp_path: Path) -> None:
    indexed = Image.fromarray(COLOURS).quantize(16)
    found = as_array(save(tmp_path / "a.gif", indexed))
    np.testing.assert_array_equal(found, np.asarray(indexed.convert("RGB")))


def draw_rgba() -> Image.Image:
    alpha = np.full(GREYS.shape, 255, dtype=np.uint8)
    alpha[:, :8] = 0
    return Image.fromarray(np.dstack([COLOURS, alpha]))


def draw_grey_alpha() -> Image.Image:
    return draw_rgba().convert("LA")


@pytest.mark.parametrize("draw", [draw_rgba, draw_grey_alpha], ids=["RGBA", "LA"])
def test_what_is_transparent_lies_on_white(tmp_path: Path, draw: Callable[[], Image.Image]) -> None:
    image = draw()
    found = as_array(save(tmp_path / "a.png", image))
    assert (found[:, :8] == 255).all()
    np.testing.assert_array_equal(found[:, 8:], np.asarray(image.convert("RGB"))[:, 8:])


def test_a_transparent_colour_of_a_palette_lies_on_white(tmp_path: Path) -> None:
    indexed = Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).convert("P")
    path = save(tmp_path / "a.png", indexed, transparency=0)
    assert set(as_array(path).flat) == {255}


def test_cmyk_is_shown_in_rgb(tmp_path: Path) -> None:
    image = Image.merge("RGB", [Image.fromarray(PATCHES)] * 3).convert("CMYK")
    found = as_array(save(tmp_path / "a.jpg", image, quality=100))
    np.testing.assert_allclose(found.astype(int), np.repeat(PATCHES[:, :, None], 3, 2).astype(int), atol=3)


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [(3, lambda x: x[::-1, ::-1]), (6, lambda x: np.rot90(x, -1)), (8, np.rot90)],
    ids=["upside down", "to the right", "to the left"],
)
def test_exif_rotation_is_applied(tmp_path: Path, orientation: int, turn: Callable[[Any], Any]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.png", Image.fromarray(COLOURS), exif=exif)
    np.testing.assert_array_equal(as_array(path), turn(COLOURS))


def test_the_first_of_several_frames_is_taken(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((8, 8), grey, dtype=np.uint8)) for grey in (10, 20)]
    path = save(tmp_path / "a.tif", frames[0], save_all=True, append_images=frames[1:])
    assert set(as_array(path).flat) == {10}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.array([[0.0, 300.0]]), "values from 0 to 300 do not tell"),
        (np.array([[-1.0, 1.0]]), "values from -1 to 1 do not tell"),
        (np.array([[np.nan, 1.0]]), "1 of 2 values are NaN or infinite"),
        (np.array([[0.0, 1.02]]), "values from 0 to 1.02 do not tell"),
        (np.array([[0.5, 37.5]]), "values from 0.5 to 37.5 do not tell"),
        (np.array([[-0.01, 0.99]]), "values from -0.01 to 0.99 do not tell"),
        (np.array([[0.0, np.inf]]), "1 of 2 values are NaN or infinite"),
    ],
    ids=["too large", "negative", "NaN", "overshoot", "high dynamic range", "undershoot", "infinite"],
)
def test_numbers_without_a_known_white_are_refused(tmp_path: Path, values: np.ndarray, said: str) -> None:
    path = save(tmp_path / "a.tif", Image.fromarray(values.astype(np.float32)))
    with pytest.raises(UnreadableImageError, match=said):
        read_image(path)


@pytest.mark.parametrize("extension", ["png", "tif"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_fewer_bits_in_sixteen_leave_open_what_is_white(tmp_path: Path, bits: int, extension: str) -> None:
    grey = (GREYS.astype(np.uint16) << 8) >> (16 - bits)
    path = save(tmp_path / f"a.{extension}", Image.fromarray(grey))
    with pytest.raises(UnreadableImageError, match=rf"values from 0 to {grey.max()} do not tell"):
        read_image(path)


@pytest.mark.parametrize("values", [np.int32(GREYS) * 257, np.int32(GREYS) * 2**23], ids=["16 bits in it", "all"])
def test_integers_of_32_bits_leave_open_what_is_white(tmp_path: Path, values: np.ndarray) -> None:
    with pytest.raises(UnreadableImageError, match="do not tell what is black and white"):
        read_image(save(tmp_path / "a.tif", Image.fromarray(values)))


def write_png_of_16_bits(path: Path, colours: np.ndarray) -> Path:
    """Write colours of 16 bits, which Pillow reads and does not write."""
    height, width, _ = colours.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colours)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows))]
    packed = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in [*chunks, (b"IEND", b"")]
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
    return path


def test_colours_of_sixteen_bits_are_read_if_they_fill_them(tmp_path: Path) -> None:
    path = write_png_of_16_bits(tmp_path / "a.png", COLOURS.astype(np.uint16) * 257)
    np.testing.assert_array_equal(as_array(path), COLOURS)
    write_png_of_16_bits(path, COLOURS.astype(np.uint16) * 16)
    with pytest.raises(UnreadableImageError, match="values up to 4095 of 65535 do not tell what is white"):
        read_image(path)


@pytest.mark.parametrize("white", [1023, 4095, 65535])
def test_a_white_that_the_header_tells_is_taken(tmp_path: Path, white: int) -> None:
    path = tmp_path / "a.pgm"
    path.write_bytes(f"P5 2 1 {white}\n".encode() + struct.pack(">HH", 0, white))
    assert as_array(path)[0, :, 0].tolist() == [0, 255]


def test_black_is_black_whatever_white_is(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(np.zeros((8, 8), dtype=np.uint16)))
    assert set(as_array(path).flat) == {0}


@pytest.mark.parametrize("change", ["tag", "type", "offset", "cut"])
def test_a_broken_exif_number_does_not_cost_a_photograph(tmp_path: Path, change: str) -> None:
    broken = {
        # a rational of a rational's size, with what is no orientation; an unknown type; far outside; half of it
        "tag": struct.pack("<HHII", 0x0112, 5, 1, 8),
        "type": struct.pack("<HHII", 0x0112, 77, 1, 6),
        "offset": struct.pack("<HHII", 0x011A, 5, 1, 2**31),
        "cut": struct.pack("<HH", 0x0112, 3),
    }
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + broken[change]
    image = Image.fromarray(np.kron(COLOURS[:2, :3], np.ones((8, 8, 1), np.uint8)))
    with hush_pillow():
        path = save(tmp_path / "a.jpg", image, exif=exif)
        assert read_image(path).shape == (3, 16, 24)


@pytest.mark.parametrize(
    "number",
    [
        struct.pack("<HHIi", 0x0100, 9, 1, -5),
        struct.pack("<HHI4s", 0x0100, 2, 4, b"abc\0"),
        struct.pack("<HHIf", 0x9204, 11, 1, math.nan),
        struct.pack("<HHII", 0x829A, 5, 1, 2**31),
    ],
    ids=["negative", "text", "NaN", "outside"],
)
def test_a_broken_number_beside_an_orientation_leaves_it_readable(tmp_path: Path, number: bytes) -> None:
    entries = struct.pack("<HHII", 0x0112, 3, 1, 6) + number
    exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0" + entries + b"\0\0\0\0"
    image = Image.fromarray(np.kron(COLOURS[:2, :3], np.ones((8, 8, 1), np.uint8)))
    with hush_pillow():
        path = save(tmp_path / "a.jpg", image, exif=exif)
        assert read_image(path).shape == (3, 24, 16)


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 2**30, 2**30, 8, 2, 0, 0, 0) + b"\0" * 4,
        b"P6 1000000 1000000 255\n",
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 40000, 40000, 1, 24, 0, 0, 0, 0, 0, 0),
        b"II*\0\x08\0\0\0\x02\0" + struct.pack("<HHIIHHII", 256, 4, 1, 2**30, 257, 4, 1, 2**30) + b"\0\0\0\0",
        b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b",",
    ],
    ids=["png", "ppm", "bmp", "tiff", "gif"],
)
def test_a_header_of_a_huge_image_is_refused_without_decoding(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "huge"
    path.write_bytes(content)
    monkeypatch.setattr(decoding, "_turn", lambda _: pytest.fail("decoded"))
    with pytest.raises(UnreadableImageError):
        read_image(path)


def make_png() -> bytes:
    held = io.BytesIO()
    Image.fromarray(COLOURS).save(held, "png")
    return held.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not an image that Pillow reads"),
        (b"PK\x03\x04 no picture", "not an image that Pillow reads"),
        (make_png()[:400], "truncated|broken"),
        (make_png()[:20], "not an image that Pillow reads|broken|[Tt]runcated"),
    ],
    ids=["empty", "not an image", "half a file", "a header"],
)
def test_broken_files_are_refused_in_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(UnreadableImageError, match=said) as raised:
        read_image(path)
    assert "\n" not in str(raised.value)
    assert str(tmp_path) not in str(raised.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match="No such file"):
        read_image(tmp_path / "a.png")
    with pytest.raises(UnreadableImageError, match="not a regular file"):
        read_image(tmp_path)
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    with pytest.raises(UnreadableImageError, match="not a regular file"):
        read_image(pipe)


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (MemoryError(), "does not fit into memory"),
        (Image.DecompressionBombError("x"), "too many pixels"),
        (ZeroDivisionError(), "ZeroDivisionError"),
        (RuntimeError("decoding of\ncolour planes failed"), "^decoding of colour planes failed$"),
    ],
    ids=["memory", "bomb", "no message", "two lines"],
)
def test_what_readers_raise_becomes_a_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, raised: BaseException, said: str
) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(COLOURS))

    def fail(image: Image.Image, raw_mode: str) -> None:
        raise raised

    monkeypatch.setattr(decoding, "_show", fail)
    with pytest.raises(UnreadableImageError, match=said):
        read_image(path)


def test_too_many_pixels_are_refused_before_they_are_decoded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(COLOURS))
    monkeypatch.setattr(decoding, "_LARGEST", 24 * 32 - 1)
    with pytest.raises(UnreadableImageError, match="24×32 pixels are too many"):
        read_image(path)


def test_only_pillow_is_hushed(tmp_path: Path) -> None:
    palette = Image.fromarray(GREYS).convert("P")
    path = save(tmp_path / "a.png", palette, transparency=bytes(range(256)))
    with hush_pillow():
        assert read_image(path).shape == (3, 24, 32)
        with pytest.warns(UserWarning, match="mine"):
            warnings.warn("mine", UserWarning, stacklevel=1)


def encode(extension: str, image: Image.Image) -> bytes:
    held = io.BytesIO()
    image.save(held, extension)
    return held.getvalue()


FILES = {
    "png": encode("png", draw_rgba()),
    "gif": encode("gif", Image.fromarray(COLOURS).quantize(16)),
    "bmp": encode("bmp", Image.fromarray(COLOURS)),
    "jpeg": encode("jpeg", Image.fromarray(COLOURS)),
    "ppm": encode("ppm", Image.fromarray(COLOURS)),
}


@settings(deadline=None, max_examples=100)
@given(
    st.sampled_from(sorted(FILES)),
    st.lists(st.tuples(st.integers(0, 199), st.integers(0, 255)), min_size=1, max_size=8),
    st.none() | st.integers(0, 2000),
)
def test_damaged_files_give_an_image_or_a_reason(
    tmp_path_factory: pytest.TempPathFactory, kind: str, changes: list[tuple[int, int]], end: int | None
) -> None:
    content = bytearray(FILES[kind])
    for position, value in changes:
        content[position % len(content)] = value
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content[:end])
    outcome: str | torch.Tensor
    with hush_pillow():
        try:
            outcome = read_image(path)
        except UnreadableImageError as error:
            outcome = str(error)
    if isinstance(outcome, str):
        assert outcome
        assert "\n" not in outcome
    else:
        assert outcome.dtype == torch.uint8
        assert outcome.shape[0] == 3


def levels(path: Path) -> np.ndarray[Any, Any]:
    return read_levels(path).values.numpy()


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(GREYS),
        Image.fromarray(GREYS).convert("LA"),
        Image.fromarray(GREYS.astype(np.uint16) * 257),
        Image.fromarray(GREYS.astype(np.float32)),
    ],
    ids=["8 bits", "alpha", "16 bits", "real"],
)
def test_levels_of_grey_have_one_channel(tmp_path: Path, image: Image.Image) -> None:
    found = levels(save(tmp_path / "a.tif", image))
    np.testing.assert_array_equal(found, GREYS[None])


def test_levels_of_sixteen_bits_are_not_rounded(tmp_path: Path) -> None:
    numbers = np.arange(24 * 32, dtype=np.uint16).reshape(24, 32) * 80
    found = levels(save(tmp_path / "a.png", Image.fromarray(numbers)))
    np.testing.assert_allclose(found[0], numbers / 257, rtol=1e-6)


def test_levels_of_dark_sixteen_bits_are_taken_with_a_note(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(GREYS.astype(np.uint16) * 4))
    found = read_levels(path)
    np.testing.assert_allclose(found.values[0], GREYS.astype(float) * 4 / 257, rtol=1e-6)
    assert found.notes == (
        f"no value above {4 * int(GREYS.max())} of 65535; if white is less, amplitudes are larger",
    )


def test_levels_say_what_could_not_be_read(tmp_path: Path) -> None:
    clear = Image.fromarray(np.dstack([COLOURS, GREYS]))
    assert read_levels(save(tmp_path / "a.png", clear)).notes == ("transparent pixels are put on white",)
    frames = [Image.fromarray(COLOURS[::step]).resize((32, 24)) for step in (1, 2)]
    path = tmp_path / "a.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    found = read_levels(path)
    assert found.format == "GIF"
    assert found.notes == ("the first of several frames",)


def test_levels_of_colours_come_as_they_are_and_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    found = read_levels(save(tmp_path / "a.png", Image.fromarray(COLOURS), exif=exif))
    assert found.format == "PNG"
    np.testing.assert_array_equal(found.values.numpy(), np.rot90(COLOURS, -1).transpose(2, 0, 1))


def test_pixels_are_counted_by_the_header(tmp_path: Path) -> None:
    assert count_pixels(save(tmp_path / "a.png", Image.fromarray(COLOURS))) == 24 * 32
    (tmp_path / "b.png").write_bytes(b"x")
    assert count_pixels(tmp_path / "b.png") == count_pixels(tmp_path) == count_pixels(tmp_path / "none") == 0


def test_levels_of_real_numbers_without_a_white_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match="do not tell what is black and white"):
        read_levels(save(tmp_path / "a.tif", Image.fromarray(GREYS.astype(np.float32) - 300)))
