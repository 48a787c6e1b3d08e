"""What exporters and compilers make of layers and of fused networks: right at sizes that they never saw."""

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.networks.fusion import fuse
from deconvbench.upsamplers.fast import ResizeConv2d
from tests.networks.fusion.networks import UNet, Up

pytestmark = pytest.mark.filterwarnings("ignore")

OTHER_SIZES = ((1, 4, 12, 8), (3, 4, 16, 8), (2, 4, 8, 32))
Pair = tuple[nn.Module, nn.Module]


def make_plain(layer: ResizeConv2d) -> nn.Module:
    conv = nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size, padding=layer.kernel_size // 2)
    conv.weight, conv.bias = layer.weight, layer.bias
    return nn.Sequential(nn.Upsample(scale_factor=layer.scale_factor), conv)


def pair_layer(*arguments: Any) -> Pair:
    layer = ResizeConv2d(4, 5, *arguments).eval()
    return layer, make_plain(layer)


def pair_fused(model: nn.Module, *, is_cached: bool = False) -> Pair:
    model = model.eval()
    return fuse(model, torch.randn(1, 4, 8, 8), cache_weights=is_cached).model, model


class BySize(nn.Module):
    """Upsample to twice the size, whatever that is."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 5, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(functional.interpolate(x, size=[2 * side for side in x.shape[2:]]))
        return y


def make_container() -> nn.Sequential:
    up = nn.Sequential(nn.Upsample(scale_factor=2), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))
    # which is faster as a sub-pixel convolution
    return nn.Sequential(up, nn.ConvTranspose2d(4, 2, 8, 4, 2))


MODELS: dict[str, Callable[[], Pair]] = {
    "layer": pair_layer,
    "layer, k5": lambda: pair_layer(5, 2),
    "layer, s3": lambda: pair_layer(3, 3),
    "container": lambda: pair_fused(make_container()),
    "container, cached": lambda: pair_fused(make_container(), is_cached=True),
    "scope": lambda: pair_fused(Up(4, 5)),
    "scope, by size": lambda: pair_fused(BySize()),
    "U-Net": lambda: pair_fused(nn.Sequential(nn.Conv2d(4, 3, 1), UNet())),
}
# the others differ in what runs, not in what is recorded
QUICK = {"layer", "container", "scope, by size", "U-Net"}
over_models = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in MODELS]
)


def make_pair(name: str) -> Pair:
    torch.manual_seed(0)
    return MODELS[name]()


def assert_same(found: Callable[[Tensor], Tensor], expected: nn.Module, sizes: Any = OTHER_SIZES) -> None:
    with torch.no_grad():
        for shape in sizes:
            x = torch.randn(*shape)
            torch.testing.assert_close(found(x), expected(x), rtol=1e-4, atol=1e-5)


AUTO = torch.export.Dim.AUTO
ALL_SIZES: Any = ({0: AUTO, 2: AUTO, 3: AUTO},)


def list_operations(graph: torch.fx.Graph) -> str:
    return " ".join(str(node.target) for node in graph.nodes if node.op == "call_function")


@over_models
@pytest.mark.compile
@pytest.mark.parametrize("strict", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_program_is_of_torch_s_plain_operations(name: str, strict: bool) -> None:
    torch.compiler.reset()
    model, plain = make_pair(name)
    program = torch.export.export(model, (torch.randn(2, 4, 8, 8),), dynamic_shapes=ALL_SIZES, strict=strict)
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    assert_same(torch.export.load(file).module(), plain)
    written = list_operations(program.graph)
    assert "upsample_nearest2d" in written
    assert "deconvbench" not in written
    assert written.count("conv_transpose2d") == int("container" in name)


@over_models
def test_a_trace(name: str) -> None:
    model, plain = make_pair(name)
    traced: Any = torch.jit.trace(model, torch.randn(2, 4, 8, 8))  # type: ignore[no-untyped-call] # torch has no types here
    file = io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    loaded: Any = torch.jit.load(file)  # type: ignore[no-untyped-call] # torch has no types here
    assert_same(loaded, plain)


def write_by_tracing(model: nn.Module, file: io.BytesIO) -> None:
    axes = {"x": {0: "n", 2: "h", 3: "w"}}
    x = torch.randn(2, 4, 8, 8)
    # torch writes into files in memory too, which it does not say
    target: Any = file
    torch.onnx.export(model, (x,), target, dynamo=False, input_names=["x"], dynamic_axes=axes, opset_version=17)


def write_program(model: nn.Module, file: io.BytesIO) -> None:
    x = torch.randn(2, 4, 8, 8)
    program: Any = torch.onnx.export(model, (x,), dynamo=True, dynamic_shapes=ALL_SIZES, verbose=False)
    file.write(program.model_proto.SerializeToString())


@over_models
@pytest.mark.parametrize(
    "write",
    [write_by_tracing, pytest.param(write_program, marks=[pytest.mark.compile, pytest.mark.slow])],
    ids=["trace", "program"],
)
def test_a_file_of_onnx(name: str, write: Callable[[nn.Module, io.BytesIO], None]) -> None:
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    if write is write_program:
        pytest.importorskip("onnxscript")
    model, plain = make_pair(name)
    file = io.BytesIO()
    write(model, file)
    session = runtime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert_same(lambda x: torch.from_numpy(session.run(None, {given.name: x.numpy()})[0]), plain)
    kinds = [node.op_type for node in onnx.load_from_string(file.getvalue()).graph.node]
    assert "Resize" in kinds
    assert kinds.count("ConvTranspose") == int("container" in name)


@pytest.mark.compile
@pytest.mark.parametrize("dynamic", [pytest.param(None, marks=pytest.mark.slow), True], ids=["static", "dynamic"])
@pytest.mark.parametrize("backend", ["eager", pytest.param("aot_eager", marks=pytest.mark.slow)])
@over_models
def test_compiled(name: str, backend: str, dynamic: bool | None) -> None:
    torch.compiler.reset()
    model, plain = make_pair(name)
    compiled = torch.compile(model, backend=backend, dynamic=dynamic, fullgraph=True)
    assert_same(compiled, plain)
    gradients = []
    for one in (compiled, plain):
        x = torch.randn(2, 4, 12, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()
        asked = (x, *plain.parameters())
        gradients.append(torch.autograd.grad(one(x).square().mean(), asked))
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.compile
@pytest.mark.slow
@pytest.mark.parametrize("name", ["layer", "container", "scope"])
@pytest.mark.parametrize("backend", ["inductor", "deconvbench"])
def test_compiled_to_code(name: str, backend: str) -> None:
    torch.compiler.reset()
    model, plain = make_pair(name)
    assert_same(torch.compile(model, backend=backend, fullgraph=True), plain)
    torch.compiler.reset()
    assert_same(torch.compile(model, backend=backend, dynamic=True, fullgraph=True), plain)
