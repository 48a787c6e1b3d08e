"""Transformed weights that are kept between calls, and when they may stand for a weight.

They are kept with a `Snapshot` of the weight that they were made of, and are its only while it holds the same
bits. No reference to the weight is held, so it is not kept alive.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from deconvbench.upsamplers.fast.forms import PRODUCT_FORMS, Geometry, prepare
from deconvbench.upsamplers.fast.recording import is_recorded
from deconvbench.upsamplers.fast.snapshot import Snapshot


def can_keep(weight: Tensor) -> bool:
    """Say whether kept values may stand for a weight in this call.

    Parameters
    ----------
    weight : Tensor
        Any.

    Returns
    -------
    bool
        False where the bits of the weight cannot be read at once (other devices, subclasses, sparse layouts), and
        where what is computed from it is recorded or transformed, so that a constant must not take its place.
    """
    return (
        type(weight) in {Tensor, nn.Parameter}
        and not is_recorded(weight)
        and weight.device.type == "cpu"
        and weight.layout == torch.strided
        and not weight.is_neg()
    )


class KeptWeights(ABC):
    """Transformed weights by form, memory format and type, made when they are first asked for.

    Many threads may ask at once: what they share is complete before it is shared, and never changes.

    Parameters
    ----------
    channels : slice
        Which channels along the second axis of the weight are transformed.
    """

    def __init__(self, channels: slice) -> None:
        self._channels = channels
        self._kept: _Kept | None = None

    def are_of(self, weight: Tensor) -> bool:
        """Say whether they are those of a weight.

        Parameters
        ----------
        weight : Tensor
            That of the layer now.
        """
        kept = self._kept
        return can_keep(weight) and (kept is None or kept.is_of(weight))

    def take(
        self, implementation: str, weight: Tensor, layout: torch.memory_format, dtype: torch.dtype
    ) -> Tensor | None:
        """Return the transformed weight of a form.

        Parameters
        ----------
        implementation : str
            As the layer's forms are called.
        weight : Tensor
            What it is, or is to be, made of; `can_keep` must hold.
        layout : torch.memory_format
            Of the input: a convolution wants its weight to have it too, and would copy it in every call.
        dtype : torch.dtype
            Of the input.

        Returns
        -------
        Tensor or None
            Without a gradient, or the weight itself where it is already what a form wants; None if something is
            kept and is not of this weight.
        """
        if (
            implementation == "plain"
            and self._channels == slice(0, None)
            and weight.dtype == dtype
            and weight.is_contiguous(memory_format=layout)
        ):
            return weight
        kept = self._kept
        if kept is None:
            kept = self._kept = _Kept(weight)
        elif not kept.is_of(weight):
            return None
        key = (implementation, layout, dtype)
        value = kept.values.get(key)
        if value is None:
            # an ordinary tensor even if it is first needed in inference mode: autograd may have to save it one day
            with torch.inference_mode(mode=False), torch.no_grad():
                value = self._make(implementation, kept.snapshot.values[:, self._channels], layout, dtype)
            kept.values[key] = value
        return value

    @abstractmethod
    def _make(
        self, implementation: str, weight: Tensor, layout: torch.memory_format, dtype: torch.dtype
    ) -> Tensor:
        """Transform a weight."""


class FrozenWeights(KeptWeights):
    """Transformed weights of a resize-convolution.

    Parameters
    ----------
    geometry : Geometry
        Of the layer.
    start, length : int, optional
        Which input channels of each group are transformed; all of them by default.
    """

    def __init__(self, geometry: Geometry, start: int = 0, length: int | None = None) -> None:
        super().__init__(slice(start, None if length is None else start + length))
        self._geometry = geometry

    def _make(
        self, implementation: str, weight: Tensor, layout: torch.memory_format, dtype: torch.dtype
    ) -> Tensor:
        value = prepare(implementation, weight, self._geometry, dtype)
        return value if implementation in PRODUCT_FORMS else value.contiguous(memory_format=layout)


class _Kept:
    """What was made of one weight."""

    def __init__(self, weight: Tensor) -> None:
        self._identity = id(weight)
        self.snapshot = Snapshot(weight)
        self.values: dict[tuple[str, torch.memory_format, torch.dtype], Tensor] = {}

    def is_of(self, weight: Tensor) -> bool:
        # another tensor of the same values is refused early; that an id is used again does no harm
        return id(weight) == self._identity and self.snapshot.is_of(weight)
