import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from deconvbench.measure.artifacts import checkerboard
from deconvbench.studies.training import style_transfer
from deconvbench.studies.training.style_transfer import (
    StyleTransfer,
    draw_filters,
    make_style_picture,
    measure_content,
)
from tests.tiny_training import TINY

SETTINGS = replace(TINY, task="style-transfer")
PICTURES = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))


def test_the_style_has_itself_and_parts_of_it_nearly() -> None:
    objective = StyleTransfer(SETTINGS)
    style = make_style_picture()[None]
    assert float(objective.measure_style(style)) == pytest.approx(0, abs=1e-8)
    part = float(objective.measure_style(style[..., 40:168, 40:168]))
    grey = float(objective.measure_style(torch.full_like(style, 0.5)))
    noise = float(objective.measure_style(PICTURES))
    assert part < 0.2
    assert grey == pytest.approx(1)
    assert noise > 3 * part


def test_the_style_has_no_grid_of_its_own() -> None:
    for period in (2, 4):
        found = checkerboard(255 * make_style_picture().double(), period)
        assert not found.is_detected
        assert abs(found.amplitude) < 0.5


def test_moving_a_picture_does_not_change_its_style_but_at_the_borders() -> None:
    """A loss that subsampled would read another style a pixel on, and put its grid into what it is given."""
    objective = StyleTransfer(SETTINGS)
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)).repeat(1, 1, 3, 3)
    whole = 16 + 32  # windows of each filter over one period exactly
    parts = [
        [style_transfer._measure_gram(picture[..., d : d + whole - 17 + k, d : d + whole - 17 + k], bank)
         for k, bank in zip((3, 5, 9, 17), draw_filters(), strict=True)]
        for d in (0, 1, 7)
    ]  # fmt: skip
    for moved in parts[1:]:
        for one, other in zip(parts[0], moved, strict=True):
            assert torch.allclose(one, other, rtol=1e-3, atol=1e-5)
    assert float(objective.measure_style(picture)) > 0


def test_features_are_the_same_for_every_run_and_draw_no_chance() -> None:
    state = torch.get_rng_state()
    one, other = StyleTransfer(SETTINGS), StyleTransfer(replace(SETTINGS, seed=3, upsampler="nearest_conv"))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.measure_style(PICTURES), other.measure_style(PICTURES))
    noise = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    for bank in draw_filters():
        assert float(functional.conv2d(noise, bank).std()) == pytest.approx(1, rel=0.1)


def test_pictures_are_compared_one_by_one() -> None:
    objective = StyleTransfer(SETTINGS)
    each = [float(objective.measure_style(picture[None])) for picture in PICTURES]
    assert float(objective.measure_style(PICTURES)) == pytest.approx(sum(each) / 2, rel=1e-5)
    scores = objective.score(PICTURES, PICTURES)
    assert scores == {"style_loss": pytest.approx(sum(each) / 2, rel=1e-5), "content_loss": 0}


def test_content_is_light_and_dark_without_details_and_colours() -> None:
    assert float(measure_content(PICTURES + 0.1, PICTURES)) == pytest.approx(0.01, rel=1e-3)
    board = torch.ones(48, 48)
    board[::2, 1::2] = board[1::2, ::2] = -1
    assert float(measure_content(PICTURES + 0.1 * board, PICTURES)) < 1e-4
    colour = torch.tensor([0.587, -0.299, 0])[:, None, None]
    assert float(measure_content(PICTURES + colour, PICTURES)) == pytest.approx(0, abs=1e-9)
    shade = torch.linspace(-0.1, 0.1, 48)
    assert float(measure_content(PICTURES + shade, PICTURES)) == pytest.approx(
        float(shade.square().mean()), rel=0.3
    )


def test_the_loss_weighs_style_and_content() -> None:
    objective = StyleTransfer(SETTINGS)
    outputs = (PICTURES + 0.05).requires_grad_()
    loss = objective.measure_loss(outputs, PICTURES)
    with torch.no_grad():
        style, content = objective.measure_style(outputs), measure_content(outputs, PICTURES)
    assert float(loss.detach()) == pytest.approx(float(style + style_transfer._CONTENT_WEIGHT * content), rel=1e-5)
    loss.backward()  # type: ignore[no-untyped-call] # torch has no types here
    assert outputs.grad is not None
    assert float(outputs.grad.abs().max()) > 0


def test_what_is_not_finite_has_no_scores() -> None:
    scores = StyleTransfer(SETTINGS).score(PICTURES * math.inf, PICTURES)
    assert list(scores) == ["style_loss", "content_loss"]
    assert all(math.isnan(score) for score in scores.values())


def test_the_style_is_shown_beside_the_photographs() -> None:
    objective = StyleTransfer(SETTINGS)
    examples = objective.make_examples(PICTURES, (0,))
    assert examples.inputs is examples.targets
    pictures = objective.list_pictures(("a", "b"), examples)
    assert list(pictures) == ["a", "b", "style"]
    assert torch.equal(pictures["style"], make_style_picture())
