"""Audits of networks of the project's own training: the cause is the layer of that scale, the twin is clean."""

import functools

import pytest
import torch
from torch import nn

import deconvbench
from deconvbench.records.audit import Audit
from deconvbench.studies.training.images import ImageSet, draw_batch, load_images, shrink
from deconvbench.studies.training.networks import build_network
from deconvbench.studies.training.settings import TrainingSettings

pytestmark = pytest.mark.slow


@functools.cache
def _load() -> ImageSet:
    return load_images(None)


@functools.cache
def audit_trained(task: str, norm: str, upsampler: str, kernel_size: int) -> Audit:
    settings = TrainingSettings(
        task=task,
        norm=norm,
        upsampler=upsampler,
        kernel_size=kernel_size,
        width=8,
        residual_blocks=1,
        crop_size=64,
        batch=2,
        steps=150,
        seed=1,
    )
    network = build_network(settings)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for step in range(settings.steps):
        targets = draw_batch(_load(), settings.batch, settings.crop_size, settings.seed, step)
        inputs = targets if task == "reconstruction" else shrink(targets, 2)
        loss = nn.functional.mse_loss(network(inputs), targets)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call] # torch has no type for it
        optimizer.step()
    side = 128 if task == "reconstruction" else 64
    return deconvbench.audit(network, torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("kernel_size", [3, 4])
def test_each_of_two_stacked_transposed_layers_is_the_cause_at_its_own_scale(kernel_size: int) -> None:
    audit = audit_trained("reconstruction", "instance", "transposed", kernel_size)
    assert audit.judgement == "checkerboards"
    found = {one.period: (one.path, one.is_harmonic) for one in audit.attributions}
    assert set(found) == {2, 4}
    assert found[4] == ("decoder.0", False)
    # what so short a training leaves depends on how the processor rounds: on some the first layer's grid has more
    # at half its period than the second layer's own
    assert found[2] in {("decoder.3", False), ("decoder.0", True)}
    # none has harmonics at its own or a longer period
    assert {harmonic.path for one in audit.attributions for harmonic in one.harmonics} <= {"decoder.0"}
    assert not audit.attributions[1].harmonics


@pytest.mark.parametrize("kernel_size", [3, 4])
def test_a_last_transposed_layer_is_the_cause(kernel_size: int) -> None:
    audit = audit_trained("super-resolution", "none", "transposed", kernel_size)
    assert audit.judgement == "checkerboards"
    assert {one.period: one.path for one in audit.attributions} == {2: "decoder"}
    assert {"DB009"} <= {finding.code for finding in audit.findings}


@pytest.mark.parametrize(("task", "norm"), [("reconstruction", "instance"), ("super-resolution", "none")])
def test_the_twin_of_resize_convolutions_is_clean(task: str, norm: str) -> None:
    audit = audit_trained(task, norm, "nearest_conv", 3)
    assert audit.judgement == "clean"
    assert audit.attributions == ()
    assert {finding.code for finding in audit.findings} == {"DB003"}
