"""The compiled form behind the interface of the others: whether it can be had, its weights, and running it.

Works on the memory of plain tensors. Autograd, compilers and modes that watch torch's operations do not see it, so
it is refused where one of them is active.
"""

import torch
from torch import Tensor, nn

from deconvbench.upsamplers.fast.memory import estimate_plain_peak, is_channels_last
from deconvbench.upsamplers.fast.native.cutting import Cut, cut_work
from deconvbench.upsamplers.fast.native.library import Job, Library, Pieces, Weights, find_library

_KERNEL_SIZE, _SCALE_FACTOR = 3, 2
# of the plain form's memory: its estimate is rather too low, by a few per cent, and 10 % more are allowed
_MEMORY_LIMIT = 1.08


def has_native(x: Tensor, weight: Tensor, *, scale_factor: int, groups: int) -> bool:
    """Say whether the compiled form is there and has this layer.

    Parameters
    ----------
    x : Tensor, shape (N, C_in, H, W)
        The input.
    weight : Tensor, shape (C_out, C_in, k, k)
        Of the convolution.
    scale_factor, groups : int
        Of the layer.
    """
    return (
        x.dtype == weight.dtype == torch.float32
        and (*weight.shape[1:], scale_factor, groups) == (x.shape[1], _KERNEL_SIZE, _KERNEL_SIZE, _SCALE_FACTOR, 1)
        and all(is_plain(tensor) for tensor in (x, weight))
        and x.numel() * weight.numel() > 0
        and find_library() is not None
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


def fits_native(x: Tensor, out_channels: int, *, is_prepared: bool) -> bool:
    """Say whether the compiled form holds no more than the plain one.

    Parameters
    ----------
    x : Tensor, shape (N, C_in, H, W)
        The input.
    out_channels : int
        Of the layer.
    is_prepared : bool
        Whether the transformed weight is at hand.
    """
    library = find_library()
    return library is not None and _cut(library, x, out_channels, is_prepared=is_prepared).fits


def _cut(library: Library, x: Tensor, out_channels: int, *, is_prepared: bool) -> Cut:
    batch, in_channels, height, width = x.shape
    plain = estimate_plain_peak(x, out_channels, _KERNEL_SIZE, _SCALE_FACTOR) // x.element_size()
    output = batch * _SCALE_FACTOR**2 * height * width * out_channels
    return cut_work(
        library,
        batch=batch,
        in_channels=in_channels,
        out_channels=out_channels,
        height=height,
        width=width,
        threads=torch.get_num_threads() if library.is_threaded else 1,
        is_prepared=is_prepared,
        room_values=int(_MEMORY_LIMIT * plain) - output,
    )


def prepare_native(library: Library, weight: Tensor) -> Tensor:
    """Weights of the 5×5 products, as the compiled form takes them.

    Parameters
    ----------
    library : Library
        From `find_library`.
    weight : Tensor, shape (C_out, C_in, 3, 3), float32
        Of the convolution.

    Returns
    -------
    Tensor, one-dimensional, float32
    """
    out_channels, in_channels = weight.shape[:2]
    blocks = -(-out_channels // library.block_channels)
    packed = allocate(blocks * library.count_block_values(in_channels))
    weight, weights = describe_weight(weight)
    library.pack(weights, packed.data_ptr())
    return packed


def allocate(*shape: int, layout: torch.memory_format = torch.contiguous_format) -> Tensor:
    """Allocate float32 on the CPU, whatever the defaults are.

    Parameters
    ----------
    *shape : int
        Of the tensor.
    layout : torch.memory_format
        Where there are four axes.
    """
    return torch.empty(shape, dtype=torch.float32, device="cpu", memory_format=layout)


def describe_weight(weight: Tensor) -> tuple[Tensor, Weights]:
    """Tell where a weight's values are.

    Parameters
    ----------
    weight : Tensor, shape (C_out, C_in, 3, 3), float32
        In any strides.

    Returns
    -------
    weight : Tensor
        To be kept meanwhile: a copy where the values are too far apart.
    weights : Weights
        As the library takes it.
    """
    stride_out, stride_in, stride_row, stride_tap = weight.stride()
    has_taps_inside = (stride_in, stride_row, stride_tap) == (9, 3, 1)
    has_channels_inside = (stride_in, stride_row) == (1, 3 * stride_tap) and stride_tap > 1
    if not has_taps_inside and not has_channels_inside:
        weight = weight.contiguous()
        stride_out, stride_in, _, stride_tap = 9 * weight.shape[1], 9, 3, 1
    out_channels, in_channels = weight.shape[:2]
    return weight, Weights(weight.data_ptr(), out_channels, in_channels, stride_out, stride_in, stride_tap)


def run_native(
    library: Library, x: Tensor, weight: Tensor, packed: Tensor | None, bias: Tensor | None, *, pads_zeros: bool
) -> Tensor:
    """Upsample by two and convolve.

    Parameters
    ----------
    library : Library
        From `find_library`.
    x : Tensor, shape (N, C_in, H, W), float32
        Any H, W ≥ 1 and any strides.
    weight : Tensor, shape (C_out, C_in, 3, 3), float32
        Of the convolution.
    packed : Tensor or None
        From `prepare_native`, if it is at hand.
    bias : Tensor, shape (C_out,), or None
        Added to every pixel.
    pads_zeros : bool
        Zeros beyond the border; otherwise the outermost pixels are repeated.

    Returns
    -------
    Tensor, shape (N, C_out, 2H, 2W)
        With the channels last in memory where input or weight have them so.
    """
    out_channels = weight.shape[0]
    cut = _cut(library, x, out_channels, is_prepared=packed is not None)
    layout = torch.channels_last if is_channels_last(x, weight) else torch.contiguous_format
    y = allocate(x.shape[0], out_channels, 2 * x.shape[2], 2 * x.shape[3], layout=layout)
    scratch = allocate(cut.splits * cut.groups * cut.values)
    # as torch would have it, or else its error: what is called below believes everything
    bias = None if bias is None else bias.to(x).expand(out_channels).contiguous()
    weight, weights = describe_weight(weight)
    library.run(
        Job(
            *(x.data_ptr(), None if bias is None else bias.data_ptr(), y.data_ptr()),
            *(*x.shape, *x.stride(), out_channels, *y.stride()),
            not pads_zeros,
        ),
        weights,
        None if packed is None else packed.data_ptr(),
        Pieces(cut.splits, cut.groups, cut.rows, cut.blocks, cut.values),
        torch.get_num_threads(),
        scratch.data_ptr(),
    )
    return y
