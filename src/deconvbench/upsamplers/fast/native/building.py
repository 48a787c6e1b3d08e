"""Compiling the native form with the system's own compiler, and trying it before it is kept.

Only on request: by name (`build_native`), or by asking for the layer that is nothing else (`ensure_native`). What
is kept is written whole or not at all.
"""

import functools
import itertools
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.errors import SurroundingsError, UsageError, explain_os_error
from deconvbench.system.scratch import make_scratch_folder, sweep_scratch_folders
from deconvbench.upsamplers.fast.native.backward import run_native_backward
from deconvbench.upsamplers.fast.native.form import prepare_native, run_native
from deconvbench.upsamplers.fast.native.library import (
    SOURCE,
    SWITCH,
    Library,
    find_library,
    is_switched_off,
    locate_library,
)
from deconvbench.upsamplers.fast.native.plans import Plan, list_plans
from deconvbench.upsamplers.fast.native.trust import digest_library, make_private_folder, record_digest

_FLAGS = ("-O2", "-fPIC", "-std=gnu11")
# for the processor at hand, as compilers spell it, or else for any
_PROCESSOR_FLAGS = (("-march=native",), ("-mcpu=native",), ())
# as torch's wheels and distributions have it
_THREADING = re.compile(r"(/\S*/lib(?:gomp|iomp5|omp)\b\S*)$", re.MULTILINE)
_COMPILER = "cc"
_TIMEOUT_S = 120
# (N, C_in, C_out, H, W): parts of blocks, of vectors and of bands, more of each than one, odd sizes and the least
_TRIALS = ((1, 2, 3, 1, 1), (2, 3, 5, 4, 7), (1, 34, 37, 9, 6))
# what is common to all layers is tried on the first of them alone
_FIRST_TRIALS = (*_TRIALS, (1, 33, 80, 40, 38), (3, 16, 64, 16, 16))
_TOLERANCE = 3e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeBuild:
    """A compiled form that was tried and is found from now on.

    Parameters
    ----------
    path : Path
        Of the library.
    command : str
        What compiled it.
    is_threaded : bool
        Whether it uses torch's threads; otherwise it works in one.
    error : float
        Largest deviation from the plain form in float64, as a share of the largest value.
    """

    path: Path
    command: str
    is_threaded: bool
    error: float


def build_native() -> NativeBuild:
    """Compile the native form for this machine, try it, and keep it where `ResizeConv2d` finds it.

    The compiler is ``$CC`` or ``cc``; some ten seconds. The library is found again by processes on the same
    processor with the same torch and the same version of this package, until then everything works without.

    Returns
    -------
    NativeBuild
        Where it is, and how far it is from the plain form.

    Raises
    ------
    UsageError
        If there is no compiler, or it cannot compile this, or others can write the cache folder.
    SurroundingsError
        If the cache folder cannot be written, or what was compiled computes something else.
    """
    try:
        target = locate_library()
    except RuntimeError as error:
        raise SurroundingsError("no home folder to keep it in; set HOME or XDG_CACHE_HOME") from error
    try:
        make_private_folder(target.parent)
        sweep_scratch_folders(target.parent)
        with make_scratch_folder(target.parent) as folder:
            made = folder / target.name
            command = _compile(made)
            library, deviation = _try_out(made)
            made.chmod(0o700)
            record_digest(target, digest_library(made))
            made.replace(target)
    except OSError as error:
        raise SurroundingsError(f"cannot write {target.parent}: {explain_os_error(error)}") from error
    # processes that looked before look again
    find_library.cache_clear()
    return NativeBuild(path=target, command=command, is_threaded=library.is_threaded, error=deviation)


@functools.cache
def ensure_native() -> str | None:
    """Compile the native form unless it is there; tried once in a process, and never where a call is timed.

    Returns
    -------
    str or None
        Why it cannot be had, in one line; None where it is found from now on.
    """
    if is_switched_off():
        return f"the compiled form is switched off by {SWITCH}=0"
    if find_library() is not None:
        return None
    if "CC" not in os.environ and shutil.which(_COMPILER) is None:
        return "no C compiler"
    try:
        build_native()
    except (UsageError, SurroundingsError) as error:
        return f"the compiled form cannot be built: {' '.join(str(error).split())}"
    return None if find_library() is not None else "the compiled form was built, but is not found"


def _compile(target: Path) -> str:
    named = os.environ.get("CC", "").strip() or _COMPILER
    try:
        compiler = shlex.split(named)
    except ValueError as error:
        raise UsageError(f"CC: {named!r} is not a valid command line: {error}") from error
    objections = []
    for flags, threading in itertools.product(_PROCESSOR_FLAGS, (*_find_threading(), None)):
        compiled = target.with_suffix(".o")
        options = [*_FLAGS, *flags, *(["-fopenmp"] if threading else [])]
        # apart from linking, for which -fopenmp would add a second runtime with threads of its own
        commands = (
            [*compiler, *options, "-c", str(SOURCE), "-o", str(compiled)],
            [*compiler, "-shared", str(compiled), *([threading] if threading else []), "-o", str(target)],
        )
        failures = (_run_compiler(named, command) for command in commands)
        objection = next(filter(None, failures), None) or _explain_loading(target)
        if objection is None:
            return shlex.join([*compiler, *options])
        objections.append(objection)
    raise UsageError(f"CC: {named!r} cannot compile the native form: {objections[-1]}")


def _run_compiler(compiler: str, command: list[str]) -> str | None:
    """Run it, and say what it objects to."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False, stdin=subprocess.DEVNULL
        )
    except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
        raise UsageError(
            f"CC: {compiler!r} is not a working C compiler; install one (gcc or clang) or set CC to its path"
        ) from error
    except subprocess.TimeoutExpired as error:
        # other flags would not hurry it
        raise UsageError(f"CC: {compiler!r} took longer than {_TIMEOUT_S} s to compile the native form") from error
    if done.returncode == 0:
        return None
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return next(iter(errors or lines), f"exit status {done.returncode}")


def _explain_loading(path: Path) -> str | None:
    try:
        Library(path)
    except (OSError, AttributeError) as error:
        return str(error)
    return None


def _find_threading() -> Iterator[str]:
    """Find the OpenMP library that torch has loaded, whose threads it is to use."""
    try:
        maps = Path("/proc/self/maps").read_text()
    except OSError:
        return
    home = str(Path(torch.__file__).parent.parent)
    found = sorted(set(_THREADING.findall(maps)), key=lambda path: not path.startswith(home))
    yield from found[:1]


def _try_out(path: Path) -> tuple[Library, float]:
    """Compare all that it has with torch's operations in float64, whatever it may be asked for."""
    library = Library(path)
    # whatever the default device and dtype are
    options: Any = {"dtype": torch.float32, "device": "cpu", "generator": torch.Generator("cpu").manual_seed(0)}
    draw = partial(torch.randn, **options)
    worst = 0.0
    for plan in list_plans(library):
        for (batch, in_channels, out_channels, *size), is_last, pads_zeros in itertools.product(
            _TRIALS if plan.index else _FIRST_TRIALS, (False, True), (True, False) if plan.is_resize else (True,)
        ):
            layout = torch.channels_last if is_last else torch.contiguous_format
            x = draw((batch, in_channels, *size)).contiguous(memory_format=layout)
            channels = (out_channels, in_channels) if plan.is_resize else (in_channels, out_channels)
            weight, bias = draw((*channels, *(plan.kernel_size,) * 2)), draw((out_channels,))
            gradient = draw((batch, out_channels, *(plan.scale_factor * side for side in size)))
            gradient = gradient.contiguous(memory_format=layout)
            # whoever asks may record nothing
            with torch.inference_mode(mode=False), torch.enable_grad():
                exact = [tensor.clone().double().requires_grad_() for tensor in (x, weight)]
                output = _run_plain(plan, exact[0], exact[1], bias.clone().double(), pads_zeros=pads_zeros)
                expected_gradients = torch.autograd.grad(output, exact, gradient.clone().double())
            expected = output.detach()
            for packed in (None, prepare_native(library, plan, weight)):
                found = run_native(library, plan, x, weight, packed, bias, pads_zeros=pads_zeros)
                worst = max(worst, _find_deviation(found, expected))
            found_gradients = run_native_backward(library, plan, x, weight, gradient, pads_zeros=pads_zeros)
            for one, other in zip(found_gradients, expected_gradients, strict=True):
                assert one is not None
                worst = max(worst, _find_deviation(one, other))
    if not worst <= _TOLERANCE:
        raise SurroundingsError(
            f"the compiled form is off by {worst:.1e} of the largest value, more than {_TOLERANCE:.0e}: not kept"
        )
    return library, worst


def _find_deviation(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def _run_plain(plan: Plan, x: Tensor, weight: Tensor, bias: Tensor, *, pads_zeros: bool) -> Tensor:
    before, size, scale = plan.padding, plan.kernel_size, plan.scale_factor
    if not plan.is_resize:
        spare = scale - (size - 2 * before)
        return functional.conv_transpose2d(x, weight, bias, stride=scale, padding=before, output_padding=spare)
    upsampled = functional.interpolate(x, scale_factor=scale, mode="nearest")
    mode = "constant" if pads_zeros else "replicate"
    after = size - 1 - before
    return functional.conv2d(functional.pad(upsampled, (before, after) * 2, mode=mode), weight, bias)
