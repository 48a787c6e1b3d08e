"""Lists of tensors as ONNX has them, beside Python's own; random numbers follow torch's seed."""

from typing import Any

import pytest
import torch
from torch import Tensor

from deconvbench.networks.onnx.operators import sequences
from deconvbench.networks.onnx.specs import Spec


def make_spec(operator: str = "Any", **attributes: Any) -> Spec:
    return Spec(name="a", operator=operator, opset=17, inputs=(), outputs=(), attributes=attributes)


PARTS = [torch.full((2, 2), float(number)) for number in range(4)]


def read(parts: list[Tensor]) -> list[float]:
    return [float(part[0, 0]) for part in parts]


def test_lists_are_made_measured_and_picked_from() -> None:
    spec = make_spec()
    made = sequences.construct(spec, *PARTS)
    assert int(sequences.count(spec, made)) == 4
    assert sequences.make_empty(spec) == []
    for place in (0, 3, -1, -4):
        assert sequences.pick(spec, made, torch.tensor(place)) is PARTS[place]


@pytest.mark.parametrize("place", [None, 0, 1, 3, 4, -1, -4])
def test_one_is_put_in_where_python_would(place: int | None) -> None:
    new = torch.full((2, 2), 9.0)
    expected = list(PARTS)
    expected.insert(len(PARTS) if place is None else place, new)
    position = None if place is None else torch.tensor(place)
    assert read(sequences.insert(make_spec(), PARTS, new, position)) == read(expected)
    assert len(PARTS) == 4


@pytest.mark.parametrize("place", [None, 0, 2, 3, -1, -4])
def test_one_is_left_out_where_python_would(place: int | None) -> None:
    expected = list(PARTS)
    del expected[-1 if place is None else place]
    position = None if place is None else torch.tensor(place)
    assert read(sequences.erase(make_spec(), PARTS, position)) == read(expected)


def test_a_list_is_joined_along_an_axis_or_stacked() -> None:
    assert sequences.join(make_spec(axis=1), PARTS).shape == (2, 8)
    stacked = sequences.join(make_spec(axis=0, new_axis=1), PARTS)
    assert stacked.shape == (4, 2, 2)
    assert torch.equal(stacked[2], PARTS[2])


def test_a_tensor_is_cut_into_slices_pieces_or_sizes() -> None:
    x = torch.arange(10.0).reshape(5, 2)
    assert [tuple(part.shape) for part in sequences.split(make_spec(), x)] == [(1, 2)] * 5
    assert [tuple(part.shape) for part in sequences.split(make_spec(keepdims=0), x)] == [(2,)] * 5
    assert [len(part) for part in sequences.split(make_spec(), x, torch.tensor(2))] == [2, 2, 1]
    cut = sequences.split(make_spec(), x, torch.tensor([1, 4]))
    assert [len(part) for part in cut] == [1, 4]
    assert torch.equal(torch.cat(cut), x)
    assert [tuple(part.shape) for part in sequences.split(make_spec(axis=1), x)] == [(5, 1)] * 2


def test_optional_values_are_there_or_not() -> None:
    assert bool(sequences.has_element(make_spec(), PARTS[0]))
    assert not bool(sequences.has_element(make_spec()))
    assert sequences.pass_on(make_spec(), PARTS) is PARTS


def test_random_numbers_follow_the_seed_with_mean_scale_and_type() -> None:
    spec = make_spec("RandomNormal", shape=[2000], mean=3.0, scale=0.5, dtype=11)
    torch.manual_seed(5)
    first = sequences.draw(spec)
    torch.manual_seed(5)
    assert torch.equal(first, sequences.draw(spec))
    assert first.dtype == torch.float64
    # five standard errors
    assert float(first.mean()) == pytest.approx(3.0, abs=5 * 0.5 / 2000**0.5)
    uniform = sequences.draw(make_spec("RandomUniform", shape=[2000], low=-2.0, high=-1.0))
    assert float(uniform.min()) >= -2
    assert float(uniform.max()) <= -1
    like = sequences.draw(make_spec("RandomNormalLike"), torch.zeros(3, 4, dtype=torch.float64))
    assert (like.shape, like.dtype) == ((3, 4), torch.float64)
    assert sequences.draw(make_spec("RandomNormalLike"), torch.zeros(3, dtype=torch.int64)).dtype == torch.float32
    tossed = sequences.toss(make_spec(dtype=7), torch.tensor([0.0, 1.0]))
    assert (tossed.tolist(), tossed.dtype) == ([0, 1], torch.int64)
