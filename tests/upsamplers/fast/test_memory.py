"""Passes over memory write where they are told to, and the work is cut without a gap or an overlap."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from deconvbench.upsamplers.fast import memory
from deconvbench.upsamplers.fast.memory import (
    Demand,
    Products,
    bmm,
    estimate_plain_peak,
    has_finite_sum,
    is_channels_last,
    iterate_bands,
    mm,
    pad_pixels,
    plan_work,
)
from tests.upsamplers.fast.plain_form import draw, over_layouts

MATRICES = (draw(2, 3, 4, seed=1), draw(2, 4, 5, seed=2))


def run_all(a: Tensor, b: Tensor, out: Tensor) -> list[Tensor]:
    """Use every operation; the results in given places, copied."""
    results = []
    operations: tuple[Callable[[], None], ...] = (
        lambda: bmm(a, b, out=out),
        lambda: bmm(a, b, out=out, accumulates=True),
        lambda: mm(a[0], b[0], out=out[1]),
        lambda: mm(a[1], b[1], out=out[1], accumulates=True),
    )
    for run in operations:
        run()
        results.append(out.clone())
    return results


def expect_all(a: Tensor, b: Tensor) -> list[Tensor]:
    products = torch.stack([a[0] @ b[0], a[1] @ b[1]])
    first, last = torch.stack([2 * products[0], products[0]]), torch.stack([2 * products[0], products.sum(0)])
    return [products, 2 * products, first, last]


def test_operations_write_into_the_given_place() -> None:
    a, b = MATRICES
    place = torch.empty(2, 3, 10, dtype=torch.float64)
    out = place[..., ::2]
    found = run_all(a, b, out)
    for result, expected in zip(found, expect_all(a, b), strict=True):
        torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(place[..., ::2], found[-1])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_a_sum_is_finite_only_if_every_value_is(dtype: torch.dtype) -> None:
    y = torch.full((2, 3, 40, 50), 60000.0, dtype=dtype)
    assert has_finite_sum(y)
    assert has_finite_sum(y[:0])
    for value in (math.inf, -math.inf, math.nan):
        spoilt = y.clone()
        spoilt[1, 2, 39, 49] = value
        assert not has_finite_sum(spoilt)
        spoilt[0, 0, 0, 0] = -value
        assert not has_finite_sum(spoilt)


@over_layouts
@pytest.mark.parametrize("pads_zeros", [True, False], ids=["zeros", "replicate"])
@pytest.mark.parametrize("padding", [(0, 0, 0, 0), (1, 2, 3, 0), (2, 2, 2, 2)], ids=str)
def test_padding_is_torch_s(
    padding: tuple[int, int, int, int], pads_zeros: bool, layout: torch.memory_format
) -> None:
    for height, width in ((1, 1), (2, 5)):
        x = draw(2, 3, height, width).contiguous(memory_format=layout)
        expected = functional.pad(x, padding, mode="constant" if pads_zeros else "replicate")
        found = pad_pixels(x, padding, pads_zeros=pads_zeros)
        assert torch.equal(found.permute(0, 3, 1, 2), expected)
        assert found.is_contiguous()


def vary_strides(channels: int, height: int, width: int) -> dict[str, Tensor]:
    """Images whose values lie in memory in many ways."""
    base = draw(2, 2 * channels, height, 2 * width)
    last = base.to(memory_format=torch.channels_last)
    return {
        "contiguous": base[:, :channels, :, :width].contiguous(),
        "channels_last": base[:, :channels, :, :width].to(memory_format=torch.channels_last),
        "some channels": base[:, :channels, :, :width],
        "every other column": base[:, :channels, :, ::2],
        "every other column, channels last": last[:, :channels, :, ::2],
        "some columns, channels last": last[:, :channels, :, :width],
        "transposed": draw(2, channels, width, height).transpose(2, 3),
        "repeated": draw(2, channels, 1, 1).expand(2, channels, height, width),
        "batch inside": draw(channels, 2, height, width).transpose(0, 1),
    }


@pytest.mark.parametrize("kernel_size", [1, 3])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(5, 4), (1, 1), (1, 5), (4, 1)], ids=str)
def test_channels_come_last_where_torch_s_convolution_puts_them(
    size: tuple[int, int], channels: int, kernel_size: int
) -> None:
    contiguous = draw(2, channels, kernel_size, kernel_size)
    weights = (contiguous, contiguous.to(memory_format=torch.channels_last))
    for (name, x), weight in itertools.product(vary_strides(channels, *size).items(), weights):
        # upsampled, since the memory format of an output of one pixel is ambiguous
        y = functional.conv2d(functional.interpolate(x, scale_factor=2), weight, padding=kernel_size // 2)
        expected = y.is_contiguous(memory_format=torch.channels_last)
        assert expected != y.is_contiguous()
        assert is_channels_last(x, weight) == expected, name


@given(shape=st.tuples(*[st.integers(0, 3)] * 4), strides=st.tuples(*[st.integers(0, 12)] * 4))
@settings(deadline=None, max_examples=200)
def test_strides_are_judged_as_torch_judges_them(shape: Any, strides: Any) -> None:
    suggest = pytest.importorskip("torch._prims_common").suggest_memory_format
    x = torch.empty(200).as_strided(shape, strides)
    assert is_channels_last(x) == (suggest(x) == torch.channels_last)


demands = st.builds(
    Demand,
    batch=st.integers(1, 9),
    rows=st.integers(1, 40),
    tiles_per_row=st.integers(1, 40),
    in_bytes=st.integers(1, 2**14),
    out_bytes=st.integers(1, 2**14),
    product_bytes=st.integers(0, 2**20),
    room_bytes=st.integers(-(2**10), 2**23),
)


@given(demand=demands, band_bytes=st.integers(1, 2**22), least_tiles=st.integers(1, 300))
@settings(deadline=None, max_examples=100)
def test_bands_cover_everything_once(demand: Demand, band_bytes: int, least_tiles: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "_BAND_BYTES", band_bytes)
        patch.setattr(memory, "_LEAST_TILES", least_tiles)
        plan = plan_work(demand)
    seen = [
        (image, row)
        for images, rows in iterate_bands(demand, plan)
        for image in range(*images.indices(demand.batch))
        for row in range(*rows.indices(demand.rows))
    ]
    assert sorted(seen) == list(itertools.product(range(demand.batch), range(demand.rows)))
    # several images, or some rows of one
    assert plan.images == 1 or plan.rows == demand.rows


def hold(demand: Demand, plan: memory.MemoryPlan) -> int:
    tiles = plan.images * plan.rows * demand.tiles_per_row
    return tiles * (demand.in_bytes + demand.out_bytes // plan.chunks) + demand.product_bytes // plan.chunks


@given(demand=demands)
@settings(deadline=None, max_examples=100)
def test_a_plan_that_fits_stays_within_the_room(demand: Demand) -> None:
    plan = plan_work(demand)
    assert plan.fits == (hold(demand, plan) <= demand.room_bytes)


def make_demand(**changes: int) -> Demand:
    usual = {
        "batch": 1,
        "rows": 64,
        "tiles_per_row": 64,
        "in_bytes": 1,
        "out_bytes": 1,
        "product_bytes": 0,
        "room_bytes": 10**9,
    }
    return Demand(**{**usual, **changes})


def test_small_work_is_not_cut() -> None:
    plan = plan_work(make_demand())
    assert (plan.images, plan.rows, plan.chunks, plan.fits) == (1, 64, 1, True)


def test_small_images_share_a_band() -> None:
    assert plan_work(make_demand(batch=9, rows=4, tiles_per_row=4)).images == 9


def test_channels_are_cut_where_the_products_do_not_fit() -> None:
    plan = plan_work(make_demand(product_bytes=10**6, room_bytes=3 * 10**5))
    assert plan.fits
    assert plan.chunks > 1


def test_work_that_fits_in_no_way_says_so() -> None:
    assert not plan_work(make_demand(product_bytes=10**6, room_bytes=0)).fits
    assert not plan_work(make_demand(rows=1, tiles_per_row=16, room_bytes=0)).fits


def test_products_are_made_part_by_part_or_once() -> None:
    calls = []

    def make(part: Tensor) -> Tensor:
        calls.append(len(part))
        return 2 * part

    weight = draw(5, 3, 1, 1)
    products = Products(kept=None, weight=weight, make=make)
    parts = products.split(2)
    assert parts == [slice(0, 3), slice(3, 5)]
    assert torch.equal(torch.cat([products.take(part) for part in parts]), 2 * weight)
    assert calls == [3, 2]

    kept = products.keep()
    assert kept.keep() is kept
    assert kept.split(2) == [slice(0, 5)]
    assert torch.equal(kept.take(slice(0, 5)), 2 * weight)
    assert calls == [3, 2, 5]


@over_layouts
def test_the_plain_form_holds_the_upsampled_input_and_the_output(layout: torch.memory_format) -> None:
    x = draw(2, 3, 4, 5, dtype=torch.float32).contiguous(memory_format=layout)
    upsampled, output, weight = 2 * 3 * 8 * 10 * 4, 2 * 2 * 8 * 10 * 4, 2 * 3 * 9 * 4
    copies = 1 if layout == torch.channels_last else 2
    assert estimate_plain_peak(x, 2, 3, 2) == copies * upsampled + output + weight
