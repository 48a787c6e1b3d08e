"""Transformed weights that are kept between calls, for inference.

A transformed weight costs more than the convolution on small images. Keeping it is only right while the weight
stays what it was; how that is noticed is `KeptWeights`'s, here it is found whose weights they are. Chooses no
form.
"""

import weakref
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from deconvbench.networks.fusion.expressions import FindPrepared
from deconvbench.upsamplers.fast.deconvolution.frozen import FrozenKernel
from deconvbench.upsamplers.fast.deconvolution.shape import TransposedShape
from deconvbench.upsamplers.fast.forms import Geometry
from deconvbench.upsamplers.fast.frozen import FrozenWeights, KeptWeights, can_keep
from deconvbench.upsamplers.fast.recording import records_gradient


class WeightCache:
    """The transformed weights of the convolutions of one module.

    A weight is compared, bit by bit, with a copy of what it was in every use, so a changed one is never missed,
    however it was changed: by an optimizer, ``load_state_dict``, through ``.data`` or a view of its memory
    (``numpy()``). No weight is kept alive; what was made of weights that the module no longer has is dropped when
    something new is kept. Many threads may use it at once. Copies and pickles are empty.

    Parameters
    ----------
    module : nn.Module or None
        Whose parameters count as in use; with None the weight that came last.
    """

    def __init__(self, module: nn.Module | None = None) -> None:
        self._find_module = (lambda: None) if module is None else weakref.ref(module)
        # in each, an id may be used again: what is kept knows its weight by content
        self._entries: dict[tuple[int, int, int, Geometry | TransposedShape], KeptWeights] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __reduce__(self) -> Any:
        return (WeightCache, (self._find_module(),))

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
            Which input channels of a group; of a transposed convolution all that there are along the second axis.

        Returns
        -------
        callable or None
            None where keeping is not possible: for a gradient, for weights that are not parameters, and where
            `can_keep` says so.
        """
        if not isinstance(weight, nn.Parameter) or not can_keep(weight):
            return None
        if records_gradient(weight):
            return None
        return partial(self._find, weight, start, length)

    def _find(
        self,
        weight: Tensor,
        start: int,
        length: int,
        implementation: str,
        geometry: Geometry | TransposedShape,
        layout: torch.memory_format,
        dtype: torch.dtype,
    ) -> Tensor:
        key = (id(weight), start, length, geometry)
        entry = self._entries.get(key)
        value = None if entry is None else entry.take(implementation, weight, layout, dtype)
        if value is None:
            if isinstance(geometry, TransposedShape):
                entry = FrozenKernel(geometry)
            else:
                entry = FrozenWeights(geometry, start, length)
            value = entry.take(implementation, weight, layout, dtype)
            assert value is not None  # nothing was kept that could be of another weight
            self._drop_replaced(weight)
            self._entries[key] = entry
        return value

    def _drop_replaced(self, weight: Tensor) -> None:
        module = self._find_module()
        in_use = {id(weight)} | ({id(owned) for owned in module.parameters()} if module is not None else set())
        for key in list(self._entries):
            if key[0] not in in_use:
                self._entries.pop(key, None)
