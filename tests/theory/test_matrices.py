"""Exact identities of METRICS: a convolution is a matrix; a transposed one is zero insertion and convolution."""

from typing import Any

import numpy as np
import pytest
import torch

from deconvbench.errors import UsageError
from deconvbench.theory import (
    conv_matrix,
    convolve,
    flip_kernel,
    pad_or_crop,
    transposed_conv_matrix,
    transposed_convolve,
    zero_insert,
)
from deconvbench.theory._checks import FloatArray

TOLERANCE = 1e-10
# (C_in, C_out, groups)
CHANNELS = ((2, 3, 1), (4, 6, 2))


def _assert_same(found: FloatArray, expected: FloatArray | torch.Tensor, where: object = "") -> None:
    expected = expected.numpy() if isinstance(expected, torch.Tensor) else expected
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE, err_msg=str(where))


def _split(geometry: dict[str, int]) -> tuple[int, dict[str, Any]]:
    options: dict[str, Any] = dict(geometry)
    return options.pop("kernel_size"), options


def test_matrix_of_figure_2_is_4_by_16() -> None:
    kernel = np.arange(1.0, 10.0).reshape(3, 3)
    matrix = conv_matrix(kernel, (4, 4))
    assert matrix.shape == (4, 16)
    assert matrix[0].tolist() == [1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0, 0, 0, 0, 0]
    assert matrix[3].tolist() == [0, 0, 0, 0, 0, 1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9]


def test_transposing_restores_the_shape_only(rng: np.random.Generator) -> None:
    matrix = conv_matrix(rng.standard_normal((3, 3)), (4, 4))
    restored = matrix.T @ matrix
    assert restored.shape == (16, 16)
    assert np.linalg.matrix_rank(restored) == 4
    assert not np.allclose(restored, np.eye(16))


def test_convolution_is_its_matrix_and_the_transposed_one_its_transpose(
    geometry: dict[str, int], sizes: list[tuple[int, int]], rng: np.random.Generator
) -> None:
    kernel_size, options = _split(geometry)
    output_padding = options.pop("output_padding")
    weight = rng.standard_normal((kernel_size, kernel_size))
    for size in sizes:
        y = rng.standard_normal(size)
        up = transposed_conv_matrix(weight, size, output_padding=output_padding, **options)
        large = transposed_convolve(y[None, None], weight[None, None], output_padding=output_padding, **options)
        _assert_same(up @ y.ravel(), large.ravel(), size)

        x = rng.standard_normal(large.shape)
        matrix = conv_matrix(weight, (large.shape[2], large.shape[3]), **options)
        small = convolve(x, weight[None, None], **options)
        _assert_same(matrix @ x.ravel(), small.ravel(), size)
        # an output_padding of the stride or more (dilation allows it) lets the convolution go on past `size`
        rows = matrix.reshape(*small.shape[2:], -1)[: size[0], : size[1]]
        _assert_same(rows.reshape(y.size, -1).T, up, size)


def test_matrices_of_channels_add_up(rng: np.random.Generator) -> None:
    x, weight = rng.standard_normal((1, 3, 5, 4)), rng.standard_normal((2, 3, 3, 2))
    blocks = [[conv_matrix(kernel, (5, 4), stride=2, padding=1) for kernel in row] for row in weight]
    _assert_same(np.block(blocks) @ x.ravel(), convolve(x, weight, stride=2, padding=1).ravel())


def test_gradient_of_a_convolution_is_the_transposed_convolution(
    geometry: dict[str, int], sizes: list[tuple[int, int]], rng: np.random.Generator
) -> None:
    kernel_size, options = _split(geometry)
    for size in sizes:
        weight, gradient = (
            rng.standard_normal((3, 2, kernel_size, kernel_size)),
            rng.standard_normal((1, 3, *size)),
        )
        expected = transposed_convolve(gradient, weight, **options)
        x = torch.zeros(expected.shape, dtype=torch.float64, requires_grad=True)
        forward: dict[str, Any] = {name: value for name, value in options.items() if name != "output_padding"}
        y = torch.nn.functional.conv2d(x, torch.from_numpy(weight), **forward)
        seen = y[:, :, : size[0], : size[1]]
        _assert_same(expected, torch.autograd.grad(seen, x, torch.from_numpy(gradient))[0], size)


def test_transposed_convolution_is_zero_insertion_and_a_flipped_convolution(
    geometry: dict[str, int], sizes: list[tuple[int, int]], rng: np.random.Generator
) -> None:
    kernel_size, options = _split(geometry)
    around = options["dilation"] * (kernel_size - 1) - options["padding"]
    for size in sizes:
        for c_in, c_out, groups in CHANNELS:
            x = rng.standard_normal((2, c_in, *size))
            weight = rng.standard_normal((c_in, c_out // groups, kernel_size, kernel_size))
            spread = zero_insert(x, options["stride"], options["output_padding"])
            padded = pad_or_crop(spread, (around, around), (around, around))
            direct = convolve(padded, flip_kernel(weight, groups), dilation=options["dilation"], groups=groups)
            found = transposed_convolve(x, weight, groups=groups, **options)
            _assert_same(found, direct, (size, groups))
            tensors = torch.from_numpy(x), torch.from_numpy(weight)
            expected = torch.nn.functional.conv_transpose2d(*tensors, groups=groups, **options)
            _assert_same(found, expected, (size, groups))


def test_figure_3_left_4_of_36_cells_carry_data() -> None:
    padded = pad_or_crop(zero_insert(np.ones((1, 1, 2, 2)), 1), (2, 2), (2, 2))
    assert padded.shape == (1, 1, 6, 6)
    assert np.count_nonzero(padded) == 4
    assert convolve(padded, np.ones((1, 1, 3, 3))).shape == (1, 1, 4, 4)


def test_figure_3_right_has_zeros_between() -> None:
    spread = zero_insert([[1, 2], [3, 4]], 2)
    assert spread.tolist() == [[1, 0, 2], [0, 0, 0], [3, 0, 4]]
    padded = pad_or_crop(spread, (2, 2), (2, 2))
    assert padded.shape == (7, 7)
    assert convolve(padded[None, None], np.ones((1, 1, 3, 3))).shape == (1, 1, 5, 5)


@pytest.mark.parametrize("groups", [1, 2], ids="g{}".format)
@pytest.mark.parametrize("dilation", [1, 3], ids="d{}".format)
@pytest.mark.parametrize("padding", [0, 2], ids="p{}".format)
@pytest.mark.parametrize("stride", [1, 2, 4], ids="s{}".format)
@pytest.mark.parametrize("kernel_size", [(1, 1), (2, 2), (3, 3), (1, 4)], ids="k{}".format)
def test_convolve_is_that_of_torch(
    kernel_size: tuple[int, int], stride: int, padding: int, dilation: int, groups: int, rng: np.random.Generator
) -> None:
    x, weight = rng.standard_normal((2, 4, 9, 11)), rng.standard_normal((6, 4 // groups, *kernel_size))
    options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    expected = torch.nn.functional.conv2d(torch.from_numpy(x), torch.from_numpy(weight), **options)
    _assert_same(convolve(x, weight, **options), expected)


def test_transposed_convolve_scatters_a_pixel_to_its_kernel() -> None:
    x = np.zeros((1, 1, 2, 2))
    x[0, 0, 0, 1] = 10
    y = transposed_convolve(x, [[[[1, 2], [3, 4]]]], stride=2)
    assert y[0, 0].tolist() == [[0, 0, 10, 20], [0, 0, 30, 40], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_zero_insert_appends_output_padding_at_bottom_and_right() -> None:
    assert zero_insert([[[5, 6]]], 3, output_padding=1).tolist() == [[[5, 0, 0, 6, 0], [0, 0, 0, 0, 0]]]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (1, 2, [0, 1, 2, 3, 0, 0]),
        (-1, 0, [2, 3]),
        (-1, 1, [2, 3, 0]),
        (0, -2, [1]),
        (-4, 3, [0, 0]),
        (3, -4, [0, 0]),
    ],
    ids=["pad", "crop", "shift", "keep-first", "beyond-the-end", "before-the-start"],
)
def test_pad_or_crop_cuts_a_window_out_of_endless_zeros(before: int, after: int, expected: list[int]) -> None:
    x = np.array([[1.0, 2.0, 3.0]])
    assert pad_or_crop(x, (0, 0), (before, after)).tolist() == [expected]
    assert pad_or_crop(x.T, (before, after), (0, 0)).T.tolist() == [expected]


def test_pad_or_crop_leaves_its_input_alone() -> None:
    x = np.ones((2, 2))
    pad_or_crop(x, (0, 0), (0, 0))[:] = 7
    assert np.all(x == 1)


@pytest.mark.parametrize("groups", [1, 2, 4], ids="g{}".format)
def test_flipping_twice_gives_the_kernel_back(groups: int, rng: np.random.Generator) -> None:
    weight = rng.standard_normal((4, 3, 2, 5))
    flipped = flip_kernel(weight, groups)
    assert flipped.shape == (3 * groups, 4 // groups, 2, 5)
    assert np.array_equal(flip_kernel(flipped, groups), weight)


def test_a_depthwise_convolution_ignores_the_other_channels(rng: np.random.Generator) -> None:
    x, weight = rng.standard_normal((1, 3, 4, 4)), rng.standard_normal((3, 1, 2, 2))
    y = convolve(x, weight, groups=3)
    x[:, 1:] = 0
    assert np.array_equal(convolve(x, weight, groups=3)[:, 0], y[:, 0])
    assert not np.any(convolve(x, weight, groups=3)[:, 1:])


def test_what_does_not_fit_is_refused() -> None:
    x, weight = np.ones((1, 2, 4, 4)), np.ones((2, 2, 3, 3))
    with pytest.raises(UsageError, match=r"x: 3 channels do not fit the kernel, which takes 2"):
        convolve(np.ones((1, 3, 4, 4)), weight)
    with pytest.raises(UsageError, match=r"x: 3 channels do not fit the kernel, which takes 2"):
        transposed_convolve(np.ones((1, 3, 4, 4)), weight)
    with pytest.raises(UsageError, match=r"groups: 3 does not divide the kernel's first axis, 2"):
        convolve(x, weight, groups=3)
    with pytest.raises(UsageError, match=r"x: shape \(4, 4\) is not \(N, C_in, H, W\)"):
        transposed_convolve(np.ones((4, 4)), weight)
    with pytest.raises(UsageError, match=r"kernel_size: 3 .* only 2"):
        convolve(np.ones((1, 2, 2, 2)), weight)
    with pytest.raises(UsageError, match=r"weight: shape \(1, 1, 3, 3\) is not \(kh, kw\)"):
        conv_matrix(np.ones((1, 1, 3, 3)), (4, 4))
    with pytest.raises(UsageError, match=r"rows, columns: \(-3, -1\), \(0, 0\) leave 0×4 of 4×4 pixels"):
        pad_or_crop(np.ones((4, 4)), (-3, -1), (0, 0))
    with pytest.raises(UsageError, match=r"stride: 0 is not"):
        zero_insert(x, 0)
