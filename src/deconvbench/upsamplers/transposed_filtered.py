"""Transposed convolution followed by a fixed low-pass filter, as StyleGAN2 upsamples.

The filter removes what the transposed convolution adds around multiples of the input's sampling rate. It is a
constant of the layer: nothing here may train it.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.theory.macs import conv_macs
from deconvbench.upsamplers.registry import register_upsampler
from deconvbench.upsamplers.transposed import count_transposed, find_gap

# StyleGAN2's resample_kernel: the binomial coefficients, along each axis
FILTER_TAPS = (1.0, 3.0, 3.0, 1.0)


def _count_filtered(
    in_channels: int, out_channels: int, kernel_size: int, scale_factor: int, height: int, width: int
) -> int:
    upsampling = count_transposed(in_channels, out_channels, kernel_size, scale_factor, height, width)
    out_height, out_width = scale_factor * height, scale_factor * width
    filter_size = len(FILTER_TAPS)
    return upsampling + conv_macs(
        out_channels, out_channels, filter_size, out_height, out_width, groups=out_channels
    )


@register_upsampler(
    "transposed_fir",
    summary="transposed convolution, then the fixed low-pass filter [1, 3, 3, 1]",
    formula="fir(convT_k(x)), stride s, fir = [1,3,3,1]²",
    macs_formula="k²/s² + 16/C_in",
    reference="Karras et al., arXiv:1912.04958; Zhang, arXiv:1904.11486",
    linear=True,
    shift_equivariant=True,
    objection=find_gap,
    macs=_count_filtered,
)
class TransposedFir(nn.Module):
    """Uncropped transposed convolution, then a depthwise convolution with a fixed binomial filter.

    Along one axis, z[m] = Σ_n x[n]·w[m − s·n] and y[m] = Σ_j f[j]·z[m + j − b] with f = s·[1, 3, 3, 1]/8. Of the
    s + 3 − k pixels of padding in total, b = ⌈(s+3−k)/2⌉ come before and the rest after; a negative number
    crops. So the output is exactly s times the input, its centre is the input's where s + 3 − k is even, and
    k = 3 with s = 2 is StyleGAN2's ``upsample_conv_2d``: a pixel on each side. The filter has the gain s² in two
    dimensions, which makes up for the zeros that a transposed convolution inserts. The bias comes after it, so
    that the border of zeros does not act on the bias.

    As polynomials f is s/8·(1 + z)³, which box_s divides for s = 2 only: there a constant stays constant,
    whatever the kernel; at scales of 3 and 4 a part of the ripple remains.

    MACs: k²/s² per output pixel in units of C_in·C_out, and 16 per output channel. The filter runs on the
    output's size, so there is no surplus.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output.
    kernel_size : int
        Kernel size k of the transposed convolution, at least s.
    scale_factor : int
        Scale s, its stride.

    References
    ----------
    Karras et al., "Analyzing and improving the image quality of StyleGAN", CVPR 2020, arXiv:1912.04958,
    and its code: ``upfirdn_2d.upsample_conv_2d``.
    Zhang, "Making convolutional networks shift-invariant again", ICML 2019, arXiv:1904.11486 (why to filter).
    """

    fir: Tensor

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> None:
        super().__init__()
        like = nn.ConvTranspose2d(in_channels, out_channels, kernel_size)
        self.weight, self.bias = like.weight, like.bias
        self.scale_factor = scale_factor
        taps = torch.tensor(FILTER_TAPS) * (scale_factor / sum(FILTER_TAPS))
        fir = torch.outer(taps, taps).expand(out_channels, 1, -1, -1).contiguous()
        # a constant: a state_dict holds what was learned, and fits a plain transposed convolution
        self.register_buffer("fir", fir, persistent=False)
        padding = scale_factor + len(FILTER_TAPS) - 1 - kernel_size
        before, after = -(-padding // 2), padding // 2
        # the convolution's own padding makes no copy of the map
        self.symmetric_padding = before if before == after >= 0 else 0
        self.copied_padding = None if before == after >= 0 else (before, after, before, after)

    def forward(self, x: Tensor) -> Tensor:
        """Upsample (N, C_in, H, W) to (N, C_out, sH, sW)."""
        y = functional.conv_transpose2d(x, self.weight, stride=self.scale_factor)
        if self.copied_padding is not None:
            y = functional.pad(y, self.copied_padding)
        return functional.conv2d(y, self.fir, self.bias, padding=self.symmetric_padding, groups=y.shape[1])
