"""Rounding errors of the forms of resize-convolution, by precision and mean: ``python -m bench.half_precision``.

Kernels that sum to zero, whose taps the precision holds exactly, on noise around a mean: the worst case for forms
that add up taps. Prints a Markdown table of errors against float64 with the same weights and input. Times nothing.
Forms of Triton, by ``--forms``, run on a CUDA device or, with TRITON_INTERPRET=1, in its interpreter.
"""

import argparse
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from deconvbench.measure.numerics import numerical_error
from deconvbench.upsamplers.fast import ResizeConv2d
from deconvbench.upsamplers.fast.cuda import TRITON_IMPLEMENTATIONS

FORMS = ("plain", "transposed", "subpixel", "minimal", "tiled", "auto")
MEANS = (1, 10, 100, 1000)
# the largest whole number below which all are exact
_LARGEST: Mapping[torch.dtype, int] = {torch.bfloat16: 2**8, torch.float16: 2**11, torch.float32: 2**24}
_IN_CHANNELS, _OUT_CHANNELS, _SIDE = 32, 16, 16


def draw_zero_sum_weight(
    out_channels: int, in_channels: int, kernel_size: int, dtype: torch.dtype, seed: int
) -> Tensor:
    """Draw kernels that sum to exactly zero and use every digit of a precision.

    Parameters
    ----------
    out_channels, in_channels, kernel_size : int
        Of the weight; in_channels · k² at least 2.
    dtype : torch.dtype
        ``bfloat16``, ``float16`` or ``float32``.
    seed : int
        Of the draw.

    Returns
    -------
    Tensor, shape (C_out, C_in, k, k)
        Of the precision. Each k×k kernel sums to zero; with k = 1 those of all input channels together do.
    """
    half = _LARGEST[dtype] // 2
    shape = (out_channels, in_channels, kernel_size**2)
    numbers = torch.randint(-half, half, shape, generator=torch.Generator().manual_seed(seed))
    # differences of neighbours around a circle cancel
    differences = (numbers - numbers.roll(1, 1 if kernel_size == 1 else 2)).double()
    # about the scale of torch's own, and a power of two, which rounds nothing
    scale = 2.0 ** -math.ceil(math.log2(half * math.sqrt(in_channels * kernel_size**2)))
    return (scale * differences).view(out_channels, in_channels, kernel_size, kernel_size).to(dtype)


def draw_image(channels: int, side: int, mean: float, dtype: torch.dtype, seed: int) -> Tensor:
    """Draw noise of unit variance around a mean.

    Parameters
    ----------
    channels, side : int
        Shape of the image.
    mean : float
        Added to it.
    dtype : torch.dtype
        Its precision.
    seed : int
        Of the draw.

    Returns
    -------
    Tensor, shape (1, C, side, side)
    """
    noise = torch.randn(
        1, channels, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return (noise + mean).to(dtype)


def measure_form(form: str, mean: float, dtype: torch.dtype) -> float:
    """Measure the error of one form against float64, kernel 3 and scale 2.

    Parameters
    ----------
    form : str
        As for `ResizeConv2d`.
    mean : float
        Of the input.
    dtype : torch.dtype
        Precision of weights, input and output.

    Returns
    -------
    float
        As `numerical_error`. Replicated borders: with zeros the kernels would not cancel there.
    """
    weight = draw_zero_sum_weight(_OUT_CHANNELS, _IN_CHANNELS, 3, dtype, seed=0)
    x = draw_image(_IN_CHANNELS, _SIDE, mean, dtype, seed=1)
    return numerical_error(_run(form, weight, x), _run("plain", weight.double(), x.double()))


@torch.no_grad()
def _run(form: str, weight: Tensor, x: Tensor) -> Tensor:
    layer = ResizeConv2d(
        _IN_CHANNELS, _OUT_CHANNELS, bias=False, padding_mode="replicate", implementation=form, dtype=weight.dtype
    )
    layer.weight.copy_(weight)
    device = "cuda" if form in TRITON_IMPLEMENTATIONS and torch.cuda.is_available() else "cpu"
    y: Tensor = layer.to(device)(x.to(device))
    return y.cpu()


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process by default.
    """
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m bench.half_precision")
    known = (*FORMS, *TRITON_IMPLEMENTATIONS)
    parser.add_argument("--forms", nargs="+", choices=known, default=FORMS, help="[default: all but Triton's]")
    forms: Sequence[str] = parser.parse_args(arguments).forms
    print("| precision | form | " + " | ".join(f"mean {mean}" for mean in MEANS) + " |")
    print("|---|---|" + "---|" * len(MEANS))
    for dtype in _LARGEST:
        for form in forms:
            errors = (f"{measure_form(form, mean, dtype):.1e}" for mean in MEANS)
            print(f"| {str(dtype).removeprefix('torch.')} | `{form}` | " + " | ".join(errors) + " |")


if __name__ == "__main__":
    main()
