"""The compiled form as a layer of its own, which is timed as nothing else: there is no silent replacement.

Wherever nothing is timed (artifacts in float64, counting, recording) it computes the same function as any
`ResizeConv2d`, compiled or not.
"""

from torch import Tensor

from deconvbench.upsamplers.fast.choice import NATIVE
from deconvbench.upsamplers.fast.layer import ResizeConv2d
from deconvbench.upsamplers.fast.native.building import ensure_native
from deconvbench.upsamplers.fast.native.form import NUMBER_TYPES


class NativeResizeConv2d(ResizeConv2d):
    """A `ResizeConv2d` that says whether the compiled form computes it; parameters as there."""

    def explain_absence(self, x: Tensor) -> str | None:
        """Say why the compiled form does not compute an input, after trying to compile it where it is missing.

        Parameters
        ----------
        x : Tensor, shape (N, C_in, H, W)
            The input.

        Returns
        -------
        str or None
            One line; None where it does.
        """
        reason = ensure_native()
        if reason is not None or self.choose(x, is_prepared=self.is_frozen) == NATIVE:
            return reason
        found = str(x.dtype).removeprefix("torch.")
        allowed = ", ".join(str(dtype).removeprefix("torch.") for dtype in NUMBER_TYPES)
        return f"the compiled form of resize-convolution is for {allowed} on the CPU: not {found} on {x.device}"
