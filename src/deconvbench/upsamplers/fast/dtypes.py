"""Half precision: which types it is, when autocast computes in it, and what its sums are taken in.

A form that adds up taps has weights of more digits than those of the convolution. In half precision they are
rounded to as few, and taps that cancel no longer do: with kernels that sum to zero the error grows with the mean
of the input, without a bound. Sums of pixels are rounded too. So no form but the plain one is as precise there,
and ``auto`` takes no other. Knows no forms.
"""

import torch
from torch import Tensor

HALF_PRECISION = frozenset({torch.float16, torch.bfloat16})


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
