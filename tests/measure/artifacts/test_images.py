"""What is taken for an image: every layout and number type, Pillow's modes, and what is refused."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from deconvbench.errors import UsageError
from deconvbench.measure.artifacts import block_edge, checkerboard, find_period
from deconvbench.measure.artifacts.images import find_unit, read_images

TORCH_TYPES = [
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.uint16,
    torch.uint32,
    torch.uint64,
    torch.bfloat16,
    torch.float16,
    torch.float32,
    torch.float64,
]
NUMPY_TYPES = ["u1", "i1", ">i2", "<u4", "i8", "u8", "f2", ">f4", "f8"]


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (3, 5, 7), (5, 7)], ids=str)
def test_images_get_four_axes(shape: tuple[int, ...]) -> None:
    values = np.arange(float(np.prod(shape))).reshape(shape)
    for image in (values, torch.from_numpy(values)):
        images = read_images(image)
        assert images.dtype == torch.float64
        assert images.shape == (1,) * (4 - len(shape)) + shape
        assert np.array_equal(images.numpy().reshape(shape), values)


@pytest.mark.parametrize("dtype", TORCH_TYPES, ids=str)
def test_numbers_of_torch(dtype: torch.dtype) -> None:
    values = torch.arange(12.0).reshape(3, 4)
    assert torch.equal(read_images(values.to(dtype))[0, 0], values.double())


@pytest.mark.parametrize("dtype", NUMPY_TYPES)
def test_numbers_of_numpy(dtype: str) -> None:
    values = np.arange(12).reshape(3, 4).astype(dtype)
    assert np.array_equal(read_images(values)[0, 0].numpy(), values)


def test_views_read_only_arrays_and_graphs_are_fine() -> None:
    values = np.arange(12.0).reshape(3, 4)
    values.setflags(write=False)
    assert np.array_equal(read_images(values[::-1, ::2])[0, 0].numpy(), values[::-1, ::2])
    leaf = torch.from_numpy(values.copy()).requires_grad_()
    images = read_images((2 * leaf).T)
    assert not images.requires_grad
    assert np.array_equal(images[0, 0].numpy(), 2 * values.T)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        pytest.param([[1.0]], "a list is neither a torch tensor nor a numpy array", id="list"),
        pytest.param(None, "a NoneType is neither a torch tensor nor a numpy array", id="none"),
        pytest.param(torch.zeros(4, 4, dtype=torch.complex64), "dtype complex64 does not hold real", id="complex"),
        pytest.param(torch.zeros(4, 4, dtype=torch.bool), "dtype bool does not hold real numbers", id="bool"),
        pytest.param(np.zeros((4, 4), dtype=complex), "dtype complex128 does not hold real", id="numpy-complex"),
        pytest.param(np.array([["a"]]), "dtype <U1 does not hold real numbers; integers and", id="text"),
        pytest.param(torch.zeros(5), r"shape \(5,\) is not \(H, W\), \(C, H, W\), ", id="one-axis"),
        pytest.param(torch.tensor(1.0), r"shape \(\) is not", id="no-axis"),
        pytest.param(np.zeros((1, 1, 1, 9, 9)), r"shape \(1, 1, 1, 9, 9\) is not", id="five-axes"),
        pytest.param(torch.zeros(0, 3, 9, 9), r"shape \(0, 3, 9, 9\) .* none of them 0", id="empty"),
        pytest.param(np.array([[1.0, np.nan]]), "holds NaN or infinity; every value must be finite", id="nan"),
        pytest.param(torch.tensor([[1.0, -torch.inf]]), "holds NaN or infinity", id="infinity"),
    ],
)
def test_what_is_no_image_is_refused(image: Any, message: str) -> None:
    with pytest.raises(UsageError, match="image: .*" + message) as caught:
        read_images(image)
    assert "\n" not in str(caught.value)


def test_masked_pixels_are_refused_and_an_empty_mask_is_none() -> None:
    image = np.ma.masked_array(np.ones((40, 40)), mask=False)
    assert read_images(image).shape == (1, 1, 40, 40)
    assert read_images(np.ma.masked_array(np.ones((40, 40)))).shape == (1, 1, 40, 40)
    image[3, 4:6] = np.ma.masked
    with pytest.raises(UsageError, match="image: 2 of 1600 values are masked"):
        read_images(image)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: torch.eye(40).to_sparse(), "layout sparse_coo is not a dense"),
        (lambda: torch.eye(40).to_sparse_csr(), "layout sparse_csr is not a dense"),
        (lambda: torch.zeros(40, 40, device="meta"), "on the meta device has a shape but no values"),
        (
            lambda: torch.quantize_per_tensor(torch.eye(40), 0.1, 0, torch.quint8),
            "a quantised tensor holds no plain numbers",
        ),
        (lambda: torch.eye(40, dtype=torch.complex64), "dtype complex64 does not hold real numbers"),
        (lambda: torch.eye(40, dtype=torch.bool), "dtype bool does not hold real numbers"),
        (lambda: np.eye(40, dtype=np.complex128), "dtype complex128 does not hold real numbers"),
        (lambda: np.eye(40).astype(object), "dtype object does not hold real numbers"),
        (lambda: np.full((40, 40), "1"), "dtype <U1 does not hold real numbers"),
        (lambda: np.zeros((40, 40), dtype="M8[s]"), "dtype datetime64.* does not hold"),
        (lambda: np.zeros((40, 40), dtype=[("r", "f4")]), "does not hold real numbers"),
        (lambda: np.full((40, 40), np.finfo(np.longdouble).max), "holds NaN or infinity"),
        (lambda: np.zeros((0, 40)), r"shape \(0, 40\) is not"),
        (lambda: torch.zeros(3, 0, 40), r"shape \(3, 0, 40\) is not"),
        (lambda: np.float64(1.0), "a float64 is neither"),
        (lambda: torch.tensor(1.0), r"shape \(\) is not"),
        (lambda: [[1.0] * 40] * 40, "a list is neither a torch tensor nor a numpy array"),
        (lambda: None, "a NoneType is neither"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # torch calls some of these beta or deprecated
def test_what_is_no_plain_array_of_numbers_is_refused_in_a_line(make: Callable[[], object], said: str) -> None:
    with pytest.raises(UsageError, match=f"image: .*{said}") as caught:
        read_images(make())
    assert "\n" not in str(caught.value)


def _draw(seed: int, *shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _list_arrays(picture: NDArray[np.uint8]) -> list[tuple[str, Any, Any]]:
    """Every way to hand over pictures (N, H, W, C) of 8 bits as an array or a tensor: name, image, channels."""
    first = np.ascontiguousarray(picture.transpose(0, 3, 1, 2))
    tensor = torch.from_numpy(first)
    layouts: list[tuple[str, Any, Any]] = [
        ("last", picture, None),
        ("named last", picture, "last"),
        ("first", first, None),
        ("named first", first, "first"),
        ("fortran", np.asfortranarray(picture), None),
        ("tensor", tensor, None),
        ("named tensor", tensor, "first"),
        ("tensor last", torch.from_numpy(picture), "last"),
        ("channels_last", tensor.contiguous(memory_format=torch.channels_last), None),
    ]
    if len(picture) == 1:
        layouts += [(f"single {name}", image[0], channels) for name, image, channels in layouts]
        if picture.shape[-1] == 1:
            layouts += [("plane", picture[0, ..., 0], None), ("plane of torch", tensor[0, 0], "last")]
    return layouts


def _list_pillow(picture: NDArray[np.uint8]) -> list[Image.Image]:
    """Every mode of Pillow that holds a picture (H, W, C) of 8 bits without loss."""
    if picture.shape[-1] == 1:
        grey = Image.fromarray(picture[..., 0])
        wide = Image.fromarray(picture[..., 0].astype(np.uint16))
        assert (grey.mode, wide.mode) == ("L", "I;16")
        others = [grey.convert(mode) for mode in ("LA", "P", "PA", "RGB", "CMYK", "I", "F")]
        return [wide, grey, others[0].convert("La"), *others]
    colour = Image.fromarray(picture)
    assert colour.mode == "RGB"
    others = [colour.convert(mode) for mode in ("RGBA", "RGBX", "CMYK")]
    return [colour, others[0].convert("RGBa"), *others]


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 2**32),
    shape=st.tuples(st.integers(1, 2), st.integers(33, 50), st.integers(33, 50), st.sampled_from([1, 3])),
    period=st.integers(2, 4),
    dtype=st.sampled_from(["u1", "u2", ">u2", "i2", "u4", "i8", "f2", ">f4", "f4", "f8"]),
    tensor_type=st.sampled_from([torch.uint8, torch.uint16, torch.int32, torch.float16, torch.bfloat16]),
)
def test_a_picture_reads_the_same_in_every_layout_and_type(
    seed: int, shape: tuple[int, int, int, int], period: int, dtype: str, tensor_type: torch.dtype
) -> None:
    picture = _draw(seed, *shape)
    board = np.indices(picture.shape[1:3]).sum(0)[..., None] % 2
    picture = np.where(board == 1, picture, picture // 2)  # so that there is something to find
    expected = checkerboard(torch.from_numpy(picture.astype(np.float64)).permute(0, 3, 1, 2), period).amplitude
    for name, image, channels in _list_arrays(picture):
        typed = image.to(tensor_type) if isinstance(image, torch.Tensor) else image.astype(dtype)
        assert checkerboard(typed, period, channels=channels).amplitude == pytest.approx(expected, rel=1e-9), name
    for shown in _list_pillow(picture[0]) if len(picture) == 1 else ():
        assert checkerboard(shown, period).amplitude == pytest.approx(expected, rel=1e-9), shown.mode


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        pytest.param((5, 7, 1), (1, 1, 5, 7), id="grey-last"),
        pytest.param((5, 7, 2), (1, 2, 5, 7), id="grey-and-alpha"),
        pytest.param((5, 7, 4), (1, 4, 5, 7), id="four-last"),
        pytest.param((4, 5, 7), (1, 4, 5, 7), id="four-first"),
        pytest.param((9, 5, 7, 3), (9, 3, 5, 7), id="batch-last"),
        pytest.param((2, 5, 7, 3), (2, 3, 5, 7), id="small-batch-last"),
        pytest.param((9, 3, 5, 7), (9, 3, 5, 7), id="batch-first"),
    ],
)
def test_an_array_has_its_channels_at_the_short_end(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert read_images(np.zeros(shape)).shape == expected


@pytest.mark.parametrize(
    "shape", [(3, 64, 3), (16, 64, 64), (64, 64, 16), (2, 3, 64, 4), (2, 16, 64, 64)], ids=str
)
def test_channels_that_cannot_be_told_are_asked_for_by_name(shape: tuple[int, ...]) -> None:
    image = np.zeros(shape)
    with pytest.raises(UsageError) as caught:
        read_images(image)
    assert str(caught.value) == (
        f"image: shape {shape} could have its channels first or last; name them with"
        ' channels="first" or channels="last"'
    )
    first, last = read_images(image, channels="first"), read_images(image, channels="last")
    batch = shape if len(shape) == 4 else (1, *shape)
    assert first.shape == batch
    assert last.shape == (batch[0], batch[3], batch[1], batch[2])


def test_a_tensor_has_its_channels_first_unless_that_cannot_be_meant() -> None:
    assert read_images(torch.zeros(16, 5, 7)).shape == (1, 16, 5, 7)
    assert read_images(torch.zeros(3, 64, 3)).shape == (1, 3, 64, 3)
    assert read_images(torch.zeros(64, 48, 3), channels="last").shape == (1, 3, 64, 48)
    assert read_images(torch.zeros(64, 48, 3), channels="first").shape == (1, 64, 48, 3)
    with pytest.raises(UsageError, match=r'image: shape \(64, 48, 3\) of a tensor .* channels="last"'):
        read_images(torch.zeros(64, 48, 3))


@pytest.mark.parametrize("channels", ["middle", 0, True, b"first"], ids=repr)
def test_channels_are_first_or_last(channels: Any) -> None:
    with pytest.raises(UsageError, match=r'channels: .* is not "first", "last" or None'):
        read_images(np.zeros((4, 4)), channels=channels)


@pytest.mark.parametrize(
    ("image", "unit"),
    [
        pytest.param(np.zeros((4, 4), np.uint8), "8-bit levels", id="uint8"),
        pytest.param(torch.zeros(4, 4, dtype=torch.uint8), "8-bit levels", id="torch-uint8"),
        pytest.param(np.zeros((4, 4), ">u2"), "16-bit levels", id="big-endian"),
        pytest.param(np.zeros((4, 4), np.uint16), "16-bit levels", id="uint16"),
        pytest.param(torch.zeros(4, 4, dtype=torch.uint16), "16-bit levels", id="torch-uint16"),
        pytest.param(np.zeros((4, 4), np.int16), "image units", id="int16"),
        pytest.param(np.zeros((4, 4), np.float32), "image units", id="float32"),
        pytest.param(torch.zeros(4, 4), "image units", id="torch-float32"),
        *(
            pytest.param(Image.new(mode, (4, 4)), unit, id=mode)
            for modes, unit in (
                (("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"), "8-bit levels"),
                (("I;16", "I;16B"), "16-bit levels"),
                (("I", "F"), "image units"),
            )
            for mode in modes
        ),
    ],
)
def test_the_unit_follows_the_type(image: Any, unit: str) -> None:
    assert find_unit(image) == unit


def _read_shown(image: Image.Image) -> list[Any]:
    shown: list[Any] = read_images(image)[0].permute(1, 2, 0).tolist()
    return shown


def test_palettes_are_resolved() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    assert _read_shown(image) == [[[10, 20, 30], [40, 50, 60]]]


def test_bits_are_black_and_white() -> None:
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    assert _read_shown(image) == [[[0], [255]]]


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        pytest.param("RGBA", (10, 20, 30, 255), [10, 20, 30], id="opaque"),
        pytest.param("RGBA", (10, 20, 30, 0), [255, 255, 255], id="unseen"),
        pytest.param("RGBA", (0, 100, 255, 51), [204, 224, 255], id="a-fifth"),
        pytest.param("LA", (55, 51), [215], id="grey"),
        pytest.param("LA", (55, 255), [55], id="opaque-grey"),
    ],
)
def test_transparent_pixels_are_on_white(mode: str, colour: tuple[int, ...], expected: list[float]) -> None:
    assert _read_shown(Image.new(mode, (1, 1), colour))[0][0] == pytest.approx(expected)


@pytest.mark.parametrize(("mode", "key"), [("L", 7), ("RGB", (7, 7, 7)), ("P", 0)], ids=str)
def test_a_transparent_colour_of_a_file_is_on_white(mode: str, key: Any) -> None:
    image = Image.new(mode, (2, 1), 7 if mode != "RGB" else (7, 7, 7))
    if mode == "P":
        image.putpalette([7, 7, 7, 9, 9, 9])
        image.putdata([0, 1])
    else:
        image.putpixel((1, 0), 9 if mode == "L" else (9, 9, 9))
    file = io.BytesIO()
    image.save(file, "PNG", transparency=key)
    with Image.open(file) as opened:
        shown = _read_shown(opened)
    assert {*shown[0][0]} == {255}
    assert {*shown[0][1]} == {9}


def test_the_pixels_are_those_that_are_stored(tmp_path: Path) -> None:
    """EXIF's orientation turns what is shown; a grid lies on what the network wrote."""
    stored = Image.fromarray(_draw(0, 40, 50))
    exif = Image.Exif()
    exif[274] = 6  # to be turned by 90 degrees
    stored.save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as opened:
        assert opened.getexif()[274] == 6
        assert np.array_equal(read_images(opened)[0, 0].numpy(), np.asarray(stored))


def test_the_frame_that_is_shown_is_taken() -> None:
    frames = [Image.new("L", (3, 3), value) for value in (10, 20)]
    file = io.BytesIO()
    frames[0].save(file, "TIFF", save_all=True, append_images=frames[1:])
    with Image.open(file) as opened:
        opened.seek(1)
        assert float(read_images(opened).mean()) == 20


def test_a_name_of_a_file_is_not_an_image() -> None:
    for name in ("picture.png", Path("picture.png")):
        with pytest.raises(UsageError, match=r"neither .*Pillow image; PIL\.Image\.open reads files"):
            read_images(name)


def test_a_mode_without_a_rule_is_refused() -> None:
    with pytest.raises(UsageError, match=r"image: Pillow's mode 'LAB' is not one of I, .*convert\(\) makes one"):
        read_images(Image.new("LAB", (4, 4)))


def test_a_broken_file_is_one_line() -> None:
    file = io.BytesIO()
    Image.fromarray(_draw(0, 64, 64, 3)).save(file, "PNG")
    cut = Image.open(io.BytesIO(file.getvalue()[:2000]))
    with cut, pytest.raises(UsageError, match="image: Pillow cannot read its pixels: .*truncated") as caught:
        read_images(cut)
    assert "\n" not in str(caught.value)
    with Image.open(file) as opened:
        pass
    opened.close()
    with pytest.raises(UsageError, match="image: Pillow cannot read its pixels: "):
        read_images(opened)


@pytest.mark.process
def test_pillow_is_not_imported() -> None:
    program = (
        "import sys, numpy\n"
        "from deconvbench.measure.artifacts.images import read_images\n"
        "read_images(numpy.zeros((4, 4)))\n"
        "sys.exit('PIL' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", program], env=os.environ, capture_output=True, check=False)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("size", [1e-160, 1e-30, 1.0, 1e30, 1e150, 1e307])
def test_numbers_of_any_size_are_measured(size: float) -> None:
    rng = np.random.default_rng(0)
    image = rng.uniform(-1, 1, (128, 128)) + np.indices((128, 128)).sum(0) % 2
    for measure in (checkerboard, block_edge):
        found, plain = measure(image * size), measure(image)
        assert found.amplitude / size == pytest.approx(plain.amplitude, rel=1e-6)
        assert found.detection_level / size == pytest.approx(plain.detection_level, rel=1e-6)
    period = find_period(image * size)
    assert period.period == 2
    assert period.strength == pytest.approx(find_period(image).strength, rel=1e-6)
