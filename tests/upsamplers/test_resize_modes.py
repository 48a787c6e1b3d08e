"""`ResizeConv2d` with a choice of interpolation: torch's two operations in one layer."""

import re
from typing import Any

import pytest
import torch
from torch import nn

from deconvbench.errors import UsageError
from deconvbench.upsamplers.fast import ResizeConv2d as FastResizeConv2d
from deconvbench.upsamplers.resize_modes import MODES, ResizeConv2d

over_modes = pytest.mark.parametrize("mode", MODES)


@pytest.mark.parametrize("padding_mode", ["zeros", "reflect", "replicate"])
@pytest.mark.parametrize(
    ("kernel_size", "scale_factor"), [(1, 2), (3, 2), (5, 3)], ids=["k1-s2", "k3-s2", "k5-s3"]
)
@over_modes
def test_equals_upsample_and_convolution(
    mode: str, kernel_size: int, scale_factor: int, padding_mode: Any
) -> None:
    layer = ResizeConv2d(2, 3, kernel_size, scale_factor, mode, padding_mode=padding_mode).double()
    plain = nn.Sequential(
        nn.Upsample(scale_factor=scale_factor, mode=mode, align_corners=None if "nearest" in mode else False),
        nn.Conv2d(2, 3, kernel_size, padding=kernel_size // 2, padding_mode=padding_mode),
    ).double()
    plain.load_state_dict({f"1.{name}": value for name, value in layer.state_dict().items()})
    x = torch.randn(2, 2, 4, 3, dtype=torch.float64)
    torch.testing.assert_close(layer(x), plain(x), rtol=1e-10, atol=1e-10)


@over_modes
def test_starts_as_torchs_convolution(mode: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = ResizeConv2d(4, 3, mode=mode)
        torch.manual_seed(0)
        conv = nn.Conv2d(4, 3, 3)
    assert torch.equal(layer.weight, conv.weight)
    assert layer.bias is not None
    assert conv.bias is not None
    assert torch.equal(layer.bias, conv.bias)


def test_nearest_takes_the_fast_forms_and_no_other_mode_does() -> None:
    x = torch.zeros(1, 64, 32, 32)
    fast = FastResizeConv2d(64, 64).eval()
    assert ResizeConv2d(64, 64).eval().choose(x) == fast.choose(x) != "plain"
    assert ResizeConv2d(64, 64, mode="nearest-exact").eval().choose(x) == fast.choose(x)
    assert ResizeConv2d(64, 64, mode="bilinear").eval().choose(x) == "plain"


def test_keeping_a_weight_is_for_nearest() -> None:
    assert ResizeConv2d(2, 3).eval().cache_weight().is_frozen
    assert not ResizeConv2d(2, 3, mode="bilinear").eval().cache_weight().is_frozen


def test_from_conv_shares_the_parameters() -> None:
    conv = nn.Conv2d(2, 3, 3, padding=1)
    layer = ResizeConv2d.from_conv(conv, 2)
    assert layer.weight is conv.weight
    assert layer.mode == "nearest"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "area"}, "mode: 'area' is not one of nearest, nearest-exact, bilinear, bicubic"),
        (
            {"mode": "bilinear", "implementation": "tiled"},
            "implementation: tiled is for mode nearest, not bilinear",
        ),
        ({"padding_mode": "circular"}, "padding_mode: 'circular' is not one of"),
        ({"kernel_size": 4}, "kernel_size: 4 is even"),
    ],
    ids=["mode", "form", "padding", "kernel"],
)
def test_what_is_not_allowed_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        ResizeConv2d(2, 3, **options)


def test_it_says_what_it_is() -> None:
    assert repr(ResizeConv2d(2, 3)) == "ResizeConv2d(2, 3, kernel_size=3, scale_factor=2, implementation=auto)"
    assert repr(ResizeConv2d(2, 3, mode="bilinear")).endswith("mode=bilinear)")
