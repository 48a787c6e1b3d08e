"""Strips: the same as the whole, without seams, within the memory that was asked for."""

import itertools
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.measure.memory import measure_heap_peak
from deconvbench.upsamplers.fast.strips import Stage, choose_rows, estimate_peak, run_in_strips


def convolve(weight: Tensor, mode: str, x: Tensor) -> Tensor:
    amount = weight.shape[2] // 2
    return functional.conv2d(functional.pad(x, [amount] * 4, mode=mode), weight)


def upsample(scale: int, x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=scale, mode="nearest")


def make_conv(out_channels: int, in_channels: int, size: int, mode: str = "constant") -> Stage:
    weight = torch.randn(out_channels, in_channels, size, size, dtype=torch.float64)
    return Stage(run=partial(convolve, weight, mode), reach=size // 2, out_channels=out_channels, kernel_size=size)


def make_upsampling(scale: int) -> Stage:
    return Stage(run=partial(upsample, scale), scale=scale)


def run_whole(stages: list[Stage], x: Tensor) -> Tensor:
    for stage in stages:
        x = stage.run(x)
    return x


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate"])
@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("rows", [1, 2, 5, 7, 100])
def test_strips_are_the_whole(mode: str, scale: int, rows: int) -> None:
    torch.manual_seed(0)
    stages = [make_upsampling(scale), make_conv(4, 3, 3, mode), make_conv(8, 4, 5, mode)]
    shuffle = Stage(run=nn.PixelShuffle(2), scale=2, is_shuffle=True)
    stages += [shuffle, make_conv(1, 2, 3, mode)]
    for height, width in itertools.product((1, 2, 5), (2, 4)):
        x = torch.randn(2, 3, height, width, dtype=torch.float64)
        if mode == "reflect" and min(scale * height, scale * width) <= 2:
            continue
        expected = run_whole(stages, x)
        found = run_in_strips(stages, x, rows)
        assert found.shape == expected.shape == (2, 1, 2 * scale * height, 2 * scale * width)
        assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_no_map_in_between_is_ever_whole() -> None:
    heights: list[int] = []

    def watch(x: Tensor) -> Tensor:
        heights.append(x.shape[2])
        return x

    stages = [make_upsampling(2), Stage(run=watch), make_conv(1, 3, 3)]
    run_in_strips(stages, torch.randn(1, 3, 20, 4, dtype=torch.float64), 4)
    # of 40 rows: those of a strip and one above and below it, but for the border
    assert heights == [5, *[6] * 8, 5]


def test_the_output_has_the_layout_of_the_strips() -> None:
    x = torch.randn(1, 3, 6, 5).to(memory_format=torch.channels_last)
    y = run_in_strips([make_upsampling(2)], x, 3)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(y, upsample(2, x))


def test_rows_are_as_many_as_fit() -> None:
    stages = [make_upsampling(2), make_conv(8, 8, 3)]
    x = torch.zeros(1, 8, 64, 64)
    whole = estimate_peak(stages, x)
    assert choose_rows(stages, x, whole) is None
    rows = choose_rows(stages, x, whole - 1)
    assert rows is not None
    assert rows < 128
    peaks = [estimate_peak(stages, x, rows) for rows in range(1, 128)]
    assert peaks == sorted(peaks)
    for limit in (peaks[0], peaks[20], peaks[60]):
        rows = choose_rows(stages, x, limit)
        assert rows is not None
        assert estimate_peak(stages, x, rows) <= limit


def test_where_nothing_fits_strips_are_thin_but_no_single_rows() -> None:
    stages = [make_upsampling(2), make_conv(8, 8, 3)]
    assert choose_rows(stages, torch.zeros(1, 8, 64, 64), 1) == 4
    assert choose_rows(stages, torch.zeros(1, 8, 1, 64), 1) == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("batch", [1, 2])
def test_what_is_held_is_no_more_than_was_estimated(dtype: torch.dtype, batch: int) -> None:
    pytest.importorskip("memray")
    torch.manual_seed(0)
    first, second = (nn.Conv2d(16, out, 3, padding=1).to(dtype) for out in (16, 3))
    stages = [
        Stage(run=partial(upsample, 2), scale=2),
        Stage(run=first, reach=1, out_channels=16, kernel_size=3),
        Stage(run=second, reach=1, out_channels=3, kernel_size=3),
    ]
    x = torch.randn(batch, 16, 96, 96, dtype=dtype)
    with torch.no_grad():
        for rows in (192, 32, 8):
            # what oneDNN sets up for each size of a strip, once, is not counted
            run_in_strips(stages, x, rows)
            peak = measure_heap_peak(partial(run_in_strips, stages, x, rows))
            assert peak is not None
            # memray counts some KiB of Python's own
            assert peak <= 1.03 * estimate_peak(stages, x, rows) + 2**16
