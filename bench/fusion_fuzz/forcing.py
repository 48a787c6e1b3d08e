"""Fast forms wherever they are possible: for small images the plain form is the fastest, and proves nothing."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from deconvbench.networks.fusion import backend, compiled_gain, resizing
from deconvbench.upsamplers.fast.forms import Geometry


def choose_product_form(x: Tensor, weight: Tensor, geometry: Geometry, *, is_prepared: bool) -> str:  # noqa: ARG001 -- as `forms.choose`
    """Choose the form that is least like the plain one, where nobody compiles or exports."""
    if torch.compiler.is_exporting():
        return "plain"
    if torch.compiler.is_compiling():
        return "transposed"
    return "tiled" if (geometry.kernel_size, geometry.scale_factor) == (3, 2) else "minimal"


def force_fast_forms(set_attribute: Callable[[Any, str, Any], None]) -> None:
    """Make every image worth a fast form.

    Parameters
    ----------
    set_attribute : callable
        Sets attributes of modules: `setattr`, or what puts them back afterwards.
    """
    set_attribute(resizing, "choose", choose_product_form)
    set_attribute(resizing, "LEAST_PIXELS_SPLIT", 0)
    set_attribute(compiled_gain, "NATIVE_ONLY_KERNELS", frozenset())
    set_attribute(compiled_gain, "LEAST_PRODUCTS", {})
    set_attribute(compiled_gain, "LEAST_PRODUCTS_PADDED", (0, 0))
    set_attribute(backend, "LEAST_PIXELS_SPLIT", 0)
    set_attribute(backend, "find_fastest", lambda *_, **__: "transposed")
