"""Gradients that a backward pass finds are those that torch finds for the plain form."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.upsamplers.fast.backward import go_back, go_back_plainly
from deconvbench.upsamplers.fast.forms import Geometry
from tests.upsamplers.fast.plain_form import draw, over_layouts

WAYS: dict[str, Callable[..., tuple[Tensor | None, Tensor | None]]] = {
    "form": lambda x, weight, gradient, geometry, needs: go_back(x, weight, gradient, "tiled", geometry, needs),
    "plain": go_back_plainly,
}
over_ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
GEOMETRIES = [
    Geometry(kernel_size=size, scale_factor=scale, groups=groups, padding_mode=mode)
    for size, scale, groups in ((3, 2, 1), (5, 2, 2), (1, 3, 1), (3, 4, 2))
    for mode in ("zeros", "replicate")
]


def differentiate(x: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry) -> tuple[Any, ...]:
    x, weight = x.detach().requires_grad_(), weight.detach().requires_grad_()
    upsampled = functional.interpolate(x, scale_factor=geometry.scale_factor)
    mode = "constant" if geometry.pads_zeros else "replicate"
    padded = functional.pad(upsampled, [geometry.padding] * 4, mode=mode)
    y = functional.conv2d(padded, weight, groups=geometry.groups)
    return torch.autograd.grad(y, (x, weight), gradient)


@over_ways
@over_layouts
@pytest.mark.parametrize(
    "geometry", GEOMETRIES, ids=lambda one: f"k{one.kernel_size}-s{one.scale_factor}-{one.padding_mode}"
)
def test_they_are_those_of_the_plain_form(way: Any, layout: torch.memory_format, geometry: Geometry) -> None:
    x = draw(2, 4, 3, 5).contiguous(memory_format=layout)
    weight = draw(6, 4 // geometry.groups, geometry.kernel_size, geometry.kernel_size, seed=2)
    sides = [geometry.scale_factor * side for side in x.shape[2:]]
    gradient = draw(2, 6, *sides, seed=3).contiguous(memory_format=layout)
    expected = differentiate(x, weight, gradient, geometry)
    for needs in ((True, True), (True, False), (False, True)):
        for found, other, is_needed in zip(
            way(x, weight, gradient, geometry, needs), expected, needs, strict=True
        ):
            assert (found is not None) == is_needed
            if found is not None:
                torch.testing.assert_close(found, other, rtol=0, atol=1e-11)


@over_ways
def test_of_an_image_of_one_pixel(way: Any) -> None:
    x, weight, gradient = draw(1, 4, 1, 1), draw(6, 4, 3, 3, seed=2), draw(1, 6, 2, 2, seed=3)
    for geometry in GEOMETRIES[:2]:
        found = way(x, weight, gradient, geometry, (True, True))
        for one, other in zip(found, differentiate(x, weight, gradient, geometry), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@over_ways
def test_of_gradients_that_are_expanded_or_have_gaps(way: Any) -> None:
    x, weight = draw(2, 8, 4, 6)[:, ::2, :, ::2], draw(6, 4, 3, 3, seed=2)
    for gradient in (torch.ones((), dtype=x.dtype).expand(2, 6, 8, 6), draw(2, 12, 8, 6, seed=3)[:, ::2]):
        found = way(x, weight, gradient, GEOMETRIES[0], (True, True))
        for one, other in zip(found, differentiate(x, weight, gradient, GEOMETRIES[0]), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-11)
