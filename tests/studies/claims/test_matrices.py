import numpy as np
import pytest

from deconvbench import theory
from deconvbench.studies.claims import Context, Verdict
from deconvbench.studies.claims.matrices import (
    EXACT,
    judge_equivalence,
    judge_reversal,
    judge_transpose,
    measure_equivalence,
    measure_reversal,
    measure_transpose,
)
from deconvbench.tables.trained import Trained

CONTEXT = Context(tables=None, trained=Trained())


def test_the_transposed_matrix_is_backward_pass_and_transposed_convolution() -> None:
    evidence = measure_transpose(CONTEXT)
    # kernels 2 to 8, four strides, every padding below the kernel
    assert evidence["combinations"] == 4 * sum(range(2, 9))
    assert (evidence["figure_2_rows"], evidence["figure_2_columns"]) == (4, 16)
    for name in ("convolution", "backward", "transposed"):
        assert 0 < (evidence[f"{name}_largest_relative_error"] or 1) < EXACT
    finding = judge_transpose(evidence)
    assert finding.verdict is Verdict.SUPPORTED
    assert "In 140 combinations" in finding.sentence
    assert "C is 4×16" in finding.sentence


def test_a_wrong_matrix_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = theory.conv_matrix
    monkeypatch.setattr(theory, "conv_matrix", lambda *args, **kwargs: right(*args, **kwargs) * 1.001)
    finding = judge_transpose(measure_transpose(CONTEXT))
    assert finding.verdict is Verdict.REFUTED
    assert "exact: none" in finding.sentence


def test_transposing_twice_restores_the_matrix_and_once_the_shape_alone() -> None:
    evidence = measure_reversal(CONTEXT)
    assert evidence["shapes_restored"] == evidence["combinations"] == 140
    assert evidence["matrices_restored"] == 140
    assert (evidence["matrix_largest_relative_error"] or 1) < EXACT
    assert evidence["inputs_restored"] == 0
    assert (evidence["least_relative_error"] or 0) > 0.1
    assert (evidence["figure_2_rank"], evidence["figure_2_unknowns"]) == (4, 16)
    # a projection onto 4 of 16 dimensions is √(12/16) away from I; C's rows are not orthonormal
    assert (evidence["figure_2_distance_from_identity"] or 0) >= np.sqrt(12 / 16)
    finding = judge_reversal(evidence)
    assert finding.verdict is Verdict.PARTLY
    assert "140 of 140" in finding.sentence
    assert finding.holds == (
        "Holds: transposing the matrix is reversible; does not hold: it undoes the convolution."
    )


def test_zeros_serve_every_kernel_and_nearest_neighbours_some() -> None:
    evidence = measure_equivalence(CONTEXT)
    assert (evidence["combinations"] or 0) > 300
    assert (evidence["zero_insertion_largest_relative_error"] or 1) < EXACT
    assert (evidence["nearest_as_transposed_largest_relative_error"] or 1) < EXACT
    assert (evidence["nearest_divisible_kernels_largest_residual"] or 1) < EXACT
    assert (evidence["nearest_random_kernels_least_residual"] or 0) > 0.2
    finding = judge_equivalence(evidence)
    assert finding.verdict is Verdict.SUPPORTED
    assert "of one that the box of s ones divides" in finding.sentence


def test_a_wrong_zero_insertion_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(theory, "flip_kernel", lambda weight: np.swapaxes(weight, 0, 1))
    finding = judge_equivalence(measure_equivalence(CONTEXT))
    assert finding.verdict is Verdict.PARTLY
