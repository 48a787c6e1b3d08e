"""The faster transposed convolution in the grid: what `transposed` computes, by fewer multiplications.

The layer and its algorithm are in the package `fast`. Nothing here may change what is computed.
"""

from deconvbench.theory.sizes import exact_padding
from deconvbench.upsamplers.fast.deconvolution import ConvTranspose2d
from deconvbench.upsamplers.registry import register_upsampler
from deconvbench.upsamplers.torch_code import write_transposed

# what has a compiled form with the padding that doubles the size
_KERNEL_SIZES, _SCALE_FACTOR = range(3, 7), 2


def find_objection(kernel_size: int, scale_factor: int) -> str | None:
    """Say why there is no faster form of this kernel and scale, or None where there is one.

    Parameters
    ----------
    kernel_size : int
        Kernel size k.
    scale_factor : int
        Scale s.
    """
    if kernel_size in _KERNEL_SIZES and scale_factor == _SCALE_FACTOR:
        return None
    return (
        f"fast transposed convolution is for kernel_size {_KERNEL_SIZES[0]} to {_KERNEL_SIZES[-1]} and"
        f" scale_factor {_SCALE_FACTOR}, not {kernel_size} and {scale_factor}"
    )


def _write_code(in_channels: int, out_channels: int, kernel_size: int, scale_factor: int) -> str:
    call = write_transposed(in_channels, out_channels, kernel_size, scale_factor).removeprefix("nn.")
    return f"from deconvbench.nn import ConvTranspose2d\n\nlayer = {call}"


@register_upsampler(
    "transposed_fast",
    summary="transposed in the exact form that is fastest for the input (compiled: needs a C compiler)",
    formula="convT_k(x), stride 2, minimal filtering of its phases",
    macs_formula="that of the form chosen: k²/s² down to 25/16 for k3 s2 and 9/4 for k4 s2",
    reference="Chang et al., arXiv:1911.06918; Di et al., Electronics 9:286, 2020",
    linear=True,
    shift_equivariant=True,
    objection=find_objection,
    code=_write_code,
)
def build_fast_transposed(
    in_channels: int, out_channels: int, kernel_size: int, scale_factor: int
) -> ConvTranspose2d:
    """Build a `ConvTranspose2d` that upsamples exactly by the scale and chooses its form by itself.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and output.
    kernel_size : int
        Kernel size k, 3 to 6.
    scale_factor : int
        2.
    """
    padding, output_padding = exact_padding(kernel_size, scale_factor)
    return ConvTranspose2d(
        *(in_channels, out_channels, kernel_size),
        stride=scale_factor,
        padding=padding,
        output_padding=output_padding,
    )
