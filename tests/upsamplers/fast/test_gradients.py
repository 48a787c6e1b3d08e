"""Adjoints are those that autograd has."""

import pytest
import torch
from torch.nn import functional

from deconvbench.upsamplers.fast.gradients import collect_taps, crop_edges, fold_edges
from deconvbench.upsamplers.fast.preparation import prepare
from tests.upsamplers.fast.plain_form import Layer, draw


@pytest.mark.parametrize(("before", "after"), [(1, 1), (2, 2), (5, 5), (0, 1), (1, 2)])
def test_folding_and_cropping_are_the_adjoints_of_padding(before: int, after: int) -> None:
    x = draw(2, 3, 4, 1).requires_grad_()
    for mode, fold in (("replicate", fold_edges), ("constant", crop_edges)):
        padded = functional.pad(x, (before, after) * 2, mode=mode)
        gradient = draw(*padded.shape, seed=2)
        (expected,) = torch.autograd.grad(padded, x, gradient)
        torch.testing.assert_close(fold(gradient, before, after), expected, rtol=0, atol=1e-12)


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
