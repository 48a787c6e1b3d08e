"""What networks are shown."""

from typing import Any

import pytest
import torch
from torch import Tensor

from deconvbench.networks.inspection.inputs import guess_range, make_flat_inputs, make_photographs


@pytest.mark.parametrize(
    ("example", "low", "high"),
    [
        pytest.param(torch.rand(1, 3, 32, 48), 0, 1, id="0 to 1"),
        pytest.param(torch.zeros(2, 1, 32, 48), 0, 1, id="zeros, grey"),
        pytest.param(2 * torch.rand(1, 3, 32, 48) - 1, -1, 1, id="-1 to 1"),
        pytest.param(255 * torch.rand(1, 3, 700, 48), 0, 255, id="levels, larger than the photograph"),
    ],
)
def test_photographs_come_in_the_range_and_shape_of_the_example(example: Tensor, low: float, high: float) -> None:
    photographs = make_photographs(example, 3)
    assert len(photographs) == 3
    for photograph in photographs:
        assert photograph.shape == example.shape
        assert photograph.dtype == example.dtype
        # bicubic interpolation overshoots
        slack = 0.2 * (high - low)
        assert low - slack <= float(photograph.min())
        assert float(photograph.max()) <= high + slack
        assert float(photograph.std()) > 0.05 * (high - low)


def test_normalised_photographs_have_the_examples_mean_and_deviation() -> None:
    example = 3 * torch.randn(1, 3, 64, 64) + 1
    (photograph,) = make_photographs(example, 1)
    assert float(photograph.mean()) == pytest.approx(float(example.mean()), abs=1e-3)
    assert float(photograph.std()) == pytest.approx(float(example.std()), rel=1e-3)


def test_only_images_are_replaced() -> None:
    example: dict[str, Any] = {
        "x": torch.rand(1, 3, 32, 32),
        "t": torch.tensor([7]),
        "z": torch.randn(1, 4, 8, 8),
        "flag": True,
    }
    (made,) = make_photographs(example, 1)
    assert made["flag"] is True
    assert torch.equal(made["z"], example["z"])
    assert torch.equal(made["t"], example["t"])
    assert not torch.equal(made["x"], example["x"])
    assert make_photographs((torch.randn(1, 4, 8, 8),), 1) == []


@pytest.mark.parametrize("parts", [1, 2])
def test_plain_colours_are_plain_in_each_part_and_within_the_examples_values(parts: int) -> None:
    example = (torch.randn(2, 5, 8, 8), torch.tensor(3))
    made = make_flat_inputs(example, 4, parts)
    assert len({float(one[0][0, 0, 0, 0]) for one in made}) == 4
    for colour, step in made:
        assert step is example[1]
        for part in colour.tensor_split(parts, -1):
            assert torch.equal(part, part[:1, :, :1, :1].expand_as(part))
        assert (colour[..., 0] == colour[..., -1]).all() == (parts == 1)
        assert float(colour.abs().max()) < 2


def test_a_map_of_one_pixel_is_plain_already() -> None:
    assert make_flat_inputs(torch.randn(1, 16, 1, 1), 3, 1) == []
    assert make_flat_inputs(torch.randn(1, 16), 3, 1) == []


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        pytest.param(torch.rand(10_000) * 1.2 - 0.1, (0, 1), id="0 to 1"),
        pytest.param(torch.rand(10_000) * 2 - 1, (-1, 1), id="-1 to 1"),
        pytest.param(torch.rand(10_000) * 255, (0, 255), id="levels"),
    ],
)
def test_usual_ranges_are_guessed(outputs: Tensor, expected: tuple[float, float]) -> None:
    found = guess_range([outputs])
    assert (found.low, found.high) == expected
    assert found.is_guessed


def test_an_unusual_range_is_that_of_the_outputs() -> None:
    found = guess_range([0.1 + 0.01 * torch.rand(100_000)])
    assert (found.low, found.high) == pytest.approx((0.1001, 0.1099), abs=1e-4)
    assert found.levels_per_unit == pytest.approx(255 / 0.0098, rel=1e-2)
    assert guess_range([torch.full((4,), float("nan"))]).levels_per_unit == 255
