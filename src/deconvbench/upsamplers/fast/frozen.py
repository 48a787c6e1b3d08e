"""Transformed weights that a frozen layer keeps, and how it notices that its weight is not the same any more."""

from dataclasses import dataclass

import torch
from torch import Tensor

from deconvbench.upsamplers.fast.forms import PRODUCT_FORMS, Geometry, prepare


class FrozenWeights:
    """Transformed weights by form, memory format and type, made when they are first asked for.

    Parameters
    ----------
    geometry : Geometry
        Of the layer.
    """

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        self._entries: dict[tuple[str, torch.memory_format, torch.dtype], _Entry] = {}

    def are_of(self, weight: Tensor) -> bool:
        """Say whether they are still those of a weight, as far as can be detected.

        Parameters
        ----------
        weight : Tensor, shape (C_out, C_in/groups, k, k)
            That of the layer now. One that was made in inference mode never is: torch counts no versions there.
        """
        return not weight.is_inference() and all(entry.is_of(weight) for entry in self._entries.values())

    def take(self, implementation: str, weight: Tensor, layout: torch.memory_format, dtype: torch.dtype) -> Tensor:
        """Return the transformed weight of a form.

        Parameters
        ----------
        implementation : str
            As for `forms.prepare`.
        weight : Tensor, shape (C_out, C_in/groups, k, k)
            What it is, or is to be, made of.
        layout : torch.memory_format
            Of the input: a convolution wants its weight to have it too, and would copy it in every call.
        dtype : torch.dtype
            Of the input.

        Returns
        -------
        Tensor
            As from `forms.prepare`, without a gradient.
        """
        key = (implementation, layout, dtype)
        if key not in self._entries:
            self._entries[key] = self._make(implementation, weight, layout, dtype)
        return self._entries[key].value

    def _make(
        self, implementation: str, weight: Tensor, layout: torch.memory_format, dtype: torch.dtype
    ) -> "_Entry":
        # an ordinary tensor even if it is first needed in inference mode: autograd may have to save it one day
        with torch.inference_mode(False), torch.no_grad():
            value = prepare(implementation, weight, self._geometry, dtype)
            if implementation not in PRODUCT_FORMS:
                value = value.contiguous(memory_format=layout)
        return _Entry(value=value, weight=weight, version=weight._version, address=weight.data_ptr())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A transformed weight, and of what it was made."""

    value: Tensor
    weight: Tensor
    version: int
    address: int

    def is_of(self, weight: Tensor) -> bool:
        # the address is another one after an assignment to weight.data, which counts as no version
        return weight is self.weight and weight._version == self.version and weight.data_ptr() == self.address
