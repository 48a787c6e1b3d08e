"""What all kernels do with numbers: round them for the product, multiply, and place the tiles of a product.

Rounding to TF32 is done here and not left to the tensor cores, which cut digits off and so shrink every value.
"""

import triton
import triton.language as tl

# NumPy, which interprets kernels, cannot multiply bfloat16 (as float32 its products are the same) and cuts it off
_IS_INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)
_LARGEST = tl.constexpr(3.4028234663852886e38)


@triton.jit
def narrow(values, kind: tl.constexpr):
    """Round float32 to a type."""
    if _IS_INTERPRETED and kind == tl.bfloat16:
        bits = values.to(tl.int32, bitcast=True)
        nearest = ((bits + 0x7FFF + ((bits >> 16) & 1)) & -0x10000).to(tl.float32, bitcast=True)
        values = tl.where(tl.abs(values) <= _LARGEST, nearest, values)
    return values.to(kind)


@triton.jit
def round_operand(values, operand: tl.constexpr, precision: tl.constexpr):
    """Round float32 to what a product takes: a type, or the 11 digits of TF32."""
    if operand == tl.float32:
        if precision == "tf32":
            bits = values.to(tl.int32, bitcast=True)
            nearest = ((bits + 0x1000) & -0x2000).to(tl.float32, bitcast=True)
            # a NaN would become another number
            rounded = tl.where(tl.abs(values) <= _LARGEST, nearest, values)
        else:
            rounded = values
    else:
        rounded = narrow(values, operand)
    return rounded


@triton.jit
def multiply(a, b, sums, precision: tl.constexpr):
    """Add the product of two matrices of one type to sums in float32."""
    if _IS_INTERPRETED:
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(a, b, sums, input_precision=precision)


@triton.jit
def make_sums(count: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr):
    """Make several matrices of zeros."""
    made = ()
    for _ in tl.static_range(count):
        made = made + (tl.zeros((rows, columns), tl.float32),)
    return made


@triton.jit
def place_block(rows, columns, group: tl.constexpr):
    """Say which block of a product a program computes: some rows of blocks at a time, which share the cache."""
    index = tl.program_id(0)
    in_group = group * columns
    first = index // in_group * group
    size = tl.minimum(rows - first, group)
    inside = index % in_group
    return first + inside % size, inside // size


@triton.jit
def locate(row, column, height, width, stride_row, stride_column, replicates: tl.constexpr):
    """Find the place of pixels that may lie beyond the border, and whether they have a value."""
    if replicates:
        row = tl.minimum(tl.maximum(row, 0), height - 1)
        column = tl.minimum(tl.maximum(column, 0), width - 1)
    has_value = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    # more than 2**31 values are allowed
    return row.to(tl.int64) * stride_row + column.to(tl.int64) * stride_column, has_value
