"""Networks as people write them, small, and networks with one bad layer among good ones."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Fcn(nn.Module):
    """FCN-16s: transposed convolutions with dense bilinear kernels, cropped to a skip and the input."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.early = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU())
        self.late = nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())
        self.score_early, self.score_late = nn.Conv2d(8, classes, 1), nn.Conv2d(8, classes, 1)
        self.up2 = nn.ConvTranspose2d(classes, classes, 4, 2, bias=False)
        self.up8 = nn.ConvTranspose2d(classes, classes, 8, 4, bias=False)
        with torch.no_grad():
            for layer in (self.up2, self.up8):
                scale = layer.stride[0]
                tent = 1 - (torch.arange(2 * scale) - (scale - 0.5)).abs() / scale
                layer.weight.zero_()
                layer.weight[range(classes), range(classes)] = torch.outer(tent, tent)

    def forward(self, x: Tensor) -> Tensor:
        early = self.early(x)
        up = self.up2(self.score_late(self.late(early)))
        joined = self.score_early(early) + up[..., 1 : 1 + early.shape[-2], 1 : 1 + early.shape[-1]]
        y: Tensor = self.up8(joined)[..., 2 : 2 + x.shape[-2], 2 : 2 + x.shape[-1]]
        return y


def make_dcgan(width: int = 4) -> nn.Module:
    """Make a DCGAN generator, 32×32: the first transposed convolution has stride 1 and is no site."""
    layers: list[nn.Module] = [nn.ConvTranspose2d(16, 4 * width, 4, bias=False)]
    for channels, out_channels in ((4 * width, 2 * width), (2 * width, width)):
        layers += [nn.BatchNorm2d(channels), nn.ReLU(True)]
        layers += [nn.ConvTranspose2d(channels, out_channels, 4, 2, 1, bias=False)]
    layers += [nn.BatchNorm2d(width), nn.ReLU(True), nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=False), nn.Tanh()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """A U-Net: k2 s2 transposed convolutions, or bilinear upsampling, joined with skips."""

    def __init__(self, *, bilinear: bool = False, width: int = 8) -> None:
        super().__init__()
        self.first, self.second = self._block(3, width), self._block(width, 2 * width)
        self.third = self._block(2 * width, 4 * width)
        self.up1, self.up2 = self._up(4 * width, bilinear), self._up(2 * width, bilinear)
        self.join1 = self._block((6 if bilinear else 4) * width, 2 * width)
        self.join2 = self._block((3 if bilinear else 2) * width, width)
        self.last = nn.Conv2d(width, 1, 1)

    @staticmethod
    def _block(channels: int, out_channels: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(True),
        )

    @staticmethod
    def _up(channels: int, bilinear: bool) -> nn.Module:
        if bilinear:
            return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        return nn.ConvTranspose2d(channels, channels // 2, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        second = self.second(functional.max_pool2d(first, 2))
        third = self.third(functional.max_pool2d(second, 2))
        y = self.join1(torch.cat([second, self.up1(third)], 1))
        z: Tensor = self.last(self.join2(torch.cat([first, self.up2(y)], 1)))
        return z


def make_espcn(scale: int = 3) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2),
        nn.Tanh(),
        nn.Conv2d(16, 8, 3, padding=1),
        nn.Tanh(),
        nn.Conv2d(8, scale**2, 3, padding=1),
        nn.PixelShuffle(scale),
    )


class LayerNorm2d(nn.Module):
    """As in SAM: over the channels, written out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        y = (x - mean) / ((x - mean).pow(2).mean(1, keepdim=True) + 1e-6).sqrt()
        return self.weight[:, None, None] * y + self.bias[:, None, None]


class MaskDecoder(nn.Module):
    """SAM's upscaling of masks: two k2 s2, and a product with tokens; two arguments."""

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(channels, channels // 4, 2, 2),
            LayerNorm2d(channels // 4),
            nn.GELU(),
            nn.ConvTranspose2d(channels // 4, channels // 8, 2, 2),
            nn.GELU(),
        )
        self.attention = nn.MultiheadAttention(channels, 2, batch_first=True)
        self.hyper = nn.Linear(channels, channels // 8)

    def forward(self, image_embeddings: Tensor, tokens: Tensor) -> dict[str, Tensor]:
        keys = image_embeddings.flatten(2).transpose(1, 2)
        queries, _ = self.attention(tokens, keys, keys)
        up = self.output_upscaling(keys.transpose(1, 2).reshape(image_embeddings.shape))
        masks = (self.hyper(queries) @ up.flatten(2)).view(up.shape[0], -1, *up.shape[2:])
        return {"masks": masks, "quality": queries.mean((1, 2))}


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.conv = nn.GroupNorm(4, channels), nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.conv(functional.silu(self.norm(x)))
        return y


class _Nearest(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        return y


def make_diffusion_decoder(width: int = 8) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(4, width, 3, padding=1),
        _Residual(width),
        _Nearest(width),
        _Residual(width),
        _Nearest(width),
        nn.GroupNorm(4, width),
        nn.SiLU(),
        nn.Conv2d(width, 3, 3, padding=1),
    )


def level_gains(layer: nn.ConvTranspose2d, left: float = 0.0) -> nn.ConvTranspose2d:
    """Give a transposed convolution of stride 2 equal phase gains, but for a part that is left."""
    with torch.no_grad():
        weight = layer.weight
        gains = torch.stack([weight[..., i::2, j::2].sum((-2, -1)) for i in range(2) for j in range(2)], -1)
        excess = (1 - left) * (gains - gains.mean(-1, keepdim=True))
        for phase, (i, j) in enumerate((i, j) for i in range(2) for j in range(2)):
            part = weight[..., i::2, j::2]
            part -= excess[..., phase, None, None] / part[0, 0].numel()
    return layer


class Shuffle(nn.Module):
    """Depth to space by two, in any order of channels, by reshaping."""

    def __init__(self, order: str) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        sizes = {"c": channels // 4, "i": 2, "j": 2}
        split = x.view(n, *(sizes[one] for one in self.order), height, width)
        at = {one: 1 + self.order.index(one) for one in self.order}
        moved = split.permute(0, at["c"], 4, at["i"], 5, at["j"])
        return moved.reshape(n, channels // 4, 2 * height, 2 * width)


def make_subpixel(channels: int, *, left: float, order: str = "cij") -> nn.Module:
    """Make a convolution before a shuffle that interpolates bilinearly, made for the order c i j."""
    conv = nn.Conv2d(channels, 4 * channels, 3, padding=1)
    tents = torch.tensor([[0.25, 0.75, 0.0], [0.0, 0.75, 0.25]])
    with torch.no_grad():
        mix = torch.randn(channels, 1, channels, 1, 1) / channels**0.5
        kernels = torch.stack([torch.outer(tents[i], tents[j]) for i in range(2) for j in range(2)])
        noise = left * torch.randn(channels, 4, channels, 3, 3) / (9 * channels) ** 0.5
        conv.weight.copy_((mix * kernels[None, :, None] + noise).flatten(0, 1))
        conv.bias.copy_(torch.randn(channels, 1).expand(-1, 4).flatten() * 0.1)  # type: ignore[union-attr] # it has one
    return nn.Sequential(conv, nn.PixelShuffle(2) if order == "cij" else Shuffle(order))


@dataclass(frozen=True)
class Planted:
    """A network with one bad upsampling site: 1 is the first, 2 the second."""

    network: nn.Module
    bad: int
    kind: str
    norm: str


def plant(seed: int, channels: int = 12) -> Planted:
    """Make a network of two upsampling layers, one of them bad, with a ReLU and perhaps a norm behind each."""
    torch.manual_seed(seed)

    def draw(*choices: Any) -> Any:
        return choices[int(torch.randint(len(choices), ()))]

    bad, norm = draw(1, 2), draw("none", "batch", "instance")
    kind = draw("transposed k2", "transposed k3", "transposed k4", "subpixel", "order ijc", "order cji")

    def make_bad() -> nn.Module:
        if kind.startswith("transposed"):
            size = int(kind[-1])
            return nn.ConvTranspose2d(channels, channels, size, 2, (size - 1) // 2, size % 2)
        if kind == "subpixel":
            return make_subpixel(channels, left=1.0)
        return make_subpixel(channels, left=0.01, order=kind.removeprefix("order "))

    def make_good() -> nn.Module:
        layer: nn.Module = draw(
            lambda: level_gains(nn.ConvTranspose2d(channels, channels, 4, 2, 1), left=0.01),
            lambda: level_gains(nn.ConvTranspose2d(channels, channels, 3, 2, 1, 1), left=0.01),
            lambda: _Nearest(channels),
            lambda: nn.Sequential(
                nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(channels, channels, 3, padding=1)
            ),
            lambda: make_subpixel(channels, left=0.01),
        )()
        return layer

    def make_norm() -> nn.Module:
        if norm == "instance":
            return nn.InstanceNorm2d(channels, affine=True)
        return nn.BatchNorm2d(channels) if norm == "batch" else nn.Identity()

    network = nn.Sequential(
        nn.Conv2d(3, channels, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, 2, 1),
        make_norm(),
        nn.ReLU(),
        make_bad() if bad == 1 else make_good(),
        make_norm(),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.ReLU(),
        make_bad() if bad == 2 else make_good(),
        make_norm(),
        nn.ReLU(),
        nn.Conv2d(channels, 3, 3, padding=1),
    )
    return Planted(network, bad, kind, norm)
