"""Backward of the compiled form: gradients to input and weight by its products, transposed.

Forward, a tile's output pixels are P·(W·(Q·x)): combinations Q of input pixels, products with the weights W of
the channels, sums P of products. So the gradient to the input is Qᵀ·Wᵀ·Pᵀ of that to the output, and the gradient
to the weights of the products is, tile by tile, Pᵀ of the gradient times Q·x: for kernel 3 and scale 2, 25
multiply-accumulates per 16 output pixels each, where the plain form has 144. The gradient to the taps is the
transposed transform of that. Exact but for rounding, as the form itself is (``axes.h`` has the sums).

Works on the memory of plain tensors and records nothing: who wants gradients of these gradients, or of many at
once, takes torch's operations.

References
----------
Lavin, Gray, "Fast algorithms for convolutional neural networks", arXiv:1509.09308 (minimal filtering, whose
gradients are products of the same kind).
"""

import itertools
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from deconvbench.upsamplers.fast.memory import is_channels_last
from deconvbench.upsamplers.fast.native.form import (
    COMPUTED_BYTES,
    NUMBER_TYPES,
    allocate,
    describe_weight,
    is_plain,
)
from deconvbench.upsamplers.fast.native.library import Gradients, Job, Library, Weights
from deconvbench.upsamplers.fast.native.plans import Plan
from deconvbench.upsamplers.fast.peaks import count_deconvolution_backward

# tiles of a band at most; more of them where sums for many channels are read and written for each
_BAND_TILES, _BAND_TILES_MANY = 64, 128
_MANY_PRODUCTS = 2**15
# input channels whose sums for the weight are held at least
_LEAST_HELD = 32
# rows of a product in registers, and what costs how much beside a multiplication of one tile: sums of a band that
# are read and written, the transformation of the weight, and a value of a tile that is gathered and combined
_PRODUCT_ROWS, _ADD, _TRANSFORM, _COMBINE = 14, 3.0, 6.0, 8.0
# what the backward pass of torch's convolution holds at least beside the input, the output and all gradients, in
# upsampled maps and in weights: by bytes of a number and whether the channels are last in memory. Sums of half
# precision are taken in float32, and rounded
_PLAIN_HELD = {(4, False): (2.0, 0.9), (4, True): (1.75, 2.0), (2, False): (3.5, 2.0), (2, True): (3.0, 2.0)}
# float32 with the channels first is re-ordered instead where maps are large
_REORDERED_MAPS = 2.9
# more than torch's deconvolution holds, with all gradients: of the 10 % that are allowed
_MEMORY_SHARE = 0.08


def fits_native_backward(
    library: Library, plan: Plan, x: Tensor, weight: Tensor, gradient: Tensor, groups: int = 1
) -> bool:
    """Say whether the compiled backward pass can be had, and holds no more than that of torch's operations.

    Parameters
    ----------
    library : Library
        From `find_library`.
    plan : Plan
        From `find_native`.
    x : Tensor, shape (N, C_in, H, W)
        The input.
    weight : Tensor, shape (C_out, C_in/groups, k, k), or (C_in, C_out/groups, k, k)
        Of the layer.
    gradient : Tensor, shape of the output
        To the output.
    groups : int
        Of the layer.
    """
    return (
        all(tensor.dtype in NUMBER_TYPES and is_plain(tensor) for tensor in (x, weight, gradient))
        and gradient.dtype == x.dtype
        # gradients of gradients are recorded
        and not torch.is_grad_enabled()
        and has_room_backward(library, plan, x, weight, groups)
    )


def has_room_backward(library: Library, plan: Plan, x: Tensor, weight: Tensor, groups: int = 1) -> bool:
    """Say whether the compiled backward pass holds no more than that of torch's operations.

    Parameters
    ----------
    library, plan, x, weight, groups
        As for `fits_native_backward`.
    """
    return _find_bands(library, plan, x, weight, groups) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bands:
    """How the work is cut.

    Parameters
    ----------
    rows : int
        Rows of tiles of a band.
    held_channels : int
        Input channels whose sums for the weight are held; for the others everything else is done again.
    packs : bool
        Whether the whole weight is transformed once, and not for each band anew.
    """

    rows: int
    held_channels: int
    packs: bool

    def estimate_cost(self, plan: Plan, in_channels: int, out_channels: int, row_tiles: int) -> float:
        """For each tile, in multiplications of it."""
        tiles = self.rows * row_tiles
        passes = -(-in_channels // self.held_channels)
        per_product = 2 * -(-tiles // _PRODUCT_ROWS) * _PRODUCT_ROWS / tiles
        per_product += (_ADD + (0 if self.packs else _TRANSFORM)) / tiles
        combined = passes * _COMBINE * (in_channels + out_channels)
        return plan.products * (in_channels * out_channels * per_product + combined)


_LEAST_BANDS = _Bands(rows=1, held_channels=_LEAST_HELD, packs=False)


def _find_bands(library: Library, plan: Plan, x: Tensor, weight: Tensor, groups: int) -> _Bands | None:
    """Choose them; None where not even the least fits."""
    batch, in_channels, height, width = x.shape
    sizes = (batch, in_channels // groups, height, width, weight.numel() // in_channels // plan.kernel_size**2)
    is_last, size = is_channels_last(x, weight), x.element_size()
    return _choose_bands(library, plan, groups, *sizes, _count_workers(library), is_last, size)


@lru_cache(maxsize=1024)
def _choose_bands(
    library: Library,
    plan: Plan,
    groups: int,
    batch: int,
    in_channels: int,
    height: int,
    width: int,
    out_channels: int,
    workers: int,
    is_last: bool,
    element_size: int,
) -> _Bands | None:
    # of all groups
    weights = groups * plan.kernel_size**2 * in_channels * out_channels
    inputs, outputs = (groups * count * batch * height * width for count in (in_channels, out_channels))
    outputs *= plan.scale_factor**2
    if plan.is_resize:
        maps, copies = _PLAIN_HELD[element_size, is_last]
        upsampled = plan.scale_factor**2 * inputs
        room = int(maps * upsampled + copies * weights)
        if (element_size, is_last) == (COMPUTED_BYTES, False):
            room = max(room, int(_REORDERED_MAPS * upsampled))
    else:
        room = count_deconvolution_backward(inputs, outputs, weights, is_channels_last=is_last)
        room += int(_MEMORY_SHARE * (room + 2 * outputs + inputs + weights))
    if element_size < COMPUTED_BYTES:
        # what is computed with has more bytes, and so have the weight and its gradient until they are rounded
        room = element_size * room // COMPUTED_BYTES - weights - weights // groups
    row_tiles = (width + 1) // 2
    tiles = _BAND_TILES_MANY if in_channels * out_channels >= _MANY_PRODUCTS else _BAND_TILES
    most_rows = min(max(tiles // row_tiles, 1), (height + 1) // 2)
    found: list[tuple[float, int, _Bands]] = []
    for rows, held in itertools.product(_halve(most_rows, 1), _halve(in_channels, _LEAST_HELD)):
        needed = library.count_backward_values(
            *(plan.index, in_channels, out_channels, width, rows, workers),
            needs_input=True,
            needs_weight=True,
            held_channels=held,
        )
        for packs in {_has_bands(batch, height, rows), False}:
            packed = _count_packed(library, plan, in_channels, out_channels) if packs else 0
            if needed + packed <= room:
                bands = _Bands(rows=rows, held_channels=held, packs=packs)
                cost = bands.estimate_cost(plan, in_channels, out_channels, row_tiles)
                found.append((cost, needed + packed, bands))
    return min(found, key=lambda ranked: ranked[:2])[2] if found else None


def _halve(most: int, least: int) -> list[int]:
    """From the most down to the least, each half of the one before."""
    sizes = [most]
    while sizes[-1] > least:
        sizes.append(max(sizes[-1] // 2, least))
    return sizes


def _has_bands(batch: int, height: int, rows: int) -> bool:
    """Whether there are several, for which the weight is transformed once."""
    return batch * height > 2 * rows


def _count_packed(library: Library, plan: Plan, in_channels: int, out_channels: int) -> int:
    """Values of the transformed weight with its channels exchanged."""
    return -(-in_channels // library.block_channels) * library.count_block_values(plan.index, out_channels)


def _count_workers(library: Library) -> int:
    return torch.get_num_threads() if library.is_threaded else 1


def run_native_backward(
    library: Library,
    plan: Plan,
    x: Tensor,
    weight: Tensor,
    gradient: Tensor,
    *,
    pads_zeros: bool = True,
    groups: int = 1,
    needs_input: bool = True,
    needs_weight: bool = True,
) -> tuple[Tensor | None, Tensor | None]:
    """Find the gradients to input and weight.

    Parameters
    ----------
    library : Library
        From `find_library`.
    plan : Plan
        From `find_native`.
    x : Tensor, shape (N, C_in, H, W)
        The input, in any strides; of one of `NUMBER_TYPES`. Sums are taken in float32.
    weight : Tensor, shape (C_out, C_in/groups, k, k), or (C_in, C_out/groups, k, k)
        Of the layer, of any of those types.
    gradient : Tensor, shape of the output, of the type of the input
        To the output, in any strides; a constant one may have strides of 0.
    pads_zeros : bool
        Zeros beyond the border; otherwise the outermost pixels are repeated.
    groups : int
        Of the layer.
    needs_input, needs_weight : bool
        Which gradients are wanted.

    Returns
    -------
    to_input : Tensor, shape of `x`, or None
        In its memory format.
    to_weight : Tensor, shape of `weight`, or None
    """
    bands = _find_bands(library, plan, x, weight, groups) or _LEAST_BANDS
    layout = torch.channels_last if is_channels_last(x) else torch.contiguous_format
    to_input = allocate(*x.shape, layout=layout, dtype=x.dtype) if needs_input else None
    to_weight = allocate(*weight.shape) if needs_weight else None
    every = zip(
        *(x.chunk(groups, 1), gradient.chunk(groups, 1), weight.chunk(groups)),
        [None] * groups if to_input is None else to_input.chunk(groups, 1),
        [None] * groups if to_weight is None else to_weight.chunk(groups),
        strict=True,
    )
    for parts in every:
        _run_group(library, plan, *parts, bands, pads_zeros=pads_zeros)
    return to_input, None if to_weight is None else to_weight.to(weight.dtype)


def _run_group(
    library: Library,
    plan: Plan,
    x: Tensor,
    gradient: Tensor,
    weight: Tensor,
    to_input: Tensor | None,
    to_weight: Tensor | None,
    bands: _Bands,
    *,
    pads_zeros: bool,
) -> None:
    """Find the gradients of one group, and put them into their places."""
    out_channels, in_channels = plan.get_channels(weight.shape)
    workers = _count_workers(library)
    kept, weights = describe_weight(plan, weight)
    # with its channels exchanged
    turned = Weights(weights.data, in_channels, out_channels, weights.si, weights.so, weights.st)
    packed = None
    if to_input is not None and bands.packs:
        packed = allocate(_count_packed(library, plan, in_channels, out_channels))
        library.pack(plan.index, turned, packed.data_ptr())
    held = library.count_backward_values(
        plan.index,
        in_channels,
        out_channels,
        x.shape[3],
        bands.rows,
        workers,
        needs_input=to_input is not None,
        needs_weight=to_weight is not None,
        held_channels=bands.held_channels,
    )
    scratch = allocate(held)
    outwards, inwards = (0, 1) if plan.is_resize else (1, 0)
    places = (0, 0) if to_weight is None else (to_weight.stride(outwards), to_weight.stride(inwards))
    library.run_backward(
        plan.index,
        Job(
            *(x.data_ptr(), None, gradient.data_ptr()),
            *(*x.shape, *x.stride(), *gradient.shape[1:], *gradient.stride()),
            *(not pads_zeros, NUMBER_TYPES[x.dtype]),
        ),
        Gradients(
            None if to_input is None else to_input.data_ptr(),
            *(x if to_input is None else to_input).stride(),
            None if to_weight is None else to_weight.data_ptr(),
            *places,
        ),
        turned,
        None if packed is None else packed.data_ptr(),
        bands.rows,
        bands.held_channels,
        workers,
        scratch.data_ptr(),
    )
    del kept  # what the weights' pointer is of
