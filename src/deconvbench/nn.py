"""The upsamplers worth using outside of the grid, re-exported: no checkerboard, whatever they learn.

Each is an ordinary `torch.nn.Module` of (in_channels, out_channels, kernel_size, scale_factor).

- `ResizeConv2d`: nearest-neighbour upsampling and convolution at the price of a deconvolution, in float32; in half
  precision as it is written. The one to take unless there is a reason against it. `build_native` compiles it for
  the machine at hand, once: then it is faster still.
- `EqualGainTransposed`: a transposed convolution that is kept free of checkerboards; freer than the former.
- `SubpixelIcnrBlur`: sub-pixel convolution that is kept free of them by a blur.
- `SincConv`: band-limited upsampling and convolution, for those who want no images of the spectrum either.

Examples
--------
>>> import torch
>>> from deconvbench.nn import ResizeConv2d
>>> ResizeConv2d(8, 4)(torch.zeros(1, 8, 5, 7)).shape
torch.Size([1, 4, 10, 14])
"""

from deconvbench.upsamplers.equal_gain import EqualGainTransposed
from deconvbench.upsamplers.fast import ResizeConv2d
from deconvbench.upsamplers.fast.native import build_native
from deconvbench.upsamplers.sinc_resize import SincConv
from deconvbench.upsamplers.subpixel import SubpixelIcnrBlur

__all__ = ["EqualGainTransposed", "ResizeConv2d", "SincConv", "SubpixelIcnrBlur", "build_native"]
