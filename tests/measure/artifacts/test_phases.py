"""Taps sorted by phase, against plain slicing."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deconvbench.errors import UsageError
from deconvbench.measure.artifacts import impulse_response, phase_gains, split_phases
from deconvbench.theory import phase_gains as theory_phase_gains
from tests.measure.artifacts.local_layers import seed_weights, transposed


@settings(deadline=None, max_examples=30)
@given(s=st.integers(1, 4), count=st.integers(1, 4), lead=st.lists(st.integers(1, 3), max_size=3))
def test_every_phase_is_a_strided_slice(s: int, count: int, lead: list[int]) -> None:
    taps = torch.randn(
        *lead, s * count, s * count, dtype=torch.float64, generator=torch.Generator().manual_seed(s)
    )
    phases = split_phases(taps, s)
    gains = phase_gains(taps, s)
    assert phases.shape == (*lead, s, s, count, count)
    for i in range(s):
        for j in range(s):
            assert torch.equal(phases[..., i, j, :, :], taps[..., i::s, j::s])
            torch.testing.assert_close(gains[..., i, j], taps[..., i::s, j::s].sum((-2, -1)))


def test_gains_are_what_a_constant_becomes() -> None:
    layer = seed_weights(transposed((2, 3), 5, 3), 1).double()
    gains = phase_gains(impulse_response(layer, 2, 3), 3)
    with torch.no_grad():
        x = torch.ones(1, 2, 7, 7, dtype=torch.float64)
        middle = (layer(x) - layer(0 * x))[0, :, 9:12, 9:12]
    torch.testing.assert_close(gains.sum(1), middle)


def test_gains_of_a_separable_kernel_are_the_theorys() -> None:
    line = torch.tensor([1.0, 4, 2, 3, 5, 7], dtype=torch.float64)
    expected = torch.from_numpy(theory_phase_gains(line.numpy(), 3))
    assert torch.equal(phase_gains(torch.outer(line, line), 3), torch.outer(expected, expected))


@pytest.mark.parametrize("shape", [(4,), (3, 4, 6), (2, 5, 5)], ids=str)
def test_wrong_shape_is_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"is not \(\.\.\., T, T\) with T a multiple of scale_factor 2"):
        split_phases(torch.ones(shape), 2)
