"""Upsampling by moving values, in any spelling, and what only looks like it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.networks.frames import FrameStack
from deconvbench.networks.inspection.layouts import list_orders
from deconvbench.networks.inspection.running import Runner
from deconvbench.networks.inspection.tracing import Tracer, Upsampling


class _Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        # somebody reads the result
        return self.function(x) + 1


def trace(function: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> list[Upsampling]:
    model, stack = _Function(function), FrameStack()
    with stack.follow(model):
        tracer = Tracer(stack)
        Runner(model, stack).run(torch.rand(shape), tracer)
    return tracer.upsamplings


def _spell(order: str) -> Callable[[Tensor], Tensor]:
    """Depth to space by 2×3 as einops does it: b (order) h w -> b c (h i) (w j)."""

    def shuffle(x: Tensor) -> Tensor:
        sizes = {"c": x.shape[1] // 6, "i": 2, "j": 3}
        split = x.reshape(x.shape[0], *(sizes[axis] for axis in order), *x.shape[2:])
        at = {axis: 1 + order.index(axis) for axis in order}
        moved = split.permute(0, at["c"], 4, at["i"], 5, at["j"])
        return moved.reshape(x.shape[0], sizes["c"], 2 * x.shape[2], 3 * x.shape[3])

    return shuffle


@pytest.mark.parametrize("order", ["cij", "cji", "ijc", "jic"])
@pytest.mark.parametrize("channels", [6, 12])
def test_depth_to_space_is_found_in_every_order(order: str, channels: int) -> None:
    (found,) = trace(_spell(order), (1, channels, 4, 5))
    assert found.layout is not None
    assert found.layout.channels is not None
    assert found.layout.scale == (2, 3)
    orders = dict(list_orders(channels // 6, (2, 3)))
    assert torch.equal(found.layout.channels, orders[" ".join(order)])
    assert found.layout.describe_order() in {
        name for name, one in orders.items() if torch.equal(one, found.layout.channels)
    }
    assert found.out_shape == (1, channels // 6, 8, 15)


def _unpatchify(x: Tensor) -> Tensor:
    n, tokens, _ = x.shape
    side = int(tokens**0.5)
    return torch.einsum("nhwpqc->nchpwq", x.reshape(n, side, side, 4, 4, 3)).reshape(n, 3, 4 * side, 4 * side)


def _expand_patches(x: Tensor) -> Tensor:
    n, height, width, channels = x.shape
    split = x.view(n, height, width, 2, 2, channels // 4).permute(0, 1, 3, 2, 4, 5)
    return split.reshape(n, 2 * height, 2 * width, channels // 4).view(n, -1, channels // 4)


@pytest.mark.parametrize(
    ("function", "shape", "scale", "order"),
    [
        pytest.param(_unpatchify, (2, 9, 48), (4, 4), "i j c", id="tokens"),
        pytest.param(_expand_patches, (1, 3, 4, 8), (2, 2), "i j c", id="channels-last"),
        pytest.param(
            lambda x: x.unflatten(1, (2, 3)).movedim(2, -1).flatten(2), (1, 6, 5), (3,), "c i", id="one axis"
        ),
        pytest.param(
            lambda x: x.view(1, 2, 2, 2, 2, 3, 4, 5).permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(1, 2, 6, 8, 10),
            (1, 16, 3, 4, 5),
            (2, 2, 2),
            "c i j k",
            id="three axes",
        ),
        pytest.param(
            lambda x: x[:, :, :, None, :, None].expand(-1, -1, -1, 2, -1, 2).reshape(1, 3, 8, 8),
            (1, 3, 4, 4),
            None,
            "",
            id="indexed, then expanded",
        ),
        pytest.param(
            lambda x: x.unsqueeze(3).unsqueeze(5).expand(-1, -1, -1, 2, -1, 2).reshape(1, 3, 8, 8),
            (1, 3, 4, 4),
            (2, 2),
            "repeated",
            id="expanded",
        ),
        pytest.param(
            lambda x: x.repeat_interleave(3, 2).repeat_interleave(3, dim=3),
            (1, 3, 4, 4),
            (3, 3),
            "repeated",
            id="repeat_interleave",
        ),
    ],
)
def test_other_spellings(
    function: Callable[[Tensor], Tensor], shape: tuple[int, ...], scale: tuple[int, ...] | None, order: str
) -> None:
    (found,) = trace(function, shape)
    assert found.layout is not None
    assert found.layout.scale == (scale or (2, 2))
    assert found.layout.describe_order() == (order or "repeated")


def _make_heads(x: Tensor) -> Tensor:
    n, tokens, channels = x.shape
    return x.view(n, tokens, 4, channels // 4).transpose(1, 2)


def _join_heads(x: Tensor) -> Tensor:
    n, heads, tokens, channels = x.shape
    return x.transpose(1, 2).reshape(n, tokens, heads * channels)


def _reverse_windows(x: Tensor) -> Tensor:
    # 4 windows of 4×4 tokens
    return x.view(1, 2, 2, 4, 4, -1).permute(0, 1, 3, 2, 4, 5).reshape(1, 8, 8, -1)


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        pytest.param(_make_heads, (1, 9, 16), id="heads"),
        pytest.param(_join_heads, (1, 4, 9, 4), id="heads joined"),
        pytest.param(lambda x: x.repeat_interleave(2, 1), (1, 4, 9, 4), id="heads repeated"),
        pytest.param(_reverse_windows, (4, 4, 4, 8), id="windows"),
        pytest.param(_reverse_windows, (4, 16, 8), id="windows of tokens"),
        pytest.param(lambda x: functional.pixel_unshuffle(x, 2), (1, 3, 8, 8), id="space to depth"),
        pytest.param(
            lambda x: x.view(1, 2, 3, 4, 4).transpose(1, 2).reshape(1, 6, 4, 4), (1, 6, 4, 4), id="groups"
        ),
        pytest.param(lambda x: x.flatten(2).transpose(1, 2), (1, 6, 4, 4), id="tokens"),
        pytest.param(lambda x: x.expand(-1, -1, 4, 4).reshape(1, -1, 4, 4), (1, 6, 1, 1), id="broadcast"),
        pytest.param(lambda x: x.repeat(1, 1, 2, 2).view(1, 3, 8, 8), (1, 3, 4, 4), id="tiled"),
    ],
)
def test_what_only_looks_like_it(function: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> None:
    assert trace(function, shape) == []


@pytest.mark.parametrize("count", [1, 3])
def test_the_orders_say_what_a_shuffle_does(count: int) -> None:
    x = torch.rand(1, 4 * count, 3, 3)
    orders: dict[str, Any] = dict(list_orders(count, (2, 2)))
    y = functional.pixel_shuffle(x, 2)
    for phase, (i, j) in enumerate((i, j) for i in range(2) for j in range(2)):
        torch.testing.assert_close(y[:, :, i::2, j::2], x[:, orders["c i j"][:, phase]])
