"""Least squares on kernels: the optimum is one, and its error is what noise shows."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deconvbench.networks.replacement.kernels import (
    Axis,
    Equivalent,
    FloatArray,
    convolution_matrix,
    dilation_matrix,
    fit,
    fit_bias,
)
from deconvbench.upsamplers.equal_gain import GainProjection


def make_equivalent(taps: FloatArray, start: tuple[int, int] = (0, 0)) -> Equivalent:
    return Equivalent(taps=taps, bias=None, stride=(2, 2), start=start, excess=(0, 0), groups=1)


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("taps", [[1.0], [1, 1], [1, 3, 3, 1]], ids=len)
def test_convolution_matrix_convolves(taps: list[float], size: int) -> None:
    x = np.random.default_rng(0).normal(size=size)
    np.testing.assert_allclose(convolution_matrix(taps, size) @ x, np.convolve(taps, x), atol=1e-14)


def test_dilation_matrix_puts_zeros_between() -> None:
    assert (dilation_matrix(3, 2) @ [1, 2, 3]).tolist() == [1, 0, 2, 0, 3]
    assert np.array_equal(dilation_matrix(4, 1), np.eye(4))


@given(
    filters=st.tuples(*(st.sampled_from([[1.0, 1], [1, 1, 1], [0.25, 0.75, 0.75, 0.25]]),) * 2),
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    starts=st.tuples(*(st.integers(-4, 2),) * 4),
    kernel=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=60)
def test_no_other_weights_come_nearer(
    filters: tuple[list[float], list[float]],
    sizes: tuple[int, int],
    starts: tuple[int, int, int, int],
    kernel: tuple[int, int],
    seed: int,
) -> None:
    generator = np.random.default_rng(seed)
    equivalent = make_equivalent(generator.normal(size=(2, 1, *kernel)), (starts[0], starts[1]))
    rows, columns = (convolution_matrix(taps, size) for taps, size in zip(filters, sizes, strict=True))
    axes = (Axis(matrix=rows, start=starts[2]), Axis(matrix=columns, start=starts[3]))
    weights, relative_error = fit(equivalent, axes)

    def measure(candidate: FloatArray) -> float:
        # on a canvas with room, tap by tap
        canvas = np.zeros((2, 1, 40, 40))
        top, left = (20 + start for start in starts[:2])
        canvas[:, :, top : top + kernel[0], left : left + kernel[1]] += equivalent.taps
        top, left = (20 + start for start in starts[2:])
        found = rows @ candidate @ columns.T
        canvas[:, :, top : top + len(rows), left : left + len(columns)] -= found
        return float(np.linalg.norm(canvas) / np.linalg.norm(equivalent.taps))

    best = measure(weights)
    assert relative_error == pytest.approx(best, abs=1e-12)
    for scale in (1e-3, 1e-1):
        for _ in range(5):
            other = weights + scale * generator.normal(size=weights.shape)
            assert measure(other) > best
    # the gradient is zero: perturbations to either side cost the same
    step = 1e-4 * generator.normal(size=weights.shape)
    assert measure(weights + step) ** 2 - measure(weights - step) ** 2 == pytest.approx(0, abs=1e-10)


def test_a_projection_keeps_it_the_optimum() -> None:
    generator = np.random.default_rng(0)
    equivalent = make_equivalent(generator.normal(size=(2, 2, 3, 3)))
    projection = GainProjection(4, 2, dtype=torch.float64)

    def project(weights: FloatArray) -> FloatArray:
        projected: FloatArray = projection(torch.from_numpy(weights)).numpy()
        return projected

    axis = Axis(matrix=np.eye(4), start=0)
    weights, relative_error = fit(equivalent, (axis, axis), project)
    np.testing.assert_allclose(project(weights), weights, atol=1e-12)
    wanted = np.pad(equivalent.taps, ((0, 0), (0, 0), (0, 1), (0, 1)))
    whole = np.linalg.norm(wanted)
    assert relative_error == pytest.approx(np.linalg.norm(weights - wanted) / whole)
    for _ in range(20):
        other = project(weights + 0.1 * generator.normal(size=weights.shape))
        assert np.linalg.norm(other - wanted) / whole > relative_error


def test_weights_of_zero_have_no_error() -> None:
    axis = Axis(matrix=np.eye(3), start=0)
    weights, relative_error = fit(make_equivalent(np.zeros((1, 1, 3, 3))), (axis, axis))
    assert not weights.any()
    assert relative_error == 0


def test_kernels_that_do_not_meet_are_missed_altogether() -> None:
    axis = Axis(matrix=np.eye(2), start=5)
    weights, relative_error = fit(make_equivalent(np.ones((1, 1, 3, 3))), (axis, axis))
    assert not weights.any()
    assert relative_error == 1


def test_biases_of_phases_are_averaged_where_the_layer_has_one() -> None:
    bias = np.array([[[1.0, 2], [3, 6]], [[0.1, 0.1], [0.1, 0.1]]])
    found, error = fit_bias(bias, has_phases=False)
    assert found is not None
    assert found[:, 0, 0].tolist() == [3, 0.1]
    assert error == pytest.approx(np.sqrt((4 + 1 + 0 + 9) / (1 + 4 + 9 + 36 + 4 * 0.01)))
    assert fit_bias(bias, has_phases=True) == (bias, 0)
    assert fit_bias(None, has_phases=False) == (None, 0)
    assert fit_bias(np.zeros((2, 2, 2)), has_phases=False)[1] == 0
