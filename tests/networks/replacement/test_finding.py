"""Which layers are found, and which are left with which reason: every case that is not covered is named."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm

from deconvbench.networks.replacement.finding import Found, find_layers
from deconvbench.networks.replacement.specification import Specification, parse_specification
from deconvbench.networks.replacement.tree import ModuleTree
from deconvbench.upsamplers.equal_gain import EqualGainConvTranspose2d
from deconvbench.upsamplers.fast import ResizeConv2d as FastResizeConv2d
from deconvbench.upsamplers.resize_modes import ResizeConv2d
from deconvbench.upsamplers.subpixel import SubpixelConv2d, SubpixelIcnr
from deconvbench.upsamplers.transposed import Transposed


def find(model: nn.Module, source: str = "transposed") -> tuple[list[Found], list[tuple[str, str]]]:
    found, left = find_layers(ModuleTree(model), parse_specification(f"{source} -> subpixel"))
    return found, [(one.path, one.reason) for one in left]


def make_transposed(**options: Any) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(2, 2, 4, 2, 1, **options)


def test_transposed_convolutions_are_found_anywhere() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([nn.Sequential(make_transposed(), nn.ReLU()), make_transposed()])
            self.head = nn.ModuleDict({"up": Transposed(2, 2, 4, 2)})

    found, left = find(Net())
    assert [one.paths for one in found] == [("blocks.0.0",), ("blocks.1",), ("head.up",)]
    assert left == []
    assert find(make_transposed())[0][0].paths == ("",)


def test_pairs_are_found_in_sequentials() -> None:
    model = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1),
        nn.PixelShuffle(2),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(2, 2, 3, padding=1),
        nn.Upsample(scale_factor=(2, 3), mode="bilinear", align_corners=False),
        nn.Conv2d(2, 2, 3, padding=1),
        nn.UpsamplingNearest2d(scale_factor=2),
        nn.Conv2d(2, 2, 1),
    )
    (subpixel,), left = find(model, "subpixel")
    assert (subpixel.paths, subpixel.emptied[0].path, subpixel.stride, left) == (("0",), "1", (2, 2), [])
    nearest, left = find(model, "nearest_conv")
    assert [(one.paths, one.emptied[0].path) for one in nearest] == [(("3",), "2"), (("7",), "6")]
    (bilinear,), left = find(model, "bilinear_conv")
    assert (bilinear.paths, bilinear.stride, left) == (("5",), (2, 3), [])
    assert [one.name for one in find(model, "interpolate+conv")[0]] == [
        "nearest_conv",
        "bilinear_conv",
        "nearest_conv",
    ]
    assert find(model, "nearest_conv-k1")[0][0].paths == ("7",)


def test_the_layers_of_this_project_are_found() -> None:
    model = nn.Sequential(
        ResizeConv2d(2, 2), ResizeConv2d(2, 2, mode="bilinear"), FastResizeConv2d(2, 2), SubpixelConv2d(2, 2)
    )
    assert [one.paths[0] for one in find(model, "nearest_conv")[0]] == ["0", "2"]
    assert [one.paths[0] for one in find(model, "bilinear_conv")[0]] == ["1"]
    assert [one.paths[0] for one in find(model, "subpixel")[0]] == ["3"]
    # the grid's are this layer in a module
    assert [one.paths[0] for one in find(nn.Sequential(SubpixelIcnr(2, 2, 3, 2)), "subpixel")[0]] == ["0.conv"]


def test_only_those_of_the_kernel_and_stride_that_are_meant() -> None:
    model = nn.Sequential(make_transposed(), nn.ConvTranspose2d(2, 2, 3, 2), nn.ConvTranspose2d(2, 2, 4, 4))
    assert [one.paths[0] for one in find(model, "transposed-k4")[0]] == ["0", "2"]
    assert [one.paths[0] for one in find(model, "transposed-k4-s2")[0]] == ["0"]
    assert [one.paths[0] for one in find(model, "transposed-s2")[0]] == ["0", "1"]


def test_a_shared_module_is_found_once_with_all_its_places() -> None:
    up = make_transposed()
    found, _ = find(nn.Sequential(up, nn.ReLU(), up))
    assert [one.paths for one in found] == [("0", "2")]


class Own(nn.ConvTranspose2d):
    """With a forward of its own."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        return super().forward(input, output_size) * 2


class Subclassed(Tensor):
    """A tensor with code of its own."""


def tie(layer: nn.ConvTranspose2d) -> nn.Module:
    other = make_transposed()
    other.weight = layer.weight
    return nn.Sequential(layer, other)


def keep_in_list(layer: nn.ConvTranspose2d) -> nn.Module:
    model = nn.Sequential(layer)
    model.layers = [layer]  # type: ignore[assignment] # what people do
    return model


def hook(layer: nn.Module, name: str) -> nn.Module:
    getattr(layer, name)(lambda *_: None)
    return layer


def change_weight(layer: nn.ConvTranspose2d, value: Tensor) -> nn.Module:
    layer.weight = nn.Parameter(value)
    return layer


def patch(layer: nn.Module) -> nn.Module:
    layer.forward = lambda x: x
    return layer


HOOKS = [
    "register_forward_hook",
    "register_forward_pre_hook",
    "register_full_backward_hook",
    "register_full_backward_pre_hook",
    "register_state_dict_pre_hook",
    "register_load_state_dict_post_hook",
]
LEFT: dict[str, tuple[Callable[[], nn.Module], str]] = {
    **{
        name: (lambda name=name: hook(make_transposed(), name), "it has hooks, which are not covered")  # type: ignore[misc]
        for name in HOOKS
    },
    "stride-1": (lambda: nn.ConvTranspose2d(2, 2, 3), "its scale is 1: it does not upsample"),
    "1d": (
        lambda: nn.ConvTranspose1d(2, 2, 4, 2),
        "transposed convolutions of one and three axes are not covered",
    ),
    "3d": (
        lambda: nn.ConvTranspose3d(2, 2, 4, 2),
        "transposed convolutions of one and three axes are not covered",
    ),
    "weight_norm": (lambda: parametrizations.weight_norm(make_transposed()), "computed by a parametrization"),
    "old-spectral_norm": (lambda: spectral_norm(make_transposed()), "computed by a parametrization"),
    "prune": (
        lambda: prune.random_unstructured(make_transposed(), "weight", 0.5),  # type: ignore[no-untyped-call]
        "computed by a parametrization",
    ),
    "bias": (
        lambda: (parametrize.register_parametrization(one := make_transposed(), "bias", nn.Identity()), one)[1],
        "computed by a parametrization",
    ),
    "forward": (lambda: Own(2, 2, 4, 2, 1), "Own has a forward of its own, which is not covered"),
    "ours": (lambda: EqualGainConvTranspose2d(2, 2, 4, 2, 1), "has a forward of its own"),
    "patched": (lambda: patch(make_transposed()), "a method of its own was put on it"),
    "tied": (lambda: tie(make_transposed()), "its weight is shared by 0.weight and 1.weight"),
    "list": (lambda: keep_in_list(make_transposed()), "layers refers to it from outside of the tree of modules"),
    "lazy": (lambda: nn.LazyConvTranspose2d(2, 4, 2, 1), "its weights have no shape yet"),
    "meta": (lambda: make_transposed(device="meta"), "its weight is on the device meta and has no numbers"),
    "complex": (lambda: make_transposed(dtype=torch.complex64), "has dtype torch.complex64"),
    "subclass": (
        lambda: change_weight(make_transposed(), torch.zeros(2, 2, 4, 4).as_subclass(Subclassed)),
        "with code of its own",
    ),
}


@pytest.mark.parametrize("case", LEFT)
@pytest.mark.filterwarnings("ignore:Lazy modules:UserWarning", "ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*spectral_norm.*:FutureWarning")
def test_transposed_convolutions_that_are_left(case: str) -> None:
    build, reason = LEFT[case]
    found, left = find(build())
    assert found == []
    assert left
    assert all(reason in why for _, why in left), left


def upsample(**options: Any) -> nn.Module:
    return nn.Sequential(nn.Upsample(**options), nn.Conv2d(2, 2, 3, padding=1))


def with_conv(**options: Any) -> nn.Module:
    return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(2, 2, 3, **options))


class Functional(nn.Module):
    """Upsampling and convolution that a forward pass calls."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.conv, self.shuffle = nn.Upsample(scale_factor=2), nn.Conv2d(2, 2, 3), nn.PixelShuffle(2)


def share_conv() -> nn.Module:
    conv = nn.Conv2d(2, 2, 3, padding=1)
    return nn.Sequential(nn.Upsample(scale_factor=2), conv, conv)


PAIRS_LEFT: dict[str, tuple[str, Callable[[], nn.Module], str]] = {
    "size": ("nearest_conv", lambda: upsample(size=8), "it upsamples to a fixed size, 8"),
    "fraction": ("nearest_conv", lambda: upsample(scale_factor=1.5), "scale_factor 1.5 is not covered"),
    "one": ("nearest_conv", lambda: upsample(scale_factor=1), "its scale is 1: it does not upsample"),
    "corners": (
        "bilinear_conv",
        lambda: upsample(scale_factor=2, mode="bilinear", align_corners=True),
        "align_corners=True is not covered",
    ),
    "bicubic": (
        "interpolate+conv",
        lambda: upsample(scale_factor=2, mode="bicubic"),
        "mode bicubic is not covered",
    ),
    "ours-bicubic": (
        "interpolate+conv",
        lambda: ResizeConv2d(2, 2, mode="bicubic"),
        "mode bicubic is not covered",
    ),
    "padding": (
        "nearest_conv",
        lambda: with_conv(padding=1, padding_mode="reflect"),
        "padding_mode reflect is not",
    ),
    "ours-padding": (
        "nearest_conv",
        lambda: ResizeConv2d(2, 2, padding_mode="replicate"),
        "padding_mode replicate",
    ),
    "stride": ("nearest_conv", lambda: with_conv(stride=2), "the convolution's stride (2, 2) is not 1"),
    "shared": ("nearest_conv", share_conv, "its convolution is in 2 places: 1, 2"),
    "hooked": (
        "nearest_conv",
        lambda: nn.Sequential(hook(nn.Upsample(scale_factor=2), HOOKS[0]), nn.Conv2d(2, 2, 3)),
        "of 0: it has hooks",
    ),
    "hooked-conv": (
        "nearest_conv",
        lambda: nn.Sequential(nn.Upsample(scale_factor=2), hook(nn.Conv2d(2, 2, 3), HOOKS[0])),
        "it has hooks",
    ),
    "blur": ("subpixel", lambda: SubpixelConv2d(2, 2, blur=True), "blur=True is not covered"),
    "groups": (
        "subpixel",
        lambda: nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.PixelShuffle(2)),
        "4 channels in 2 groups are not blocks of 2×2",
    ),
    "up-alone": ("nearest_conv", Functional, "no Conv2d comes right after it in a Sequential"),
    "shuffle-alone": ("subpixel", Functional, "no Conv2d comes right before it in a Sequential"),
    "between": (
        "nearest_conv",
        lambda: nn.Sequential(nn.Upsample(scale_factor=2), nn.ReflectionPad2d(1), nn.Conv2d(2, 2, 3)),
        "no Conv2d comes right after it",
    ),
}


@pytest.mark.parametrize("case", PAIRS_LEFT)
def test_pairs_that_are_left(case: str) -> None:
    source, build, reason = PAIRS_LEFT[case]
    found, left = find(build(), source)
    assert found == []
    assert len(left) == 1
    assert reason in left[0][1]


def test_what_is_not_meant_is_not_named() -> None:
    model = nn.Sequential(
        nn.Upsample(scale_factor=2, mode="bicubic"), nn.Conv2d(2, 2, 3), Functional(), nn.ConvTranspose1d(1, 1, 2)
    )
    specification = Specification(source="bilinear_conv", target="subpixel")
    assert find_layers(ModuleTree(model), specification) == ([], [])
