"""Windowed-sinc resize, then convolution: the resize that leaves the least of a wave's images.

The filter is fixed: nothing here may train it. It is computed once, when the layer is built, and is not part of a
checkpoint.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.theory.macs import conv_macs, transposed_conv_macs
from deconvbench.upsamplers.convolution import SameConv2d
from deconvbench.upsamplers.registry import register_upsampler
from deconvbench.upsamplers.torch_code import write_ours

# input pixels under the filter, so taps per output value and axis; StyleGAN3's `filter_size`
TAPS_PER_PHASE = 6
# how far the filter reaches from a pixel, in input pixels
REACH = TAPS_PER_PHASE // 2
# A thousandth: Kaiser's estimate then puts the end of the pass band at .2 cycle per input pixel, and the images of
# waves up to there stay under −54 dB, half a level of eight bits. With StyleGAN3's usual transition, (√2−1)/2 of
# the sampling rate on either side of the cut-off, six taps leave −45 dB: more than bilinear does of slow waves.
STOP_BAND_DB = 60.0
# Kaiser 1974, for more than 50 dB
KAISER_BETA = 0.1102 * (STOP_BAND_DB - 8.7)
# half of float32's spacing below 1: a multiple of it that is at most 1 is exact in float32
_GRAIN = 2.0**-24


def count_taps(scale_factor: int) -> int:
    """Return the length of the filter along one axis, in output pixels.

    Parameters
    ----------
    scale_factor : int
        Scale s, at least 2.

    Returns
    -------
    int
        6s where s is even, 6s − 1 where it is odd: what lies inside the window on the half-pixel grid.
    """
    return TAPS_PER_PHASE * scale_factor - scale_factor % 2


def design_filter(scale_factor: int) -> Tensor:
    """Compute the Kaiser-windowed sinc that upsamples along one axis.

    h[t] is sinc(d)·I₀(β·√(1 − (d/3)²)) at d = (t − (K−1)/2)/s input pixels from the centre, divided by the sum of
    these over all taps of the same phase t mod s. The cut-off is the input's Nyquist frequency, ½ cycle per input
    pixel: all that the input holds may pass, and at an odd scale the pixels themselves are kept.

    Every tap is rounded to a multiple of 2⁻²⁴, and the largest of a phase makes up the sum. So the phases sum to
    exactly one in float32 as in float64, and no conversion between them brings a ripple.

    Parameters
    ----------
    scale_factor : int
        Scale s, at least 2.

    Returns
    -------
    Tensor, shape (K,), float64
        K is `count_taps`; symmetric.

    References
    ----------
    Kaiser, "Nonrecursive digital filter design using the I₀-sinh window function", IEEE ISCAS 1974.
    """
    taps = count_taps(scale_factor)
    distance = (torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2) / scale_factor
    window = torch.special.i0(KAISER_BETA * torch.sqrt(1 - (distance / REACH) ** 2))
    kernel: Tensor = torch.sinc(distance) * window
    for phase in range(scale_factor):
        part = kernel[phase::scale_factor]
        part.copy_(torch.round(part / (part.sum() * _GRAIN)) * _GRAIN)
        part[part.argmax()] += 1 - part.sum()
    return kernel


def _count_sinc_conv(
    in_channels: int, out_channels: int, kernel_size: int, scale_factor: int, height: int, width: int
) -> int:
    out_height, out_width = scale_factor * height, scale_factor * width
    convolving = conv_macs(in_channels, out_channels, kernel_size, out_height, out_width)
    if scale_factor == 1:
        return convolving
    taps = count_taps(scale_factor)
    # the padding is filtered too: in both axes before the first pass, in the other axis after it
    padded_height, padded_width = height + 2 * REACH, width + 2 * REACH
    across = transposed_conv_macs(
        in_channels, in_channels, (1, taps), padded_height, padded_width, groups=in_channels
    )
    down = transposed_conv_macs(in_channels, in_channels, (taps, 1), padded_height, out_width, groups=in_channels)
    return across + down + convolving


class SincResize(nn.Module):
    """Upsample every channel by a Kaiser-windowed sinc, with half-pixel centres and repeated borders.

    Along one axis, y[m] = Σ_n x[n]·h[m − s·n + (K−s)/2], with h from `design_filter`: 3 pixels of the border are
    repeated on each side, a transposed convolution of stride s stamps the filter, and what hangs over is cropped.

    Parameters
    ----------
    channels : int
        Channels of the input and output.
    scale_factor : int
        Scale s, at least 2.
    """

    filter: Tensor

    def __init__(self, channels: int, scale_factor: int) -> None:
        super().__init__()
        self.channels, self.scale_factor = channels, scale_factor
        taps = design_filter(scale_factor).to(torch.get_default_dtype())
        # a copy a channel: torch would make one at every call, and takes a slow path on an expanded view.
        # Not persistent: the scale determines it, and checkpoints fit any other resize before the convolution.
        self.register_buffer("filter", taps.repeat(channels, 1, 1, 1), persistent=False)
        self.margin = (taps.numel() - scale_factor) // 2 + scale_factor * REACH

    def forward(self, x: Tensor) -> Tensor:
        """Upsample (N, C, H, W) to (N, C, sH, sW)."""
        x = functional.pad(x, (REACH, REACH, REACH, REACH), mode="replicate")
        x = functional.conv_transpose2d(
            x, self.filter, stride=(1, self.scale_factor), padding=(0, self.margin), groups=self.channels
        )
        return functional.conv_transpose2d(
            x,
            self.filter.transpose(2, 3),
            stride=(self.scale_factor, 1),
            padding=(self.margin, 0),
            groups=self.channels,
        )


@register_upsampler(
    "sinc_conv",
    summary="Kaiser-windowed sinc resize (half-pixel, 6 taps a phase), then convolution",
    formula="conv_k(sinc_s(x))",
    macs_formula="k² + 6(1 + 1/s)/C_out",
    reference="Karras et al., arXiv:2106.12423",
    linear=True,
    shift_equivariant=True,
    macs=_count_sinc_conv,
    code=write_ours("SincConv"),
)
class SincConv(nn.Module):
    """Upsampling by a separable windowed sinc, as in StyleGAN3, then a convolution with zero padding.

    Along one axis, output pixel m of the resize lies at u = (m + ½)/s − ½ and is Σ_n x[n]·h(u − n) over the input
    pixels less than 3 away, h a sinc of cut-off ½ cycle per input pixel in a Kaiser window with β = 5.65, divided
    by the sum of the weights; beyond the border the outermost pixel is repeated. Some weights are negative: edges
    overshoot. At s = 1 the resize is the identity.

    StyleGAN3 computes in this way what its nonlinearities see at the higher rate; its cut-offs and transition
    bands differ from layer to layer, follow from the network's band limits, and are not reproduced here.

    MACs: k² per output pixel in units of C_in·C_out, and (K/s)·(1 + 1/s) per input channel (K/s is 6, or 6 − 1/s
    where s is odd): the two passes of the resize, the first at low resolution along the other axis. Filtering the
    3 pixels of padding comes on top: in all C_in·K·(H + 6)·(W + 6 + sW).

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output.
    kernel_size : int
        Kernel size k of the convolution.
    scale_factor : int
        Scale s of the resize.

    References
    ----------
    Karras et al., "Alias-free generative adversarial networks", NeurIPS 2021, arXiv:2106.12423, section 3.
    Kaiser, "Nonrecursive digital filter design using the I₀-sinh window function", IEEE ISCAS 1974.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> None:
        super().__init__()
        self.resize = nn.Identity() if scale_factor == 1 else SincResize(in_channels, scale_factor)
        self.conv = SameConv2d(in_channels, out_channels, kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        """Upsample (N, C_in, H, W) to (N, C_out, sH, sW)."""
        y: Tensor = self.conv(self.resize(x))
        return y
