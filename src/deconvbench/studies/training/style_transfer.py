"""Fast style transfer: a picture with the texture of another one, by losses that nothing was trained for.

A texture is what the features of one layer of random filters of several sizes do on average, in pairs; the content
is what is left of a picture's light and dark without its details. The features are the same for every training
run. All filters have stride 1: a loss that subsamples would put a grid of its own into the gradients.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.measure.photographs import PHOTOGRAPHS, read_bundled
from deconvbench.studies.training.objective import Examples, Objective

if TYPE_CHECKING:
    from deconvbench.studies.training.settings import TrainingSettings

# stained tissue: coloured, with spots of one size, and without a grid of its own
STYLE_NAME = "immunohistochemistry"
# the mean of so many pixels each way: spots are some ten pixels wide then
_STYLE_SHRINK = 3
# sides of the random filters in pixels, and how many there are of each
_FILTER_SIZES, _FILTERS = (3, 5, 9, 17), 32
_FILTER_SEED = 0
# of ITU-R BT.601
_LUMINANCE = (0.299, 0.587, 0.114)
# side in pixels of the square over which light and dark are averaged: details are the style's
_CONTENT_BLUR = 5
# how much the content counts against the style
_CONTENT_WEIGHT = 10.0
_MIDDLE_GREY = 0.5


class StyleTransfer(Objective):
    """Gives photographs the texture of stained tissue.

    References
    ----------
    Johnson, Alahi, Fei-Fei, "Perceptual losses for real-time style transfer and super-resolution",
    arXiv:1603.08155 (a network that is trained for one style).
    Gatys, Ecker, Bethge, "A neural algorithm of artistic style", arXiv:1508.06576 (Gram matrices).
    Ustyuzhaninov, Brendel, Gatys, Bethge, "Texture synthesis using shallow convolutional networks with random
    filters", arXiv:1606.00021 (features that nothing was trained for).
    """

    def __init__(self, settings: "TrainingSettings") -> None:
        super().__init__(settings)
        self._filters = [bank.to(settings.device) for bank in draw_filters()]
        # in double precision, so that the order of its sums does not matter
        style = make_style_picture()[None]
        grams = [_measure_gram(style.double(), bank) for bank in draw_filters(torch.float64)]
        self._grams = [gram.to(settings.device, torch.float32) for gram in grams]

    def measure_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Measure the distance from the style, and, weighted, from the content."""
        return self.measure_style(outputs) + _CONTENT_WEIGHT * measure_content(outputs, targets)

    def measure_style(self, pictures: Tensor) -> Tensor:
        """Measure how far pictures are from the style, each by itself.

        The squared distance between the Gram matrices of a picture's features and the style's, over the squared
        size of the style's, averaged over the sizes of filters and over the pictures.

        Unit: none. Range: from 0; best: 0. Blind to where anything is.

        Parameters
        ----------
        pictures : Tensor, shape (N, 3, H, W), float32
            From 0 to 1, on the device of the settings; at least as large as the largest filters.

        Returns
        -------
        Tensor, scalar
        """
        parts = [
            (_measure_gram(pictures, bank) - gram).square().sum((1, 2)) / gram.square().sum()
            for bank, gram in zip(self._filters, self._grams, strict=True)
        ]
        return torch.stack(parts).mean()

    def score(self, outputs: Tensor, targets: Tensor) -> Mapping[str, float]:
        """Score style and content; see `Objective.score`."""
        if not bool(outputs.isfinite().all()):
            return {"style_loss": math.nan, "content_loss": math.nan}
        device = self.settings.device
        style = [float(self.measure_style(picture[None].to(device))) for picture in outputs]
        return {
            "style_loss": sum(style) / len(style),
            "content_loss": float(measure_content(outputs.double(), targets.double())),
        }

    def list_pictures(self, names: tuple[str, ...], examples: Examples) -> Mapping[str, Tensor]:
        """List the photographs, and the picture whose style is given to them as ``style``."""
        return {**super().list_pictures(names, examples), "style": make_style_picture()}


def make_style_picture() -> Tensor:
    """Make the picture whose style is transferred.

    Returns
    -------
    Tensor, shape (3, H, W), float32
        From 0 to 1.
    """
    pixels = torch.from_numpy(read_bundled(PHOTOGRAPHS[STYLE_NAME])).permute(2, 0, 1)
    # what is left over at the right and below is dropped
    return functional.avg_pool2d(pixels.to(torch.float32) / 255, _STYLE_SHRINK)


def draw_filters(dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Draw the random filters, always the same.

    Parameters
    ----------
    dtype : torch.dtype
        Of the filters.

    Returns
    -------
    list of Tensor, shape (F, 3, k, k)
        Of each size; the features of white noise of deviation 1 have deviation 1.
    """
    generator = torch.Generator().manual_seed(_FILTER_SEED)
    return [
        torch.randn(_FILTERS, 3, side, side, generator=generator).to(dtype) / math.sqrt(3 * side**2)
        for side in _FILTER_SIZES
    ]


def _measure_gram(pictures: Tensor, filters: Tensor) -> Tensor:
    """Mean products of features, (N, F, F)."""
    features = functional.conv2d(pictures - _MIDDLE_GREY, filters).relu().flatten(2)
    return features @ features.transpose(1, 2) / features.shape[-1]


def measure_content(pictures: Tensor, photographs: Tensor) -> Tensor:
    """Measure how far pictures are from the content of photographs.

    The mean square of what their light and dark differ by, averaged over 5×5 pixels.

    Unit: squares of pixel values from 0 to 1. Range: from 0; best: 0. Blind to colours and fine details.

    Parameters
    ----------
    pictures, photographs : Tensor, shape (N, 3, H, W)
        From 0 to 1.

    Returns
    -------
    Tensor, scalar
    """
    weights = torch.tensor(_LUMINANCE, dtype=pictures.dtype, device=pictures.device)[:, None, None]
    difference = ((pictures - photographs) * weights).sum(1, keepdim=True)
    return functional.avg_pool2d(difference, _CONTENT_BLUR, stride=1).square().mean()
