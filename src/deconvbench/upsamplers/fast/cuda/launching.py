"""Who calls the kernels: with which blocks, on which device, and with how many programs.

Triton's autotuner tries out the blocks for each class of sizes, and leaves out what does not fit a device.
Where algorithms must be deterministic, and in Triton's interpreter, the first ones are taken untried.

Needs Triton when it is imported.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from deconvbench.upsamplers.fast.cuda.blocks import CONFIGURATIONS
from deconvbench.upsamplers.fast.cuda.kernels import backward, forward
from deconvbench.upsamplers.fast.memory import is_channels_last

IS_INTERPRETED = bool(triton.knobs.runtime.interpret)
_OPERANDS = {torch.float32: tl.float32, torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}
_TUNED_FOR = ("in_channels", "out_channels", "size_class", "precision")
# rows of blocks that share what is in the cache
_GROUP = 8
_WEIGHT_BLOCK = 32
# programs of the weight's gradient for each multiprocessor, and pixels below which a share is not worth its sums
_SHARE_PROGRAMS, _LEAST_SHARE = 2, 256

# tuned kernels, each made when it is first called
_TUNED: dict[tuple[str, bool], Any] = {}


def _launch(
    kernel: Any,
    count_programs: Callable[[Mapping[str, int]], tuple[int, ...]],
    *,
    has_tensor_cores: bool,
    **arguments: Any,
) -> None:
    """Call a kernel with the blocks that are best here."""
    key = (kernel.__name__, has_tensor_cores)
    choices = CONFIGURATIONS[key]
    if IS_INTERPRETED or torch.are_deterministic_algorithms_enabled():
        first = choices[0]
        kernel[count_programs](**arguments, **first.sizes, num_warps=first.warps, num_stages=first.stages)
        return
    tuned = _TUNED.get(key)
    if tuned is None:
        configurations = [
            triton.Config(dict(each.sizes), num_warps=each.warps, num_stages=each.stages) for each in choices
        ]
        tuned = _TUNED[key] = triton.autotune(configs=configurations, key=list(_TUNED_FOR))(kernel)
    tuned[count_programs](**arguments)


def _on(tensor: Tensor) -> AbstractContextManager[object]:
    return torch.cuda.device(tensor.device) if tensor.device.type == "cuda" else nullcontext()


def _name_strides(prefix: str, tensor: Tensor) -> dict[str, int]:
    return {prefix + axis: stride for axis, stride in zip("nchw", tensor.stride(), strict=True)}


def _describe(x: Tensor, out_channels: int) -> dict[str, int]:
    batch, in_channels, height, width = x.shape
    return {
        "batch": batch,
        "in_channels": in_channels,
        "out_channels": out_channels,
        "height": height,
        "width": width,
        "matrix": in_channels * out_channels,
        # the powers of two above the pixels and above the width
        "size_class": 64 * (batch * height * width).bit_length() + width.bit_length(),
    }


def transform(
    weight: Tensor, dtype: torch.dtype, precision: str, *, is_tiled: bool = False, is_swapped: bool = False
) -> Tensor:
    """Make the matrices of a product from a weight, one for each tap or each of the 25 products.

    Parameters
    ----------
    weight : Tensor, shape (C_out, C_in, 3, 3)
        In any strides and type.
    dtype : torch.dtype
        Of the operands: float32, bfloat16 or float16.
    precision : str
        ``tf32`` rounds float32 to its digits; ``ieee`` does not.
    is_tiled : bool
        The 25 products of the tiled form; otherwise the taps as they are.
    is_swapped : bool
        The channels of the input before those of the output.

    Returns
    -------
    Tensor, shape (9 or 25, C_out, C_in), or (…, C_in, C_out)
    """
    out_channels, in_channels = weight.shape[:2]
    shape = (in_channels, out_channels) if is_swapped else (out_channels, in_channels)
    made = torch.empty(25 if is_tiled else 9, *shape, dtype=dtype, device=weight.device)
    places = made.transpose(1, 2) if is_swapped else made
    blocks = (triton.cdiv(out_channels, _WEIGHT_BLOCK), triton.cdiv(in_channels, _WEIGHT_BLOCK))
    with _on(weight):
        forward.transform_weight[blocks](
            *(weight, made, out_channels, in_channels, *weight.stride(), *places.stride()),
            is_tiled=is_tiled,
            operand=_OPERANDS[dtype],
            precision=precision,
            block_out=_WEIGHT_BLOCK,
            block_in=_WEIGHT_BLOCK,
        )
    return made


def run_forward(
    name: str, x: Tensor, matrices: Tensor, bias: Tensor | None, y: Tensor, precision: str, *, pads_zeros: bool
) -> None:
    """Fill the output.

    Parameters
    ----------
    name : str
        ``tiled`` or ``minimal``.
    x : Tensor, shape (N, C_in, H, W)
        In any strides.
    matrices : Tensor, shape (25 or 9, C_out, C_in)
        From `transform`.
    bias : Tensor, shape (C_out,), contiguous, or None
        Added to every pixel.
    y : Tensor, shape (N, C_out, 2H, 2W)
        Where it goes.
    precision : str
        Of the products of float32.
    pads_zeros : bool
        Zeros beyond the border; otherwise the outermost pixels are repeated.
    """
    batch, _, height, width = x.shape
    out_channels = y.shape[1]
    is_tiled = name == "tiled"

    def count(blocks: Mapping[str, int]) -> tuple[int]:
        if is_tiled:
            tiles = batch * triton.cdiv(height, 2) * triton.cdiv(width, 2)
            rows = triton.cdiv(tiles, blocks["block_tiles"])
        else:
            # as the kernel cuts them
            down = max(triton.cdiv(height - 2, blocks["patch_rows"] - 2), 1)
            rows = batch * down * max(triton.cdiv(width - 2, blocks["patch_columns"] - 2), 1)
        return (rows * triton.cdiv(out_channels, blocks["block_out"]),)

    with _on(x):
        _launch(
            forward.tiled_forward if is_tiled else forward.minimal_forward,
            count,
            has_tensor_cores=matrices.dtype != torch.float32 or precision != "ieee",
            x=x,
            **{"products" if is_tiled else "taps": matrices},
            bias=matrices if bias is None else bias,
            y=y,
            **_describe(x, out_channels),
            **_name_strides("x", x),
            **_name_strides("y", y),
            has_bias=bias is not None,
            replicates=not pads_zeros,
            has_last=is_channels_last(y),
            operand=_OPERANDS[matrices.dtype],
            precision=precision,
            group=_GROUP,
        )


def run_input_gradient(
    gradient: Tensor, taps: Tensor, to_input: Tensor, precision: str, *, pads_zeros: bool
) -> None:
    """Fill the gradient to the input.

    Parameters
    ----------
    gradient : Tensor, shape (N, C_out, 2H, 2W)
        In any strides.
    taps : Tensor, shape (9, C_in, C_out), float32
        From `transform`.
    to_input : Tensor, shape (N, C_in, H, W)
        Where it goes.
    precision, pads_zeros
        As for `run_forward`.
    """
    batch, in_channels, height, width = to_input.shape

    def count(blocks: Mapping[str, int]) -> tuple[int]:
        rows = triton.cdiv(batch * height * width, blocks["block_pixels"])
        return (rows * triton.cdiv(in_channels, blocks["block_in"]),)

    with _on(gradient):
        _launch(
            backward.input_gradient,
            count,
            has_tensor_cores=precision != "ieee",
            gradient=gradient,
            taps=taps,
            out=to_input,
            **_describe(to_input, gradient.shape[1]),
            **_name_strides("g", gradient),
            **_name_strides("x", to_input),
            replicates=not pads_zeros,
            precision=precision,
            group=_GROUP,
        )


def find_weight_gradient(gradient: Tensor, x: Tensor, precision: str, *, pads_zeros: bool) -> Tensor:
    """Find the gradient to the nine taps.

    Parameters
    ----------
    gradient : Tensor, shape (N, C_out, 2H, 2W)
        In any strides.
    x : Tensor, shape (N, C_in, H, W)
        The input, in any strides.
    precision, pads_zeros
        As for `run_forward`.

    Returns
    -------
    Tensor, shape (9, C_out, C_in), float32
    """
    batch, in_channels, height, width = x.shape
    out_channels = gradient.shape[1]
    has_tensor_cores = precision != "ieee"
    processors = torch.cuda.get_device_properties(x.device).multi_processor_count if x.device.type == "cuda" else 1

    def count_blocks(blocks: Mapping[str, int]) -> tuple[int, int]:
        return triton.cdiv(out_channels, blocks["block_out"]), triton.cdiv(in_channels, blocks["block_in"])

    across, down = count_blocks(CONFIGURATIONS["weight_gradient", has_tensor_cores][0].sizes)
    splits = split_pixels(across * down, batch * height * width, processors)
    parts = torch.empty(splits, 9, out_channels, in_channels, dtype=torch.float32, device=x.device)
    with _on(gradient):
        _launch(
            backward.weight_gradient,
            lambda blocks: (*count_blocks(blocks), splits),
            has_tensor_cores=has_tensor_cores,
            gradient=gradient,
            x=x,
            out=parts,
            **_describe(x, out_channels),
            **_name_strides("g", gradient),
            **_name_strides("x", x),
            splits=splits,
            replicates=not pads_zeros,
            precision=precision,
        )
    # in one order, so that the result is the same in every call
    return parts.sum(0) if splits > 1 else parts[0]


def split_pixels(blocks: int, pixels: int, processors: int) -> int:
    """Cut the pixels into shares, so that all multiprocessors have work where there are few channels.

    Parameters
    ----------
    blocks : int
        Programs for each share.
    pixels : int
        Of all images.
    processors : int
        Multiprocessors of the device.
    """
    wanted = -(-_SHARE_PROGRAMS * processors // blocks)
    return max(min(wanted, pixels // _LEAST_SHARE), 1)
