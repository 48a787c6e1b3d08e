import math

import pytest
import torch
from torch import nn

from deconvbench.studies.training import segmentation
from deconvbench.studies.training.segmentation import (
    Segmentation,
    ShapeProbabilities,
    draw_shapes,
    find_classes,
    measure_boundary_error,
    measure_miou,
)
from tests.tiny_training import TINY

GREY = torch.full((3, 64, 64), 0.5)


def make_map(*squares: tuple[int, int, int, int, int], side: int = 32) -> torch.Tensor:
    """A map of classes with rectangles: class, top, left, bottom, right."""
    classes = torch.zeros(1, side, side, dtype=torch.int64)
    for label, top, left, bottom, right in squares:
        classes[0, top:bottom, left:right] = label
    return classes


def test_shapes_come_from_their_chance_alone() -> None:
    photograph = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    state = torch.get_rng_state()
    one, again, other = (draw_shapes(photograph, chance) for chance in ((1, 2), (1, 2), (1, 3)))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first, second) for first, second in zip(one, again, strict=True))
    assert not torch.equal(one[1], other[1])


def test_each_pixel_has_one_class_and_what_is_no_shape_is_the_photograph() -> None:
    photograph = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    for step in range(20):
        picture, truth = draw_shapes(photograph, (0, step))
        assert set(truth.flatten().tolist()) <= {0.0, 1.0}
        assert float(truth.sum(0).max()) == 1
        assert 0 <= float(picture.min()) <= float(picture.max()) <= 1
        # an edge is smoothed over a pixel, and a corner's tip may hold no pixel's centre
        background = nn.functional.max_pool2d(truth.sum(0)[None, None], 9, 1, 4)[0, 0] == 0
        assert torch.equal(picture[:, background], photograph[:, background])
        inside = -nn.functional.max_pool2d(-truth.sum(0)[None, None], 5, 1, 2)[0, 0] == 1
        changed = (picture - photograph).abs().sum(0)
        assert float(changed[inside].mean()) > 0.1


@pytest.mark.parametrize("kind", range(3), ids=["disc", "square", "triangle"])
@pytest.mark.parametrize("turn", [0.0, 0.7, 2.0])
def test_shapes_of_one_radius_have_one_area(kind: int, turn: float) -> None:
    places = torch.arange(128) + 0.5 - 64
    outside = segmentation._measure_outside(kind, places[:, None], places, 30.0, turn)
    assert float((outside < 0).sum()) == pytest.approx(math.pi * 30**2, rel=0.04)
    # a distance: one pixel on is one more
    assert float((outside < 10).sum()) > float((outside < 0).sum())
    steps = outside[64, 64:].diff()
    assert float(steps.max()) == pytest.approx(1, abs=0.35)


def test_a_larger_picture_has_more_shapes_and_of_the_same_size() -> None:
    shares = []
    for side in (64, 128):
        drawn = [draw_shapes(torch.zeros(3, side, side), (0, step))[1] for step in range(60)]
        shares.append(float(torch.stack(drawn).sum(1).mean()))
    assert shares[0] == pytest.approx(shares[1], rel=0.3)
    assert 0.1 < shares[0] < 0.5


def test_all_shapes_occur_alike() -> None:
    truths = torch.stack([draw_shapes(GREY, (0, step))[1] for step in range(300)])
    shares = truths.mean((0, 2, 3))
    assert float(shares.min()) > 0.7 * float(shares.max())


def test_examples_differ_within_a_batch() -> None:
    examples = Segmentation(TINY).make_examples(GREY.expand(2, -1, -1, -1), (0, 5))
    assert not torch.equal(examples.targets[0], examples.targets[1])


def test_the_loss_is_the_cross_entropy_of_each_pixels_class() -> None:
    truth = torch.zeros(1, 3, 2, 2)
    truth[0, 1, 0, 0] = 1
    logits = torch.zeros(1, 4, 2, 2)
    objective = Segmentation(TINY)
    assert float(objective.measure_loss(logits, truth)) == pytest.approx(math.log(4))
    logits[0, 0] = 50
    logits[0, :, 0, 0] = torch.tensor([0.0, 0, 50, 0])
    assert float(objective.measure_loss(logits, truth)) == pytest.approx(0, abs=1e-6)


def test_probabilities_are_shown_without_the_background() -> None:
    class Logits(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tensor([2.0, 1.0, 0.0, -1.0]).log_softmax(0)[None, :, None, None].expand(len(x), 4, 5, 5)

    network = Logits()
    shown = Segmentation(TINY).show(network)
    assert isinstance(shown, ShapeProbabilities)
    assert shown.network is network
    expected = torch.tensor([2.0, 1.0, 0.0, -1.0]).softmax(0)[1:]
    assert torch.allclose(shown(torch.zeros(1, 3, 5, 5))[0, :, 2, 2], expected)


def test_classes_are_the_most_probable() -> None:
    pictures = torch.tensor([[0.1, 0.2, 0.1], [0.4, 0.1, 0.2], [0, 0.3, 0.6]]).T[None, :, :, None]
    assert find_classes(pictures)[0, :, 0].tolist() == [0, 1, 3]


def test_the_mean_intersection_over_union() -> None:
    truth = make_map((1, 0, 0, 8, 8))
    assert measure_miou(truth, truth) == 1
    found = make_map((1, 0, 4, 8, 12))
    background = (32 * 32 - 96) / (32 * 32 - 32)
    assert measure_miou(found, truth) == pytest.approx((32 / 96 + background) / 2)
    # a class that is nowhere in truth counts where it was found
    assert measure_miou(make_map((2, 0, 0, 8, 8)), truth) == pytest.approx(1 / 3)


def test_counts_are_of_all_maps_together() -> None:
    truth = torch.cat([make_map((1, 0, 0, 8, 8)), make_map()])
    found = torch.cat([make_map(), make_map((1, 0, 0, 8, 8))])
    assert measure_miou(found, truth) == pytest.approx((1920 / 2048) / 2)


@pytest.mark.parametrize("shift", [1, 3])
def test_a_displaced_edge_is_that_many_pixels_off(shift: int) -> None:
    truth, found = make_map((1, 0, 0, 32, 16)), make_map((1, 0, 0, 32, 16 + shift))
    assert measure_boundary_error(found, truth) == shift
    assert measure_boundary_error(truth, found) == shift
    assert measure_boundary_error(truth, truth) == 0


def test_a_checkerboard_at_an_edge_costs_boundary_more_than_area() -> None:
    truth = make_map((1, 0, 0, 32, 16))
    jagged = truth.clone()
    jagged[0, ::2, 15] = 0
    jagged[0, 1::2, 16] = 1
    assert measure_miou(jagged, truth) > 0.9
    assert measure_boundary_error(jagged, truth) > 0.4


def test_a_map_without_edges_is_a_side_away() -> None:
    assert measure_boundary_error(make_map(), make_map((1, 0, 0, 32, 16))) == 32
    assert measure_boundary_error(make_map(), make_map()) == 0


def test_what_is_not_finite_has_no_scores() -> None:
    truth = torch.zeros(1, 3, 32, 32)
    scores = Segmentation(TINY).score(truth * math.nan, truth)
    assert list(scores) == ["miou", "boundary_error_px"]
    assert all(math.isnan(score) for score in scores.values())
    assert Segmentation(TINY).score(truth, truth) == {"miou": 1, "boundary_error_px": 0}


def test_what_they_are_of_is_shown_beside_the_true_maps() -> None:
    objective = Segmentation(TINY)
    examples = objective.make_examples(GREY[None], (0,))
    pictures = objective.list_pictures(("a",), examples)
    assert list(pictures) == ["a", "a-input"]
    assert torch.equal(pictures["a"], examples.targets[0])
    assert torch.equal(pictures["a-input"], examples.inputs[0])
