"""Fast forms of nearest-neighbour resize-convolution: the same function with fewer multiplications.

They are exact but for rounding in float32 and float64. In half precision `auto` is the compiled form or the plain
one (see `dtypes`).
`ResizeConv2d` is the layer, `NativeResizeConv2d` the same where it has to be the compiled form. Its transposed and
sub-pixel forms are convolutions that torch has; `minimal` and `tiled` are algorithms of their own.
"""

from deconvbench.upsamplers.fast.choice import IMPLEMENTATIONS
from deconvbench.upsamplers.fast.layer import ResizeConv2d
from deconvbench.upsamplers.fast.native.layer import NativeResizeConv2d

__all__ = ["IMPLEMENTATIONS", "NativeResizeConv2d", "ResizeConv2d"]
