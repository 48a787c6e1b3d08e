"""Transformed weights that are kept between calls, for inference.

A transformed weight costs more than the convolution on small images. Keeping it is only right while the weight
stays what it was; how that is noticed is `FrozenWeights`'s, here it is found whose weights they are. Chooses no
form.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from deconvbench.networks.fusion.expressions import FindPrepared
from deconvbench.upsamplers.fast.forms import Geometry
from deconvbench.upsamplers.fast.frozen import FrozenWeights


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    owner: Tensor
    address: int
    taps: Tensor
    weights: FrozenWeights

    def is_of(self, owner: Tensor) -> bool:
        # the taps share memory and version of their owner until it gets other memory
        return owner is self.owner and owner.data_ptr() == self.address and self.weights.are_of(self.taps)


class WeightCache:
    """The transformed weights of the convolutions of one module.

    A change of a weight is seen by its identity, its version and its memory: optimizer steps,
    ``load_state_dict``, ``.to()``, assignments to ``.data`` and in-place operations by any owner of the
    parameter all count. Not detected are writes into ``weight.data`` and into foreign views of its memory
    (``numpy()``): call `clear` after those. Copies and pickles are empty.
    """

    def __init__(self) -> None:
        self._entries: dict[Any, _Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __reduce__(self) -> Any:
        return (WeightCache, ())

    def clear(self) -> None:
        """Forget all of them."""
        self._entries.clear()

    def find(self, weight: Tensor, start: int, length: int) -> FindPrepared | None:
        """Find where the transformed weight of some input channels is kept.

        Parameters
        ----------
        weight : Tensor, shape (C_out, C_in/groups, k, k)
            Of the convolution.
        start, length : int
            Which input channels of a group.

        Returns
        -------
        callable or None
            None where keeping is not possible: for a gradient, and for weights that are not parameters.
        """
        if not isinstance(weight, nn.Parameter) or weight.is_inference():
            return None
        if torch.is_grad_enabled() and weight.requires_grad:
            return None
        return partial(self._find, weight, start, length)

    def _find(
        self,
        weight: Tensor,
        start: int,
        length: int,
        implementation: str,
        geometry: Geometry,
        layout: torch.memory_format,
        dtype: torch.dtype,
    ) -> Tensor:
        key = (id(weight), start, length, geometry)
        entry = self._entries.get(key)
        if entry is None or not entry.is_of(weight):
            # one that is made in inference mode has no version
            with torch.inference_mode(mode=False):
                taps = weight.detach().narrow(1, start, length)
            entry = _Entry(owner=weight, address=weight.data_ptr(), taps=taps, weights=FrozenWeights(geometry))
            self._entries[key] = entry
        return entry.weights.take(implementation, entry.taps, layout, dtype)
