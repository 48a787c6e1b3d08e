"""Quality records: which metrics an upsampler gets, seeds, and what goes wrong."""

import functools
import math
from statistics import fmean

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.errors import UnsupportedError, UsageError
from deconvbench.measure import quality
from deconvbench.measure.artifacts import (
    border_error,
    checkerboard,
    image_rejection_db,
    impulse_response,
    noise_gain_cv,
    overlap_cv,
    phase_ripple,
)
from deconvbench.measure.layers import build_seeded_layer
from deconvbench.measure.quality import measure_quality
from deconvbench.records.record import decode_record, encode_record
from deconvbench.records.schema import ARTIFACT_COLUMNS
from deconvbench.upsamplers import register_upsampler, registry
from tests.measure.artifacts.local_layers import conv_resize, resize, resize_conv, transposed

# what every layer that upsamples has, whatever it declares
ALWAYS = {"flat_field_ripple", "checkerboard"}


class _Squaring(nn.Module):
    """Not linear, but shift-equivariant."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(x, scale_factor=2).square()


class _Cutting(nn.Module):
    """Zero where the input is constant, except at its border."""

    def forward(self, x: Tensor) -> Tensor:
        y = functional.interpolate(functional.pad(x, (1, 0, 1, 0)).diff(dim=-1)[..., 1:, :], scale_factor=2)
        return y + 0 * functional.interpolate(x, scale_factor=2)


class _Reaching(nn.Module):
    """Not linear; zero padding reaches so many input pixels in."""

    def __init__(self, reach: int) -> None:
        super().__init__()
        self.reach = reach

    def forward(self, x: Tensor) -> Tensor:
        side, padding = 2 * self.reach + 1, self.reach
        tent = 1 - torch.arange(-padding, padding + 1, dtype=x.dtype).abs() / (padding + 1)
        kernel = torch.outer(tent, tent).expand(x.shape[1], 1, side, side)
        blurred = functional.conv2d(x, kernel, padding=padding, groups=x.shape[1])
        return functional.interpolate(blurred.abs(), scale_factor=2)


class _Silent(nn.Module):
    """Nothing comes through."""

    def forward(self, x: Tensor) -> Tensor:
        return 0 * functional.interpolate(x, scale_factor=2)


class _Board(nn.Module):
    """A plain checkerboard of ±gain·a on a grey of gain, whatever the input is."""

    block: Tensor

    def __init__(self, amplitude: float, gain: float, s: int = 2) -> None:
        super().__init__()
        board = torch.arange(s)[:, None].add(torch.arange(s)).remainder(2).mul(2).sub(1).double()
        self.register_buffer("block", gain * (1 + amplitude * board))

    def forward(self, x: Tensor) -> Tensor:
        return self.block.repeat(*x.shape)


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
    for reach in (4, 9, 22, 30):
        register_upsampler(f"local_reaching_{reach}", shift_equivariant=True)(lambda *_, r=reach: _Reaching(r))
    register_upsampler("local_silent", shift_equivariant=True)(lambda *_: _Silent())
    for gain in (1, 50):
        register_upsampler(f"local_board_{gain}", shift_equivariant=True)(lambda *_, g=gain: _Board(0.25, g))
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
        "flat_field_ripple": record.metrics["flat_field_ripple"],
        "checkerboard": record.metrics["checkerboard"],
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
        pytest.param("local_squaring", {"border_error", *ALWAYS}, id="equivariant_only"),
        pytest.param("local_linear_only", ALWAYS, id="linear_only"),
        pytest.param("local_undeclared", ALWAYS, id="nothing_declared"),
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
    assert undefined == {"overlap_cv", "phase_ripple", "border_error", "flat_field_ripple"}
    assert not any(math.isnan(value) for value in metrics.values() if value is not None)


def _collect(name: str, metric: str, kernel_size: int | None = 3, scale_factor: int = 2) -> list[float]:
    values = [measure_quality(name, kernel_size, scale_factor, seed, 8).metrics[metric] for seed in range(6)]
    assert all(value is not None for value in values)
    return [value for value in values if value is not None]


@pytest.mark.parametrize("gain", [1, 50])
def test_both_amplitudes_are_ratios_to_the_output(gain: int) -> None:
    metrics = measure_quality(f"local_board_{gain}", 3, 2, 0, 2).metrics
    expected = 0.25 / math.sqrt(1 + 0.25**2)
    assert metrics["flat_field_ripple"] == pytest.approx(expected, rel=1e-9)
    assert metrics["checkerboard"] == pytest.approx(expected, rel=1e-9)


def test_checkerboard_is_that_of_the_answer_to_features() -> None:
    source = torch.Generator().manual_seed(3)
    features = quality._draw_features(6, 64, source)
    assert features.mean((-2, -1)).flatten().tolist() == pytest.approx([1.0] * 6)
    assert features.std((-2, -1), correction=0).flatten().tolist() == pytest.approx([1.0] * 6)
    spectrum = torch.fft.rfft2(features).abs().square().mean((0, 1))
    # amplitude falls as 1/f, so power falls a hundredfold over a decade
    low, high = (spectrum[0, a:b].mean() for a, b in ((2, 4), (20, 31)))
    assert math.log10(float(low / high)) == pytest.approx(2 * math.log10(25 / 2.8), abs=0.4)
    layer = build_seeded_layer("local_transposed", 6, 6, 3, 2, 0).double()
    with torch.no_grad():
        y = layer(features)[..., 8:-8, 8:-8]
    found = checkerboard(y, 2).amplitude / float(y.square().mean().sqrt())
    assert found == pytest.approx(fmean(_collect("local_transposed", "checkerboard")), abs=0.15)


@pytest.mark.parametrize(("kernel_size", "scale_factor"), [(3, 2), (4, 2), (5, 3)])
def test_layers_without_equal_gains_show_it(kernel_size: int, scale_factor: int) -> None:
    ripples = _collect("local_transposed", "flat_field_ripple", kernel_size, scale_factor)
    # the bias is part of the output, and no phase of it differs
    assert fmean(ripples) == pytest.approx(math.sqrt(1 - 1 / scale_factor**2), abs=0.12)
    assert min(_collect("local_transposed", "checkerboard", kernel_size, scale_factor)) > 0.3


@pytest.mark.parametrize("name", ["local_nearest", "local_squaring", "local_undeclared"])
def test_what_repeats_pixels_is_clean(name: str) -> None:
    assert _collect(name, "flat_field_ripple") == pytest.approx([0.0] * 6, abs=1e-12)
    assert max(_collect(name, "checkerboard")) < 0.02


def test_an_irregular_pattern_has_little_that_lines_up() -> None:
    """Holes at random places are most of the output of max-unpooling, and hardly any of its phase means."""
    assert 0.01 < fmean(_collect("max_unpool_conv", "flat_field_ripple")) < 0.15
    assert abs(fmean(_collect("max_unpool_conv", "checkerboard"))) < 0.1


@pytest.mark.parametrize("name", ["carafe", "dysample"])
def test_content_aware_layers_keep_a_flat_field(name: str) -> None:
    metrics = measure_quality(name, None, 2, 0, 8).metrics
    assert metrics["phase_ripple"] is None
    assert metrics["flat_field_ripple"] == pytest.approx(0, abs=1e-12)
    assert metrics["checkerboard"] is not None
    assert abs(metrics["checkerboard"]) < 0.1


@pytest.mark.parametrize("reach", [4, 9, 22])
def test_padding_that_reaches_far_in_is_left_out(reach: int) -> None:
    metrics = measure_quality(f"local_reaching_{reach}", 3, 2, 0, 2).metrics
    assert metrics["flat_field_ripple"] == pytest.approx(0, abs=1e-9)
    assert metrics["border_error"] is not None
    assert metrics["border_error"] > 0.1


def test_what_breaks_its_word_on_a_flat_field_is_told() -> None:
    with pytest.raises(UsageError, match="declares shift_equivariant=True, but"):
        measure_quality("local_reaching_30", 3, 2, 0, 2)


def test_nothing_that_comes_through_has_no_ratio() -> None:
    assert set(measure_quality("local_silent", 3, 2, 0, 2).metrics.values()) == {None}


@pytest.mark.parametrize(
    ("scale_factor", "expected"),
    [
        pytest.param(1, {"flat_field_ripple": False, "checkerboard": False}, id="nothing to upsample"),
        pytest.param(5, {"flat_field_ripple": True, "checkerboard": True}, id="large patches"),
        pytest.param(9, {"flat_field_ripple": True, "checkerboard": False}, id="beyond the score"),
    ],
)
def test_scales_that_have_these_metrics(scale_factor: int, expected: dict[str, bool]) -> None:
    metrics = measure_quality("local_nearest", 3, scale_factor, 0, 2).metrics
    assert {name: metrics[name] is not None for name in expected} == expected


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
