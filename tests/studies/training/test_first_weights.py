"""What a network begins with under the tuned recipe."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from deconvbench.studies.training.networks import build_network
from deconvbench.studies.training.settings import TASKS, TUNED_SETTINGS, TrainingSettings, choose_layers
from deconvbench.studies.training.variants import VARIANTS
from tests.tiny_training import TINY

LAYERS = choose_layers(all_upsamplers=True)
SETTINGS = TrainingSettings(upsampler="transposed", kernel_size=3, norm="none", **TUNED_SETTINGS)


def watch(network: nn.Module, names: tuple[str, ...]) -> dict[str, tuple[Tensor, Tensor]]:
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    for name in names:
        network.get_submodule(name).register_forward_hook(
            lambda module, args, output, name=name: seen.update({name: (args[0], output)})
        )
    with torch.no_grad():
        coarse = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
        network(nn.functional.interpolate(coarse, (64, 64), mode="bilinear"))
    return seen


@pytest.mark.parametrize("task", TASKS)
def test_a_residual_block_begins_as_the_identity(task: str) -> None:
    for norm in ("none", "instance"):
        network = build_network(replace(SETTINGS, task=task, norm=norm))
        seen = watch(network, ("blocks.0", "blocks.1"))
        assert all(torch.equal(*pair) for pair in seen.values())
        # and learns from the first step
        network(torch.rand(1, 3, 32, 32)).square().mean().backward()
        last = network.get_parameter(f"blocks.0.branch.{4 if norm == 'instance' else 3}.weight")
        assert last.grad is not None
        assert float(last.grad.abs().sum()) > 0


def test_convolutions_before_a_relu_keep_the_mean_square() -> None:
    network = build_network(replace(SETTINGS, width=32))
    seen = watch(network, ("encoder.3", "encoder.5", "encoder.6", "encoder.8"))
    for first, last in (("encoder.3", "encoder.5"), ("encoder.6", "encoder.8")):
        before, after = seen[first][0], seen[last][1]
        assert 0.5 < float(after.square().mean() / before.square().mean()) < 2


@pytest.mark.parametrize(("upsampler", "kernel_size"), LAYERS, ids=[f"{name}-k{k}" for name, k in LAYERS])
@pytest.mark.parametrize("task", TASKS)
def test_upsamplers_keep_the_power_of_what_they_get(task: str, upsampler: str, kernel_size: int | None) -> None:
    network = build_network(replace(SETTINGS, task=task, upsampler=upsampler, kernel_size=kernel_size))
    for before, after in watch(network, network.upsamplers).values():
        seen = after if task == "super-resolution" else after.relu()
        assert 0.4 < float(seen.square().mean() / before.square().mean()) < 2.5


@pytest.mark.parametrize("task", VARIANTS["gain-2"].tasks)
@pytest.mark.parametrize("upsampler", ["transposed", "nearest_conv", "separable_transposed"])
def test_a_gain_of_the_first_weights_is_that_of_the_upsampler(task: str, upsampler: str) -> None:
    settings = replace(SETTINGS, task=task, upsampler=upsampler)
    standard = build_network(settings)
    name = standard.upsamplers[0]  # what comes into it does not depend on its own weights
    ((x, before),) = watch(standard, (name,)).values()
    for variant, gain in (("gain-0.5", 0.5), ("gain-2", 2.0)):
        network = build_network(replace(settings, variant=variant))
        ((same, after),) = watch(network, (name,)).values()
        assert torch.equal(same, x)
        torch.testing.assert_close(after, gain * before, rtol=1e-4, atol=1e-6)
        one, other = standard.state_dict(), network.state_dict()
        assert all(torch.equal(one[key], other[key]) for key in one if not key.startswith("decoder."))
        if upsampler != "separable_transposed":  # whose two layers share the gain
            ratios = other[f"{name}.{find_weight(other, name)}"] / one[f"{name}.{find_weight(one, name)}"]
            torch.testing.assert_close(ratios, torch.full_like(ratios, gain), rtol=1e-5, atol=0)


def test_the_gain_of_unpooling_is_that_with_the_switches_of_its_encoder() -> None:
    settings = replace(SETTINGS, upsampler="max_unpool_conv", variant="encoder-switches")
    network = build_network(settings)
    for before, after in watch(network, network.upsamplers).values():
        assert 0.4 < float(after.relu().square().mean() / before.square().mean()) < 2.5


def find_weight(state: dict[str, Tensor], name: str) -> str:
    (found,) = (key.removeprefix(f"{name}.") for key in state if key.startswith(name) and key.endswith("weight"))
    return found


def test_weights_behind_a_softmax_are_left_as_they_were() -> None:
    settings = replace(SETTINGS, upsampler="carafe", kernel_size=None)
    networks = build_network(settings), build_network(replace(settings, recipe="plain"))
    tuned, plain = (network.get_submodule(network.upsamplers[0]) for network in networks)
    before = dict(plain.named_parameters())
    changed = {name for name, weight in tuned.named_parameters() if not torch.equal(weight, before[name])}
    kept = {name for name, weight in tuned.named_parameters() if weight.ndim > 1} - changed
    assert len(kept) >= 2
    assert any(name.endswith("weight") for name in changed)


def test_all_but_the_upsamplers_is_shared_and_depends_on_the_seed() -> None:
    one = build_network(SETTINGS).state_dict()
    other = build_network(replace(SETTINGS, upsampler="subpixel")).state_dict()
    third = build_network(replace(SETTINGS, seed=1)).state_dict()
    shared = [name for name in one if not name.startswith("decoder.")]
    assert all(torch.equal(one[name], other[name]) for name in shared)
    assert not torch.equal(one["last.weight"], third["last.weight"])


def test_the_global_random_state_is_left_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    build_network(replace(TINY, recipe="tuned"))
    assert torch.equal(torch.rand(3), expected)
