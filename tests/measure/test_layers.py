"""Seeded layers, their copies, and the check of what comes back from them."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deconvbench.errors import UnsupportedError, UsageError
from deconvbench.measure.layers import build_seeded_layer, check_declarations, copy_layer, count_macs, run_layer
from deconvbench.upsamplers import register_upsampler, registry
from tests.builders import make_case


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))

    def object_to_k4(kernel_size: int | None, scale_factor: int) -> str | None:
        return f"no kernel {kernel_size} at {scale_factor}" if kernel_size == 4 else None

    @register_upsampler("local_nearest", objection=object_to_k4)
    def build(in_channels: int, out_channels: int, kernel_size: int | None, scale_factor: int) -> nn.Module:
        assert kernel_size is not None
        return nn.Sequential(
            nn.Upsample(scale_factor=scale_factor),
            nn.Dropout(),
            nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2),
        )


def _weights(seed: int) -> Tensor:
    return torch.cat([p.flatten() for p in build_seeded_layer("local_nearest", 3, 2, 3, 2, seed).parameters()])


def test_seed_alone_decides_the_weights() -> None:
    first = _weights(1)
    torch.rand(5)
    assert torch.equal(first, _weights(1))
    assert not torch.equal(first, _weights(2))


def test_global_random_state_is_untouched() -> None:
    before = torch.get_rng_state()
    _weights(3)
    assert torch.equal(before, torch.get_rng_state())


def test_built_layer_is_in_evaluation_mode() -> None:
    assert not any(module.training for module in build_seeded_layer("local_nearest", 1, 1, 3, 2, 0).modules())


def test_objection_and_unknown_name_propagate() -> None:
    with pytest.raises(UnsupportedError, match="no kernel 4 at 2"):
        build_seeded_layer("local_nearest", 1, 1, 4, 2, 0)
    with pytest.raises(UsageError, match="'nowhere' is unknown"):
        build_seeded_layer("nowhere", 1, 1, 4, 2, 0)


def test_copy_leaves_the_original_alone() -> None:
    layer = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)).train()
    twin = copy_layer(layer, torch.float64)
    assert {p.dtype for p in twin.parameters()} == {torch.float64}
    assert twin[1].num_batches_tracked.dtype == torch.int64  # type: ignore[index] # a Sequential, seen as Module
    assert not twin.training
    assert layer.training
    assert {p.dtype for p in layer.parameters()} == {torch.float32}
    assert copy_layer(layer, torch.float32, "meta").get_parameter("0.weight").is_meta


def test_run_builds_no_graph() -> None:
    layer = nn.ConvTranspose2d(1, 2, 2, stride=2)
    y = run_layer(layer, torch.ones(3, 1, 4, 5), 2)
    assert y.shape == (3, 2, 8, 10)
    assert not y.requires_grad


class _Returns(nn.Module):
    def __init__(self, value: object) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor) -> object:
        del x
        return self.value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param((torch.ones(1, 1, 4, 4),), "returned a tuple, not a tensor", id="tuple"),
        pytest.param(
            torch.ones(1, 1, 4, 5), r"output of shape \(1, 1, 4, 5\).*asks for \(1, C_out, 4, 4\)", id="wide"
        ),
        pytest.param(torch.ones(2, 1, 4, 4), r"output of shape \(2, 1, 4, 4\)", id="batch"),
        pytest.param(torch.ones(1, 4, 4), r"output of shape \(1, 4, 4\)", id="axes"),
        pytest.param(torch.full((1, 1, 4, 4), torch.nan), "output in float32 is not finite", id="nan"),
        pytest.param(torch.full((1, 1, 4, 4), torch.inf).half(), "output in float16 is not finite", id="inf"),
    ],
)
def test_wrong_output_is_an_error(value: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run_layer(_Returns(value), torch.ones(1, 1, 2, 2), 2)


def test_a_layer_that_changes_its_input_is_an_error() -> None:
    layer = nn.Sequential(nn.ReLU(inplace=True), nn.Upsample(scale_factor=2))
    with pytest.raises(UsageError, match="changes its input in place; let it work on a copy"):
        run_layer(layer, torch.randn(1, 1, 2, 2), 2)


def test_a_layer_that_draws_random_numbers_is_an_error_and_leaves_no_trace() -> None:
    layer = nn.Sequential(nn.Upsample(scale_factor=2), nn.Dropout())
    before = torch.get_rng_state()
    with pytest.raises(UsageError, match="draws random numbers in evaluation mode"):
        run_layer(layer.train(), torch.ones(1, 1, 2, 2), 2)
    assert torch.equal(torch.get_rng_state(), before)
    run_layer(layer.eval(), torch.ones(1, 1, 2, 2), 2)


class _Does(nn.Module):
    """Upsample by two, then do something."""

    def __init__(self, action: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.action = action

    def forward(self, x: Tensor) -> Tensor:
        return self.action(nn.functional.interpolate(x, scale_factor=2))


def _pool(y: Tensor) -> Tensor:
    """Average blocks of four output pixels: two input pixels, so moving by one is another matter."""
    return nn.functional.interpolate(nn.functional.avg_pool2d(y, 4), scale_factor=4)


LINEAR, EQUIVARIANT = "declares linear=True, but", "declares shift_equivariant=True, but"
BEHAVIOURS = [
    pytest.param(lambda y: 3 * y + 1, set(), id="linear_and_equivariant"),
    pytest.param(torch.square, {LINEAR}, id="nonlinear"),
    pytest.param(lambda y: y + y.mean((2, 3), keepdim=True), set(), id="global"),
    pytest.param(_pool, {EQUIVARIANT}, id="strided"),
    pytest.param(lambda y: y * torch.arange(y.shape[-1]).square(), {EQUIVARIANT}, id="position"),
    pytest.param(lambda y: _pool(y).abs(), {LINEAR, EQUIVARIANT}, id="neither"),
    pytest.param(nn.Conv2d(2, 2, 7, padding=3), set(), id="padded"),
    pytest.param(torch.zeros_like, set(), id="nothing"),
]


@pytest.mark.parametrize(("action", "broken"), BEHAVIOURS)
@pytest.mark.parametrize("reach", [2, 5])
def test_what_a_layer_declares_is_checked(
    action: Callable[[Tensor], Tensor], broken: set[str], reach: int
) -> None:
    layer = _Does(action)
    check_declarations(layer, 2, 2, reach, linear=False, shift_equivariant=False)
    for word, flags in ((LINEAR, (True, False)), (EQUIVARIANT, (False, True))):
        expected = pytest.raises(UsageError, match=word) if word in broken else contextlib.nullcontext()
        with expected:
            check_declarations(layer, 2, 2, reach, linear=flags[0], shift_equivariant=flags[1])


def test_what_is_not_declared_is_not_looked_at() -> None:
    check_declarations(_Returns("nothing"), 2, 2, 5, linear=False, shift_equivariant=False)


def test_declarations_are_checked_where_the_default_device_is_another() -> None:
    layer = nn.ConvTranspose2d(2, 2, 4, 2, 1)
    with torch.device("meta"):
        check_declarations(layer, 2, 2, 3, linear=True, shift_equivariant=True)


def test_macs_are_those_of_the_whole_batch() -> None:
    case = make_case(batch=3)
    assert count_macs(case) == 3 * count_macs(replace(case, batch=1)) == 3 * 16 * 16 * 9 * 4 * 2


def test_an_upsampler_without_a_formula_is_counted() -> None:
    @register_upsampler("uncounted")
    def build(in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> nn.Module:
        conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
        return nn.Sequential(nn.Upsample(scale_factor=scale_factor), conv)

    case = make_case(batch=2)
    assert count_macs(replace(case, upsampler="uncounted")) == count_macs(case)


@pytest.mark.parametrize("count", [1.5, -1, "12", None])
def test_a_formula_that_gives_no_whole_number_is_an_error(count: Any) -> None:
    register_upsampler("miscounted", macs=lambda *_: count)(nn.Identity)
    with pytest.raises(UsageError, match=f"'miscounted': macs gave {count!r}, not a whole number of at least 0"):
        count_macs(make_case(upsampler="miscounted"))
