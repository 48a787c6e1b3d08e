"""The code that builds a layer, to be pasted: torch's own modules where they say it, this package's where not.

Each family registers how its layers are written (`UpsamplerSpec.code`) with the helpers here. They write text and
build nothing; a test executes what every registration writes and compares the result with the layer itself.
"""

import textwrap
from collections.abc import Callable
from typing import Any

from deconvbench.errors import UsageError
from deconvbench.records.case import CASE_DEFAULTS, Case
from deconvbench.theory.sizes import exact_padding
from deconvbench.upsamplers.factories import find_source
from deconvbench.upsamplers.registry import UpsamplerSpec, get_upsampler

_OUR_NAME = __name__.partition(".")[0]
_IMPORT_NN = "from torch import nn\n\n"
# characters: a line of a terminal has 80, and what shows the code may indent it
_WIDTH = 76


def write_torch_code(case: Case) -> str:
    """Write the code that builds the layer of a case, for its device, dtype and memory format.

    Parameters
    ----------
    case : Case
        Any; the upsampler need not be registered in this process.

    Returns
    -------
    str
        A few lines of Python that end with a variable ``layer``, a module.
    """
    shape = (case.in_channels, case.out_channels, case.kernel_size, case.scale_factor)
    try:
        spec = get_upsampler(case.upsampler)
    except UsageError:
        comment = f"# {case.upsampler} is not registered here: import what registers it\n"
        return comment + _write_build(case.upsampler, *shape) + _write_placement(case)
    if spec.code is not None:
        text = spec.code(*shape)
    else:
        text = _write_foreign(spec, *shape) or _write_build(spec.name, *shape)
    return text + _write_placement(case)


def _write_build(name: str, *shape: Any) -> str:
    arguments = ", ".join(map(str, shape))
    return f'from deconvbench import build_upsampler\n\nlayer = build_upsampler("{name}", {arguments})'


def _write_foreign(spec: UpsamplerSpec, *shape: Any) -> str | None:
    """Import the factory of somebody else's upsampler; None where it has no place to be imported from."""
    places = (spec.module, getattr(spec.factory, "__module__", None) or "")  # a path or entry point is ours
    foreign = next((place for place in places if place.partition(".")[0] not in ("", _OUR_NAME)), "__main__")
    module, _, name = (find_source(spec.factory, foreign) or "").partition(":")
    if not name.isidentifier():
        return None
    return f"from {module} import {name}\n\nlayer = {name}({', '.join(map(str, shape))})"


def _write_placement(case: Case) -> str:
    """Write how the layer gets to where and what it was measured as; nothing for the defaults."""
    moves = [f'device="{case.device}"'] if case.device != CASE_DEFAULTS["device"] else []
    moves += [f"dtype=torch.{case.dtype}"] if case.dtype != CASE_DEFAULTS["dtype"] else []
    if case.memory_format != CASE_DEFAULTS["memory_format"]:
        moves.append(f"memory_format=torch.{case.memory_format}")
    lines = [f"layer = layer.to({', '.join(moves)})"] if moves else []
    lines += ["layer = torch.compile(layer)"] if case.execution == "compile" else []
    if any("torch." in line for line in lines):
        lines.insert(0, "import torch")
    return "".join(f"\n{line}" for line in lines)


def write_call(name: str, *arguments: object, **keywords: object) -> str:
    """Write a call, without keywords that are None; over several lines where one is too long.

    Parameters
    ----------
    name : str
        Of what is called.
    *arguments, **keywords
        Written as Python does, text in double quotes.
    """
    words = [*map(_write, arguments), *(f"{k}={_write(v)}" for k, v in keywords.items() if v is not None)]
    line = f"{name}({', '.join(words)})"
    if len(line) < _WIDTH - len("    ,"):
        return line
    return f"{name}(\n{textwrap.indent(textwrap.fill(', '.join(words), _WIDTH - 8), '    ')}\n)"


def _write(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def write_modules(*modules: str) -> str:
    """Write a layer that is one module of torch, or several in a row.

    Parameters
    ----------
    *modules : str
        What builds each, from `write_call` with a name in ``nn``.
    """
    if len(modules) == 1:
        return f"{_IMPORT_NN}layer = {modules[0]}"
    lines = ",\n".join(modules).replace("\n", "\n    ")
    return f"{_IMPORT_NN}layer = nn.Sequential(\n    {lines},\n)"


def write_same_conv(in_channels: int, out_channels: int, kernel_size: int) -> tuple[str, ...]:
    """Write the convolution that keeps the size (`SameConv2d`), for `write_modules`.

    Parameters
    ----------
    in_channels, out_channels, kernel_size : int
        Its shape.
    """
    before, after = (kernel_size - 1) // 2, kernel_size // 2
    if before == after:
        return (write_call("nn.Conv2d", in_channels, out_channels, kernel_size, padding=before or None),)
    conv = write_call("nn.Conv2d", in_channels, out_channels, kernel_size)
    return write_call("nn.ZeroPad2d", (before, after, before, after)), conv


def write_upsample(mode: str, scale_factor: int) -> str:
    """Write a resize, half-pixel where it interpolates, for `write_modules`.

    Parameters
    ----------
    mode : str
        As `nn.Upsample` names it.
    scale_factor : int
        Scale s.
    """
    return write_call("nn.Upsample", scale_factor=scale_factor, mode=mode)


def write_transposed(
    in_channels: int, out_channels: int, kernel_size: int, scale_factor: int, **keywords: object
) -> str:
    """Write the transposed convolution that upsamples exactly by the scale, for `write_modules`.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, scale_factor : int
        Its shape.
    **keywords
        Further ones of `nn.ConvTranspose2d`.
    """
    padding, output_padding = exact_padding(kernel_size, scale_factor)
    return write_call(
        "nn.ConvTranspose2d",
        in_channels,
        out_channels,
        kernel_size,
        stride=scale_factor,
        padding=padding or None,
        output_padding=output_padding or None,
        **keywords,
    )


def write_ours(name: str, **keywords: object) -> Callable[[int, int, Any, int], str]:
    """Make a function that writes a layer of `deconvbench.nn`, for a registration.

    Parameters
    ----------
    name : str
        Of the class there.
    **keywords
        That it is built with beside its shape.
    """

    def write(in_channels: int, out_channels: int, kernel_size: Any, scale_factor: int) -> str:
        call = write_call(name, in_channels, out_channels, kernel_size, scale_factor, **keywords)
        return f"from deconvbench.nn import {name}\n\nlayer = {call}"

    return write
