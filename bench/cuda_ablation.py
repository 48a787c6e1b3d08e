"""What each part of the fold is worth on a CUDA device: ``python -m bench.cuda_ablation [--csv FILE]``.

Nearest ×2 and convolution 3, as it is written and in every form of `ResizeConv2d`, those of Triton included,
beside both deconvolutions (k3 s2 and k4 s2): memory formats × precisions × steps × shapes. All layers of a cell
are timed interleaved, round by round; a speed-up is the median of the ratios to the plain form in the same cell,
with its interval of 95 %. Each row also has the error against float64 and the peak of memory, so that a fast form
that is not exact, or not small, shows. Prints the geometric means over the shapes; ``--csv`` writes every row.
"""

import argparse
import csv
import itertools
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from deconvbench.errors import DeconvbenchError, UsageError
from deconvbench.measure.accelerator import Accelerator, TorchAccelerator
from deconvbench.measure.latency import LatencyPolicy
from deconvbench.measure.numerics import numerical_error
from deconvbench.measure.rounds import divide_rounds, take_rounds
from deconvbench.statistics import median_interval
from deconvbench.upsamplers.fast import IMPLEMENTATIONS, ResizeConv2d
from deconvbench.upsamplers.fast.cuda import TRITON_IMPLEMENTATIONS, explain_absence

BASELINE = "plain"
FORMS = (*(name for name in IMPLEMENTATIONS if name != "auto"), *TRITON_IMPLEMENTATIONS)
DECONVOLUTIONS = {"deconvolution k3": 3, "deconvolution k4": 4}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
# the type, and whether float32 may be multiplied as TF32
PRECISIONS: Mapping[str, tuple[torch.dtype, bool]] = {
    "float32": (torch.float32, False),
    "tf32": (torch.float32, True),
    "bfloat16": (torch.bfloat16, True),
    "float16": (torch.float16, True),
}
STEPS = ("forward", "train")
# images, input channels (half as many of the output), rows and columns of the input
SHAPES = (
    *((1, 64, 64), (1, 128, 32), (1, 256, 32), (1, 512, 16)),
    # decoders of latent diffusion at 1024 pixels, and a batch of a training
    *((1, 512, 128), (1, 512, 256), (1, 256, 512), (16, 256, 32)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One layer in one cell.

    Parameters
    ----------
    batch, in_channels, out_channels, side : int
        Of the input, which is square, and the layer.
    memory_format, precision, step, layer : str
        Names in this module.
    status : str
        ``ok``, or why there are no numbers.
    latency_s : float or None
        Median.
    speedup, speedup_low, speedup_high : float or None
        Over the plain form, with the interval of 95 %.
    error : float or None
        Of the output against float64, as `numerical_error`; not of deconvolutions, which are another function.
    peak_bytes : int or None
        Most that a step holds beside what was there before.
    """

    batch: int
    in_channels: int
    out_channels: int
    side: int
    memory_format: str
    precision: str
    step: str
    layer: str
    status: str = "ok"
    latency_s: float | None = None
    speedup: float | None = None
    speedup_low: float | None = None
    speedup_high: float | None = None
    error: float | None = None
    peak_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What layers are compared in.

    Parameters
    ----------
    batch, in_channels, side : int
        Of the input.
    memory_format, precision, step : str
        Names in this module.
    """

    batch: int
    in_channels: int
    side: int
    memory_format: str
    precision: str
    step: str

    @property
    def out_channels(self) -> int:
        """Channels of the output."""
        return max(self.in_channels // 2, 1)

    def describe(self, layer: str, **numbers: Any) -> Row:
        """Make the row of a layer."""
        return Row(**asdict(self), out_channels=self.out_channels, layer=layer, **numbers)


def build_layer(name: str, cell: Cell, device: str) -> nn.Module:
    """Build a layer of a cell, with the same parameters in every form.

    Parameters
    ----------
    name : str
        Of a form or a deconvolution.
    cell : Cell
        Where it is compared.
    device : str
        Where it runs.
    """
    torch.manual_seed(0)
    channels = (cell.in_channels, cell.out_channels)
    layer: nn.Module
    if name in DECONVOLUTIONS:
        size = DECONVOLUTIONS[name]
        layer = nn.ConvTranspose2d(*channels, size, stride=2, padding=1, output_padding=4 - size)
    else:
        layer = ResizeConv2d(*channels, implementation=name)
    dtype, _ = PRECISIONS[cell.precision]
    return layer.to(device, dtype).to(memory_format=LAYOUTS[cell.memory_format])  # type: ignore[call-overload,no-any-return] # an overload torch leaves out


def make_step(layer: nn.Module, x: Tensor, step: str) -> Callable[[], object]:
    """Make what is timed: the output, or output and all gradients.

    Parameters
    ----------
    layer : nn.Module
        What computes.
    x : Tensor
        Its input.
    step : str
        ``forward`` or ``train``.
    """
    if step == "forward":

        def run() -> object:
            with torch.no_grad():
                return layer(x)

    else:
        given = x.detach().requires_grad_()
        with torch.no_grad():
            gradient = torch.ones_like(layer(x))
        operands = (given, *layer.parameters())

        def run() -> object:
            return torch.autograd.grad(layer(given), operands, gradient)

    return run


def _measure_peak(run: Callable[[], object], accelerator: Accelerator[Any] | None) -> int | None:
    if accelerator is None:
        return None
    accelerator.synchronize()
    accelerator.reset_peak()
    before = accelerator.allocated_bytes()
    run()
    accelerator.synchronize()
    peak = accelerator.peak_allocated_bytes()
    return None if before is None or peak is None else peak - before


def measure_cell(
    cell: Cell, names: Sequence[str], device: str, policy: LatencyPolicy, accelerator: Accelerator[Any] | None
) -> list[Row]:
    """Measure layers in one cell, interleaved.

    Parameters
    ----------
    cell : Cell
        What to measure.
    names : sequence of str
        Of layers; the plain form must be among them.
    device : str
        Where they run.
    policy : LatencyPolicy
        How long to time.
    accelerator : Accelerator or None
        That device; None for a CPU, whose memory is not measured.

    Returns
    -------
    list of Row
        One for each layer; one that fails has a status and no numbers.
    """
    dtype, allows_tf32 = PRECISIONS[cell.precision]
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allows_tf32
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(cell.batch, cell.in_channels, cell.side, cell.side, generator=generator)
    x = x.to(device, dtype).contiguous(memory_format=LAYOUTS[cell.memory_format])
    steps: dict[str, Callable[[], object]] = {}
    failures: dict[str, str] = {}
    errors, peaks = {}, {}
    reference = _find_reference(cell, x, device)
    for name in names:
        absence = explain_absence(name, x) if name in TRITON_IMPLEMENTATIONS else None
        if absence is not None:
            failures[name] = absence
            continue
        try:
            layer = build_layer(name, cell, device)
            steps[name] = make_step(layer, x, cell.step)
            steps[name]()  # compiles and tunes
            peaks[name] = _measure_peak(steps[name], accelerator)
            if name not in DECONVOLUTIONS:
                with torch.no_grad():
                    errors[name] = numerical_error(layer(x), reference)
        except (RuntimeError, DeconvbenchError) as error:
            steps.pop(name, None)
            failures[name] = _shorten(error)
    rounds = take_rounds(
        steps,
        BASELINE,
        policy,
        accelerator=accelerator,
        allowance=len(steps),
        on_failure=lambda name, error: failures.update({name: _shorten(error)}),
    )
    samples_s = rounds.samples_s
    rows = []
    for name in names:
        if name in failures or name not in samples_s:
            rows.append(cell.describe(name, status=failures.get(name, "not timed")))
            continue
        ratios = divide_rounds(samples_s, BASELINE, name) if BASELINE in samples_s else []
        middle, low, high = median_interval(ratios) if ratios else (None, None, None)
        rows.append(
            cell.describe(
                name,
                latency_s=median(samples_s[name]),
                speedup=middle,
                speedup_low=low,
                speedup_high=high,
                error=errors.get(name),
                peak_bytes=peaks.get(name),
            )
        )
    return rows


def _find_reference(cell: Cell, x: Tensor, device: str) -> Tensor:
    """Compute the plain form in float64, with the parameters and the input as they are rounded."""
    layer = build_layer(BASELINE, cell, device).double()
    with torch.no_grad():
        y: Tensor = layer(x.double())
    return y


def _shorten(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def format_rows(rows: Sequence[Row]) -> str:
    """Write geometric means of speed-ups over the shapes, and the largest error, as tables in Markdown.

    Parameters
    ----------
    rows : sequence of Row
        Of all cells.
    """
    layers = list(dict.fromkeys(row.layer for row in rows))
    lines = [
        "| precision | step | memory format | " + " | ".join(layers) + " |",
        "|---|---|---|" + "---|" * len(layers),
    ]
    keys = list(dict.fromkeys((row.precision, row.step, row.memory_format) for row in rows))
    for key in keys:
        here = [row for row in rows if (row.precision, row.step, row.memory_format) == key]
        words = []
        for layer in layers:
            found = [row.speedup for row in here if row.layer == layer]
            known = [speedup for speedup in found if speedup is not None]
            if not known:
                words.append("–")
                continue
            mean = math.exp(sum(map(math.log, known)) / len(known))
            words.append(
                f"{mean:.2f}" if len(known) == len(found) else f"{mean:.2f} ({len(known)} of {len(found)})"
            )
        lines.append(f"| {' | '.join((*key, *words))} |")
    lines += ["", "| precision | " + " | ".join(layers) + " |", "|---|" + "---|" * len(layers)]
    for precision in dict.fromkeys(row.precision for row in rows):
        errors = [
            max(
                (
                    row.error
                    for row in rows
                    if (row.precision, row.layer) == (precision, layer) and row.error is not None
                ),
                default=None,
            )
            for layer in layers
        ]
        lines.append(
            f"| error, {precision} | "
            + " | ".join("–" if each is None else f"{each:.1e}" for each in errors)
            + " |"
        )
    return "\n".join(lines)


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Write all rows as CSV.

    Parameters
    ----------
    rows : sequence of Row
        Of all cells.
    path : Path
        The file, which is replaced.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(map(asdict, rows))


def list_cells(
    shapes: Sequence[tuple[int, int, int]], steps: Sequence[str], precisions: Sequence[str]
) -> list[Cell]:
    """List the cells of an ablation.

    Parameters
    ----------
    shapes : sequence of (int, int, int)
        Images, input channels and side of the input.
    steps, precisions : sequence of str
        Names in this module.
    """
    return [
        Cell(
            batch=batch,
            in_channels=channels,
            side=side,
            memory_format=memory_format,
            precision=precision,
            step=step,
        )
        for precision, step, memory_format, (batch, channels, side) in itertools.product(
            precisions, steps, LAYOUTS, shapes
        )
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process by default.

    Returns
    -------
    int
        The exit code: 2 where there is no CUDA device.
    """
    parser = argparse.ArgumentParser("python -m bench.cuda_ablation", description=f"{__doc__}".split(":")[0])
    parser.add_argument("--device", default="cuda", help="cuda, or one of several as cuda:1 [default: cuda]")
    parser.add_argument("--csv", type=Path, help="file for all rows")
    parser.add_argument(
        "--seconds", type=float, default=0.5, help="of timing for each layer of a cell [default: 0.5]"
    )
    parser.add_argument("--shapes", type=int, default=len(SHAPES), help="how many of the shapes [default: all]")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    given = parser.parse_args(arguments)
    rows: list[Row] = []
    try:
        if not torch.cuda.is_available():
            raise UsageError("the ablation needs a CUDA device, and torch finds none here")
        if torch.device(given.device).type != "cuda":
            raise UsageError(f"--device: {given.device!r} is not a CUDA device")
        policy = LatencyPolicy(time_cap_s=given.seconds)
        accelerator = TorchAccelerator(given.device)
        print(f"{torch.cuda.get_device_name(given.device)}, torch {torch.__version__}", flush=True)
        for cell in list_cells(SHAPES[: given.shapes], given.steps, given.precisions):
            found = measure_cell(cell, (*FORMS, *DECONVOLUTIONS), given.device, policy, accelerator)
            rows += found
            print(
                cell,
                *(f"  {row.layer}: {row.status}" for row in found if row.status != "ok"),
                sep="\n",
                flush=True,
            )
            if given.csv is not None:
                # after every cell: a device may be taken away
                write_rows(rows, given.csv)
    except DeconvbenchError as error:
        print(f"deconvbench: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    print(f"\nspeed-up over the plain form\n\n{format_rows(rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
