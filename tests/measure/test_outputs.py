import pytest
import torch
from torch import nn

from deconvbench.measure.outputs import find_difference, find_gradients
from tests.builders import make_case


def test_gradients_are_those_of_the_same_input_and_the_same_gradient_of_the_output() -> None:
    case = make_case(height=4)
    layers = [nn.Conv2d(case.in_channels, 3, 1), nn.Conv2d(case.in_channels, 3, 1)]
    layers[1].load_state_dict(layers[0].state_dict())
    one, two = (find_gradients(layer, case, 5) for layer in layers)
    # output, input, weight and bias
    assert [tuple(tensor.shape) for tensor in one[2:]] == [(3, case.in_channels, 1, 1), (3,)]
    assert tuple(one[1].shape) == case.input_shape
    assert find_difference(one, two) == 0
    assert find_difference(one, find_gradients(layers[0], case, 6)) > 0.01
    layers[0].weight.requires_grad = False
    assert len(find_gradients(layers[0], case, 5)) == 3


@pytest.mark.parametrize(
    ("theirs", "ours", "expected"),
    [
        ([[1.0, -2.0]], [[1.0, -2.0]], 0),
        ([[1.0, -2.0]], [[1.0, -1.0]], 0.5),
        ([[1.0]], [[-1.0]], 2),
        ([[0.0]], [[0.0]], 0),
        ([[0.0]], [[1e-9]], 1),
        ([[1.0], [4.0]], [[1.0], [1.0]], 0.75),
        ([[1.0]], [[1.0], [2.0]], 2),
        ([[1.0, 2.0]], [[1.0]], 2),
        ([[float("nan")]], [[1.0]], 2),
    ],
    ids=["equal", "half", "sign", "zeros", "tiny", "worst of two", "number", "shape", "nan"],
)
def test_deviations_are_shares_of_the_largest_value(
    theirs: list[list[float]], ours: list[list[float]], expected: float
) -> None:
    found = find_difference([torch.tensor(t) for t in theirs], [torch.tensor(t) for t in ours])
    assert found == pytest.approx(expected)
