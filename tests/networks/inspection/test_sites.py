"""The sites of networks as people write them: kind, kernel, stride, shapes, multiply-accumulates."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from deconvbench.records.sites import Site
from tests.networks.inspection.networks import (
    Fcn,
    MaskDecoder,
    UNet,
    make_dcgan,
    make_diffusion_decoder,
    make_espcn,
)
from tests.networks.inspection.tracing_helpers import trace_sites


def list_sites(model: nn.Module, example: Any) -> list[Site]:
    return [traced.site for traced in trace_sites(model, example)]


def summarise(sites: list[Site]) -> list[tuple[Any, ...]]:
    return [
        (site.path, site.kind, site.kernel_size[:1], site.scale[0], site.in_shape[1:], site.out_shape[1:])
        for site in sites
    ]


def test_fcn() -> None:
    sites = list_sites(Fcn(), torch.rand(1, 3, 64, 64))
    assert summarise(sites) == [
        ("up2", "transposed_convolution", (4,), 2, (4, 8, 8), (4, 18, 18)),
        ("up8", "transposed_convolution", (8,), 4, (4, 16, 16), (4, 68, 68)),
    ]
    assert [site.is_last for site in sites] == [False, True]
    assert sites[1].macs == 4 * 4 * 8 * 8 * 16 * 16


def test_dcgan_whose_first_layer_has_no_stride() -> None:
    sites = list_sites(make_dcgan(), torch.randn(2, 16, 1, 1))
    assert summarise(sites) == [
        ("3", "transposed_convolution", (4,), 2, (16, 4, 4), (8, 8, 8)),
        ("6", "transposed_convolution", (4,), 2, (8, 8, 8), (4, 16, 16)),
        ("9", "transposed_convolution", (4,), 2, (4, 16, 16), (3, 32, 32)),
    ]
    assert [site.padding for site in sites] == [(1, 1)] * 3
    assert [site.is_last for site in sites] == [False, False, True]


def test_unet() -> None:
    sites = list_sites(UNet(), torch.rand(1, 3, 32, 32))
    assert summarise(sites) == [
        ("up1", "transposed_convolution", (2,), 2, (32, 8, 8), (16, 16, 16)),
        ("up2", "transposed_convolution", (2,), 2, (16, 16, 16), (8, 32, 32)),
    ]


def test_unet_with_bilinear_upsampling_whose_convolutions_follow_a_skip() -> None:
    sites = list_sites(UNet(bilinear=True), torch.rand(1, 3, 32, 32))
    assert summarise(sites) == [
        ("up1", "resize_convolution", (3,), 2, (32, 8, 8), (32, 16, 16)),
        ("up2", "resize_convolution", (3,), 2, (16, 16, 16), (16, 32, 32)),
    ]
    assert [site.operation for site in sites] == ["interpolate(mode=bilinear, align_corners=True)"] * 2
    paths = [site.convolution.path for site in sites if site.convolution is not None]
    assert paths == ["join1.0", "join2.0"]


def test_espcn() -> None:
    (site,) = list_sites(make_espcn(), torch.rand(1, 1, 12, 12))
    assert summarise([site]) == [("5", "subpixel_convolution", (3,), 3, (9, 12, 12), (1, 36, 36))]
    assert site.convolution is not None
    assert site.convolution.path == "4"
    assert (site.in_channels, site.out_channels, site.order, site.is_last) == (8, 1, "c i j", True)


def test_mask_decoder_of_two_arguments_by_name() -> None:
    example = {"image_embeddings": torch.randn(1, 32, 8, 8), "tokens": torch.randn(1, 3, 32)}
    sites = list_sites(MaskDecoder(), example)
    assert summarise(sites) == [
        ("output_upscaling.0", "transposed_convolution", (2,), 2, (32, 8, 8), (8, 16, 16)),
        ("output_upscaling.3", "transposed_convolution", (2,), 2, (8, 16, 16), (4, 32, 32)),
    ]


def test_diffusion_decoder() -> None:
    sites = list_sites(make_diffusion_decoder(), torch.randn(1, 4, 8, 8))
    assert summarise(sites) == [
        ("2", "resize_convolution", (3,), 2, (8, 8, 8), (8, 16, 16)),
        ("4", "resize_convolution", (3,), 2, (8, 16, 16), (8, 32, 32)),
    ]
    paths = [site.convolution.path for site in sites if site.convolution is not None]
    assert paths == ["2.conv", "4.conv"]


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        pytest.param(nn.ConvTranspose1d(4, 6, 5, 2, groups=2), (2, 4, 9), id="1-D"),
        pytest.param(nn.ConvTranspose2d(4, 6, (3, 5), (2, 3), 1, dilation=2), (2, 4, 9, 8), id="2-D"),
        pytest.param(nn.ConvTranspose3d(4, 6, 3, 2, output_padding=1), (1, 4, 3, 4, 5), id="3-D"),
        pytest.param(nn.Sequential(nn.Conv2d(4, 24, 3), nn.PixelShuffle(2)), (1, 4, 8, 8), id="sub-pixel"),
        pytest.param(
            nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv3d(4, 6, 3)), (1, 4, 5, 5, 5), id="3-D resize"
        ),
    ],
)
def test_multiply_accumulates_are_those_that_torch_counts(layer: nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.rand(shape)
    (site,) = list_sites(layer, x)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        layer(x)
    assert 2 * site.macs == counter.get_total_flops()
    assert site.dims == len(shape) - 2


class _Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(3, 3, 4, 2, 1)

    def forward(self, x: Tensor, repeats: int = 2) -> Tensor:
        for _ in range(repeats):
            x = self.up(x)
        y: Tensor = self.up(x) + self.up(x)
        return y


def test_shared_layers_are_sites_at_each_size_with_their_uses() -> None:
    sites = list_sites(_Shared(), torch.rand(1, 3, 4, 4))
    assert [(site.in_shape[-1], site.uses, site.is_shared) for site in sites] == [
        (4, 1, True),
        (8, 1, True),
        (16, 2, True),
    ]


class _Branches(nn.Module):
    """Two interpolations and an unpooling in one forward; which of them depends on values."""

    def forward(self, x: Tensor) -> Tensor:
        pooled, indices = functional.max_pool2d(x, 2, return_indices=True)
        same = functional.interpolate(pooled, scale_factor=1.0) + functional.interpolate(x, scale_factor=0.5)
        if float(x.mean()) > 0:
            same = functional.interpolate(same, scale_factor=2.0, mode="bicubic")
        else:
            same = functional.interpolate(same, x.shape[-2:], mode="nearest-exact")
        return same + functional.max_unpool2d(pooled, indices, (2, 2))


@pytest.mark.parametrize(("sign", "mode"), [(1, "bicubic"), (-1, "nearest-exact")])
def test_sites_are_those_that_are_executed(sign: int, mode: str) -> None:
    sites = list_sites(_Branches(), sign * torch.rand(1, 3, 8, 8))
    assert [(site.kind, site.operation) for site in sites] == [
        ("resize", f"interpolate(mode={mode})"),
        ("max_unpooling", "max_unpool2d"),
    ]


class _Calls(nn.Module):
    """Everything as functions, with a weight that is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow = nn.Parameter(torch.rand(4, 2, 3, 3))
        self.wide = nn.Parameter(torch.rand(8, 2, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        y = functional.conv_transpose2d(x, 2 * self.narrow, stride=2, padding=1, output_padding=1)
        return functional.pixel_shuffle(torch.relu(torch.conv2d(y, self.wide, padding="same")), 2)


def test_functions_are_sites_as_modules_are() -> None:
    sites = list_sites(_Calls(), torch.rand(1, 4, 4, 4))
    assert summarise(sites) == [
        ("", "transposed_convolution", (3,), 2, (4, 4, 4), (2, 8, 8)),
        ("", "subpixel_convolution", (3,), 2, (8, 8, 8), (2, 16, 16)),
    ]
    assert [site.padding for site in sites] == [(1, 1), (1, 1)]


def test_overlapping_patches_are_named() -> None:
    (site,) = list_sites(nn.Fold((10, 10), 4, stride=2), torch.rand(1, 48, 16))
    assert (site.kind, site.scale, site.out_shape) == ("fold", (2, 2), (1, 3, 10, 10))
