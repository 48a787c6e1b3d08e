"""How much faster a fast layer is than torch's: ``python -m bench.layer_speed [transposed|resize] [--dtype D]``.

Needs ``deconvbench native``. `deconvbench.nn.ConvTranspose2d` runs beside `torch.nn.ConvTranspose2d`, or
`ResizeConv2d` beside upsampling and convolution, with the same parameters, in interleaved rounds, in one process.
Prints a Markdown table of geometric means over shapes, of medians of ratios, with the least and the greatest.
"""

import argparse
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from deconvbench.measure.latency import LatencyPolicy
from deconvbench.measure.rounds import divide_rounds, take_rounds
from deconvbench.nn import ConvTranspose2d, ResizeConv2d

# kernel, padding and output padding, that double the size
TRANSPOSED_KERNELS = {3: (1, 1), 4: (1, 0), 5: (2, 1), 6: (2, 0)}
RESIZE_KERNELS = (3, 5)
KERNELS: Mapping[str, Sequence[int]] = {"transposed": tuple(TRANSPOSED_KERNELS), "resize": RESIZE_KERNELS}
DTYPES = ("float32", "bfloat16")
# input channels and side of the image; half as many output channels
SHAPES = ((64, 16), (64, 64), (128, 32), (256, 16), (256, 32), (512, 16), (512, 32))
STEPS = ("kept", "made", "train")
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What is timed.

    Parameters
    ----------
    layer : str
        Of `KERNELS`.
    kernel_size, in_channels, side : int
        Of layer and image.
    layout : str
        Of `LAYOUTS`.
    step : str
        Of `STEPS`: inference with the transformed weight kept or made in every call, or forward and backward.
    dtype : str
        Of `DTYPES`.
    """

    layer: str
    kernel_size: int
    in_channels: int
    side: int
    layout: str
    step: str
    dtype: str

    def make_steps(self, implementation: str) -> list[Callable[[], object]]:
        """Make the two steps: ours, and torch's own."""
        ours, own = (
            layer.to(dtype=getattr(torch, self.dtype), memory_format=LAYOUTS[self.layout])  # type: ignore[call-overload] # exists
            for layer in self._make_layers(implementation)
        )
        x = torch.randn(1, self.in_channels, self.side, self.side, dtype=getattr(torch, self.dtype))
        if self.step == "kept":
            ours.eval().cache_weight()
        return [self._make_step(layer, x.contiguous(memory_format=LAYOUTS[self.layout])) for layer in (ours, own)]

    def _make_layers(self, implementation: str) -> tuple[nn.Module, nn.Module]:
        """Make ours and torch's, of the same parameters."""
        sizes = (self.in_channels, self.in_channels // 2, self.kernel_size)
        if self.layer == "resize":
            conv = nn.Conv2d(*sizes, padding=(self.kernel_size - 1) // 2)
            return ResizeConv2d.from_conv(conv, 2, implementation), nn.Sequential(
                nn.Upsample(scale_factor=2), conv
            )
        geometry = (2, *TRANSPOSED_KERNELS[self.kernel_size])
        ours, own = (
            ConvTranspose2d(*sizes, *geometry, implementation=implementation),
            nn.ConvTranspose2d(*sizes, *geometry),
        )
        own.load_state_dict(ours.state_dict())
        return ours, own

    def _make_step(self, layer: nn.Module, x: torch.Tensor) -> Callable[[], object]:
        if self.step != "train":

            def infer() -> object:
                with torch.no_grad():
                    return layer(x)

            return infer
        image = x.clone().requires_grad_()
        gradient = torch.ones_like(layer(image))
        asked = [image, *layer.parameters()]
        return lambda: torch.autograd.grad(layer(image), asked, gradient)


def measure_speedup(cell: Cell, implementation: str, budget_s: float) -> float:
    """Measure how many times as fast as torch's own it is, in interleaved rounds.

    Parameters
    ----------
    cell : Cell
        What is timed.
    implementation : str
        Of the layer.
    budget_s : float
        Seconds after which no further round begins.

    Returns
    -------
    float
        The median over rounds of torch's time by ours.
    """
    ours, own = cell.make_steps(implementation)
    rounds = take_rounds({"ours": ours, "torch": own}, "torch", LatencyPolicy(time_cap_s=budget_s))
    return statistics.median(divide_rounds(rounds.samples_s, "torch", "ours"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the table.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process by default.

    Returns
    -------
    int
        0.
    """
    parser = argparse.ArgumentParser(prog="python -m bench.layer_speed", description=__doc__)
    parser.add_argument("layer", nargs="?", choices=KERNELS, default="transposed", help="[default: transposed]")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="Of the numbers [default: float32].")
    parser.add_argument("--threads", type=int, default=1, help="Of torch [default: 1].")
    parser.add_argument("--implementation", default="auto", help="Of the layer [default: auto].")
    parser.add_argument("--budget", type=float, default=0.5, help="Seconds for a shape [default: 0.5].")
    parser.add_argument("--shapes", type=int, default=len(SHAPES), help="How many [default: all].")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print("| kernel | memory format | " + " | ".join(STEPS) + " |")
    print("|---|---|" + "---|" * len(STEPS))
    for size in KERNELS[options.layer]:
        for layout in LAYOUTS:
            words = []
            for step in STEPS:
                cells = [
                    Cell(
                        layer=options.layer,
                        kernel_size=size,
                        in_channels=channels,
                        side=side,
                        layout=layout,
                        step=step,
                        dtype=options.dtype,
                    )
                    for channels, side in SHAPES[: options.shapes]
                ]
                found = [measure_speedup(cell, options.implementation, options.budget) for cell in cells]
                mean = math.exp(statistics.fmean(map(math.log, found)))
                words.append(f"{mean:.2f} ({min(found):.2f} to {max(found):.2f})")
            print(f"| {size} | {layout} | {' | '.join(words)} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
