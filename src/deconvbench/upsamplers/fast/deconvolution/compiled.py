"""The compiled form of a transposed convolution: whether it can be had, its weights, and running it both ways.

The only place here that knows the library.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from deconvbench.upsamplers.fast.deconvolution.shape import TransposedShape
from deconvbench.upsamplers.fast.native.backward import fits_native_backward, run_native_backward
from deconvbench.upsamplers.fast.native.form import (
    find_native,
    fits_native,
    prepare_native,
    run_native,
    take_library,
)
from deconvbench.upsamplers.fast.native.library import find_library
from deconvbench.upsamplers.fast.native.plans import Plan, find_plan


def has_plan(
    kernel_size: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...], dilation: tuple[int, ...]
) -> bool:
    """Say whether the compiled form is there and has such layers, with as little output padding as it takes.

    Parameters
    ----------
    kernel_size, stride, padding, dilation : (int, int)
        Rows and columns.
    """
    library = find_library()
    if library is None or dilation != (1, 1):
        return False
    (size, *sizes), (scale, *scales), (border, *borders) = kernel_size, stride, padding
    if (sizes, scales, borders) != ([size], [scale], [border]):
        return False
    found = find_plan(library, kernel_size=size, scale_factor=scale, padding=border, is_resize=False)
    return found is not None


# what torch.compiler.assume_constant_result says, without the seconds that importing a compiler takes: one that
# traces is to ask this, and not to read how it is answered
has_plan._dynamo_marked_constant = True  # type: ignore[attr-defined] # torch reads it


def is_supported(shape: TransposedShape) -> bool:
    """Say whether the compiled form is there and has a layer.

    Parameters
    ----------
    shape : TransposedShape
        Of the layer.
    """
    return has_plan(shape.kernel_size, shape.stride, shape.padding, shape.dilation) and all(
        # no more than s output pixels for each of the input
        more <= scale + 2 * border - size
        for more, scale, border, size in zip(
            shape.output_padding, shape.stride, shape.padding, shape.kernel_size, strict=True
        )
    )


def _find_plan(x: Tensor | None, weight: Tensor, shape: TransposedShape) -> Plan | None:
    # in half precision torch's own has few products that could be saved
    if weight.dtype != torch.float32 or (x is not None and x.dtype != torch.float32):
        return None
    return find_native(
        x,
        weight,
        scale_factor=shape.stride[0],
        padding=shape.padding[0],
        groups=shape.groups,
        is_resize=False,
    )


def _take_plan(weight: Tensor, shape: TransposedShape) -> Plan:
    plan = _find_plan(None, weight, shape)
    assert plan is not None  # otherwise it is not asked for
    return plan


def has_compiled(x: Tensor, weight: Tensor, shape: TransposedShape) -> bool:
    """Say whether the compiled form takes an input and a weight.

    Parameters
    ----------
    x : Tensor, shape (N, C_in, H, W)
        The input.
    weight : Tensor, shape (C_in, C_out/groups, k, k)
        Of the layer.
    shape : TransposedShape
        Of the layer; `is_supported` must hold.
    """
    return _find_plan(x, weight, shape) is not None


def fits_compiled(x: Tensor, weight: Tensor, shape: TransposedShape, *, is_prepared: bool) -> bool:
    """Say whether the compiled form holds no more memory than torch's own.

    Parameters
    ----------
    x, weight, shape
        As for `has_compiled`, which must hold.
    is_prepared : bool
        Whether the transformed weight is at hand.
    """
    plan = _take_plan(weight, shape)
    return fits_native(plan, x, shape.out_channels, is_prepared=is_prepared, groups=shape.groups)


def prepare_compiled(weight: Tensor, shape: TransposedShape) -> Tensor:
    """Transform a weight.

    Parameters
    ----------
    weight, shape
        As for `has_compiled`.

    Returns
    -------
    Tensor, float32
        In an order of the library's own.
    """
    return prepare_native(take_library(), _take_plan(weight, shape), weight, shape.groups)


def run_compiled(
    x: Tensor, weight: Tensor, packed: Tensor | None, bias: Tensor | None, shape: TransposedShape
) -> Tensor:
    """Compute a transposed convolution.

    Parameters
    ----------
    x, weight, shape
        As for `has_compiled`, which must hold.
    packed : Tensor or None
        From `prepare_compiled`, if it is at hand.
    bias : Tensor, shape (C_out,), or None
        Added to every pixel.

    Returns
    -------
    Tensor, shape (N, C_out, H', W')
    """
    rows, columns = shape.measure_output(x.shape[2:])
    return run_native(
        *(take_library(), _take_plan(weight, shape), x, weight, packed, bias),
        groups=shape.groups,
        size=(rows, columns),
    )


def go_back_compiled(
    x: Tensor, weight: Tensor, gradient: Tensor, shape: TransposedShape, needs: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None] | None:
    """Find the gradients to input and weight.

    Parameters
    ----------
    x, weight, shape
        As for `has_compiled`.
    gradient : Tensor, shape (N, C_out, H', W')
        To the output.
    needs : (bool, bool)
        Which of them are wanted.

    Returns
    -------
    (Tensor or None, Tensor or None), or None
        None where they cannot be had so, or would take more memory than torch's own.
    """
    plan, library = _find_plan(x, weight, shape), find_library()
    if plan is None or library is None:
        return None
    if not fits_native_backward(library, plan, x, weight, gradient, shape.groups):
        return None
    return run_native_backward(
        *(library, plan, x, weight, gradient),
        groups=shape.groups,
        needs_input=needs[0],
        needs_weight=needs[1],
    )
