"""How much faster `deconvbench.nn.ConvTranspose2d` is than torch's own: ``python -m bench.deconvolution_speed``.

Needs ``deconvbench native``. Both layers have the same parameters and run in interleaved rounds, in one process.
Prints a Markdown table of geometric means over shapes, of medians of ratios, with the least and the greatest.
"""

import argparse
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from deconvbench.measure.latency import LatencyPolicy
from deconvbench.measure.rounds import divide_rounds, take_rounds
from deconvbench.nn import ConvTranspose2d

# kernel, padding and output padding, that double the size
KERNELS = {3: (1, 1), 4: (1, 0), 5: (2, 1), 6: (2, 0)}
# input channels and side of the image; half as many output channels
SHAPES = ((64, 16), (64, 64), (128, 32), (256, 16), (256, 32), (512, 16), (512, 32))
STEPS = ("kept", "made", "train")
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What is timed.

    Parameters
    ----------
    kernel_size, in_channels, side : int
        Of layer and image.
    layout : str
        Of `LAYOUTS`.
    step : str
        Of `STEPS`: inference with the transformed weight kept or made in every call, or forward and backward.
    """

    kernel_size: int
    in_channels: int
    side: int
    layout: str
    step: str

    def make_steps(self, implementation: str) -> list[Callable[[], object]]:
        """Make the two steps: ours, and torch's own."""
        padding, output_padding = KERNELS[self.kernel_size]
        sizes = (self.in_channels, self.in_channels // 2, self.kernel_size, 2, padding, output_padding)
        ours, own = ConvTranspose2d(*sizes, implementation=implementation), nn.ConvTranspose2d(*sizes)
        own.load_state_dict(ours.state_dict())
        x = torch.randn(1, self.in_channels, self.side, self.side).contiguous(memory_format=LAYOUTS[self.layout])
        layers = [layer.to(memory_format=LAYOUTS[self.layout]) for layer in (ours, own)]  # type: ignore[call-overload] # exists
        if self.step == "kept":
            ours.eval().cache_weight()
        return [self._make_step(layer, x) for layer in layers]

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
    parser = argparse.ArgumentParser(prog="python -m bench.deconvolution_speed", description=__doc__)
    parser.add_argument("--threads", type=int, default=1, help="Of torch [default: 1].")
    parser.add_argument("--implementation", default="auto", help="Of the layer [default: auto].")
    parser.add_argument("--budget", type=float, default=0.5, help="Seconds for a shape [default: 0.5].")
    parser.add_argument("--shapes", type=int, default=len(SHAPES), help="How many [default: all].")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print("| kernel | memory format | " + " | ".join(STEPS) + " |")
    print("|---|---|" + "---|" * len(STEPS))
    for size in KERNELS:
        for layout in LAYOUTS:
            words = []
            for step in STEPS:
                found = [
                    measure_speedup(
                        Cell(kernel_size=size, in_channels=channels, side=side, layout=layout, step=step),
                        options.implementation,
                        options.budget,
                    )
                    for channels, side in SHAPES[: options.shapes]
                ]
                mean = math.exp(statistics.fmean(map(math.log, found)))
                words.append(f"{mean:.2f} ({min(found):.2f} to {max(found):.2f})")
            print(f"| {size} | {layout} | {' | '.join(words)} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
