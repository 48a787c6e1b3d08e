"""Backward of the compiled form: gradients to input and weight by its 25 products, transposed.

Forward, a tile's 4×4 output pixels are P·(W·(Q·x)): combinations Q of input pixels, products with the weights W of
the channels, sums P of products. So the gradient to the input is Qᵀ·Wᵀ·Pᵀ of that to the output, and the gradient
to the weights of the products is, tile by tile, Pᵀ of the gradient times Q·x: 25 multiply-accumulates per 16
output pixels each, where the plain form has 144. The gradient to the nine taps is the transposed transform of
that. Exact but for rounding, as the form itself is (`tiled` has its matrices).

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
from deconvbench.upsamplers.fast.native.library import Gradients, Job, Library

# tiles of a band, as long as they fit; more of them where sums for many channels are read and written for each
_BAND_TILES, _BAND_TILES_MANY = 64, 128
_MANY_PRODUCTS = 2**15
# of the weight: its gradient's and its own copies that the library of the plain form makes
_WEIGHT_COPIES = 3


def fits_native_backward(library: Library, x: Tensor, weight: Tensor, gradient: Tensor) -> bool:
    """Say whether the compiled backward pass can be had, and holds no more than the plain form's.

    Parameters
    ----------
    library : Library
        From `find_library`.
    x : Tensor, shape (N, C_in, H, W)
        The input.
    weight : Tensor, shape (C_out, C_in, 3, 3)
        Of the convolution.
    gradient : Tensor, shape (N, C_out, 2H, 2W)
        To the output.
    """
    return (
        all(tensor.dtype == torch.float32 and is_plain(tensor) for tensor in (x, weight, gradient))
        # gradients of gradients are recorded
        and not torch.is_grad_enabled()
        and _find_rows(library, x, weight) is not None
    )


def _find_rows(library: Library, x: Tensor, weight: Tensor) -> int | None:
    """Rows of tiles of a band; None where not even one row fits."""
    return _choose_rows(library, *x.shape, weight.shape[0], _count_workers(library))


@lru_cache(maxsize=1024)
def _choose_rows(
    library: Library, batch: int, in_channels: int, height: int, width: int, out_channels: int, workers: int
) -> int | None:
    # what the plain form holds beside input, output and their gradients: the upsampled map and its gradient, and
    # weights in another order
    room = 8 * batch * in_channels * height * width + _WEIGHT_COPIES * 9 * in_channels * out_channels
    tiles = _BAND_TILES_MANY if in_channels * out_channels >= _MANY_PRODUCTS else _BAND_TILES
    rows = min(max(tiles // ((width + 1) // 2), 1), (height + 1) // 2)
    while rows:
        held = library.count_backward_values(
            in_channels, out_channels, width, rows, workers, needs_input=True, needs_weight=True
        )
        if held <= room:
            return rows
        rows //= 2
    return None


def _count_workers(library: Library) -> int:
    return torch.get_num_threads() if library.is_threaded else 1


def run_native_backward(
    library: Library,
    x: Tensor,
    weight: Tensor,
    gradient: Tensor,
    *,
    pads_zeros: bool,
    needs_input: bool = True,
    needs_weight: bool = True,
) -> tuple[Tensor | None, Tensor | None]:
    """Find the gradients to input and weight.

    Parameters
    ----------
    library : Library
        From `find_library`.
    x : Tensor, shape (N, C_in, H, W), float32
        The input, in any strides.
    weight : Tensor, shape (C_out, C_in, 3, 3), float32
        Of the convolution.
    gradient : Tensor, shape (N, C_out, 2H, 2W), float32
        To the output, in any strides; a constant one may have strides of 0.
    pads_zeros : bool
        Zeros beyond the border; otherwise the outermost pixels are repeated.
    needs_input, needs_weight : bool
        Which gradients are wanted.

    Returns
    -------
    to_input : Tensor, shape of `x`, or None
        In its memory format.
    to_weight : Tensor, shape of `weight`, or None
    """
    out_channels, in_channels = weight.shape[:2]
    workers = _count_workers(library)
    rows = _find_rows(library, x, weight) or 1
    layout = torch.channels_last if is_channels_last(x) else torch.contiguous_format
    to_input = allocate(*x.shape, layout=layout) if needs_input else None
    to_weight = allocate(out_channels, in_channels, 3, 3) if needs_weight else None
    turned, turned_weights = describe_weight(weight.transpose(0, 1).contiguous())
    packed = None
    if needs_input and x.shape[0] * x.shape[2] > 2 * rows:
        # for the first of several bands
        blocks = -(-in_channels // library.block_channels)
        packed = allocate(blocks * library.count_block_values(out_channels))
        library.pack(turned_weights, packed.data_ptr())
    held = library.count_backward_values(
        in_channels,
        out_channels,
        x.shape[3],
        rows,
        workers,
        needs_input=needs_input,
        needs_weight=needs_weight,
    )
    scratch = allocate(held)
    library.run_backward(
        Job(
            *(x.data_ptr(), None, gradient.data_ptr()),
            *(*x.shape, *x.stride(), out_channels, *gradient.stride()),
            not pads_zeros,
        ),
        Gradients(
            None if to_input is None else to_input.data_ptr(),
            *(x if to_input is None else to_input).stride(),
            None if to_weight is None else to_weight.data_ptr(),
        ),
        turned_weights,
        None if packed is None else packed.data_ptr(),
        rows,
        workers,
        scratch.data_ptr(),
    )
    del turned  # what the weights' pointer is of
    return to_input, to_weight
