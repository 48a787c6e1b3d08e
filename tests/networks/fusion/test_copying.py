"""A copy that shares every tensor and nothing else."""

import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deconvbench.errors import UsageError
from deconvbench.networks.fusion import fuse
from deconvbench.networks.fusion.copying import copy_sharing
from tests.networks.fusion.networks import Up


class Referring(nn.Module):
    """Refers to its parts in ways that are not children."""

    def __init__(self) -> None:
        super().__init__()
        self.part = Up(4, 4)
        self.parts = [self.part]
        self.method: Any = self.part.forward
        self.mean = torch.ones(3)
        self.register_buffer("absent", None)
        self.config = {"width": 4}

    def forward(self, x: Tensor) -> Any:
        return self.method(x)


def test_references_are_to_the_copy() -> None:
    model = Referring()
    found = copy_sharing(model)
    assert found.parts[0] is found.part is not model.part
    assert found.method.__self__ is found.part
    assert found.part.conv.weight is model.part.conv.weight
    assert found.mean is model.mean
    assert found.config == model.config
    assert found.config is not model.config


def test_hooks_are_copied() -> None:
    model = Up()
    seen: list[Any] = []
    model.conv.register_forward_hook(lambda *_: seen.append(1))
    fuse(model).model(torch.zeros(1, 4, 2, 2))
    assert seen == [1]


def test_old_weight_norm_can_be_copied() -> None:
    model = Up()
    with pytest.warns(FutureWarning, match="weight_norm"):
        nn.utils.weight_norm(model.conv)
    x = torch.randn(1, 4, 3, 3)
    model(x)
    assert torch.allclose(copy_sharing(model)(x), model(x))


def test_what_cannot_be_copied_is_named() -> None:
    model = Up()
    model.lock = threading.Lock()  # type: ignore[assignment] # no module
    with pytest.raises(UsageError, match=r"model: cannot be copied \(cannot pickle '_thread.lock'.*inplace=True"):
        fuse(model)
    assert fuse(model, inplace=True).changed
