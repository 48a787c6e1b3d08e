"""Kept weights are those of the weight that is asked for, whatever happened to it."""

import copy
import gc
import pickle
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deconvbench.networks.fusion import fuse
from deconvbench.networks.fusion.weight_cache import WeightCache
from deconvbench.upsamplers.fast.forms import Geometry
from tests.networks.fusion.comparing import run_both
from tests.networks.fusion.networks import UNet, Up
from tests.upsamplers.fast.plain_form import UNSEEN

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
} | {f"weight, {name}": lambda model, change=change: change(model.conv.weight) for name, change in UNSEEN.items()}


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
            torch.testing.assert_close(fused(given), plain, rtol=0, atol=1e-5, equal_nan=True)


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


@pytest.mark.parametrize("kind", ["no_parameter", "gradient", "device"])
def test_some_weights_cannot_be_kept(kind: str) -> None:
    weight: Tensor = torch.randn(2, 3, 3, 3)
    if kind == "gradient":
        weight = nn.Parameter(weight)
    elif kind == "device":
        weight = nn.Parameter(weight.to("meta"), requires_grad=False)
    assert WeightCache().find(weight, 0, 3) is None


def load_assigned(model: Up, weight: Tensor, x: Tensor) -> Tensor:
    model.load_state_dict(model.state_dict() | {"conv.weight": weight}, assign=True)
    y: Tensor = model(x)
    return y


def call_functionally(model: Up, weight: Tensor, x: Tensor) -> Tensor:
    y: Tensor = torch.func.functional_call(model, {"conv.weight": nn.Parameter(weight)}, (x,))
    return y


def replace_parameter(model: Up, weight: Tensor, x: Tensor) -> Tensor:
    model.conv.weight = nn.Parameter(weight)
    y: Tensor = model(x)
    return y


@pytest.mark.parametrize("holds_them", [False, True], ids=["thrown away", "held elsewhere"])
@pytest.mark.parametrize("use", [load_assigned, call_functionally, replace_parameter])
def test_replaced_parameters_leave_nothing_behind(use: Callable[..., Tensor], holds_them: bool) -> None:
    fused: Any = fuse(Up().eval(), inplace=True, cache_weights=True).model
    x, held, references = torch.randn(1, 4, 3, 3), [], []
    shape = fused.conv.weight.shape
    with torch.no_grad():
        for _ in range(20):
            weight = torch.randn(shape)
            expected = torch.conv2d(
                x.repeat_interleave(2, 2).repeat_interleave(2, 3), weight, fused.conv.bias, padding=1
            )
            torch.testing.assert_close(use(fused, weight, x), expected, rtol=0, atol=1e-5)
            references.append(weakref.ref(fused.conv.weight))
            if holds_them:
                held.append(fused.conv.weight)
        assert len(fused.weight_cache) <= 2
        del weight
        fused.conv.weight = nn.Parameter(torch.zeros(shape))
    held.clear()
    gc.collect()
    assert not any(reference() is not None for reference in references)


def test_what_others_of_the_module_keep_stays() -> None:
    model = UNet().eval()
    fused: Any = fuse(nn.Sequential(model).eval(), cache_weights=True).model
    x = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        fused(x)
        caches = [module.weight_cache for module in fused.modules() if "weight_cache" in vars(module)]
        kept = [dict(cache._entries) for cache in caches]
        for _ in range(3):
            fused(x)
    assert [dict(cache._entries) for cache in caches] == kept


def test_what_is_kept_refers_to_no_module() -> None:
    fused: Any = fuse(Up().eval(), cache_weights=True).model
    with torch.no_grad():
        fused(torch.zeros(1, 4, 2, 2))
    reference = weakref.ref(fused)
    weight_cache = fused.weight_cache
    del fused
    assert reference() is None
    assert len(weight_cache) == 1


@pytest.mark.parametrize(
    "build", [Up, UNet, lambda: nn.Sequential(*plain_parts())], ids=["Up", "UNet", "Sequential"]
)
def test_many_threads_call_one_model(build: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    model = build().double().eval()
    channels = 3 if isinstance(model, UNet) else 4
    inputs = [torch.randn(1, channels, 8 * size, 16, dtype=torch.float64) for size in range(1, 7)]
    with torch.no_grad():
        expected = [model(x) for x in inputs]
    for _ in range(3):
        fused = fuse(model, cache_weights=True).model
        start = threading.Barrier(len(inputs))

        def work(index: int, fused: nn.Module = fused, start: threading.Barrier = start) -> None:
            start.wait()
            # grad mode is each thread's own
            with torch.no_grad():
                for _ in range(5):
                    torch.testing.assert_close(fused(inputs[index]), expected[index], rtol=0, atol=1e-9)

        with ThreadPoolExecutor(len(inputs)) as pool:
            list(pool.map(work, range(len(inputs))))


def plain_parts() -> list[nn.Module]:
    convs = [nn.Conv2d(4, 4, 3, padding=1) for _ in range(3)]
    return [part for conv in convs for part in (nn.Upsample(scale_factor=2), conv)]


@pytest.mark.compile
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"backend": "eager", "fullgraph": False}, id="eager"),
        pytest.param({"backend": "aot_eager", "fullgraph": True}, id="aot_eager, full graph"),
        pytest.param({"backend": "eager", "fullgraph": True}, id="eager, full graph"),
    ],
)
@pytest.mark.parametrize("order", ["keep, compile", "compile, keep"])
@pytest.mark.parametrize("build", [Up, lambda: nn.Sequential(*plain_parts())], ids=["watched", "container"])
def test_kept_weights_and_a_compiler_go_together(
    build: Callable[[], nn.Module], order: str, options: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    model = build().double().eval()
    fused, x = (
        fuse(model, cache_weights=order == "keep, compile").model,
        torch.randn(2, 4, 4, 4, dtype=torch.float64),
    )
    torch.compiler.reset()
    compiled = torch.compile(fused, **options)
    with torch.no_grad():
        for step in range(4):
            torch.testing.assert_close(compiled(x), model(x), rtol=0, atol=1e-9)
            torch.testing.assert_close(fused(x), model(x), rtol=0, atol=1e-9)
            if step == 1 and order == "compile, keep":
                # the fused modules are fused again, in place
                vars(fused)["weight_cache"] = WeightCache(fused)
            elif step == 2:
                next(fused.parameters()).data.mul_(2)


def test_copies_are_empty() -> None:
    fused: Any = fuse(Up().eval(), cache_weights=True).model
    with torch.no_grad():
        fused(torch.zeros(1, 4, 2, 2))
    assert len(fused.weight_cache) == 1
    for other in (copy.deepcopy(fused), pickle.loads(pickle.dumps(fused))):
        assert len(other.weight_cache) == 0
        # and know whose parameters are in use
        assert other.weight_cache._find_module() is other


def test_the_name_before_still_works_and_says_what_to_say() -> None:
    with pytest.warns(DeprecationWarning, match="freeze is deprecated: say cache_weights"):
        fused: Any = fuse(Up().eval(), freeze=True).model
    with torch.no_grad():
        fused(torch.zeros(1, 4, 2, 2))
    assert len(fused.weight_cache) == 1
