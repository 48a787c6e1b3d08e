"""What every registered upsampler must fulfil, built in or third-party.

The cells come from the registry, and so do the exemptions: a layer that is not linear says so in its registration.
"""

import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from deconvbench.errors import UnsupportedError
from deconvbench.records.case import format_layer
from deconvbench.upsamplers import UpsamplerSpec, build_upsampler, list_upsamplers
from deconvbench.upsamplers.interpolation import interpolation_macs

KERNEL_SIZES = (1, 2, 3, 4, 5)
SCALE_FACTORS = (1, 2, 3, 4)
IN_CHANNELS, OUT_CHANNELS = 2, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    spec: UpsamplerSpec
    kernel_size: int | None
    scale_factor: int

    @property
    def id(self) -> str:
        return format_layer(self.spec.name, self.kernel_size, self.scale_factor).replace(" ", "-")

    @property
    def reason(self) -> str | None:
        return self.spec.unsupported_reason(self.kernel_size, self.scale_factor)

    def build(self, dtype: torch.dtype = torch.float64) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layer = build_upsampler(self.spec.name, IN_CHANNELS, OUT_CHANNELS, self.kernel_size, self.scale_factor)
        return layer.to(dtype)


ALL = [
    Cell(spec=spec, kernel_size=kernel_size, scale_factor=scale_factor)
    for spec in list_upsamplers().values()
    for kernel_size in (KERNEL_SIZES if spec.has_kernel else (None,))
    for scale_factor in SCALE_FACTORS
]
SUPPORTED = [cell for cell in ALL if cell.reason is None]
# one odd and one even kernel, one even and one odd scale: for what depends on neither kernel nor scale
FEW = [cell for cell in SUPPORTED if (cell.kernel_size, cell.scale_factor) in {(3, 2), (4, 3), (None, 2)}]
# what a compiler makes of a layer depends on its operations alone
ONE_EACH = list({cell.spec.name: cell for cell in reversed(FEW)}.values())
FAMILIES = list({cell.spec.factory.__module__: cell for cell in reversed(FEW)}.values())


def over(cells: list[Cell]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("cell", [pytest.param(cell, id=cell.id) for cell in cells])


def draw(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def measure_error(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.double().norm())


def assert_linear(layer: nn.Module) -> None:
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if name.rpartition(".")[2] == "bias":
                parameter.zero_()
        first, second = draw(2, IN_CHANNELS, 5, 4, seed=1), draw(2, IN_CHANNELS, 5, 4, seed=2)
        expected = 2.5 * layer(first) - 0.5 * layer(second)
        torch.testing.assert_close(layer(2.5 * first - 0.5 * second), expected, rtol=1e-10, atol=1e-10)


def assert_shift_equivariant(layer: nn.Module, scale_factor: int) -> None:
    # eight input pixels: the largest receptive field (kernel 5 and then 9 at scale 1), and the shift itself
    margin = 8 * scale_factor
    x = draw(1, IN_CHANNELS, 18, 20)
    with torch.no_grad():
        expected = layer(x).roll((scale_factor, scale_factor), dims=(2, 3))
        found = layer(x.roll((1, 1), dims=(2, 3)))
    inside = (..., slice(margin, -margin), slice(margin, -margin))
    torch.testing.assert_close(found[inside], expected[inside], rtol=1e-10, atol=1e-10)


def count_macs(layer: nn.Module, height: int, width: int) -> int:
    """Count by torch's counter, taught what interpolation costs: by itself it sees convolutions only."""

    def interpolate(mode: str) -> Callable[..., int]:
        def count_flops(*_: Any, out_shape: tuple[int, ...], **__: Any) -> int:
            batch, *image = out_shape
            return 2 * batch * interpolation_macs(mode, *image)

        return count_flops

    mapping = {
        torch.ops.aten.upsample_bilinear2d: interpolate("bilinear"),
        torch.ops.aten.upsample_bicubic2d: interpolate("bicubic"),
        torch.ops.aten.grid_sampler_2d: interpolate("bilinear"),
        # a mean is a depthwise convolution whose weights are all alike
        torch.ops.aten.avg_pool2d: lambda _, kernel, *__, out_shape: 2 * math.prod(out_shape) * math.prod(kernel),
    }
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter, torch.no_grad():
        layer(draw(1, IN_CHANNELS, height, width))
    return int(counter.get_total_flops()) // 2


@pytest.fixture
def _fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@over(SUPPORTED)
def test_output_is_exactly_scale_times_the_input(cell: Cell) -> None:
    layer, s = cell.build(), cell.scale_factor
    for height, width in ((5, 7), (6, 4), (1, 1), (1, 3)):
        with torch.no_grad():
            y = layer(draw(2, IN_CHANNELS, height, width))
        assert y.shape == (2, OUT_CHANNELS, s * height, s * width)
        assert y.isfinite().all()


@over(SUPPORTED)
def test_gradients_to_input_and_parameters_are_right(cell: Cell) -> None:
    layer = cell.build()
    names = [name for name, _ in layer.named_parameters()]

    def run(x: Tensor, *parameters: Tensor) -> Any:
        return functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))

    inputs = (draw(1, IN_CHANNELS, 3, 2).requires_grad_(), *layer.parameters())
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)


@over(FEW)
def test_lower_precision_gives_close_numbers(cell: Cell) -> None:
    layer, x = cell.build(), draw(1, IN_CHANNELS, 5, 4)
    with torch.no_grad():
        expected = layer(x)
        for dtype, allowed in ((torch.float32, 1e-6), (torch.bfloat16, 2e-2)):
            y = cell.build(dtype)(x.to(dtype))
            assert y.dtype == dtype
            assert measure_error(y, expected) < allowed


@over(FEW)
def test_memory_formats_give_the_same_numbers(cell: Cell) -> None:
    layer, x = cell.build(torch.float32), draw(2, IN_CHANNELS, 5, 4, dtype=torch.float32)
    with torch.no_grad():
        expected = layer(x)
        layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # an overload torch leaves out
        found = layer(x.to(memory_format=torch.channels_last))
    assert measure_error(found, expected) < 1e-6


@over(FEW)
def test_images_of_a_batch_are_independent(cell: Cell) -> None:
    layer, x = cell.build(), draw(3, IN_CHANNELS, 4, 5)
    with torch.no_grad():
        expected = torch.cat([layer(x[i : i + 1]) for i in range(len(x))])
        torch.testing.assert_close(layer(x), expected, rtol=1e-10, atol=1e-10)


@over([cell for cell in SUPPORTED if cell.spec.shift_equivariant])
def test_moving_the_input_by_a_pixel_moves_the_output_by_the_scale(cell: Cell) -> None:
    assert_shift_equivariant(cell.build(), cell.scale_factor)


@over([cell for cell in SUPPORTED if cell.spec.linear])
def test_declared_linear_is_linear(cell: Cell) -> None:
    assert_linear(cell.build())


@over([cell for cell in SUPPORTED if cell.spec.macs is not None])
def test_macs_are_what_torch_counts(cell: Cell) -> None:
    assert cell.spec.macs is not None
    declared = cell.spec.macs(IN_CHANNELS, OUT_CHANNELS, cell.kernel_size, cell.scale_factor, 5, 3)
    assert type(declared) is int
    assert declared == count_macs(cell.build(), 5, 3)


@over(FEW)
def test_state_dict_round_trip(cell: Cell) -> None:
    layer, x = cell.build(), draw(1, IN_CHANNELS, 3, 4)
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other = build_upsampler(
        cell.spec.name, IN_CHANNELS, OUT_CHANNELS, cell.kernel_size, cell.scale_factor
    ).double()
    with torch.no_grad():
        assert not torch.equal(other(x), layer(x))
        other.load_state_dict(torch.load(file, weights_only=True))
        assert torch.equal(other(x), layer(x))


@over([cell for cell in ALL if cell.reason is not None])
def test_unsupported_combination_raises_its_reason(cell: Cell) -> None:
    assert cell.reason
    with pytest.raises(UnsupportedError) as caught:
        cell.build()
    assert str(caught.value) == cell.reason
    assert str(cell.kernel_size) in cell.reason


@pytest.mark.compile
@pytest.mark.usefixtures("_fresh_compiler")
@over(ONE_EACH)
def test_compiled_equals_eager(cell: Cell) -> None:
    layer, x = cell.build(), draw(1, IN_CHANNELS, 4, 5)
    with torch.no_grad():
        found = torch.compile(layer, backend="aot_eager", fullgraph=True)(x)
        torch.testing.assert_close(found, layer(x), rtol=1e-10, atol=1e-10)


@pytest.mark.compile
@pytest.mark.slow
@pytest.mark.usefixtures("_fresh_compiler")
@over(FAMILIES)
def test_inductor_equals_eager(cell: Cell) -> None:
    layer, x = cell.build(torch.float32), draw(1, IN_CHANNELS, 4, 5, dtype=torch.float32)
    with torch.no_grad():
        found = torch.compile(layer, fullgraph=True)(x)
        assert measure_error(found, layer(x)) < 1e-6


@pytest.mark.parametrize("cells", [ALL, SUPPORTED, FEW, ONE_EACH], ids=["all", "supported", "few", "one-each"])
def test_every_upsampler_is_in_the_matrix(cells: list[Cell]) -> None:
    assert {cell.spec.name for cell in cells} == set(list_upsamplers())


@pytest.mark.parametrize(
    "layer", [nn.Sequential(nn.Upsample(scale_factor=2), nn.ReLU()), nn.Hardtanh(-1, 1)], ids=["relu", "clamp"]
)
def test_a_false_claim_of_linearity_is_found(layer: nn.Module) -> None:
    with pytest.raises(AssertionError, match="not close"):
        assert_linear(layer)


def test_a_false_claim_of_shift_equivariance_is_found() -> None:
    class Ramp(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * torch.arange(x.shape[-1])

    with pytest.raises(AssertionError, match="not close"):
        assert_shift_equivariant(Ramp(), 1)


def test_the_counter_sees_convolution_and_interpolation() -> None:
    layer = nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(IN_CHANNELS, 1, 1)).double()
    convolution, interpolation = IN_CHANNELS * 10 * 6, 4 * IN_CHANNELS * 10 * 6
    assert count_macs(layer, 5, 3) == convolution + interpolation
