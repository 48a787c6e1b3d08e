"""Overlap counts against the article's figures, torch's layers of ones and the closed forms."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deconvbench.errors import UsageError
from deconvbench.theory import (
    gradient_counts,
    overlap_cv,
    overlap_map,
    phase_counts,
    stacked_overlap_cv,
    stacked_phase_counts,
    visit_counts,
)

layer_ = st.tuples(st.integers(1, 9), st.integers(1, 5))
few = settings(deadline=None, max_examples=150)


def _cv(counts: Any) -> float:
    return float(np.std(counts) / np.mean(counts))


def _is_rotation(found: list[int], expected: list[int]) -> bool:
    return any(expected[n:] + expected[:n] == found for n in range(len(expected)))


def test_figure_4_kernel_3_stride_2() -> None:
    edge, once, twice = [1, 1, 2, 1, 2, 1, 1], [1, 1, 2, 1, 2, 1, 1], [2, 2, 4, 2, 4, 2, 2]
    assert overlap_map(3, 2, 3).tolist() == [edge, once, twice, once, twice, once, once]
    assert overlap_map(3, 2, 3).dtype == np.int64


def test_figure_6_kernel_4_stride_2_has_its_fours_together() -> None:
    counts = overlap_map(4, 2, 4)
    assert counts.shape == (10, 10)
    assert np.all(counts[2:-2, 2:-2] == 4)
    assert counts[0].tolist() == [1, 1, 2, 2, 2, 2, 2, 2, 1, 1]


@pytest.mark.parametrize("size", [1, 2, 5], ids="{}px".format)
@pytest.mark.parametrize("stride", [1, 2, 3, 4], ids="s{}".format)
@pytest.mark.parametrize("kernel_size", range(1, 9), ids="k{}".format)
def test_overlap_map_is_a_transposed_convolution_of_ones(kernel_size: int, stride: int, size: int) -> None:
    expected = torch.nn.functional.conv_transpose2d(
        torch.ones(1, 1, size, size), torch.ones(1, 1, kernel_size, kernel_size), stride=stride
    )
    assert np.array_equal(overlap_map(kernel_size, stride, size), expected[0, 0].numpy())


@few
@given(layer=layer_)
def test_phase_counts_are_the_interior_of_the_visits(layer: tuple[int, int]) -> None:
    kernel_size, stride = layer
    size = -(-kernel_size // stride) + 2
    start = stride * (size - 1)  # from here on every phase has all its neighbours to the left
    padded = np.append(visit_counts(kernel_size, stride, size + kernel_size), np.zeros(stride, dtype=np.int64))
    assert np.array_equal(phase_counts(kernel_size, stride), padded[start : start + stride])
    assert phase_counts(kernel_size, stride).sum() == kernel_size


@few
@given(layer=layer_, dims=st.integers(1, 3))
def test_overlap_cv_is_that_of_the_counts(layer: tuple[int, int], dims: int) -> None:
    counts = phase_counts(*layer)
    outer = counts
    for _ in range(dims - 1):
        outer = np.multiply.outer(outer, counts)
    assert math.isclose(overlap_cv(*layer, dims), _cv(outer), rel_tol=1e-9, abs_tol=1e-12)


@few
@given(layer=layer_)
def test_overlap_is_even_exactly_where_the_stride_divides_the_kernel(layer: tuple[int, int]) -> None:
    assert (overlap_cv(*layer) == 0) == (layer[0] % layer[1] == 0)


@pytest.mark.parametrize(
    ("kernel_size", "stride", "counts", "cv"),
    [(3, 2, {1, 2, 4}, 0.4843), (5, 2, {4, 6, 9}, 0.2857), (4, 2, {4}, 0.0), (6, 3, {4}, 0.0)],
    ids=["k3s2", "k5s2", "k4s2", "k6s3"],
)
def test_known_overlaps_in_two_dimensions(kernel_size: int, stride: int, counts: set[int], cv: float) -> None:
    phases = phase_counts(kernel_size, stride)
    assert set(np.multiply.outer(phases, phases).flat) == counts
    assert overlap_cv(kernel_size, stride) == pytest.approx(cv, abs=5e-5)


@pytest.mark.parametrize(
    ("depth", "counts", "cv"),
    [(1, [2, 1], 0.4843), (2, [3, 2, 3, 1], 0.5386), (3, [4, 3, 5, 2, 5, 3, 4, 1], 0.5725)],
    ids=["one", "two", "three"],
)
def test_stacked_layers_of_kernel_3_stride_2(depth: int, counts: list[int], cv: float) -> None:
    layers = [(3, 2)] * depth
    assert _is_rotation(stacked_phase_counts(layers).tolist(), counts)
    assert stacked_overlap_cv(layers) == pytest.approx(cv, abs=5e-5)


@few
@given(layers=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3)), min_size=1, max_size=3))
def test_stacked_counts_are_the_interior_of_stacked_layers_of_ones(layers: list[tuple[int, int]]) -> None:
    y = torch.ones(1, 1, 25, dtype=torch.float64)
    for kernel_size, stride in layers:
        y = torch.nn.functional.conv_transpose1d(
            y, torch.ones(1, 1, kernel_size, dtype=torch.float64), stride=stride
        )
    period = math.prod(stride for _, stride in layers)
    interior = y[0, 0, 12 * period : 13 * period].numpy()
    assert np.array_equal(stacked_phase_counts(layers), interior)
    assert math.isclose(stacked_overlap_cv(layers, 1), _cv(interior), rel_tol=1e-9, abs_tol=1e-12)


@few
@given(layer=layer_, dims=st.integers(1, 3))
def test_one_layer_stacked_is_the_layer(layer: tuple[int, int], dims: int) -> None:
    assert np.array_equal(stacked_phase_counts([layer]), phase_counts(*layer))
    assert math.isclose(stacked_overlap_cv([layer], dims), overlap_cv(*layer, dims), rel_tol=1e-9, abs_tol=1e-12)


@pytest.mark.parametrize(
    ("kernel_size", "counts"),
    [(3, {1, 2, 4}), (4, {4}), (1, {0, 1}), (7, {9, 12, 16})],
    ids=["k3s2", "k4s2", "k1s2", "k7s2"],
)
def test_known_gradient_counts_at_stride_2(kernel_size: int, counts: set[int]) -> None:
    assert set(gradient_counts(kernel_size, 2).flat) == counts


@pytest.mark.parametrize("stride", [1, 2, 3], ids="s{}".format)
@pytest.mark.parametrize("kernel_size", range(1, 8), ids="k{}".format)
def test_gradient_counts_are_what_autograd_gives(kernel_size: int, stride: int) -> None:
    size = 6 * stride + kernel_size + stride
    x = torch.zeros(1, 1, size, size, requires_grad=True)
    y = torch.nn.functional.conv2d(x, torch.ones(1, 1, kernel_size, kernel_size), stride=stride)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    start = stride * (-(-kernel_size // stride))
    interior = gradient[0, 0, start : start + stride, start : start + stride].numpy()
    assert np.array_equal(gradient_counts(kernel_size, stride), interior)


def test_values_out_of_range_are_named() -> None:
    with pytest.raises(UsageError, match="kernel_size: 0 is not"):
        phase_counts(0, 2)
    with pytest.raises(UsageError, match="stride: 0 is not"):
        overlap_cv(3, 0)
    with pytest.raises(UsageError, match="size: 0 is not"):
        overlap_map(3, 2, 0)
    with pytest.raises(UsageError, match="dims: 0 is not"):
        overlap_cv(3, 2, 0)


def test_stacks_that_cannot_be_counted_are_refused() -> None:
    with pytest.raises(UsageError, match="layers: an empty sequence"):
        stacked_phase_counts([])
    with pytest.raises(UsageError, match="stride: 0 is not"):
        stacked_phase_counts([(3, 2), (3, 0)])
    with pytest.raises(UsageError, match=r"layers: 20 layers have up to 1\.22e\+19 paths"):
        stacked_phase_counts([(9, 1)] * 20)
