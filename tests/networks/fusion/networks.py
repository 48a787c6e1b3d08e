"""Small networks of our own, in the patterns that decoders are written in."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Upsample2D(nn.Module):
    """As diffusion models have it: control flow around interpolation and convolution."""

    def __init__(self, channels: int, out_channels: int | None = None, *, use_conv: bool = True) -> None:
        super().__init__()
        self.channels = channels
        self.use_conv = use_conv
        if use_conv:
            self.conv = nn.Conv2d(channels, out_channels or channels, 3, padding=1)

    def forward(self, hidden: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        assert hidden.shape[1] == self.channels
        dtype = hidden.dtype
        if dtype == torch.bfloat16:
            hidden = hidden.to(torch.float32)
        if hidden.shape[0] >= 64:
            hidden = hidden.contiguous()
        if output_size is None:
            hidden = functional.interpolate(hidden, scale_factor=2.0, mode="nearest")
        else:
            hidden = functional.interpolate(hidden, size=output_size, mode="nearest")
        if dtype == torch.bfloat16:
            hidden = hidden.to(dtype)
        return self.conv(hidden) if self.use_conv else hidden


class ResnetBlock(nn.Module):
    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(2, channels)
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(2, out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv2d(channels, out_channels, 1) if channels != out_channels else None

    def forward(self, x: Tensor) -> Any:
        h = self.conv1(functional.silu(self.norm1(x)))
        h = self.conv2(functional.silu(self.norm2(h)))
        return (x if self.shortcut is None else self.shortcut(x)) + h


class UpBlock(nn.Module):
    def __init__(self, channels: int, out_channels: int, *, is_last: bool) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            [ResnetBlock(channels, out_channels), ResnetBlock(out_channels, out_channels)]
        )
        self.upsamplers = None if is_last else nn.ModuleList([Upsample2D(out_channels)])

    def forward(self, x: Tensor) -> Tensor:
        for resnet in self.resnets:
            x = resnet(x)
        for upsampler in self.upsamplers or ():
            x = upsampler(x)
        return x


class VaeDecoder(nn.Module):
    """The decoder of a small latent diffusion model."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(4, channels, 3, padding=1)
        self.mid = ResnetBlock(channels, channels)
        widths = [channels, channels, channels // 2]
        self.up_blocks = nn.ModuleList(
            [
                UpBlock(before, after, is_last=number == 2)
                for number, (before, after) in enumerate(zip([channels, *widths], widths, strict=False))
            ]
        )
        self.norm = nn.GroupNorm(2, widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        x = self.mid(self.conv_in(z))
        for block in self.up_blocks:
            x = block(x)
        return {"sample": self.conv_out(functional.silu(self.norm(x)))}


class ConvRelu(nn.Sequential):
    def __init__(self, channels: int, out_channels: int) -> None:
        conv = nn.Conv2d(channels, out_channels, 3, padding=1, bias=False)
        super().__init__(conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


class DecoderBlock(nn.Module):
    """As segmentation networks have it: upsample, concatenate the skip connection, attend, convolve twice."""

    def __init__(self, channels: int, skip_channels: int, out_channels: int, *, by_size: bool = False) -> None:
        super().__init__()
        self.conv1 = ConvRelu(channels + skip_channels, out_channels)
        self.attention1 = nn.Identity()
        self.conv2 = ConvRelu(out_channels, out_channels)
        self.by_size = by_size

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Any:
        if self.by_size and skip is not None:
            x = functional.interpolate(x, size=skip.shape[2:], mode="nearest")
        else:
            x = functional.interpolate(x, scale_factor=2, mode="nearest")
        if skip is not None:
            x = torch.cat([x, skip], dim=1)
            x = self.attention1(x)
        return self.conv2(self.conv1(x))


class UNet(nn.Module):
    """A segmentation U-Net with nearest-neighbour upsampling and concatenated skips."""

    def __init__(self, *, by_size: bool = False) -> None:
        super().__init__()
        self.stem = ConvRelu(3, 4)
        self.down1 = nn.Sequential(nn.MaxPool2d(2), ConvRelu(4, 8))
        self.down2 = nn.Sequential(nn.MaxPool2d(2), ConvRelu(8, 16))
        self.blocks = nn.ModuleList(
            [
                DecoderBlock(16, 8, 8, by_size=by_size),
                DecoderBlock(8, 4, 4, by_size=by_size),
                DecoderBlock(4, 0, 4),
            ]
        )
        self.head = nn.Conv2d(4, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Any:
        first = self.stem(x)
        second = self.down1(first)
        x = self.down2(second)
        for block, skip in zip(self.blocks, [second, first, None], strict=True):
            x = block(x, skip)
        return self.head(x)


class PaddedConv(nn.Module):
    def __init__(self, channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__()
        self.pad = nn.ReflectionPad2d(kernel_size // 2)
        self.conv = nn.Conv2d(channels, out_channels, kernel_size, stride)

    def forward(self, x: Tensor) -> Any:
        return self.conv(self.pad(x))


class UpsampledConv(nn.Module):
    def __init__(self, channels: int, out_channels: int, padding: nn.Module) -> None:
        super().__init__()
        self.up = nn.Upsample(scale_factor=2)
        self.pad = padding
        self.conv = nn.Conv2d(channels, out_channels, 3)

    def forward(self, x: Tensor) -> Any:
        return self.conv(self.pad(self.up(x)))


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(PaddedConv(channels, channels, 3), nn.InstanceNorm2d(channels, affine=True), nn.ReLU()),
            *(PaddedConv(channels, channels, 3), nn.InstanceNorm2d(channels, affine=True)),
        )

    def forward(self, x: Tensor) -> Any:
        return x + self.body(x)


class TransformationNetwork(nn.Module):
    """The article's network for style transfer: 9×9, two down, five residual blocks, two up, 9×9."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.down = nn.Sequential(
            *(PaddedConv(3, width, 9), nn.InstanceNorm2d(width, affine=True), nn.ReLU()),
            *(PaddedConv(width, 2 * width, 3, 2), nn.InstanceNorm2d(2 * width, affine=True), nn.ReLU()),
            *(PaddedConv(2 * width, 4 * width, 3, 2), nn.InstanceNorm2d(4 * width, affine=True), nn.ReLU()),
        )
        self.residual = nn.Sequential(*(Residual(4 * width) for _ in range(5)))
        self.up = nn.Sequential(
            *(UpsampledConv(4 * width, 2 * width, nn.ReflectionPad2d(1)), nn.ReLU()),
            *(
                nn.Upsample(scale_factor=2, mode="nearest"),
                nn.ZeroPad2d(1),
                nn.Conv2d(2 * width, width, 3),
                nn.ReLU(),
            ),
        )
        self.last = PaddedConv(width, 3, 9)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.last(self.up(self.residual(self.down(x)))))


class GeneratorBlock(nn.Module):
    """As image generators have it: an activation before the upsampling, and a shortcut with a 1×1 convolution."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv2d(channels, out_channels, 1)

    def upsample(self, x: Tensor) -> Tensor:
        return functional.interpolate(x, scale_factor=2)

    def forward(self, x: Tensor) -> Any:
        h = self.upsample(functional.relu(self.norm(x)))
        h = self.conv2(functional.relu(self.conv1(h)))
        return h + self.shortcut(self.upsample(x))


class Up(nn.Module):
    """Upsample and convolve, nothing else."""

    def __init__(self, channels: int = 4, out_channels: int = 3, **conv: object) -> None:
        super().__init__()
        options = {"kernel_size": 3, "padding": 1, **conv}
        self.conv = nn.Conv2d(channels, out_channels, **options)  # type: ignore[arg-type] # whatever a test wants

    def forward(self, x: Tensor) -> Any:
        return self.conv(functional.interpolate(x, scale_factor=2.0))


class ExcitedBlock(nn.Module):
    """As attention networks for segmentation have it: upsample, weigh the channels, concatenate, convolve."""

    def __init__(self, channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.excite = nn.Sequential(
            *(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 2, 1), nn.ReLU(), nn.Conv2d(2, channels, 1)),
            nn.Sigmoid(),
        )
        self.conv = nn.Conv2d(channels + skip_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor, skip: Tensor) -> Any:
        x = functional.interpolate(x, scale_factor=2, mode="nearest")
        return self.conv(torch.cat([x * self.excite(x), skip], dim=1))


class PreActivationBlock(nn.Module):
    """As residual U-Nets have it: upsample, concatenate, normalise, activate, convolve."""

    def __init__(self, channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels + skip_channels)
        nn.init.uniform_(self.norm.weight)
        self.activation = nn.PReLU(channels + skip_channels)
        self.conv = nn.Conv2d(channels + skip_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor, skip: Tensor) -> Any:
        x = torch.cat([functional.interpolate(x, scale_factor=2), skip], dim=1)
        return self.conv(self.activation(self.norm(x)))
