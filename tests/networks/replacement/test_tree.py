"""Places of modules, and references to them that a replacement would not reach."""

import pytest
import torch
from torch import nn

from deconvbench.networks.replacement.tree import ModuleTree, Slot, is_scripted


def test_places_of_shared_modules_and_containers() -> None:
    conv = nn.Conv2d(1, 1, 1)
    block = nn.Sequential(conv)
    model = nn.ModuleDict({"a": block, "b": block, "c": conv})
    tree = ModuleTree(model)
    assert {slot.path for slot in tree.list_slots(conv)} == {"c", "a.0"}
    assert [slot.path for slot in tree.list_slots(block)] == ["a", "b"]
    assert tree.list_slots(model) == ()


def test_a_slot_puts_a_module_in_its_place_and_order() -> None:
    model = nn.Sequential(nn.ReLU(), nn.Tanh(), nn.ReLU())
    Slot(model, "1", "1").put(nn.Identity())
    assert [type(child).__name__ for child in model] == ["ReLU", "Identity", "ReLU"]


@pytest.mark.parametrize("kind", ["list", "tuple", "dict", "plain"])
def test_references_from_outside_of_the_tree(kind: str) -> None:
    conv = nn.Conv2d(1, 1, 1)
    model = nn.Sequential(nn.Sequential(conv))
    assert ModuleTree(model).explain(conv) is None
    vars(model[0])["kept"] = {"list": [conv], "tuple": (1, conv), "dict": {"a": conv}, "plain": conv}[kind]
    assert "0.kept refers to it" in str(ModuleTree(model).explain(conv))


def test_modules_without_parameters_have_nothing_against_them() -> None:
    shuffle = nn.PixelShuffle(2)
    assert ModuleTree(nn.Sequential(shuffle)).explain(shuffle) is None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scripted_parts_are_seen() -> None:
    model = nn.Sequential(nn.ReLU())
    assert not is_scripted(model)
    model[0] = torch.jit.script(nn.ReLU())
    assert is_scripted(model)
