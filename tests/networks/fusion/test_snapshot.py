"""Putting a model back: whatever it holds, however it was changed, also after an error."""

import collections
import random
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deconvbench.networks.fusion.snapshot import keep_everything


class Cache:
    def __init__(self) -> None:
        self.entries: dict[str, Tensor] = {}
        self.uses = 0


class Small:
    __slots__ = ("uses",)

    def __init__(self) -> None:
        self.uses = 1000


def make_counter() -> Callable[[], int]:
    uses = 0

    def use() -> int:
        nonlocal uses
        uses += 1
        return uses

    return use


class Holding(nn.Module):
    """Holds one of everything."""

    uses = 0
    shared: list[int] = []  # noqa: RUF012 -- the trap that this is about

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.register_buffer("steps", torch.zeros(()))
        self.steps: Tensor
        self.register_buffer("late", None)
        self.state: Tensor | None = None
        self.kept = torch.zeros(2)
        self.numbers = [1]
        self.nested = {"a": {"b": [1]}}
        self.ordered = collections.OrderedDict(a=1, b=2)
        self.counts: collections.Counter[str] = collections.Counter()
        self.names = {"a"}
        self.queue = collections.deque([1], maxlen=2)
        self.bytes = bytearray(b"a")
        self.array = np.zeros(2)
        self.generator = torch.Generator().manual_seed(1)
        self.random = random.Random(1)
        self.numpy = np.random.default_rng(1)
        self.cache, self.small = Cache(), Small()
        self.counter = make_counter()
        self.inside = nn.BatchNorm2d(2)


def change_and_fail(model: Holding, change: str) -> None:
    with keep_everything(model):
        CHANGES[change](model)
        model.kept = torch.ones(1)
        raise ArithmeticError


CHANGES: dict[str, Callable[[Holding], Any]] = {
    "buffer_rebound": lambda m: setattr(m, "steps", m.steps + 1),
    "buffer_written": lambda m: m.steps.add_(1),
    "buffer_by_data": lambda m: m.steps.data.add_(1),
    "buffer_made": lambda m: setattr(m, "late", torch.ones(1)),
    "buffer_resized": lambda m: m.steps.resize_(3),
    "parameter_by_data": lambda m: m.weight.data.mul_(2),
    "parameter_reassigned": lambda m: setattr(m.weight, "data", torch.zeros(5)),
    "parameter_replaced": lambda m: setattr(m, "weight", nn.Parameter(torch.zeros(3))),
    "parameter_without_gradient": lambda m: setattr(m.weight, "requires_grad", False),
    "gradient": lambda m: torch.autograd.backward(m.weight.sum()),
    "state": lambda m: setattr(m, "state", torch.ones(2)),
    "tensor": lambda m: m.kept.add_(1),
    "new_attribute": lambda m: setattr(m, "new", 1),
    "attribute_gone": lambda m: delattr(m, "numbers"),
    "list": lambda m: m.numbers.append(2),
    "dict": lambda m: m.nested["a"]["b"].append(2),
    "dict_order": lambda m: m.ordered.move_to_end("a"),
    "counter": lambda m: m.counts.update("ab"),
    "set": lambda m: m.names.add("b"),
    "deque": lambda m: m.queue.extend([2, 3, 4]),
    "bytes": lambda m: m.bytes.extend(b"b"),
    "array": lambda m: m.array.__iadd__(1),
    "generator": lambda m: torch.rand(2, generator=m.generator),
    "random": lambda m: m.random.random(),
    "numpy": lambda m: m.numpy.random(),
    "object": lambda m: vars(m.cache).update(entries={"a": torch.ones(1)}, uses=5),
    "slots": lambda m: setattr(m.small, "uses", 2000),
    "closure": lambda m: m.counter(),
    "class": lambda m: setattr(type(m), "uses", 3),
    "class_list": lambda m: m.shared.append(1),
    "new_class_attribute": lambda m: setattr(type(m), "more", 3),
    "flag": lambda m: m.train(),
    "hook": lambda m: m.inside.register_forward_hook(lambda *_: None),
    "child": lambda m: setattr(m, "inside", nn.Identity()),
    "child_norm": lambda m: m.inside.train()(torch.rand(2, 2, 3, 3)),
    "global_randomness": lambda _: (torch.rand(1), random.random(), np.random.rand()),  # noqa: NPY002 -- others use it
}


def describe(model: Holding) -> list[Any]:
    """Write down everything that can be seen."""
    seen: list[Any] = []
    for module in model.modules():
        for name, value in sorted(vars(module).items()):
            seen.append((type(module).__name__, name, str(value)))
    seen += [model.weight.requires_grad, str(model.weight.grad), id(model.weight), id(model.steps)]
    seen += [model.generator.get_state().tolist(), model.random.getstate(), str(model.numpy.bit_generator.state)]
    seen += [str(vars(model.cache)), model.small.uses, model.counter.__closure__[0].cell_contents]  # type: ignore[index] # it has one
    seen += [sorted(name for name in vars(type(model))), type(model).uses, list(type(model).shared)]
    seen += [torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())]  # noqa: NPY002 -- as above
    return seen


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_changed_is_put_back(change: str) -> None:
    model = Holding().eval()
    before = describe(model)
    with keep_everything(model):
        CHANGES[change](model)
        assert describe(model) != before
    assert describe(model) == before


@pytest.mark.parametrize("change", ["state", "buffer_rebound", "list", "global_randomness"])
def test_it_is_put_back_after_an_error_too(change: str) -> None:
    model = Holding().eval()
    before = describe(model)
    with pytest.raises(ArithmeticError):
        change_and_fail(model, change)
    assert describe(model) == before


def test_what_is_not_changed_is_not_written_to() -> None:
    model = Holding()
    model.kept.fill_(float("nan"))
    versions = [tensor._version for tensor in (model.weight, model.steps, model.kept)]
    with keep_everything(model):
        pass
    assert [tensor._version for tensor in (model.weight, model.steps, model.kept)] == versions


def test_what_a_hook_collects_is_put_back() -> None:
    model, seen = nn.Conv2d(1, 1, 1), []
    model.register_forward_hook(lambda *_: seen.append(1))
    with keep_everything(model):
        model(torch.zeros(1, 1, 2, 2))
        assert seen == [1]
    assert seen == []


class Far:
    def __init__(self, further: Any) -> None:
        self.further = further


def test_objects_of_objects_are_followed_for_a_while_and_locks_never() -> None:
    model: Any = nn.Identity()
    near, far = [1], [1]
    model.near, model.far, model.lock = Far(near), Far(Far(Far(far))), threading.Lock()
    with keep_everything(model):
        near.append(2)
        far.append(2)
    assert near == [1]
    assert far == [1, 2]


def test_weights_that_autocast_has_cast_are_not_kept() -> None:
    conv, x = nn.Conv2d(2, 2, 1), torch.randn(1, 2, 2, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with keep_everything(conv), torch.no_grad():
            conv(x)
        conv(x).sum().backward()
        assert torch.is_autocast_cache_enabled()
    assert conv.weight.grad is not None


def test_lazy_modules_stay_initialised() -> None:
    model = nn.LazyConv2d(2, 1)
    with keep_everything(model):
        model(torch.zeros(1, 3, 2, 2))
    assert type(model) is nn.Conv2d
    assert model(torch.zeros(1, 3, 2, 2)).shape == (1, 2, 2, 2)


def test_tensors_of_other_kinds_are_left_alone() -> None:
    model: Any = nn.Identity()
    model.sparse, model.meta = torch.eye(2).to_sparse(), torch.empty(1, device="meta")
    model.special = torch.ones(1).as_subclass(Special)
    with keep_everything(model):
        model.special = None
    assert type(model.special) is Special


class Special(Tensor):
    pass
