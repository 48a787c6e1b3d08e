from dataclasses import replace

import pytest
import torch

from deconvbench.records.training_tasks import TRAINING_TASKS
from deconvbench.studies.training.networks import build_network
from deconvbench.studies.training.tasks import make_objective
from tests.tiny_training import TINY


@pytest.mark.parametrize("task", TRAINING_TASKS)
def test_a_network_can_be_trained_shown_and_scored_by_its_task(task: str) -> None:
    settings = replace(TINY, task=task)
    objective, network = make_objective(settings), build_network(settings)
    photographs = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    examples = objective.make_examples(photographs, (0, 1))
    loss = objective.measure_loss(network(examples.inputs), examples.targets)
    loss.backward()  # type: ignore[no-untyped-call] # torch has no types here
    assert loss.shape == ()
    assert all(parameter.grad is not None for parameter in network.parameters())
    with torch.no_grad():
        shown = objective.show(network)(examples.inputs)
    assert shown.shape == examples.targets.shape == photographs.shape
    scores = objective.score(shown, examples.targets)
    assert tuple(scores) == TRAINING_TASKS[task].scores
    assert all(score >= 0 for score in scores.values())
    assert list(objective.list_pictures(("a", "b"), examples))[:2] == ["a", "b"]
