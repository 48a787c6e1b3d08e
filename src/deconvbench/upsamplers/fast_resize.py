"""The exact fast forms of nearest-neighbour resize-convolution, in the grid: the best one, and each by name.

All compute what `nearest_conv` computes; the layer and its algorithms are in the package `fast`. Nothing here may
change what is computed.
"""

from deconvbench.upsamplers.fast import NativeResizeConv2d, ResizeConv2d
from deconvbench.upsamplers.registry import register_upsampler
from deconvbench.upsamplers.torch_code import write_call, write_ours

_FORMULA = "conv_k(nearest_s(x))"
_OURS = "ours; the layer: Odena et al. 2016"


def find_objection(kernel_size: int, scale_factor: int) -> str | None:
    """Say why the fast forms do not have this kernel or scale, or None where they do.

    Parameters
    ----------
    kernel_size : int
        Kernel size k.
    scale_factor : int
        Scale s.
    """
    if kernel_size % 2 == 0:
        return f"fast resize-convolution needs an odd kernel_size: {kernel_size} is even"
    if scale_factor == 1:
        return f"fast resize-convolution needs scale_factor >= 2: kernel_size {kernel_size} at 1 is a convolution"
    return None


def find_tiled_objection(kernel_size: int, scale_factor: int) -> str | None:
    """Say why the tiled form does not have this kernel or scale, or None where it does.

    Parameters
    ----------
    kernel_size : int
        Kernel size k.
    scale_factor : int
        Scale s.
    """
    if (kernel_size, scale_factor) != (3, 2):
        return (
            "the tiled form of resize-convolution is for kernel_size 3 and scale_factor 2 only:"
            f" not {kernel_size} and {scale_factor}"
        )
    return None


def _write_native_code(in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> str:
    layer = write_call(
        "ResizeConv2d", in_channels, out_channels, kernel_size, scale_factor, implementation="tiled"
    )
    build = "build_native()  # once on each machine; needs a C compiler"
    return f"from deconvbench.nn import ResizeConv2d, build_native\n\n{build}\nlayer = {layer}"


@register_upsampler(
    "nearest_conv_fast",
    summary="nearest_conv in the exact form that is fastest for the input",
    formula=_FORMULA,
    macs_formula="that of the form chosen: (k+s−1)²/s² down to k²/s², 25/16 for k3 s2",
    reference=_OURS,
    linear=True,
    shift_equivariant=True,
    objection=find_objection,
    code=write_ours("ResizeConv2d"),
)
def build_fast(in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> ResizeConv2d:
    """Build a `ResizeConv2d` that chooses its form by itself.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output.
    kernel_size : int
        Odd kernel size k.
    scale_factor : int
        Scale s, at least 2.
    """
    return ResizeConv2d(in_channels, out_channels, kernel_size, scale_factor)


@register_upsampler(
    "nearest_conv_transposed",
    summary="nearest_conv as one transposed convolution",
    formula=f"{_FORMULA} = convT_K(x), stride s, K = box_s ∗ flip(w)",
    macs_formula="(k+s−1)²/s² · (1 + k²/(H·W)), the latter for K",
    reference="Colbert et al., IEEE Access 9, 2021",
    linear=True,
    shift_equivariant=True,
    objection=find_objection,
    code=write_ours("ResizeConv2d", implementation="transposed"),
)
def build_transposed(in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> ResizeConv2d:
    """Build a `ResizeConv2d` in its transposed form.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output.
    kernel_size : int
        Odd kernel size k.
    scale_factor : int
        Scale s, at least 2.
    """
    return ResizeConv2d(in_channels, out_channels, kernel_size, scale_factor, implementation="transposed")


@register_upsampler(
    "nearest_conv_subpixel",
    summary="nearest_conv as one convolution at low resolution, then PixelShuffle",
    formula=f"{_FORMULA} = shuffle_s(conv_K(x)), K = 2⌈(k−1)/2s⌉ + 1",
    macs_formula="K² · (1 + k²/(H·W)), the latter for its kernels",
    reference="Shi et al., arXiv:1609.07009",
    linear=True,
    shift_equivariant=True,
    objection=find_objection,
    code=write_ours("ResizeConv2d", implementation="subpixel"),
)
def build_subpixel(in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> ResizeConv2d:
    """Build a `ResizeConv2d` in its sub-pixel form.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output.
    kernel_size : int
        Odd kernel size k.
    scale_factor : int
        Scale s, at least 2.
    """
    return ResizeConv2d(in_channels, out_channels, kernel_size, scale_factor, implementation="subpixel")


@register_upsampler(
    "nearest_conv_minimal",
    summary="nearest_conv by k² products an input pixel, for every scale",
    formula=f"{_FORMULA}, minimal filtering by pixels",
    macs_formula="k²/s² · (1 + k²/(H·W)), the latter for the products' weights",
    reference=_OURS,
    linear=True,
    shift_equivariant=True,
    objection=find_objection,
    code=write_ours("ResizeConv2d", implementation="minimal"),
)
def build_minimal(in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> ResizeConv2d:
    """Build a `ResizeConv2d` in its minimal form.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output.
    kernel_size : int
        Odd kernel size k.
    scale_factor : int
        Scale s, at least 2.
    """
    return ResizeConv2d(in_channels, out_channels, kernel_size, scale_factor, implementation="minimal")


@register_upsampler(
    "nearest_conv_tiled",
    summary="nearest_conv by 25 products for 16 output pixels (k3 s2)",
    formula=f"{_FORMULA}, minimal filtering by 2×2 pixels",
    macs_formula="25/16 · (1 + 4k²/(H·W)), the latter for the products' weights",
    reference=_OURS,
    linear=True,
    shift_equivariant=True,
    objection=find_tiled_objection,
    code=write_ours("ResizeConv2d", implementation="tiled"),
)
def build_tiled(in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> ResizeConv2d:
    """Build a `ResizeConv2d` in its tiled form.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output.
    kernel_size, scale_factor : int
        3 and 2.
    """
    return ResizeConv2d(in_channels, out_channels, kernel_size, scale_factor, implementation="tiled")


@register_upsampler(
    "nearest_conv_native",
    summary="nearest_conv_tiled as compiled C, in a cache-sized band at a time (k3 s2; needs a C compiler)",
    formula=f"{_FORMULA}, minimal filtering by 2×2 pixels, compiled",
    macs_formula="25/16 · (1 + 4k²/(H·W)), the latter for the products' weights",
    reference=_OURS,
    linear=True,
    shift_equivariant=True,
    objection=find_tiled_objection,
    code=_write_native_code,
)
def build_native_layer(
    in_channels: int, out_channels: int, kernel_size: int, scale_factor: int
) -> NativeResizeConv2d:
    """Build a `ResizeConv2d` whose tiled form is the compiled one wherever it is timed.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output.
    kernel_size, scale_factor : int
        3 and 2.
    """
    return NativeResizeConv2d(in_channels, out_channels, kernel_size, scale_factor, implementation="tiled")
