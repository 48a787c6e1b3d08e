"""The clipped Laplacian: what it keeps of a pattern, and what it takes from edges."""

import pytest
import torch

from deconvbench.measure.artifacts.soft_clip import apply_laplacian, mean_clipped_power, measure_transfer


def draw_wave(row: float, column: float, side: int = 64) -> torch.Tensor:
    position = torch.arange(side, dtype=torch.float64)
    return (2 * torch.pi * (row * position[:, None] + column * position)).cos()


@pytest.mark.parametrize(("row", "column"), [(0.5, 0.5), (0.25, 0.0), (0.125, 0.375)])
def test_the_laplacian_of_a_wave_is_the_wave_times_its_transfer(row: float, column: float) -> None:
    wave = draw_wave(row, column)
    transfer = measure_transfer(torch.tensor(row).double(), torch.tensor(column).double())
    torch.testing.assert_close(apply_laplacian(wave), -transfer.sqrt() * wave[1:-1, 1:-1], rtol=1e-9, atol=1e-12)


def test_a_ramp_has_no_laplacian() -> None:
    position = torch.arange(16, dtype=torch.float64)
    assert float(apply_laplacian(3 * position[:, None] - 2 * position).abs().max()) < 1e-12


@pytest.mark.parametrize("amplitude", [1e-6, 1.0, 1e6])
def test_a_pattern_alone_keeps_its_power(amplitude: float) -> None:
    power, patches = mean_clipped_power(amplitude * draw_wave(0.5, 0.5, 128), 64, 2)
    transfer = measure_transfer(torch.tensor(0.5).double(), torch.tensor(0.5).double())
    assert patches == 9
    assert float(power[32, 32] / transfer) == pytest.approx(amplitude**2)


def test_an_edge_loses_weight_and_the_pattern_beside_it_does_not() -> None:
    noise = torch.randn(128, 128, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    edge = torch.zeros(128, 128, dtype=torch.float64)
    edge[:, 37:] = 100
    at, off = (32, 32), (0, 13)
    transfer = float(measure_transfer(torch.tensor(0.5).double(), torch.tensor(0.5).double()))
    plain, edged = (mean_clipped_power(noise + one, 64, 2)[0] for one in (0 * edge, edge))
    # the edge is a hundred times as high as the noise, and its power would be thousands of times as much
    assert float(edged[off] / plain[off]) < 100
    board = mean_clipped_power(noise + edge + draw_wave(0.5, 0.5, 128), 64, 2)[0]
    assert float(board[at] / transfer) == pytest.approx(1, rel=0.2)
