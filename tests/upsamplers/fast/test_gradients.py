"""Adjoints are those that autograd has."""

import pytest
import torch
from torch.nn import functional

from deconvbench.upsamplers.fast.gradients import collect_taps, fold_edges
from deconvbench.upsamplers.fast.preparation import prepare
from tests.upsamplers.fast.plain_form import Layer, draw


@pytest.mark.parametrize("reach", [1, 2, 5])
def test_folding_is_the_adjoint_of_replication(reach: int) -> None:
    x = draw(2, 3, 4, 1).requires_grad_()
    padded = functional.pad(x, (reach,) * 4, mode="replicate")
    gradient = draw(*padded.shape, seed=2)
    (expected,) = torch.autograd.grad(padded, x, gradient)
    torch.testing.assert_close(fold_edges(gradient, reach), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("kernel_size", "scale_factor"), [(1, 2), (3, 2), (5, 3)])
def test_taps_are_collected_by_the_adjoint_of_their_sums(kernel_size: int, scale_factor: int, groups: int) -> None:
    geometry = Layer(form="transposed", kernel_size=kernel_size, scale_factor=scale_factor, groups=groups).geometry
    weight = draw(6, 4 // groups, kernel_size, kernel_size).requires_grad_()
    kernel = prepare("transposed", weight, geometry, torch.float64)
    gradient = draw(*kernel.shape, seed=2)
    (expected,) = torch.autograd.grad(kernel, weight, gradient)
    torch.testing.assert_close(collect_taps(gradient, geometry, torch.float64), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_in_half_precision_taps_are_summed_before_they_are_rounded(dtype: torch.dtype) -> None:
    geometry = Layer(form="transposed").geometry
    # each tap is a sum of 2×2 numbers, the two largest of which cancel
    gradient = torch.zeros(1, 1, 4, 4, dtype=dtype)
    gradient[..., 0, 0], gradient[..., 0, 1], gradient[..., 1, 0] = 1024, 2.0**-8, -1024
    assert collect_taps(gradient, geometry, dtype).flatten().tolist()[-1] == 2.0**-8
