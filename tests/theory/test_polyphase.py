"""Exact identities of METRICS: convolution and pixel shuffle, resize-convolution, bilinear, divisibility."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deconvbench.errors import UsageError
from deconvbench.theory import (
    bilinear_kernel,
    bilinear_padding,
    box_kernel,
    convolve,
    divide_by_box,
    nearest_conv_crop,
    nearest_conv_kernel,
    pad_or_crop,
    phase_counts,
    phase_gains,
    phase_kernels,
    pixel_shuffle,
    subpixel_kernel,
    transposed_conv_output_size,
    transposed_convolve,
)
from deconvbench.theory._checks import FloatArray

TOLERANCE = 1e-10
SIZES = ((1, 1), (1, 4), (3, 2), (5, 6))
# (C_in, C_out, groups)
CHANNELS = ((2, 3, 1), (4, 6, 2))
scales = pytest.mark.parametrize("scale_factor", [1, 2, 3, 4], ids="s{}".format)
kernels = pytest.mark.parametrize("kernel_size", range(1, 7), ids="k{}".format)
few = settings(deadline=None, max_examples=100)


def _assert_same(found: FloatArray, expected: FloatArray | torch.Tensor, where: object = "") -> None:
    expected = expected.numpy() if isinstance(expected, torch.Tensor) else expected
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE, err_msg=str(where))


def _repeat(x: FloatArray, scale_factor: int) -> FloatArray:
    """Upsample by nearest neighbour, by definition."""
    return x.repeat(scale_factor, axis=-2).repeat(scale_factor, axis=-1)


def _pad_sides(x: FloatArray, amount: int, mode: str) -> FloatArray:
    tensor = torch.nn.functional.pad(torch.from_numpy(x), (amount,) * 4, mode=mode)
    return np.asarray(tensor.numpy())


# identity 3: convolution and pixel shuffle


def test_transposed_convolution_is_a_convolution_and_a_pixel_shuffle(
    geometry: dict[str, int], sizes: list[tuple[int, int]], rng: np.random.Generator
) -> None:
    options = dict(geometry)
    kernel_size, stride = options.pop("kernel_size"), options["stride"]
    for size in sizes:
        for c_in, c_out, groups in CHANNELS:
            x = rng.standard_normal((2, c_in, *size))
            weight = rng.standard_normal((c_in, c_out // groups, kernel_size, kernel_size))
            kernel = subpixel_kernel(weight, stride, dilation=options["dilation"], groups=groups)
            shuffled = pixel_shuffle(convolve(x, kernel, padding=kernel.shape[-1] - 1, groups=groups), stride)
            height, width = (transposed_conv_output_size(n, kernel_size, **options) for n in size)
            p = options["padding"]
            found = pad_or_crop(
                shuffled, (-p, height + p - shuffled.shape[2]), (-p, width + p - shuffled.shape[3])
            )
            _assert_same(found, transposed_convolve(x, weight, groups=groups, **options), (size, groups))


@scales
def test_pixel_shuffle_is_that_of_torch(scale_factor: int, rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3 * scale_factor**2, 2, 5))
    expected = torch.nn.functional.pixel_shuffle(torch.from_numpy(x), scale_factor)
    assert np.array_equal(pixel_shuffle(x, scale_factor), expected.numpy())


def test_subpixel_kernel_has_one_channel_for_each_phase() -> None:
    weight = np.arange(1.0, 10.0).reshape(1, 1, 3, 3)
    kernel = subpixel_kernel(weight, 2)
    assert kernel.shape == (4, 1, 2, 2)
    assert kernel[0, 0].tolist() == [[9, 7], [3, 1]]
    assert kernel[3, 0].tolist() == [[0, 0], [0, 5]]


@scales
@kernels
def test_phase_kernels_share_out_the_taps(kernel_size: int, scale_factor: int, rng: np.random.Generator) -> None:
    weight = rng.standard_normal((2, kernel_size, kernel_size + 1))
    phases = phase_kernels(weight, scale_factor)
    for i, j in np.ndindex(scale_factor, scale_factor):
        taps = weight[:, i::scale_factor, j::scale_factor]
        assert np.array_equal(phases[i, j][:, : taps.shape[1], : taps.shape[2]], taps)
    assert np.sum(phases != 0) == weight.size


# identity 4: nearest and convolution


@scales
@kernels
def test_nearest_and_convolution_is_one_transposed_convolution(
    kernel_size: int, scale_factor: int, rng: np.random.Generator
) -> None:
    before, after = (kernel_size - 1) // 2, kernel_size // 2
    crop = tuple(-n for n in nearest_conv_crop(kernel_size))
    for size in SIZES:
        for c_in, c_out, groups in CHANNELS:
            x = rng.standard_normal((2, c_in, *size))
            weight = rng.standard_normal((c_out, c_in // groups, kernel_size, kernel_size))
            upsampled = pad_or_crop(_repeat(x, scale_factor), (before, after), (before, after))
            resized = convolve(upsampled, weight, groups=groups)
            kernel = nearest_conv_kernel(weight, scale_factor, groups=groups)
            assert kernel.shape[2:] == (kernel_size + scale_factor - 1,) * 2
            full = transposed_convolve(x, kernel, stride=scale_factor, groups=groups)
            found = pad_or_crop(full, (crop[0], crop[1]), (crop[0], crop[1]))
            assert found.shape[2:] == (scale_factor * size[0], scale_factor * size[1])
            _assert_same(found, resized, (size, groups))
            if before == after:
                padded = transposed_convolve(x, kernel, stride=scale_factor, padding=before, groups=groups)
                _assert_same(padded, resized, (size, groups))


def test_nearest_and_convolution_agree_with_torch(rng: np.random.Generator) -> None:
    x, weight = (
        torch.from_numpy(rng.standard_normal((1, 2, 3, 4))),
        torch.from_numpy(rng.standard_normal((3, 2, 3, 3))),
    )
    resized = torch.nn.functional.conv2d(torch.nn.functional.interpolate(x, scale_factor=2), weight, padding=1)
    kernel = torch.from_numpy(nearest_conv_kernel(weight.numpy(), 2))
    fused = torch.nn.functional.conv_transpose2d(x, kernel, stride=2, padding=1)
    _assert_same(fused.numpy(), resized)


def test_kernels_need_not_be_square(rng: np.random.Generator) -> None:
    x, weight = rng.standard_normal((1, 2, 3, 4)), rng.standard_normal((3, 2, 1, 5))
    resized = convolve(pad_or_crop(_repeat(x, 2), (0, 0), (2, 2)), weight)
    full = transposed_convolve(x, nearest_conv_kernel(weight, 2), stride=2)
    _assert_same(pad_or_crop(full, (0, 0), (-2, -2)), resized)


@scales
def test_box_kernel_repeats_every_pixel(scale_factor: int, rng: np.random.Generator) -> None:
    x, box = rng.standard_normal((1, 1, 2, 3)), box_kernel(scale_factor)
    upsampled = transposed_convolve(x, np.multiply.outer(box, box)[None, None], stride=scale_factor)
    assert np.array_equal(upsampled, _repeat(x, scale_factor))


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7, 9], ids="k{}".format)
@scales
def test_replicate_padding_moves_before_the_resize(
    kernel_size: int, scale_factor: int, rng: np.random.Generator
) -> None:
    half = (kernel_size - 1) // 2
    outer = -(-(kernel_size - 1) // (2 * scale_factor))
    surplus = half - outer * scale_factor
    for size in SIZES:
        x = rng.standard_normal((1, 1, *size))
        after = _pad_sides(_repeat(x, scale_factor), half, "replicate")
        before = pad_or_crop(
            _repeat(_pad_sides(x, outer, "replicate"), scale_factor), (surplus, surplus), (surplus, surplus)
        )
        assert np.array_equal(before, after), size


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7, 9], ids="k{}".format)
@scales
def test_reflect_padding_is_a_replicate_padding_only_while_it_stays_in_the_first_pixel(
    kernel_size: int, scale_factor: int, rng: np.random.Generator
) -> None:
    half = (kernel_size - 1) // 2
    upsampled = _repeat(rng.standard_normal((1, 1, 6, 5)), scale_factor)
    same = np.array_equal(_pad_sides(upsampled, half, "reflect"), _pad_sides(upsampled, half, "replicate"))
    assert same == (half <= scale_factor - 1)


# identity 5: bilinear


@scales
def test_bilinear_is_a_replicate_padding_and_a_tent(scale_factor: int, rng: np.random.Generator) -> None:
    tent = bilinear_kernel(scale_factor)
    kernel = np.multiply.outer(tent, tent)[None, None]
    for size in SIZES:
        x = rng.standard_normal((2, 1, *size))
        found = transposed_convolve(
            _pad_sides(x, 1, "replicate"), kernel, stride=scale_factor, padding=bilinear_padding(scale_factor)
        )
        expected = torch.nn.functional.interpolate(
            torch.from_numpy(x), scale_factor=scale_factor, mode="bilinear", align_corners=False
        )
        _assert_same(found, expected, size)


@pytest.mark.parametrize("scale_factor", range(1, 9), ids="s{}".format)
def test_the_tent_is_symmetric_and_sums_to_one_in_every_phase(scale_factor: int) -> None:
    tent = bilinear_kernel(scale_factor)
    assert tent.size == (2 * scale_factor if scale_factor % 2 == 0 else 2 * scale_factor - 1)
    _assert_same(tent, tent[::-1])
    _assert_same(phase_gains(tent, scale_factor), np.ones(scale_factor))


# equal gains and divisibility


@st.composite
def kernels_with_integers(draw: st.DrawFn) -> tuple[FloatArray, int]:
    """Draw a kernel of small whole numbers, so that sums are exact, with a scale; often one of equal gains."""
    scale_factor = draw(st.integers(1, 4))
    taps = draw(st.lists(st.integers(-5, 5), min_size=1, max_size=8))
    kernel = np.array(taps, dtype=np.float64)
    return (np.convolve(kernel, np.ones(scale_factor)) if draw(st.booleans()) else kernel), scale_factor


@few
@given(drawn=kernels_with_integers())
def test_a_kernel_is_divisible_exactly_where_its_gains_are_equal(drawn: tuple[FloatArray, int]) -> None:
    kernel, scale_factor = drawn
    quotient, remainder = divide_by_box(kernel, scale_factor)
    gains = phase_gains(kernel, scale_factor)
    assert np.array_equal(remainder, gains[:-1] - gains[-1])
    product = np.convolve(quotient, np.ones(scale_factor)) if quotient.size else np.zeros(1)
    rebuilt = np.zeros(max(product.size, remainder.size, kernel.size))
    rebuilt[: product.size] += product
    rebuilt[: remainder.size] += remainder
    assert np.array_equal(rebuilt[: kernel.size], kernel)
    assert not np.any(rebuilt[kernel.size :])


@few
@given(taps=st.lists(st.integers(-5, 5), min_size=1, max_size=6), scale_factor=st.integers(1, 4))
def test_a_box_times_a_kernel_divides_without_remainder(taps: list[int], scale_factor: int) -> None:
    quotient, remainder = divide_by_box(np.convolve(taps, box_kernel(scale_factor)), scale_factor)
    assert quotient.tolist() == taps
    assert not np.any(remainder)


@pytest.mark.parametrize("scale_factor", [2, 3, 4], ids="s{}".format)
def test_a_layer_of_equal_gains_is_nearest_and_convolution(scale_factor: int, rng: np.random.Generator) -> None:
    kernel = rng.standard_normal(scale_factor + 4)
    counts = phase_counts(kernel.size, scale_factor)
    kernel += ((1 - phase_gains(kernel, scale_factor)) / counts)[np.arange(kernel.size) % scale_factor]
    quotient, remainder = divide_by_box(kernel, scale_factor)
    _assert_same(remainder, np.zeros(scale_factor - 1))
    weight = np.multiply.outer(quotient, quotient)[None, None, ::-1, ::-1]
    _assert_same(nearest_conv_kernel(weight, scale_factor)[0, 0], np.multiply.outer(kernel, kernel))


def test_in_two_dimensions_equal_gains_are_freer_than_nearest_and_convolution() -> None:
    # dimensions of the two spaces of 4×4 kernels at scale 2: METRICS counts 13 and 9 of 16
    units = np.eye(16).reshape(16, 4, 4)
    gains = phase_kernels(units, 2).sum(axis=(-2, -1)).reshape(4, 16)
    equal = 16 - np.linalg.matrix_rank(gains[1:] - gains[:1])
    resized = nearest_conv_kernel(np.eye(9).reshape(9, 1, 3, 3), 2).reshape(9, 16)
    assert (equal, np.linalg.matrix_rank(resized)) == (13, 9)
    assert not np.any((gains[1:] - gains[:1]) @ resized.T)


def test_leading_axes_are_kept(rng: np.random.Generator) -> None:
    kernels_ = rng.standard_normal((2, 3, 7))
    quotient, remainder = divide_by_box(kernels_, 3)
    assert (quotient.shape, remainder.shape) == ((2, 3, 5), (2, 3, 2))
    assert np.array_equal(quotient[1, 2], divide_by_box(kernels_[1, 2], 3)[0])
    assert np.array_equal(phase_gains(kernels_, 3)[1, 2], phase_gains(kernels_[1, 2], 3))


def test_dividing_leaves_its_input_alone() -> None:
    kernel = np.array([1.0, 2.0, 3.0])
    divide_by_box(kernel, 2)
    assert kernel.tolist() == [1, 2, 3]


def test_what_does_not_fit_is_refused() -> None:
    weight = np.ones((2, 2, 3, 3))
    with pytest.raises(UsageError, match=r"stride: 0 is not"):
        phase_kernels(weight, 0)
    with pytest.raises(UsageError, match=r"dilation: 0 is not"):
        subpixel_kernel(weight, 2, dilation=0)
    with pytest.raises(UsageError, match=r"weight: shape \(3, 3\) is not \(C_in, C_out/groups, kh, kw\)"):
        subpixel_kernel(np.ones((3, 3)), 2)
    with pytest.raises(UsageError, match=r"groups: 3 does not divide"):
        nearest_conv_kernel(weight, 2, groups=3)
    with pytest.raises(UsageError, match=r"x: 6 channels are not a multiple of scale_factor² = 4"):
        pixel_shuffle(np.ones((1, 6, 2, 2)), 2)
    for function in (box_kernel, bilinear_kernel, bilinear_padding):
        with pytest.raises(UsageError, match=r"scale_factor: 0 is not"):
            function(0)
    with pytest.raises(UsageError, match=r"kernel_size: 0 is not"):
        nearest_conv_crop(0)
    with pytest.raises(UsageError, match=r"kernel: shape \(0,\) is not"):
        divide_by_box([], 2)
