"""The upsamplers of the grid, one family a file, behind a registry."""

from deconvbench.upsamplers import (  # noqa: F401 -- importing a family registers its upsamplers
    additive,
    conv_resize,
    equal_gain,
    fast_resize,
    fast_transposed,
    point_sampling,
    reassembly,
    resize_conv,
    separable,
    sinc_resize,
    subpixel,
    transposed,
    transposed_bilinear,
    transposed_filtered,
    unpooling,
    zero_insertion,
)
from deconvbench.upsamplers.registry import (
    UpsamplerSpec,
    build_upsampler,
    get_upsampler,
    list_broken_upsamplers,
    list_sources,
    list_upsamplers,
    load_upsampler,
    register_upsampler,
)

__all__ = [
    "UpsamplerSpec",
    "build_upsampler",
    "get_upsampler",
    "list_broken_upsamplers",
    "list_sources",
    "list_upsamplers",
    "load_upsampler",
    "register_upsampler",
]
