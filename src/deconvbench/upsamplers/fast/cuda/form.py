"""The Triton forms behind the interface of the others: whether they can be had, their weights, and running them.

Works on the memory of plain tensors. Autograd, compilers and modes that watch torch's operations do not see it, so
it is not asked where one of them is active. Triton is imported by the first call, not before.

Which precision is exact enough: ``minimal_triton`` multiplies pixels and taps as they are and sums in float32, so
it is as exact as the plain form in every type. ``tiled_triton`` rounds combinations of four pixels and of nine
taps once, after sums in float32, to the type of the input: in half precision that is some 1.5 to 2 times the error
of the plain form, whatever the mean of the input, which only the sum of all taps meets. In float32 products are
those of TF32 where torch's convolutions may use it (`torch.backends.cudnn`), else of float32.
"""

import importlib.util
from functools import cache

import torch
from torch import Tensor, nn

from deconvbench.errors import UsageError
from deconvbench.upsamplers.fast.memory import is_channels_last

TRITON_IMPLEMENTATIONS = ("minimal_triton", "tiled_triton")
TRITON_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def explain_absence(name: str, x: Tensor) -> str | None:
    """Say why a Triton form cannot compute an input here, or None where it can.

    Parameters
    ----------
    name : str
        Of the form.
    x : Tensor
        The input.

    Returns
    -------
    str or None
        One line.
    """
    if x.dtype not in TRITON_DTYPES:
        found = str(x.dtype).removeprefix("torch.")
        return f"{name} is for float32, bfloat16 and float16, not {found}"
    if not has_triton():
        return f"{name} needs the package triton, which is not installed (pip install triton)"
    if x.device.type != "cuda" and not (x.device.type == "cpu" and is_interpreted()):
        return f"{name} needs a CUDA device: the input is on {x.device}"
    return None


def check_input(name: str, x: Tensor) -> None:
    """Raise where a Triton form cannot compute an input here.

    Parameters
    ----------
    name : str
        Of the form.
    x : Tensor
        The input.

    Raises
    ------
    UsageError
        As `explain_absence` says.
    """
    objection = explain_absence(name, x)
    if objection is not None:
        raise UsageError(f"implementation: {objection}")


@cache
def has_triton() -> bool:
    """Whether Triton is installed, without importing it."""
    return importlib.util.find_spec("triton") is not None


@cache
def is_interpreted() -> bool:
    """Whether Triton interprets kernels (TRITON_INTERPRET=1), so that they run on a CPU too, slowly."""
    from deconvbench.upsamplers.fast.cuda.launching import IS_INTERPRETED

    return IS_INTERPRETED


def find_precision(dtype: torch.dtype) -> str:
    """Name the precision of products, as torch's convolutions have it.

    Parameters
    ----------
    dtype : torch.dtype
        Of the operands.

    Returns
    -------
    str
        ``tf32`` or ``ieee``; the latter also for half precision, whose products are exact.
    """
    if dtype != torch.float32:
        return "ieee"
    return "tf32" if torch.backends.cudnn.conv.fp32_precision == "tf32" else "ieee"  # type: ignore[attr-defined] # made at import


def is_plain(tensor: Tensor) -> bool:
    """Say whether a tensor's values are where it says.

    Parameters
    ----------
    tensor : Tensor
        Any.
    """
    return (
        type(tensor) in {Tensor, nn.Parameter}
        and tensor.layout == torch.strided
        and not tensor.is_neg()
        # many gradients at once, of which no transformation tells
        and not torch._C._functorch.is_legacy_batchedtensor(tensor)
    )


def prepare_triton(implementation: str, weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Make the matrices of a form's products.

    Parameters
    ----------
    implementation : str
        ``minimal_triton`` or ``tiled_triton``.
    weight : Tensor, shape (C_out, C_in, 3, 3)
        Of the convolution.
    dtype : torch.dtype
        Of the input.

    Returns
    -------
    Tensor, shape (9 or 25, C_out, C_in)
        Rounded once, from sums in float32.
    """
    from deconvbench.upsamplers.fast.cuda.launching import transform

    precision = find_precision(dtype)
    return transform(weight.resolve_neg(), dtype, precision, is_tiled=implementation == "tiled_triton")


def run_triton(
    implementation: str,
    x: Tensor,
    weight: Tensor,
    prepared: Tensor | None,
    bias: Tensor | None,
    *,
    pads_zeros: bool,
) -> Tensor:
    """Upsample by two and convolve.

    Parameters
    ----------
    implementation : str
        ``minimal_triton`` or ``tiled_triton``.
    x : Tensor, shape (N, C_in, H, W)
        Any H, W ≥ 1 and any strides; float32, bfloat16 or float16.
    weight : Tensor, shape (C_out, C_in, 3, 3)
        Of the convolution.
    prepared : Tensor or None
        From `prepare_triton`, if it is at hand.
    bias : Tensor, shape (C_out,), or None
        Added to every pixel.
    pads_zeros : bool
        Zeros beyond the border; otherwise the outermost pixels are repeated.

    Returns
    -------
    Tensor, shape (N, C_out, 2H, 2W)
        With the channels last in memory where input or weight have them so.
    """
    from deconvbench.upsamplers.fast.cuda.launching import run_forward

    matrices = prepare_triton(implementation, weight, x.dtype) if prepared is None else prepared
    out_channels = weight.shape[0]
    layout = torch.channels_last if is_channels_last(x, weight) else torch.contiguous_format
    shape = (x.shape[0], out_channels, 2 * x.shape[2], 2 * x.shape[3])
    y = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)
    # as torch would have it, or else its error: what is called below believes everything
    bias = None if bias is None else bias.to(x).expand(out_channels).contiguous()
    name = implementation.removesuffix("_triton")
    run_forward(name, x.resolve_neg(), matrices, bias, y, find_precision(x.dtype), pads_zeros=pads_zeros)
    return y
