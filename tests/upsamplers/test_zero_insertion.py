"""Zero insertion + convolution is the transposed convolution, at s² times the price."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deconvbench.upsamplers import get_upsampler
from deconvbench.upsamplers.transposed import Transposed, find_objection
from deconvbench.upsamplers.zero_insertion import ZeroInsertion

LAYERS = [(k, s) for k in range(1, 9) for s in range(1, 5) if find_objection(k, s) is None]


@given(
    layer=st.sampled_from(LAYERS),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    is_channels_last=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_equals_transposed_with_the_same_state_dict(
    layer: tuple[int, int], channels: tuple[int, int], height: int, width: int, is_channels_last: bool
) -> None:
    expected, naive = Transposed(*channels, *layer).double(), ZeroInsertion(*channels, *layer).double()
    naive.load_state_dict(expected.state_dict())
    x = torch.randn(2, channels[0], height, width, dtype=torch.float64)
    if is_channels_last:
        x = x.to(memory_format=torch.channels_last)
    torch.testing.assert_close(naive(x), expected(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("kernel_size", "scale_factor"), LAYERS, ids=[f"k{k}-s{s}" for k, s in LAYERS])
def test_gradients_equal_those_of_transposed(kernel_size: int, scale_factor: int) -> None:
    expected, naive = (kind(2, 3, kernel_size, scale_factor).double() for kind in (Transposed, ZeroInsertion))
    naive.load_state_dict(expected.state_dict())
    x = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    gradients = [
        torch.autograd.grad(layer(x).sin().sum(), (x, *layer.parameters())) for layer in (expected, naive)
    ]
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("scale_factor", [1, 2, 3, 4], ids="s{}".format)
def test_costs_the_square_of_the_scale_times_transposed(scale_factor: int) -> None:
    naive, plain = get_upsampler("zero_insert").macs, get_upsampler("transposed").macs
    assert naive is not None
    assert plain is not None
    arguments = (4, 5, 5, scale_factor, 6, 7)
    assert naive(*arguments) == scale_factor**2 * plain(*arguments)


@pytest.mark.parametrize(
    "memory_format", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"]
)
def test_keeps_the_memory_format(memory_format: torch.memory_format) -> None:
    layer = ZeroInsertion(3, 4, 3, 2)
    layer.to(memory_format=memory_format)  # type: ignore[call-overload] # an overload torch leaves out
    y = layer(torch.randn(1, 3, 4, 5).to(memory_format=memory_format))
    assert y.is_contiguous(memory_format=memory_format)


def test_starts_with_the_weights_that_torch_would_draw() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        expected = Transposed(3, 4, 3, 2)
        torch.manual_seed(3)
        naive = ZeroInsertion(3, 4, 3, 2)
    assert torch.equal(naive.weight, expected.weight)
    assert expected.bias is not None
    assert naive.bias is not None
    assert torch.equal(naive.bias, expected.bias)
