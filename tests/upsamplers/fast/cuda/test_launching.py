"""How the kernels are called: rounded matrices, shares of pixels, blocks that are tuned or taken untried."""

from typing import Any

import pytest
import torch
from torch import Tensor

from deconvbench.upsamplers.fast.cuda.blocks import CONFIGURATIONS
from tests.upsamplers.fast.plain_form import draw


@pytest.fixture
def launching(device: str) -> Any:
    from deconvbench.upsamplers.fast.cuda import launching

    return launching


def draw_weight(device: str) -> Tensor:
    weight = draw(7, 33, 3, 3, dtype=torch.float32)
    infinity = float("inf")
    weight[0, 0] = torch.tensor([[0.0, -0.0, 1.0], [infinity, -infinity, 3.4028234e38], [2**-7, -3.0, 1e-30]])
    return weight.to(device)


@pytest.mark.parametrize("is_swapped", [False, True])
def test_taps_are_rounded_to_the_nearest(is_swapped: bool, launching: Any, device: str) -> None:
    weight = draw_weight(device)
    expected = weight.permute(2, 3, 1, 0) if is_swapped else weight.permute(2, 3, 0, 1)
    expected = expected.flatten(0, 1)
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        # NumPy warns of what float16 cannot hold
        least, most = (-6e4, 6e4) if dtype == torch.float16 else (None, None)
        values, rounded = (each.clamp(least, most) if most else each for each in (weight, expected))
        made = launching.transform(values, dtype, "ieee", is_swapped=is_swapped)
        assert made.is_contiguous()
        assert torch.equal(made, rounded.to(dtype))
    made = launching.transform(weight, torch.float32, "tf32", is_swapped=is_swapped)
    is_small = expected.abs() < 3e38
    assert ((made - expected).abs()[is_small] <= expected.abs()[is_small] * 2**-11).all()
    assert (made.view(torch.int32) & 0x1FFF == 0).all()
    assert torch.equal(made.isfinite(), is_small)


def test_products_are_those_of_the_tiled_form(launching: Any, device: str) -> None:
    from deconvbench.upsamplers.fast.tiled import prepare_tiled

    weight = draw(7, 33, 3, 3, dtype=torch.float32).to(device)
    expected = prepare_tiled(weight.double()).flatten(0, 1)
    made = launching.transform(weight, torch.float32, "ieee", is_tiled=True)
    torch.testing.assert_close(made.double(), expected, rtol=0, atol=1e-6)
    # from sums in float32, rounded once
    made = launching.transform(weight.bfloat16(), torch.bfloat16, "ieee", is_tiled=True)
    expected = prepare_tiled(weight.bfloat16().double()).flatten(0, 1)
    assert ((made.double() - expected).abs() <= expected.abs() * 2**-8 + 1e-6).all()


def test_many_pixels_are_cut_into_shares(launching: Any) -> None:
    assert launching.split_pixels(1, 100, 132) == 1
    assert launching.split_pixels(1, 2**20, 132) == 264
    assert launching.split_pixels(8, 2**20, 132) == 33
    assert launching.split_pixels(1000, 2**20, 132) == 1
    assert launching.split_pixels(1, 560, 132) == 2


class Kernel:
    """Stands for a kernel: notes with which programs and options it was called."""

    __name__ = "weight_gradient"

    def __init__(self) -> None:
        self.calls: list[tuple[Any, dict[str, Any]]] = []

    def __getitem__(self, programs: Any) -> Any:
        return lambda **options: self.calls.append((programs, options))


def test_blocks_are_tuned_once_for_each_kernel_and_not_where_results_must_not_change(
    launching: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned: list[tuple[int, list[str]]] = []

    def autotune(*, configs: list[Any], key: list[str]) -> Any:
        tuned.append((len(configs), key))
        return lambda kernel: kernel

    monkeypatch.setattr(launching, "IS_INTERPRETED", False)
    monkeypatch.setattr(launching, "_TUNED", {})
    monkeypatch.setattr(launching.triton, "autotune", autotune)
    kernel, key = Kernel(), ("weight_gradient", True)
    for _ in range(2):
        launching._launch(kernel, len, has_tensor_cores=True, x=1)
    assert tuned == [(len(CONFIGURATIONS[key]), ["in_channels", "out_channels", "size_class", "precision"])]
    assert kernel.calls == [(len, {"x": 1})] * 2
    torch.use_deterministic_algorithms(True)
    try:
        launching._launch(kernel, len, has_tensor_cores=True, x=1)
    finally:
        torch.use_deterministic_algorithms(False)
    first = CONFIGURATIONS[key][0]
    chosen = {**first.sizes, "num_warps": first.warps, "num_stages": first.stages}
    assert kernel.calls[-1] == (len, {"x": 1, **chosen})
    assert len(tuned) == 1
