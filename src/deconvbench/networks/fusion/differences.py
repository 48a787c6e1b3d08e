"""How far one tensor is from another.

Knows nothing of models.
"""

import torch
from torch import Tensor


def compare(expected: Tensor, found: Tensor, floor: float = 0.0) -> float:
    """Measure how far a tensor is from the expected one.

    Parameters
    ----------
    expected, found : Tensor
        Of one shape.
    floor : float
        Least magnitude that the difference is divided by.

    Returns
    -------
    float
        Largest difference over the largest expected magnitude; infinite where only one is a number.
    """
    if expected.shape != found.shape or expected.dtype != found.dtype:
        return float("inf")
    if not expected.numel() or torch.equal(expected, found):
        return 0.0
    wide = torch.complex128 if expected.is_complex() else torch.float64
    expected, found = expected.detach().to(wide), found.detach().to(wide)
    is_finite = torch.isfinite(expected) & torch.isfinite(found)
    if not torch.allclose(expected[~is_finite], found[~is_finite], equal_nan=True):
        return float("inf")
    difference = torch.where(is_finite, expected - found, 0).abs().max()
    magnitude = (
        torch.where(is_finite, expected, 0).abs().max().clamp(min=max(floor, torch.finfo(torch.float64).tiny))
    )
    return float(difference / magnitude)
