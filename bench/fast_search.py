"""A search for calls that `auto` makes slower: ``python -m bench.fast_search [--threads N...] [--minutes M]``.

Draws layers and inputs at random, `ResizeConv2d` and `ConvTranspose2d`, and times each beside the plain form as
people write it with torch's own layers, in interleaved rounds. Suspects are measured again until the interval
decides. Prints every cell that is slower by more than 3 %, is still undecided, or holds more than 1.1 times the
plain form's memory (on the heap, of one call); exits with 1 if there is any but of the undecided. Cells where the
plain form itself is chosen and takes long enough for the choice not to count are not timed.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from bench.memory_search import ALLOWED_SHARE, Cell
from deconvbench.measure.latency import LatencyPolicy
from deconvbench.measure.memory import measure_heap_peak
from deconvbench.measure.rounds import divide_rounds, take_rounds
from deconvbench.nn import ConvTranspose2d
from deconvbench.statistics import median_interval
from deconvbench.theory.sizes import exact_padding
from deconvbench.units import format_bytes, format_seconds
from deconvbench.upsamplers.fast import ResizeConv2d

ALLOWED_SLOWDOWN = 1.03
KINDS = ("resize", "transposed")
_CHANNELS = (1, 2, 3, 4, 5, 7, 8, 12, 16, 24, 31, 32, 48, 64, 64, 96, 100, 128, 128, 192, 256, 256, 384, 512, 512)
_SIDES = (1, 2, 3, 4, 5, 7, 8, 11, 14, 16, 20, 28, 32, 37, 48, 56, 64, 80, 96, 112, 128)
# of one forward call of the plain form: some 20 ms of a core
_MOST_MACS = 1e9
# of each look at a suspect; rounds of all looks count together
_BUDGETS_S = (0.08, 0.5, 2.0, 5.0)
# longer calls of the plain form are the same as those of a layer that chose it
_LONG_S = 3e-4
# blocks of Python's own, which say nothing about a layer
_LEAST_BYTES = 2**17


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizeCell(Cell):
    """A resize-convolution and an input."""

    def make_plain(self) -> nn.Module:
        """Make what people write."""
        conv = nn.Conv2d(
            *(self.in_channels, self.out_channels, self.kernel_size),
            padding=(self.kernel_size - 1) // 2,
            groups=self.groups,
            padding_mode=self.padding_mode,  # type: ignore[arg-type] # one of its words
            dtype=getattr(torch, self.dtype),
        )
        return nn.Sequential(nn.Upsample(scale_factor=self.scale_factor), conv)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransposedCell(Cell):
    """A transposed convolution and an input."""

    def make_layer(self, implementation: str) -> ConvTranspose2d:  # type: ignore[override] # of another class
        """Make the layer."""
        layer = ConvTranspose2d.from_conv(self.make_plain(), implementation)
        return layer.eval().cache_weight() if self.mode == "kept" else layer

    def make_plain(self) -> nn.ConvTranspose2d:
        """Make torch's own."""
        padding, output_padding = exact_padding(self.kernel_size, self.scale_factor)
        return nn.ConvTranspose2d(
            *(self.in_channels, self.out_channels, self.kernel_size),
            stride=self.scale_factor,
            padding=padding,
            output_padding=output_padding,
            groups=self.groups,
            dtype=getattr(torch, self.dtype),
        )


AnyCell = ResizeCell | TransposedCell


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was measured in a cell.

    Parameters
    ----------
    chosen : str
        What `auto` took.
    plain_s : float
        Seconds of a call of the plain form; 0 where nothing was timed.
    slowdown, low, high : float
        Seconds of `auto` by those of the plain form, with the 95 % interval.
    bytes, plain_bytes : int
        What a call holds on the heap; 0 where it was not measured.
    """

    chosen: str
    plain_s: float = 0.0
    slowdown: float = 1.0
    low: float = 1.0
    high: float = 1.0
    bytes: int = 0
    plain_bytes: int = 0

    @property
    def is_slower(self) -> bool:
        """Whether it is certainly slower than is allowed."""
        return self.low > ALLOWED_SLOWDOWN

    @property
    def is_undecided(self) -> bool:
        """Whether it looks slower than is allowed, and may not be."""
        return self.low <= ALLOWED_SLOWDOWN < self.slowdown

    @property
    def holds_more(self) -> bool:
        """Whether it holds more than is allowed."""
        return self.bytes - _LEAST_BYTES > ALLOWED_SHARE * self.plain_bytes

    def __str__(self) -> str:
        """Say it in a line."""
        words = [
            f"{self.slowdown:.3f} ({self.low:.3f} to {self.high:.3f}) of {format_seconds(self.plain_s)}",
            *(["SLOWER"] if self.is_slower else ["undecided"] if self.is_undecided else []),
        ]
        if self.plain_bytes:
            words.append(f"{self.bytes / self.plain_bytes:.2f} of {format_bytes(self.plain_bytes)}")
        return ", ".join([*words, *(["MEMORY"] if self.holds_more else []), self.chosen])


def draw_cells(seed: int, kinds: Sequence[str] = KINDS) -> Iterator[AnyCell]:
    """Draw cells without end.

    Parameters
    ----------
    seed : int
        Of the draw.
    kinds : sequence of str
        Of `KINDS`.
    """
    draw = random.Random(seed)
    while True:
        is_resize = draw.choice(kinds) == "resize"
        in_channels = draw.choice(_CHANNELS)
        related = (in_channels, -(-in_channels // 2), -(-in_channels // 4), draw.choice(_CHANNELS))
        height = draw.choice(_SIDES)
        values = {
            "kernel_size": draw.choice((1, 3, 3, 3, 5, 5, 7) if is_resize else (2, 3, 3, 4, 4, 5, 6)),
            "scale_factor": draw.choice((2, 2, 2, 3, 4) if is_resize else (2, 2, 2, 2, 3)),
            "in_channels": in_channels,
            "out_channels": draw.choice(related),
            "groups": draw.choice((1, 1, 1, 1, 1, 1, 2, 4, in_channels)),
            "padding_mode": draw.choice(("zeros",) * 3 + ("replicate", "reflect") * is_resize),
            "dtype": draw.choice(("float32",) * 8 + ("bfloat16", "float64")),
            "batch": draw.choice((1, 1, 1, 1, 2, 4, 8)),
            "height": height,
            "width": draw.choice((height, height, draw.choice(_SIDES))),
            "is_channels_last": draw.random() < 0.4,
            "mode": draw.choice(("kept", "live", "train")),
        }
        kind: Callable[..., AnyCell] = ResizeCell if is_resize else TransposedCell
        cell = kind(**values)
        if _can_be_measured(cell):
            yield cell


def _can_be_measured(cell: AnyCell) -> bool:
    if cell.in_channels % cell.groups or cell.out_channels % cell.groups:
        return False
    pixels = cell.batch * cell.height * cell.width * cell.in_channels * cell.out_channels // cell.groups
    if isinstance(cell, TransposedCell):
        return cell.kernel_size >= cell.scale_factor and cell.kernel_size**2 * pixels <= _MOST_MACS
    # torch reflects no more than there is
    padding = (cell.kernel_size - 1) // 2
    is_there = cell.padding_mode != "reflect" or padding < cell.scale_factor * min(cell.height, cell.width)
    return is_there and (cell.kernel_size * cell.scale_factor) ** 2 * pixels <= _MOST_MACS


def measure_cell(cell: AnyCell, budgets_s: Sequence[float] = _BUDGETS_S) -> Finding:
    """Time a cell, look again while the interval does not decide, and measure what is held.

    Parameters
    ----------
    cell : ResizeCell or TransposedCell
        What is run, in as many threads as torch has.
    budgets_s : sequence of float
        Seconds of each look.
    """
    x, layer, plain = cell.make_input(), cell.make_layer("auto"), cell.make_plain()
    chosen = _ask_choice(cell, layer, x)
    steps: Mapping[str, Callable[[], None]] = {
        "plain": partial(cell.run, plain, x),
        "auto": partial(cell.run, layer, x),
    }
    for run in steps.values():
        run()
    started = time.perf_counter()
    steps["plain"]()
    plain_s = time.perf_counter() - started
    if chosen == "plain" and plain_s > _LONG_S:
        return Finding(chosen=chosen)
    ratios: list[float] = []
    middle = low = high = 1.0
    for look, budget_s in enumerate(budgets_s):
        policy = LatencyPolicy(time_cap_s=budget_s, min_time_s=min(0.2, budget_s), warmup_s=min(0.1, budget_s / 4))
        rounds = take_rounds(steps, "plain", policy, seed=look)
        ratios += divide_rounds(rounds.samples_s, "auto", "plain")
        middle, low, high = median_interval(ratios)
        plain_s = sorted(rounds.samples_s["plain"])[len(rounds.samples_s["plain"]) // 2]
        # one look is too few to call a cell slower: there are hundreds of them
        if high <= ALLOWED_SLOWDOWN or (look and low > ALLOWED_SLOWDOWN):
            break
    held = [0, 0]
    if chosen != "plain":
        held = [measure_heap_peak(steps[name]) or 0 for name in ("auto", "plain")]
    return Finding(
        chosen=chosen,
        plain_s=plain_s,
        slowdown=middle,
        low=low,
        high=high,
        bytes=held[0],
        plain_bytes=held[1],
    )


def _ask_choice(cell: AnyCell, layer: nn.Module, x: Tensor) -> str:
    assert isinstance(layer, ResizeConv2d | ConvTranspose2d)
    is_training = cell.mode == "train"
    with torch.set_grad_enabled(is_training):
        return layer.choose(x.detach().requires_grad_(is_training), is_prepared=cell.mode == "kept")


def search(threads: int, minutes: float, seed: int, kinds: Sequence[str] = KINDS) -> int:
    """Measure cells until the time is over, and print those that break the promise.

    Parameters
    ----------
    threads : int
        Of torch.
    minutes : float
        After which no further cell is begun.
    seed : int
        Of the draw.
    kinds : sequence of str
        Of `KINDS`.

    Returns
    -------
    int
        How many were certainly slower than is allowed, or held more.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    end = time.monotonic() + 60 * minutes
    cells = timed = slower = undecided = greedy = 0
    worst = 1.0
    for cell in draw_cells(seed, kinds):
        if time.monotonic() >= end:
            break
        found = measure_cell(cell)
        cells += 1
        timed += found.plain_s > 0
        slower += found.is_slower
        undecided += found.is_undecided
        greedy += found.holds_more
        worst = max(worst, found.low)
        if found.is_slower or found.is_undecided or found.holds_more:
            print(f"{found}, threads={threads}: {cell}", flush=True)
    print(
        f"{threads} thread{'' if threads == 1 else 's'}: {cells} cells, {timed} timed, {slower} slower by more"
        f" than {ALLOWED_SLOWDOWN - 1:.0%} (the worst at least {worst:.2f} times), {undecided} undecided, {greedy}"
        f" with more than {ALLOWED_SHARE} times the memory",
        flush=True,
    )
    return slower + greedy


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, print, and say whether anything was found.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process by default.

    Returns
    -------
    int
        1 if a cell is slower or holds more than is allowed, otherwise 0.
    """
    parser = argparse.ArgumentParser(prog="python -m bench.fast_search", description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="Of torch [default: 1 2].")
    parser.add_argument("--minutes", type=float, default=5.0, help="For each number of threads [default: 5].")
    parser.add_argument("--seed", type=int, default=0, help="Of the draw [default: 0].")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="Of layers [default: all].")
    options = parser.parse_args(arguments)
    found = [search(threads, options.minutes, options.seed, options.kinds) for threads in options.threads]
    return int(any(found))


if __name__ == "__main__":
    sys.exit(main())
