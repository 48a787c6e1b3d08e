"""All metrics of a layer of one's own: the same numbers as from each function, and as in the tables."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.errors import UsageError
from deconvbench.measure.artifacts import (
    border_error,
    effective_ripple,
    image_rejection_db,
    impulse_response,
    noise_gain_cv,
    overlap_cv,
    phase_ripple,
)
from deconvbench.measure.layer_metrics import measure_layer
from deconvbench.measure.layers import build_seeded_layer
from deconvbench.measure.quality import measure_quality
from deconvbench.records.metrics import METRICS
from deconvbench.upsamplers import get_upsampler
from tests.measure.artifacts.local_layers import resize_conv, seed_weights, transposed

TAPS = {"overlap_cv", "phase_ripple", "noise_gain_cv", "image_rejection_db"}
ALL = [metric.name for metric in METRICS.values() if metric.group == "artifact"]


class _Cropping(nn.Module):
    """A layer whose output is cut by so many pixels on each side."""

    def __init__(self, layer: nn.Module, *cut: int) -> None:
        super().__init__()
        self.layer = layer
        self.cut = cut

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(self.layer(x), [-number for number in self.cut])


class _Switching(nn.Module):
    """Neither linear nor shift-equivariant: the left half is turned about."""

    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[-1] // 2
        y = torch.cat([x[..., :half].abs(), -x[..., half:]], dim=-1)
        return functional.interpolate(y, scale_factor=2)


def _make_layer(seed: int = 0) -> nn.Module:
    return seed_weights(nn.ConvTranspose2d(4, 6, 3, 2, 1, 1), seed, mean=0.1)


def test_each_metric_is_that_of_its_function() -> None:
    layer = _make_layer()
    found = measure_layer(layer, 4, 2)
    taps = impulse_response(layer, 4, 2)
    assert list(found.metrics) == ALL
    assert found["overlap_cv"] == pytest.approx(overlap_cv(layer, 4, 2), rel=1e-12)
    assert found["phase_ripple"] == pytest.approx(phase_ripple(taps, 2), rel=1e-12)
    assert found["noise_gain_cv"] == pytest.approx(noise_gain_cv(taps, 2), rel=1e-12)
    assert found["image_rejection_db"] == pytest.approx(image_rejection_db(taps, 2), rel=1e-12)
    with torch.no_grad():
        answer = layer.double()(torch.ones(1, 4, 12, 12, dtype=torch.float64))
    assert found["border_error"] == pytest.approx(border_error(answer, 2), rel=1e-12)
    assert found.is_linear
    assert found.is_shift_equivariant
    assert found.excess == (0, 0)


@pytest.mark.parametrize("name", ["transposed", "subpixel_icnr", "conv_bilinear", "carafe", "max_unpool_conv"])
def test_the_tables_have_the_same_numbers(name: str) -> None:
    kernel = 3 if get_upsampler(name).has_kernel else None
    expected = measure_quality(name, kernel, 2, 3, channels=8).metrics
    found = measure_layer(build_seeded_layer(name, 8, 8, kernel, 2, 3), 8, 2, seed=3).metrics
    assert list(found) == list(expected)
    for key, value in expected.items():
        assert found[key] == (None if value is None else pytest.approx(value, rel=1e-9, abs=1e-12)), key


def test_the_layer_is_left_alone() -> None:
    layer = nn.Sequential(_make_layer(), nn.BatchNorm2d(6)).train()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    state = torch.get_rng_state()
    measure_layer(layer, 4, 2)
    assert layer.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


@pytest.mark.parametrize(
    ("layer", "excess"),
    [
        pytest.param(nn.ConvTranspose2d(4, 6, 3, stride=2), (1, 1), id="default-padding"),
        pytest.param(nn.ConvTranspose2d(4, 6, 4, stride=2, padding=3), (-4, -4), id="cropped"),
        pytest.param(nn.ConvTranspose2d(4, 6, (3, 4), stride=2, padding=1), (-1, 0), id="oblong"),
        pytest.param(nn.Sequential(nn.Conv2d(4, 6, 3), nn.Upsample(scale_factor=2)), (-4, -4), id="valid"),
        pytest.param(_Cropping(resize_conv((4, 6), 3, 2), 1, 2, 3, 0), (-3, -3), id="uneven"),
    ],
)
def test_layers_that_crop_or_pad_have_the_metrics_of_their_inside(
    layer: nn.Module, excess: tuple[int, int]
) -> None:
    seed_weights(layer, 0, mean=0.1)
    taps = impulse_response(layer, 4, 2)
    found = measure_layer(layer, 4, 2)
    assert found.excess == excess
    assert found["border_error"] is None
    assert found["phase_ripple"] == pytest.approx(phase_ripple(taps, 2), rel=1e-9, abs=1e-12)
    assert found["noise_gain_cv"] == pytest.approx(noise_gain_cv(taps, 2), rel=1e-9, abs=1e-9)
    assert found["overlap_cv"] == pytest.approx(overlap_cv(layer, 4, 2), rel=1e-9, abs=1e-9)
    assert "its border is not measured" in str(found)


@pytest.mark.parametrize("cut", [(1, 0, 0, 1), (1, 1, 1, 1), (2, 3, 0, 5), (4, 4, 4, 4), (7, 0, 1, 2)], ids=str)
@pytest.mark.parametrize("s", [2, 3])
def test_what_is_cut_off_does_not_show_in_the_inside(s: int, cut: tuple[int, ...]) -> None:
    whole = seed_weights(nn.ConvTranspose2d(2, 2, 2 * s, s), 0)
    found, other = measure_layer(_Cropping(whole, *cut), 2, s), measure_layer(whole, 2, s)
    for name in ("phase_ripple", "noise_gain_cv", "flat_field_ripple"):
        assert found[name] == pytest.approx(other[name], rel=1e-9, abs=1e-9), name


def test_what_is_not_linear_has_what_applies() -> None:
    found = measure_layer(nn.Sequential(_make_layer(), nn.Softplus()), 4, 2)
    assert {name for name in ALL if found[name] is None} == TAPS
    assert (found.is_linear, found.is_shift_equivariant) == (False, True)
    assert found["flat_field_ripple"] is not None
    assert found["flat_field_ripple"] > 0.01
    assert "these do not apply: overlap CV, phase ripple, noise gain CV, image rejection" in str(found)


def test_a_crop_and_a_nonlinearity_go_together() -> None:
    layer = seed_weights(nn.ConvTranspose2d(4, 4, 3, stride=3, padding=2), 0)
    found, plain = measure_layer(nn.Sequential(layer, nn.Sigmoid()), 4, 3), measure_layer(layer, 4, 3)
    assert found.excess == plain.excess == (-4, -4)
    assert (found.is_linear, plain.is_linear) == (False, True)
    assert found.is_shift_equivariant
    assert found["flat_field_ripple"] is not None
    assert found["flat_field_ripple"] > 0.01


def test_what_moves_with_nothing_has_no_border_either() -> None:
    found = measure_layer(_Switching(), 4, 2)
    assert {name for name in ALL if found[name] is None} == {*TAPS, "border_error"}
    assert (found.is_linear, found.is_shift_equivariant) == (False, False)
    assert str(found).startswith("layer of scale 2 with 4 input channels: not shift-equivariant\n")


def test_the_mean_input_gives_the_effective_ripple() -> None:
    """Two inputs whose ripples cancel: every pair of channels ripples, the layer does not."""
    layer = nn.ConvTranspose2d(2, 1, 2, stride=2, bias=False)
    with torch.no_grad():
        layer.weight[0, 0] = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        layer.weight[1, 0] = torch.tensor([[4.0, 3.0], [2.0, 1.0]])
    found = measure_layer(layer, 2, 2, mean_input=[1.0, 1.0])
    assert found["effective_ripple"] == pytest.approx(0, abs=1e-12)
    assert found["phase_ripple"] == pytest.approx(1.25 / 7.5)
    other = measure_layer(layer, 2, 2, mean_input=[1.0, 0.0])
    assert other["effective_ripple"] == effective_ripple(impulse_response(layer, 2, 2), 2, [1.0, 0.0])
    assert other["effective_ripple"] == pytest.approx(1.25 / 7.5)
    assert measure_layer(nn.Sequential(layer, nn.ReLU()), 2, 2, mean_input=[1, 1])["effective_ripple"] is None
    with pytest.raises(UsageError, match="metric: 'effective_ripple' is not one of overlap_cv"):
        measure_layer(layer, 2, 2)["effective_ripple"]


def test_it_reads_in_words() -> None:
    layer = transposed((4, 4), 3, 2)
    lines = str(measure_layer(layer, 4, 2, mean_input=torch.ones(4))).splitlines()
    assert lines[0] == "layer of scale 2 with 4 input channels: linear, shift-equivariant"
    assert lines[1] == (
        "overlap CV              0.484  how unevenly the kernel visits the output pixels, whatever its weights;"
        " 0 is best"
    )
    assert any(line.startswith("image rejection") and " dB  " in line for line in lines)
    assert lines[-1].startswith("effective ripple")
    assert str(measure_layer(layer, 4, 2)).splitlines()[-1].startswith("note: phase ripple is for weights as")


def test_a_scale_of_one_has_no_phases() -> None:
    found = measure_layer(nn.Conv2d(2, 2, 3, padding=1), 2, 1)
    assert found["phase_ripple"] == pytest.approx(0, abs=1e-12)
    assert found["flat_field_ripple"] is found["checkerboard"] is None


def test_half_precision_and_odd_layers_are_measured_in_float64() -> None:
    layer = _make_layer().half()
    found = measure_layer(layer, 4, 2)
    assert found["phase_ripple"] == measure_layer(layer.double(), 4, 2)["phase_ripple"]


def test_a_name_that_is_unknown_is_one_line() -> None:
    found = measure_layer(_make_layer(), 4, 2)
    with pytest.raises(UsageError, match="metric: 'phase_riple' is not one of .*did you mean 'phase_ripple'"):
        found["phase_riple"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param((3, 4, 2), "layer: 3 is not a module", id="no-layer"),
        pytest.param((_make_layer(), 0, 2), "in_channels: 0 is not", id="no-channels"),
        pytest.param((_make_layer(), 4, 2.0), "scale_factor: 2.0 is not", id="scale"),
        pytest.param(
            (_make_layer(), 5, 2), "layer: fails for maps of 5 channels and 24×24 pixels: ", id="channels"
        ),
        pytest.param((nn.ConvTranspose1d(4, 4, 3, 2), 4, 2), "layer: fails for maps of 4 channels", id="one-axis"),
        pytest.param((_make_layer(), 4, 3), "outputs of 48×48 for 24×24 .* scale_factor 3 asks", id="wrong-scale"),
        pytest.param(
            (nn.Sequential(nn.ReLU(inplace=True), _make_layer()), 4, 2), "changes its input", id="in-place"
        ),
    ],
)
def test_wrong_use_is_one_line(arguments: tuple[Any, Any, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        measure_layer(*arguments)
    assert "\n" not in str(caught.value)


def test_arguments_of_the_inputs_are_checked() -> None:
    with pytest.raises(UsageError, match="mean_input: shape"):
        measure_layer(_make_layer(), 4, 2, mean_input=[1.0, 2.0])
    with pytest.raises(UsageError, match="seed: -1 is not"):
        measure_layer(_make_layer(), 4, 2, seed=-1)
    with pytest.raises(UsageError, match="seed: .* is too large"):
        measure_layer(_make_layer(), 4, 2, seed=2**63 - 1)
