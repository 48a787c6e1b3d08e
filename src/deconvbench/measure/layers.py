"""Building, running and counting the one layer that a measure looks at, without side effects.

Shared by the measures of quality and of numerics, so that "seeded" and "runs" mean one thing: the global random
state, the caller's layer and autograd's graph stay untouched, and an output of the wrong size is an error here,
not a wrong number further on. Nothing here times or judges anything.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from deconvbench.errors import DeconvbenchError, UsageError, describe_failure
from deconvbench.records.case import Case
from deconvbench.upsamplers import build_upsampler, get_upsampler

# side of the middle of the map that declarations are tried on, in input pixels, where no padding reaches
_DECLARED_MIDDLE = 6
# share of the largest value; in float64 the sums of a layer leave 1e-15, interpolation some 1e-14
_DECLARED_TOLERANCE = 1e-10


def build_seeded_layer(
    upsampler_name: str,
    in_channels: int,
    out_channels: int,
    kernel_size: int | None,
    scale_factor: int,
    seed: int,
) -> nn.Module:
    """Build an upsampler whose weights depend on the seed alone.

    Parameters
    ----------
    upsampler_name, in_channels, out_channels, kernel_size, scale_factor
        See `build_upsampler`.
    seed : int
        Seed of the random initialisation.

    Returns
    -------
    nn.Module
        In evaluation mode, on the CPU.

    Raises
    ------
    UsageError
        If the name is unknown.
    UnsupportedError
        If this upsampler cannot have that kernel or scale.
    """
    with torch.random.fork_rng(devices=()):
        # not torch.manual_seed: that would seed the accelerators too, whose state is not restored here
        torch.default_generator.manual_seed(seed)
        return build_upsampler(upsampler_name, in_channels, out_channels, kernel_size, scale_factor).eval()


def copy_layer(
    layer: nn.Module, dtype: torch.dtype, device: torch.device | str | None = None, *, name: str = "layer"
) -> nn.Module:
    """Copy a layer into another precision; the original stays as it is.

    Parameters
    ----------
    layer : nn.Module
        Any layer.
    dtype : torch.dtype
        Floating-point type of the copy's parameters and buffers; integer buffers keep theirs.
    device : torch.device or str or None
        Where the copy lives; None: where the original does.
    name : str
        What it is called, for the message.

    Returns
    -------
    nn.Module
        The copy, in evaluation mode.

    Raises
    ------
    UsageError
        If it cannot be copied, or not be converted.
    """
    with explain_failures(f"{name}: cannot be copied to {str(dtype).removeprefix('torch.')}"):
        return copy.deepcopy(layer).to(device=device, dtype=dtype).eval()


@contextmanager
def explain_failures(words: str) -> Iterator[None]:
    """Say in one line what a layer of someone else raises; what this package says, and a lack of memory, go on.

    Parameters
    ----------
    words : str
        What failed: the argument's name first.

    Raises
    ------
    UsageError
        With these words and the error.
    """
    try:
        yield
    except (DeconvbenchError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise UsageError(f"{words}: {describe_failure(error)}") from error


def run_layer(layer: nn.Module, x: Tensor, scale_factor: int | None) -> Tensor:
    """Run a layer without a graph and check what comes back.

    Parameters
    ----------
    layer : nn.Module
        The upsampler.
    x : Tensor, shape (N, C_in, H, W)
        Its input.
    scale_factor : int or None
        Scale s; None: height and width of the output may be anything (layers that crop or pad).

    Returns
    -------
    Tensor, shape (N, C_out, s·H, s·W)
        Its output.

    Raises
    ------
    UsageError
        If the output is not a tensor, has another size, or holds NaN or infinity; if the layer changes its input
        in place; if it draws from the global random state, and so gives other numbers each time.
    """
    version = x._version  # what autograd counts changes in place with
    random_state = torch.get_rng_state()
    with torch.no_grad():
        y: object = layer(x)
    if x._version != version:
        raise UsageError("layer: changes its input in place; let it work on a copy")
    if not torch.equal(torch.get_rng_state(), random_state):
        torch.set_rng_state(random_state)
        raise UsageError(
            "layer: draws random numbers in evaluation mode, so its output is not a function of its input;"
            " dropout and noise belong into training mode (give functional.dropout training=self.training)"
        )
    if not isinstance(y, Tensor):
        raise UsageError(f"layer: returned a {type(y).__name__}, not a tensor")
    batch, _, height, width = x.shape
    found = tuple(y.shape)
    if scale_factor is None:
        if len(found) != 4 or found[0] != batch:
            raise UsageError(f"layer: output of shape {found}; ({batch}, C_out, H, W) is what it must give")
    elif len(found) != 4 or (found[0], *found[2:]) != (batch, scale_factor * height, scale_factor * width):
        raise UsageError(
            f"layer: output of shape {found} for an input of shape {tuple(x.shape)}; scale_factor"
            f" {scale_factor} asks for ({batch}, C_out, {scale_factor * height}, {scale_factor * width})"
        )
    if not bool(torch.isfinite(y).all()):
        raise UsageError(f"layer: its output in {str(y.dtype).removeprefix('torch.')} is not finite")
    return y


def find_excess(layer: nn.Module, maps: Tensor, scale_factor: int) -> tuple[int, int]:
    """Find by how many pixels a layer's output is larger than s times its input: 0 unless it crops or pads.

    Parameters
    ----------
    layer : nn.Module
        The upsampler.
    maps : Tensor, shape (C_in, n, n)
        Of the size, type and device to run it on; their values do not matter.
    scale_factor : int
        Its scale s.

    Returns
    -------
    (int, int)
        Side of the output less s·n, for rows and columns; negative where the layer crops.

    Raises
    ------
    UsageError
        If a pixel more of input does not give s more pixels of output; or as `run_layer`.
    """
    sizes = maps.shape[-1], maps.shape[-1] + 1
    shapes = [run_layer(layer, maps.new_zeros(1, len(maps), size, size), None).shape[-2:] for size in sizes]
    if any(after - before != scale_factor for before, after in zip(*shapes, strict=True)):
        found = " and ".join(
            f"{shape[0]}×{shape[1]} for {size}×{size}" for shape, size in zip(shapes, sizes, strict=True)
        )
        raise UsageError(
            f"layer: outputs of {found}; scale_factor {scale_factor} asks for sides that grow by"
            f" {scale_factor} with each pixel of the input"
        )
    down, right = (side - scale_factor * sizes[0] for side in shapes[0])
    return down, right


def check_declarations(
    layer: nn.Module, in_channels: int, scale_factor: int, reach: int, *, linear: bool, shift_equivariant: bool
) -> None:
    """Check that a layer keeps what its registration declares, on one seeded input.

    Where both are declared, `impulse_response` checks them together, and more strictly.

    Parameters
    ----------
    layer : nn.Module
        The upsampler; it is copied, evaluated in float64 on the CPU and not changed.
    in_channels : int
        Its input channels.
    scale_factor : int
        Its scale s.
    reach : int
        Input pixels on each side of the map that padding may change.
    linear : bool
        Check that a sum of inputs gives the sum of outputs, but for the bias.
    shift_equivariant : bool
        Check that an input moved by a pixel gives an output moved by s, in the middle of the map.

    Raises
    ------
    UsageError
        If it does not; or as `run_layer`.
    """
    if not (linear or shift_equivariant):
        return
    probe = copy_layer(layer, torch.float64, "cpu")
    generator = torch.Generator().manual_seed(0)
    size = 2 * reach + _DECLARED_MIDDLE
    noise = torch.randn(2, 1, in_channels, size, size, dtype=torch.float64, device="cpu", generator=generator)
    y = run_layer(probe, noise[0], scale_factor)
    tolerance = _DECLARED_TOLERANCE * float(y.abs().max())
    if linear:
        bias = run_layer(probe, torch.zeros_like(noise[0]), scale_factor)
        other = run_layer(probe, noise[1], scale_factor)
        error = run_layer(probe, noise[0] - 2 * noise[1], scale_factor) - (y - 2 * (other - bias))
        if float(error.abs().max()) > tolerance:
            raise UsageError("layer: declares linear=True, but a sum of inputs does not give the sum of outputs")
    if shift_equivariant:
        error = run_layer(probe, noise[0].roll((1, 1), (2, 3)), scale_factor)
        error -= y.roll((scale_factor, scale_factor), (2, 3))
        # one pixel more than the reach: what rolled over the edge must not count
        inside = slice(scale_factor * (reach + 1), scale_factor * (size - reach))
        if float(error[..., inside, inside].abs().max()) > tolerance:
            raise UsageError(
                "layer: declares shift_equivariant=True, but an input moved by a pixel does not give the"
                f" output moved by scale_factor {scale_factor}"
            )


def count_macs(case: Case) -> int:
    """Count the multiply-accumulates of one forward pass over the whole batch.

    Parameters
    ----------
    case : Case
        What is run.

    Returns
    -------
    int
        By the upsampler's own formula, or, where it declares none, half of what torch's flop counter sees.

    Raises
    ------
    UsageError
        If the upsampler's own formula gives anything but a whole number.
    """
    spec = get_upsampler(case.upsampler)
    shape = (case.in_channels, case.out_channels, case.kernel_size, case.scale_factor)
    if spec.macs is not None:
        macs: object = spec.macs(*shape, case.height, case.width)
        if not isinstance(macs, int) or macs < 0:
            raise UsageError(f"upsampler {case.upsampler!r}: macs gave {macs!r}, not a whole number of at least 0")
        return case.batch * macs
    layer = build_upsampler(case.upsampler, *shape).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        layer(torch.zeros(case.input_shape))
    return int(counter.get_total_flops()) // 2
