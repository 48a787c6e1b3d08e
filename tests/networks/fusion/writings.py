"""Ways to write upsampling and convolution, as people do: what the tests of several modules run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """A way to write it.

    Parameters
    ----------
    forward : callable
        Of the network and what its stem gives.
    conv : callable
        Makes the convolution.
    is_video : bool
        Whether the stem gives a video.
    """

    forward: Callable[[Any, Tensor], Tensor]
    conv: Callable[[], nn.Module] = field(default=lambda: nn.Conv2d(4, 5, 3, padding=1))
    is_video: bool = False

    def build(self) -> nn.Module:
        """Make a network in float64."""
        torch.manual_seed(0)
        return Written(self).double()


class Written(nn.Module):
    """A network of one upsampling and one convolution.

    Parameters
    ----------
    writing : Writing
        How they are written.
    """

    def __init__(self, writing: Writing) -> None:
        super().__init__()
        self.writing = writing
        self.stem = nn.Conv2d(4, 4, 1)
        self.conv = writing.conv()

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        if self.writing.is_video:
            x = x.reshape(1, *x.shape).transpose(1, 2)
        return self.writing.forward(self, x)


def up(x: Tensor, scale: Any = 2) -> Tensor:
    return functional.interpolate(x, scale_factor=scale, mode="nearest")


def _conv(*args: Any, **options: Any) -> Callable[[], nn.Module]:
    return lambda: nn.Conv2d(4, 5, *args, **options)


def _conv3d(*args: Any, **options: Any) -> Callable[[], nn.Module]:
    return lambda: nn.Conv3d(4, 6, *args, **options)


def _double(x: Tensor) -> list[int]:
    return [2 * x.shape[2], 2 * x.shape[3]]


def _expand(own: Any, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    y: Tensor = own.conv(x[:, :, :, None, :, None].expand(n, c, h, 2, w, 2).reshape(n, c, *_double(x)))
    return y


def _gate(own: Any, x: Tensor) -> Tensor:
    y = up(x)
    z: Tensor = own.conv(y * torch.sigmoid(y))
    return z


def _snake(own: Any, x: Tensor) -> Tensor:
    y = up(x)
    z: Tensor = own.conv(y + torch.sin(y * own.stem.bias[:, None, None]) ** 2)
    return z


def _write(own: Any, x: Tensor) -> Tensor:
    y = up(x)
    y *= 2
    y += own.stem.bias[:, None, None]
    z: Tensor = own.conv(functional.leaky_relu(y, 0.1, inplace=True))
    return z


def _frames(own: Any, x: Tensor) -> Tensor:
    b, c, t, h, w = x.shape
    y = up(x.permute(0, 2, 1, 3, 4).reshape(b * t, c, h, w))
    y = y.reshape(b, t, c, *y.shape[2:]).permute(0, 2, 1, 3, 4)
    b, c, t, h, w = y.shape
    z: Tensor = own.conv(y.permute(0, 2, 1, 3, 4).reshape(b * t, c, h, w))
    return z.reshape(b, t, *z.shape[1:]).permute(0, 2, 1, 3, 4)


def _frames_in_time(own: Any, x: Tensor) -> Tensor:
    first, rest = up(x[:, :, 0]), up(x[:, :, 1:])
    y = torch.cat([first[:, :, None, :, :], rest], dim=2)
    z: Tensor = own.conv(y.permute(0, 2, 1, 3, 4).flatten(0, 1))
    return z


def _causal(own: Any, x: Tensor) -> Tensor:
    first, others = torch.split(x, [1, x.shape[2] - 1], dim=2)
    first = up(first.squeeze(2), (2, 2)).unsqueeze(2)
    y = torch.cat((first, up(others.contiguous(), (2, 2, 2))), dim=2)
    z: Tensor = own.conv(functional.pad(y, (1, 1, 1, 1, 2, 0), mode="replicate"))
    return z


def _repeated_frame(own: Any, x: Tensor) -> Tensor:
    y = x.repeat_interleave(2, dim=3).repeat_interleave(2, dim=4)
    before = y[:, :, :1, ...].repeat(1, 1, 2, 1, 1)
    z: Tensor = own.conv(functional.pad(torch.cat([before, y], dim=2), (1, 1, 1, 1, 0, 0)))
    return z + y.sum()


def _empty_cache(own: Any, x: Tensor) -> Tensor:
    y = up(x, (1, 2, 2))
    z: Tensor = own.conv(torch.cat([y[:, :, :1].repeat(1, 1, 0, 1, 1), y], dim=2))
    return z


ATEN: Any = torch.ops.aten.upsample_nearest2d
BUILTIN: Any = torch._C._nn.upsample_nearest2d
WRITINGS: Mapping[str, Writing] = {
    "type_as": Writing(forward=lambda own, x: own.conv(up(x.float()).type_as(x))),
    "to another's": Writing(forward=lambda own, x: own.conv(up(x.float()).to(x))),
    "to its device and type": Writing(forward=lambda own, x: own.conv(up(x).to(x.device, x.dtype))),
    "repeat_interleave twice": Writing(
        forward=lambda own, x: own.conv(x.repeat_interleave(2, 2).repeat_interleave(2, 3))
    ),
    "repeat_interleave, columns first": Writing(
        forward=lambda own, x: own.conv(torch.repeat_interleave(x.repeat_interleave(3, dim=-1), 3, dim=-2))
    ),
    "expand and reshape": Writing(forward=_expand),
    "by 4 and 2": Writing(forward=lambda own, x: own.conv(up(x, (4, 2)))),
    "aten": Writing(forward=lambda own, x: own.conv(ATEN(x, _double(x)))),
    "aten, overload": Writing(forward=lambda own, x: own.conv(ATEN.default(x, _double(x), 2.0, 2.0))),
    "aten, factors": Writing(forward=lambda own, x: own.conv(ATEN.vec(x, None, [2.0, 2.0]))),
    "builtin": Writing(forward=lambda own, x: own.conv(BUILTIN(x, _double(x)))),
    "gated by itself": Writing(forward=_gate),
    "snake": Writing(forward=_snake),
    "sum of two": Writing(forward=lambda own, x: own.conv(up(x) + up(x.sin()))),
    "relu_": Writing(forward=lambda own, x: own.conv(torch.relu_(up(x)))),
    "tanh_": Writing(forward=lambda own, x: own.conv(up(x).tanh_())),
    "written into": Writing(forward=_write),
    "no padding": Writing(forward=lambda own, x: own.conv(up(x)), conv=_conv(3)),
    "more padding": Writing(forward=lambda own, x: own.conv(up(x)), conv=_conv(3, padding=(3, 0))),
    "asymmetric": Writing(forward=lambda own, x: own.conv(functional.pad(up(x), (0, 1, 2, 0))), conv=_conv(3)),
    "asymmetric replicate": Writing(
        forward=lambda own, x: own.conv(functional.pad(up(x), (0, 1, 2, 3), mode="replicate")), conv=_conv(3)
    ),
    "circular": Writing(forward=lambda own, x: own.conv(up(x)), conv=_conv(5, padding=2, padding_mode="circular")),
    "even, same": Writing(forward=lambda own, x: own.conv(up(x)), conv=_conv(2, padding="same")),
    "even, after padding": Writing(
        forward=lambda own, x: own.conv(functional.pad(up(x, 3), (1, 2, 2, 1))), conv=_conv(4)
    ),
    "joined and padded": Writing(
        forward=lambda own, x: own.conv(functional.pad(torch.cat([up(x), up(x).cumsum(2)], 1), (1, 0, 0, 2))),
        conv=lambda: nn.Conv2d(8, 5, 3),
    ),
    "frames as images": Writing(forward=_frames, is_video=True),
    "frames upsampled in time": Writing(forward=_frames_in_time, is_video=True),
    "video": Writing(forward=lambda own, x: own.conv(up(x, (1, 2, 2))), conv=_conv3d(3, padding=1), is_video=True),
    "video, in all axes": Writing(
        forward=lambda own, x: own.conv(up(x)), conv=_conv3d((2, 3, 3), padding="same"), is_video=True
    ),
    "video, groups and no padding": Writing(
        forward=lambda own, x: own.conv(up(x)), conv=_conv3d(3, groups=2), is_video=True
    ),
    "video, causal": Writing(forward=_causal, conv=_conv3d(3), is_video=True),
    "video, no frame before": Writing(
        forward=_empty_cache, conv=_conv3d((1, 3, 3), padding=(0, 1, 1)), is_video=True
    ),
    "video, repeated frame": Writing(forward=_repeated_frame, conv=_conv3d(3), is_video=True),
}
