"""Rounding error: the definition, what each type costs, and what goes wrong."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.errors import UsageError
from deconvbench.measure.numerics import measure_numerics, numerical_error
from deconvbench.records.record import NumericsRecord, decode_record, encode_record
from deconvbench.upsamplers import register_upsampler, registry
from tests.measure.artifacts.local_layers import resize, resize_conv


class _Offset(nn.Module):
    """Exact but for a relative error of 1e-3 in anything other than float64."""

    def forward(self, x: Tensor) -> Tensor:
        y = functional.interpolate(x, scale_factor=2)
        return y if x.dtype == torch.float64 else y * 1.001


class _Overflowing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(x, scale_factor=2) * 60000 * 60000


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    register_upsampler("local_nearest", objection=lambda k, _s: "even kernel" if k == 4 else None)(
        lambda i, o, k, s: resize_conv((i, o), k or 1, s)
    )
    register_upsampler("local_copy", has_kernel=False)(lambda _i, _o, _k, s: resize("nearest", s))
    register_upsampler("local_offset", has_kernel=False)(lambda *_: _Offset())
    register_upsampler("local_overflowing", has_kernel=False)(lambda *_: _Overflowing())
    register_upsampler("local_zero", has_kernel=False)(
        lambda *_: nn.Sequential(resize("nearest", 2), nn.Threshold(99, 0))
    )
    register_upsampler("local_wrong_size", has_kernel=False)(lambda *_: resize("nearest", 3))


def _measure(name: str, dtype: str = "float32", kernel_size: int | None = None) -> NumericsRecord:
    return measure_numerics(name, kernel_size, 2, 3, 3, dtype, "cpu")


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 999), st.floats(1e-6, 1e6))
def test_error_is_a_ratio_of_norms(seed: int, gain: float) -> None:
    exact, noise = torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    expected = math.sqrt(float((noise**2).sum())) / math.sqrt(float((exact**2).sum()))
    assert numerical_error(gain * (exact + noise), gain * exact) == pytest.approx(expected, rel=1e-9)
    assert numerical_error(exact, exact) == 0


def test_error_against_zeros_is_nan() -> None:
    assert math.isnan(numerical_error(torch.ones(2), torch.zeros(2, dtype=torch.float64)))


def test_output_is_not_rounded_to_its_own_type_before_the_comparison() -> None:
    exact = torch.tensor([1 + 2.0**-10], dtype=torch.float64)
    assert numerical_error(exact.bfloat16(), exact) == pytest.approx(2.0**-10, rel=1e-2)


@pytest.mark.parametrize(
    ("dtype", "unit"),
    [
        pytest.param("float32", 2.0**-24, id="float32"),
        pytest.param("bfloat16", 2.0**-9, id="bfloat16"),
        pytest.param("float16", 2.0**-12, id="float16"),
    ],
)
def test_each_type_costs_its_rounding_unit(dtype: str, unit: float) -> None:
    record = measure_numerics("local_nearest", 3, 2, 32, 16, dtype, "cpu")
    assert record.status == "ok"
    assert record.numerical_error is not None
    assert unit / 10 < record.numerical_error < 30 * unit


def test_float64_has_no_error() -> None:
    assert _measure("local_nearest", "float64", 3).numerical_error == 0


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_rounding_of_input_and_weights_does_not_count(dtype: str) -> None:
    assert _measure("local_copy", dtype).numerical_error == 0


def test_inexact_form_is_seen() -> None:
    assert _measure("local_offset").numerical_error == pytest.approx(1e-3, rel=1e-3)


def test_record_describes_the_layer_and_survives_the_journal() -> None:
    before = torch.get_rng_state()
    record = measure_numerics("local_nearest", 3, 2, 4, 5, "bfloat16", "cpu")
    assert torch.equal(before, torch.get_rng_state())
    assert record.key == ("numerics", "local_nearest", 3, 2, 4, 5, "bfloat16", "cpu")
    assert decode_record(encode_record(record), "here") == record
    assert measure_numerics("local_nearest", 3, 2, 4, 5, "bfloat16", "cpu") == record


def test_layer_that_returns_zeros_has_no_error_to_tell() -> None:
    record = _measure("local_zero")
    assert (record.status, record.numerical_error) == ("ok", None)


def test_what_cannot_be_built_is_unsupported() -> None:
    record = _measure("local_nearest", kernel_size=4)
    assert (record.status, record.message, record.numerical_error) == ("unsupported", "even kernel", None)


@pytest.mark.parametrize(
    ("name", "dtype", "message"),
    [
        pytest.param("local_overflowing", "float16", "output in float16 is not finite", id="overflow"),
        pytest.param("local_wrong_size", "float32", "scale_factor 2 asks for", id="wrong_size"),
        pytest.param("local_missing", "float32", "'local_missing' is unknown", id="unknown_name"),
        pytest.param("local_copy", "int8", "dtype: 'int8' is not one of", id="unknown_dtype"),
    ],
)
def test_what_goes_wrong_reaches_the_caller(name: str, dtype: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _measure(name, dtype)


def test_unknown_device_is_an_error() -> None:
    with pytest.raises(UsageError, match="device: 'abacus'"):
        measure_numerics("local_copy", None, 2, 3, 3, "float32", "abacus")


@pytest.mark.cuda
def test_accelerator_is_compared_with_the_cpu() -> None:
    error = measure_numerics("local_nearest", 3, 2, 32, 16, "float32", "cuda").numerical_error
    assert error is not None
    assert 0 < error < 2.0**-9
