"""The compiled library: where it is kept, how it is found, and its functions with Python's types.

Loading happens at the first question, never at import.
"""

import ctypes
import functools
import hashlib
import logging
import os
import platform
from pathlib import Path
from typing import Any

import torch

from deconvbench.upsamplers.fast.native.trust import explain_distrust

_LOGGER = logging.getLogger(__name__)

# the one that a compiler is given, and all that it includes
SOURCE = Path(__file__).with_name("library.c")
PARTS = tuple(
    SOURCE.with_name(name)
    for name in ("tiled.c", "backward.c", "plans.h", "tiles.h", "products.h", "axes.h", "numbers.h", "vectors.h")
)
SWITCH = "DECONVBENCH_NATIVE"
_PLAN_FACTS = 5
_CPU_FACTS = ("model name", "flags", "Features", "CPU part")


class Job(ctypes.Structure):
    """``struct job`` of the source: input, output, bias, sizes and strides in values, and the type of numbers."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("x", "bias", "y")),
        *((name, ctypes.c_int64) for name in ("n", "c_in", "h", "w", "xn", "xc", "xh", "xw")),
        *((name, ctypes.c_int64) for name in ("c_out", "oh", "ow", "yn", "yc", "yh", "yw")),
        *((name, ctypes.c_int) for name in ("replicates", "type")),
    )


class Weights(ctypes.Structure):
    """``struct weights`` of the source: the weight as it is, with strides of channels and taps."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("c_out", "c_in", "so", "si", "st")),
    )


class Gradients(ctypes.Structure):
    """``struct gradients`` of the source: where gradients to the input and to the weight go, or null."""

    _fields_ = (
        ("x", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("xn", "xc", "xh", "xw")),
        ("w", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("wo", "wi")),
    )


class Pieces(ctypes.Structure):
    """``struct cut`` of the source: how the work is cut."""

    _fields_ = tuple((name, ctypes.c_int64) for name in ("splits", "groups", "rows", "blocks", "scratch"))


class Library:
    """Functions of the compiled source.

    Parameters
    ----------
    path : Path
        Of the shared library.

    Raises
    ------
    OSError
        If it cannot be loaded.
    AttributeError
        If it is another library.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        functions = ctypes.CDLL(str(path))
        number, structure = ctypes.c_int64, ctypes.POINTER
        self._describe_plan = _declare(functions.deconvbench_describe_plan, None, number, structure(number))
        self._block_values = _declare(functions.deconvbench_block_values, number, number, number)
        self._band_values = _declare(functions.deconvbench_band_values, number, *[number] * 4)
        self._pack = _declare(functions.deconvbench_pack, None, number, structure(Weights), ctypes.c_void_p)
        self._run = _declare(
            functions.deconvbench_run,
            None,
            *(number, structure(Job), structure(Weights), ctypes.c_void_p),
            *(structure(Pieces), ctypes.c_int, ctypes.c_void_p),
        )
        self._backward_values = _declare(functions.deconvbench_backward_values, number, *[number] * 9)
        self._backward = _declare(
            functions.deconvbench_backward,
            None,
            *(number, structure(Job), structure(Gradients), structure(Weights), ctypes.c_void_p),
            *(number, number, ctypes.c_int, ctypes.c_void_p),
        )
        self.plan_count: int = _declare(functions.deconvbench_plan_count, number)()
        self.block_channels: int = _declare(functions.deconvbench_block_channels, ctypes.c_int64)()
        self.is_threaded = bool(_declare(functions.deconvbench_is_threaded, ctypes.c_int64)())

    def describe_plan(self, plan: int) -> tuple[int, ...]:
        """Kernel size, scale, padding, whether it is upsampling and convolution, and the products of a tile.

        Parameters
        ----------
        plan : int
            Less than `plan_count`.
        """
        found = (ctypes.c_int64 * _PLAN_FACTS)()
        self._describe_plan(plan, found)
        return tuple(found)

    def count_block_values(self, plan: int, in_channels: int) -> int:
        """Values of the transformed weight of `block_channels` output channels.

        Parameters
        ----------
        plan : int
            Its number in the list.
        in_channels : int
            Channels of the input.
        """
        return int(self._block_values(plan, in_channels))

    def count_band_values(self, plan: int, in_channels: int, width: int, rows: int) -> int:
        """Values that a worker holds for a band.

        Parameters
        ----------
        plan : int
            Its number in the list.
        in_channels, width : int
            Of the input.
        rows : int
            Of tiles, in the band.
        """
        return int(self._band_values(plan, in_channels, width, rows))

    def pack(self, plan: int, weights: Weights, packed: int) -> None:
        """Transform a whole weight.

        Parameters
        ----------
        plan : int
            Its number in the list.
        weights : Weights
            The weight.
        packed : int
            Where it goes.
        """
        self._pack(plan, ctypes.byref(weights), packed)

    def run(
        self,
        plan: int,
        job: Job,
        weights: Weights,
        packed: int | None,
        pieces: Pieces,
        threads: int,
        scratch: int,
    ) -> None:
        """Upsample and convolve.

        Parameters
        ----------
        plan : int
            Its number in the list.
        job : Job
            What to do.
        weights : Weights
            Used where `packed` is None.
        packed : int or None
            The transformed weight, if it is at hand.
        pieces : Pieces
            How the work is cut.
        threads : int
            Threads of one operation.
        scratch : int
            Memory for all workers.
        """
        self._run(
            *(plan, ctypes.byref(job), ctypes.byref(weights), packed),
            *(ctypes.byref(pieces), threads, scratch),
        )

    def count_backward_values(
        self,
        plan: int,
        in_channels: int,
        out_channels: int,
        width: int,
        rows: int,
        workers: int,
        *,
        needs_input: bool,
        needs_weight: bool,
        held_channels: int,
    ) -> int:
        """Values that all workers hold together in a backward pass.

        Parameters
        ----------
        plan : int
            Its number in the list.
        in_channels, out_channels, width : int
            Of layer and input.
        rows : int
            Of tiles, in a band.
        workers : int
            Threads.
        needs_input, needs_weight : bool
            Which gradients are wanted.
        held_channels : int
            Input channels whose part of the gradient to the weight is summed at a time.
        """
        sizes = (plan, in_channels, out_channels, width, rows, workers, needs_input, needs_weight, held_channels)
        return int(self._backward_values(*sizes))

    def run_backward(
        self,
        plan: int,
        job: Job,
        gradients: Gradients,
        turned: Weights,
        packed: int | None,
        rows: int,
        held_channels: int,
        workers: int,
        scratch: int,
    ) -> None:
        """Find the gradients to input and weight.

        Parameters
        ----------
        plan : int
            Its number in the list.
        job : Job
            Input, and as its output the gradient to it.
        gradients : Gradients
            Where they go.
        turned : Weights
            The weight with its channels exchanged.
        packed : int or None
            What `pack` makes of that; None: made anew for each band.
        rows : int
            Of tiles, in a band.
        held_channels : int
            As for `count_backward_values`.
        workers : int
            Threads.
        scratch : int
            Memory for all workers.
        """
        self._backward(
            *(plan, ctypes.byref(job), ctypes.byref(gradients), ctypes.byref(turned), packed),
            *(rows, held_channels, workers, scratch),
        )


def _declare(function: Any, result: Any, *arguments: Any) -> Any:
    function.restype, function.argtypes = result, arguments
    return function


def locate_library() -> Path:
    """Say where the library for this source, processor and torch is kept, whether it is there or not.

    Returns
    -------
    Path
        In the user's cache folder, ``$XDG_CACHE_HOME`` or ``~/.cache``.

    Raises
    ------
    RuntimeError
        If the user has no home.
    """
    sources = [path.read_text() for path in (SOURCE, *PARTS)]
    facts = [*sources, torch.__version__, platform.system(), platform.machine(), *_read_processor()]
    digest = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
    cache = os.environ.get("XDG_CACHE_HOME")
    # "If an implementation encounters a relative path [in it] it should … ignore it": XDG base directories
    folder = Path(cache) if cache and Path(cache).is_absolute() else Path.home() / ".cache"
    if not folder.is_absolute():
        raise RuntimeError(f"the home folder, {str(folder.parent)!r}, is not an absolute path")
    return folder / "deconvbench" / f"tiled-{digest}.so"


def _read_processor() -> list[str]:
    """Read what decides which instructions there are, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return [platform.processor()]
    return sorted({line for line in lines if line.startswith(_CPU_FACTS)})


def is_switched_off() -> bool:
    """Whether ``DECONVBENCH_NATIVE=0`` in the environment says not to look for it."""
    return os.environ.get(SWITCH) == "0"


@functools.cache
def find_library() -> Library | None:
    """Load the library that `build_native` made for this source, processor and torch, if there is one.

    Looked for once in a process; ``DECONVBENCH_NATIVE=0`` in the environment says not to look. One that another
    user could have written is not loaded, which is logged as a warning.

    Returns
    -------
    Library or None
    """
    if is_switched_off():
        return None
    try:
        path = locate_library()
        if not path.is_file():
            return None
        objection = explain_distrust(path)
        if objection is not None:
            _LOGGER.warning(
                "deconvbench: the compiled form is not used: %s; build it with: deconvbench native", objection
            )
            return None
        return Library(path)
    except (OSError, RuntimeError, AttributeError):
        # unreadable, of another system, or no home to look in: as if it were not there
        return None
