"""Sub-pixel convolution: the equal transposed convolution, and what ICNR promises and does not."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.upsamplers.conv_resize import ConvNearest
from deconvbench.upsamplers.subpixel import Subpixel, SubpixelIcnr
from tests.upsamplers.phases import compute_ripple, measure_phase_gains

over_scales = pytest.mark.parametrize("scale_factor", [2, 3, 4], ids="s{}".format)
over_kernels = pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 5], ids="k{}".format)


def interleave_phases(weight: Tensor, s: int) -> Tensor:
    """Interleave the phases' kernels (C_out·s², C_in, k, k) into one for transposed convolution, s·k wide."""
    kernel_size = weight.shape[-1]
    out_channels, in_channels = weight.shape[0] // s**2, weight.shape[1]
    wide = weight.new_zeros(in_channels, out_channels, s * kernel_size, s * kernel_size)
    for i in range(s):
        for j in range(s):
            phase = weight[i * s + j :: s**2]
            wide[:, :, i::s, j::s] = phase.flip(2, 3).transpose(0, 1)
    return wide


@over_scales
@over_kernels
@pytest.mark.parametrize("size", [(1, 1), (3, 4)], ids=["1x1", "3x4"])
def test_equals_a_transposed_convolution_of_s_times_the_kernel(
    kernel_size: int, scale_factor: int, size: tuple[int, int]
) -> None:
    layer, s = Subpixel(2, 3, kernel_size, scale_factor).double(), scale_factor
    assert layer.conv.bias is not None
    torch.nn.init.zeros_(layer.conv.bias)  # it has one value a phase, which no transposed convolution has
    x = torch.randn(2, 2, *size, dtype=torch.float64)
    full = functional.conv_transpose2d(x, interleave_phases(layer.conv.weight, s), stride=s)
    first = s * (kernel_size // 2)
    expected = full[:, :, first : first + s * size[0], first : first + s * size[1]]
    torch.testing.assert_close(layer(x), expected, rtol=1e-10, atol=1e-10)


@over_scales
def test_plain_initialisation_ripples(scale_factor: int) -> None:
    torch.manual_seed(0)
    gains = [measure_phase_gains(Subpixel(16, 16, 3, scale_factor), 16, scale_factor) for _ in range(4)]
    assert compute_ripple(torch.cat(gains, dim=2)) == pytest.approx(1 - 1 / scale_factor**2, abs=0.03)


@over_scales
@over_kernels
def test_icnr_starts_as_convolution_and_nearest(kernel_size: int, scale_factor: int) -> None:
    layer = SubpixelIcnr(2, 3, kernel_size, scale_factor).double()
    baseline = ConvNearest(2, 3, kernel_size, scale_factor).double()
    baseline.load_state_dict({name: value[:: scale_factor**2] for name, value in layer.state_dict().items()})
    x = torch.randn(2, 2, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(layer(x), baseline(x), rtol=1e-10, atol=1e-10)


def test_icnr_draws_the_channels_independently_as_torch_would() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weight = SubpixelIcnr(16, 64, 3, 2).conv.weight.detach()
    kernels = weight[::4].flatten(1)
    assert torch.unique(kernels, dim=0).shape == kernels.shape
    # uniform within ±1/√fan_in
    bound = (16 * 9) ** -0.5
    assert kernels.abs().max().item() <= bound
    assert kernels.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)


@over_scales
def test_icnr_ripples_once_trained(scale_factor: int) -> None:
    torch.manual_seed(0)
    layer = SubpixelIcnr(2, 2, 3, scale_factor)
    assert compute_ripple(measure_phase_gains(layer, 2, scale_factor)) == pytest.approx(0, abs=1e-20)
    layer = layer.float()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    for _ in range(10):
        target = torch.rand(2, 2, 6 * scale_factor, 6 * scale_factor)
        optimizer.zero_grad()
        torch.autograd.backward(functional.mse_loss(layer(torch.rand(2, 2, 6, 6)), target))
        optimizer.step()
    assert compute_ripple(measure_phase_gains(layer, 2, scale_factor)) > 1e-6
