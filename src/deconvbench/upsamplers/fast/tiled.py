"""The tiled minimal form of nearest ×2 + convolution 3: 25 products for 16 output pixels.

A Toom-Cook (Winograd-like) algorithm for a filter whose input repeats. Along one axis two input pixels x₀, x₁ with
their neighbours x₋₁, x₂ give four output pixels from five products instead of twelve:

    A = x₋₁ − x₁,  B = x₀ + x₁,  D = x₁ − x₀,  E = x₂ − x₀
    a = w₀·A,  b = ½(w₀+w₁+w₂)·B,  e = w₂·E,  f = ½(−w₀+w₁+w₂)·D,  g = ½(w₀+w₁−w₂)·D
    y₀ = b − f + a,   y₁ = b − g,   y₂ = b + f,   y₃ = b + g + e

(Check y₀ = w₀x₋₁ + (w₁+w₂)x₀: b − f = ½(2w₀)x₁ + ½(2w₁+2w₂)x₀, and a adds w₀(x₋₁ − x₁).) In two dimensions the
algorithm is nested: 4×4 combinations of input pixels, 5×5 products over the channels, 4×4 output pixels. That is
25/16 = 1.5625 multiply-accumulates per output pixel, where the plain form has 9 and a transposed convolution of
kernel 3 and stride 2 has 2.25. The price is additions, that is passes over memory, so everything here is about few
passes: products are accumulated in place where they have one destination, the two that share D share its
combination, and the work is done in bands of rows that stay in the cache. (`native` is the same form compiled,
whose passes are over the cache only.)

No earlier description of this form is known to us; see References for what it builds on. It is exact but for
rounding (relative to float64 some 3e-7 in float32), and may be used for kernel 3 and scale 2 only.

References
----------
Lavin, Gray, "Fast algorithms for convolutional neural networks", arXiv:1509.09308 (minimal filtering).
Winograd, "Arithmetic complexity of computations", SIAM 1980.
"""

import torch
from torch import Tensor

from deconvbench.upsamplers.fast.memory import (
    Demand,
    Products,
    bmm,
    estimate_plain_peak,
    is_channels_last,
    iterate_bands,
    pad_pixels,
    plan_work,
)
from deconvbench.upsamplers.fast.weights import stack_products

KERNEL_SIZE, SCALE_FACTOR = 3, 2
# products a, b, e, f, g; the combinations A, B, E, D of the input come in this order too, D serving f and g
_PRODUCTS = ((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.0, 0.0, 1.0), (-0.5, 0.5, 0.5), (0.5, 0.5, -0.5))
MACS_PER_TILE = len(_PRODUCTS) ** 2
# what is alive at once for each tile, in values per channel: 16 combinations and the 8 that they are made of;
# 4 columns of 5 row products, and with the channels first the 16 pixels, otherwise 2 columns that others share
_IN_VALUES, _OUT_VALUES_PLANES, _OUT_VALUES_PIXELS = 24, 36, 30


def prepare_tiled(weight: Tensor) -> Tensor:
    """Weights of the 5×5 products.

    Parameters
    ----------
    weight : Tensor, shape (C_out, C_in, 3, 3)
        Weight of the convolution.

    Returns
    -------
    Tensor, shape (5, 5, C_out, C_in)
        Product along the columns first, then along the rows.
    """
    return stack_products(weight, _PRODUCTS, columns_first=True)


def demand_tiled(x: Tensor, out_channels: int, *, is_prepared: bool) -> Demand:
    """Say what the form holds while it works.

    Parameters
    ----------
    x : Tensor, shape (N, C_in, H, W)
        Its input.
    out_channels : int
        Of the layer.
    is_prepared : bool
        Whether the products are kept.

    Returns
    -------
    Demand
        Its room is what the plain form takes, less output and padded input.
    """
    batch, in_channels, height, width = x.shape
    tile_rows, tile_columns = (height + 1) // 2, (width + 1) // 2
    size = x.element_size()
    padded = batch * (2 * tile_rows + 2) * (2 * tile_columns + 2) * in_channels * size
    output = 16 * batch * tile_rows * tile_columns * out_channels * size
    out_values = _OUT_VALUES_PIXELS if is_channels_last(x) else _OUT_VALUES_PLANES
    return Demand(
        batch=batch,
        rows=tile_rows,
        tiles_per_row=tile_columns,
        in_bytes=_IN_VALUES * in_channels * size,
        out_bytes=out_values * out_channels * size,
        product_bytes=0 if is_prepared else MACS_PER_TILE * in_channels * out_channels * size,
        room_bytes=estimate_plain_peak(x, out_channels, KERNEL_SIZE, SCALE_FACTOR) - padded - output,
    )


def run_tiled(x: Tensor, products: Products, bias: Tensor | None, *, pads_zeros: bool) -> Tensor:
    """Upsample by two and convolve.

    Parameters
    ----------
    x : Tensor, shape (N, C_in, H, W)
        Any H, W ≥ 1; odd sizes are padded to even and the surplus is cropped.
    products : Products
        As from `prepare_tiled`.
    bias : Tensor, shape (C_out,), or None
        Added to every pixel.
    pads_zeros : bool
        Zeros beyond the border; otherwise the outermost pixels are repeated.

    Returns
    -------
    Tensor, shape (N, C_out, 2H, 2W)
        In the memory format of the input.
    """
    _, _, height, width = x.shape
    has_last = is_channels_last(x)
    out_channels = products.weight.shape[0]
    demand = demand_tiled(x, out_channels, is_prepared=products.kept is not None)
    plan = plan_work(demand)
    products = products.keep() if plan.chunks == 1 else products
    padded = pad_pixels(x, (1, 1 + width % 2, 1, 1 + height % 2), pads_zeros=pads_zeros)
    size = (4 * demand.rows, 4 * demand.tiles_per_row)
    y = x.new_empty((x.shape[0], *size, out_channels) if has_last else (x.shape[0], out_channels, *size))
    for images, rows in iterate_bands(demand, plan):
        band = padded[images, 2 * rows.start : 2 * rows.stop + 2]
        out = y[images].narrow(1 if has_last else 2, 4 * rows.start, 4 * (rows.stop - rows.start))
        _run_band(band, products, bias, out, chunks=plan.chunks, has_last=has_last)
    if has_last:
        y = y.permute(0, 3, 1, 2)
    if height % 2 or width % 2:
        layout = torch.channels_last if has_last else torch.contiguous_format
        y = y[..., : 2 * height, : 2 * width].contiguous(memory_format=layout)
    return y


def _run_band(
    band: Tensor, products: Products, bias: Tensor | None, y: Tensor, *, chunks: int, has_last: bool
) -> None:
    """Fill a band of the output; what it needs is gone when it returns."""
    kinds = _combine(_combine(band, 1), 3)
    for channels in products.split(chunks):
        added = None if bias is None else bias[channels]
        # no name for the products and the columns: a name would keep them while the next ones are made
        if has_last:
            _write_pixels(_multiply(kinds, products.take(channels), has_last=True), added, y[..., channels])
        else:
            _write_planes(_multiply(kinds, products.take(channels), has_last=False), added, y[:, channels])


def _combine(pixels: Tensor, axis: int) -> Tensor:
    """Form A, B, E, D along an axis of even length 2t + 2: a new first axis of 4, and length t."""
    pairs = torch.unflatten(pixels, axis, (-1, 2))
    count = pairs.shape[axis] - 1
    left, right = pairs.narrow(axis, 0, count), pairs.narrow(axis, 1, count)
    before, first = left.unbind(axis + 1)
    second, after = right.unbind(axis + 1)
    kinds = pixels.new_empty(4, *before.shape)
    torch.sub(before, second, out=kinds[0])
    torch.add(first, second, out=kinds[1])
    torch.sub(after, first, out=kinds[2])
    torch.sub(second, first, out=kinds[3])
    return kinds


def _multiply(kinds: Tensor, products: Tensor, *, has_last: bool) -> Tensor:
    """Multiply kinds of columns and rows, (4, 4, n, t, t', C_in), to 4 columns of 5 row products.

    They are (4, 5, n·t·t', C_out); with the channels first, the last two axes are the other way round.
    """
    out_channels = products.shape[2]
    tiles = kinds.flatten(2, -2)
    if has_last:
        multiply = _multiply_rows
        shape = (tiles.shape[2], out_channels)
    else:
        multiply = _multiply_rows_transposed
        shape = (out_channels, tiles.shape[2])
    y = kinds.new_empty(4, 5, *shape)
    shared = kinds.new_empty(2, 5, *shape)
    (y0, y1, y2, y3), (b, g) = y.unbind(0), shared.unbind(0)
    # f is kept where y₀ will be, so that it needs no place of its own
    f = y0
    multiply(tiles[1], products[1], b)
    multiply(tiles[3], products[3], f)
    multiply(tiles[3], products[4], g)
    torch.sub(b, g, out=y1)
    torch.add(b, f, out=y2)
    torch.add(b, g, out=y3)
    torch.sub(b, f, out=y0)
    multiply(tiles[0], products[0], y0, accumulates=True)
    multiply(tiles[2], products[2], y3, accumulates=True)
    return y


def _multiply_rows(tiles: Tensor, products: Tensor, out: Tensor, *, accumulates: bool = False) -> None:
    """Five products along the rows from four combinations: the last one serves two."""
    products = products.transpose(1, 2)
    bmm(tiles[:3], products[:3], out=out[:3], accumulates=accumulates)
    bmm(tiles[3:].expand(2, -1, -1), products[3:], out=out[3:], accumulates=accumulates)


def _multiply_rows_transposed(tiles: Tensor, products: Tensor, out: Tensor, *, accumulates: bool = False) -> None:
    tiles = tiles.transpose(1, 2)
    bmm(products[:3], tiles[:3], out=out[:3], accumulates=accumulates)
    bmm(products[3:], tiles[3:].expand(2, -1, -1), out=out[3:], accumulates=accumulates)


def _assemble(columns: Tensor, bias: Tensor | None, rows: tuple[Tensor, ...]) -> None:
    """Write four rows of pixels from four columns (axis 0) of five row products (axis 1), which are used up."""
    a, b, e, f, g = columns.unbind(1)
    if bias is not None:
        b.add_(bias)
    a.sub_(f)
    e.add_(g)
    torch.add(b, a, out=rows[0])
    torch.sub(b, g, out=rows[1])
    torch.add(b, f, out=rows[2])
    torch.add(b, e, out=rows[3])


def _write_pixels(columns: Tensor, bias: Tensor | None, y: Tensor) -> None:
    """Write (n, 4t, 4t', C_out) from (4, 5, n·t·t', C_out)."""
    images, tile_rows, tile_columns = y.shape[0], y.shape[1] // 4, y.shape[2] // 4
    # (rows, columns, n, t, t', C_out)
    places = y.view(images, tile_rows, 4, tile_columns, 4, -1).permute(2, 4, 0, 1, 3, 5)
    pixels = torch.unflatten(columns, 2, (images, tile_rows, tile_columns))
    _assemble(pixels, bias, places.unbind(0))


def _write_planes(columns: Tensor, bias: Tensor | None, y: Tensor) -> None:
    """Write (n, C_out, 4t, 4t') from (4, 5, C_out, n·t·t').

    The rows go to planes that are contiguous along them, and one more pass interleaves the columns: four passes
    that each jump from pixel to pixel take longer.
    """
    images, tile_rows, tile_columns = y.shape[0], y.shape[2] // 4, y.shape[3] // 4
    # (columns, C_out, n, t, rows, t') in memory
    planes = y.new_empty(4, y.shape[1], images, tile_rows, 4, tile_columns)
    pixels = torch.unflatten(columns, 3, (images, tile_rows, tile_columns))
    _assemble(pixels, None if bias is None else bias[:, None, None, None], planes.unbind(4))
    places = y.view(images, -1, tile_rows, 4, tile_columns, 4)
    places.copy_(planes.permute(2, 1, 3, 4, 5, 0))
