"""Plain torch layers that the tests of the metrics look at; nothing of the package's own upsamplers."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]


def seed_weights(layer: nn.Module, seed: int, *, mean: float = 0.0, deviation: float = 1.0) -> nn.Module:
    """Draw all parameters anew from a normal distribution."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(mean, deviation, generator=generator)
    return layer


def transposed(channels: tuple[int, int], k: int, s: int) -> nn.Module:
    """Transposed convolution of exact size, for k at least s."""
    padding = (k - s + 1) // 2
    return nn.ConvTranspose2d(*channels, k, s, padding=padding, output_padding=2 * padding - (k - s))


def resize(mode: str, s: int) -> nn.Upsample:
    """Interpolation with half-pixel centres."""
    return nn.Upsample(scale_factor=s, mode=mode, align_corners=None if mode == "nearest" else False)


def resize_conv(
    channels: tuple[int, int], k: int, s: int, mode: str = "nearest", padding_mode: PaddingMode = "zeros"
) -> nn.Module:
    """Interpolation, then convolution with odd kernel."""
    conv = nn.Conv2d(*channels, k, padding=k // 2, padding_mode=padding_mode)
    return nn.Sequential(resize(mode, s), conv)


def conv_resize(channels: tuple[int, int], k: int, s: int, mode: str = "nearest") -> nn.Module:
    """Convolution with odd kernel, then interpolation."""
    return nn.Sequential(nn.Conv2d(*channels, k, padding=k // 2), resize(mode, s))


def subpixel(channels: tuple[int, int], k: int, s: int) -> nn.Module:
    """Convolution with odd kernel, then PixelShuffle."""
    return nn.Sequential(nn.Conv2d(channels[0], channels[1] * s * s, k, padding=k // 2), nn.PixelShuffle(s))


def equalise_phases(layer: nn.Module, s: int) -> nn.Module:
    """ICNR: all s² phases of a sub-pixel layer get the weights of the first."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(parameter[:: s * s].repeat_interleave(s * s, 0))
    return layer


class Blur(nn.Module):
    """The s×s average behind a sub-pixel layer."""

    def __init__(self, s: int) -> None:
        super().__init__()
        self.s = s

    def forward(self, x: Tensor) -> Tensor:
        padded = functional.pad(x, (self.s - 1, 0, self.s - 1, 0), mode="replicate")
        return functional.avg_pool2d(padded, self.s, stride=1)


class Fir1331(nn.Module):
    """The separable [1, 3, 3, 1]/8 filter, which keeps the size."""

    def forward(self, x: Tensor) -> Tensor:
        taps = torch.tensor([1.0, 3, 3, 1], dtype=x.dtype) / 8
        kernel = torch.outer(taps, taps).expand(x.shape[1], 1, 4, 4)
        return functional.conv2d(functional.pad(x, (1, 2, 1, 2)), kernel, groups=x.shape[1])


class ZeroInsertion(nn.Module):
    """Zeros between the pixels: the upsampler that interpolates nothing."""

    def __init__(self, s: int) -> None:
        super().__init__()
        self.s = s

    def forward(self, x: Tensor) -> Tensor:
        y = x.new_zeros(*x.shape[:2], x.shape[2] * self.s, x.shape[3] * self.s)
        y[..., :: self.s, :: self.s] = x
        return y
