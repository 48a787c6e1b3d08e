"""Values that are moved, repeated, joined, cut and padded, by the functions of torch that an audit follows."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from deconvbench.networks.onnx.operators.registry import operator, read_number, read_numbers
from deconvbench.networks.onnx.specs import Spec

_PADDING = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


@operator("Reshape")
def reshape(spec: Spec, x: Tensor, shape: Tensor) -> Tensor:
    """Reshape; a zero keeps the side of the input."""
    sides = read_numbers(shape)
    if not spec.get("allowzero", 0):
        sides = [x.shape[axis] if side == 0 else side for axis, side in enumerate(sides)]
    return x.reshape(sides)


@operator("Flatten")
def flatten(spec: Spec, x: Tensor) -> Tensor:
    """Make a matrix, of the axes before one and from it on."""
    axis = spec.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(x.shape[:axis].numel(), x.shape[axis:].numel())


@operator("Transpose")
def permute(spec: Spec, x: Tensor) -> Tensor:
    """Order axes anew."""
    return x.permute(spec.get("perm") or tuple(reversed(range(x.ndim))))


@operator("Expand")
def expand(spec: Spec, x: Tensor, shape: Tensor) -> Tensor:
    """Repeat along axes of one value."""
    return x.expand(torch.broadcast_shapes(x.shape, read_numbers(shape)))  # type: ignore[no-untyped-call] # no types


@operator("Tile")
def repeat(spec: Spec, x: Tensor, repeats: Tensor) -> Tensor:
    """Repeat whole axes."""
    return x.repeat(read_numbers(repeats))


@operator("Squeeze")
def squeeze(spec: Spec, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Leave axes of one value out."""
    chosen = spec.get("axes") if axes is None else read_numbers(axes)
    return x.squeeze() if chosen is None else x.squeeze(tuple(chosen))


@operator("Unsqueeze")
def unsqueeze(spec: Spec, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Put axes of one value in."""
    chosen = spec.get("axes") if axes is None else read_numbers(axes)
    dims = x.ndim + len(chosen)
    for axis in sorted(axis % dims for axis in chosen):
        x = x.unsqueeze(axis)
    return x


@operator("Concat")
def join(spec: Spec, *tensors: Tensor) -> Tensor:
    """Join along an axis."""
    return torch.cat(tensors, spec.get("axis"))


@operator("Split")
def split(spec: Spec, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    """Cut along an axis, in parts of given sizes or of one."""
    axis, count = spec.get("axis", 0), len(spec.outputs)
    given = spec.get("split") if sizes is None else read_numbers(sizes)
    if given is None:
        each = -(-x.shape[axis] // spec.get("num_outputs", count))
        given = [min(each, max(x.shape[axis] - number * each, 0)) for number in range(count)]
    return torch.split(x, list(given), axis)


@operator("Slice")
def cut(spec: Spec, x: Tensor, *parts: Tensor | None) -> Tensor:
    """Cut along axes, as numpy does; backwards by picking."""
    starts, ends, axes, steps = (*(None if one is None else read_numbers(one) for one in parts), *[None] * 4)[:4]
    if not parts:
        starts, ends, axes = spec.get("starts"), spec.get("ends"), spec.get("axes")
    assert starts is not None
    assert ends is not None
    axes = axes if axes is not None else list(range(len(starts)))
    where = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps or [1] * len(starts), strict=True):
        side = x.shape[axis]
        if step > 0:
            where[axis] = slice(*slice(start, end, step).indices(side))
        else:
            places = range(*slice(start, end, step).indices(side))
            x = x.index_select(axis, torch.tensor(list(places), dtype=torch.int64, device=x.device))
    return x if all(one == slice(None) for one in where) else x[tuple(where)]


@operator("Gather")
def gather(spec: Spec, x: Tensor, indices: Tensor) -> Tensor:
    """Pick along an axis."""
    axis = spec.get("axis", 0) % x.ndim
    if indices.ndim == 0:
        return x.select(axis, read_number(indices, 0))
    flat = indices.flatten().long()
    picked = x.index_select(axis, torch.where(flat < 0, flat + x.shape[axis], flat))
    return picked.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


@operator("GatherElements")
def gather_elements(spec: Spec, x: Tensor, indices: Tensor) -> Tensor:
    """Pick single values along an axis."""
    axis = spec.get("axis", 0) % x.ndim
    places = torch.where(indices < 0, indices + x.shape[axis], indices).long()
    return torch.gather(x, axis, places)


@operator("Trilu")
def keep_triangle(spec: Spec, x: Tensor, diagonal: Tensor | None = None) -> Tensor:
    """Keep the upper or lower triangle of matrices."""
    return (torch.triu if spec.get("upper", 1) else torch.tril)(x, read_number(diagonal, 0))


@operator("Pad")
def pad(
    spec: Spec, x: Tensor, pads: Tensor | None = None, value: Tensor | None = None, axes: Tensor | None = None
) -> Any:
    """Pad; what is not constant, along the last axes only."""
    amounts: Sequence[int] = spec.get("pads", ()) if pads is None else read_numbers(pads)
    chosen = list(range(x.ndim)) if axes is None else [axis % x.ndim for axis in read_numbers(axes)]
    begin, end = [0] * x.ndim, [0] * x.ndim
    for number, axis in enumerate(chosen):
        begin[axis], end[axis] = amounts[number], amounts[number + len(chosen)]
    mode = _PADDING[spec.get("mode", "constant")]
    first = next((axis for axis in range(x.ndim) if begin[axis] or end[axis]), x.ndim)
    if first == x.ndim:
        return x
    if mode == "constant":
        flat = [one for axis in reversed(range(first, x.ndim)) for one in (begin[axis], end[axis])]
        return functional.pad(x, flat, value=read_number(value, spec.get("value", 0.0)))
    # torch wants all spatial axes of (N, C, ...), and nothing cut off
    sides = x.shape[2:]
    limits = [side - (mode == "reflect") for side in sides]
    fits = all(0 <= one <= limit for pair in (begin[2:], end[2:]) for one, limit in zip(pair, limits, strict=True))
    if not 3 <= x.ndim <= 5 or first < 2 or not fits or not x.is_floating_point():
        return NotImplemented
    flat = [one for axis in reversed(range(2, x.ndim)) for one in (begin[axis], end[axis])]
    return functional.pad(x, flat, mode=mode)


@operator("DepthToSpace")
def put_depth_in_space(spec: Spec, x: Tensor) -> Any:
    """Make pixels of channels, in torch's order (CRD) or in TensorFlow's (DCR)."""
    size = spec.get("blocksize")
    if x.ndim != 4:
        return NotImplemented
    if spec.get("mode", "DCR") == "CRD":
        return functional.pixel_shuffle(x, size)
    n, channels, rows, columns = x.shape
    blocks = x.reshape(n, size, size, channels // size**2, rows, columns)
    return blocks.permute(0, 3, 4, 1, 5, 2).reshape(n, channels // size**2, rows * size, columns * size)


@operator("SpaceToDepth")
def put_space_in_depth(spec: Spec, x: Tensor) -> Any:
    """Make channels of pixels, in TensorFlow's order (DCR) or in torch's (CRD)."""
    size = spec.get("blocksize")
    if x.ndim != 4:
        return NotImplemented
    if spec.get("mode", "DCR") == "CRD":
        return functional.pixel_unshuffle(x, size)
    n, channels, rows, columns = x.shape
    blocks = x.reshape(n, channels, rows // size, size, columns // size, size)
    return blocks.permute(0, 3, 5, 1, 2, 4).reshape(n, channels * size**2, rows // size, columns // size)
