"""Transformed weights of transposed convolutions that are kept between calls."""

import torch
from torch import Tensor

from deconvbench.upsamplers.fast.deconvolution.compiled import prepare_compiled
from deconvbench.upsamplers.fast.deconvolution.shape import TransposedShape
from deconvbench.upsamplers.fast.frozen import KeptWeights


class FrozenKernel(KeptWeights):
    """The transformed weight of a transposed convolution.

    Parameters
    ----------
    shape : TransposedShape
        Of the layer.
    """

    def __init__(self, shape: TransposedShape) -> None:
        super().__init__(slice(0, None))
        self._shape = shape

    def _make(
        self,
        implementation: str,  # noqa: ARG002 -- only one has another weight
        weight: Tensor,
        layout: torch.memory_format,  # noqa: ARG002 -- the compiled form has an order of its own
        dtype: torch.dtype,  # noqa: ARG002 -- float32
    ) -> Tensor:
        return prepare_compiled(weight, self._shape)
