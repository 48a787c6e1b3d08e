"""A search for layers where `auto` breaks its promise about memory: ``python -m bench.memory_search [--cells N]``.

Draws layers and inputs at random and measures by how much one call of `auto` and of the plain form raises the
resident memory, each in a forked process. Prints every cell above the limit; exits with 1 if there is any. Linux
only. Cells from some MiB on count, because the kernel counts whole pages and small blocks stay with malloc.
"""

import argparse
import os
import random
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deconvbench.errors import DeconvbenchError
from deconvbench.measure.memory import read_resident_peak
from deconvbench.upsamplers.fast import ResizeConv2d

ALLOWED_SHARE = 1.1
_MIB = 2**20
# of upsampled input and output together: more than pages and small blocks, less than takes long
_LEAST_BYTES, _MOST_BYTES = 6 * _MIB, 120 * _MIB
_MOST_MACS = 4e10
_CHANNELS = (4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
_SIDES = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192)
# every block of memory is mapped, and given back when it is freed (man 3 mallopt)
_SETTINGS = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A layer and an input.

    Parameters
    ----------
    kernel_size, scale_factor, in_channels, out_channels, groups : int
        Of the layer.
    padding_mode, dtype : str
        Of the layer.
    batch, height, width : int
        Of the input.
    is_channels_last : bool
        Memory format of the input.
    mode : str
        ``kept``, ``live`` or ``train``.
    """

    kernel_size: int
    scale_factor: int
    in_channels: int
    out_channels: int
    groups: int
    padding_mode: str
    dtype: str
    batch: int
    height: int
    width: int
    is_channels_last: bool
    mode: str

    def make_layer(self, implementation: str) -> ResizeConv2d:
        """Make the layer."""
        layer = ResizeConv2d(
            *(self.in_channels, self.out_channels, self.kernel_size, self.scale_factor),
            groups=self.groups,
            padding_mode=self.padding_mode,
            dtype=getattr(torch, self.dtype),
            implementation=implementation,
        )
        return layer.eval().cache_weight() if self.mode == "kept" else layer

    def make_input(self) -> Tensor:
        """Make the input, of any values."""
        layout = torch.channels_last if self.is_channels_last else torch.contiguous_format
        shape = (self.batch, self.in_channels, self.height, self.width)
        return torch.ones(shape, dtype=getattr(torch, self.dtype)).contiguous(memory_format=layout)

    def run(self, layer: nn.Module, x: Tensor) -> None:
        """Run a step."""
        is_training = self.mode == "train"
        with torch.set_grad_enabled(is_training):
            y = layer(x.detach().requires_grad_(is_training))
            if is_training:
                y.backward(torch.ones_like(y))
                layer.zero_grad(set_to_none=True)


def draw_cells(seed: int) -> Iterator[Cell]:
    """Draw cells without end.

    Parameters
    ----------
    seed : int
        Of the draw.
    """
    draw = random.Random(seed)
    while True:
        cell = Cell(
            kernel_size=draw.choice((3, 3, 5, 7)),
            scale_factor=draw.choice((2, 2, 2, 3, 4)),
            in_channels=draw.choice(_CHANNELS),
            out_channels=draw.choice((1, 3, *_CHANNELS)),
            groups=draw.choice((1, 1, 1, 1, 4)),
            padding_mode=draw.choice(("zeros", "zeros", "zeros", "replicate")),
            dtype=draw.choice(("float32", "float32", "float32", "float64")),
            batch=draw.choice((1, 1, 1, 2, 4, 8)),
            height=draw.choice(_SIDES),
            width=draw.choice(_SIDES),
            is_channels_last=draw.random() < 0.4,
            mode=draw.choice(("kept", "live", "train")),
        )
        if cell.in_channels % cell.groups or cell.out_channels % cell.groups:
            continue
        pixels = cell.batch * cell.height * cell.width
        size = getattr(torch, cell.dtype).itemsize * pixels * cell.scale_factor**2
        held = size * (2 * cell.in_channels + cell.out_channels)
        width = cell.kernel_size + cell.scale_factor - 1
        if (
            _LEAST_BYTES < held < _MOST_BYTES
            and width**2 * pixels * cell.in_channels * cell.out_channels < _MOST_MACS
        ):
            yield cell


def measure_peaks(cell: Cell, threads: int) -> tuple[str, int, int]:
    """Say what `auto` chooses in a cell, and what it and the plain form hold.

    Parameters
    ----------
    cell : Cell
        What is run.
    threads : int
        Of torch.

    Returns
    -------
    (str, int, int)
        Name, bytes of `auto`, bytes of the plain form.
    """
    x, auto, plain = cell.make_input(), cell.make_layer("auto"), cell.make_layer("plain")
    is_training = cell.mode == "train"
    with torch.set_grad_enabled(is_training):
        name = auto.choose(x.detach().requires_grad_(is_training), is_prepared=cell.mode == "kept")
    peaks = [_measure_apart(lambda layer=layer: cell.run(layer, x), threads) for layer in (auto, plain)]  # type: ignore[misc] # mypy cannot infer it
    return name, peaks[0], peaks[1]


class _Step:
    """What `read_resident_peak` measures."""

    def __init__(self, run: Callable[[], None]) -> None:
        self.run = run


def _measure_apart(run: Callable[[], None], threads: int) -> int:
    """Measure in a fork, which inherits the tensors but no threads: none were started here."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        try:
            torch.set_num_threads(threads)
            os.write(writing, struct.pack("q", read_resident_peak(_Step(run))))  # type: ignore[arg-type] # it runs it, no more
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    os.wait()
    if not answer:
        raise DeconvbenchError("the process that measures ended without an answer")
    return int(struct.unpack("q", answer)[0])


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, print, and say whether anything was found.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process by default.

    Returns
    -------
    int
        1 if a cell is above the limit, otherwise 0.
    """
    parser = argparse.ArgumentParser(prog="python -m bench.memory_search", description=__doc__)
    parser.add_argument("--cells", type=int, default=200, help="How many [default: 200].")
    parser.add_argument("--seed", type=int, default=0, help="Of the draw [default: 0].")
    parser.add_argument("--threads", type=int, default=1, help="Of torch [default: 1].")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    above, worst = 0, 0.0
    for _, cell in zip(range(options.cells), draw_cells(options.seed), strict=False):
        name, auto, plain = measure_peaks(cell, options.threads)
        share = auto / plain
        worst = max(worst, share)
        if share > ALLOWED_SHARE:
            above += 1
            print(f"{share:.2f} ({auto / _MIB:.1f} of {plain / _MIB:.1f} MiB) {name} in {cell}", flush=True)
    print(f"{options.cells} cells, {above} above {ALLOWED_SHARE}, the worst {worst:.2f}")
    return int(above > 0)


if __name__ == "__main__":
    if any(os.environ.get(name) != value for name, value in _SETTINGS.items()):
        # malloc reads them when a process starts
        os.execve(
            sys.executable, [sys.executable, "-m", "bench.memory_search", *sys.argv[1:]], os.environ | _SETTINGS
        )
    sys.exit(main())
