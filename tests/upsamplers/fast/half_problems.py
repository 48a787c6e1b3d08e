"""Layers of half precision on kernels and images that are hardest for them, beside the plain form and float64."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from bench.half_precision import MEANS, draw_image, draw_zero_sum_weight
from deconvbench.measure.numerics import numerical_error
from tests.upsamplers.fast.plain_form import Layer, draw

HALF = (torch.bfloat16, torch.float16)
over_half = pytest.mark.parametrize("dtype", HALF, ids=["bfloat16", "float16"])
CHANNELS = (16, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A layer with its weights, an input, and what float64 makes of them."""

    layer: Layer
    conv: nn.Conv2d
    x: Tensor
    gradient: Tensor

    @property
    def in_half(self) -> list[Tensor]:
        """The plain form's output and gradients, in the precision of the input."""
        return self._differentiate(self.conv, self.x)

    @property
    def exact(self) -> list[Tensor]:
        """The same in float64."""
        conv = self.layer.make_conv(*CHANNELS)
        conv.load_state_dict(self.conv.state_dict())
        return self._differentiate(conv, self.x.double())

    def _differentiate(self, conv: nn.Conv2d, x: Tensor) -> list[Tensor]:
        x = x.clone().requires_grad_()
        y = self.layer.run_plain(conv, x)
        return [y.detach(), *torch.autograd.grad(y, [x, *conv.parameters()], self.gradient.to(y.dtype))]

    def run(self, mode: str) -> list[Tensor]:
        """Output of the layer with the weight made in every call or kept, or with gradients."""
        auto = self.layer.make(self.conv)
        if mode != "train":
            with torch.no_grad():
                return [(auto.eval().cache_weight() if mode == "kept" else auto)(self.x)]
        x = self.x.clone().requires_grad_()
        y = auto(x)
        return [y.detach(), *torch.autograd.grad(y, [x, *auto.parameters()], self.gradient)]


def make_problems(
    layer: Layer, dtype: torch.dtype, layout: torch.memory_format, size: int = 12
) -> Iterator[Problem]:
    """Kernels that sum to zero on noise around each mean, and random ones."""
    for mean in (*MEANS, 0):
        conv = layer.make_conv(*CHANNELS).to(dtype)
        if mean:
            weight = draw_zero_sum_weight(8, 16 // layer.groups, layer.kernel_size, dtype, seed=2)
            with torch.no_grad():
                conv.weight.copy_(weight)
        x = draw_image(16, size, mean, dtype, seed=3).contiguous(memory_format=layout)
        side = size * layer.scale_factor
        yield Problem(layer=layer, conv=conv, x=x, gradient=draw(1, 8, side, side, dtype=dtype, seed=4))


def measure_errors(found: list[Tensor], exact: list[Tensor]) -> list[float]:
    assert len(found) <= len(exact)
    return [numerical_error(one, other) for one, other in zip(found, exact, strict=False)]


def assert_as_precise(found: list[Tensor], plain: list[Tensor], exact: list[Tensor], share: float = 1) -> None:
    """Each error is at most so many times that of the plain form."""
    limits, errors = measure_errors(plain, exact), measure_errors(found, exact)
    # the plain form rounds each output once
    assert limits[0] < 4e-3
    assert all(error <= share * limit for error, limit in zip(errors, limits, strict=False)), (errors, limits)
