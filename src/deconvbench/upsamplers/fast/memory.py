"""Passes over memory: the few operations that the minimal forms are made of, written so that none copies twice.

Results are written into given places, which nobody who records torch's operations could follow: what runs here is
never recorded (see `recording`). Holds no arithmetic of any form.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.upsamplers.fast.dtypes import HALF_PRECISION
from deconvbench.upsamplers.fast.peaks import Library, Sizes, count_plain

# a core's share of the cache, within a factor of two on the machines of today; bands are cut to fit it
_BAND_BYTES = 6 * 2**20
# matrix products of fewer tiles than this are slow, whatever the cache says
_LEAST_TILES = 256
# how much finer bands become, and into how many parts the channels, where memory is short
_CUTS, _CHUNKS = (1, 2, 3, 4, 6, 8), (1, 2, 4, 8)
_FEWEST_TILES = 32


def bmm(a: Tensor, b: Tensor, *, out: Tensor, accumulates: bool = False) -> None:
    """Write the matrix products a·b into `out`, or add them to it.

    Parameters
    ----------
    a : Tensor, shape (g, m, n)
        A stride of 0 between matrices is used as it is.
    b : Tensor, shape (g, n, p)
        Any strides that a matrix library takes.
    out : Tensor, shape (g, m, p)
        Where they go.
    accumulates : bool
        Add to what is there.
    """
    if accumulates:
        # not baddbmm_, which torch's flop counter does not know
        torch.baddbmm(out, a, b, out=out)
    else:
        torch.bmm(a, b, out=out)


def mm(a: Tensor, b: Tensor, *, out: Tensor, accumulates: bool = False) -> None:
    """Write the matrix product a·b into `out`, or add it to it.

    Parameters
    ----------
    a : Tensor, shape (m, n)
    b : Tensor, shape (n, p)
    out : Tensor, shape (m, p)
        Where it goes.
    accumulates : bool
        Add to what is there.
    """
    if accumulates:
        torch.addmm(out, a, b, out=out)
    else:
        torch.mm(a, b, out=out)


def pad_pixels(x: Tensor, padding: tuple[int, int, int, int], *, pads_zeros: bool) -> Tensor:
    """Pad and lay out with the channels last, in one pass.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W)
        In any layout.
    padding : (int, int, int, int)
        Columns before and after, rows before and after.
    pads_zeros : bool
        Zeros; otherwise the outermost pixels are repeated.

    Returns
    -------
    Tensor, shape (N, H', W', C), contiguous
    """
    left, right, top, bottom = padding
    pixels = x.permute(0, 2, 3, 1)
    if pads_zeros:
        return functional.pad(pixels, (0, 0, left, right, top, bottom)).contiguous()
    rows, columns = (
        torch.arange(-before, size + after, device=x.device).clamp(0, size - 1)
        for before, size, after in ((top, x.shape[2], bottom), (left, x.shape[3], right))
    )
    return pixels[:, rows[:, None], columns].contiguous()


def has_finite_sum(y: Tensor) -> bool:
    """Whether the sum of all values is finite: then each of them is. One pass, and a wait for it.

    Parameters
    ----------
    y : Tensor
        Of real floating-point numbers.

    Returns
    -------
    bool
        False also for a sum beyond the largest float32.
    """
    wide = torch.float32 if y.dtype in HALF_PRECISION else y.dtype
    return math.isfinite(y.sum(dtype=wide).item())


def identify_library(x: Tensor) -> Library:
    """Say who computes the convolutions of an image.

    Parameters
    ----------
    x : Tensor
        The image.
    """
    if x.device.type != "cpu":
        return Library.OTHER
    return Library.ONEDNN if x.dtype in {torch.float32, torch.bfloat16} else Library.PATCHES


def estimate_plain_peak(x: Tensor, out_channels: int, kernel_size: int, scale_factor: int) -> int:
    """Bytes that the plain form holds at its peak: upsampled input, output, and what the convolution re-orders.

    Parameters
    ----------
    x : Tensor, shape (N, C_in, H, W)
        Its input.
    out_channels, kernel_size, scale_factor : int
        Of the layer.

    Returns
    -------
    int
        By `peaks.count_plain`.
    """
    batch, in_channels, height, width = x.shape
    sizes = Sizes(
        pixels=batch * height * width,
        image_pixels=height * width,
        in_channels=in_channels,
        out_channels=out_channels,
        kernel_size=kernel_size,
        scale_factor=scale_factor,
        is_channels_last=is_channels_last(x),
        library=identify_library(x),
    )
    return x.element_size() * count_plain(sizes)


def is_channels_last(*tensors: Tensor) -> bool:
    """Whether a convolution of these answers with the channels last: one of them has its strides in that order.

    Parameters
    ----------
    *tensors : Tensor, shape (N, C, H, W)
        Input and weight, with gaps between their values or without.
    """
    return any(_has_channels_last(tensor.shape, tensor.stride()) for tensor in tensors)


def _has_channels_last(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Torch's own rule (``suggest_memory_format``), which it does not offer in Python.

    Where axes of length 1 leave it open, it looks at strides that make no difference, and so must this.
    """
    least = 0
    for axis in (1, 3, 2, 0):
        if shape[axis] == 0 or strides[axis] < least or (axis == 0 and least == strides[1]):
            return False
        least = strides[axis] * shape[axis]
    return strides[1] > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a minimal form holds while it works, in bytes.

    Parameters
    ----------
    batch, rows, tiles_per_row : int
        Images, rows of tiles in each, and tiles in a row.
    in_bytes, out_bytes : int
        For each tile: what the channels of the input need, and what those of the output need.
    product_bytes : int
        Transformed weights that are made on the way; 0 where they are kept.
    room_bytes : int
        What there is for all of it at once.
    """

    batch: int
    rows: int
    tiles_per_row: int
    in_bytes: int
    out_bytes: int
    product_bytes: int
    room_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """How the work is cut.

    Parameters
    ----------
    images, rows : int
        Of one band, at most: several whole images, or some rows of one.
    chunks : int
        Parts of the output channels, each with transformed weights of its own.
    fits : bool
        Whether that stays within the room.
    """

    images: int
    rows: int
    chunks: int
    fits: bool


def plan_work(demand: Demand) -> MemoryPlan:
    """Cut the work so that a band stays in the cache and everything in the room, with as few cuts as that needs.

    Parameters
    ----------
    demand : Demand
        What there is to do.
    """
    plan = _cut(demand, max(_BAND_BYTES // (demand.in_bytes + demand.out_bytes), _LEAST_TILES), 1)
    for tiles in (plan.images * plan.rows * demand.tiles_per_row // cut for cut in _CUTS):
        for chunks in _CHUNKS if demand.product_bytes else (1,):
            plan = _cut(demand, max(tiles, 1), chunks)
            if plan.fits:
                return plan
        if tiles <= _FEWEST_TILES:
            break
    return plan


def _cut(demand: Demand, tiles: int, chunks: int) -> MemoryPlan:
    """Bands of about so many tiles."""
    per_image = demand.rows * demand.tiles_per_row
    images = min(max(tiles // per_image, 1), demand.batch)
    # equal bands, so that the last one is not a stub
    bands = -(-per_image // tiles) if images == 1 else 1
    rows = -(-demand.rows // bands)
    held = images * rows * demand.tiles_per_row * (demand.in_bytes + demand.out_bytes // chunks)
    fits = held + demand.product_bytes // chunks <= demand.room_bytes
    return MemoryPlan(images=images, rows=rows, chunks=chunks, fits=fits)


def iterate_bands(demand: Demand, plan: MemoryPlan) -> Iterator[tuple[slice, slice]]:
    """Go through the bands of a plan.

    Parameters
    ----------
    demand, plan : Demand, MemoryPlan
        What there is to do, and how it is cut.

    Yields
    ------
    images, rows : slice
        Of one band.
    """
    for image in range(0, demand.batch, plan.images):
        for row in range(0, demand.rows, plan.rows):
            yield slice(image, image + plan.images), slice(row, min(row + plan.rows, demand.rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class Products:
    """Transformed weights, kept or made of the weight when they are needed.

    Parameters
    ----------
    kept : Tensor, shape (m, m, C_out, C_in), or None
        Made beforehand.
    weight : Tensor, shape (C_out, C_in, k, k)
        Of the convolution.
    make : callable
        Weight of some output channels to their products.
    """

    kept: Tensor | None
    weight: Tensor
    make: Callable[[Tensor], Tensor]

    def split(self, chunks: int) -> list[slice]:
        """Cut the output channels.

        Parameters
        ----------
        chunks : int
            Parts; one where the products are kept.
        """
        out_channels = self.weight.shape[0]
        size = out_channels if self.kept is not None else max(-(-out_channels // chunks), 1)
        return [slice(start, min(start + size, out_channels)) for start in range(0, out_channels, size)]

    def keep(self) -> "Products":
        """Make all of them now, once for all bands; the same where they are kept already."""
        return self if self.kept is not None else replace(self, kept=self.make(self.weight))

    def take(self, channels: slice) -> Tensor:
        """Products of some output channels.

        Parameters
        ----------
        channels : slice
            Of those that `split` gives.

        Returns
        -------
        Tensor, shape (m, m, C, C_in)
        """
        return self.make(self.weight[channels]) if self.kept is None else self.kept
