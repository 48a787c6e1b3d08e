"""The upsamplers worth using outside of the grid, re-exported: no checkerboard of constant inputs, but for one.

Each is an ordinary `torch.nn.Module` with torch's own arguments, and ``weight`` and ``bias`` in its state_dict:

- `ResizeConv2d`: interpolation and convolution. The one to take unless there is a reason against it: nearest at
  the price of a deconvolution in float32, and as it is written in half precision; `build_native` compiles it for
  the machine at hand, once: then it is faster still.
- `ConvTranspose2d`: that one. `torch.nn.ConvTranspose2d` with fewer multiplications for kernels 3 to 6 and stride
  2 where `build_native` has compiled them, and torch's own elsewhere, for networks that have to keep it.
- `EqualGainConvTranspose2d`: a drop-in for `torch.nn.ConvTranspose2d` that is kept free of checkerboards; freer
  than `ResizeConv2d`.
- `FilteredConvTranspose2d`: a drop-in with a fixed low-pass filter behind it, as in StyleGAN2; for strides of 2.
- `SubpixelConv2d`: convolution and PixelShuffle. ``icnr=True`` starts free of checkerboards; ``blur=True`` is
  always free of them.

The layers of the grid take (in_channels, out_channels, kernel_size, scale_factor) and upsample exactly by the
scale:

- `EqualGainTransposed` and `SubpixelIcnrBlur`, two of the above;
- `SincConv`: band-limited upsampling and convolution, for those who want no images of the spectrum either.

Examples
--------
>>> import torch
>>> from deconvbench.nn import ResizeConv2d
>>> ResizeConv2d(8, 4)(torch.zeros(1, 8, 5, 7)).shape
torch.Size([1, 4, 10, 14])
"""

from deconvbench.upsamplers.equal_gain import EqualGainConvTranspose2d, EqualGainTransposed
from deconvbench.upsamplers.fast.deconvolution import ConvTranspose2d
from deconvbench.upsamplers.fast.native import build_native
from deconvbench.upsamplers.resize_modes import ResizeConv2d
from deconvbench.upsamplers.sinc_resize import SincConv
from deconvbench.upsamplers.subpixel import SubpixelConv2d, SubpixelIcnrBlur
from deconvbench.upsamplers.transposed_filtered import FilteredConvTranspose2d

__all__ = [
    "ConvTranspose2d",
    "EqualGainConvTranspose2d",
    "EqualGainTransposed",
    "FilteredConvTranspose2d",
    "ResizeConv2d",
    "SincConv",
    "SubpixelConv2d",
    "SubpixelIcnrBlur",
    "build_native",
]
