"""The faster transposed convolution in the grid: the same layer as `transposed`, where it has a faster form."""

import pytest
import torch

from deconvbench.nn import ConvTranspose2d
from deconvbench.upsamplers import build_upsampler, get_upsampler
from deconvbench.upsamplers.fast_transposed import find_objection


@pytest.mark.parametrize("kernel_size", [3, 4, 5, 6])
def test_it_is_transposed_with_the_same_weights(kernel_size: int) -> None:
    plain = build_upsampler("transposed", 4, 3, kernel_size, 2)
    fast = build_upsampler("transposed_fast", 4, 3, kernel_size, 2)
    assert isinstance(fast, ConvTranspose2d)
    assert fast.implementation == "auto"
    fast.load_state_dict(plain.state_dict())
    x = torch.randn(2, 4, 5, 6)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), plain(x))
    # the form by its name has this layer, whatever is chosen for a small image
    assert fast.output_padding == plain.output_padding
    assert fast.padding == plain.padding


@pytest.mark.parametrize(("kernel_size", "scale_factor"), [(2, 2), (7, 2), (3, 1), (3, 3), (4, 4)])
def test_what_has_no_faster_form_is_refused(kernel_size: int, scale_factor: int) -> None:
    reason = f"for kernel_size 3 to 6 and scale_factor 2, not {kernel_size} and {scale_factor}"
    assert reason in str(find_objection(kernel_size, scale_factor))
    assert find_objection(4, 2) is None


def test_it_is_declared_as_transposed_is() -> None:
    fast, plain = get_upsampler("transposed_fast"), get_upsampler("transposed")
    assert (fast.linear, fast.shift_equivariant) == (plain.linear, plain.shift_equivariant)
