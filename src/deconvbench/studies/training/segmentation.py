"""Semantic segmentation: shapes on photographs, drawn anew for each step, to be told apart pixel by pixel.

The classes are kept, scored and shown as pictures: red is the probability of the first shape, green of the second,
blue of the third, and black that of the background. Everything is a function of its arguments.
"""

import math
from collections.abc import Mapping

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from deconvbench.records.training_tasks import SHAPES
from deconvbench.studies.training.objective import Examples, Objective

# apart from whatever else is drawn from the same seed and step
_STREAM = 1
# shapes on 64×64 pixels, fewest and most, and what they have as a disc: radius in pixels
_COUNTS, _DENSITY_SIDE = (2, 4), 64
_RADII = (7.0, 16.0)
# how much of a shape is its own colour, least and most; the rest is the photograph
_OPACITIES = (0.5, 0.9)
# a shape has much of one colour, discs of red, squares of green and triangles of blue, and some of the others:
# with colours of any kind, 800 steps of batch 2 told shapes from the background and not from each other
_OWN_COLOUR, _OTHER_COLOURS = (0.5, 1.0), (0.0, 0.6)
# half the side of a square, and radius of the circle within an equilateral triangle, of the disc's area
_HALF_SIDE = math.sqrt(math.pi) / 2
_TRIANGLE_INRADIUS = math.sqrt(math.pi / math.sqrt(27))
_TRIANGLE_NORMALS = tuple(2 * math.pi * turn / 3 for turn in range(3))


class Segmentation(Objective):
    """Tells discs, squares and triangles on photographs apart.

    References
    ----------
    Long, Shelhamer, Darrell, "Fully convolutional networks for semantic segmentation", CVPR 2015,
    arXiv:1411.4038 (which upsample by deconvolutions; mean IU).
    """

    def make_examples(self, photographs: Tensor, chance: tuple[int, ...]) -> Examples:
        """Draw shapes on photographs; see `Objective.make_examples`."""
        drawn = [draw_shapes(photograph, (*chance, index)) for index, photograph in enumerate(photographs)]
        return Examples(
            inputs=torch.stack([picture for picture, _ in drawn]),
            targets=torch.stack([truth for _, truth in drawn]),
        )

    def measure_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross entropy of the class of each pixel; `outputs` are logits, the background first."""
        return functional.cross_entropy(outputs, find_classes(targets))

    def show(self, network: nn.Module) -> nn.Module:
        """Give the network with probabilities of the shapes as its outputs."""
        return ShapeProbabilities(network)

    def score(self, outputs: Tensor, targets: Tensor) -> Mapping[str, float]:
        """Score the map of the most probable classes; see `Objective.score`."""
        if not bool(outputs.isfinite().all()):
            return {"miou": math.nan, "boundary_error_px": math.nan}
        found, truth = find_classes(outputs), find_classes(targets)
        return {"miou": measure_miou(found, truth), "boundary_error_px": measure_boundary_error(found, truth)}

    def list_pictures(self, names: tuple[str, ...], examples: Examples) -> Mapping[str, Tensor]:
        """List the true maps, and the pictures that they are of as ``NAME-input``."""
        inputs = {f"{name}-input": picture for name, picture in zip(names, examples.inputs, strict=True)}
        return {**super().list_pictures(names, examples), **inputs}


class ShapeProbabilities(nn.Module):
    """Probabilities of the shapes, (N, 3, H, W), from a network that gives logits with the background first."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Give the probabilities for pictures (N, 3, H, W)."""
        probabilities: Tensor = self.network(x).float().softmax(1)
        return probabilities[:, 1:]


def find_classes(pictures: Tensor) -> Tensor:
    """Find the most probable class of each pixel.

    Parameters
    ----------
    pictures : Tensor, shape (N, 3, H, W)
        Probabilities of the shapes; the rest is that of the background.

    Returns
    -------
    Tensor, shape (N, H, W), int64
        0: background; otherwise 1 and the index in `SHAPES`.
    """
    return torch.cat([1 - pictures.sum(1, keepdim=True), pictures], 1).argmax(1)


def draw_shapes(photograph: Tensor, chance: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Draw shapes on a photograph: of any place, size and direction, one over the other, half seen through.

    Parameters
    ----------
    photograph : Tensor, shape (3, S, S), float32
        From 0 to 1.
    chance : tuple of int
        Seeds them; not negative.

    Returns
    -------
    picture : Tensor, shape (3, S, S), float32
        With the shapes, their edges smoothed over a pixel.
    truth : Tensor, shape (3, S, S), float32
        1 where a pixel's centre is within a shape, of each of `SHAPES`; 0 elsewhere.
    """
    rng = np.random.default_rng((*chance, _STREAM))
    side = photograph.shape[-1]
    picture, truth = photograph.clone(), torch.zeros_like(photograph)
    places = torch.arange(side, dtype=torch.float32) + 0.5
    for _ in range(_count_shapes(rng, side)):
        kind = int(rng.integers(len(SHAPES)))
        top, left = rng.uniform(0, side, 2).tolist()
        radius, turn, opacity = (rng.uniform(*bounds) for bounds in (_RADII, (0, 2 * math.pi), _OPACITIES))
        colour = torch.tensor(_choose_colour(rng, kind), dtype=torch.float32)[:, None, None]
        outside = _measure_outside(kind, places[:, None] - top, places - left, radius, turn)
        share = opacity * (0.5 - outside).clamp(0, 1)
        picture = picture + share * (colour - picture)
        truth *= outside >= 0
        truth[kind] += outside < 0
    return picture, truth


def _choose_colour(rng: np.random.Generator, kind: int) -> list[float]:
    """More of the shape's own colour than of the others, as things in photographs have colours of their kind."""
    colour = rng.uniform(*_OTHER_COLOURS, len(SHAPES))
    colour[kind] = rng.uniform(*_OWN_COLOUR)
    return [float(share) for share in colour]


def _count_shapes(rng: np.random.Generator, side: int) -> int:
    """As many as the area holds at the usual density."""
    fewest, most = (max(1, round(count * (side / _DENSITY_SIDE) ** 2)) for count in _COUNTS)
    return int(rng.integers(fewest, most + 1))


def _measure_outside(kind: int, down: Tensor, across: Tensor, radius: float, turn: float) -> Tensor:
    """Distance of each pixel from the sides of a shape about the origin, negative within."""
    shape = SHAPES[kind]
    if shape == "disc":
        return (down.square() + across.square()).sqrt() - radius
    if shape == "square":
        x = across * math.cos(turn) + down * math.sin(turn)
        y = down * math.cos(turn) - across * math.sin(turn)
        return torch.maximum(x.abs(), y.abs()) - radius * _HALF_SIDE
    sides = [across * math.cos(turn + normal) + down * math.sin(turn + normal) for normal in _TRIANGLE_NORMALS]
    return torch.stack(sides).amax(0) - radius * _TRIANGLE_INRADIUS


def measure_miou(found: Tensor, truth: Tensor) -> float:
    """Measure the mean intersection over union.

    Over the classes that a map has anywhere, each counted over all maps together.

    Unit: none. Range: 0 to 1; best: 1. Blind to where errors are: a jagged edge costs as much as a small gap.

    Parameters
    ----------
    found, truth : Tensor, shape (N, H, W), int64
        Classes.

    Returns
    -------
    float

    References
    ----------
    Long, Shelhamer, Darrell, arXiv:1411.4038.
    """
    shares = []
    for label in range(1 + len(SHAPES)):
        one, other = found == label, truth == label
        union = int((one | other).sum())
        if union:
            shares.append(int((one & other).sum()) / union)
    return sum(shares) / len(shares)


def measure_boundary_error(found: Tensor, truth: Tensor) -> float:
    """Measure how far the edges of maps are from where they should be.

    The mean distance from a pixel on an edge of one map to the nearest on an edge of the other, over the pixels of
    both (average symmetric surface distance). On an edge are pixels with a neighbour of another class below or to
    the right. Where a map has no edge at all, its pixels count as a picture's side away.

    Unit: pixels. Range: from 0; best: 0. Sees: jagged and displaced edges, and shapes that are missing.
    Blind to: which class is on which side.

    Parameters
    ----------
    found, truth : Tensor, shape (N, H, W), int64
        Classes.

    Returns
    -------
    float
        0 where no map has an edge.

    References
    ----------
    Heimann et al., "Comparison and evaluation of methods for liver segmentation from CT datasets", IEEE Trans.
    Medical Imaging 28 (2009).
    """
    total, count = 0.0, 0
    for one, other in zip(found, truth, strict=True):
        edges = [_find_edges(one), _find_edges(other)]
        for edge, against in (edges, edges[::-1]):
            far = ndimage.distance_transform_edt(~against) if against.any() else np.full(edge.shape, len(edge))
            total += float(far[edge].sum())
            count += int(edge.sum())
    return total / count if count else 0.0


def _find_edges(classes: Tensor) -> "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]":
    is_edge = torch.zeros_like(classes, dtype=torch.bool)
    is_edge[:-1] |= classes[1:] != classes[:-1]
    is_edge[:, :-1] |= classes[:, 1:] != classes[:, :-1]
    return is_edge.numpy()
