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

from functools import lru_cache

import torch
from torch import Tensor

from deconvbench.upsamplers.fast.memory import is_channels_last
from deconvbench.upsamplers.fast.native.form import allocate, describe_weight, is_plain
from deconvbench.upsamplers.fast.native.library import Gradients, Job, Library, Weights
from deconvbench.upsamplers.fast.native.plans import Plan
from deconvbench.upsamplers.fast.peaks import count_deconvolution_backward

# tiles of a band, as long as they fit; more of them where sums for many channels are read and written for each
_BAND_TILES, _BAND_TILES_MANY = 64, 128
_MANY_PRODUCTS = 2**15
# of the weight: its gradient's and its own copies that the library of the plain form makes, and with the channels
# last in memory
_WEIGHT_COPIES, _WEIGHT_COPIES_LAST = 3, 1
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
        all(tensor.dtype == torch.float32 and is_plain(tensor) for tensor in (x, weight, gradient))
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
    return _find_rows(library, plan, x, weight, groups) is not None


def _find_rows(library: Library, plan: Plan, x: Tensor, weight: Tensor, groups: int) -> int | None:
    """Rows of tiles of a band; None where not even one row fits."""
    batch, in_channels, height, width = x.shape
    sizes = (batch, in_channels // groups, height, width, weight.numel() // in_channels // plan.kernel_size**2)
    return _choose_rows(library, plan, groups, *sizes, _count_workers(library), is_channels_last(x, weight))


@lru_cache(maxsize=1024)
def _choose_rows(
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
) -> int | None:
    # of all groups
    weights = groups * plan.kernel_size**2 * in_channels * out_channels
    inputs, outputs = (groups * count * batch * height * width for count in (in_channels, out_channels))
    outputs *= plan.scale_factor**2
    if plan.is_resize:
        # what torch holds beside input, output and their gradients: weights in another order, and the upsampled
        # map and its gradient
        copies = _WEIGHT_COPIES_LAST if is_last else _WEIGHT_COPIES
        room = 2 * plan.scale_factor**2 * inputs + copies * weights
    else:
        room = count_deconvolution_backward(inputs, outputs, weights, is_channels_last=is_last)
        room += int(_MEMORY_SHARE * (room + 2 * outputs + inputs + weights))
    tiles = _BAND_TILES_MANY if in_channels * out_channels >= _MANY_PRODUCTS else _BAND_TILES
    rows = min(max(tiles // ((width + 1) // 2), 1), (height + 1) // 2)
    while rows:
        held = library.count_backward_values(
            plan.index, in_channels, out_channels, width, rows, workers, needs_input=True, needs_weight=True
        )
        if _has_bands(batch, height, rows):
            held += _count_packed(library, plan, in_channels, out_channels)
        if held <= room:
            return rows
        rows //= 2
    return None


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
    x : Tensor, shape (N, C_in, H, W), float32
        The input, in any strides.
    weight : Tensor, shape (C_out, C_in/groups, k, k), or (C_in, C_out/groups, k, k), float32
        Of the layer.
    gradient : Tensor, shape of the output, float32
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
    rows = _find_rows(library, plan, x, weight, groups) or 1
    layout = torch.channels_last if is_channels_last(x) else torch.contiguous_format
    to_input = allocate(*x.shape, layout=layout) if needs_input else None
    to_weight = allocate(*weight.shape) if needs_weight else None
    every = zip(
        *(x.chunk(groups, 1), gradient.chunk(groups, 1), weight.chunk(groups)),
        [None] * groups if to_input is None else to_input.chunk(groups, 1),
        [None] * groups if to_weight is None else to_weight.chunk(groups),
        strict=True,
    )
    for parts in every:
        _run_group(library, plan, *parts, rows, pads_zeros=pads_zeros)
    return to_input, to_weight


def _run_group(
    library: Library,
    plan: Plan,
    x: Tensor,
    gradient: Tensor,
    weight: Tensor,
    to_input: Tensor | None,
    to_weight: Tensor | None,
    rows: int,
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
    if to_input is not None and _has_bands(x.shape[0], x.shape[2], rows):
        packed = allocate(_count_packed(library, plan, in_channels, out_channels))
        library.pack(plan.index, turned, packed.data_ptr())
    held = library.count_backward_values(
        plan.index,
        in_channels,
        out_channels,
        x.shape[3],
        rows,
        workers,
        needs_input=to_input is not None,
        needs_weight=to_weight is not None,
    )
    scratch = allocate(held)
    outwards, inwards = (0, 1) if plan.is_resize else (1, 0)
    places = (0, 0) if to_weight is None else (to_weight.stride(outwards), to_weight.stride(inwards))
    library.run_backward(
        plan.index,
        Job(
            *(x.data_ptr(), None, gradient.data_ptr()),
            *(*x.shape, *x.stride(), *gradient.shape[1:], *gradient.stride()),
            not pads_zeros,
        ),
        Gradients(
            None if to_input is None else to_input.data_ptr(),
            *(x if to_input is None else to_input).stride(),
            None if to_weight is None else to_weight.data_ptr(),
            *places,
        ),
        turned,
        None if packed is None else packed.data_ptr(),
        rows,
        workers,
        scratch.data_ptr(),
    )
    del kept  # what the weights' pointer is of
