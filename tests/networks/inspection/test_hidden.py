"""Ripple before a saturating last activation."""

import pytest
import torch
from torch import Tensor, nn

import deconvbench


class _Ended(nn.Module):
    def __init__(self, end: nn.Module, gain: float, scale: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.up = nn.ConvTranspose2d(3, 3, 4, 2, 1)
        self.end = end
        self.gain, self.scale = gain, scale

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.scale * self.end(self.gain * self.up(x))
        return y


@pytest.mark.parametrize(("end", "name", "slope"), [(nn.Sigmoid(), "sigmoid", 0.25), (nn.Tanh(), "tanh", 1.0)])
def test_ripple_before_a_last_activation_is_that_of_its_steepest_part(
    end: nn.Module, name: str, slope: float
) -> None:
    example = torch.rand(1, 3, 32, 32)
    hidden = deconvbench.audit(_Ended(end, 1.0, 2.0), example, output_range=(0, 1))
    plain = deconvbench.audit(_Ended(nn.Identity(), 1.0, 2.0), example, output_range=(0, 1))
    assert (hidden.last_activation, plain.last_activation, plain.hidden) == (name, "", {})
    assert hidden.hidden[2] == pytest.approx(slope * plain.flat_field[2], rel=1e-4)
    assert hidden.flat_field[2] < hidden.hidden[2]
    assert f"before the last {name}" in str(hidden)


def test_what_is_hidden_is_a_risk() -> None:
    model = _Ended(nn.Sigmoid(), 1.0)
    with torch.no_grad():
        for phase in (0, 1):
            model.up.weight[..., phase::2, :].mul_(0).add_(0.1 + 0.01 * phase)
        model.up.bias.add_(12.0)  # type: ignore[union-attr] # it has one
    audit = deconvbench.audit(model, torch.rand(1, 3, 32, 32), output_range=(0, 1))
    assert max(audit.flat_field.values()) < 0.01
    assert audit.hidden[2] > 1
    assert audit.attributions == ()
    assert audit.judgement == "at risk"
    with torch.no_grad():
        model.up.weight.fill_(0.1)
    assert deconvbench.audit(model, torch.rand(1, 3, 32, 32), output_range=(0, 1)).judgement == "clean"


def test_a_last_relu_hides_nothing() -> None:
    audit = deconvbench.audit(_Ended(nn.ReLU(), 1.0), torch.rand(1, 3, 32, 32))
    assert audit.last_activation == ""


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        pytest.param(nn.Sigmoid(), (0.0, 2.0), id="sigmoid"),
        pytest.param(nn.Tanh(), (-2.0, 2.0), id="tanh"),
        pytest.param(nn.Softsign(), (-2.0, 2.0), id="softsign"),
    ],
)
def test_black_and_white_are_what_the_last_activation_can_give(
    end: nn.Module, expected: tuple[float, float]
) -> None:
    # the values themselves are all near the middle
    audit = deconvbench.audit(_Ended(end, 0.1, 2.0), torch.rand(1, 3, 32, 32))
    assert audit.output_range == pytest.approx(expected, abs=1e-3)
    assert audit.is_range_guessed


def test_a_range_that_is_moved_after_the_activation_is_followed() -> None:
    class Moved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = _Ended(nn.Tanh(), 1.0)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = 127.5 * self.inner(x) + 127.5
            return y

    audit = deconvbench.audit(Moved(), torch.rand(1, 3, 32, 32))
    assert audit.output_range == pytest.approx((0.0, 255.0), abs=0.01)
    given = deconvbench.audit(Moved(), torch.rand(1, 3, 32, 32), output_range=(0, 100))
    assert (given.output_range, given.is_range_guessed) == ((0.0, 100.0), False)


def test_an_activation_without_two_bounds_leaves_the_range_to_the_values() -> None:
    example = torch.rand(1, 3, 32, 32)
    audit = deconvbench.audit(_Ended(nn.ReLU6(), 100.0), example)
    assert audit.last_activation in {"relu6", "hardtanh"}
    assert 0.0 <= audit.output_range[0] < audit.output_range[1] <= 255.0
