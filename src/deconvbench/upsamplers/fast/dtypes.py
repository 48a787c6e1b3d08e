"""Half precision: which types it is, when autocast computes in it, and what its sums are taken in.

A form that adds up taps has weights of more digits than those of the convolution. In half precision they are
rounded to as few, and taps that cancel no longer do: with kernels that sum to zero the error grows with the mean
of the input, without a bound. Sums of pixels are rounded too. So of the forms made of torch's operations none but
the plain one is as precise there. The compiled form computes in float32 and rounds its output once, as the plain
form does; ``auto`` takes it or the plain one. Knows no forms.
"""

import functools
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

HALF_PRECISION = frozenset({torch.float16, torch.bfloat16})


@functools.cache
def multiplies_fast(dtype: torch.dtype) -> bool:
    """Say whether this processor multiplies matrices of half precision many times as fast as those of float32.

    Parameters
    ----------
    dtype : torch.dtype
        Of half precision.

    Returns
    -------
    bool
        With Intel's AMX, and with its instructions for float16 (AVX512-FP16); also where torch does not tell.
    """
    has_units = getattr(torch.cpu, "_is_amx_tile_supported", None)
    if has_units is None or has_units():
        return True
    if dtype != torch.float16:
        return False
    has_numbers = getattr(torch.ops.mkldnn, "_is_mkldnn_fp16_supported", None)
    return has_numbers is None or bool(has_numbers())


def find_autocast_dtype(x: Tensor) -> torch.dtype | None:
    """Find the dtype that autocast makes a convolution of an image compute in.

    Parameters
    ----------
    x : Tensor
        The image.

    Returns
    -------
    torch.dtype or None
        None where autocast is off, and for float64, which torch's own convolutions leave alone under it.
    """
    device = x.device.type
    if x.dtype == torch.float64 or not torch.amp.is_autocast_available(device):
        return None
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None


def suspend_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Switch autocast off for a while where it is on: what is computed has its types already.

    Parameters
    ----------
    x : Tensor
        On the device in question.
    """
    return nullcontext() if find_autocast_dtype(x) is None else torch.autocast(x.device.type, enabled=False)


def is_half_precision(*operands: object) -> bool:
    """Say whether a convolution computes in half precision.

    Parameters
    ----------
    *operands : Any
        Its operands; only those that are tensors count.

    Returns
    -------
    bool
        Whether one of them is of half precision, or autocast makes it so.
    """
    return any(
        isinstance(operand, Tensor) and (find_autocast_dtype(operand) or operand.dtype) in HALF_PRECISION
        for operand in operands
    )


def widen(values: Tensor) -> Tensor:
    """Convert half precision to float32, to take sums in; the same tensor in other types.

    Parameters
    ----------
    values : Tensor
        Of any floating-point type.
    """
    return values.float() if values.dtype in HALF_PRECISION else values
