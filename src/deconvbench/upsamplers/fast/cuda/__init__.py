"""Kernels for CUDA devices, written in Triton, as an extra: no import of it before one of its forms is asked for.

`minimal_triton` and `tiled_triton` are implementations of `ResizeConv2d` by name; ``auto`` takes neither, as long
as they have not been measured on such a device. Their backward pass is written in Triton too.
"""

from deconvbench.upsamplers.fast.cuda.form import TRITON_IMPLEMENTATIONS, explain_absence

__all__ = ["TRITON_IMPLEMENTATIONS", "explain_absence"]
