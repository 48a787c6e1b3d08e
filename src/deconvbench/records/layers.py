"""What the tabulating half knows of the layers by name: the order to read them in, and which are fast forms.

Names only: the layers themselves are in `deconvbench.upsamplers`, which needs torch.
"""

# an upsampler by its name in the registry, and its kernel size (None for one without a kernel)
NamedLayer = tuple[str, int | None]
# the article's layers first, relatives side by side
READING_ORDER = (
    "transposed",
    "nearest_conv",
    "bilinear_conv",
    "bicubic_conv",
    "subpixel",
    "subpixel_icnr",
    "subpixel_icnr_blur",
    "conv_nearest",
    "conv_bilinear",
    "zero_insert",
    "transposed_smoothed",
    "nearest_conv_fast",
    "nearest_conv_transposed",
    "nearest_conv_subpixel",
    "nearest_conv_minimal",
    "nearest_conv_tiled",
    "nearest_conv_native",
    "transposed_fast",
    "bilinear_additive",
    "transposed_fir",
    "sinc_conv",
    "transposed_bilinear_init",
    "equal_gain_transposed",
    "separable_transposed",
    "max_unpool_conv",
    "carafe",
    "dysample",
)
# nearest_conv in exact forms that are faster: what they change of a frontier is worth showing, and what is known
# of nearest_conv after training holds for them, since they compute the same function of the same weights
FAST_UPSAMPLERS = (
    "nearest_conv_fast",
    "nearest_conv_transposed",
    "nearest_conv_subpixel",
    "nearest_conv_minimal",
    "nearest_conv_tiled",
    "nearest_conv_native",
)
FAST_ORIGINAL = "nearest_conv"
# the one that is compiled for the machine at hand, before anything is timed
NATIVE_UPSAMPLER = "nearest_conv_native"


def rank_upsampler(upsampler: str) -> tuple[int, str]:
    """Sort key that puts the article's layers first and names it does not know last, by alphabet.

    Parameters
    ----------
    upsampler : str
        Name in the registry.
    """
    known = upsampler in READING_ORDER
    return (READING_ORDER.index(upsampler) if known else len(READING_ORDER), upsampler)
