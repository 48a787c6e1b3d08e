"""The article's arithmetic, exact: output sizes, overlap, MACs, the matrices C and Cᵀ, polyphase forms.

Works on integers and numpy arrays alone, so that both halves of the package and every report can use it: it may
import neither torch nor pandas, and measures nothing.
"""

from deconvbench.theory.macs import conv_macs, transposed_conv_macs
from deconvbench.theory.matrices import (
    conv_matrix,
    convolve,
    flip_kernel,
    pad_or_crop,
    transposed_conv_matrix,
    transposed_convolve,
    zero_insert,
)
from deconvbench.theory.overlap import (
    gradient_counts,
    overlap_cv,
    overlap_map,
    phase_counts,
    stacked_overlap_cv,
    stacked_phase_counts,
    visit_counts,
)
from deconvbench.theory.polyphase import (
    bilinear_kernel,
    bilinear_padding,
    box_kernel,
    divide_by_box,
    nearest_conv_crop,
    nearest_conv_kernel,
    phase_gains,
    phase_kernels,
    pixel_shuffle,
    subpixel_kernel,
)
from deconvbench.theory.sizes import conv_output_size, exact_padding, transposed_conv_output_size

__all__ = [
    "bilinear_kernel",
    "bilinear_padding",
    "box_kernel",
    "conv_macs",
    "conv_matrix",
    "conv_output_size",
    "convolve",
    "divide_by_box",
    "exact_padding",
    "flip_kernel",
    "gradient_counts",
    "nearest_conv_crop",
    "nearest_conv_kernel",
    "overlap_cv",
    "overlap_map",
    "pad_or_crop",
    "phase_counts",
    "phase_gains",
    "phase_kernels",
    "pixel_shuffle",
    "stacked_overlap_cv",
    "stacked_phase_counts",
    "subpixel_kernel",
    "transposed_conv_macs",
    "transposed_conv_matrix",
    "transposed_conv_output_size",
    "transposed_convolve",
    "visit_counts",
    "zero_insert",
]
