from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deconvbench.errors import UnsupportedError, UsageError
from deconvbench.studies.training.networks import (
    ResidualBlock,
    SuperResolutionNetwork,
    TransformationNetwork,
    build_network,
)
from deconvbench.studies.training.settings import TASKS, TrainingSettings, choose_layers
from deconvbench.studies.training.variants import VARIANTS
from tests.tiny_training import TINY

LAYERS = choose_layers(all_upsamplers=True)
IDS = [f"{name}-k{kernel_size}" for name, kernel_size in LAYERS]


@pytest.mark.parametrize(("upsampler", "kernel_size"), LAYERS, ids=IDS)
@pytest.mark.parametrize("task", TASKS)
def test_every_upsampler_fits_into_the_network_of_every_task(
    task: str, upsampler: str, kernel_size: int | None
) -> None:
    settings = TrainingSettings(task=task, upsampler=upsampler, kernel_size=kernel_size, residual_blocks=1)
    network = build_network(settings)
    out = network(torch.rand(1, 3, 16, 20))
    shapes = {"super-resolution": (1, 3, 32, 40), "segmentation": (1, 4, 16, 20)}
    assert out.shape == shapes.get(task, (1, 3, 16, 20))
    out.square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("variant", [name for name in VARIANTS if name.startswith("last-")])
def test_a_variant_has_another_last_layer_and_shares_all_else(task: str, variant: str) -> None:
    if task not in VARIANTS[variant].tasks:
        with pytest.raises(UsageError, match=f"variant: {variant} is for .*, not for {task}"):
            replace(TINY, task=task, variant=variant)
        return
    for recipe in ("plain", "tuned"):
        standard = build_network(replace(TINY, task=task, recipe=recipe))
        network = build_network(replace(TINY, task=task, recipe=recipe, variant=variant))
        size = int(variant.removeprefix("last-"))
        assert isinstance(network.last, nn.Conv2d)
        assert (network.last.kernel_size, network.last.stride) == ((size, size), (1, 1))
        assert (network.last.in_channels, network.last.out_channels) == (2, 3)
        x = torch.rand(1, 3, 32, 32)
        assert network(x).shape == standard(x).shape
        one, other = standard.state_dict(), network.state_dict()
        shared = [name for name in one if name.startswith(("encoder.", "blocks."))]
        assert len(shared) >= 6
        assert all(torch.equal(one[name], other[name]) for name in shared)


def test_what_was_the_head_of_super_resolution_keeps_its_channels_before_a_last_layer() -> None:
    network = build_network(replace(TINY, task="super-resolution", variant="last-3", norm="none"))
    seen: list[torch.Tensor] = []
    network.get_submodule("last").register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    network(torch.rand(1, 3, 16, 16))
    assert seen[0].shape == (1, 2, 32, 32)
    assert float(seen[0].detach().min()) == 0  # behind a ReLU


UNPOOLING = replace(TINY, upsampler="max_unpool_conv", norm="none", variant="encoder-switches")


def pool(x: Tensor) -> tuple[Tensor, Tensor]:
    """Largest value of each 2×2 window, and where it was in the flattened map: the definition."""
    batch, channels, height, width = x.shape
    values = torch.empty(batch, channels, height // 2, width // 2)
    indices = torch.empty(values.shape, dtype=torch.int64)
    for n, c, h, w in np.ndindex(*values.shape):
        places = [(2 * h + a, 2 * w + b) for a in (0, 1) for b in (0, 1)]
        row, column = max(places, key=lambda place: float(x[n, c, place[0], place[1]]))
        values[n, c, h, w], indices[n, c, h, w] = x[n, c, row, column], row * width + column
    return values, indices


def unpool(x: Tensor, indices: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    y = torch.zeros(batch, channels, 4 * height * width)
    for n, c, h, w in np.ndindex(*x.shape):
        y[n, c, indices[n, c, h, w]] = x[n, c, h, w]
    return y.reshape(batch, channels, 2 * height, 2 * width)


@pytest.mark.parametrize("recipe", ["plain", "tuned"])
def test_values_go_back_to_where_the_encoders_maxima_were(recipe: str) -> None:
    network = build_network(replace(UNPOOLING, recipe=recipe, residual_blocks=0))
    x = torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        y, switches = network.encoder[:3](x - 0.5), []
        for stage in (network.encoder[3:6], network.encoder[6:]):
            y, indices = pool(stage(y))
            switches.append(indices)
        assert y.shape == (2, 8, 2, 3)
        for name in network.upsamplers:
            y = network.get_submodule(f"{name}.conv")(unpool(y, switches.pop())).relu()
        expected = network.last(y) + 0.5  # type: ignore[misc] # there is one
        torch.testing.assert_close(network(x), expected)


def test_switches_change_no_weight_of_the_network() -> None:
    for recipe in ("plain", "tuned"):
        settings = replace(UNPOOLING, recipe=recipe)
        one = build_network(replace(settings, variant="standard")).state_dict()
        other = build_network(settings).state_dict()
        assert one.keys() == other.keys()
        # the tuned recipe sets the gain of an upsampler by what comes into it
        same = [name for name in one if recipe == "plain" or not name.startswith("decoder.")]
        assert all(torch.equal(one[name], other[name]) for name in same)
        convs = [module for module in build_network(settings).encoder if isinstance(module, nn.Conv2d)]
        assert {conv.stride for conv in convs} == {(1, 1)}


def test_switches_depend_on_the_image_and_gradients_reach_all() -> None:
    network = build_network(replace(UNPOOLING, norm="instance"))
    seen: list[Tensor] = []
    network.get_submodule("decoder.0").register_forward_pre_hook(lambda _, args: seen.append(args[1]))
    for image in torch.rand(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(1)):
        network(image).square().mean().backward()
    assert not torch.equal(*seen)
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert network(torch.rand(2, 3, 16, 24)).shape == (2, 3, 16, 24)


def test_the_transformation_network_is_johnsons() -> None:
    network = build_network(TrainingSettings(upsampler="transposed", kernel_size=3, width=32))
    assert isinstance(network, TransformationNetwork)
    kinds = (nn.Conv2d, nn.InstanceNorm2d, nn.ReLU, nn.ConvTranspose2d, ResidualBlock)
    found = [module for module in network.modules() if isinstance(module, kinds)]
    assert sum(isinstance(module, ResidualBlock) for module in found) == 5
    convs = [module for module in network.encoder if isinstance(module, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.kernel_size[0], c.stride[0]) for c in convs] == [
        (3, 32, 9, 1),
        (32, 64, 3, 2),
        (64, 128, 3, 2),
    ]
    assert (network.last.in_channels, network.last.out_channels, network.last.kernel_size) == (32, 3, (9, 9))
    # three of the encoder, two a block, two of the decoder; none after the last
    assert sum(isinstance(module, nn.InstanceNorm2d) for module in found) == 3 + 10 + 2
    assert sum(isinstance(module, nn.ReLU) for module in found) == 3 + 5 + 2
    assert all(c.padding_mode == "reflect" for c in found if type(c) is nn.Conv2d)


def test_segmentation_differs_by_its_last_layer_alone() -> None:
    settings = replace(TINY, width=4)
    one, other = (build_network(replace(settings, task=task)) for task in ("reconstruction", "segmentation"))
    assert isinstance(other, TransformationNetwork)
    assert other.last.weight.shape == (4, 4, 9, 9)
    shapes = [{name: tuple(weight.shape) for name, weight in net.state_dict().items()} for net in (one, other)]
    assert {name for name in shapes[0] if shapes[0][name] != shapes[1][name]} == {"last.weight", "last.bias"}
    assert shapes[0].keys() == shapes[1].keys()


def test_without_a_norm_there_is_none() -> None:
    for task in TASKS:
        network = build_network(replace(TINY, task=task, norm="none"))
        assert not any(isinstance(module, nn.InstanceNorm2d) for module in network.modules())


def test_the_upsampler_is_the_head_of_super_resolution() -> None:
    network = build_network(replace(TINY, task="super-resolution", upsampler="nearest_conv"))
    assert isinstance(network, SuperResolutionNetwork)
    assert type(network.decoder).__name__ == "NearestConv"
    assert network.encoder[0].kernel_size == (5, 5)


def test_weights_come_from_the_seed_alone_and_chance_is_left_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = build_network(TINY).state_dict()
    assert torch.equal(torch.rand(3), expected)
    second = build_network(TINY).state_dict()
    other = build_network(replace(TINY, seed=1)).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("task", TASKS)
def test_upsamplers_share_all_other_first_weights(task: str) -> None:
    one = build_network(replace(TINY, task=task)).state_dict()
    other = build_network(replace(TINY, task=task, upsampler="subpixel_icnr")).state_dict()
    shared = [name for name in one if not name.startswith("decoder.")]
    assert len(shared) >= 8
    assert all(torch.equal(one[name], other[name]) for name in shared)


def test_without_residual_blocks_and_at_scale_3() -> None:
    network = build_network(replace(TINY, residual_blocks=0, scale_factor=3, crop_size=36))
    assert network(torch.rand(2, 3, 36, 18)).shape == (2, 3, 36, 18)


def test_middle_grey_is_zero_inside() -> None:
    network = build_network(replace(TINY, norm="none"))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
    assert torch.equal(network(torch.full((1, 3, 16, 16), 0.5)), torch.full((1, 3, 16, 16), 0.5))


def test_a_kernel_that_cannot_be_built_is_refused() -> None:
    with pytest.raises(UnsupportedError):
        build_network(replace(TINY, kernel_size=1))
