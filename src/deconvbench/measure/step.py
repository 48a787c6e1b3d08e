"""Making the step of a case ready to run: the one thing that latency and memory look at.

A step holds everything that it needs (layer, input, gradient of the output) before its first call, so that nothing
but the step itself happens in a measured call. The first call also checks what comes back: a layer that gives the
wrong size must be an error, never a fast time.
"""

import contextlib
import math
import re
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from deconvbench.errors import UnsupportedError, UsageError
from deconvbench.measure.accelerator import check_device
from deconvbench.measure.capacity import check_memory
from deconvbench.measure.layers import build_seeded_layer
from deconvbench.records.case import Case
from deconvbench.upsamplers.fast import NativeResizeConv2d, ResizeConv2d

Look = Callable[[Tensor], None]
# Runs the step once and returns the output; `look`, where given, sees the output of the forward pass before
# anything else is done with it.
Work = Callable[[Look | None], Tensor]

_MEMORY_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
# how torch says that a device has no kernel for a dtype: its dispatch macros, its dispatcher, linalg, mps
_MISSING_KERNEL = re.compile(
    r"not (?:currently )?implemented for|Could not run '|dtypes? not supported|doesn't support float64"
)
# as in torch's notes on CUDA graphs: enough for lazy initialisation and for cuDNN to choose its algorithms
_CALLS_BEFORE_CAPTURE = 3


class PreparedStep:
    """One step of a case, ready to run as often as one likes.

    Parameters
    ----------
    case : Case
        What is run.
    work : callable
        Runs the step once; see `Work`.
    input_bytes, output_bytes, parameter_bytes, gradient_bytes : int
        Sizes of what the step reads and leaves; gradients are those of the input and of the trained parameters,
        0 for `forward`.
    name_implementation : callable
        Names the implementation that a layer chooses by itself here; empty for other layers.
    """

    __slots__ = (
        "_checked",
        "_work",
        "case",
        "gradient_bytes",
        "input_bytes",
        "name_implementation",
        "output_bytes",
        "parameter_bytes",
    )

    def __init__(
        self,
        case: Case,
        work: Work,
        *,
        input_bytes: int,
        output_bytes: int,
        parameter_bytes: int,
        gradient_bytes: int,
        name_implementation: Callable[[], str] = str,
    ) -> None:
        self.case = case
        self.input_bytes = input_bytes
        self.output_bytes = output_bytes
        self.parameter_bytes = parameter_bytes
        self.gradient_bytes = gradient_bytes
        self.name_implementation = name_implementation
        self._work = work
        self._checked = False

    def run(self) -> Tensor:
        """Run the step once; on an accelerator, only launch it.

        Returns
        -------
        Tensor, shape (N, C_out, s·H, s·W)
            The output of the forward pass. A replayed CUDA graph writes all its outputs to the same place.

        Raises
        ------
        UsageError
            On the first call, if the output is not a tensor, or has the wrong shape or dtype, or is not finite, or
            the input was changed in place, or no gradient reaches the input where the step is `train`.
        UnsupportedError
            On the first call, if the device has no kernel for the dtype.
        """
        if self._checked:
            return self._work(None)
        with _name_missing_kernels(self.case), _name_leaves(self.case):
            output = self._work(lambda y: check_output(y, self.case))
        self._checked = True
        return output

    __call__ = run


def prepare_step(case: Case, seed: int, adjust: Callable[[nn.Module], object] = lambda _: None) -> PreparedStep:
    """Build everything that a case needs, on its device; nothing is run yet.

    `forward` runs the layer in evaluation mode under `torch.inference_mode`; entering that costs under a
    microsecond of each call, which a network would pay once for all its layers. `train` runs it in training mode
    and then `torch.autograd.grad` to the input and the parameters: as fast as ``backward()`` to within the noise,
    and without its ``.grad``, so each call allocates its gradients anew (as after ``zero_grad(set_to_none=True)``)
    and a CUDA graph can capture it. `compile` compiles on the first call and forgets what was compiled before, as
    torch would otherwise go back to eager, silently, after eight layers of one class. `cudagraph` captures on the
    first call.

    Parameters
    ----------
    case : Case
        What is run.
    seed : int
        Of the weights, the input and the gradient of the output; the global random state is left alone.
    adjust : callable
        Gets the layer as it will run, and may change it.

    Returns
    -------
    PreparedStep
        With its sizes.

    Raises
    ------
    UsageError
        If the device is not on this machine or the upsampler is unknown.
    UnsupportedError
        If the upsampler cannot have that kernel or scale, the device cannot hold the dtype, or `cudagraph` is
        asked of another device than CUDA.
    TooLargeError
        If its maps alone are larger than this machine's memory; nothing was allocated.
    """
    check_device(case.device)
    check_memory(case)
    device = torch.device(case.device)
    if case.execution == "cudagraph" and device.type != "cuda":
        raise UnsupportedError(f"cudagraph needs a CUDA device, not {case.device}")
    training = case.step == "train"
    generator = torch.Generator().manual_seed(seed)
    with _name_missing_kernels(case):
        layer = build_seeded_layer(
            case.upsampler, case.in_channels, case.out_channels, case.kernel_size, case.scale_factor, seed
        )
        layer = layer.to(device, getattr(torch, case.dtype))
        layer = layer.to(memory_format=_MEMORY_FORMATS[case.memory_format])  # type: ignore[call-overload] # exists
        x = _draw(case.input_shape, case, generator).requires_grad_(training)
        output_gradient = _draw(case.output_shape, case, generator) if training else None
    layer.train(training)
    adjust(layer)
    _check_native(layer, x)
    parameters = tuple(layer.parameters())
    leaves = (x, *(parameter for parameter in parameters if parameter.requires_grad))
    called: nn.Module | Callable[[Tensor], Tensor] = layer
    if case.execution == "compile":
        torch.compiler.reset()
        called = torch.compile(layer, dynamic=False)
    if output_gradient is None:
        work = _make_forward(called, x, case)
    else:
        work = _make_train(called, leaves, output_gradient, case)
    return PreparedStep(
        case,
        GraphedWork(work, device) if case.execution == "cudagraph" else work,
        input_bytes=x.nbytes,
        output_bytes=math.prod(case.output_shape) * x.element_size(),
        parameter_bytes=sum(parameter.nbytes for parameter in parameters),
        gradient_bytes=sum(leaf.nbytes for leaf in leaves) if training else 0,
        name_implementation=lambda: _name_implementation(layer, x, case),
    )


def _check_native(layer: nn.Module, x: Tensor) -> None:
    """Refuse to time the layer that is the compiled form where that form does not compute it."""
    if isinstance(layer, NativeResizeConv2d):
        reason = layer.explain_absence(x)
        if reason is not None:
            raise UnsupportedError(reason)


def _name_implementation(layer: nn.Module, x: Tensor, case: Case) -> str:
    """Ask a layer that chooses its implementation by itself, under the conditions of the step."""
    if not isinstance(layer, ResizeConv2d) or case.execution != "eager":
        return ""
    with torch.inference_mode(case.step != "train"):
        return layer.choose(x, is_prepared=layer.is_frozen)


def draw_input(case: Case, seed: int) -> Tensor:
    """Draw the input that `prepare_step` gives a step, anew.

    Parameters
    ----------
    case : Case
        Says its shape, dtype, memory format and device.
    seed : int
        As there.

    Returns
    -------
    Tensor, shape (N, C_in, H, W)
    """
    return _draw(case.input_shape, case, torch.Generator().manual_seed(seed))


def check_output(output: object, case: Case) -> None:
    """Check that a layer gave what its case promises.

    Parameters
    ----------
    output : object
        What the layer returned.
    case : Case
        Says which shape and dtype it should have.

    Raises
    ------
    UsageError
        With one line for the layer's author.
    """
    name = f"upsampler {case.upsampler!r}"
    if not isinstance(output, Tensor):
        raise UsageError(f"{name} gave a {type(output).__name__}, expected a tensor")
    if tuple(output.shape) != case.output_shape:
        raise UsageError(
            f"{name} gave shape {tuple(output.shape)}, expected {case.output_shape}: an input of shape"
            f" {case.input_shape} times scale_factor {case.scale_factor}, with {case.out_channels} out_channels"
        )
    if output.dtype != getattr(torch, case.dtype):
        found = str(output.dtype).removeprefix("torch.")
        raise UsageError(f"{name} gave dtype {found}, expected that of its input and weights, {case.dtype}")
    if not bool(torch.isfinite(output).all()):
        raise UsageError(f"{name} gave values that are not finite, in {case.dtype}, for a normal input")
    if case.step == "train" and not output.requires_grad:
        raise UsageError(f"{name} gave an output without a gradient, so the step 'train' has no backward pass")


def _draw(shape: tuple[int, ...], case: Case, generator: torch.Generator) -> Tensor:
    # drawn on the CPU: the same numbers on every device
    drawn = torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")
    return drawn.to(case.device, getattr(torch, case.dtype)).to(memory_format=_MEMORY_FORMATS[case.memory_format])


@contextlib.contextmanager
def _name_missing_kernels(case: Case) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, TypeError) as error:  # NotImplementedError is a RuntimeError
        if _MISSING_KERNEL.search(str(error)) is None:
            raise
        reason = str(error).partition("\n")[0]
        raise UnsupportedError(
            f"{case.upsampler} cannot run in {case.dtype} on {case.device}: {reason}"
        ) from error


@contextlib.contextmanager
def _name_leaves(case: Case) -> Iterator[None]:
    """Say of what autograd calls a leaf that it is the layer's input, or one of its weights."""
    try:
        yield
    except RuntimeError as error:
        if "leaf Variable that requires grad" not in str(error):
            raise
        raise UsageError(
            f"upsampler {case.upsampler!r} changes its input, or a parameter, in place: {error}"
        ) from error


def _check_gradient(gradient: Tensor | None, case: Case) -> None:
    """Refuse a backward pass that ends before the input, or in numbers that nothing can learn from."""
    name = f"upsampler {case.upsampler!r}"
    if gradient is None:
        raise UsageError(
            f"{name} gave an output that does not depend on its input for autograd (is it detached, or made anew"
            " from its values?), so the step 'train' has no backward pass to the input"
        )
    if not bool(torch.isfinite(gradient).all()):
        raise UsageError(f"{name} gave its input a gradient that is not finite, in {case.dtype}")


def _make_forward(layer: Callable[[Tensor], Tensor], x: Tensor, case: Case) -> Work:
    version = x._version  # what autograd counts changes in place with

    def forward(look: Look | None) -> Tensor:
        with torch.inference_mode():
            output = layer(x)
            if look is not None:
                look(output)
                if x._version != version:
                    raise UsageError(
                        f"upsampler {case.upsampler!r} changes its input in place, so each call sees another one;"
                        " let it work on a copy"
                    )
            return output

    return forward


def _make_train(
    layer: Callable[[Tensor], Tensor], leaves: tuple[Tensor, ...], output_gradient: Tensor, case: Case
) -> Work:
    def train(look: Look | None) -> Tensor:
        output = layer(leaves[0])
        if look is not None:
            look(output)
        # a parameter that a layer does not use has no gradient, in training as here
        gradients = torch.autograd.grad(output, leaves, output_gradient, allow_unused=True)
        if look is not None:
            _check_gradient(gradients[0], case)
        return output

    return train


class GraphedWork:
    """Work that a CUDA graph replays; captured on the first call, after warm-up on a side stream.

    Parameters
    ----------
    work : callable
        What is captured. It may not wait for the device.
    device : torch.device
        The CUDA device it runs on.

    References
    ----------
    PyTorch, "CUDA semantics", section "CUDA Graphs".
    """

    def __init__(self, work: Work, device: torch.device) -> None:
        self._work = work
        self._device = device
        self._captured: tuple[torch.cuda.CUDAGraph, Tensor] | None = None

    def __call__(self, look: Look | None) -> Tensor:
        """Replay the graph, on the current stream of its device."""
        if self._captured is None:
            self._captured = self._capture(look)
        graph, output = self._captured
        graph.replay()
        if look is not None:
            look(output)
        return output

    def _capture(self, look: Look | None) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        # a stream belongs to a device, and a capture to the current one
        with torch.cuda.device(self._device):
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call] # torch has no types here
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                self._work(look)
                for _ in range(_CALLS_BEFORE_CAPTURE - 1):
                    self._work(None)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # captured on the stream of the warm-up, whose lazily made handles and workspaces belong to it
            with torch.cuda.graph(graph, stream=side):
                output = self._work(None)
        return graph, output
