"""What becomes of the kernels, against definitions that are written out."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from deconvbench.upsamplers.fast.minimal import product_matrix
from deconvbench.upsamplers.fast.tiled import _PRODUCTS
from deconvbench.upsamplers.fast.weights import (
    Matrix,
    _make_matrix,
    count_padding,
    phase_matrix,
    stack_products,
    transform_kernels,
    transposed_matrix,
)
from tests.upsamplers.fast.plain_form import draw

SIZES = [(k, s) for k in (1, 3, 5, 7, 9) for s in (2, 3, 4, 5)]
over_sizes = pytest.mark.parametrize(("kernel_size", "scale_factor"), SIZES, ids=[f"k{k}-s{s}" for k, s in SIZES])
UNEQUAL = ((1.0, 2.0, 0.0), (0.0, -1.0, 0.5))


@over_sizes
def test_transposed_taps_are_those_of_box_and_flipped_kernel(kernel_size: int, scale_factor: int) -> None:
    taps = np.random.default_rng(0).standard_normal(kernel_size)
    expected = np.convolve(np.ones(scale_factor), taps[::-1])
    np.testing.assert_allclose(np.array(transposed_matrix(kernel_size, scale_factor)) @ taps, expected, rtol=1e-12)


@over_sizes
def test_phase_taps_are_the_responses_of_the_phases(kernel_size: int, scale_factor: int) -> None:
    taps = np.random.default_rng(0).standard_normal(kernel_size)
    reach = count_padding(kernel_size, scale_factor)
    found = (np.array(phase_matrix(kernel_size, scale_factor)) @ taps).reshape(scale_factor, 2 * reach + 1)
    # as many pixels as one output block may depend on, and more
    pixels = 2 * reach + 3
    middle, padding = pixels // 2, (kernel_size - 1) // 2
    for neighbour in range(-reach - 1, reach + 2):
        impulse = np.zeros(pixels)
        impulse[middle + neighbour] = 1
        upsampled = np.pad(np.repeat(impulse, scale_factor), padding)
        block = np.correlate(upsampled, taps)[middle * scale_factor :][:scale_factor]
        expected = found[:, neighbour + reach] if abs(neighbour) <= reach else np.zeros(scale_factor)
        np.testing.assert_allclose(block, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("kernel_size", "scale_factor", "expected"),
    [
        (1, 2, 0),
        (3, 2, 1),
        (3, 5, 1),
        (5, 2, 1),
        (5, 4, 1),
        (7, 2, 2),
        (7, 3, 1),
        (9, 2, 2),
        (9, 3, 2),
        (11, 2, 3),
    ],
)
def test_reach_of_the_padding(kernel_size: int, scale_factor: int, expected: int) -> None:
    assert count_padding(kernel_size, scale_factor) == expected


def test_kernels_are_transformed_along_both_axes() -> None:
    weight = draw(2, 4, 3, 3)
    matrix = torch.tensor(UNEQUAL, dtype=torch.float64)
    expected = matrix @ weight @ matrix.T
    torch.testing.assert_close(transform_kernels(weight, UNEQUAL), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("columns_first", [False, True], ids=["rows", "columns"])
def test_products_are_the_same_numbers_as_channel_matrices(columns_first: bool) -> None:
    weight = draw(2, 4, 3, 3)
    expected = transform_kernels(weight, UNEQUAL).permute(2, 3, 0, 1)
    if columns_first:
        expected = expected.transpose(0, 1)
    found = stack_products(weight, UNEQUAL, columns_first=columns_first)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert found.is_contiguous()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["nchw", "nhwc"])
def test_layout_of_the_weight_does_not_matter(layout: torch.memory_format) -> None:
    weight = draw(3, 4, 3, 3)
    for transform in (transform_kernels, stack_products):
        torch.testing.assert_close(
            transform(weight.contiguous(memory_format=layout), UNEQUAL), transform(weight, UNEQUAL)
        )


@pytest.mark.parametrize(
    "matrix", [UNEQUAL, transposed_matrix(5, 2), phase_matrix(5, 3), product_matrix(5, 2), _PRODUCTS]
)
def test_a_matrix_is_filled_on_other_devices_as_it_is_copied_on_this(matrix: Matrix) -> None:
    # a device that says it is another one: what is made there is on the CPU
    device: Any = SimpleNamespace(type="accelerator")
    with pytest.MonkeyPatch.context() as patch:
        make = torch.zeros
        patch.setattr(torch, "zeros", lambda *size, dtype, device: make(*size, dtype=dtype))
        found = _make_matrix(matrix, torch.float64, device)
    assert torch.equal(found, torch.tensor(matrix, dtype=torch.float64))


def test_kernels_are_transformed_where_they_are() -> None:
    assert transform_kernels(draw(2, 4, 3, 3).to("meta"), UNEQUAL).device.type == "meta"


@pytest.mark.parametrize("transform", [transform_kernels, stack_products])
def test_the_default_device_is_another(transform: Callable[..., Tensor]) -> None:
    weight = draw(2, 4, 3, 3)
    expected = transform(weight, UNEQUAL)
    with torch.device("meta"):
        found = transform(weight, UNEQUAL)
    assert torch.equal(found, expected)


@pytest.mark.cuda
@pytest.mark.parametrize("transform", [transform_kernels, stack_products])
def test_a_cuda_graph_captures_the_transform(transform: Callable[..., Tensor]) -> None:
    weight = draw(2, 4, 3, 3).cuda()
    transform(weight, UNEQUAL)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = transform(weight, UNEQUAL)
    weight.mul_(2)
    graph.replay()
    torch.testing.assert_close(found.cpu(), transform(weight.cpu(), UNEQUAL), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("transform", [transform_kernels, stack_products])
def test_transforms_are_differentiable(transform: Callable[..., Tensor]) -> None:
    assert torch.autograd.gradcheck(
        lambda weight: transform(weight, UNEQUAL), (draw(2, 2, 3, 3).requires_grad_(),)
    )
