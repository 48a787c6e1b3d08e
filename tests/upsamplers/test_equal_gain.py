"""Equal gains by parametrisation: a projection, no ripple ever, and more freedom than resize-convolution has."""

import copy
import itertools
import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from deconvbench.errors import UsageError
from deconvbench.measure.artifacts import impulse_response, phase_ripple
from deconvbench.theory import divide_by_box, nearest_conv_kernel
from deconvbench.upsamplers.equal_gain import EqualGainConvTranspose2d, EqualGainTransposed, GainProjection
from deconvbench.upsamplers.transposed import Transposed, find_objection

LAYERS = [(k, s) for k in range(1, 9) for s in range(1, 5) if find_objection(k, s) is None]
over_layers = pytest.mark.parametrize(
    ("kernel_size", "scale_factor"), LAYERS, ids=[f"k{k}-s{s}" for k, s in LAYERS]
)


def project(weight: Tensor, scale_factor: int) -> Tensor:
    projected: Tensor = GainProjection(weight.shape[-1], scale_factor).to(weight.dtype)(weight)
    return projected


def build_projection_matrix(kernel_size: int, scale_factor: int) -> Tensor:
    """Build the matrix of the projection on flattened kernels, one unit kernel at a time."""
    taps = kernel_size**2
    units = torch.eye(taps, dtype=torch.float64).reshape(1, taps, kernel_size, kernel_size)
    return project(units, scale_factor)[0].flatten(1).T


def project_phase_by_phase(weight: Tensor, s: int) -> Tensor:
    """Apply w_t += (g − S_φ)/n_φ to one kernel, as it is written."""
    phases = list(itertools.product(range(s), range(s)))
    sums = {(i, j): float(weight[i::s, j::s].sum()) for i, j in phases}
    counts = {(i, j): weight[i::s, j::s].numel() for i, j in phases}
    gain = sum(sums[phase] / counts[phase] for phase in phases) / sum(1 / counts[phase] for phase in phases)
    result = weight.clone()
    for i, j in phases:
        result[i::s, j::s] += (gain - sums[i, j]) / counts[i, j]
    return result


def measure_ripple(layer: nn.Module, channels: int, scale_factor: int) -> float:
    return phase_ripple(impulse_response(layer, channels, scale_factor), scale_factor)


@over_layers
def test_projection_is_the_formula(kernel_size: int, scale_factor: int) -> None:
    weight = torch.randn(3, 2, kernel_size, kernel_size, dtype=torch.float64)
    expected = torch.stack(
        [torch.stack([project_phase_by_phase(kernel, scale_factor) for kernel in row]) for row in weight]
    )
    torch.testing.assert_close(project(weight, scale_factor), expected, rtol=1e-12, atol=1e-12)


@over_layers
def test_projection_is_orthogonal_onto_the_kernels_of_equal_gains(kernel_size: int, scale_factor: int) -> None:
    matrix = build_projection_matrix(kernel_size, scale_factor)
    torch.testing.assert_close(matrix @ matrix, matrix, rtol=0, atol=1e-12)
    torch.testing.assert_close(matrix, matrix.T, rtol=0, atol=1e-12)
    # all phases but the first are tied to it, and nothing else is
    assert int(torch.linalg.matrix_rank(matrix)) == kernel_size**2 - (scale_factor**2 - 1)


@given(layer=st.sampled_from(LAYERS), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=25)
def test_no_kernel_of_equal_gains_is_nearer(layer: tuple[int, int], seed: int) -> None:
    kernel_size, scale_factor = layer
    generator = torch.Generator().manual_seed(seed)
    weight, other = torch.randn(2, 1, 1, kernel_size, kernel_size, dtype=torch.float64, generator=generator)
    nearest, rival = project(weight, scale_factor), project(other, scale_factor)
    # Pythagoras: what leads to the nearest one is perpendicular to the subspace
    found = (weight - rival).square().sum()
    expected = (weight - nearest).square().sum() + (nearest - rival).square().sum()
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@over_layers
def test_random_weights_do_not_ripple_whatever_the_kernel(kernel_size: int, scale_factor: int) -> None:
    torch.manual_seed(0)
    layer = EqualGainTransposed(3, 4, kernel_size, scale_factor)
    assert measure_ripple(layer, 3, scale_factor) == pytest.approx(0, abs=1e-25)
    if scale_factor > 1:
        plain = Transposed(3, 4, kernel_size, scale_factor)
        plain.load_state_dict(layer.state_dict())
        assert measure_ripple(plain, 3, scale_factor) > 0.5


@pytest.mark.parametrize(
    ("kernel_size", "scale_factor"), [(3, 2), (4, 2), (5, 3), (6, 4)], ids=["k3-s2", "k4-s2", "k5-s3", "k6-s4"]
)
def test_trained_weights_do_not_ripple(kernel_size: int, scale_factor: int) -> None:
    torch.manual_seed(0)
    layer = EqualGainTransposed(2, 2, kernel_size, scale_factor)
    before = layer.compute_kernel().detach()
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    for _ in range(10):
        target = torch.rand(2, 2, 6 * scale_factor, 6 * scale_factor)
        optimizer.zero_grad()
        torch.autograd.backward(functional.mse_loss(layer(torch.rand(2, 2, 6, 6)), target))
        optimizer.step()
    assert float((layer.compute_kernel().detach() - before).abs().max()) > 0.1
    assert measure_ripple(layer, 2, scale_factor) == pytest.approx(0, abs=1e-25)


def test_is_freer_than_resize_convolution() -> None:
    # every kernel of nearest ×2 with a 3×3 convolution, as a transposed convolution of 4×4
    units = np.eye(9).reshape(9, 1, 3, 3)
    resized = nearest_conv_kernel(units, 2).reshape(9, 16)
    matrix = build_projection_matrix(4, 2)
    assert np.linalg.matrix_rank(resized) == 9
    assert int(torch.linalg.matrix_rank(matrix)) == 13
    # it has all of them
    np.testing.assert_allclose(resized @ matrix.numpy(), resized, atol=1e-12)


def test_along_one_axis_it_is_resize_convolution_and_in_two_dimensions_it_is_not() -> None:
    generator = torch.Generator().manual_seed(0)
    kernel = project(torch.randn(1, 1, 4, 4, dtype=torch.float64, generator=generator), 2)[0, 0].numpy()
    # summed over the rows: what reaches a map that is constant along them
    _, remainder = divide_by_box(kernel[0::2].sum(0), 2)
    np.testing.assert_allclose(remainder, 0, atol=1e-12)
    # row by row a product with the box would leave nothing, and the 13 dimensions leave something
    _, remainder = divide_by_box(kernel, 2)
    assert np.abs(remainder).max() > 0.1


@over_layers
def test_equals_a_transposed_convolution_with_the_projected_kernel(kernel_size: int, scale_factor: int) -> None:
    layer = EqualGainTransposed(2, 3, kernel_size, scale_factor).double()
    plain = Transposed(2, 3, kernel_size, scale_factor).double()
    assert layer.bias is not None
    plain.load_state_dict({"weight": layer.compute_kernel().detach(), "bias": layer.bias.detach()})
    x = torch.randn(2, 2, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(layer(x), plain(x), rtol=1e-10, atol=1e-10)


def test_gradient_of_the_free_weight_is_the_projected_one() -> None:
    layer = EqualGainTransposed(2, 3, 5, 2).double()
    kernel = layer.compute_kernel().detach().requires_grad_()
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64)
    y = functional.conv_transpose2d(
        x, kernel, layer.bias, stride=2, padding=2, output_padding=layer.output_padding
    )
    torch.autograd.backward(y.square().sum())
    torch.autograd.backward(layer(x).square().sum())
    assert kernel.grad is not None
    torch.testing.assert_close(layer.weight.grad, project(kernel.grad, 2), rtol=1e-10, atol=1e-10)


def test_state_dict_holds_the_free_weight_only() -> None:
    layer = EqualGainTransposed(2, 3, 4, 2)
    free = layer.weight.detach().clone()
    with torch.no_grad():
        layer(torch.ones(1, 2, 3, 3))
    state = layer.state_dict()
    assert set(state) == {"weight", "bias"}
    assert torch.equal(state["weight"], free)
    assert not torch.allclose(free, layer.compute_kernel())


def test_a_copy_has_weights_of_its_own() -> None:
    layer = EqualGainTransposed(2, 3, 4, 2)
    other = copy.deepcopy(layer)
    with torch.no_grad():
        other.weight.zero_()
        assert float(other.compute_kernel().abs().max()) == 0
        assert float(layer.compute_kernel().abs().max()) > 0


def test_scale_one_has_one_phase_and_changes_nothing() -> None:
    layer = EqualGainTransposed(2, 3, 3, 1)
    torch.testing.assert_close(layer.compute_kernel(), layer.weight)


def test_counts_of_taps_are_the_articles_overlap() -> None:
    assert GainProjection(3, 2).tap_counts.tolist() == [4, 2, 2, 1]
    assert GainProjection(4, 2).tap_counts.tolist() == [4, 4, 4, 4]


def test_projection_is_a_parametrisation_for_any_transposed_convolution() -> None:
    layer = nn.ConvTranspose2d(2, 3, 4, stride=2, padding=1)
    parametrize.register_parametrization(layer, "weight", GainProjection(4, 2))
    assert measure_ripple(layer, 2, 2) < 1e-13
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    assert measure_ripple(layer, 2, 2) < 1e-13


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
def test_it_has_the_default_type_throughout(dtype: torch.dtype) -> None:
    torch.set_default_dtype(dtype)
    try:
        layer = EqualGainTransposed(4, 2, 5, 2)
        y = layer(torch.ones(1, 4, 3, 3))
    finally:
        torch.set_default_dtype(torch.float32)
    assert y.dtype == dtype


@st.composite
def transposed_options(draw: st.DrawFn) -> dict[str, Any]:
    """Draw what `torch.nn.ConvTranspose2d` takes and the projection has."""
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    kernel_size = tuple(draw(st.integers(step, 5)) for step in stride)
    dilation = tuple(draw(st.sampled_from([d for d in (1, 2, 3) if math.gcd(d, step) == 1])) for step in stride)
    output_padding = tuple(
        draw(st.integers(0, max(step, d) - 1)) for step, d in zip(stride, dilation, strict=True)
    )
    return {
        "kernel_size": kernel_size,
        "stride": stride,
        "padding": draw(st.tuples(st.integers(0, 1), st.integers(0, 1))),
        "output_padding": output_padding,
        "groups": draw(st.sampled_from([1, 2])),
        "bias": draw(st.booleans()),
        "dilation": dilation,
    }


@given(options=transposed_options(), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_drop_in_is_torchs_layer_with_the_projected_kernel(options: dict[str, Any], seed: int) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layer = EqualGainConvTranspose2d(2, 4, **options, dtype=torch.float64)
        torch.manual_seed(seed)
        plain = nn.ConvTranspose2d(2, 4, **options, dtype=torch.float64)
    # the same start, and a checkpoint of torch's layer loads
    layer.load_state_dict(plain.state_dict())
    x = torch.randn(1, 2, 4, 5, dtype=torch.float64)
    kernel = layer.compute_kernel().detach()
    assert layer(x).shape == plain(x).shape
    plain.weight.data = kernel
    torch.testing.assert_close(layer(x), plain(x), rtol=1e-10, atol=1e-10)
    # every phase has the same sum: taps t·d that are alike modulo the stride
    spread = torch.zeros(2, kernel.shape[1], 30, 30, dtype=torch.float64)
    (rows, columns), (down, across) = options["dilation"], options["stride"]
    places = [rows * index for index in range(kernel.shape[2])], [columns * i for i in range(kernel.shape[3])]
    for (i, row), (j, column) in itertools.product(enumerate(places[0]), enumerate(places[1])):
        spread[:, :, row, column] = kernel[:, :, i, j]
    sums = torch.stack([spread[:, :, i::down, j::across].sum((2, 3)) for i in range(down) for j in range(across)])
    torch.testing.assert_close(sums, sums[:1].expand_as(sums), rtol=0, atol=1e-12)


def test_drop_in_takes_an_output_size() -> None:
    layer, plain = EqualGainConvTranspose2d(1, 1, 3, 2, 1), nn.ConvTranspose2d(1, 1, 3, 2, 1)
    x = torch.zeros(1, 1, 4, 4)
    for size in ([7, 8], [8, 7]):
        assert layer(x, output_size=size).shape == plain(x, output_size=size).shape == (1, 1, *size)
    with pytest.raises(ValueError, match="requested an output size"):
        layer(x, output_size=[20, 20])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 2, "stride": 3}, "kernel_size: 2 is below stride 3"),
        ({"kernel_size": 4, "stride": 2, "dilation": 2}, "dilation: 2 has a divisor in common with stride 2"),
        ({"kernel_size": (4, 2), "stride": (2, 3)}, "kernel_size: 2 is below stride 3"),
    ],
    ids=["gap", "dilation", "one-axis"],
)
def test_drop_in_refuses_phases_without_taps(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        EqualGainConvTranspose2d(1, 1, **options)
