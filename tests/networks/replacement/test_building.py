"""A new layer has the weights that come nearest, and whatever was set on the old one."""

from typing import Any

import pytest
import torch
from torch import nn

from deconvbench.networks.replacement.building import Built, build_layer
from deconvbench.networks.replacement.finding import find_layers
from deconvbench.networks.replacement.specification import parse_specification
from deconvbench.networks.replacement.tree import ModuleTree


def build(layer: nn.Module, text: str, *, carry_weights: bool = True) -> Built | str:
    specification = parse_specification(text)
    found, left = find_layers(ModuleTree(layer), specification)
    assert not left
    return build_layer(found[0], specification, carry_weights=carry_weights)


def build_fine(layer: nn.Module, text: str, **options: Any) -> Built:
    built = build(layer, text, **options)
    assert isinstance(built, Built)
    return built


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("is_training", [True, False])
def test_type_mode_gradient_and_layout_are_those_of_the_old_layer(dtype: torch.dtype, is_training: bool) -> None:
    old = nn.ConvTranspose2d(4, 8, 4, 2, 1, dtype=dtype).train(is_training)
    old.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # an overload torch leaves out
    old.weight.requires_grad_(False)
    built = build_fine(old, "transposed -> nearest_conv")
    weight, bias = built.layer.weight, built.layer.bias
    assert isinstance(weight, nn.Parameter)
    assert isinstance(bias, nn.Parameter)
    assert (weight.dtype, bias.dtype, weight.requires_grad, bias.requires_grad) == (dtype, dtype, False, True)
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()
    assert built.module.training is is_training
    assert old.bias is not None
    assert torch.equal(bias, old.bias)


def test_weights_share_no_memory_with_the_old_ones() -> None:
    old = nn.ConvTranspose2d(2, 2, 4, 2, 1)
    built = build_fine(old, "transposed -> transposed-k6")
    assert isinstance(built.layer.weight, nn.Parameter)
    before = built.layer.weight.detach().clone()
    old.weight.data.zero_()
    assert torch.equal(built.layer.weight, before)
    assert before.any()


def test_a_smaller_output_is_cropped() -> None:
    old = nn.ConvTranspose2d(2, 3, 3, (2, 2), (1, 1), (0, 1)).double().eval()
    built = build_fine(old, "transposed -> subpixel")
    assert [type(part).__name__ for part in built.module.children()] == ["SubpixelConv2d", "ZeroPad2d"]
    assert built.now.endswith(" + ZeroPad2d((0, 0, 0, -1))")
    assert not built.module.training
    x = torch.randn(1, 2, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(built.module(x), old(x), rtol=1e-10, atol=1e-10)


def test_drawn_anew_the_old_weights_do_not_count() -> None:
    old = nn.ConvTranspose2d(2, 2, 4, 2, 1)
    old.weight.data.fill_(7)
    built = build_fine(old, "transposed -> nearest_conv", carry_weights=False)
    assert built.relative_error is None
    assert isinstance(built.layer.weight, nn.Parameter)
    assert 0 < float(built.layer.weight.detach().abs().max()) < 1


@pytest.mark.parametrize(
    ("text", "layer"),
    [
        ("transposed -> transposed", nn.ConvTranspose2d(2, 2, 4, 2, 1)),
        ("transposed -> transposed-k4", nn.ConvTranspose2d(2, 2, 4, 2, 1)),
    ],
    ids=["default", "kernel"],
)
def test_a_layer_that_is_one_already_stays(text: str, layer: nn.Module) -> None:
    assert build(layer, text) == "it is such a layer already"


@pytest.mark.parametrize(
    ("old", "text", "remark"),
    [
        (nn.Upsample(scale_factor=2, mode="bilinear"), "bilinear_conv -> bilinear_conv", ""),
        (
            nn.Upsample(scale_factor=2, mode="bilinear"),
            "bilinear_conv -> nearest_conv",
            "another near the border, where bilinear interpolation repeats the outermost pixel",
        ),
        (
            nn.Upsample(scale_factor=2, mode="bilinear"),
            "bilinear_conv -> subpixel_icnr_blur",
            "another near the border, where bilinear interpolation repeats the outermost pixel and the blur"
            " repeats the outermost pixel above and to the left",
        ),
        (nn.Upsample(scale_factor=2), "nearest_conv -> transposed", ""),
    ],
    ids=["same", "old", "both", "none"],
)
def test_what_differs_at_the_border_is_said(old: nn.Module, text: str, remark: str) -> None:
    assert build_fine(nn.Sequential(old, nn.Conv2d(2, 2, 3, padding=1)), text).remark == remark


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_a_convolution_without_padding_is_cropped_on_all_sides_and_keeps_its_kernel(mode: str) -> None:
    old = nn.Sequential(nn.Upsample(scale_factor=2, mode=mode), nn.Conv2d(2, 3, 3)).double()
    built = build_fine(old, f"{mode}_conv -> {mode}_conv")
    assert "kernel_size=3" in built.now
    assert built.now.endswith("ZeroPad2d((-1, -1, -1, -1))")
    assert built.relative_error == pytest.approx(0, abs=1e-12)
    x = torch.randn(1, 2, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(built.module(x), old(x), rtol=1e-10, atol=1e-10)
