from dataclasses import replace

import pytest
import torch

from deconvbench.errors import UsageError
from deconvbench.studies.training.held_out import hold_out
from deconvbench.studies.training.images import load_images, shrink
from tests.tiny_training import TINY, make_images


def test_a_network_is_scored_on_test_images_alone() -> None:
    held_out = hold_out(make_images(), TINY)
    assert len(held_out.names) == len(set(held_out.names)) == len(held_out.targets)
    assert all(name.startswith("test") for name in held_out.names)
    assert held_out.targets.shape[1:] == (3, 32, 32)
    assert held_out.inputs is held_out.targets
    assert held_out.mean_colour.shape == (3,)


def test_super_resolution_gets_small_images() -> None:
    held_out = hold_out(make_images(), replace(TINY, task="super-resolution"))
    assert torch.equal(held_out.inputs, shrink(held_out.targets, 2))


def test_the_shapes_that_are_scored_on_are_the_same_for_every_run() -> None:
    settings = replace(TINY, task="segmentation")
    one, other = (hold_out(make_images(), replace(settings, seed=seed)) for seed in (0, 5))
    assert torch.equal(one.inputs, other.inputs)
    assert torch.equal(one.targets, other.targets)
    assert not torch.equal(one.inputs, hold_out(make_images(), TINY).inputs)
    # and of one square whatever other squares there are
    assert float(one.targets.sum(1).max()) == 1


def test_crops_too_large_for_the_images_are_refused() -> None:
    with pytest.raises(UsageError, match="no image has 64×64 pixels"):
        hold_out(make_images(), replace(TINY, crop_size=64))


def test_the_tuned_recipe_is_scored_on_larger_squares_and_more_of_them() -> None:
    images = load_images(None)
    tuned = replace(TINY, recipe="tuned", crop_size=64)
    held_out = hold_out(images, tuned)
    assert held_out.targets.shape == (12, 3, 128, 128)
    assert len(set(held_out.names)) == 12
    plain = hold_out(images, replace(TINY, crop_size=128))
    assert plain.targets.shape == (6, 3, 128, 128)
    # the first ones are those of the plain recipe at that size
    assert plain.names == held_out.names[:6]
    assert torch.equal(plain.targets, held_out.targets[:6])
    for settings in (replace(tuned, task="super-resolution"), replace(tuned, variant="last-3")):
        assert torch.equal(hold_out(images, settings).targets, held_out.targets)


def test_squares_are_no_larger_than_the_test_images() -> None:
    # these have 48 pixels
    assert hold_out(make_images(), replace(TINY, recipe="tuned")).targets.shape[1:] == (3, 48, 48)
