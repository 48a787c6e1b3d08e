"""Computing an image that is known by its expression, with operations that repeat and move pixels only.

What is done where nothing is gained, and what everything else is compared with.
"""

import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.networks.fusion.expressions import LazyExpression, Scales


def upsample(x: Tensor, scales: Scales) -> Tensor:
    """Upsample rows and columns, the last two axes, by nearest neighbour.

    Parameters
    ----------
    x : Tensor, shape (…, H, W)
        With at least two axes before rows and columns.
    scales : (int, int)
        Of rows and of columns.
    """
    if scales == (1, 1):
        return x
    if x.ndim == 4:
        return functional.interpolate(x, scale_factor=scales, mode="nearest")
    frames = functional.interpolate(x.reshape(1, -1, *x.shape[-2:]), scale_factor=scales, mode="nearest")
    return frames.reshape(*x.shape[:-2], *frames.shape[-2:])


def evaluate(expression: LazyExpression[Tensor]) -> Tensor:
    """Compute what an expression describes, with operations that repeat and move pixels only.

    Parameters
    ----------
    expression : LazyExpression of Tensor
        The image.

    Returns
    -------
    Tensor, shape (N, C, H, W), or with more or fewer axes before rows and columns
    """
    images = [upsample(part.source, part.scales) for part in expression.parts]
    image = images[0] if len(images) == 1 else torch.cat(images, 1)
    if expression.padding:
        mode = "constant" if expression.padding_mode == "zeros" else expression.padding_mode
        # of a video, no frames
        frames = [0, 0] if image.ndim == 5 else []
        image = functional.pad(image, [*expression.padding, *frames], mode=mode)
    return image
