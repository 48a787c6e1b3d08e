"""Which form of a transposed convolution is fastest where: a rule learnt from measurements.

Knows shapes and the system, no tensors and no weights.
"""

from dataclasses import dataclass

DECONVOLUTIONS = ("auto", "plain", "minimal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the speed of the compiled form depends on.

    Parameters
    ----------
    kernel_size : int
        Of the layer; its stride is 2.
    in_channels, out_channels, groups : int
        Of the layer.
    batch, height, width : int
        Of the input.
    is_channels_last : bool
        Memory format of the output.
    is_cropped : bool
        Whether the output has less than 2×2 pixels for each of the input, as without output padding kernel 3 has.
    is_prepared : bool
        The transformed weight is at hand.
    threads : int
        Threads of one operation.
    is_training : bool
        A gradient will be asked for.
    """

    kernel_size: int
    in_channels: int
    out_channels: int
    groups: int
    batch: int
    height: int
    width: int
    is_channels_last: bool
    is_cropped: bool
    is_prepared: bool
    threads: int
    is_training: bool

    @property
    def pixels(self) -> int:
        """Of the input."""
        return self.batch * self.height * self.width


# fewer output channels leave the vectors empty, fewer input channels have nothing to save
_LEAST_CHANNELS = 4
# where the map is large enough for what is done to it beside the products, and for transforming the weight; larger
# kernels save more
_LEAST_PIXELS_KEPT, _LEAST_PIXELS_MADE, _LEAST_PIXELS_LARGE, _LARGE_KERNEL = 256, 512, 128, 5
# kernel 3 saves 11 products of 36 only
_LEAST_PIXELS_THREE, _LEAST_PIXELS_CROPPED = 640, 320
# input channels for each output channel, beyond which combining pixels takes what multiplying saves
_MOST_SHARE = 8
# torch's own starts with the first pixel, but re-orders input and output where the channels are first
_LEAST_PRODUCTS = 2e6
# with the channels last it re-orders nothing, so that products have to be saved
_LEAST_PIXELS_LAST = 320
_LEAST_PIXELS_FOUR_KEPT, _LEAST_PIXELS_FOUR_MADE = 512, 2048
_FOUR_IN, _FOUR_OUT, _LARGE_IN, _LARGE_OUT = 64, 32, 32, 16
# backward, with what it costs forward: from so many pixels on, with one thread from fewer where many products go
# to each; with the channels last from so many products on, and for kernel 3 in few cases
_LEAST_CHANNELS_BACK, _LEAST_PIXELS_BACK, _LEAST_PIXELS_BACK_FEW = 16, 256, 1024
_MANY_PRODUCTS, _MANY_PRODUCTS_LARGE, _MOST_PRODUCTS = 2**15, 2**13, 2**17
# two threads share its work worse than torch's own
_LEAST_PIXELS_BACK_SHARED = 4096


def prefers_minimal(load: Load) -> bool:
    """Say whether the compiled minimal form is faster than torch's own.

    Learnt on one core of an Intel Xeon (torch 2.13.0, float32, 4 to 512 input channels, as many, twice
    as many or down to a quarter as many output channels and some few, maps from 6×6 to 128×128, batches of 1, 2,
    8, both memory formats, weights kept and transformed in every call; 800 cells, interleaved). In words: with the
    channels first from some hundred pixels on. With the channels last torch's own is faster for kernel 3, and for
    kernel 4 where channels and pixels are few; all but where each input pixel gives fewer than 2×2 of the output
    (kernel 3 or 5 without output padding), which it is slow at. With two threads the map must be twice as large.
    Groups were not measured.

    Parameters
    ----------
    load : Load
        Layer, input and system.
    """
    # two threads share its work worse than torch's own
    pixels, size = load.pixels // min(load.threads, 2), load.kernel_size
    if load.groups > 1 or min(load.in_channels, load.out_channels) < _LEAST_CHANNELS:
        return False
    if load.is_channels_last and not load.is_cropped:
        if size == 3 or pixels < _LEAST_PIXELS_LAST:
            return False
        if size >= _LARGE_KERNEL:
            return load.in_channels >= _LARGE_IN and load.out_channels >= _LARGE_OUT
        least = _LEAST_PIXELS_FOUR_KEPT if load.is_prepared else _LEAST_PIXELS_FOUR_MADE
        has_channels = load.in_channels >= _FOUR_IN and load.out_channels >= _FOUR_OUT
        return pixels >= least and has_channels
    products = size**2 * load.in_channels * load.out_channels * pixels
    if load.is_cropped and (size == 3 or load.is_channels_last):
        least = _LEAST_PIXELS_CROPPED
    elif size == 3:
        least = _LEAST_PIXELS_THREE
    elif size >= _LARGE_KERNEL:
        least = _LEAST_PIXELS_LARGE
    else:
        least = _LEAST_PIXELS_KEPT if load.is_prepared else _LEAST_PIXELS_MADE
    if size == 3 and not load.is_cropped and load.in_channels > _MOST_SHARE * load.out_channels:
        return False
    return pixels >= least and products >= _LEAST_PRODUCTS


def prefers_minimal_backward(load: Load) -> bool:
    """Say whether forward and compiled backward pass together are faster than torch's own.

    Learnt on two cores of an AMD EPYC (torch 2.13.0, float32, 64 to 512 input channels, half as many output
    channels, 16×16 to 64×64 pixels, both memory formats, one and two threads; 128 cells, interleaved).

    Parameters
    ----------
    load : Load
        Layer, input and system.
    """
    pixels, size = load.pixels, load.kernel_size
    products = load.in_channels * load.out_channels
    if (
        load.groups > 1
        or pixels < _LEAST_PIXELS_BACK
        or min(load.in_channels, load.out_channels) < _LEAST_CHANNELS_BACK
        or load.in_channels > _MOST_SHARE * load.out_channels
    ):
        return False
    if load.threads > 1:
        if products >= _MOST_PRODUCTS:
            return load.is_channels_last or size >= _LARGE_KERNEL
        return not load.is_channels_last and pixels >= _LEAST_PIXELS_BACK_SHARED
    if not load.is_channels_last:
        return pixels >= _LEAST_PIXELS_BACK_FEW or (size > 3 and products >= _MANY_PRODUCTS)
    if size == 3:
        return products >= (_MANY_PRODUCTS if pixels >= _LEAST_PIXELS_BACK_FEW else _MOST_PRODUCTS)
    return products >= (_MANY_PRODUCTS_LARGE if size >= _LARGE_KERNEL else _MANY_PRODUCTS)


def may_prefer_minimal(kernel_size: int, in_channels: int, out_channels: int, groups: int) -> bool:
    """Say whether there is any size of the input at which the compiled form is faster.

    Parameters
    ----------
    kernel_size, in_channels, out_channels, groups : int
        Of the layer.
    """
    large = Load(
        kernel_size=kernel_size,
        in_channels=in_channels,
        out_channels=out_channels,
        groups=groups,
        batch=1,
        height=2**10,
        width=2**10,
        is_channels_last=False,
        is_cropped=False,
        is_prepared=True,
        threads=1,
        is_training=False,
    )
    return prefers_minimal(large)
