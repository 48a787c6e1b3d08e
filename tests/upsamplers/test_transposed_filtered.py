"""Transposed convolution with a fixed filter: StyleGAN2's layer, and where its filter removes the ripple."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from deconvbench.errors import UnsupportedError, UsageError
from deconvbench.measure.artifacts import impulse_response, phase_gains, phase_ripple
from deconvbench.theory import convolve, pad_or_crop, transposed_convolve
from deconvbench.upsamplers import build_upsampler, get_upsampler
from deconvbench.upsamplers.transposed import Transposed
from deconvbench.upsamplers.transposed_filtered import FilteredConvTranspose2d, TransposedFir

over_kernels = pytest.mark.parametrize("kernel_size", range(2, 9), ids="k{}".format)
LAYERS = [(k, s) for k in range(1, 10) for s in range(1, 5) if k >= s]
over_layers = pytest.mark.parametrize(
    ("kernel_size", "scale_factor"), LAYERS, ids=[f"k{k}-s{s}" for k, s in LAYERS]
)


@over_kernels
def test_is_stylegan2s_upsampling_convolution(kernel_size: int) -> None:
    layer = TransposedFir(2, 3, kernel_size, 2).double()
    x = torch.randn(2, 2, 4, 3, dtype=torch.float64)
    # as upsample_conv_2d states its padding, for factor 2 and a filter of 4 taps
    excess = (4 - 2) - (kernel_size - 1)
    padding = ((excess + 1) // 2 + 2 - 1, excess // 2 + 1)
    fir = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64 * 2**2
    weight, bias = layer.weight.detach().numpy(), layer.bias
    assert bias is not None
    padded = pad_or_crop(transposed_convolve(x.numpy(), weight, stride=2), padding, padding)
    expected = convolve(padded, np.broadcast_to(fir, (3, 1, 4, 4)), groups=3)
    expected += bias.detach().numpy()[:, None, None]
    torch.testing.assert_close(layer(x).detach(), torch.from_numpy(expected), rtol=1e-10, atol=1e-10)


def test_stylegan2s_own_kernel_pads_a_pixel_on_each_side_without_a_copy() -> None:
    layer = TransposedFir(1, 1, 3, 2)
    assert layer.find_padding(layer.output_padding) == ((1, 1), None)


@pytest.mark.parametrize(
    ("kernel_size", "scale_factor", "padding"),
    [(4, 2, (1, 0, 1, 0)), (5, 2, None), (6, 2, (0, -1, 0, -1)), (9, 2, (-2, -2, -2, -2)), (4, 4, (2, 1, 2, 1))],
    ids=["odd", "none", "odd-crop", "even-crop", "odd-s4"],
)
def test_padding_is_split_evenly_with_more_before(
    kernel_size: int, scale_factor: int, padding: tuple[int, ...] | None
) -> None:
    layer = TransposedFir(1, 1, kernel_size, scale_factor)
    assert layer.find_padding(layer.output_padding)[1] == padding


@over_layers
def test_upsamples_exactly_for_every_kernel_down_to_one_pixel(kernel_size: int, scale_factor: int) -> None:
    layer = TransposedFir(1, 2, kernel_size, scale_factor)
    for height, width in ((1, 1), (3, 2)):
        with torch.no_grad():
            y = layer(torch.ones(1, 1, height, width))
        assert y.shape == (1, 2, scale_factor * height, scale_factor * width)


@over_kernels
def test_no_ripple_at_scale_two_whatever_the_kernel(kernel_size: int) -> None:
    taps = impulse_response(TransposedFir(4, 4, kernel_size, 2), 4, 2)
    assert phase_ripple(taps, 2) == pytest.approx(0, abs=1e-25)


@pytest.mark.parametrize("scale_factor", [3, 4], ids="s{}".format)
@pytest.mark.parametrize("kernel_size", [4, 5, 6, 8], ids="k{}".format)
def test_ripple_is_reduced_and_remains_at_other_scales(kernel_size: int, scale_factor: int) -> None:
    torch.manual_seed(0)
    layer = TransposedFir(8, 8, kernel_size, scale_factor)
    plain = Transposed(8, 8, kernel_size, scale_factor)
    plain.load_state_dict(layer.state_dict())
    ripple = phase_ripple(impulse_response(layer, 8, scale_factor), scale_factor)
    assert 0.05 < ripple < phase_ripple(impulse_response(plain, 8, scale_factor), scale_factor)


@over_layers
def test_filter_makes_up_for_the_inserted_zeros(kernel_size: int, scale_factor: int) -> None:
    layer = TransposedFir(2, 3, kernel_size, scale_factor).double()
    gains = phase_gains(impulse_response(layer, 2, scale_factor), scale_factor).mean((-2, -1))
    expected = layer.weight.detach().sum((2, 3)).T
    torch.testing.assert_close(gains, expected, rtol=1e-10, atol=1e-10)


def test_a_unit_kernel_leaves_bilinear_interpolation() -> None:
    layer = TransposedFir(1, 1, 3, 2).double()
    with torch.no_grad():
        layer.weight.zero_()[..., 1, 1] = 1
        assert layer.bias is not None
        layer.bias.zero_()
        x = torch.randn(1, 1, 5, 6, dtype=torch.float64)
        expected = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        inside = (..., slice(2, -2), slice(2, -2))
        torch.testing.assert_close(layer(x)[inside], expected[inside], rtol=1e-10, atol=1e-10)


def test_bias_comes_after_the_filter_and_borders_do_not_act_on_it() -> None:
    layer = TransposedFir(2, 3, 3, 2)
    with torch.no_grad():
        y = layer(torch.zeros(1, 2, 4, 4))
    assert layer.bias is not None
    assert torch.equal(y, layer.bias.detach()[:, None, None].expand(1, 3, 8, 8))


@pytest.mark.parametrize("scale_factor", [1, 2, 3, 4], ids="s{}".format)
def test_filter_is_exact_in_half_precision_and_learns_nothing(scale_factor: int) -> None:
    layer = TransposedFir(1, 2, 4, scale_factor)
    assert torch.equal(layer.fir.bfloat16().float(), layer.fir)
    assert float(layer.fir.sum()) == 2 * scale_factor**2
    assert {name for name, _ in layer.named_parameters()} == set(layer.state_dict()) == {"weight", "bias"}


def test_macs_per_output_pixel_are_as_stated() -> None:
    macs = get_upsampler("transposed_fir").macs
    assert macs is not None
    assert macs(8, 4, 3, 2, 10, 6) / (20 * 12) / (8 * 4) == 9 / 4 + 16 / 8


def test_objects_to_gaps_and_to_nothing_else() -> None:
    with pytest.raises(UnsupportedError, match=re.escape("to cover every output pixel: 2 < 3")):
        build_upsampler("transposed_fir", 1, 1, 2, 3)
    # an even kernel at scale 1, which a transposed convolution alone cannot have
    assert isinstance(build_upsampler("transposed_fir", 1, 1, 4, 1), TransposedFir)


@given(
    options=st.fixed_dictionaries(
        {
            "kernel_size": st.tuples(st.integers(1, 5), st.integers(1, 5)),
            "stride": st.tuples(st.integers(2, 3), st.integers(2, 3)),
            "padding": st.tuples(st.integers(0, 2), st.integers(0, 2)),
            "output_padding": st.tuples(st.integers(0, 1), st.integers(0, 1)),
            "groups": st.sampled_from([1, 2]),
            "bias": st.booleans(),
            "dilation": st.tuples(st.integers(1, 2), st.integers(1, 2)),
        }
    ),
    taps=st.sampled_from([(1.0,), (1, 1), (1, 2, 1), (1.0, 3.0, 3.0, 1.0), (1, 4, 6, 4, 1)]),
)
@settings(deadline=None, max_examples=40)
def test_drop_in_is_torchs_layer_and_a_filter(options: dict[str, Any], taps: tuple[float, ...]) -> None:
    layer = FilteredConvTranspose2d(2, 4, **options, taps=taps, dtype=torch.float64)
    plain = nn.ConvTranspose2d(2, 4, **options, dtype=torch.float64)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(1, 2, 7, 6, dtype=torch.float64)
    y = layer(x)
    assert y.shape == plain(x).shape
    # unpadded, with plenty of zeros around; pixel p of it is pixel 0 of torch's output
    whole = functional.conv_transpose2d(
        x, layer.weight, stride=layer.stride, groups=layer.groups, dilation=layer.dilation
    )
    margin = 10
    whole = functional.pad(whole, (margin,) * 4)
    fir = torch.outer(torch.tensor(taps, dtype=torch.float64), torch.tensor(taps, dtype=torch.float64))
    fir = fir * layer.stride[0] * layer.stride[1] / sum(taps) ** 2
    expected = torch.zeros_like(y)
    back = len(taps) // 2
    for i in range(len(taps)):
        for j in range(len(taps)):
            top, left = (margin + crop + k - back for crop, k in zip(options["padding"], (i, j), strict=True))
            expected += fir[i, j] * whole[:, :, top : top + y.shape[2], left : left + y.shape[3]]
    if layer.bias is not None:
        expected += layer.bias[:, None, None]
    torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("stride", "taps"), [(3, (1, 2, 3, 2, 1)), (4, (1, 2, 3, 4, 3, 2, 1))], ids=["s3", "s4"])
def test_filters_that_the_box_divides_serve_other_strides(stride: int, taps: tuple[int, ...]) -> None:
    layer = FilteredConvTranspose2d(3, 3, stride, stride, taps=taps)
    # thirds are rounded in float32
    assert phase_ripple(impulse_response(layer, 3, stride), stride) == pytest.approx(0, abs=1e-14)


def test_drop_in_takes_an_output_size() -> None:
    layer = FilteredConvTranspose2d(1, 1, 3, 2, 1)
    x = torch.randn(1, 1, 4, 4)
    assert layer(x, output_size=[8, 7]).shape == (1, 1, 8, 7)
    torch.testing.assert_close(layer(x, output_size=[8, 7])[:, :, :7], layer(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("taps", [(1, -1), (), "1331", 3, (1, "3")], ids=str)
def test_what_is_not_a_filter_is_refused(taps: Any) -> None:
    with pytest.raises(UsageError, match="taps: .* is not a sequence of numbers of a sum other than zero"):
        FilteredConvTranspose2d(1, 1, 3, 2, taps=taps)


def test_it_says_which_filter_it_has() -> None:
    assert "taps" not in repr(FilteredConvTranspose2d(1, 1, 3, 2))
    assert repr(FilteredConvTranspose2d(1, 1, 3, 2, taps=(1, 2, 1))).endswith("taps=(1.0, 2.0, 1.0))")
