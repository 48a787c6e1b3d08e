"""Max-unpooling: the inverse of a pooling that kept its positions, with holes, and irregular."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from deconvbench.errors import UsageError
from deconvbench.measure.artifacts import impulse_response
from deconvbench.measure.quality import measure_quality
from deconvbench.upsamplers import get_upsampler
from deconvbench.upsamplers.unpooling import PATTERN_SIZE, MaxUnpool, MaxUnpoolConv

over_scales = pytest.mark.parametrize("scale_factor", [2, 3, 4], ids="s{}".format)


def unpool_pixel_by_pixel(x: Tensor, unpool: MaxUnpool) -> Tensor:
    """Put every value at its stored position within its window: the definition."""
    s = unpool.scale_factor
    batch, channels, height, width = x.shape
    y = torch.zeros(batch, channels, s * height, s * width, dtype=x.dtype)
    rows, columns = unpool.positions
    for c in range(channels):
        for h in range(height):
            for w in range(width):
                seen = c, h % PATTERN_SIZE, w % PATTERN_SIZE
                y[:, c, s * h + int(rows[seen]), s * w + int(columns[seen])] = x[:, c, h, w]
    return y


def visit_phases(channels: int, scale_factor: int, size: int = PATTERN_SIZE) -> Tensor:
    """Return what unpooling makes of ones, with the phases apart: (C, windows, s²)."""
    s = scale_factor
    y = MaxUnpool(channels, s)(torch.ones(1, channels, size, size))[0]
    by_phase: Tensor = y.reshape(channels, size, s, size, s).transpose(2, 3).reshape(channels, size**2, s**2)
    return by_phase


@given(
    scale_factor=st.integers(1, 4),
    height=st.integers(1, 2 * PATTERN_SIZE + 1),
    width=st.integers(1, 2 * PATTERN_SIZE + 1),
)
@settings(deadline=None, max_examples=15)
def test_unpooling_follows_its_definition(scale_factor: int, height: int, width: int) -> None:
    unpool = MaxUnpool(2, scale_factor)
    x = torch.randn(2, 2, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(unpool(x), unpool_pixel_by_pixel(x, unpool))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=["f64", "f32", "bf16"])
@over_scales
def test_pooling_gives_back_the_values_and_the_positions(scale_factor: int, dtype: torch.dtype) -> None:
    unpool = MaxUnpool(3, scale_factor)
    # positive, so that a value is the largest of its window
    x = torch.rand(2, 3, 5, 20, generator=torch.Generator().manual_seed(0)).add(0.1).to(dtype)
    values, indices = functional.max_pool2d(unpool(x), scale_factor, return_indices=True)
    assert torch.equal(values, x)
    assert torch.equal(indices, unpool.compute_indices(5, 20).expand(2, -1, -1, -1))


@pytest.mark.parametrize("kernel_size", [2, 3], ids="k{}".format)
def test_convolution_sees_the_unpooled_map(kernel_size: int) -> None:
    layer = MaxUnpoolConv(2, 3, kernel_size, 2).double()
    x = torch.randn(2, 2, 3, 4, dtype=torch.float64)
    before, after = (kernel_size - 1) // 2, kernel_size // 2
    padded = functional.pad(unpool_pixel_by_pixel(x, layer.unpool), (before, after, before, after))
    expected = functional.conv2d(padded, layer.conv.weight, layer.conv.bias)
    torch.testing.assert_close(layer(x), expected, rtol=1e-10, atol=1e-10)


def test_positions_of_an_encoder_are_taken_where_they_are_given() -> None:
    layer = MaxUnpoolConv(3, 2, 3, 2)
    image = torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    values, indices = functional.max_pool2d(image, 2, return_indices=True)
    unpooled = layer.unpool(values, indices)
    assert torch.equal(unpooled[unpooled > 0], image[unpooled > 0])
    assert float((unpooled > 0).double().mean()) == 0.25
    assert torch.equal(layer(values, indices), layer.conv(unpooled))
    assert not torch.equal(layer(values, indices), layer(values))


@over_scales
def test_leaves_holes(scale_factor: int) -> None:
    visited = visit_phases(4, scale_factor)
    assert set(visited.flatten().tolist()) == {0.0, 1.0}
    assert float((visited == 0).double().mean()) == pytest.approx(1 - 1 / scale_factor**2, abs=1e-12)
    assert torch.equal(visited.sum(-1), torch.ones(4, PATTERN_SIZE**2))


@over_scales
def test_is_irregular(scale_factor: int) -> None:
    share = visit_phases(4, scale_factor).mean(1)
    # every phase is visited in some windows of every channel, and none in all, unlike zero insertion
    assert float(share.min()) > 0
    assert float(share.max()) < 2.5 / scale_factor**2


@over_scales
def test_channels_have_positions_of_their_own(scale_factor: int) -> None:
    visited = visit_phases(3, scale_factor).flatten(1)
    assert not torch.equal(visited[0], visited[1])
    assert not torch.equal(visited[1], visited[2])


def test_pattern_repeats_over_larger_maps() -> None:
    unpool = MaxUnpool(1, 2)
    y = unpool(torch.ones(1, 1, 3 * PATTERN_SIZE, 2 * PATTERN_SIZE))
    tile = unpool(torch.ones(1, 1, PATTERN_SIZE, PATTERN_SIZE))
    assert torch.equal(y, tile.repeat(1, 1, 3, 2))


def test_positions_do_not_depend_on_the_global_random_state_nor_change_it() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first = MaxUnpool(2, 3)
        state = torch.get_rng_state()
        torch.manual_seed(2)
        second = MaxUnpool(2, 3)
        torch.manual_seed(1)
        assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.positions, second.positions)


def test_positions_live_where_the_weights_do() -> None:
    with torch.device("meta"):
        layer = MaxUnpoolConv(2, 3, 3, 2)
        assert layer(torch.empty(1, 2, 5, 4)).shape == (1, 3, 10, 8)
    assert layer.unpool.positions.device == layer.conv.weight.device


def test_positions_are_neither_learned_nor_stored_nor_rounded() -> None:
    layer = MaxUnpoolConv(2, 3, 3, 2)
    assert set(layer.state_dict()) == {"conv.weight", "conv.bias"}
    assert {name for name, _ in layer.named_parameters()} == {"conv.weight", "conv.bias"}
    assert layer.bfloat16().unpool.positions.dtype == torch.int64


def test_is_linear_and_not_shift_equivariant_as_declared() -> None:
    spec = get_upsampler("max_unpool_conv")
    assert (spec.linear, spec.shift_equivariant) == (True, False)
    x, unpool = torch.rand(1, 1, 8, 8), MaxUnpool(1, 2)
    assert not torch.equal(unpool(x.roll(1, dims=3)), unpool(x).roll(2, dims=3))
    with pytest.raises(UsageError, match="not linear and shift-equivariant"):
        impulse_response(MaxUnpoolConv(2, 3, 3, 2), 2, 2)


def test_quality_leaves_out_what_needs_equivariance() -> None:
    record = measure_quality("max_unpool_conv", 3, 2, seed=0, channels=2)
    assert record.status == "ok"
    for name in ("overlap_cv", "phase_ripple", "noise_gain_cv", "image_rejection_db", "border_error"):
        assert record.metrics[name] is None


def test_macs_per_output_pixel_are_as_stated() -> None:
    macs = get_upsampler("max_unpool_conv").macs
    assert macs is not None
    assert macs(8, 4, 3, 2, 10, 6) / (20 * 12) / (8 * 4) == 3**2
