"""Constants of a layer, such as a fixed filter: on its device and in its type, and in no state_dict.

Buffers that no state_dict holds are lost where a model is built on the device ``meta`` and filled afterwards
(``to_empty``, sharded loading); these are computed anew there. Learns nothing.
"""

from abc import abstractmethod
from typing import Any, Self

import torch
from torch import Tensor, nn


class ConstantLayer(nn.Module):
    """A layer with constants; the class beside it has the parameters and the constructor."""

    @abstractmethod
    def compute_constants(self) -> dict[str, Tensor]:
        """Compute the constants by name: on the CPU, real ones in float64, indices in int64."""

    def register_constants(self, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        """Compute the constants and keep them as buffers; indices keep their type."""
        dtype = dtype or torch.get_default_dtype()
        for name, value in self.compute_constants().items():
            kept = value.to(device=device, dtype=dtype if value.is_floating_point() else None)
            self.register_buffer(name, kept, persistent=False)

    def _apply(self, *args: Any, **kwargs: Any) -> Self:
        lost = [name for name, buffer in self._buffers.items() if buffer is not None and buffer.is_meta]
        super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call] # torch has no types here
        found = [name for name in lost if not getattr(self, name).is_meta]
        if found:
            constants = self.compute_constants()
            for name in found:
                getattr(self, name).copy_(constants[name])
        return self
