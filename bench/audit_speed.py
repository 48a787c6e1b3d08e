"""How long the audit of a network takes, in seconds and in forwards of it: networks of twenty million parameters.

Three of them at 256×256: the decoder of an autoencoder as diffusion models have it, a U-Net, and one for
super-resolution. ``python -m bench.audit_speed`` times them on a quiet machine.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

import deconvbench


class _Residual(nn.Module):
    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(8, channels), nn.Conv2d(channels, out_channels, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(8, out_channels), nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.skip = nn.Conv2d(channels, out_channels, 1) if channels != out_channels else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(functional.silu(self.norm2(self.conv1(functional.silu(self.norm1(x))))))
        z: Tensor = self.skip(x) + y
        return z


class _Attention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.qkv, self.out = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        queries, keys, values = (
            one.flatten(2).transpose(1, 2)[:, None] for one in self.qkv(self.norm(x)).chunk(3, 1)
        )
        mixed = functional.scaled_dot_product_attention(queries, keys, values)[:, 0]
        y: Tensor = x + self.out(mixed.transpose(1, 2).reshape(x.shape))
        return y


def make_decoder(width: int = 88) -> nn.Module:
    """Make the decoder of an autoencoder: 4×32×32 to 3×256×256 by three transposed convolutions.

    Parameters
    ----------
    width : int
        Channels of its last stage, a multiple of 8; twenty million parameters by default.
    """
    widths = (4 * width, 4 * width, 2 * width, width)
    layers: list[nn.Module] = [nn.Conv2d(4, widths[0], 3, padding=1)]
    layers += [_Residual(widths[0], widths[0]), _Attention(widths[0]), _Residual(widths[0], widths[0])]
    for stage, channels in enumerate(widths):
        layers += [_Residual(widths[max(stage - 1, 0)], channels), _Residual(channels, channels)]
        if stage < len(widths) - 1:
            layers.append(nn.ConvTranspose2d(channels, channels, 4, 2, 1))
    layers += [nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, 3, 3, padding=1)]
    return nn.Sequential(*layers)


def _block(channels: int, out_channels: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, out_channels, 3, padding=1),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(out_channels, out_channels, 3, padding=1),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    """A U-Net of four levels with transposed convolutions of kernel 2.

    Parameters
    ----------
    width : int
        Channels of its first level; twenty million parameters by default.
    """

    def __init__(self, width: int = 52) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(5)]
        self.down = nn.ModuleList(_block(a, b) for a, b in zip([3, *widths], widths, strict=False))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * one, one, 2, 2) for one in reversed(widths[:-1]))
        self.join = nn.ModuleList(_block(2 * one, one) for one in reversed(widths[:-1]))
        self.last = nn.Conv2d(width, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 3, H, W) to the same shape; H and W multiples of 16."""
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        skips.pop()
        for up, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat([skips.pop(), up(x)], 1))
        y: Tensor = torch.sigmoid(self.last(x))
        return y


class Upscaler(nn.Module):
    """A network for super-resolution: residual blocks, and two sub-pixel convolutions, 3×64×64 to 3×256×256.

    Parameters
    ----------
    width : int
        Channels.
    blocks : int
        Residual blocks; twenty million parameters by default.
    """

    def __init__(self, width: int = 128, blocks: int = 64) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.ModuleList(_block(width, width) for _ in range(blocks))
        self.up = nn.Sequential(
            *(layer for _ in range(2) for layer in (nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2)))
        )
        self.last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 3, H, W) to (N, 3, 4·H, 4·W)."""
        x = self.first(x)
        for block in self.body:
            x = x + block(x)
        y: Tensor = self.last(self.up(x))
        return y


def make_networks(*, is_small: bool = False) -> Mapping[str, tuple[nn.Module, Tensor]]:
    """Make the three networks, each with an example; all have an output of 256×256.

    Parameters
    ----------
    is_small : bool
        With few channels, for tests.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return {
            "decoder": (make_decoder(8) if is_small else make_decoder(), torch.randn(1, 4, 32, 32)),
            "U-Net": (UNet(4) if is_small else UNet(), torch.rand(1, 3, 256, 256)),
            "upscaler": (Upscaler(8, 2) if is_small else Upscaler(), torch.rand(1, 3, 64, 64)),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one audit took.

    Parameters
    ----------
    parameters : int
        Of the network.
    forward_s, audit_s : float
        One forward, and the audit.
    forwards : float
        Multiply-accumulates of the audit over those of one forward.
    """

    parameters: int
    forward_s: float
    audit_s: float
    forwards: float


def count_forwards(network: nn.Module, example: Tensor) -> float:
    """Count the forwards in one audit: multiply-accumulates over those of one.

    Parameters
    ----------
    network : nn.Module
        Audited.
    example : Tensor
        What it is given.
    """
    network.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as one:
        network(example)
    with FlopCounterMode(display=False) as all_of_it:
        deconvbench.audit(network, example)
    return float(all_of_it.get_total_flops() / one.get_total_flops())


def measure_cost(network: nn.Module, example: Tensor) -> Cost:
    """Time one audit, and one forward; on as many threads as torch has.

    Parameters
    ----------
    network : nn.Module
        Audited.
    example : Tensor
        What it is given.
    """
    network.eval()
    forwards = []
    for _ in range(3):
        started = time.perf_counter()
        with torch.no_grad():
            network(example)
        forwards.append(time.perf_counter() - started)
    started = time.perf_counter()
    deconvbench.audit(network, example)
    taken = time.perf_counter() - started
    return Cost(
        parameters=sum(one.numel() for one in network.parameters()),
        forward_s=min(forwards),
        audit_s=taken,
        forwards=count_forwards(network, example),
    )


if __name__ == "__main__":
    for name, (network, example) in make_networks().items():
        cost = measure_cost(network, example)
        print(
            f"{name}: {cost.parameters / 1e6:.1f} million parameters, one forward {cost.forward_s:.2f} s, audit"
            f" {cost.audit_s:.1f} s = {cost.audit_s / cost.forward_s:.1f} forwards, of which it computes"
            f" {cost.forwards:.1f}"
        )
