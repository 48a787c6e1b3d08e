"""What an upsampling site of a network is in the terms of the grid: its layer, its channels, its setting.

Names only what the grid can measure, and says why where it cannot. Chooses and measures nothing.
"""

import math
from typing import Any

from deconvbench.records import sites as kinds
from deconvbench.records.case import DTYPES
from deconvbench.records.sites import Site

Layer = tuple[str, int | None]

_MODES = {"nearest": "nearest_conv", "bilinear": "bilinear_conv", "bicubic": "bicubic_conv"}
# of a layer that has none, or whose convolution is not known
_USUAL_KERNEL = 3


def name_present(site: Site) -> tuple[Layer | None, str]:
    """Name the layer that a site is, as the grid does, or say why it is none of them.

    Parameters
    ----------
    site : Site
        Any.

    Returns
    -------
    layer : tuple of (str, int or None) or None
        Upsampler and kernel.
    reason : str
        Empty where there is one.
    """
    if site.dims != 2:
        return None, f"layers of {site.dims} axes were not measured"
    if len({*site.scale}) != 1 or not float(site.scale[0]).is_integer():
        return None, "scales that differ by axis, or are not whole, were not measured"
    if site.groups != 1:
        return None, "layers with groups were not measured"
    if len({*site.kernel_size}) > 1 or any(one != 1 for one in site.dilation):
        return None, "kernels that are not square, or dilated, were not measured"
    mode = next((word for word in _MODES if f"mode={word}" in site.operation), "")
    upsampler = {
        kinds.TRANSPOSED_CONVOLUTION: "transposed",
        kinds.SUBPIXEL_CONVOLUTION: "subpixel",
        kinds.RESIZE_CONVOLUTION: _MODES.get(mode, ""),
        kinds.MAX_UNPOOLING: "max_unpool_conv",
    }.get(site.kind, "")
    if not upsampler:
        return None, f"{site.kind.replace('_', ' ')} was not measured as it is here"
    return (upsampler, site.kernel_size[0] if site.kernel_size else _USUAL_KERNEL), ""


def count_channels(site: Site) -> tuple[int, int]:
    """Count the channels that a layer in the place of a site takes and gives.

    Parameters
    ----------
    site : Site
        Any.
    """
    if site.kind == kinds.SUBPIXEL_CONVOLUTION:
        # its convolution makes those of all the pixels of a block
        return site.in_channels, max(1, site.out_channels // math.prod(map(int, site.scale)))
    return site.in_channels, site.out_channels


def find_size(site: Site, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Find the spatial part of a shape.

    Parameters
    ----------
    site : Site
        Any.
    shape : tuple of int
        Its `in_shape` or `out_shape`.
    """
    return shape[1 : 1 + site.dims] if site.is_channels_last else shape[-site.dims :]


def make_setting(site: Site) -> tuple[dict[str, Any], tuple[int, int]]:
    """Make the setting that a layer in the place of a site is measured in.

    Parameters
    ----------
    site : Site
        One for which `name_present` has a name.

    Returns
    -------
    fields : dict
        Scale, channels, batch and dtype.
    size : (int, int)
        Height and width of its input.
    """
    channels = count_channels(site)
    height, width = find_size(site, site.in_shape)
    fields = {
        "scale_factor": int(site.scale[0]),
        "in_channels": channels[0],
        "out_channels": channels[1],
        "batch": max(1, site.in_shape[0]),
    }
    return fields | ({"dtype": site.dtype} if site.dtype in DTYPES else {}), (height, width)
