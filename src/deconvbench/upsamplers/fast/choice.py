"""Which form is fastest where: the rule of ``implementation="auto"``, learnt from measurements.

Knows shapes and the system, no tensors and no weights.
"""

from dataclasses import dataclass

from deconvbench.upsamplers.fast.peaks import Library, Sizes, count_plain, count_transposed

IMPLEMENTATIONS = ("auto", "plain", "transposed", "subpixel", "minimal", "tiled")
# how the tiled form is called where the compiled one runs; it cannot be requested by this name
NATIVE = "tiled (native)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What the speed of a form depends on.

    Parameters
    ----------
    kernel_size, scale_factor, groups : int
        Of the layer.
    in_channels, out_channels : int
        Of the layer.
    batch, height, width : int
        Of the input.
    is_float32, is_cpu : bool
        What the measurements behind the rule were made with.
    threads : int
        Threads of one operation.
    is_channels_last : bool
        Memory format of the input.
    is_prepared : bool
        The transformed weight is at hand.
    is_training : bool
        A gradient will be asked for.
    is_native : bool
        The layer is there compiled, and holds no more than the plain form, backward too where that is asked for.
    library : Library
        Who computes torch's convolutions of this type here.
    """

    kernel_size: int
    scale_factor: int
    groups: int
    in_channels: int
    out_channels: int
    batch: int
    height: int
    width: int
    is_float32: bool
    is_cpu: bool
    threads: int
    is_channels_last: bool
    is_prepared: bool
    is_training: bool
    is_native: bool = False
    library: Library = Library.ONEDNN


# the transposed form pays where the map has so many values, and beyond so many pixels where its kernel is made in
# every call, because making it does not depend on the map
_LEAST_VALUES_KEPT, _LEAST_VALUES_MADE, _LEAST_VALUES_TRAINING = 4096, 8192, 16384
_LEAST_PIXELS_MADE = 256
# in groups from so many channels in and out of each on: for channels alone (depthwise) it is much slower
_LEAST_GROUP_IN, _LEAST_GROUP_OUT = 16, 8
# products are spread over pixels, and over channels with many of which their additions do not count
_LEAST_PIXELS_PRODUCTS = 64
_TILED_CHANNELS, _TILED_CHANNELS_LARGE_MAP = 256, 128
_LARGE_MAP = 4096
# kernel 1: torch's convolution of many channels
_LEAST_CHANNELS_ONE = 64
# to no more than these the transposed form is faster: the tiles' combinations of inputs cost as much as for many
_MANY_OUT_CHANNELS = 64
# the minimal form needs few multiplications more than its additions cost: half of those of the transposed form
_MINIMAL_GAIN = 2
_MINIMAL_VALUES, _MINIMAL_PHASE_CHANNELS = 16384, 256
# the compiled form costs little more than a call of it: it pays from so many upsampled values and pixels on, and
# in training from more. Its products run over input channels, which must not be too few, least of all in a group,
# of which each is a call
_LEAST_UPSAMPLED_NATIVE, _LEAST_UPSAMPLED_NATIVE_TRAINING = 8192, 65536
_LEAST_PIXELS_NATIVE = 16
_LEAST_CHANNELS_NATIVE, _LEAST_CHANNELS_NATIVE_TRAINING, _LEAST_GROUP_NATIVE = 8, 16, 32
# in half precision it has more to catch up with, most of all with the channels last, where torch re-orders nothing
_LEAST_UPSAMPLED_HALF, _LEAST_UPSAMPLED_HALF_LAST = 2**15, 2**17
_LEAST_CHANNELS_HALF_TRAINING, _LEAST_CHANNELS_HALF_LAST = 32, 64
# to so few channels one small convolution of torch's is faster than the forms that share products
_FEW_OUT_CHANNELS, _FEW_OUT_CHANNELS_NATIVE = 4, 128
# of no more than these, which a kernel smaller than this combines, the plain form is faster or as fast
_FEW_IN_CHANNELS, _LARGE_KERNEL = 7, 7
# the estimates are good to 3 %, and 10 % more than the plain form's are allowed
_MEMORY_LIMIT = 1.07


def choose_implementation(load: Workload) -> str:
    """Name the form to use.

    Learnt on one CPU (two cores with AVX-512, float32, batch 1, C to C/2 channels from 8 to 512, maps from 4×4 to
    128×128, both memory formats, one and two threads, weights kept and made in every call, forward and train), all
    forms with interleaved timing; ``deconvbench run --preset fast`` shows for any machine how far the choice is
    from the best. In words: `plain` for small maps and few channels, `transposed` in between, and for many
    channels the forms that multiply least: `tiled` for kernel 3 and scale 2, `minimal` where scales of 3 and more
    make its products few. Two threads share additions badly, so they double the channels that those need. A form
    that would hold more than 1.1 times what the plain form does (`peaks`) is not taken. Kernel 1 is `transposed`
    where many channels become half as many or fewer, and otherwise `plain`. With groups the transposed form is
    taken where each has some channels. What was not measured (float64, accelerators) gets the transposed form: one
    convolution of torch's own. In half precision, of what is named here only the compiled form counts (see
    `dtypes`).

    Where the layer is there compiled, that is the fastest from some thousand values on, but for few input
    channels. To at most 4 output channels `subpixel` takes the place of `transposed`, and of the compiled form
    where its weight is kept and input channels are many; with few input channels too, `plain` does.

    Parameters
    ----------
    load : Workload
        Layer, input and system.

    Returns
    -------
    str
        ``plain``, ``transposed``, ``minimal``, ``tiled`` or ``tiled (native)``.
    """
    if load.kernel_size == 1 and load.is_cpu:
        return "transposed" if _prefers_spreading(load) else "plain"
    if load.is_native and _has_channels(load):
        chosen = NATIVE if _pays_compiled(load) else "plain"
    else:
        chosen = _choose_operations(load)
    if not _prefers_subpixel(load, chosen):
        return chosen
    has_few = load.in_channels <= _FEW_IN_CHANNELS and load.kernel_size < _LARGE_KERNEL
    return "plain" if has_few else "subpixel"


def _prefers_spreading(load: Workload) -> bool:
    """Whether products of kernel 1 that are spread over s×s pixels are faster than the plain form."""
    pixels = load.batch * load.height * load.width
    return (
        load.is_float32
        and load.groups == 1
        and not load.is_channels_last
        and pixels >= _LEAST_PIXELS_MADE
        and load.in_channels >= max(_LEAST_CHANNELS_ONE, 2 * load.out_channels)
        and _holds_little(load, pixels)
    )


def _has_channels(load: Workload) -> bool:
    """Whether there are enough of them for the compiled form."""
    channels = load.in_channels // load.groups
    if load.groups > 1:
        return channels >= _LEAST_GROUP_NATIVE
    return channels >= (_LEAST_CHANNELS_NATIVE_TRAINING if load.is_training else _LEAST_CHANNELS_NATIVE)


def _pays_compiled(load: Workload) -> bool:
    """Whether the map is large enough for the compiled form."""
    pixels = load.batch * load.height * load.width
    upsampled = load.scale_factor**2 * pixels * load.in_channels
    if pixels < _LEAST_PIXELS_NATIVE or (not load.is_float32 and not _pays_in_half(load, upsampled)):
        return False
    if load.is_training:
        return upsampled >= _LEAST_UPSAMPLED_NATIVE_TRAINING
    # its blocks of output channels would be nearly empty
    least = _LEAST_UPSAMPLED_NATIVE * (4 if load.out_channels <= _FEW_OUT_CHANNELS else 1)
    return upsampled >= least


def _pays_in_half(load: Workload, upsampled: int) -> bool:
    """Whether it is faster than torch's own convolution in half precision, which takes half of the time there."""
    if not load.is_channels_last:
        return upsampled >= _LEAST_UPSAMPLED_HALF and (
            not load.is_training or load.in_channels >= _LEAST_CHANNELS_HALF_TRAINING
        )
    least = _LEAST_CHANNELS_HALF_LAST
    if load.threads > 1:
        # the weight is transformed once, and two threads share torch's own work better
        least *= 2 if load.is_prepared else 4
    return upsampled >= _LEAST_UPSAMPLED_HALF_LAST and load.in_channels >= least


def _prefers_subpixel(load: Workload, chosen: str) -> bool:
    """Whether one convolution at low resolution is faster than what was chosen: it has few output channels."""
    is_measured = load.is_cpu and load.is_float32 and load.groups == 1 and not load.is_training
    if not is_measured or load.out_channels > _FEW_OUT_CHANNELS:
        return False
    if chosen == NATIVE:
        return load.is_prepared and load.in_channels >= _FEW_OUT_CHANNELS_NATIVE
    return chosen in {"transposed", "minimal", "tiled"}


def _choose_operations(load: Workload) -> str:
    """Choose among the forms that are made of torch's operations."""
    pixels = load.batch * load.height * load.width
    if load.is_cpu and load.groups > 1:
        channels = load.in_channels // load.groups, load.out_channels // load.groups
        if channels[0] < _LEAST_GROUP_IN or channels[1] < _LEAST_GROUP_OUT:
            return "plain"
    if load.is_cpu and load.is_float32:
        if _reorders_more(load):
            return "plain"
        if load.groups == 1 and _prefers_products(load, pixels):
            return "tiled" if (load.kernel_size, load.scale_factor) == (3, 2) else "minimal"
        if load.is_prepared:
            least = _LEAST_VALUES_KEPT
        else:
            least = _LEAST_VALUES_TRAINING if load.is_training else _LEAST_VALUES_MADE
            # the plain form is faster with the channels last, and shares its work better among threads
            least *= (2 if load.is_channels_last else 1) * min(load.threads, 2)
        if pixels * load.in_channels < least or (not load.is_prepared and pixels < _LEAST_PIXELS_MADE):
            return "plain"
        if (
            load.is_prepared
            and load.groups == 1
            and (load.kernel_size, load.scale_factor) == (3, 2)
            and not _holds_little(load, pixels)
        ):
            # the transposed kernel outweighs the map and cannot be cut, as the work of the tiled form is
            return "tiled" if load.in_channels >= _TILED_CHANNELS else "plain"
    return "transposed" if _holds_little(load, pixels) else "plain"


def _reorders_more(load: Workload) -> bool:
    """Whether re-ordering the many outputs of few channels takes what the transposed form saves of kernel 3."""
    is_few = load.in_channels <= _FEW_IN_CHANNELS and load.in_channels < load.out_channels
    return is_few and load.kernel_size == 3 and not load.is_channels_last and not load.is_training


def _prefers_products(load: Workload, pixels: int) -> bool:
    """Whether additions are cheaper here than the multiplications that they save."""
    least = _LEAST_PIXELS_PRODUCTS if load.is_prepared else _LEAST_PIXELS_MADE
    if pixels < least:
        return False
    share = min(load.threads, 2)
    if (load.kernel_size, load.scale_factor) == (3, 2):
        if load.out_channels <= _MANY_OUT_CHANNELS:
            return False
        large = _TILED_CHANNELS_LARGE_MAP if pixels >= _LARGE_MAP else _TILED_CHANNELS
        return load.in_channels >= share * large
    gain = ((load.kernel_size + load.scale_factor - 1) / load.kernel_size) ** 2
    return (
        gain >= _MINIMAL_GAIN
        and pixels * load.in_channels >= share * _MINIMAL_VALUES
        and load.in_channels * load.scale_factor >= share * _MINIMAL_PHASE_CHANNELS
    )


def _holds_little(load: Workload, pixels: int) -> bool:
    """Whether the transposed form holds about as much as the plain one at most."""
    if load.is_cpu and load.library is Library.ONEDNN and load.groups > 1:
        is_odd = load.out_channels // load.groups % 8 > 0 and load.groups < load.in_channels
        if is_odd:
            # up to half as much again was seen, with no rule to it
            return False
    sizes = Sizes(
        pixels=pixels,
        image_pixels=load.height * load.width,
        in_channels=load.in_channels,
        out_channels=load.out_channels,
        kernel_size=load.kernel_size,
        scale_factor=load.scale_factor,
        groups=load.groups,
        is_channels_last=load.is_channels_last,
        is_float32=load.is_float32,
        library=load.library,
    )
    found = count_transposed(
        sizes, is_prepared=load.is_prepared, is_training=load.is_training, is_shared=load.threads > 1
    )
    return found <= _MEMORY_LIMIT * count_plain(sizes)
