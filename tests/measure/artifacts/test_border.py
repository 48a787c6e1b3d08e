"""Border error: the slow definition, the variance that zero padding leaves, and padding that leaves none."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from deconvbench.errors import UsageError
from deconvbench.measure.artifacts import border_error
from tests.measure.artifacts.local_layers import PaddingMode, resize_conv, seed_weights, transposed


def _reference(y: Tensor, s: int) -> float:
    height, width = y.shape[-2:]
    top, left = (height // s - 2) // 2 * s, (width // s - 2) // 2 * s
    squares, levels = [], []
    for image in y.reshape(-1, height, width):
        levels.append(float(image[top : top + 2 * s, left : left + 2 * s].mean()) ** 2)
        for a in range(height):
            for b in range(width):
                if min(a, b, height - 1 - a, width - 1 - b) < s:
                    same = image[top + a % s : top + 2 * s : s, left + b % s : left + 2 * s : s]
                    squares.append(float(image[a, b] - same.mean()) ** 2)
    return math.sqrt(sum(squares) / len(squares)) / math.sqrt(sum(levels) / len(levels))


def _answer(layer: nn.Module, side: int) -> Tensor:
    with torch.no_grad():
        y: Tensor = layer.double()(torch.ones(1, 1, side, side, dtype=torch.float64))
    return y


@settings(deadline=None, max_examples=25)
@given(s=st.integers(1, 3), height=st.integers(4, 7), width=st.integers(4, 7), seed=st.integers(0, 99))
def test_matches_the_slow_definition(s: int, height: int, width: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    y = torch.randn(2, 2, s * height, s * width, dtype=torch.float64, generator=generator)
    before = y.clone()
    error = border_error(y, s)
    assert error == pytest.approx(_reference(y, s), rel=1e-9)
    assert border_error(-3 * y.flip(1), s) == pytest.approx(error, rel=1e-9)
    assert torch.equal(y, before)


def test_zero_padding_of_nearest_conv() -> None:
    layer = resize_conv((1, 16384), 3, 2)
    y = _answer(seed_weights(layer, 0), 6)
    with torch.no_grad():
        y -= layer.get_parameter("1.bias")[:, None, None]
    interior = y[0, :, 5, 5]
    deviation = (y[0] - interior[:, None, None]) / interior.square().mean().sqrt()
    outermost, second = (deviation[:, row, 2:-2].square().mean().sqrt() for row in (0, 1))
    assert float(outermost) == pytest.approx(math.sqrt(1 / 3), abs=0.01)
    assert float(second) == pytest.approx(0, abs=1e-12)
    # 40 of the frame's 80 pixels lose 3 of 9 taps, the 4 in the corners 5 of 9
    expected = math.sqrt((40 * 3 / 9 + 4 * 5 / 9) / 80)
    assert expected == pytest.approx(0.44, abs=0.005)
    assert border_error(y, 2) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("padding_mode", ["replicate", "reflect", "circular"])
def test_padding_with_what_is_there_draws_no_frame(padding_mode: PaddingMode) -> None:
    layer = resize_conv((1, 8), 3, 2, padding_mode=padding_mode)
    assert border_error(_answer(seed_weights(layer, 1), 6), 2) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("k", "s"), [(2, 2), (3, 3), (4, 4)], ids=str)
def test_ripple_of_the_interior_does_not_count(k: int, s: int) -> None:
    y = _answer(seed_weights(transposed((1, 8), k, s), 2), 6)
    assert float(y.std()) > 0.1
    assert border_error(y, s) == pytest.approx(0, abs=1e-12)


def test_interior_of_zeros_is_nan() -> None:
    y = torch.zeros(1, 1, 8, 8)
    y[..., 0] = 1
    assert math.isnan(border_error(y, 2))


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 1, 6, 8), (1, 1, 8, 9)], ids=str)
def test_wrong_shape_is_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="multiples of scale_factor 2 and at least 8"):
        border_error(torch.ones(shape), 2)
