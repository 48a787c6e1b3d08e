"""The compiled form behind the interface of the others: whether it can be had, its weights, and running it.

Works on the memory of plain tensors. Autograd, compilers and modes that watch torch's operations do not see it, so
it is refused where one of them is active.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from deconvbench.upsamplers.fast.memory import estimate_plain_peak, is_channels_last
from deconvbench.upsamplers.fast.native.cutting import Cut, cut_work
from deconvbench.upsamplers.fast.native.library import Job, Library, Pieces, Weights, find_library
from deconvbench.upsamplers.fast.native.plans import Plan, find_plan
from deconvbench.upsamplers.fast.peaks import count_deconvolution

# how the library numbers the types of input and output; it computes in float32 whatever they are
NUMBER_TYPES: Mapping[torch.dtype, int] = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
COMPUTED_BYTES = 4
# of the plain form's memory: its estimate is rather too low, by a few per cent, and 10 % more are allowed
_MEMORY_LIMIT = 1.08


def find_native(
    x: Tensor | None, weight: Tensor, *, scale_factor: int, padding: int, groups: int = 1, is_resize: bool = True
) -> Plan | None:
    """Say how the compiled form computes a layer, if it is there and has it.

    Parameters
    ----------
    x : Tensor, shape (N, C_in, H, W), or None
        The input; None: any that it takes.
    weight : Tensor, shape (C_out, C_in/groups, k, k), or (C_in, C_out/groups, k, k) of a transposed convolution
        Of the layer.
    scale_factor, groups : int
        Of the layer.
    padding : int
        Upsampled pixels before the first, or what a transposed convolution takes off its output.
    is_resize : bool
        Whether it is upsampling and convolution.

    Returns
    -------
    Plan or None
    """
    tensors = (weight,) if x is None else (x, weight)
    if weight.shape[2] != weight.shape[3] or not all(
        tensor.dtype in NUMBER_TYPES and is_plain(tensor) and tensor.numel() for tensor in tensors
    ):
        return None
    if x is not None and x.shape[1] != (weight.shape[1] * groups if is_resize else weight.shape[0]):
        return None
    library = find_library()
    if library is None:
        return None
    return find_plan(
        library, kernel_size=weight.shape[2], scale_factor=scale_factor, padding=padding, is_resize=is_resize
    )


def is_plain(tensor: Tensor) -> bool:
    """Say whether a tensor's values are where it says.

    Parameters
    ----------
    tensor : Tensor
        Any.
    """
    return (
        type(tensor) in {Tensor, nn.Parameter}
        and tensor.device.type == "cpu"
        and tensor.layout == torch.strided
        and not tensor.is_neg()
        # many gradients at once, of which no transformation tells
        and not torch._C._functorch.is_legacy_batchedtensor(tensor)
    )


def take_library() -> Library:
    """Return the library that `has_native` found."""
    library = find_library()
    assert library is not None
    return library


def is_watched() -> bool:
    """Whether a mode counts torch's operations and would miss what is done beside them."""
    return torch._C._len_torch_dispatch_stack() > 0


def fits_native(plan: Plan, x: Tensor, out_channels: int, *, is_prepared: bool, groups: int = 1) -> bool:
    """Say whether the compiled form holds no more than torch's own operations.

    Parameters
    ----------
    plan : Plan
        From `find_native`.
    x : Tensor, shape (N, C_in, H, W)
        The input.
    out_channels, groups : int
        Of the layer.
    is_prepared : bool
        Whether the transformed weight is at hand.
    """
    library = find_library()
    return library is not None and _cut(library, plan, x, out_channels, groups, is_prepared=is_prepared).fits


def _cut(library: Library, plan: Plan, x: Tensor, out_channels: int, groups: int, *, is_prepared: bool) -> Cut:
    """Cut the work of each group."""
    batch, in_channels, height, width = x.shape
    output = batch * plan.scale_factor**2 * height * width * out_channels
    weights = plan.kernel_size**2 * in_channels * out_channels // groups
    if plan.is_resize:
        plain = estimate_plain_peak(x, out_channels, plan.kernel_size, plan.scale_factor) // x.element_size()
    else:
        plain = count_deconvolution(x.numel(), output, weights, is_channels_last=is_channels_last(x))
    room = x.element_size() * (int(_MEMORY_LIMIT * plain) - output)
    if x.element_size() < COMPUTED_BYTES and not is_prepared:
        room -= COMPUTED_BYTES * weights
    return cut_work(
        library,
        plan,
        batch=batch,
        in_channels=in_channels // groups,
        out_channels=out_channels // groups,
        height=height,
        width=width,
        threads=torch.get_num_threads() if library.is_threaded else 1,
        is_prepared=is_prepared,
        room_values=room // COMPUTED_BYTES,
    )


def prepare_native(library: Library, plan: Plan, weight: Tensor, groups: int = 1) -> Tensor:
    """Weights of the products of a tile, as the compiled form takes them.

    Parameters
    ----------
    library : Library
        From `find_library`.
    plan : Plan
        From `find_native`.
    weight : Tensor, shape (C_out, C_in/groups, k, k), or (C_in, C_out/groups, k, k)
        Of the layer.
    groups : int
        Of the layer.

    Returns
    -------
    Tensor, shape (groups, …), float32
    """
    parts = weight.chunk(groups)
    out_channels, in_channels = plan.get_channels(parts[0].shape)
    blocks = -(-out_channels // library.block_channels)
    packed = allocate(groups, blocks * library.count_block_values(plan.index, in_channels))
    for part, to in zip(parts, packed.unbind(), strict=True):
        kept, weights = describe_weight(plan, part)
        library.pack(plan.index, weights, to.data_ptr())
        del kept
    return packed


def allocate(
    *shape: int, layout: torch.memory_format = torch.contiguous_format, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Allocate memory on the CPU, whatever the defaults are.

    Parameters
    ----------
    *shape : int
        Of the tensor.
    layout : torch.memory_format
        Where there are four axes.
    dtype : torch.dtype
        Of the numbers.
    """
    return torch.empty(shape, dtype=dtype, device="cpu", memory_format=layout)


def describe_weight(plan: Plan, weight: Tensor) -> tuple[Tensor, Weights]:
    """Tell where a weight's values are.

    Parameters
    ----------
    plan : Plan
        Of the layer.
    weight : Tensor, shape (C_out, C_in, k, k), or (C_in, C_out, k, k) of a transposed convolution
        In any strides.

    Returns
    -------
    weight : Tensor, float32
        To be kept meanwhile: a copy where it was of another type, or the values are too far apart.
    weights : Weights
        As the library takes it.
    """
    weight = weight.float()
    size, strides = plan.kernel_size, weight.stride()
    is_even = strides[2] == size * strides[3] or size == 1
    if not is_even or 1 not in {strides[0], strides[1], strides[3]}:
        weight = weight.contiguous()
        strides = weight.stride()
    out_channels, in_channels = plan.get_channels(weight.shape)
    outwards, inwards = (0, 1) if plan.is_resize else (1, 0)
    # side by side are taps, or input channels, or else output channels
    return weight, Weights(
        weight.data_ptr(), out_channels, in_channels, strides[outwards], strides[inwards], strides[3]
    )


def run_native(
    library: Library,
    plan: Plan,
    x: Tensor,
    weight: Tensor,
    packed: Tensor | None,
    bias: Tensor | None,
    *,
    pads_zeros: bool = True,
    groups: int = 1,
    size: tuple[int, int] | None = None,
) -> Tensor:
    """Upsample and convolve, or convolve transposed.

    Parameters
    ----------
    library : Library
        From `find_library`.
    plan : Plan
        From `find_native`.
    x : Tensor, shape (N, C_in, H, W)
        Any H, W ≥ 1 and any strides; of one of `NUMBER_TYPES`. Sums are taken in float32.
    weight : Tensor, shape (C_out, C_in/groups, k, k), or (C_in, C_out/groups, k, k)
        Of the layer, of any of those types.
    packed : Tensor or None
        From `prepare_native`, if it is at hand.
    bias : Tensor, shape (C_out,), or None
        Added to every pixel.
    pads_zeros : bool
        Zeros beyond the border; otherwise the outermost pixels are repeated.
    groups : int
        Of the layer.
    size : (int, int), optional
        Of the output, at most sH and sW, which are the default.

    Returns
    -------
    Tensor, shape (N, C_out, sH, sW) or of that size
        Of the type of the input, with the channels last in memory where input or weight have them so.
    """
    parts = weight.chunk(groups)
    out_channels = groups * plan.get_channels(parts[0].shape)[0]
    height, width = size or tuple(plan.scale_factor * side for side in x.shape[2:])
    cut = _cut(library, plan, x, out_channels, groups, is_prepared=packed is not None)
    layout = torch.channels_last if is_channels_last(x, weight) else torch.contiguous_format
    y = allocate(x.shape[0], out_channels, height, width, layout=layout, dtype=x.dtype)
    scratch = allocate(cut.splits * cut.groups * cut.values)
    # as torch would have it, or else its error: what is called below believes everything
    bias = None if bias is None else bias.to(scratch).expand(out_channels).contiguous()
    biases = [None] * groups if bias is None else bias.chunk(groups)
    kept_parts = [None] * groups if packed is None else packed.unbind()
    every = zip(x.chunk(groups, 1), y.chunk(groups, 1), parts, biases, kept_parts, strict=True)
    for pixels, output, part, own_bias, own_packed in every:
        # one of another type is copied, for nothing where its transform is at hand
        kept, weights = describe_weight(plan, part) if own_packed is None else (None, Weights())
        library.run(
            plan.index,
            Job(
                *(pixels.data_ptr(), None if own_bias is None else own_bias.data_ptr(), output.data_ptr()),
                *(*pixels.shape, *x.stride(), *output.shape[1:], *y.stride()),
                *(not pads_zeros, NUMBER_TYPES[x.dtype]),
            ),
            weights,
            None if own_packed is None else own_packed.data_ptr(),
            Pieces(cut.splits, cut.groups, cut.rows, cut.blocks, cut.values),
            torch.get_num_threads(),
            scratch.data_ptr(),
        )
        del kept
    return y
