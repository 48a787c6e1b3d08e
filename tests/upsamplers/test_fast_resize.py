"""The fast forms in the grid: the same layer as `nearest_conv`, each in the form that its name says."""

import pytest
import torch

from deconvbench.upsamplers import build_upsampler, get_upsampler, list_upsamplers
from deconvbench.upsamplers.fast import ResizeConv2d
from deconvbench.upsamplers.fast_resize import find_objection, find_tiled_objection

NAMES = {
    "nearest_conv_fast": "auto",
    "nearest_conv_transposed": "transposed",
    "nearest_conv_subpixel": "subpixel",
    "nearest_conv_minimal": "minimal",
    "nearest_conv_tiled": "tiled",
    "nearest_conv_native": "tiled",
}
LAYERS = [
    (name, kernel_size, scale_factor)
    for name in NAMES
    for kernel_size in (1, 3, 5)
    for scale_factor in (2, 3, 4)
    if get_upsampler(name).unsupported_reason(kernel_size, scale_factor) is None
]


@pytest.mark.parametrize(
    ("name", "kernel_size", "scale_factor"), LAYERS, ids=[f"{name}-k{k}-s{s}" for name, k, s in LAYERS]
)
def test_it_is_nearest_conv_with_the_same_weights(name: str, kernel_size: int, scale_factor: int) -> None:
    plain = build_upsampler("nearest_conv", 4, 3, kernel_size, scale_factor).double()
    fast = build_upsampler(name, 4, 3, kernel_size, scale_factor).double()
    assert isinstance(fast, ResizeConv2d)
    assert fast.implementation == NAMES[name]
    fast.load_state_dict({key.removeprefix("conv."): value for key, value in plain.state_dict().items()})
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), plain(x), rtol=0, atol=1e-12)


def test_every_name_is_registered_with_its_formulas() -> None:
    for name in NAMES:
        spec = list_upsamplers()[name]
        assert spec.linear
        assert spec.shift_equivariant
        assert "nearest_s" in spec.formula
        assert spec.macs_formula


@pytest.mark.parametrize(
    ("kernel_size", "scale_factor", "reason"),
    [(4, 2, "needs an odd kernel_size: 4 is even"), (3, 1, "needs scale_factor >= 2"), (3, 2, None), (1, 4, None)],
)
def test_objections(kernel_size: int, scale_factor: int, reason: str | None) -> None:
    found = find_objection(kernel_size, scale_factor)
    assert found is None if reason is None else reason in str(found)


@pytest.mark.parametrize(("kernel_size", "scale_factor"), [(5, 2), (3, 3), (3, 1), (2, 2)])
def test_the_tiled_form_has_one_kernel_and_scale(kernel_size: int, scale_factor: int) -> None:
    assert find_tiled_objection(3, 2) is None
    reason = find_tiled_objection(kernel_size, scale_factor)
    assert reason is not None
    assert f"not {kernel_size} and {scale_factor}" in reason
