import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deconvbench.errors import UnsupportedError, UsageError
from deconvbench.measure import step as step_module
from deconvbench.measure.step import GraphedWork, PreparedStep, check_output, prepare_step
from deconvbench.records.case import Case
from deconvbench.upsamplers import register_upsampler, registry
from tests.builders import make_case


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Tensor], Any]], Case]:
    """Register a function of the right output as an upsampler of its own; return a case of it."""
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))

    def register_function(function: Callable[[Tensor], Any]) -> Case:
        class Layer(nn.Module):
            def __init__(self, in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> None:
                super().__init__()
                self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding="same")
                self.unused = nn.Parameter(torch.ones(3))

            def forward(self, x: Tensor) -> Any:
                return function(self.conv(nn.functional.interpolate(x, scale_factor=2)))

        register_upsampler("made_up")(Layer)
        return make_case(upsampler="made_up")

    return register_function


def with_step(case: Case, step: str) -> Case:
    return Case.from_id(f"{case.case_id}-{step}" if step == "train" else case.case_id)


@pytest.mark.parametrize("step", ["forward", "train"])
@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_a_step_gives_what_its_case_promises(dtype: str, memory_format: str, step: str) -> None:
    case = make_case(dtype=dtype, memory_format=memory_format, step=step, batch=2)
    prepared = prepare_step(case, 0)
    for output in (prepared.run(), prepared()):
        assert output.shape == case.output_shape
        assert output.dtype == getattr(torch, dtype)
        assert output.is_inference() is (step == "forward")
        assert output.requires_grad is (step == "train")
        if memory_format == "channels_last":
            assert output.is_contiguous(memory_format=torch.channels_last)


def test_sizes_in_bytes() -> None:
    weights = 4 * 2 * 3 * 3 + 2
    forward = prepare_step(make_case(batch=3, dtype="bfloat16"), 0)
    assert forward.input_bytes == 2 * 3 * 4 * 8 * 8
    assert forward.output_bytes == 2 * 3 * 2 * 16 * 16 == forward.run().nbytes
    assert forward.parameter_bytes == 2 * weights
    assert forward.gradient_bytes == 0
    train = prepare_step(make_case(step="train"), 0)
    assert train.gradient_bytes == 4 * (4 * 8 * 8 + weights)


def test_weights_and_input_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = prepare_step(make_case(), 5).run()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(prepare_step(make_case(), 5).run(), first)
    torch.testing.assert_close(prepare_step(make_case(memory_format="channels_last"), 5).run(), first)
    assert not torch.equal(prepare_step(make_case(), 6).run(), first)


@pytest.mark.parametrize("step", ["forward", "train"])
def test_the_mode_of_the_layer_is_that_of_the_step(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    modes: list[tuple[bool, bool]] = []

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.ConvTranspose2d(4, 2, 2, 2)

        def forward(self, x: Tensor) -> Tensor:
            modes.append((self.training, torch.is_grad_enabled()))
            output: Tensor = self.conv(x)
            return output

    monkeypatch.setattr(step_module, "build_seeded_layer", lambda *arguments: Watched())
    prepare_step(make_case(step=step), 0).run()
    assert modes == [(step == "train", step == "train")]


def test_training_computes_the_gradients_of_input_and_weights_and_keeps_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    computed: list[tuple[Tensor, ...]] = []
    leaves: list[tuple[Tensor, ...]] = []
    real = torch.autograd.grad

    def watched(output: Tensor, inputs: tuple[Tensor, ...], gradient: Tensor, **options: Any) -> Any:
        found = real(output, inputs, gradient, retain_graph=True, **options)
        computed.append(found)
        leaves.append(inputs)
        torch.autograd.backward(output, gradient)
        for leaf, value in zip(inputs, found, strict=True):
            assert leaf.grad is not None
            assert torch.equal(leaf.grad, value)
            leaf.grad = None
        return found

    step = prepare_step(make_case(step="train"), 0)
    monkeypatch.setattr(torch.autograd, "grad", watched)
    step.run()
    step.run()
    assert [gradient.shape for gradient in computed[0]] == [(1, 4, 8, 8), (2, 4, 3, 3), (2,)]
    assert all(torch.equal(one, other) for one, other in zip(*computed, strict=True))
    monkeypatch.undo()
    step.run()
    assert all(leaf.grad is None for leaf in leaves[0])


def test_a_parameter_that_is_not_used_does_no_harm(register: Callable[[Callable[[Tensor], Any]], Case]) -> None:
    case = with_step(register(lambda y: y), "train")
    assert prepare_step(case, 0).run().requires_grad


@pytest.mark.parametrize("step", ["forward", "train"])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda y: [y], "gave a list, expected a tensor"),
        (
            lambda y: y[..., 1:],
            r"gave shape \(1, 2, 16, 15\), expected \(1, 2, 16, 16\): an input of shape \(1, 4, 8, 8\) times"
            r" scale_factor 2, with 2 out_channels",
        ),
        (lambda y: y.double(), "gave dtype float64, expected that of its input and weights, float32"),
        (lambda y: y / 0, "gave values that are not finite, in float32, for a normal input"),
    ],
    ids=["no-tensor", "shape", "dtype", "not-finite"],
)
def test_a_wrong_output_is_explained_to_its_author(
    register: Callable[[Callable[[Tensor], Any]], Case],
    spoil: Callable[[Tensor], Any],
    message: str,
    step: str,
) -> None:
    prepared = prepare_step(with_step(register(spoil), step), 0)
    for _ in range(2):  # a step that failed its check is not taken for checked
        with pytest.raises(UsageError, match=f"^upsampler 'made_up' {message}$"):
            prepared.run()


def test_an_output_without_gradient_is_explained(register: Callable[[Callable[[Tensor], Any]], Case]) -> None:
    case = register(lambda y: y.detach())
    prepare_step(case, 0).run()
    with pytest.raises(UsageError, match="upsampler 'made_up' gave an output without a gradient"):
        prepare_step(with_step(case, "train"), 0).run()


def test_the_output_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[object] = []
    monkeypatch.setattr(step_module, "check_output", lambda output, case: checked.append(output))
    step = prepare_step(make_case(), 0)
    for _ in range(3):
        step.run()
    assert len(checked) == 1


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RuntimeError, "\"slow_conv2d_cpu\" not implemented for 'Half'"),
        (NotImplementedError, "Could not run 'aten::col2im' with arguments from the 'XPU' backend.\nMore words."),
        (NotImplementedError, "The operator 'aten::x' is not currently implemented for the MPS device."),
        (TypeError, "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."),
        (RuntimeError, "linalg.inv: Low precision dtypes not supported. Got Half"),
    ],
    ids=["dispatch", "dispatcher", "mps-operator", "mps-float64", "linalg"],
)
def test_a_missing_kernel_is_unsupported(
    register: Callable[[Callable[[Tensor], Any]], Case], error: type[Exception], text: str
) -> None:
    def fail(y: Tensor) -> Tensor:
        raise error(text)

    step = prepare_step(register(fail), 0)
    with pytest.raises(UnsupportedError) as caught:
        step.run()
    assert str(caught.value) == f"made_up cannot run in float32 on cpu: {text.splitlines()[0]}"


@pytest.mark.parametrize(
    "error",
    [RuntimeError("DefaultCPUAllocator: can't allocate memory"), NotImplementedError("forward"), MemoryError()],
    ids=["allocator", "no-forward", "memory"],
)
def test_other_failures_stay_what_they_are(
    register: Callable[[Callable[[Tensor], Any]], Case], error: Exception
) -> None:
    def fail(y: Tensor) -> Tensor:
        raise error

    with pytest.raises(type(error)) as caught:
        prepare_step(register(fail), 0).run()
    assert caught.value is error


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_absent_is_wrong_use() -> None:
    with pytest.raises(UsageError, match="device: 'cuda' is not on this machine"):
        prepare_step(make_case(device="cuda"), 0)


def test_a_graph_needs_cuda() -> None:
    with pytest.raises(UnsupportedError, match="^cudagraph needs a CUDA device, not cpu$"):
        prepare_step(make_case(execution="cudagraph"), 0)


def test_what_cannot_be_built_is_unsupported() -> None:
    with pytest.raises(UnsupportedError):
        prepare_step(make_case(upsampler="transposed", kernel_size=1), 0)


@pytest.mark.compile
@pytest.mark.parametrize("step", ["forward", "train"])
def test_compiled_steps_equal_eager_ones(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    compiled: list[dict[str, Any]] = []
    real = torch.compile

    def compile_without_inductor(layer: nn.Module, **options: Any) -> Any:
        compiled.append(options)
        return functools.partial(real, backend="aot_eager")(layer, **options)

    monkeypatch.setattr(torch, "compile", compile_without_inductor)
    eager = prepare_step(make_case(step=step), 0).run()
    step_compiled = prepare_step(make_case(step=step, execution="compile"), 0)
    for _ in range(2):
        torch.testing.assert_close(step_compiled.run(), eager)
    assert compiled == [{"dynamic": False}]


@pytest.mark.compile
def test_many_compiled_steps_are_all_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[int] = []

    def count(graph: torch.fx.GraphModule, example_inputs: list[Tensor]) -> Callable[..., Any]:
        compiled.append(len(example_inputs))
        return graph.forward

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=count))
    for height in range(4, 14):  # torch goes back to eager after eight of one class
        prepare_step(make_case(height=height, execution="compile"), 0).run()
    assert len(compiled) >= 10


@pytest.mark.compile
@pytest.mark.slow
def test_inductor_runs_a_step() -> None:
    case = make_case(execution="compile")
    torch.testing.assert_close(prepare_step(case, 0).run(), prepare_step(make_case(), 0).run())


@pytest.fixture
def cuda_log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Put recorders in place of CUDA's streams and graphs; a capture does not run what it captures."""
    log: list[str] = []

    class FakeStream:
        def __init__(self, name: str = "side") -> None:
            self.name = name

        def wait_stream(self, other: "FakeStream") -> None:
            log.append(f"{self.name} waits for {other.name}")

    class FakeGraph:
        def replay(self) -> None:
            log.append("replay")

    @contextlib.contextmanager
    def enter(name: str) -> Iterator[None]:
        log.append(f"enter {name}")
        yield
        log.append(f"leave {name}")

    current = FakeStream("current")
    monkeypatch.setattr(torch.cuda, "device", lambda device: enter(str(device)))
    monkeypatch.setattr(torch.cuda, "Stream", FakeStream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: current)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: enter(stream.name))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, stream: enter(f"capture on {stream.name}"))
    return log


def test_a_graph_is_captured_once_after_warm_up_on_the_side(cuda_log: list[str]) -> None:
    outputs: list[Tensor] = []

    def work(look: Callable[[Tensor], None] | None) -> Tensor:
        cuda_log.append("work" if look is None else "work, looking")
        outputs.append(torch.zeros(1))
        if look is not None:
            look(outputs[-1])
        return outputs[-1]

    looked: list[Tensor] = []
    graphed = GraphedWork(work, torch.device("cuda", 1))
    first = graphed(looked.append)
    assert graphed(None) is first is outputs[3]
    # the check sees the output of the warm-up, before a backward pass, and that of the replay
    assert [id(output) for output in looked] == [id(outputs[0]), id(first)]
    assert cuda_log == [
        "enter cuda:1",
        "side waits for current",
        "enter side",
        "work, looking",
        "work",
        "work",
        "leave side",
        "current waits for side",
        "enter capture on side",
        "work",
        "leave capture on side",
        "leave cuda:1",
        "replay",
        "replay",
    ]


def test_a_case_with_a_graph_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    # everything up to the first call runs on the CPU that stands in for the device
    monkeypatch.setattr(step_module, "check_device", lambda device: None)
    monkeypatch.setattr(step_module, "_draw", lambda shape, case, generator: torch.zeros(shape))
    monkeypatch.setattr(step_module, "build_seeded_layer", lambda *arguments: StaysWhereItIs())
    step = prepare_step(make_case(device="cuda", execution="cudagraph"), 0)
    assert isinstance(step._work, GraphedWork)


class StaysWhereItIs(nn.Module):
    def to(self, *arguments: Any, **options: Any) -> "StaysWhereItIs":
        return self


def test_a_step_can_be_made_of_any_work() -> None:
    case = make_case()
    output = torch.ones(case.output_shape)

    def work(look: Callable[[Tensor], None] | None) -> Tensor:
        if look is not None:
            look(output)
        return output

    step = PreparedStep(case, work, input_bytes=1, output_bytes=2, parameter_bytes=3, gradient_bytes=4)
    assert step.run() is step() is output
    check_output(output, case)


@pytest.mark.cuda
@pytest.mark.parametrize("step", ["forward", "train"])
@pytest.mark.parametrize("execution", ["eager", "cudagraph"])
def test_a_step_on_a_real_device(execution: str, step: str) -> None:
    expected = prepare_step(make_case(step=step), 0).run()
    prepared = prepare_step(make_case(step=step, device="cuda", execution=execution), 0)
    for _ in range(3):
        torch.testing.assert_close(prepared.run().cpu(), expected, rtol=1e-3, atol=1e-3)
