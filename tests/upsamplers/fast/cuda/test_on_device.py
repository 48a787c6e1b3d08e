"""On a CUDA device: against cuDNN, at sizes that the interpreter would take hours for."""

import pytest
import torch

from deconvbench.upsamplers.fast import ResizeConv2d
from deconvbench.upsamplers.fast.cuda.form import TRITON_IMPLEMENTATIONS, has_triton
from tests.upsamplers.fast.plain_form import measure_error, over_layouts

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not has_triton(), reason="needs triton, which is not installed"),
]
over_forms = pytest.mark.parametrize("form", TRITON_IMPLEMENTATIONS)
# errors in units of that of the plain form in the same precision, and with which they count at all
SHARES = {"minimal_triton": 1.5, "tiled_triton": 4.0}
FLOOR = {torch.float32: 1e-6, torch.bfloat16: 1e-3, torch.float16: 1e-4}


@over_forms
@over_layouts
@pytest.mark.parametrize("allows_tf32", [False, True], ids=["ieee", "tf32"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_output_and_gradients_are_as_exact_as_those_of_cudnn(
    form: str,
    layout: torch.memory_format,
    allows_tf32: bool,
    dtype: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allows_tf32)
    torch.manual_seed(0)
    for batch, in_channels, out_channels, height, width in ((1, 256, 128, 32, 32), (3, 70, 40, 33, 17)):
        x = torch.randn(batch, in_channels, height, width, device="cuda").to(dtype)
        x = x.contiguous(memory_format=layout).requires_grad_()
        gradient = torch.randn(batch, out_channels, 2 * height, 2 * width, device="cuda").to(dtype)
        layers = {
            name: ResizeConv2d(in_channels, out_channels, implementation=name, device="cuda", dtype=dtype)
            for name in (form, "plain")
        }
        exact = ResizeConv2d(in_channels, out_channels, implementation="plain", device="cuda", dtype=torch.float64)
        for layer in layers.values():
            layer.load_state_dict(layers["plain"].state_dict())
        exact.load_state_dict({name: value.double() for name, value in layers["plain"].state_dict().items()})
        wide = x.detach().double().requires_grad_()
        expected = exact(wide)
        expected_all = (expected, *torch.autograd.grad(expected, (wide, *exact.parameters()), gradient.double()))
        errors = {}
        for name, layer in layers.items():
            y = layer(x)
            found = (y, *torch.autograd.grad(y, (x, *layer.parameters()), gradient))
            errors[name] = [measure_error(one, other) for one, other in zip(found, expected_all, strict=True)]
        for ours, theirs in zip(errors[form], errors["plain"], strict=True):
            assert ours < SHARES[form] * max(theirs, FLOOR[dtype])


@over_forms
def test_a_graph_of_the_device_holds_it(form: str) -> None:
    layer = ResizeConv2d(64, 32, implementation=form, device="cuda")
    x = torch.randn(1, 64, 16, 16, device="cuda")
    with torch.no_grad():
        expected = layer(x)  # tunes
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = layer(x)
        y.zero_()
        graph.replay()
        assert torch.equal(y, expected)


@pytest.mark.compile
@over_forms
def test_a_compiled_layer_runs_it(form: str) -> None:
    torch.compiler.reset()
    layer = ResizeConv2d(16, 8, implementation=form, device="cuda")
    x = torch.randn(2, 16, 9, 7, device="cuda", requires_grad=True)
    y = torch.compile(layer, fullgraph=True)(x)
    torch.testing.assert_close(y, layer(x))
    y.square().sum().backward()
    assert x.grad is not None
