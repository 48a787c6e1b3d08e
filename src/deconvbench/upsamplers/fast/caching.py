"""Layers that may keep their transformed weight between calls, and when they drop it.

Whether what is kept is still that of the weight is `frozen`'s to say.
"""

from abc import abstractmethod
from typing import Any, Self

from torch import Tensor, nn

from deconvbench.errors import UsageError
from deconvbench.upsamplers.fast.frozen import KeptWeights, can_keep
from deconvbench.upsamplers.fast.recording import records_gradient


class CachedWeight(nn.Module):
    """A layer whose `weight` is transformed in every call, or kept transformed where it is asked to."""

    weight: Tensor
    _frozen: KeptWeights | None = None

    @abstractmethod
    def _make_frozen(self) -> KeptWeights:
        """Make an empty place for transformed weights."""

    def cache_weight(self) -> Self:
        """Keep the transformed weight from now on, for inference.

        Returns
        -------
        Self
            Itself.

        Raises
        ------
        UsageError
            While training, and for a weight that a parametrisation computes in every call.
        """
        if self.training:
            raise UsageError("cache_weight: the layer is training, so its weight will change; call eval() first")
        if "weight" not in self._parameters:
            raise UsageError("cache_weight: the weight is not a parameter but computed in every call")
        self._frozen = self._make_frozen()
        return self

    @property
    def is_frozen(self) -> bool:
        """Whether the transformed weight is kept, and still that of `weight`."""
        frozen = self._frozen
        if frozen is not None and not frozen.are_of(self.weight):
            frozen = self._frozen = None
        return frozen is not None

    def _find_frozen(self, weight: Tensor) -> KeptWeights | None:
        """Find what keeps the transformed weight, unless that is of no use here."""
        if self._frozen is None or not can_keep(weight):
            return None
        if records_gradient(weight):
            # an optimizer may come next
            self._frozen = None
        return self._frozen

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode; training drops what `cache_weight` keeps."""
        if mode:
            self._frozen = None
        return super().train(mode)

    def _apply(self, *args: Any, **kwargs: Any) -> Self:
        self._frozen = None
        super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call] # torch has no types here
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._frozen = None
        super()._load_from_state_dict(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        # copies and pickles have a weight of their own
        return {**self.__dict__, "_frozen": None}
