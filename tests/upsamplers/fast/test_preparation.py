"""Transformed weights, form by form, without running a form."""

import pytest
import torch

from deconvbench.upsamplers.fast.preparation import Geometry, prepare, swap_channels

NARROW = (torch.float16, torch.bfloat16)


def make_geometry(
    kernel_size: int, scale_factor: int, *, groups: int = 1, padding_mode: str = "zeros"
) -> Geometry:
    return Geometry(kernel_size=kernel_size, scale_factor=scale_factor, groups=groups, padding_mode=padding_mode)


def draw_weight(
    out_channels: int, in_channels: int, size: int, dtype: torch.dtype = torch.float64
) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(out_channels, in_channels, size, size, dtype=torch.float64, generator=generator).to(dtype)


@pytest.mark.parametrize(
    ("kernel_size", "scale_factor", "padding", "reach"), [(1, 2, 0, 0), (3, 2, 1, 1), (5, 2, 2, 1), (7, 2, 3, 2)]
)
def test_padding_in_output_pixels_and_in_input_pixels(
    kernel_size: int, scale_factor: int, padding: int, reach: int
) -> None:
    geometry = make_geometry(kernel_size, scale_factor)
    assert (geometry.padding, geometry.reach) == (padding, reach)


@pytest.mark.parametrize(("mode", "expected"), [("zeros", True), ("replicate", False)])
def test_zeros_beyond_the_border(mode: str, expected: bool) -> None:
    assert make_geometry(3, 2, padding_mode=mode).pads_zeros is expected


@pytest.mark.parametrize(
    ("implementation", "shape"),
    [
        ("plain", (6, 4, 3, 3)),
        ("transposed", (4, 6, 4, 4)),
        ("subpixel", (24, 4, 3, 3)),
        ("tiled", (5, 5, 6, 4)),
    ],
)
def test_shapes_of_a_3x3_kernel_at_scale_2(implementation: str, shape: tuple[int, ...]) -> None:
    prepared = prepare(implementation, draw_weight(6, 4, 3), make_geometry(3, 2), torch.float32)
    assert prepared.shape == shape
    assert prepared.dtype == torch.float32


def test_the_transposed_kernel_is_the_flipped_one_convolved_with_a_box() -> None:
    weight = draw_weight(1, 1, 3)
    box = torch.ones(1, 1, 2, 2, dtype=torch.float64)
    expected = torch.conv2d(weight.flip(2, 3), box, padding=1)
    torch.testing.assert_close(prepare("transposed", weight, make_geometry(3, 2), torch.float64), expected)


def test_the_phases_of_a_subpixel_kernel_have_the_taps_of_the_kernel() -> None:
    weight = draw_weight(2, 3, 5)
    phases = prepare("subpixel", weight, make_geometry(5, 3), torch.float64)
    sums = phases.sum((2, 3)).view(2, 9, 3)
    # every phase sees all taps, however they are shared out between input pixels
    torch.testing.assert_close(sums, weight.sum((2, 3))[:, None].expand_as(sums))


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("implementation", ["transposed", "subpixel", "minimal", "tiled"])
def test_in_half_precision_sums_are_rounded_once(implementation: str, dtype: torch.dtype) -> None:
    weight = draw_weight(4, 4, 3, dtype)
    expected = prepare(implementation, weight.float(), make_geometry(3, 2), torch.float32).to(dtype)
    assert torch.equal(prepare(implementation, weight, make_geometry(3, 2), dtype), expected)


@pytest.mark.parametrize("implementation", ["transposed", "subpixel", "minimal", "tiled"])
def test_the_weight_gets_a_gradient(implementation: str) -> None:
    weight = draw_weight(2, 2, 3).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda taps: prepare(implementation, taps, make_geometry(3, 2), torch.float64), weight
    )


def test_channels_are_swapped_within_their_groups() -> None:
    kernels = torch.arange(6 * 2).view(6, 2, 1, 1)
    swapped = swap_channels(kernels, 2)
    assert swapped.shape == (4, 3, 1, 1)
    assert swapped[:, :, 0, 0].tolist() == [[0, 2, 4], [1, 3, 5], [6, 8, 10], [7, 9, 11]]
    assert torch.equal(swap_channels(swapped, 2), kernels)


def test_one_group_is_swapped_without_a_copy() -> None:
    kernels = torch.zeros(3, 2, 1, 1)
    assert swap_channels(kernels, 1).data_ptr() == kernels.data_ptr()
