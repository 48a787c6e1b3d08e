from dataclasses import replace

import pytest
import torch
from torch import nn

from deconvbench.studies.training.images import shrink
from deconvbench.studies.training.objective import Enlargement, Objective
from tests.tiny_training import TINY

PHOTOGRAPHS = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_reconstruction_gives_photographs_back_and_compares_pixels() -> None:
    objective = Objective(TINY)
    examples = objective.make_examples(PHOTOGRAPHS, (0, 1))
    assert examples.inputs is examples.targets is PHOTOGRAPHS
    assert float(objective.measure_loss(PHOTOGRAPHS + 0.5, PHOTOGRAPHS)) == pytest.approx(0.25)
    network = nn.Identity()
    assert objective.show(network) is network
    assert objective.score(PHOTOGRAPHS, PHOTOGRAPHS) == {}
    pictures = objective.list_pictures(("a", "b"), examples)
    assert list(pictures) == ["a", "b"]
    assert torch.equal(pictures["b"], PHOTOGRAPHS[1])


@pytest.mark.parametrize("scale_factor", [2, 4])
def test_an_enlargement_begins_with_the_means_of_pixels(scale_factor: int) -> None:
    settings = replace(TINY, task="super-resolution", scale_factor=scale_factor)
    examples = Enlargement(settings).make_examples(PHOTOGRAPHS, (0, 1))
    assert examples.targets is PHOTOGRAPHS
    assert torch.equal(examples.inputs, shrink(PHOTOGRAPHS, scale_factor))
