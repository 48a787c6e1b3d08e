"""Backward kernels of nearest ×2 + convolution 3: nine products of each input pixel, for either gradient.

The gradient g of the output is summed over the 2×2 pixels that a tap sees of one input pixel; along one axis
s₀[n] = g[2n+1] + g[2n+2], s₁[n] = g[2n] + g[2n+1], s₂[n] = g[2n−1] + g[2n], and Σ_t w_t·s_t is the gradient to
the input, Σ_n x[n]·s_t[n] that to tap t. So there are 2.25 multiply-accumulates per output pixel where the plain
form has 9. Where the border is repeated its pixels collect what is beyond it. The sums keep the digits of TF32 at
least: those of half precision would lose what cancels. Nothing is added up in an order that changes between calls.
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
def _sum_pairs(before, first, second, after, is_first, is_last, replicates: tl.constexpr):
    """Four gradients along one axis to those of the three taps."""
    zeroth, middle, last = second + after, first + second, before + first
    if replicates:
        zeroth += tl.where(is_first[:, None], first, 0.0)
        last += tl.where(is_last[:, None], second, 0.0)
    return zeroth, middle, last


@triton.jit
def _load_sums(
    gradient, row, column, is_pixel, channels, has_channel, height, width, gc, gh, gw, replicates: tl.constexpr
):
    """Nine sums of the gradient around each pixel, [3][3] of pixels × channels, in float32."""
    lines = ()
    for r in tl.static_range(4):
        values = ()
        for c in tl.static_range(4):
            place, has_value = locate(2 * row - 1 + r, 2 * column - 1 + c, 2 * height, 2 * width, gh, gw, False)
            there = gradient + place[:, None] + channels.to(tl.int64)[None, :] * gc
            mask = (has_value & is_pixel)[:, None] & has_channel[None, :]
            values = values + (tl.load(there, mask=mask, other=0.0).to(tl.float32),)
        lines = lines + (
            _sum_pairs(values[0], values[1], values[2], values[3], column == 0, column == width - 1, replicates),
        )
    columns = ()
    for c in tl.static_range(3):
        columns = columns + (
            _sum_pairs(
                lines[0][c], lines[1][c], lines[2][c], lines[3][c], row == 0, row == height - 1, replicates
            ),
        )
    return columns


@triton.jit(do_not_specialize=["size_class"])
def input_gradient(
    gradient,
    taps,
    out,
    batch,
    in_channels,
    out_channels,
    height,
    width,
    gn,
    gc,
    gh,
    gw,
    xn,
    xc,
    xh,
    xw,
    matrix,
    size_class,
    replicates: tl.constexpr,
    precision: tl.constexpr,
    block_pixels: tl.constexpr,
    block_in: tl.constexpr,
    block_out: tl.constexpr,
    group: tl.constexpr,
):
    """Gradient to the input; `taps` is (9, C_in, C_out), in float32."""
    pixels = batch * height * width
    block_row, block_column = place_block(tl.cdiv(pixels, block_pixels), tl.cdiv(in_channels, block_in), group)
    pixel = block_row * block_pixels + tl.arange(0, block_pixels)
    column = pixel % width
    row = pixel // width % height
    image = (pixel // (width * height)).to(tl.int64)
    i = block_column * block_in + tl.arange(0, block_in)
    k = tl.arange(0, block_out)
    sums = tl.zeros((block_pixels, block_in), tl.float32)
    for start in range(0, out_channels, block_out):
        o = start + k
        parts = _load_sums(
            gradient + (image * gn)[:, None],
            row,
            column,
            pixel < pixels,
            o,
            o < out_channels,
            height,
            width,
            gc,
            gh,
            gw,
            replicates,
        )
        factors = taps + o[:, None] + i.to(tl.int64)[None, :] * out_channels
        has_factor = (o < out_channels)[:, None] & (i < in_channels)[None, :]
        for r in tl.static_range(3):
            for c in tl.static_range(3):
                factor = tl.load(factors + (3 * r + c) * matrix, mask=has_factor, other=0.0)
                sums = multiply(round_operand(parts[c][r], tl.float32, precision), factor, sums, precision)
    places = out + (image * xn + row.to(tl.int64) * xh + column.to(tl.int64) * xw)[:, None]
    is_there = (pixel < pixels)[:, None] & (i < in_channels)[None, :]
    tl.store(places + i.to(tl.int64)[None, :] * xc, narrow(sums, out.dtype.element_ty), mask=is_there)


@triton.jit(do_not_specialize=["size_class"])
def weight_gradient(
    gradient,
    x,
    out,
    batch,
    in_channels,
    out_channels,
    height,
    width,
    gn,
    gc,
    gh,
    gw,
    xn,
    xc,
    xh,
    xw,
    splits,
    matrix,
    size_class,
    replicates: tl.constexpr,
    precision: tl.constexpr,
    block_pixels: tl.constexpr,
    block_in: tl.constexpr,
    block_out: tl.constexpr,
):
    """Gradients to the nine taps of one share of the pixels; `out` is (splits, 9, C_out, C_in), in float32."""
    pixels = batch * height * width
    o = tl.program_id(0) * block_out + tl.arange(0, block_out)
    i = tl.program_id(1) * block_in + tl.arange(0, block_in)
    split = tl.program_id(2)
    blocks = tl.cdiv(tl.cdiv(pixels, block_pixels), splits)
    sums = make_sums(9, block_out, block_in)
    for block in range(split * blocks, tl.minimum((split + 1) * blocks, tl.cdiv(pixels, block_pixels))):
        pixel = block * block_pixels + tl.arange(0, block_pixels)
        column = pixel % width
        row = pixel // width % height
        image = (pixel // (width * height)).to(tl.int64)
        place = image * xn + row.to(tl.int64) * xh + column.to(tl.int64) * xw
        mask = (pixel < pixels)[:, None] & (i < in_channels)[None, :]
        values = tl.load(x + place[:, None] + i.to(tl.int64)[None, :] * xc, mask=mask, other=0.0)
        values = round_operand(values.to(tl.float32), tl.float32, precision)
        parts = _load_sums(
            gradient + (image * gn)[:, None],
            row,
            column,
            pixel < pixels,
            o,
            o < out_channels,
            height,
            width,
            gc,
            gh,
            gw,
            replicates,
        )
        added = ()
        for r in tl.static_range(3):
            for c in tl.static_range(3):
                part = round_operand(parts[c][r], tl.float32, precision)
                added = added + (multiply(tl.trans(part), values, sums[3 * r + c], precision),)
        sums = added
    places = out + split.to(tl.int64) * 9 * matrix + o.to(tl.int64)[:, None] * in_channels + i[None, :]
    is_there = (o < out_channels)[:, None] & (i < in_channels)[None, :]
    for t in tl.static_range(9):
        tl.store(places + t * matrix, sums[t], mask=is_there)
