"""The minimal form of nearest ×s + convolution k, pixel by pixel: k products per axis for any scale.

Neighbouring phases of the upsampled tensor see almost the same pixels, so their outputs differ by multiples of
differences. Along one axis, with d[n] = x[n] − x[n−1], l = ⌊(k−1)/2⌋ and S = w₀ + … + w_{k−1}, Abel summation of
y[s·n + φ] = Σ_t w_t·x[⌊(s·n + φ + t − l)/s⌋] gives

    every phase φ:              S·x[n]
    t < l, φ = (l−1−t) mod s:   −(w₀ + … + w_t)·d[n + ⌊(φ+t−l+1)/s⌋]  at this phase
    t > l, φ = (l−t) mod s:     (w_t + … + w_{k−1})·d[n + ⌊(φ+t−l)/s⌋]  at this phase

where a step of the staircase that the taps climb is crossed: phases between two steps share what they have in
common. For k = 3, s = 2: y[2n] = S·x[n] − w₀·d[n] and y[2n+1] = S·x[n] + w₂·d[n+1]. Nested in two dimensions these
are k² products per input pixel, as many as a transposed convolution of the same kernel has, instead of k²s².

The pixels stay where they are: a product with a shifted difference reads the same memory from another start, the
few columns at the end of a row that then mix two rows are computed and thrown away.

References
----------
Lavin, Gray, "Fast algorithms for convolutional neural networks", arXiv:1509.09308 (minimal filtering).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from deconvbench.upsamplers.fast.memory import (
    Demand,
    Products,
    estimate_plain_peak,
    is_channels_last,
    iterate_bands,
    mm,
    pad_pixels,
    plan_work,
)
from deconvbench.upsamplers.fast.weights import Matrix, count_padding, stack_products


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """One product with a difference: its tap weights, and where it goes."""

    taps: tuple[float, ...]
    phase: int
    shift: int


def _list_steps(kernel_size: int, scale_factor: int) -> tuple[_Step, ...]:
    middle = (kernel_size - 1) // 2
    steps = []
    for tap in range(kernel_size):
        if tap < middle:
            phase = (middle - 1 - tap) % scale_factor
            shift = (phase + tap - middle + 1) // scale_factor
            taps = tuple(-float(other <= tap) for other in range(kernel_size))
        elif tap > middle:
            phase = (middle - tap) % scale_factor
            shift = (phase + tap - middle) // scale_factor
            taps = tuple(float(other >= tap) for other in range(kernel_size))
        else:
            continue
        steps.append(_Step(taps=taps, phase=phase, shift=shift))
    return tuple(steps)


def product_matrix(kernel_size: int, scale_factor: int) -> Matrix:
    """Taps of the convolution to the weights of the products along one axis: the sum, then the steps.

    Parameters
    ----------
    kernel_size, scale_factor : int
        Kernel size k, scale s.

    Returns
    -------
    tuple of tuple of float, shape (k, k)
        For k = 3: ((1, 1, 1), (−1, 0, 0), (0, 0, 1)).
    """
    return ((1.0,) * kernel_size, *(step.taps for step in _list_steps(kernel_size, scale_factor)))


def prepare_minimal(weight: Tensor, scale_factor: int) -> Tensor:
    """Weights of the k×k products.

    Parameters
    ----------
    weight : Tensor, shape (C_out, C_in, k, k)
        Weight of the convolution.
    scale_factor : int
        Scale s.

    Returns
    -------
    Tensor, shape (k, k, C_out, C_in)
        Product along the rows first, then along the columns.
    """
    return stack_products(weight, product_matrix(weight.shape[-1], scale_factor))


def demand_minimal(
    x: Tensor, out_channels: int, kernel_size: int, scale_factor: int, *, is_prepared: bool
) -> Demand:
    """Say what the form holds while it works.

    Parameters
    ----------
    x : Tensor, shape (N, C_in, H, W)
        Its input.
    out_channels, kernel_size, scale_factor : int
        Of the layer.
    is_prepared : bool
        Whether the products are kept.

    Returns
    -------
    Demand
        A tile is an input pixel; the room is what the plain form takes, less output and padded input.
    """
    batch, in_channels, height, width = x.shape
    reach, size = count_padding(kernel_size, scale_factor), x.element_size()
    padded = batch * (height + 2 * reach) * (width + 2 * reach) * in_channels * size
    output = scale_factor**2 * batch * height * width * out_channels * size
    planes = 0 if is_channels_last(x) else scale_factor**2
    return Demand(
        batch=batch,
        rows=height,
        tiles_per_row=width + 2 * reach,
        # three kinds of differences
        in_bytes=3 * in_channels * size,
        out_bytes=(kernel_size * scale_factor + planes) * out_channels * size,
        product_bytes=0 if is_prepared else kernel_size**2 * in_channels * out_channels * size,
        room_bytes=estimate_plain_peak(x, out_channels, kernel_size, scale_factor) - padded - output,
    )


def run_minimal(
    x: Tensor, products: Products, bias: Tensor | None, scale_factor: int, *, pads_zeros: bool
) -> Tensor:
    """Upsample by the scale and convolve.

    Parameters
    ----------
    x : Tensor, shape (N, C_in, H, W)
        Any H, W ≥ 1.
    products : Products
        As from `prepare_minimal`.
    bias : Tensor, shape (C_out,), or None
        Added to every pixel.
    scale_factor : int
        Scale s.
    pads_zeros : bool
        Zeros beyond the border; otherwise the outermost pixels are repeated.

    Returns
    -------
    Tensor, shape (N, C_out, s·H, s·W)
        In the memory format of the input.
    """
    out_channels, _, kernel_size, _ = products.weight.shape
    has_last = is_channels_last(x)
    demand = demand_minimal(x, out_channels, kernel_size, scale_factor, is_prepared=products.kept is not None)
    plan = plan_work(demand)
    products = products.keep() if plan.chunks == 1 else products
    reach = count_padding(kernel_size, scale_factor)
    padded = pad_pixels(x, (reach,) * 4, pads_zeros=pads_zeros)
    size = (scale_factor * x.shape[2], scale_factor * x.shape[3])
    y = x.new_empty((x.shape[0], *size, out_channels) if has_last else (x.shape[0], out_channels, *size))
    for images, rows in iterate_bands(demand, plan):
        out_rows = slice(scale_factor * rows.start, scale_factor * rows.stop)
        for image in range(images.start, min(images.stop, x.shape[0])):
            band = padded[image, rows.start : rows.stop + 2 * reach]
            out = y[image, out_rows] if has_last else y[image, :, out_rows]
            _run_band(band, products, bias, out, scale_factor, chunks=plan.chunks, has_last=has_last)
    return y.permute(0, 3, 1, 2) if has_last else y


def _run_band(
    band: Tensor,
    products: Products,
    bias: Tensor | None,
    y: Tensor,
    scale_factor: int,
    *,
    chunks: int,
    has_last: bool,
) -> None:
    """Fill a band of the output; what it needs is gone when it returns."""
    kinds = _combine(band)
    steps = _list_steps(products.weight.shape[-1], scale_factor)
    for channels in products.split(chunks):
        added = None if bias is None else bias[channels]
        # no name for the products and the columns: a name would keep them while the next ones are made
        multiply = partial(_multiply, kinds, steps=steps, scale_factor=scale_factor, has_last=has_last)
        if has_last:
            _write_pixels(multiply(products.take(channels)), added, y[..., channels], steps)
        else:
            _write_planes(multiply(products.take(channels)), added, y[channels], steps)


def _combine(band: Tensor) -> dict[tuple[int, int], Tensor]:
    """Add to the pixels (h + 2r, w + 2r, C_in) their differences along rows, columns and both."""
    kinds = {(0, 0): band}
    for row_kind, column_kind in ((1, 0), (0, 1), (1, 1)):
        difference = band.new_empty(band.shape)
        if column_kind:
            source = kinds[row_kind, 0]
            torch.sub(source[:, 1:], source[:, :-1], out=difference[:, 1:])
        else:
            torch.sub(band[1:], band[:-1], out=difference[1:])
        kinds[row_kind, column_kind] = difference
    return kinds


def _multiply(
    kinds: Mapping[tuple[int, int], Tensor],
    products: Tensor,
    steps: Sequence[_Step],
    scale_factor: int,
    *,
    has_last: bool,
) -> Tensor:
    """Multiply to k row products of s column phases, (k, s, h, w + 2r, C_out).

    With the channels first, (k, s, C_out, h, w + 2r). Only the first w of each row are of use.
    """
    kernel_size, out_channels = products.shape[0], products.shape[2]
    pixels = kinds[0, 0]
    padded_rows, row_length, in_channels = pixels.shape
    reach = count_padding(kernel_size, scale_factor)
    rows = padded_rows - 2 * reach
    count = rows * row_length - 2 * reach
    shape = (rows * row_length, out_channels) if has_last else (out_channels, rows * row_length)
    y = pixels.new_empty(kernel_size, scale_factor, *shape)
    for row_product in range(kernel_size):
        row_shift = steps[row_product - 1].shift if row_product else 0
        for column_product in range(kernel_size):
            column_shift = steps[column_product - 1].shift if column_product else 0
            kind = kinds[int(row_product > 0), int(column_product > 0)]
            start = (row_shift + reach) * row_length + column_shift + reach
            shifted = kind.view(-1, in_channels).narrow(0, start, count)
            weight = products[row_product, column_product]
            phases = y[row_product]
            target = phases[steps[column_product - 1].phase if column_product else 0]
            if has_last:
                mm(shifted, weight.t(), out=target[:count], accumulates=column_product > 0)
            else:
                mm(weight, shifted.t(), out=target[:, :count], accumulates=column_product > 0)
            if not column_product:
                # what all phases have in common
                phases[1:] = phases[:1]
    return torch.unflatten(y, -2 if has_last else -1, (rows, row_length))


def _assemble(columns: Tensor, bias: Tensor | None, rows: tuple[Tensor, ...], steps: Sequence[_Step]) -> None:
    """Write s rows of pixels from k row products, the first of which all have in common and is used up."""
    common = columns[0]
    if bias is not None:
        common.add_(bias)
    sources: list[list[Tensor]] = [[] for _ in rows]
    for number, step in enumerate(steps, start=1):
        sources[step.phase].append(columns[number])
    for row, terms in zip(rows, sources, strict=True):
        if not terms:
            row.copy_(common)
            continue
        torch.add(common, terms[0], out=row)
        for term in terms[1:]:
            row.add_(term)


def _write_pixels(columns: Tensor, bias: Tensor | None, y: Tensor, steps: Sequence[_Step]) -> None:
    """Write (s·h, s·w, C_out) from (k, s, h, w + 2r, C_out)."""
    scale_factor = columns.shape[1]
    rows, width = y.shape[0] // scale_factor, y.shape[1] // scale_factor
    # (row phase, column phase, h, w, C_out)
    places = y.view(rows, scale_factor, width, scale_factor, -1).permute(1, 3, 0, 2, 4)
    _assemble(columns[:, :, :, :width], bias, places.unbind(0), steps)


def _write_planes(columns: Tensor, bias: Tensor | None, y: Tensor, steps: Sequence[_Step]) -> None:
    """Write (C_out, s·h, s·w) from (k, s, C_out, h, w + 2r): whole rows first, then one pass for the columns."""
    scale_factor = columns.shape[1]
    rows, width = y.shape[1] // scale_factor, y.shape[2] // scale_factor
    planes = y.new_empty(scale_factor, y.shape[0], rows, scale_factor, width)
    _assemble(columns[..., :width], None if bias is None else bias[:, None, None], planes.unbind(3), steps)
    places = y.view(-1, rows, scale_factor, width, scale_factor)
    places.copy_(planes.permute(1, 2, 3, 4, 0))
