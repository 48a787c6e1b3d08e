"""Taps as a linear layer could have them, drawn by hypothesis."""

import torch
from hypothesis import strategies as st
from torch import Tensor


@st.composite
def draw_taps(draw: st.DrawFn) -> tuple[Tensor, int]:
    """Draw (taps of shape (O, I, T, T), scale factor)."""
    s = draw(st.integers(1, 4))
    outputs, inputs, count = (draw(st.integers(1, 3)) for _ in range(3))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    taps = torch.randn(outputs, inputs, s * count, s * count, dtype=torch.float64, generator=generator)
    return taps + draw(st.floats(-2, 2)), s
