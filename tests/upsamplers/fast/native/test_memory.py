"""Where `auto` takes the compiled form it holds little more than the plain form; otherwise it takes another."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from deconvbench.upsamplers.fast import ResizeConv2d
from deconvbench.upsamplers.fast.choice import NATIVE
from tests.upsamplers.fast.plain_form import over_layouts
from tests.upsamplers.fast.test_choice import ALLOWED_SHARE, measure_peak

pytestmark = pytest.mark.usefixtures("native")


@pytest.mark.slow
@over_layouts
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("mode", ["frozen", "live", "train"])
@pytest.mark.parametrize(("channels", "size"), [(32, 16), (64, 16), (128, 32), (256, 16)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_auto_holds_little_more_than_the_plain_form(
    dtype: torch.dtype, channels: int, size: int, mode: str, threads: int, layout: Any, tmp_path: Path
) -> None:
    conv = nn.Conv2d(channels, channels // 2, 3, padding=1).to(dtype=dtype, memory_format=layout)  # type: ignore[call-overload] # an overload torch leaves out
    x = torch.randn(1, channels, size, size).to(dtype=dtype, memory_format=layout)
    plain, auto = (ResizeConv2d.from_conv(conv, 2, form) for form in ("plain", "auto"))
    if mode == "train":
        x.requires_grad_()
        gradient = torch.ones_like(plain(x))
        calls = [
            lambda layer=layer: torch.autograd.grad(layer(x), [x, conv.weight, conv.bias], gradient)
            for layer in (plain, auto)
        ]
    else:
        conv.requires_grad_(requires_grad=False)
        auto.eval()
        if mode == "frozen":
            auto.cache_weight()
            assert dtype != torch.float32 or auto.choose(x, is_prepared=True) == NATIVE
        calls = [lambda layer=layer: layer(x) for layer in (plain, auto)]
    torch.set_num_threads(threads)
    try:
        expected, found = (measure_peak(call, tmp_path) for call in calls)
    finally:
        torch.set_num_threads(1)
    assert found <= ALLOWED_SHARE * expected


def test_a_weight_that_outweighs_the_map_is_not_transformed_in_every_call() -> None:
    layer, x = ResizeConv2d(64, 32), torch.zeros(1, 64, 8, 8).to(memory_format=torch.channels_last)
    with torch.no_grad():
        assert layer.choose(x, is_prepared=True) == NATIVE
        assert layer.choose(x) == "plain"
