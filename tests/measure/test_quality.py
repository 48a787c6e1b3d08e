"""Quality records: which metrics an upsampler gets, seeds, and what goes wrong."""

import functools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.columns import ARTIFACT_COLUMNS
from deconvbench.errors import UnsupportedError, UsageError
from deconvbench.measure.artifacts import (
    border_error,
    image_rejection_db,
    impulse_response,
    noise_gain_cv,
    overlap_cv,
    phase_ripple,
)
from deconvbench.measure.layers import build_seeded_layer
from deconvbench.measure.quality import measure_quality
from deconvbench.record import decode_record, encode_record
from deconvbench.upsamplers import register_upsampler, registry
from tests.measure.artifacts.local_layers import conv_resize, resize, resize_conv, transposed


class _Squaring(nn.Module):
    """Not linear, but shift-equivariant."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(x, scale_factor=2).square()


class _Cutting(nn.Module):
    """Zero where the input is constant, except at its border."""

    def forward(self, x: Tensor) -> Tensor:
        y = functional.interpolate(functional.pad(x, (1, 0, 1, 0)).diff(dim=-1)[..., 1:, :], scale_factor=2)
        return y + 0 * functional.interpolate(x, scale_factor=2)


def _fail(in_channels: int, out_channels: int, kernel_size: int | None, scale_factor: int) -> nn.Module:
    raise ZeroDivisionError(f"{in_channels} {out_channels} {kernel_size} {scale_factor}")


def _refuse(in_channels: int, out_channels: int, kernel_size: int | None, scale_factor: int) -> nn.Module:
    raise UnsupportedError(f"{in_channels} channels are not a multiple of {scale_factor}")


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    register_declared = functools.partial(register_upsampler, linear=True, shift_equivariant=True)
    register_declared("local_transposed")(lambda i, o, k, s: transposed((i, o), k or 1, s))
    register_declared("local_nearest")(lambda i, o, k, s: resize_conv((i, o), k or 1, s))
    register_declared("local_wide")(lambda i, o, k, s: conv_resize((i, o), k or 1, s))
    register_declared("local_plain", has_kernel=False)(lambda _i, _o, _k, s: resize("bilinear", s))
    register_upsampler("local_squaring", shift_equivariant=True)(lambda *_: _Squaring())
    register_upsampler("local_linear_only", linear=True)(lambda i, o, k, s: resize_conv((i, o), k or 1, s))
    register_upsampler("local_undeclared")(lambda i, o, k, s: resize_conv((i, o), k or 1, s))
    register_declared("local_liar")(lambda *_: _Squaring())
    register_declared("local_cutting")(lambda *_: _Cutting())
    register_declared("local_wrong_size")(lambda *_: resize("nearest", 3))
    register_upsampler("local_wrong_size_undeclared", shift_equivariant=True)(lambda *_: resize("nearest", 3))
    register_upsampler("local_objecting", objection=lambda k, s: f"k{k} at s{s} has no padding")(_fail)
    register_declared("local_failing")(_fail)
    register_declared("local_refusing")(_refuse)


def test_metrics_are_those_of_the_seeded_layer() -> None:
    record = measure_quality("local_transposed", 3, 2, 5, channels=4)
    layer = build_seeded_layer("local_transposed", 4, 4, 3, 2, 5)
    taps = impulse_response(layer, 4, 2)
    with torch.no_grad():
        constant = layer.double()(torch.ones(1, 4, 12, 12, dtype=torch.float64))
    assert (record.status, record.message) == ("ok", "")
    assert (record.upsampler, record.kernel_size, record.scale_factor, record.seed, record.channels) == (
        *("local_transposed", 3, 2),
        *(5, 4),
    )
    assert record.metrics == {
        "overlap_cv": overlap_cv(layer, 4, 2),
        "phase_ripple": phase_ripple(taps, 2),
        "noise_gain_cv": noise_gain_cv(taps, 2),
        "image_rejection_db": image_rejection_db(taps, 2),
        "border_error": border_error(constant, 2),
    }
    assert tuple(record.metrics) == ARTIFACT_COLUMNS


def test_record_survives_the_journal() -> None:
    record = measure_quality("local_nearest", 3, 2, 0)
    assert record.channels == 16
    assert decode_record(encode_record(record), "here") == record


def test_seed_decides_and_global_state_is_untouched() -> None:
    before = torch.get_rng_state()
    first, again, other = (measure_quality("local_nearest", 3, 2, seed, 4).metrics for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert first == again
    assert first["border_error"] != other["border_error"]


def test_upsampler_without_kernel() -> None:
    record = measure_quality("local_plain", None, 2, 0, 2)
    assert record.kernel_size is None
    assert record.metrics["border_error"] == pytest.approx(0, abs=1e-12)
    assert record.metrics["image_rejection_db"] == pytest.approx(-48.02, abs=0.01)


def test_map_grows_until_the_border_leaves_the_centre() -> None:
    """With kernel 17, reach 8, an input of 12 pixels has no interior: its centre must still be the clean gain."""
    layer = build_seeded_layer("local_wide", 3, 3, 17, 2, 0).double()
    with torch.no_grad():
        constant = layer(torch.ones(1, 3, 18, 18, dtype=torch.float64))
    assert measure_quality("local_wide", 17, 2, 0, 3).metrics["border_error"] == pytest.approx(
        border_error(constant, 2), rel=1e-12
    )


@pytest.mark.parametrize(
    ("name", "measured"),
    [
        pytest.param("local_nearest", set(ARTIFACT_COLUMNS), id="linear_and_equivariant"),
        pytest.param("local_squaring", {"border_error"}, id="equivariant_only"),
        pytest.param("local_linear_only", set(), id="linear_only"),
        pytest.param("local_undeclared", set(), id="nothing_declared"),
    ],
)
def test_metrics_that_need_more_than_is_declared_are_none(name: str, measured: set[str]) -> None:
    record = measure_quality(name, 3, 2, 0, 2)
    assert record.status == "ok"
    assert set(record.metrics) == set(ARTIFACT_COLUMNS)
    assert {metric for metric, value in record.metrics.items() if value is not None} == measured


def test_undefined_metric_is_none() -> None:
    metrics = measure_quality("local_cutting", 3, 2, 0, 2).metrics
    undefined = {metric for metric, value in metrics.items() if value is None}
    assert undefined == {"overlap_cv", "phase_ripple", "border_error"}
    assert not any(math.isnan(value) for value in metrics.values() if value is not None)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("local_objecting", "k4 at s2 has no padding", id="objection"),
        pytest.param("local_refusing", "3 channels are not a multiple of 2", id="factory"),
    ],
)
def test_what_cannot_be_built_is_unsupported(name: str, message: str) -> None:
    record = measure_quality(name, 4, 2, 0, 3)
    assert (record.status, record.message, record.metrics) == ("unsupported", message, {})


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        pytest.param("local_failing", ZeroDivisionError, "3 3 3 2", id="broken_factory"),
        pytest.param("local_wrong_size", UsageError, "scale_factor 2 asks for", id="wrong_size"),
        pytest.param(
            "local_wrong_size_undeclared", UsageError, "scale_factor 2 asks for", id="wrong_size_nonlinear"
        ),
        pytest.param("local_liar", UsageError, "not linear and shift-equivariant", id="false_declaration"),
        pytest.param("local_missing", UsageError, "'local_missing' is unknown", id="unknown"),
    ],
)
def test_what_goes_wrong_reaches_the_caller(name: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        measure_quality(name, 3, 2, 0, 3)
