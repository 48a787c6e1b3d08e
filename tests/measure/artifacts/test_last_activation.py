"""The activation that a network ends in: found as a module or a function, with a scaling behind it or not."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.measure.artifacts.last_activation import CallWatch, find_last_activation


class Ends(nn.Module):
    """A convolution with ReLUs inside, then a function."""

    def __init__(self, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(3, 3, 3, padding=1)
        )
        self.end = end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.inner(x))


X = torch.rand(1, 2, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("end", "name", "number"),
    [
        pytest.param(nn.Sigmoid(), "sigmoid", 1, id="module"),
        pytest.param(nn.Tanh(), "tanh", 1, id="tanh"),
        pytest.param(nn.Hardtanh(0, 1, inplace=True), "hardtanh", 1, id="hardtanh in place"),
        pytest.param(nn.ReLU6(inplace=True), "hardtanh", 1, id="relu6 in place"),
        pytest.param(nn.ReLU(), "relu", 1, id="relu"),
        pytest.param(functional.sigmoid, "sigmoid", 1, id="functional"),
        pytest.param(lambda y: y.clamp(0, 1), "clamp", 1, id="method"),
        pytest.param(lambda y: torch.clamp(input=y, min=0), "clamp", 1, id="keyword"),
        pytest.param(lambda y: y.clamp_(0, 1), "clamp", 1, id="method in place"),
        pytest.param(lambda y: 255 * (torch.tanh(y) + 1) / 2, "tanh", 1, id="scaled"),
        pytest.param(lambda y: (torch.tanh(y) / 2 + 0.5).clamp(0, 1), "tanh", 1, id="scaled and clamped"),
        pytest.param(lambda y: torch.sigmoid(y).add_(1).contiguous(), "sigmoid", 1, id="moved in place"),
    ],
)
def test_what_a_network_ends_in_is_found(end: Callable[[Tensor], Tensor], name: str, number: int) -> None:
    network = Ends(end)
    assert find_last_activation(network, X) == (number, name)
    with torch.no_grad(), CallWatch(number) as watch:
        network(X)
    # what comes before it, also where it has been overwritten
    assert watch.before is not None
    torch.testing.assert_close(watch.before, network.inner(X))
    assert watch.name == name


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(nn.Identity(), id="convolution"),
        pytest.param(lambda y: torch.sigmoid(y) + y, id="residual"),
        pytest.param(lambda y: torch.sigmoid(y) ** 2, id="another function behind it"),
        pytest.param(nn.Sequential(nn.Sigmoid(), nn.Conv2d(3, 3, 1)), id="layer behind it"),
        pytest.param(lambda y: torch.sigmoid(y)[..., 1:], id="another size"),
        pytest.param(lambda y: torch.sigmoid(y).flip(-1), id="another order"),
        pytest.param(lambda y: [torch.sigmoid(y)], id="not a tensor"),
        pytest.param(nn.Softmax(1), id="softmax"),
    ],
)
def test_other_ends_are_not(end: Callable[[Tensor], Tensor]) -> None:
    assert find_last_activation(Ends(end), X) is None


def test_an_end_that_is_saturated_throughout_is_found_too() -> None:
    network = Ends(lambda y: 3 * torch.tanh(y + 100).clamp(0, 1) - 1)
    assert find_last_activation(network, X) == (1, "tanh")
    assert find_last_activation(Ends(lambda y: 0 * torch.tanh(y)), X) is None


def test_watching_changes_nothing() -> None:
    network = Ends(nn.Sigmoid())
    with CallWatch() as watch:
        y = network(X)
    assert torch.equal(y, network(X))
    assert watch.number == 1
    with CallWatch(7) as watch:
        network(X)
    assert (watch.number, watch.before, watch.name) == (-1, None, None)


class _Functional(nn.Module):
    def __init__(self, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.end = end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(x)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        pytest.param(nn.InstanceNorm2d(2), True, id="instance"),
        pytest.param(nn.InstanceNorm2d(2, track_running_stats=True).eval(), False, id="running"),
        pytest.param(_Functional(functional.instance_norm), True, id="functional"),
        pytest.param(
            _Functional(lambda x: torch.instance_norm(x, None, None, None, None, True, 0.1, 1e-5, False)),
            True,
            id="torch",
        ),
        pytest.param(nn.GroupNorm(2, 2), True, id="groups of one"),
        pytest.param(nn.GroupNorm(1, 2), False, id="one group"),
        pytest.param(nn.BatchNorm2d(2).eval(), False, id="batch"),
    ],
)
def test_norms_over_the_pixels_of_a_channel_are_seen(layer: nn.Module, expected: bool) -> None:
    with CallWatch() as watch:
        layer(X)
    assert watch.normalises_images == expected
