"""Transposed convolution the naive way, as the article's Figure 3 draws it.

It exists to be measured against `transposed`: same weights, same output, s² times the multiplications. It may
not skip the inserted zeros; that would be the thing it is compared with.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.theory.macs import conv_macs
from deconvbench.theory.sizes import exact_padding
from deconvbench.upsamplers.registry import register_upsampler
from deconvbench.upsamplers.transposed import find_objection


def _count_zero_insertion(
    in_channels: int, out_channels: int, kernel_size: int, scale_factor: int, height: int, width: int
) -> int:
    return conv_macs(in_channels, out_channels, kernel_size, scale_factor * height, scale_factor * width)


@register_upsampler(
    "zero_insert",
    summary="zeros between the pixels, then convolution: the naive form of transposed",
    formula="conv_k(zeros_s(x))",
    macs_formula="k²",
    reference="Dumoulin & Visin, arXiv:1603.07285; the article's Figure 3",
    linear=True,
    shift_equivariant=True,
    objection=find_objection,
    macs=_count_zero_insertion,
)
class ZeroInsertion(nn.Module):
    """Zero insertion, padding, and a direct convolution with the flipped kernel.

    The input is spread s pixels apart over a map of zeros of sH + k − 1 by sW + k − 1 pixels, starting
    k − 1 − p from its top and left, with p = ⌈(k−s)/2⌉; a convolution without padding then gives sH by sW. The
    parameters are those of the equal `nn.ConvTranspose2d`: weight (C_in, C_out, k, k) and bias.

    MACs: k² per output pixel, in units of C_in·C_out.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output.
    kernel_size : int
        Kernel size k, at least s.
    scale_factor : int
        Scale s.

    Raises
    ------
    UsageError
        Where `find_objection` objects to kernel and scale.

    References
    ----------
    Dumoulin, Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285, section 4.5.
    The article, figure 3.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> None:
        super().__init__()
        like = nn.ConvTranspose2d(in_channels, out_channels, kernel_size)
        self.weight, self.bias = like.weight, like.bias
        self.scale_factor = scale_factor
        self.margin = kernel_size - 1
        self.first = kernel_size - 1 - exact_padding(kernel_size, scale_factor)[0]

    def forward(self, x: Tensor) -> Tensor:
        """Upsample (N, C_in, H, W) to (N, C_out, sH, sW)."""
        batch, channels, height, width = x.shape
        s, first = self.scale_factor, self.first
        # zeros between and zeros around in one buffer: padding afterwards would copy a map of s² times the pixels
        is_channels_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
        spread = torch.empty(
            (batch, channels, s * height + self.margin, s * width + self.margin),
            dtype=x.dtype,
            device=x.device,
            memory_format=torch.channels_last if is_channels_last else torch.contiguous_format,
        ).zero_()
        spread[:, :, first : first + s * height : s, first : first + s * width : s] = x
        return functional.conv2d(spread, self.weight.flip(2, 3).transpose(0, 1), self.bias)
