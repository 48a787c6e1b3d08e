"""The upsamplers of the grid, one family a file, behind a registry."""

from deconvbench.upsamplers import (  # noqa: F401 -- importing a family registers its upsamplers
    conv_resize,
    resize_conv,
    subpixel,
    transposed,
    zero_insertion,
)
from deconvbench.upsamplers.registry import (
    UpsamplerSpec,
    build_upsampler,
    get_upsampler,
    list_upsamplers,
    load_upsampler,
    register_upsampler,
)

__all__ = [
    "UpsamplerSpec",
    "build_upsampler",
    "get_upsampler",
    "list_upsamplers",
    "load_upsampler",
    "register_upsampler",
]
