"""The stride-1 convolution that the families share: the output is as large as the input, whatever the kernel.

Kept apart so that "same" padding means one thing everywhere.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]


class SameConv2d(nn.Conv2d):
    """Convolution with padding, zeros unless asked otherwise, that keeps the size, for odd and even kernels.

    Pads (k−1)//2 rows and columns before and k//2 after. An odd kernel uses `nn.Conv2d`'s own padding; an even
    one needs a padded copy of its input, because `nn.Conv2d` pads both sides alike (its ``padding="same"``
    makes that copy too, and warns).

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output.
    kernel_size : int
        Kernel size k, at least 1.
    bias, groups, padding_mode, device, dtype
        As in `torch.nn.Conv2d`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        bias: bool = True,
        groups: int = 1,
        padding_mode: PaddingMode = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        before, after = (kernel_size - 1) // 2, kernel_size // 2
        super().__init__(
            *(in_channels, out_channels, kernel_size),
            padding=before if before == after else 0,
            bias=bias,
            groups=groups,
            padding_mode=padding_mode,
            device=device,
            dtype=dtype,
        )
        self.asymmetric_padding = None if before == after else (before, after, before, after)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (N, C_in, H, W) to (N, C_out, H, W)."""
        if self.asymmetric_padding is not None:
            mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
            input = functional.pad(input, self.asymmetric_padding, mode=mode)
        return super().forward(input)
