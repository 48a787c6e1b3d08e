"""Forward kernels of nearest ×2 + convolution 3, and what they make of its weight.

Both read pixels in place, in any strides, sum in float32 and write each output pixel once.
"""

import triton
import triton.language as tl

from deconvbench.upsamplers.fast.cuda.kernels.operands import (
    locate,
    make_sums,
    multiply,
    narrow,
    place_block,
    round_operand,
)


@triton.jit
def _transform(first, second, third):
    """Taps along one axis to the weights of the products a, b, e, f, g (see `tiled`)."""
    half = 0.5 * (first + second + third)
    return first, half, third, half - first, half - third


@triton.jit
def transform_weight(
    weight,
    out,
    out_channels,
    in_channels,
    stride_out,
    stride_in,
    stride_row,
    stride_column,
    out_stride_product,
    out_stride_out,
    out_stride_in,
    is_tiled: tl.constexpr,
    operand: tl.constexpr,
    precision: tl.constexpr,
    block_out: tl.constexpr,
    block_in: tl.constexpr,
):
    """(C_out, C_in, 3, 3) to 9 matrices of taps or 25 of products, rounded for the product."""
    o = tl.program_id(0) * block_out + tl.arange(0, block_out)[:, None]
    i = tl.program_id(1) * block_in + tl.arange(0, block_in)[None, :]
    is_there = (o < out_channels) & (i < in_channels)
    source = weight + o.to(tl.int64) * stride_out + i.to(tl.int64) * stride_in
    target = out + o.to(tl.int64) * out_stride_out + i.to(tl.int64) * out_stride_in
    rows = ()
    for r in tl.static_range(3):
        taps = ()
        for c in tl.static_range(3):
            tap = tl.load(source + r * stride_row + c * stride_column, mask=is_there, other=0.0)
            taps = taps + (tap.to(tl.float32),)
        if is_tiled:
            taps = _transform(taps[0], taps[1], taps[2])
        rows = rows + (taps,)
    if is_tiled:
        for c in tl.static_range(5):
            made = _transform(rows[0][c], rows[1][c], rows[2][c])
            for r in tl.static_range(5):
                rounded = round_operand(made[r], operand, precision)
                tl.store(target + (5 * c + r) * out_stride_product, rounded, mask=is_there)
    else:
        for r in tl.static_range(3):
            for c in tl.static_range(3):
                rounded = round_operand(rows[r][c], operand, precision)
                tl.store(target + (3 * r + c) * out_stride_product, rounded, mask=is_there)


@triton.jit
def _combine(before, first, second, after):
    """Make of pixels along one axis what the five products take: A, B, E, and D twice (see `tiled`)."""
    return before - second, first + second, after - first, second - first, second - first


@triton.jit
def _assemble(a, b, e, f, g):
    """Turn the products along one axis into four output pixels."""
    return b - f + a, b - g, b + f, b + g + e


@triton.jit
def _load_column(pixels, row, column, height, width, stride_row, stride_column, mask, replicates: tl.constexpr):
    """Load four rows of a column of every tile, in float32."""
    loaded = ()
    for r in tl.static_range(4):
        place, has_value = locate(row + r, column, height, width, stride_row, stride_column, replicates)
        value = tl.load(pixels + place[:, None], mask=mask & has_value[:, None], other=0.0)
        loaded = loaded + (value.to(tl.float32),)
    return loaded


@triton.jit
def _add(first, second):
    return first[0] + second[0], first[1] + second[1], first[2] + second[2], first[3] + second[3]


@triton.jit
def _subtract(first, second):
    return first[0] - second[0], first[1] - second[1], first[2] - second[2], first[3] - second[3]


@triton.jit
def _multiply_column(column, factors, stride, mask, sums, operand: tl.constexpr, precision: tl.constexpr):
    """Add the five products along the rows of a combination of columns."""
    kinds = _combine(column[0], column[1], column[2], column[3])
    added = ()
    for r in tl.static_range(5):
        factor = tl.load(factors + r * stride, mask=mask, other=0.0)
        operands = round_operand(kinds[r], operand, precision)
        added = added + (multiply(operands, factor, sums[r], precision),)
    return added


@triton.jit
def _interleave(first, second, third, fourth):
    """Four matrices to one whose last axis goes through them."""
    pairs = tl.join(tl.join(first, third), tl.join(second, fourth))
    # (…, high digit, low digit) of the index
    return tl.reshape(pairs, (first.shape[0], first.shape[1], 4))


@triton.jit(do_not_specialize=["size_class"])
def tiled_forward(
    x,
    products,
    bias,
    y,
    batch,
    in_channels,
    out_channels,
    height,
    width,
    xn,
    xc,
    xh,
    xw,
    yn,
    yc,
    yh,
    yw,
    matrix,
    size_class,
    has_bias: tl.constexpr,
    replicates: tl.constexpr,
    has_last: tl.constexpr,
    operand: tl.constexpr,
    precision: tl.constexpr,
    block_tiles: tl.constexpr,
    block_out: tl.constexpr,
    block_in: tl.constexpr,
    group: tl.constexpr,
):
    """25 products for the 4×4 output pixels of each tile of 2×2 pixels, summed over the channels side by side.

    `products` is (25, C_out, C_in), 5 · column + row. Combinations of pixels are made in float32 on the way to the
    product; the sums of all 25 stay in registers until they are assembled.
    """
    tile_rows, tile_columns = (height + 1) // 2, (width + 1) // 2
    tiles = batch * tile_rows * tile_columns
    block_row, block_column = place_block(tl.cdiv(tiles, block_tiles), tl.cdiv(out_channels, block_out), group)
    tile = block_row * block_tiles + tl.arange(0, block_tiles)
    column = tile % tile_columns
    row = tile // tile_columns % tile_rows
    image = (tile // (tile_columns * tile_rows)).to(tl.int64)
    o = block_column * block_out + tl.arange(0, block_out)
    k = tl.arange(0, block_in)
    a = make_sums(5, block_tiles, block_out)
    b = make_sums(5, block_tiles, block_out)
    e = make_sums(5, block_tiles, block_out)
    f = make_sums(5, block_tiles, block_out)
    g = make_sums(5, block_tiles, block_out)
    for start in range(0, in_channels, block_in):
        has_channel = start + k < in_channels
        factors = products + (start + k)[:, None] + o.to(tl.int64)[None, :] * in_channels
        has_factor = has_channel[:, None] & (o < out_channels)[None, :]
        pixels = x + (image * xn)[:, None] + (start + k).to(tl.int64)[None, :] * xc
        mask = (tile < tiles)[:, None] & has_channel[None, :]
        # a column of pixels when it is needed: all four at once would leave too few registers for the sums
        before = _load_column(pixels, 2 * row - 1, 2 * column - 1, height, width, xh, xw, mask, replicates)
        second = _load_column(pixels, 2 * row - 1, 2 * column + 1, height, width, xh, xw, mask, replicates)
        a = _multiply_column(_subtract(before, second), factors, matrix, has_factor, a, operand, precision)
        first = _load_column(pixels, 2 * row - 1, 2 * column, height, width, xh, xw, mask, replicates)
        b = _multiply_column(_add(first, second), factors + 5 * matrix, matrix, has_factor, b, operand, precision)
        difference = _subtract(second, first)
        f = _multiply_column(difference, factors + 15 * matrix, matrix, has_factor, f, operand, precision)
        g = _multiply_column(difference, factors + 20 * matrix, matrix, has_factor, g, operand, precision)
        after = _load_column(pixels, 2 * row - 1, 2 * column + 2, height, width, xh, xw, mask, replicates)
        e = _multiply_column(
            _subtract(after, first), factors + 10 * matrix, matrix, has_factor, e, operand, precision
        )
    columns = (
        _assemble(a[0], a[1], a[2], a[3], a[4]),
        _assemble(b[0], b[1], b[2], b[3], b[4]),
        _assemble(e[0], e[1], e[2], e[3], e[4]),
        _assemble(f[0], f[1], f[2], f[3], f[4]),
        _assemble(g[0], g[1], g[2], g[3], g[4]),
    )
    added_bias = _load_bias(bias, o, out_channels, has_bias, block_out)
    places = y + (image * yn)[:, None] + o.to(tl.int64)[None, :] * yc
    is_there = (tile < tiles)[:, None] & (o < out_channels)[None, :]
    for r in tl.static_range(4):
        pixels = _assemble(columns[0][r], columns[1][r], columns[2][r], columns[3][r], columns[4][r])
        line = places + ((4 * row + r).to(tl.int64) * yh + 4 * column.to(tl.int64) * yw)[:, None]
        has_line = is_there & (4 * row + r < 2 * height)[:, None]
        if has_last:
            for c in tl.static_range(4):
                value = narrow(pixels[c] + added_bias, y.dtype.element_ty)
                tl.store(line + c * yw, value, mask=has_line & (4 * column + c < 2 * width)[:, None])
        else:
            c4 = tl.arange(0, 4)[None, None, :]
            values = _interleave(pixels[0], pixels[1], pixels[2], pixels[3]) + added_bias[:, :, None]
            inside = has_line[:, :, None] & (4 * column[:, None, None] + c4 < 2 * width)
            tl.store(line[:, :, None] + c4 * yw, narrow(values, y.dtype.element_ty), mask=inside)


@triton.jit
def _load_bias(bias, o, out_channels, has_bias: tl.constexpr, block_out: tl.constexpr):
    """Load what is added to each channel, as a row."""
    added = tl.zeros((block_out,), tl.float32)
    if has_bias:
        added = tl.load(bias + o, mask=o < out_channels, other=0.0).to(tl.float32)
    return added[None, :]


@triton.jit
def _shift(values, step: tl.constexpr, side, replicates: tl.constexpr):
    """Take the values so many rows further on; at the border of the image the row's own, or nothing."""
    is_inside, is_border = side
    own = tl.arange(0, values.shape[0])
    source = tl.where(is_inside & ~is_border, own + step, own)
    found = tl.gather(values, tl.broadcast_to(source[:, None], values.shape), 0)
    if not replicates:
        found = tl.where(is_border[:, None], 0.0, found)
    return found


@triton.jit
def _sum_taps(zeroth, first, second, step: tl.constexpr, before, after, replicates: tl.constexpr):
    """Turn the products of three taps along one axis into two output pixels."""
    even = _shift(zeroth, -step, before, replicates) + first + second
    odd = zeroth + first + _shift(second, step, after, replicates)
    return even, odd


@triton.jit(do_not_specialize=["size_class"])
def minimal_forward(
    x,
    taps,
    bias,
    y,
    batch,
    in_channels,
    out_channels,
    height,
    width,
    xn,
    xc,
    xh,
    xw,
    yn,
    yc,
    yh,
    yw,
    matrix,
    size_class,
    has_bias: tl.constexpr,
    replicates: tl.constexpr,
    has_last: tl.constexpr,
    operand: tl.constexpr,
    precision: tl.constexpr,
    patch_rows: tl.constexpr,
    patch_columns: tl.constexpr,
    block_out: tl.constexpr,
    block_in: tl.constexpr,
    group: tl.constexpr,
):
    """Nine products of each pixel, with the taps as they are, and sums of neighbours' in float32.

    Along one axis z_t[n] = w_t·x[n], and y[2n] = z₀[n−1] + z₁[n] + z₂[n], y[2n+1] = z₀[n] + z₁[n] + z₂[n+1].
    Nothing is summed before it is multiplied, so it is as exact as the plain form in every type. A program has a
    patch of pixels, of which those at its rim are also computed by its neighbour. `taps` is (9, C_out, C_in).
    """
    count: tl.constexpr = patch_rows * patch_columns
    down = tl.maximum(tl.cdiv(height - 2, patch_rows - 2), 1)
    across = tl.maximum(tl.cdiv(width - 2, patch_columns - 2), 1)
    patch, block_column = place_block(batch * down * across, tl.cdiv(out_channels, block_out), group)
    m = tl.arange(0, count)
    at_row, at_column = m // patch_columns, m % patch_columns
    row = patch // across % down * (patch_rows - 2) + at_row
    column = patch % across * (patch_columns - 2) + at_column
    image = (patch // (across * down)).to(tl.int64)
    place, has_value = locate(row, column, height, width, xh, xw, False)
    o = block_column * block_out + tl.arange(0, block_out)
    k = tl.arange(0, block_in)
    sums = make_sums(9, count, block_out)
    for start in range(0, in_channels, block_in):
        has_channel = start + k < in_channels
        there = x + image * xn + place[:, None] + (start + k).to(tl.int64)[None, :] * xc
        pixels = tl.load(there, mask=has_value[:, None] & has_channel[None, :], other=0.0)
        if operand == tl.float32:
            pixels = round_operand(pixels.to(tl.float32), operand, precision)
        factors = taps + (start + k)[:, None] + o.to(tl.int64)[None, :] * in_channels
        has_factor = has_channel[:, None] & (o < out_channels)[None, :]
        added = ()
        for t in tl.static_range(9):
            factor = tl.load(factors + t * matrix, mask=has_factor, other=0.0)
            added = added + (multiply(pixels, factor, sums[t], precision),)
        sums = added
    left = (at_column > 0, column == 0)
    right = (at_column < patch_columns - 1, column == width - 1)
    above = (at_row > 0, row == 0)
    below = (at_row < patch_rows - 1, row == height - 1)
    lines = ()
    for t in tl.static_range(3):
        lines = lines + (_sum_taps(sums[3 * t], sums[3 * t + 1], sums[3 * t + 2], 1, left, right, replicates),)
    # a rim belongs to the neighbour, but for that of the image
    owned = has_value & (left[0] | left[1]) & (right[0] | right[1]) & (above[0] | above[1]) & (below[0] | below[1])
    is_there = owned[:, None] & (o < out_channels)[None, :]
    added_bias = _load_bias(bias, o, out_channels, has_bias, block_out)
    corner = 2 * (row.to(tl.int64) * yh + column.to(tl.int64) * yw)
    places = y + image * yn + corner[:, None] + o.to(tl.int64)[None, :] * yc
    first = _sum_taps(lines[0][0], lines[1][0], lines[2][0], patch_columns, above, below, replicates)
    second = _sum_taps(lines[0][1], lines[1][1], lines[2][1], patch_columns, above, below, replicates)
    for r in tl.static_range(2):
        here = narrow(first[r] + added_bias, y.dtype.element_ty)
        beside = narrow(second[r] + added_bias, y.dtype.element_ty)
        if has_last:
            tl.store(places + r * yh, here, mask=is_there)
            tl.store(places + r * yh + yw, beside, mask=is_there)
        else:
            both = places[:, :, None] + r * yh + tl.arange(0, 2)[None, None, :] * yw
            mask = tl.broadcast_to(is_there[:, :, None], both.shape)
            tl.store(both, tl.join(here, beside), mask=mask)
