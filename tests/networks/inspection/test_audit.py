"""Whole audits: judgement, cause, and a model that is left as it was."""

import copy
import math
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import deconvbench
from deconvbench import nn as ours
from deconvbench.errors import UsageError
from deconvbench.records.audit import Audit
from tests.networks.inspection.networks import (
    Fcn,
    MaskDecoder,
    Planted,
    UNet,
    level_gains,
    make_dcgan,
    make_diffusion_decoder,
    make_espcn,
    plant,
)


def make_two(*upsamplers: nn.Module, channels: int = 12) -> nn.Module:
    first, second = upsamplers
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, 4, 1),
        nn.ReLU(),
        first,
        nn.ReLU(),
        second,
        nn.ReLU(),
        nn.Conv2d(channels, 3, 3, 1, 1),
    )


def make_transposed(size: int = 3, channels: int = 12) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels, channels, size, 2, (size - 1) // 2, size % 2)


def make_resize(channels: int = 12) -> nn.Module:
    return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(channels, channels, 3, padding=1))


IMAGE = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))


def test_stacked_transposed_layers_are_the_causes_each_at_its_own_scale() -> None:
    torch.manual_seed(0)
    audit = deconvbench.audit(make_two(make_transposed(), make_transposed()), IMAGE)
    assert audit.judgement == "checkerboards"
    assert {one.period: one.path for one in audit.attributions} == {2: "4", 4: "2"}
    assert [report.period for report in audit.sites] == [4, 2]


def test_the_twin_of_resize_convolutions_is_clean() -> None:
    torch.manual_seed(0)
    audit = deconvbench.audit(make_two(make_resize(), make_resize()), IMAGE)
    assert audit.judgement == "clean"
    assert audit.attributions == ()
    assert set(audit.flat_field) == {2, 4}
    assert max(audit.flat_field.values()) < 1e-3
    assert {finding.code for finding in audit.findings} == {"DB003"}


def test_layers_of_equal_gains_are_clean_and_what_is_left_of_a_ripple_is_a_risk() -> None:
    torch.manual_seed(0)

    def make(left: float) -> Audit:
        torch.manual_seed(0)
        layers = (level_gains(make_transposed(4), left) for _ in range(2))
        return deconvbench.audit(make_two(*layers), IMAGE)

    assert make(0.0).judgement == "clean"
    assert make(0.05).judgement == "at risk"
    assert make(1.0).judgement == "checkerboards"


def find_cause(planted: Planted, audit: Audit) -> tuple[int | None, set[int]]:
    """Site with the largest ripple, and the sites with a suspect order."""
    worst = max(audit.attributions, key=lambda one: one.levels, default=None)
    suspects = {finding.site for finding in audit.findings if finding.code == "DB005"}
    return (None if worst is None else worst.site), suspects


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_a_bad_layer_among_good_ones_is_found(seed: int) -> None:
    planted = plant(seed)
    cause, suspects = find_cause(planted, deconvbench.audit(planted.network, IMAGE))
    if planted.kind.startswith("order"):
        assert suspects == {planted.bad}
    else:
        assert (cause, suspects) == (planted.bad, set())


@pytest.mark.parametrize(
    ("model", "example", "judgement", "ripples"),
    [
        pytest.param(Fcn(), IMAGE, "clean", [False, False], id="FCN"),
        pytest.param(make_dcgan(), torch.randn(4, 16, 1, 1), "at risk", [True] * 3, id="DCGAN"),
        pytest.param(UNet(), IMAGE, "checkerboards", [True] * 2, id="U-Net"),
        pytest.param(UNet(bilinear=True), IMAGE, "clean", [False] * 2, id="bilinear U-Net"),
        pytest.param(make_espcn(), torch.rand(1, 1, 48, 48), "checkerboards", [True], id="ESPCN"),
        pytest.param(
            MaskDecoder(),
            {"image_embeddings": torch.randn(1, 32, 16, 16), "tokens": torch.randn(1, 3, 32)},
            "checkerboards",
            [True] * 2,
            id="mask decoder",
        ),
        pytest.param(make_diffusion_decoder(), torch.randn(1, 4, 16, 16), "clean", [False] * 2, id="diffusion"),
    ],
)
def test_networks_as_people_write_them(
    model: nn.Module, example: Any, judgement: str, ripples: list[bool]
) -> None:
    audit = deconvbench.audit(model, example)
    assert audit.judgement == judgement
    found = [report.relative_ripple for report in audit.sites]
    assert [one is not None and one > 1e-3 for one in found] == ripples


class _Everything(nn.Module):
    """Whatever an audit might leave changed."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.up = nn.utils.parametrizations.weight_norm(nn.ConvTranspose2d(3, 3, 4, 2, 1))
        self.drop = nn.Dropout(0.5)
        self.calls = 0
        self.cache: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        y: Tensor = self.drop(self.up(self.norm(x)))
        self.cache.append(y)
        return y + 0.01 * torch.rand_like(y)


def test_the_model_is_left_as_it_was() -> None:
    model = _Everything()
    model.drop.eval()
    model(torch.rand(2, 3, 8, 8)).sum().backward()
    before = copy.deepcopy((dict(model.state_dict()), [one.grad for one in model.parameters()]))
    modes = [module.training for module in model.modules()]
    held = {name: (id(one), one._version, one.requires_grad) for name, one in model.named_parameters()}
    calls, cached = model.calls, len(model.cache)
    example = torch.rand(1, 3, 64, 64, requires_grad=True)
    states = torch.get_rng_state(), random.getstate(), str(np.random.get_state())  # noqa: NPY002 -- what others use
    audit = deconvbench.audit(model, example)
    assert audit.judgement == "checkerboards"
    assert audit.attributions[0].path == "up"
    assert (model.calls, len(model.cache), example.grad) == (calls, cached, None)
    assert [module.training for module in model.modules()] == modes
    assert held == {name: (id(one), one._version, one.requires_grad) for name, one in model.named_parameters()}
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[0][key])
    for one, grad in zip(model.parameters(), before[1], strict=True):
        assert one.grad is not None
        assert grad is not None
        assert torch.equal(one.grad, grad)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert str(np.random.get_state()) == states[2]  # noqa: NPY002 -- what others use
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_measured_in_single(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = make_two(make_transposed(), make_resize()).to(dtype)
    audit = deconvbench.audit(model, IMAGE.to(dtype))
    assert [report.site.dtype for report in audit.sites] == [str(dtype).removeprefix("torch.")] * 2
    assert {one.path for one in audit.attributions} == {"2"}
    assert not audit.not_covered
    assert next(model.parameters()).dtype == dtype


@pytest.mark.parametrize(
    ("layers", "example"),
    [
        pytest.param((nn.ConvTranspose1d(4, 4, 4, 2, 1), nn.Conv1d(4, 2, 3)), torch.rand(1, 4, 64), id="1-D"),
        pytest.param(
            (nn.ConvTranspose3d(4, 4, 4, 2, 1), nn.Conv3d(4, 2, 3)), torch.rand(1, 4, 12, 12, 12), id="3-D"
        ),
    ],
)
def test_other_numbers_of_axes_are_measured_in_plain_colours(
    layers: tuple[nn.Module, ...], example: Tensor
) -> None:
    torch.manual_seed(0)
    audit = deconvbench.audit(nn.Sequential(*layers), example)
    assert [one.path for one in audit.attributions] == ["0"]
    assert audit.real == {}
    assert any("not two spatial axes" in text for text in audit.not_covered)


def test_instance_norm_gets_two_colours() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.InstanceNorm2d(3), make_transposed(3, 3), nn.InstanceNorm2d(3))
    audit = deconvbench.audit(model, IMAGE)
    assert audit.is_two_tone
    assert audit.attributions[0].path == "1"


def test_plain_colours_that_borders_reach_into_are_not_believed() -> None:
    torch.manual_seed(0)
    small, large = (
        deconvbench.audit(make_diffusion_decoder(), torch.randn(1, 4, side, side)) for side in (16, 32)
    )
    assert small.flat_field == {}
    assert any("does not repeat" in text for text in small.not_covered)
    assert set(large.flat_field.values()) == {0.0}


def test_unpooling_has_no_gains_and_is_levelled_in_its_output() -> None:
    class Unpooling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            y, indices = functional.max_pool2d(x, 2, return_indices=True)
            z: Tensor = self.conv(functional.max_unpool2d(y, indices, (2, 2)))
            return z

    torch.manual_seed(0)
    audit = deconvbench.audit(Unpooling(), IMAGE)
    assert audit.judgement == "checkerboards"
    assert audit.attributions[0].site == 1
    assert any("phase gains" in text for text in audit.not_covered)


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
def test_what_runs_in_torchscript_is_named() -> None:
    scripted = torch.jit.trace(nn.ConvTranspose2d(3, 3, 4, 2), torch.rand(1, 3, 8, 8))  # type: ignore[no-untyped-call] # no types
    audit = deconvbench.audit(nn.Sequential(scripted), torch.rand(1, 3, 8, 8))
    assert audit.sites == ()
    assert audit.judgement == "clean"
    unseen, unjudged = audit.not_covered
    assert unseen == "0: TorchScript, whose calls are not seen"
    assert unjudged.startswith("the output: nothing was seen to upsample, so there is no period to look for")


def test_images_and_range_can_be_given() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), make_transposed(3, 3))
    images = [torch.rand(1, 3, 96, 96), torch.rand(1, 3, 96, 96)]
    one = deconvbench.audit(model, torch.rand(1, 3, 64, 64), images=images, output_range=(0, 1))
    ten = deconvbench.audit(model, torch.rand(1, 3, 64, 64), images=images, output_range=(0, 10))
    assert (one.inputs, one.is_range_guessed, one.output_range) == ("images", False, (0, 1))
    assert one.real[2] == pytest.approx(10 * ten.real[2])


@pytest.mark.parametrize(
    "layer",
    [ours.ResizeConv2d(12, 12), ours.EqualGainTransposed(12, 12, 4, 2), ours.SubpixelIcnrBlur(12, 12, 3, 2)],
    ids=["resize", "equal gain", "sub-pixel"],
)
def test_our_own_layers_are_clean_whatever_their_weights(layer: nn.Module) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 12, 3, 2, 1), nn.ReLU(), layer, nn.Conv2d(12, 3, 3, 1, 1))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    audit = deconvbench.audit(model, IMAGE)
    assert audit.judgement == "clean"


def test_images_of_other_sizes_are_named() -> None:
    torch.manual_seed(0)
    images = [torch.rand(1, 3, side, side) for side in (96, 64)]
    audit = deconvbench.audit(make_transposed(3, 3), torch.rand(1, 3, 64, 64), images=images)
    assert any("1 of 2 images" in text for text in audit.not_covered)


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(784, 5)),
        nn.Sequential(make_transposed(3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    ],
    ids=["classifier", "pooled"],
)
def test_what_gives_no_map_is_audited_without_its_output(model: nn.Module) -> None:
    found = deconvbench.audit(model, torch.rand(1, 3, 16, 16))
    assert found.not_covered
    assert (found.flat_field, found.real, found.output_range) == ({}, {}, (0.0, 1.0))


def test_a_fused_model_is_named() -> None:
    fused = deconvbench.fuse(make_two(make_resize(), make_resize()), IMAGE).model
    assert any(
        "fused; audit the model as it was before" in text for text in deconvbench.audit(fused, IMAGE).not_covered
    )


def test_progress_is_said() -> None:
    lines: list[str] = []
    torch.manual_seed(0)
    deconvbench.audit(nn.Sequential(make_transposed(3, 3)), torch.rand(1, 3, 32, 32), progress=lines.append)
    assert lines[0] == "finding the upsampling sites"
    assert "equal gains at 0" in lines


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"model": 3}, "model: 3 is not a module", id="model"),
        pytest.param({"example_input": "x"}, "example_input: str is not a tensor", id="example"),
        pytest.param({"example_input": torch.rand(1, 2, 8, 8)}, "model: raised RuntimeError", id="channels"),
        pytest.param({"images": []}, "images: is empty", id="no images"),
        pytest.param({"images": torch.rand(2, 3, 16, 16)}, "images: is a Tensor; a list", id="batch"),
        pytest.param({"images": "photographs"}, "images: is a str; a list", id="text"),
        pytest.param({"colours": 0}, "colours: 0 is not", id="colours"),
        pytest.param({"output_range": (1, 1)}, "output_range: ", id="range"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {
        "model": make_transposed(3, 3),
        "example_input": torch.rand(1, 3, 16, 16),
        **arguments,
    }
    with pytest.raises(UsageError) as caught:
        deconvbench.audit(given.pop("model"), given.pop("example_input"), **given)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


class _Bad(nn.Module):
    """Gives something that is not finite, for some inputs or for all."""

    def __init__(self, *, is_flat_only: bool = False) -> None:
        super().__init__()
        self.up = make_resize(3)
        self.is_flat_only = is_flat_only

    def forward(self, x: Tensor) -> Tensor:
        is_bad = not self.is_flat_only or float(x.std()) < 0.2
        y: Tensor = self.up(x) / (0.0 if is_bad else 1.0)
        return y


def test_an_output_that_is_not_finite_is_said_and_not_clean() -> None:
    audit = deconvbench.audit(_Bad(), IMAGE)
    first = audit.findings[0]
    assert audit.judgement == "at risk"
    assert (first.code, first.site, first.path, first.is_risk) == ("DB011", 0, "", True)
    assert (
        first.message == "the output for the example and the photographs and plain colours holds NaN or infinity"
    )
    assert "the score of outputs for images: they are not finite" in audit.not_covered
    assert "plain colours: the output for them is not finite" in audit.not_covered


def test_an_output_that_is_not_finite_for_plain_colours_alone_is_said() -> None:
    audit = deconvbench.audit(_Bad(is_flat_only=True), IMAGE)
    assert audit.judgement == "at risk"
    assert audit.findings[0].message == "the output for plain colours holds NaN or infinity"
    assert audit.real


def test_weights_that_are_not_finite_are_named() -> None:
    torch.manual_seed(0)
    model = make_two(make_resize(), make_resize())
    with torch.no_grad():
        model.get_parameter("2.1.weight")[0, 0] = float("nan")
        model.get_parameter("4.1.bias").fill_(float("inf"))
    audit = deconvbench.audit(model, IMAGE)
    assert audit.judgement == "at risk"
    assert audit.findings[0].message.endswith("; 2.1.weight and 1 more of its weights and buffers do so")


def test_half_precision_that_overflows_is_told_from_what_single_gives() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), make_resize(3))
    with torch.no_grad():
        model[0].weight.mul_(1e5)  # type: ignore[operator] # a tensor
    audit = deconvbench.audit(model.to(torch.float16), IMAGE.to(torch.float16))
    assert audit.findings[0].message == "the output for the example, in float16 holds NaN or infinity"
    assert audit.real


def test_dynamic_control_flow_and_shared_modules_are_seen_in_each_run() -> None:
    class Dynamic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 4, 3, 4, 1)
            self.up = nn.ConvTranspose2d(4, 4, 3, 2, 1, 1)
            self.last = nn.Conv2d(4, 3, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x).relu()
            while y.shape[-1] < x.shape[-1]:
                y = self.up(y).relu()
            z: Tensor = self.last(y)
            return z

    torch.manual_seed(0)
    audit = deconvbench.audit(Dynamic(), IMAGE)
    assert [(one.site.path, one.period, one.site.is_shared) for one in audit.sites] == [
        ("up", 4, True),
        ("up", 2, True),
    ]
    assert {one.period: one.site for one in audit.attributions} == {2: 2, 4: 1}


def test_several_inputs_are_shown_their_own_colours_and_other_arguments_stay() -> None:
    class Several(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = make_transposed(3, 3)
            self.seen: list[tuple[float, int]] = []

        def forward(self, x: Tensor, guide: Tensor, time: Tensor, *, steps: int = 1) -> Tensor:
            y: Tensor = self.up(x) + guide * time.float().mean() * steps
            return y

    torch.manual_seed(0)
    example = {
        "guide": torch.rand(1, 1, 128, 128),
        "x": torch.rand(1, 3, 64, 64),
        "time": torch.tensor([3]),
        "steps": 2,
    }
    audit = deconvbench.audit(Several(), example)
    assert [one.path for one in audit.attributions] == ["up"]
    assert not audit.not_covered


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize(
    "layer",
    [
        nn.ConvTranspose2d(3, 3, 2, 2),
        nn.ConvTranspose2d(3, 3, 3, 2),
        nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2)),
        nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(3, 3, 3, padding=1)),
    ],
    ids=["k2", "k3", "sub-pixel", "resize"],
)
def test_a_weight_of_an_upsampling_layer_that_is_not_finite_is_a_finding(layer: nn.Module, value: float) -> None:
    model = copy.deepcopy(nn.Sequential(layer, nn.Conv2d(3, 3, 3)))
    name = next(name for name, weight in model.named_parameters() if weight.ndim == 4)
    with torch.no_grad():
        model.get_parameter(name)[0, 0, 0, 0] = value
    audit = deconvbench.audit(model, IMAGE)
    assert audit.judgement != "clean"
    (found,) = (one for one in audit.findings if one.code == "DB011")
    assert f"{name} of its weights and buffers does so" in found.message
    assert len(audit.sites) == 1
