"""`ResizeConv2d` with a choice of interpolation: nearest in its fast forms, the others as they are written.

What nearest computes, and how, is the package `fast`'s.
"""

from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.errors import UsageError
from deconvbench.upsamplers.fast import layer

# names of torch.nn.functional.interpolate; at whole scales nearest-exact is nearest
MODES = ("nearest", "nearest-exact", "bilinear", "bicubic")


class ResizeConv2d(layer.ResizeConv2d):
    """Interpolation by s, then a convolution that keeps the size, in one layer.

    The same function, parameters and initialisation as ``Sequential(Upsample(scale_factor=s, mode=mode),
    Conv2d(C_in, C_out, k, padding=(k-1)//2))``, whose parameters it has as ``weight`` and ``bias``: a checkpoint
    of that has them as ``1.weight`` and ``1.bias``. Bilinear and bicubic interpolation take half-pixel centres
    (``align_corners=False``). Nearest-neighbour interpolation is not computed as it is written but by the fast
    form that suits the input, exact but for rounding; the others are two operations of torch.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output.
    kernel_size : int
        Odd kernel size k.
    scale_factor : int
        Scale s, at least 2.
    mode : str
        ``nearest``, ``nearest-exact`` (the same at whole scales), ``bilinear`` or ``bicubic``.
    bias : bool
        Whether to add a learnt bias.
    groups : int
        Groups of the convolution.
    padding_mode : str
        ``zeros``, ``reflect`` or ``replicate``: what the convolution sees beyond the upsampled tensor's border.
    implementation : str
        The form of the nearest mode: ``auto`` or one of those that `deconvbench.upsamplers.fast.layer` lists.
    device, dtype
        Of the parameters.

    Attributes
    ----------
    weight : Parameter, shape (C_out, C_in/groups, k, k)
    bias : Parameter, shape (C_out,), or None

    Raises
    ------
    UsageError
        If a parameter is not allowed; the message says which are.

    References
    ----------
    Odena, Dumoulin, Olah, "Deconvolution and checkerboard artifacts", Distill 2016.

    Examples
    --------
    >>> ResizeConv2d(8, 4, kernel_size=3, scale_factor=2, mode="bilinear")(torch.zeros(1, 8, 5, 7)).shape
    torch.Size([1, 4, 10, 14])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        scale_factor: int = 2,
        mode: str = "nearest",
        *,
        bias: bool = True,
        groups: int = 1,
        padding_mode: str = "zeros",
        implementation: str = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if mode not in MODES:
            raise UsageError(f"mode: {mode!r} is not one of {', '.join(MODES)}")
        super().__init__(
            *(in_channels, out_channels, kernel_size, scale_factor),
            bias=bias,
            groups=groups,
            padding_mode=padding_mode,
            implementation=implementation,
            device=device,
            dtype=dtype,
        )
        self.mode = mode
        if not self.is_nearest and implementation not in {"auto", "plain"}:
            raise UsageError(
                f"implementation: {implementation} is for mode nearest, not {mode}: take auto or plain"
            )

    @property
    def is_nearest(self) -> bool:
        """Whether the fast forms compute what the layer is."""
        return self.mode.startswith("nearest")

    def forward(self, x: Tensor) -> Tensor:
        """Upsample (N, C_in, H, W) or (C_in, H, W) to (N, C_out, s·H, s·W) or (C_out, s·H, s·W)."""
        if self.is_nearest:
            return super().forward(x)
        if x.ndim == 3:
            return self.forward(x[None])[0]
        y = functional.interpolate(x, scale_factor=self.scale_factor, mode=self.mode, align_corners=False)
        padding = (self.kernel_size - 1) // 2
        if self.padding_mode != "zeros":
            y, padding = functional.pad(y, (padding,) * 4, mode=self.padding_mode), 0
        return functional.conv2d(y, self.weight, self.bias, padding=padding, groups=self.groups)

    def choose(self, x: Tensor, *, is_prepared: bool = False) -> str:
        """Name the form that an input would take; ``plain`` where the mode is not nearest.

        Parameters
        ----------
        x : Tensor, shape (N, C_in, H, W)
            The input.
        is_prepared : bool
            Whether the transformed weight is at hand.
        """
        return super().choose(x, is_prepared=is_prepared) if self.is_nearest else "plain"

    def cache_weight(self) -> Self:
        """Keep the transformed weight from now on, for inference; modes other than nearest have none.

        Returns
        -------
        ResizeConv2d
            Itself.

        Raises
        ------
        UsageError
            While training, and for a weight that a parametrisation computes in every call.
        """
        return super().cache_weight() if self.is_nearest else self

    def extra_repr(self) -> str:
        """Say what the layer is, as torch's own layers do."""
        words = super().extra_repr()
        return words if self.mode == "nearest" else f"{words}, mode={self.mode}"
