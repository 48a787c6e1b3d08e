"""Computing what an expression describes.

The slow way, with the operations that it stands for; exact to the bit.
"""

import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.networks.fusion.expressions import LazyExpression


def evaluate(expression: LazyExpression[Tensor]) -> Tensor:
    """Compute what an expression describes, with the operations that it was written down from.

    Parameters
    ----------
    expression : LazyExpression of Tensor
        The image.

    Returns
    -------
    Tensor, shape (N, C, H, W)
    """
    images = [
        part.source
        if part.scale == 1
        else functional.interpolate(part.source, scale_factor=part.scale, mode="nearest")
        for part in expression.parts
    ]
    image = images[0] if len(images) == 1 else torch.cat(images, 1)
    if expression.padding:
        mode = "constant" if expression.padding_mode == "zeros" else expression.padding_mode
        image = functional.pad(image, [expression.padding] * 4, mode=mode)
    return image


def count_changes(tensor: Tensor) -> int | None:
    """Count the in-place changes of a tensor; None where torch does not count them.

    Parameters
    ----------
    tensor : Tensor
        Any.
    """
    return None if tensor.is_inference() else tensor._version
