"""Patches: what is taken for an image, what is refused, and the spectrum against patch after patch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deconvbench.errors import UsageError
from deconvbench.measure.artifacts.patches import check_period, choose_patch_size, mean_power, read_images
from deconvbench.measure.artifacts.spectrum import checkerboard
from tests.measure.artifacts.content import Image

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


def _reference_power(image: Image, side: int) -> tuple[Image, int]:
    """One patch after the other: fit a plane, subtract it, window, transform."""
    window = np.array([[(0.5 - 0.5 * np.cos(2 * np.pi * n / side)) for n in range(side)]])
    taper = window.T @ window
    rows, columns = np.mgrid[:side, :side]
    basis = np.stack([np.ones(side**2), rows.ravel(), columns.ravel()], axis=1)
    powers = []
    for top in range(0, image.shape[0] - side + 1, side // 2):
        for left in range(0, image.shape[1] - side + 1, side // 2):
            patch = image[top : top + side, left : left + side]
            plane = basis @ np.linalg.lstsq(basis, patch.ravel(), rcond=None)[0]
            powers.append(np.abs(np.fft.fft2((patch - plane.reshape(side, side)) * taper) / taper.sum()) ** 2)
    return np.mean(powers, axis=0), len(powers)


@settings(deadline=None, max_examples=20)
@given(side=st.integers(8, 21), height=st.integers(0, 30), width=st.integers(0, 30), seed=st.integers(0, 99))
def test_power_is_that_of_one_patch_after_the_other(side: int, height: int, width: int, seed: int) -> None:
    image = np.random.default_rng(seed).standard_normal((side + height, side + width)) + 3
    expected, count = _reference_power(image, side)
    power, patches = mean_power(torch.from_numpy(image), side)
    assert patches == count
    np.testing.assert_allclose(power.numpy(), expected[:, : side // 2 + 1], rtol=1e-9, atol=1e-20)


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
        pytest.param(torch.zeros(5), r"shape \(5,\) is not \(H, W\), \(C, H, W\) or", id="one-axis"),
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


@pytest.mark.parametrize("period", [*range(2, 10), 16, 32], ids="P{}".format)
def test_patches_hold_whole_periods_and_at_least_eight(period: int) -> None:
    for shorter in (32, 33, 64, 127, 128, 129, 4000):
        try:
            side = choose_patch_size(shorter, 5000, period)
        except UsageError:
            continue
        assert side % period == 0
        assert 8 * period <= side <= shorter
        assert side == choose_patch_size(5000, shorter, period)
        if period <= 8:
            assert side == pytest.approx(64 if shorter >= 128 else 32, abs=period / 2)
        else:
            assert side == 8 * period


@pytest.mark.parametrize(
    ("period", "needed"),
    [(2, 32), (3, 33), (4, 32), (5, 128), (6, 128), (7, 128), (8, 128), (9, 128), (16, 128), (17, 136), (32, 256)],
    ids=str,
)
def test_smallest_image(period: int, needed: int) -> None:
    assert choose_patch_size(needed, needed, period) <= needed
    message = (
        rf"image: {needed - 1}×999 pixels .* too few for period {period}; at least {needed}×{needed} are needed"
    )
    with pytest.raises(UsageError, match=message):
        choose_patch_size(needed - 1, 999, period)


@pytest.mark.parametrize("period", [0, 1, 33, -2, 2.0, "2", None, True], ids=repr)
def test_period_out_of_range_is_an_error(period: object) -> None:
    with pytest.raises(UsageError, match=r"period: .* is not a whole number from 2 to 32"):
        check_period(period)


def test_period_may_be_a_number_of_numpy() -> None:
    check_period(np.int64(8))


@pytest.mark.parametrize("number", [np.int8, np.int64, np.uint16], ids=str)
def test_a_period_of_numpy_is_a_period(number: Any) -> None:
    image = np.random.default_rng(0).standard_normal((64, 64))
    found, expected = checkerboard(image, number(2)), checkerboard(image, 2)
    assert found == expected
    assert type(found.period) is int


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
