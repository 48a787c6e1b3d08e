"""Kept weights are those of the weight that is asked for, whatever happened to it."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deconvbench.networks.fusion import fuse
from deconvbench.networks.fusion.weight_cache import WeightCache
from deconvbench.upsamplers.fast.forms import Geometry
from tests.networks.fusion.comparing import run_both
from tests.networks.fusion.networks import UNet, Up

GEOMETRY = Geometry(kernel_size=3, scale_factor=2, groups=1, padding_mode="zeros")


def assign(model: Up) -> None:
    model.conv.weight = nn.Parameter(model.conv.weight.detach() * 2)


def assign_data(model: Up) -> None:
    model.conv.weight.data = model.conv.weight.data * 2


def step(model: Up) -> None:
    model.conv.weight.grad = torch.ones_like(model.conv.weight)
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    model.conv.weight.grad = None


CHANGES: dict[str, Callable[[Up], object]] = {
    "in_place": lambda model: torch.no_grad()(model.conv.weight.mul_)(2),
    "assigned": assign,
    "data_assigned": assign_data,
    "optimizer": step,
    "load_state_dict": lambda model: model.load_state_dict({k: 3 * v for k, v in model.state_dict().items()}),
    "initialised": lambda model: nn.init.normal_(model.conv.weight),
    "to_single": lambda model: model.float(),
    "train_and_eval": lambda model: model.train().eval(),
    "nothing": lambda model: None,
}


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode], ids=["no_grad", "inference_mode"])
@pytest.mark.parametrize("name", CHANGES)
def test_no_old_weight_is_used(name: str, mode: Callable[[], object]) -> None:
    torch.manual_seed(0)
    fused = fuse(Up().double().eval(), inplace=True, cache_weights=True).model
    assert isinstance(fused, Up)
    x = torch.randn(1, 4, 3, 3, dtype=torch.float64)
    for _ in range(2):
        with torch.no_grad():
            fused(x.to(fused.conv.weight.dtype))
        CHANGES[name](fused)
        with mode():  # type: ignore[attr-defined] # both are context managers
            given = x.to(fused.conv.weight.dtype)
            plain = torch.conv2d(
                given.repeat_interleave(2, 2).repeat_interleave(2, 3),
                fused.conv.weight,
                fused.conv.bias,
                padding=1,
            )
            assert (fused(given) - plain).abs().max() <= 1e-5


def test_each_part_of_a_weight_is_kept_by_itself() -> None:
    torch.manual_seed(0)
    model = UNet().double().eval()
    fused: Any = fuse(model, cache_weights=True).model
    x = torch.randn(1, 3, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        for _ in range(2):
            assert run_both(model, fused, x) <= 1e-10
    assert [len(block.weight_cache) for block in fused.blocks] == [1, 1, 1]


def test_what_is_kept_is_used() -> None:
    weight_cache = WeightCache()
    weight = nn.Parameter(torch.randn(2, 3, 3, 3))
    with torch.no_grad():
        find = weight_cache.find(weight, 1, 2)
        assert find is not None
        first = find("transposed", GEOMETRY, torch.contiguous_format, torch.float32)
        assert find("transposed", GEOMETRY, torch.contiguous_format, torch.float32) is first
    assert not first.requires_grad
    assert first.shape == (2, 2, 4, 4)
    assert len(weight_cache) == 1
    weight_cache.clear()
    assert len(weight_cache) == 0


def test_what_is_made_in_inference_mode_may_be_used_outside() -> None:
    model = Up().eval()
    model.requires_grad_(requires_grad=False)
    fused = fuse(model, cache_weights=True).model
    x = torch.randn(1, 4, 3, 3)
    with torch.inference_mode():
        fused(x)
    fused(x.requires_grad_()).sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("kind", ["no_parameter", "gradient", "inference"])
def test_some_weights_cannot_be_kept(kind: str) -> None:
    weight: Tensor = torch.randn(2, 3, 3, 3)
    if kind == "gradient":
        weight = nn.Parameter(weight)
    elif kind == "inference":
        with torch.inference_mode():
            weight = nn.Parameter(torch.randn(2, 3, 3, 3), requires_grad=False)
    assert WeightCache().find(weight, 0, 3) is None


def test_copies_are_empty() -> None:
    fused: Any = fuse(Up().eval(), cache_weights=True).model
    with torch.no_grad():
        fused(torch.zeros(1, 4, 2, 2))
    assert len(fused.weight_cache) == 1
    for other in (copy.deepcopy(fused), pickle.loads(pickle.dumps(fused))):
        assert len(other.weight_cache) == 0


def test_the_name_before_still_works_and_says_what_to_say() -> None:
    with pytest.warns(DeprecationWarning, match="freeze is deprecated: say cache_weights"):
        fused: Any = fuse(Up().eval(), freeze=True).model
    with torch.no_grad():
        fused(torch.zeros(1, 4, 2, 2))
    assert len(fused.weight_cache) == 1
